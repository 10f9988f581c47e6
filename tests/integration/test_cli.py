"""Check the commands as an operator runs them: exit codes, output, and that no secret is in it."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
from contextlib import closing
from datetime import UTC, datetime

import pytest
from aiohttp import web
from processes import SECRETS, closed_port, http_server, run_keeper
from trials import MARKET, SPOT, publish, readings, write_settings

from chain.anvil import CHAIN_ID, KEYS
from config.load import load_settings
from keeper.cli import EXIT_FAILED, EXIT_HALTED, EXIT_REFUSED, EXIT_USAGE
from keeper.feeds import MqttFeed
from keeper.journal import EntryKind, Journal
from keeper.pipeline import Pipeline
from keeper.quotebook import QuoteBook

pytestmark = pytest.mark.integration
pytest_plugins = ["chains"]

KEY = KEYS[1]


def journal_rows(folder, kind=None):
    async def read():
        journal = await Journal.open(f"sqlite:///{folder / 'keeper.db'}", lambda: 0)
        try:
            return await journal.find(kind=kind)
        finally:
            await journal.close()

    return asyncio.run(read())


def secretless(ended, *secrets):
    said = ended.out + ended.err
    return not any(secret in said for secret in (KEY, KEY[2:], *secrets))


def test_once__with_a_key__applies_and_exits_0(command, config, trial):
    ended = command("once", "-c", config, key=KEY)
    assert ended.code == 0, ended
    assert "tune applied as version 1" in ended.out
    assert trial.sequence() == 1
    assert secretless(ended)


def test_once__nothing_left_to_do__exits_0(command, config, trial):
    command("once", "-c", config, key=KEY)
    ended = command("once", "-c", config, key=KEY)
    assert (ended.code, trial.sequence()) == (0, 1)
    assert "no change" in ended.out


def test_once__without_a_key__is_a_dry_run(command, config, trial):
    ended = command("once", "-c", config)
    assert ended.code == 0
    assert "dry run" in ended.out
    assert trial.nonce() == 0


def test_once__dry_run_with_a_key__sends_nothing(command, config, trial):
    ended = command("once", "-c", config, "--dry-run", "--json", key=KEY)
    document = json.loads(ended.out)
    assert ended.code == 0
    assert (document["outcome"], document["market"], document["to"]) == ("DryRun", MARKET, trial.steward.address)
    assert (trial.nonce(), trial.sequence()) == (0, 0)


def test_once__key_in_a_file__is_used_and_never_shown(command, config, tmp_path):
    file = tmp_path / "key"
    file.write_text(KEY + "\n")
    ended = command("once", "-c", config, "--json", KEEPER_PRIVATE_KEY_FILE=str(file))
    assert json.loads(ended.out)["outcome"] == "Applied"
    assert secretless(ended)


def test_once__tightening_that_needs_notice__is_announced_and_exits_0(command, config, trial):
    trial.limit(notice_seconds=3_600)
    ended = command("once", "-c", config, key=KEY)
    assert ended.code == 0, ended
    said = re.search(
        r"SPX: announced in 0x[0-9a-f]{64}, may be applied from 2018-01-17T01:.*`keeper veto (0x\w+)`", ended.out
    )
    assert trial.steward.functions.announced_at(bytes.fromhex(said[1][2:])).call() > 0
    waiting = command("once", "-c", config, "--json", key=KEY)
    assert json.loads(waiting.out)["detail"].startswith("version 1 is announced: another ")
    assert (waiting.code, trial.nonce(), trial.sequence()) == (0, 1, 0)


def test_once__refused__exits_3_with_the_reason(command, config, trial):
    trial.pause()
    ended = command("once", "-c", config, "--json", key=KEY)
    assert ended.code == EXIT_REFUSED
    assert json.loads(ended.out)["reason"] == "PAUSED"


def test_once__market_is_paused__says_by_whom_since_when_and_what_lifts_it(command, config, trial):
    trial.pause()
    number, at = trial.deployer.head()
    when = f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"
    notice = f"SPX: PAUSED, by {trial.deployer.address} in block {number}, {when}: nothing is changed or announced"
    said = command("once", "-c", config, key=KEY).out
    assert notice in said
    assert "keeper govern unpause SPX --send" in said
    assert json.loads(command("once", "-c", config, "--json", key=KEY).out)["paused"].startswith(notice)


def test_once__market_is_paused_and_nothing_is_to_be_changed__says_it_all_the_same(command, config, trial):
    command("once", "-c", config, key=KEY)
    trial.pause()
    ended = command("once", "-c", config, key=KEY)
    assert (ended.code, "no change" in ended.out, "SPX: PAUSED, by 0x" in ended.out) == (0, True, True)


def test_once__market_was_paused_once__says_nothing_of_it(command, config, trial):
    trial.pause()
    trial.unpause()
    ended = command("once", "-c", config, "--json", key=KEY)
    assert (ended.code, json.loads(ended.out)["paused"]) == (0, None)


def test_once__no_feed__exits_3_with_missing_feed(command, trial, tmp_path):
    config = write_settings(tmp_path, trial)
    ended = command("once", "-c", config, "--wait-seconds", 0)
    assert ended.code == EXIT_REFUSED
    assert "MISSING_FEED" in ended.out


def test_once__fault_that_nothing_foresaw__exits_4_and_says_so_in_the_journal(command, config, monkeypatch, tmp_path):
    async def break_down(_):
        raise ZeroDivisionError("nobody foresaw this")

    monkeypatch.setattr(Pipeline, "tick", break_down)
    ended = command("once", "-c", config, key=KEY)
    assert ended.code == EXIT_HALTED
    assert "nobody foresaw this" in ended.err
    assert secretless(ended)
    last = journal_rows(tmp_path)[-1]
    assert (last.kind, last.body["event"]) == (EntryKind.LIFECYCLE, "halted")
    assert "ZeroDivisionError" in last.body["detail"]


def test_once__endpoint_down__exits_1_in_one_plain_sentence(command, config):
    ended = command("once", "-c", config, KEEPER_RPC_URL=f"http://u:hunter2@127.0.0.1:{closed_port()}/apikey-1234")
    assert ended.code == EXIT_FAILED
    assert ended.err.count("\n") == 1
    assert "Traceback" not in ended.err
    assert secretless(ended, "hunter2", "apikey-1234")


def test_once__endpoint_of_another_chain__exits_1_and_names_both(command, trial, broker, tmp_path):
    config = write_settings(tmp_path, trial, broker, chain_id=1)
    deployment = tmp_path / "deployment.json"
    deployment.write_text(deployment.read_text().replace(f'"chain_id": {CHAIN_ID}', '"chain_id": 1'))
    ended = command("once", "-c", config)
    assert ended.code == EXIT_FAILED
    assert f"serves chain {CHAIN_ID}, chain.chain_id is 1" in ended.err


def test_once__deployment_on_another_chain__is_a_usage_error(command, trial, broker, tmp_path):
    config = write_settings(tmp_path, trial, broker, chain_id=1)
    ended = command("once", "-c", config)
    assert ended.code == EXIT_USAGE
    assert "deployment.json" in ended.err
    assert "chain_id" in ended.err


BAD_SETTINGS = {
    "unknown_key": ("tick_seconds = 60", "tick_second = 60", "keeper.tick_second: unknown key (did you mean"),
    "wrong_value": ("max_fee_gwei = 200.0", "max_fee_gwei = -1.0", "chain.max_fee_gwei = -1.0"),
    "broken_toml": ("[journal]", "[journal", "not valid TOML"),
    "missing_feed": ('spot_feed = "spx"', 'spot_feed = "dax"', "spot_feed of market SPX names no"),
}


@pytest.mark.parametrize("case", BAD_SETTINGS)
@pytest.mark.parametrize("name", ["once", "run", "status", "verify", "rollback", "publish", "deploy"])
def test_any_command__settings_are_wrong__exits_2_naming_file_and_key(command, trial, tmp_path, name, case):
    right, wrong, words = BAD_SETTINGS[case]
    config = write_settings(tmp_path, trial)
    text = config.read_text()
    assert right in text
    config.write_text(text.replace(right, wrong))
    ended = command(name, "-c", config, key=KEY)
    assert ended.code == EXIT_USAGE
    assert "keeper.toml" in ended.err
    assert words in ended.err
    assert secretless(ended)


def test_once__key_is_no_key__exits_2_without_showing_it(command, config):
    ended = command("once", "-c", config, key=KEY[:-1])
    assert ended.code == EXIT_USAGE
    assert "KEEPER_PRIVATE_KEY" in ended.err
    assert KEY[2:-1] not in ended.out + ended.err


@pytest.mark.parametrize("name", ["once", "status", "verify", "rollback"])
def test_any_command__market_not_in_the_deployment_file__exits_2_and_names_it(command, config, tmp_path, name):
    deployment = tmp_path / "deployment.json"
    content = json.loads(deployment.read_text())
    content["markets"] = {"NDX": content["markets"][MARKET]}
    deployment.write_text(json.dumps(content))
    if name == "verify":
        command("once", "-c", config, "--wait-seconds", 0)
        asyncio.run(_touch_journal(tmp_path))
    ended = command(name, "-c", config)
    assert ended.code == EXIT_USAGE, ended
    assert re.search(rf"{MARKET}.* (has only|\(it has) NDX", ended.err)


async def _touch_journal(folder):
    await (await Journal.open(f"sqlite:///{folder / 'keeper.db'}", lambda: 0)).close()


def test_once__deployment_file_missing__exits_2_and_says_what_writes_it(command, config, tmp_path):
    (tmp_path / "deployment.json").unlink()
    ended = command("once", "-c", config)
    assert ended.code == EXIT_USAGE
    assert "keeper deploy" in ended.err


def test_rollback__after_a_change__restores_and_exits_0(command, config, trial):
    before = trial.parameters()
    command("once", "-c", config, key=KEY)
    assert trial.parameters() != before
    ended = command("rollback", "-c", config, "--because", "the model was wrong", key=KEY)
    assert ended.code == 0
    assert "rollback applied as version 2" in ended.out
    assert trial.parameters() == before


def test_rollback__nothing_to_restore__is_refused_with_3(command, config):
    ended = command("rollback", "-c", config, key=KEY)
    assert ended.code == EXIT_REFUSED
    assert "NO_EFFECT" in ended.out


def test_rollback__unknown_market__exits_2(command, config):
    ended = command("rollback", "-c", config, "--market", "NDX", key=KEY)
    assert ended.code == EXIT_USAGE
    assert f"must be one of {MARKET}" in ended.err


def test_status__after_a_change__shows_chain_and_last_decision(command, config, trial):
    command("once", "-c", config, key=KEY)
    ended = command("status", "-c", config, "--json")
    document = json.loads(ended.out)
    market = document["markets"][0]
    assert ended.code == 0
    assert document["steward"] == trial.steward.address
    assert (market["market"], market["sequence"], market["oracle_price"]) == (MARKET, 1, SPOT)
    assert (market["accounts"], market["liquidatable"]) == (5, 0)
    assert tuple(row["value"] for row in market["parameters"]) == trial.parameters()
    assert market["parameters"][0]["ready_in"] > 0
    assert market["last"]["kind"] == "applied"


def test_status__as_text__names_every_parameter(command, config, trial):
    ended = command("status", "-c", config)
    assert ended.code == 0
    assert all(parameter.name[:12] in ended.out for parameter in trial.protocol.parameters)


def test_verify__untouched_journal__exits_0_and_counts_the_changes(command, config):
    command("once", "-c", config, key=KEY)
    ended = command("verify", "-c", config, "--json")
    document = json.loads(ended.out)
    assert ended.code == 0
    assert (document["ok"], document["first_bad_row"]) == (True, None)
    assert document["changes"] == {"own": 1, "foreign": 0, "before": 0}
    said = command("verify", "-c", config).out.replace("\n", " ")
    assert "1 made from this journal, 0 by other keepers, 0 before it began" in said


def test_verify__one_byte_of_the_journal_file_changed__exits_1_and_names_the_row(command, config, tmp_path):
    command("once", "-c", config, key=KEY)
    proposal = journal_rows(tmp_path, EntryKind.PROPOSAL)[0]
    file = tmp_path / "keeper.db"
    with closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray(file.read_bytes())
    beginning = proposal.key.encode() + b'{"because":"'
    place = content.index(beginning) + len(beginning)
    content[place] ^= 1
    file.write_bytes(content)
    ended = command("verify", "-c", config)
    assert ended.code == EXIT_FAILED
    assert f"Row {proposal.id} of the journal" in ended.out
    assert json.loads(command("verify", "-c", config, "--journal-only", "--json").out)["first_bad_row"] == proposal.id


def test_verify__change_on_chain_that_the_journal_lacks__exits_1(command, trial, broker, tmp_path):
    for folder in (tmp_path / "ours", tmp_path / "theirs"):
        folder.mkdir()
        config = write_settings(folder, trial, broker)
        asyncio.run(publish(load_settings(config, {}), *readings(trial)))
        if folder.name == "ours":
            command("once", "-c", config, "--dry-run")
    assert command("once", "-c", config, key=KEY).code == 0
    assert command("verify", "-c", config).code == 0
    ended = command("verify", "-c", tmp_path / "ours" / "keeper.toml")
    assert ended.code == EXIT_FAILED
    said = ended.out.replace("\n", " ")
    assert "tune 1 of SPX on chain, 0x" in said
    assert "has no row" in said


def test_publish__into_a_broker__is_read_by_a_feed(command, trial, broker, tmp_path):
    config = write_settings(tmp_path, trial, broker)
    day = ("--start", "2018-01-16", "--end", "2018-01-17")
    ended = command("publish", "-c", config, "--speed", 0, "--recorded-time", *day)
    assert ended.code == 0
    assert "5 messages published" in ended.out
    settings = load_settings(config, {})
    quotes = asyncio.run(_retained(settings, 2))
    assert {quote.feed for quote in quotes} == {"spx", "vix"}
    assert next(quote.value for quote in quotes if quote.feed == "spx") == pytest.approx(2776.42)


async def _retained(settings, count):
    quotes, complete = [], asyncio.Event()

    async def on_quote(quote):
        quotes.append(quote)
        if len(quotes) == count:
            complete.set()

    async def on_refused(refused):
        raise AssertionError(refused)

    book = QuoteBook(settings.feeds, settings.mqtt.topic_prefix, lambda: 1_600_000_000_000)
    listening = asyncio.create_task(MqttFeed(settings.mqtt, book, on_quote, on_refused).run())
    async with asyncio.timeout(10):
        await complete.wait()
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    return quotes


def test_publish__day_is_no_day__exits_2(command, config):
    ended = command("publish", "-c", config, "--start", "yesterday")
    assert ended.code == EXIT_USAGE
    assert "--start yesterday" in ended.err


def test_publish__broker_down__fails_without_showing_the_password(command, trial, tmp_path):
    config = write_settings(tmp_path, trial, f"mqtt://user:hunter2@127.0.0.1:{closed_port()}")
    ended = command("publish", "-c", config, "--speed", 0, "--start", "2018-01-16", "--end", "2018-01-17")
    assert ended.code == EXIT_FAILED
    assert "127.0.0.1" in ended.err
    assert "Traceback" not in ended.err
    assert "hunter2" not in ended.out + ended.err


def test_forecast__of_a_stream__answers_bars_and_survives_a_bad_line(command, monkeypatch):
    bar = {"type": "bar", "asset": "x", "ts": 0, "open": 1.0, "high": 1.1, "low": 0.9, "close": 1.0}
    lines = [{"type": "reset", "asset": "x", "bar_seconds": 86_400}, bar, "oops", bar | {"ts": 86_400}]
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    monkeypatch.setattr("sys.stdin", text.splitlines(keepends=True))
    ended = command("forecast", "--stdio")
    answers = [json.loads(line) for line in ended.out.splitlines()]
    assert ended.code == 0
    assert [answer.get("ts") for answer in answers] == [0, None, 86_400]
    assert "error" in answers[1]


def test_train__no_such_recording__exits_1_and_names_it(command, tmp_path):
    ended = command("train", "--data", tmp_path / "none.csv", "--out", tmp_path / "model.json")
    assert ended.code == EXIT_FAILED
    assert "none.csv" in ended.err
    assert "Traceback" not in ended.err


def test_evaluate__no_such_model__exits_1_and_names_it(command, tmp_path):
    ended = command("evaluate", "--data", "builtin:wti", "--model", tmp_path / "none.json")
    assert ended.code == EXIT_FAILED
    assert "none.json: no such model" in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("status", [200, 500])
async def test_any_command__endpoint_with_credentials_answers_badly__shows_none_of_them(
    command, trial, tmp_path, status
):
    async def answer(_):
        return web.Response(text="<html>", status=status)

    config = write_settings(tmp_path, trial)
    async with http_server(answer) as url:
        for name in (("once",), ("status",), ("deploy", "--force")):
            ended = await asyncio.to_thread(command, *name, "-c", config, key=KEY, KEEPER_RPC_URL=url)
            assert ended.code == EXIT_FAILED, ended
            assert "Traceback" not in ended.err
            assert secretless(ended, *SECRETS)


async def test_keeper__as_a_process_with_a_wrong_file__exits_2(tmp_path):
    ended = await run_keeper("once", "-c", "nowhere.toml", cwd=tmp_path)
    assert ended.code == EXIT_USAGE
    assert "nowhere.toml: cannot be read" in ended.err
