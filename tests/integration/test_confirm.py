"""Check that an operator can vouch for a quote that jumped, and that a running keeper heeds it."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing

import pytest
from processes import closed_port, run_keeper
from trials import CALM, MARKET, SPOT, VOL, keeper_of, publish, readings, write_settings

from config.load import load_settings
from keeper.cli import EXIT_FAILED, EXIT_USAGE
from keeper.messages import NoChange, QuoteConfirmed, Reason

pytestmark = pytest.mark.integration
pytest_plugins = ["chains"]


def confirmations(folder):
    """Read what the journal in a folder holds of confirmed quotes, if there is one."""
    if not (folder / "keeper.db").exists():
        return []
    with closing(sqlite3.connect(folder / "keeper.db")) as database:
        return [
            json.loads(body) for (body,) in database.execute("SELECT body FROM journal WHERE kind = 'quote_confirmed'")
        ]


def test_confirm__newest_quote_of_a_feed__is_journalled_with_its_reason(command, config, trial, tmp_path):
    ended = command("confirm", "vix", "-c", config, "--because", "seen on two screens")
    assert ended.code == 0, ended
    assert f"{MARKET}: feed vix confirmed at {VOL:g}" in ended.out
    (confirmed,) = confirmations(tmp_path)
    assert (confirmed["market"], confirmed["because"]) == (MARKET, "seen on two screens")
    assert (confirmed["quote"]["feed"], confirmed["quote"]["value"]) == ("vix", VOL)
    assert confirmed["quote"]["timestamp_ms"] == trial.now() * 1000


def test_confirm__spot_feed__confirms_the_spot_alone(command, config, tmp_path):
    assert command("confirm", "spx", "-c", config).code == 0
    assert [(row["quote"]["feed"], row["quote"]["value"]) for row in confirmations(tmp_path)] == [("spx", SPOT)]


def test_confirm__quote_outside_its_range__exits_2_and_journals_nothing(command, config, trial, tmp_path):
    asyncio.run(publish(load_settings(config, {}), *readings(trial, vol=3.1)))
    ended = command("confirm", "vix", "-c", config)
    assert ended.code == EXIT_USAGE
    assert "feeds.vix: 3.1 is outside 0.03..3" in ended.err
    assert confirmations(tmp_path) == []


def test_confirm__feed_that_no_market_uses__exits_2_and_names_those_there_are(command, config, tmp_path):
    ended = command("confirm", "dax", "-c", config)
    assert ended.code == EXIT_USAGE
    assert "feed dax: no market uses it (feeds: spx, vix)" in ended.err
    assert confirmations(tmp_path) == []


def test_confirm__no_message_on_the_broker__exits_1_and_journals_nothing(command, trial, broker, tmp_path):
    config = write_settings(tmp_path, trial, broker)
    ended = command("confirm", "vix", "-c", config, "--wait-seconds", 2)
    assert ended.code == EXIT_FAILED
    assert "feed vix: no usable message within 2 s" in ended.err
    assert confirmations(tmp_path) == []


def test_confirm__broker_down__exits_1_without_showing_the_password(command, trial, tmp_path):
    config = write_settings(tmp_path, trial, f"mqtt://user:hunter2@127.0.0.1:{closed_port()}")
    ended = command("confirm", "vix", "-c", config, "--wait-seconds", 1)
    assert ended.code == EXIT_FAILED
    assert "feed vix: no usable message within 1 s" in ended.err
    assert "Traceback" not in ended.err
    assert "hunter2" not in ended.out + ended.err


async def test_confirm__in_another_process__is_heeded_by_the_running_keeper_at_its_next_tick(trial, broker, tmp_path):
    async with keeper_of(trial, tmp_path, CALM, key=None, mqtt_url=broker) as keeper:
        await say(keeper, trial, VOL)
        assert isinstance((await keeper.tick())[0], NoChange)
        await say(keeper, trial, 4 * VOL)
        assert (await keeper.tick())[0].reason is Reason.FEED_JUMPED
        ended = await run_keeper("confirm", "vix", "-c", str(tmp_path / "keeper.toml"), cwd=tmp_path)
        assert ended.code == 0, ended
        outcome = (await keeper.tick())[0]
        confirmed = [entry.message() for entry in await keeper.journal.find(key="vix")]
    assert [type(message) for message in confirmed] == [QuoteConfirmed]
    assert getattr(outcome, "reason", None) is not Reason.FEED_JUMPED
    assert keeper.pipelines[0].memory.used["vix"].value == 4 * VOL


async def say(keeper, trial, vol):
    """Publish fresh quotes and wait until the keeper has them."""
    trial.pass_time(1)
    await keeper.follow_chain_time()
    sent = readings(trial, vol=vol)
    await publish(keeper.settings, *sent)
    async with asyncio.timeout(20):
        await keeper.saw({reading.feed: reading.timestamp_ms for reading in sent})
