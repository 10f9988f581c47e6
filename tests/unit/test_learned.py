"""A restarted keeper takes up what its model had learned, and forecasts bit for bit as if it had not stopped."""

import sqlite3
from collections import deque
from contextlib import closing
from dataclasses import replace

import pytest
from builders import MARKET, NOW
from walks import bars_from, restless_returns

from config.schema import ModelSettings
from keeper.journal import EntryKind, Journal
from keeper.memory import Memory
from keeper.messages import BarClosed
from keeper.verify import verify_chain_of_hashes
from models.forecaster import Forecast
from models.registry import load_forecaster
from models.snapshot import state_of

DAY = 86_400
SETTINGS = ModelSettings(model="default", bar_seconds=DAY, warmup="builtin:spx", save_bars=10)
MODELS = ["default", "ewma-fhs", "gjr-fhs"]


def bars(count, seed=5):
    made = bars_from(restless_returns(count, seed=seed), seconds=DAY)
    return [replace(bar, asset=MARKET, iv=0.2 + place % 7 / 100) for place, bar in enumerate(made)]


STREAM = bars(140)
WARM, LIVE = STREAM[:90], STREAM[90:]
FOREIGN = "is not the one that was journalled: corrupt or foreign"


def fresh(model="default"):
    forecaster = load_forecaster(model)
    forecaster.reset(MARKET, DAY)
    return Memory(forecaster, deque(maxlen=20))


def learned(memory):
    """Everything that a later forecast is made from, to the byte."""
    state = state_of(memory.forecaster, [MARKET])
    return state, memory.forecast, memory.bars, memory.bars_end, list(memory.realised)


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/keeper.db"


@pytest.fixture
async def journal(url):
    opened = await Journal.open(url, lambda: NOW * 1000)
    yield opened
    await opened.close()


async def live(journal, memory, some, settings=SETTINGS):
    """Let a running keeper close bars."""
    for bar in some:
        said = memory.forecast.published if memory.forecast else None
        message = BarClosed(MARKET, bar, said)
        await journal.append(message)
        memory.note(message)
        await memory.keep(journal, MARKET, settings)


async def begun(journal, model="default", count=50):
    """A keeper's first life: warmed up, and so many bars long."""
    memory = fresh(model)
    memory.warm_up(WARM)
    await memory.restore(journal, MARKET)
    await memory.keep(journal, MARKET, SETTINGS)
    await live(journal, memory, LIVE[:count])
    return memory


async def restarted(journal, model="default", settings=SETTINGS):
    """What a restarted keeper knows, and why it took nothing up."""
    memory = fresh(model)
    refused = await memory.take_up(journal, MARKET, settings)
    if refused is not None:
        memory.warm_up(WARM)
    await memory.restore(journal, MARKET)
    return memory, refused


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("count", [0, 1, 9, 10, 25])
async def test_take_up__killed_at_any_bar__goes_on_bit_for_bit(journal, model, count):
    running = await begun(journal, model, count)
    again, refused = await restarted(journal, model)
    assert refused is None
    assert learned(again) == learned(running)
    for bar in LIVE[count:]:
        running.note(BarClosed(MARKET, bar, running.forecast.published))
        again.note(BarClosed(MARKET, bar, again.forecast.published))
        assert again.forecast == running.forecast
    assert learned(again) == learned(running)


async def test_take_up__in_place_of_a_replay__is_the_same_as_the_replay(journal):
    await begun(journal, count=25)
    again, _ = await restarted(journal)
    replayed = fresh()
    replayed.warm_up(WARM)
    await replayed.restore(journal, MARKET)
    assert learned(again) == learned(replayed)


async def test_take_up__saved_state__needs_only_the_bars_since(journal):
    await begun(journal, count=25)
    again = fresh()
    await again.take_up(journal, MARKET, SETTINGS)
    assert again.bars == len(WARM) + 20
    taken = []
    update = again.forecaster.update
    again.forecaster.update = lambda bar: taken.append(bar) or update(bar)
    await again.restore(journal, MARKET)
    assert taken == LIVE[20:25]


async def test_take_up__nothing_saved__says_nothing(journal):
    memory, refused = await restarted(journal)
    assert refused == ""
    assert memory.bars == len(WARM)


async def test_keep__each_interval__leaves_the_newest_and_the_one_before_it(journal, url):
    await begun(journal)
    rows = await journal.find(EntryKind.STATE_KEPT)
    assert [row.body["bars"] for row in rows] == [len(WARM) + more for more in range(0, len(LIVE) + 1, 10)]
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as database:
        there = {sha256 for (sha256,) in database.execute("SELECT sha256 FROM model_state")}
    assert there == {row.body["sha256"] for row in rows[-2:]}
    assert (await verify_chain_of_hashes(url)).ok


async def test_keep__after_taking_up__waits_for_the_rest_of_the_interval(journal):
    await begun(journal, count=15)
    again, _ = await restarted(journal)
    await live(journal, again, LIVE[15:20])
    assert (await journal.last(EntryKind.STATE_KEPT)).body["bars"] == len(WARM) + 20


async def tampered(journal, url, statement, *values):
    await begun(journal, count=25)
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as database, database:
        assert database.execute(statement, values).rowcount > 0


@pytest.mark.parametrize(
    ("statement", "rule"),
    [
        (
            "UPDATE model_state SET content = CAST(replace(content, '0.1', '0.2') AS BLOB)",
            FOREIGN,
        ),
        ("UPDATE model_state SET content = x'00'", FOREIGN),
        ("DELETE FROM model_state", "is not in the database"),
    ],
)
async def test_take_up__state_changed_behind_the_journal__is_refused_and_learned_anew(journal, url, statement, rule):
    await tampered(journal, url, statement)
    again, refused = await restarted(journal)
    assert refused == f"state of SPX after {len(WARM) + 20} bars: {rule}"
    replayed = fresh()
    replayed.warm_up(WARM)
    await replayed.restore(journal, MARKET)
    assert learned(again) == learned(replayed)


@pytest.mark.parametrize(
    ("model", "changes", "rule"),
    [
        ("ewma-fhs", {}, "saved by model"),
        ("default", {"warmup": ""}, "was warmed up with 'builtin:spx', model.warmup is ''"),
        ("default", {"bar_seconds": 3_600}, "is of bars of 86400 s, model.bar_seconds is 3600"),
    ],
)
async def test_take_up__other_model_or_settings__is_refused_with_its_reason(journal, model, changes, rule):
    await begun(journal, count=3)
    memory = fresh(model)
    assert rule in await memory.take_up(journal, MARKET, SETTINGS.model_copy(update=changes))
    assert (memory.forecast, memory.bars) == (None, 0)


async def test_take_up__models_changed_since__is_refused(journal, monkeypatch):
    await begun(journal, count=3)
    monkeypatch.setattr("models.snapshot.code_digest", lambda: "0" * 64)
    assert "saved by other code" in await fresh().take_up(journal, MARKET, SETTINGS)


async def test_keep__forecaster_that_cannot_be_saved__saves_nothing(journal):
    class Plain:
        model_id = "plain"

        def reset(self, asset, bar_seconds):
            pass

        def update(self, bar):
            return Forecast(bar.asset, bar.start, {}, None, (-0.1, 0.1))

    memory = Memory(Plain(), deque(maxlen=20))
    memory.warm_up(WARM)
    await memory.keep(journal, MARKET, SETTINGS)
    assert await journal.find(EntryKind.STATE_KEPT) == []


async def test_open__journal_from_before_states_were_saved__gets_their_table(url):
    first = await Journal.open(url, lambda: NOW * 1000)
    await begun(first, count=1)
    await first.close()
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as database, database:
        database.execute("DROP TABLE model_state")
    again = await Journal.open(url, lambda: NOW * 1000)
    _, refused = await restarted(again)
    await again.close()
    assert refused.endswith("is not in the database")
