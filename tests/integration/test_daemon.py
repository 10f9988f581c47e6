"""Check the running keeper: it starts, waits, drains on a signal, halts on the unforeseen, and outlives its broker."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from dataclasses import replace

import brokers
import pytest
from processes import environment, start_python, until
from trials import CALM, TIGHT, decide, feed, keeper_of, publish, readings, scripted, write_settings

from chain.anvil import KEYS
from chain.rpc import Refused, Rpc, Unreachable, WrongChain
from config.errors import ConfigError
from config.load import load_settings
from keeper.cli import EXIT_HALTED
from keeper.journal import EntryKind, Journal
from keeper.messages import Announced, Applied, NoChange, Reason, Rejected

pytestmark = pytest.mark.integration
pytest_plugins = ["chains"]

BREAK_DOWN = """
import sys
from keeper.pipeline import Pipeline

async def break_down(self):
    raise ZeroDivisionError("nobody foresaw this")

Pipeline.tick = break_down
sys.argv[0] = "keeper"
from keeper.cli import main
main()
"""


@contextlib.asynccontextmanager
async def journal_of(folder):
    journal = await Journal.open(f"sqlite:///{folder / 'keeper.db'}", lambda: 0)
    try:
        yield journal
    finally:
        await journal.close()


async def kinds(folder):
    async with journal_of(folder) as journal:
        return [entry.kind for entry in await journal.find()]


async def lifecycle(folder):
    async with journal_of(folder) as journal:
        return [entry.body["event"] for entry in await journal.find(kind=EntryKind.LIFECYCLE)]


@contextlib.asynccontextmanager
async def process(*arguments, cwd, env):
    running = await start_python(*arguments, cwd=cwd, env=env)
    try:
        yield running
    finally:
        if running.returncode is None:
            running.kill()
            await running.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_run__signal__drains_and_exits_0(trial, broker, tmp_path, number):
    config = write_settings(tmp_path, trial, broker, tick_seconds=1)
    await publish(load_settings(config, {}), *readings(trial))

    async def applied():
        return (tmp_path / "keeper.db").exists() and EntryKind.APPLIED in await kinds(tmp_path)

    arguments = ("-m", "keeper", "run", "-c", str(config))
    async with process(*arguments, cwd=tmp_path, env=environment(KEYS[1])) as running:
        await until(applied)
        running.send_signal(number)
        out, errors = await asyncio.wait_for(running.communicate(), 20)
    assert running.returncode == 0, errors
    assert b"live: approved changes are sent" in out
    assert b"tune applied as version 1" in out
    assert KEYS[1][2:].encode() not in out + errors
    assert await lifecycle(tmp_path) == ["started", "stopped"]
    assert trial.nonce() == 1


async def test_run__fault_that_nothing_foresaw__halts_with_4_and_a_halted_row(trial, broker, tmp_path):
    config = write_settings(tmp_path, trial, broker)
    await publish(load_settings(config, {}), *readings(trial))
    arguments = ("-c", BREAK_DOWN, "run", "-c", str(config))
    async with process(*arguments, cwd=tmp_path, env=environment(KEYS[1])) as running:
        _, errors = await asyncio.wait_for(running.communicate(), 40)
    assert running.returncode == EXIT_HALTED, errors
    assert b"nobody foresaw this" in errors
    assert KEYS[1][2:].encode() not in errors
    assert await lifecycle(tmp_path) == ["started", "halted"]
    assert trial.nonce() == 0


async def test_run__fault_in_the_feed__halts(trial, tmp_path):
    async def broken():
        async with keeper_of(trial, tmp_path) as keeper:

            async def fail():
                raise ZeroDivisionError("the feed broke")

            keeper.listening.cancel()
            await asyncio.gather(keeper.listening, return_exceptions=True)
            keeper.listening = asyncio.create_task(fail())
            feed(keeper, *trial.quotes())
            await keeper.run(asyncio.Event(), lambda _: None)

    with pytest.raises(ZeroDivisionError, match="the feed broke"):
        async with asyncio.timeout(20):
            await broken()
    assert await lifecycle(tmp_path) == ["started", "halted"]


async def test_run__every_tick_seconds__decides_again_on_its_own_thread(trial, broker, tmp_path):
    """In debug mode asyncio raises when another thread touches the loop's queues."""
    asyncio.get_running_loop().set_debug(True)
    outcomes, stop = [], asyncio.Event()

    def on_outcome(outcome):
        outcomes.append(outcome)
        if len(outcomes) == 3:
            stop.set()

    async with keeper_of(trial, tmp_path, CALM, mqtt_url=broker, tick_seconds=1) as keeper:
        await publish(keeper.settings, *readings(trial))
        async with asyncio.timeout(30):
            await keeper.run(stop, on_outcome)
    assert [type(outcome) for outcome in outcomes] == [NoChange] * 3


async def test_run__notice_over_long_before_the_next_tick__wakes_and_makes_the_change(trial, tmp_path):
    trial.limit(notice_seconds=2)
    outcomes, stop = [], asyncio.Event()

    def on_outcome(outcome):
        outcomes.append(outcome)
        trial.pass_time(3)
        if len(outcomes) == 2:
            stop.set()

    async with keeper_of(trial, tmp_path, TIGHT, tick_seconds=3_600, deadline_seconds=7_200) as keeper:
        feed(keeper, *trial.quotes())
        async with asyncio.timeout(30):
            await keeper.run(stop, on_outcome)
    assert [type(outcome) for outcome in outcomes] == [Announced, Applied]
    assert outcomes[0].digest == outcomes[1].digest


async def test_run__stopped_while_a_change_is_pending__lets_the_tick_end(trial, broker, tmp_path):
    outcomes, stop = [], asyncio.Event()

    class Stopping(Rpc):
        async def batch(self, requests):
            if requests[0][0] == "eth_sendRawTransaction":
                stop.set()
            return await super().batch(requests)

    parts = scripted(TIGHT, open_rpc=Stopping)
    async with keeper_of(trial, tmp_path, parts=parts, mqtt_url=broker) as keeper:
        await publish(keeper.settings, *readings(trial))
        async with asyncio.timeout(30):
            await keeper.run(stop, outcomes.append)
    assert [type(outcome) for outcome in outcomes] == [Applied]
    assert await lifecycle(tmp_path) == ["started", "stopped"]


async def test_keeper__broker_down_at_the_start__refuses_with_missing_feed_and_recovers(trial, tmp_path):
    broker = brokers.Amqtt(brokers.free_port())
    async with keeper_of(trial, tmp_path, CALM, mqtt_url=broker.url) as keeper:
        refused = (await keeper.tick())[0]
        assert (type(refused), refused.reason) == (Rejected, Reason.MISSING_FEED)
        await broker.start()
        try:
            sent = readings(trial)
            await publish(keeper.settings, *sent)
            async with asyncio.timeout(30):
                await keeper.saw({reading.feed: reading.timestamp_ms for reading in sent})
            assert isinstance((await keeper.tick())[0], NoChange)
        finally:
            await broker.stop()


async def test_keeper__bad_feed_message__is_journalled_and_not_used(trial, broker, tmp_path):
    async with keeper_of(trial, tmp_path, CALM, mqtt_url=broker) as keeper:
        await brokers.until(lambda: keeper.feed.connected)
        spot, vol = readings(trial)
        later = type(spot)("spx", spot.value, spot.timestamp_ms + 3_600_000)
        await publish(keeper.settings, later, vol, spot)
        async with asyncio.timeout(10):
            await keeper.saw({"spx": spot.timestamp_ms, "vix": vol.timestamp_ms})
        assert keeper.pipelines[0].newest["spx"].timestamp_ms == spot.timestamp_ms
        refused = await keeper.journal.find(kind=EntryKind.QUOTE_REFUSED)
    # At least once, by the protocol's own promise.
    assert {row.body["fault"] for row in refused} == {"FUTURE_DATED"}


async def test_open_keeper__deployment_of_another_chain__is_a_config_error(trial, tmp_path):
    with pytest.raises(ConfigError, match="chain_id"):
        async with keeper_of(trial, tmp_path, chain_id=1):
            pass


async def test_open_keeper__endpoint_serves_another_chain__is_wrong_chain(trial, tmp_path):
    class Elsewhere(Rpc):
        async def batch(self, requests):
            return ["0x1"] if requests[0][0] == "eth_chainId" else await super().batch(requests)

    with pytest.raises(WrongChain, match="serves chain 1"):
        async with keeper_of(trial, tmp_path, parts=scripted(CALM, open_rpc=Elsewhere)):
            pass
    assert not (tmp_path / "keeper.db").exists()


async def test_open_keeper__recording_of_other_bars__is_a_config_error(trial, tmp_path):
    with pytest.raises(ConfigError, match=r"model\.warmup"):
        async with keeper_of(trial, tmp_path, bar_seconds=3600):
            pass


async def test_tick__endpoint_fails_while_finishing__refuses_every_market(trial, tmp_path):
    class Deaf(Rpc):
        deaf = False

        async def batch(self, requests):
            if self.deaf:
                raise Unreachable("nobody there")
            return await super().batch(requests)

    async with keeper_of(trial, tmp_path, parts=scripted(CALM, open_rpc=Deaf)) as keeper:
        keeper.rpc.deaf = True
        outcomes = await keeper.tick()
        assert [outcome.reason for outcome in outcomes] == [Reason.ENDPOINT_FAILED]
        keeper.rpc.deaf = False
        assert isinstance(await decide(keeper, trial), NoChange)


def unjudging(trial):
    """The trial market with a view of its accounts that leaves the verdict to the health view."""
    accounts = trial.protocol.accounts
    returns = [replace(one, name=None if one.name == "liquidatable" else one.name) for one in accounts.view.returns]
    view = accounts.view.model_copy(update={"returns": returns})
    bound = accounts.model_copy(update={"view": view})
    return replace(trial, protocol=trial.protocol.model_copy(update={"accounts": bound}))


async def test_tick__health_view_of_one_account_reverts__refuses_and_names_account_and_view(trial, tmp_path):
    class Broken(Rpc):
        broken = ""

        async def batch(self, requests):
            for method, params in requests:
                if self.broken and method == "eth_call" and self.broken in params[0]["data"]:
                    raise Refused(method, 3, "execution reverted", None)
            return await super().batch(requests)

    async with keeper_of(unjudging(trial), tmp_path, parts=scripted(CALM, open_rpc=Broken)) as keeper:
        keeper.rpc.broken = trial.risky[2:].lower()
        refused = await decide(keeper, trial)
        assert (type(refused), refused.reason) == (Rejected, Reason.ACCOUNT_UNREADABLE)
        view = trial.protocol.health.function
        assert refused.detail == f"health: {view} of account {trial.risky} is refused: execution reverted"
        keeper.rpc.broken = ""
        assert isinstance(await decide(keeper, trial), NoChange)


async def test_tick__endpoint_serves_another_chain_all_at_once__refuses_until_it_serves_ours_again(trial, tmp_path):
    class Turncoat(Rpc):
        away = False

        async def batch(self, requests):
            answers = await super().batch(requests)
            return [
                "0x1" if request[0] == "eth_chainId" and self.away else answer
                for request, answer in zip(requests, answers, strict=True)
            ]

    async with keeper_of(trial, tmp_path, parts=scripted(TIGHT, open_rpc=Turncoat)) as keeper:
        feed(keeper, *trial.quotes())
        keeper.rpc.away = True
        refused = (await keeper.tick())[0]
        assert (type(refused), refused.reason) == (Rejected, Reason.ENDPOINT_FAILED)
        assert "chain 1" in refused.detail
        assert trial.nonce() == 0
        keeper.rpc.away = False
        assert isinstance((await keeper.tick())[0], Applied)


async def test_open_keeper__key_that_is_no_signer__is_a_config_error_and_no_start(trial, tmp_path):
    with pytest.raises(ConfigError, match=r"0x[0-9a-fA-F]{40} is no signer"):
        async with keeper_of(trial, tmp_path, key=KEYS[2]):
            pass
    assert await lifecycle(tmp_path) == []


async def test_open_keeper__binding_of_another_contract__names_every_finding_and_starts_nothing(trial, tmp_path):
    """Two getters in each other's place, a view that is not there, and a key that signs nothing: all told at once."""
    first, second, *others = trial.protocol.parameters
    swapped = [
        first.model_copy(update={"getter": second.getter}),
        second.model_copy(update={"getter": first.getter}),
        *others,
    ]
    price = trial.protocol.price.model_copy(update={"function": "prise()"})
    wrong = trial.protocol.model_copy(update={"parameters": swapped, "price": price})
    with pytest.raises(ConfigError) as caught:
        async with keeper_of(replace(trial, protocol=wrong), tmp_path, key=KEYS[2]):
            pass
    told = str(caught.value).split("\n")
    for words in ("is no signer", "market has no prise()", "spot_shock_up", "spot_shock_down"):
        assert any(words in line for line in told), caught.value
    assert not (tmp_path / "keeper.db").exists()
    assert trial.nonce() == 0


async def test_open_keeper__more_signatures_demanded_than_it_holds_keys__is_a_config_error(trial, tmp_path):
    strict = trial.signed_by(2, trial.keeper, trial.deployer.address)
    with pytest.raises(ConfigError, match="1 of 2 signatures"):
        async with keeper_of(strict, tmp_path):
            pass


async def test_open_keeper__signers_replaced_since_the_deployment_file__is_a_config_error(trial, tmp_path):
    trial.signed_by(1, trial.keeper, trial.deployer.address)
    with pytest.raises(ConfigError, match="signers are as recorded"):
        async with keeper_of(trial, tmp_path):
            pass


async def test_open_keeper__steward_whose_code_is_not_ours__is_a_config_error(trial, tmp_path):
    code = trial.ask("eth_getCode", trial.steward.address, "latest")
    trial.ask("anvil_setCode", trial.steward.address, code[:-2] + f"{int(code[-2:], 16) ^ 1:02x}")
    with pytest.raises(ConfigError, match="steward"):
        async with keeper_of(trial, tmp_path):
            pass
