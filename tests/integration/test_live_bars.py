"""Check the bars that a running keeper closes: their volatility, and the margin published before them."""

from __future__ import annotations

import math
import sqlite3
from contextlib import closing

import pytest
from trials import CALM, MARKET, SPOT, TIGHT, decide, feed, keeper_of, refusal, rows

from keeper.daemon import Parts
from keeper.journal import EntryKind
from keeper.messages import Reason
from models.forecaster import DAY
from models.snapshot import state_of

pytestmark = pytest.mark.integration
pytest_plugins = ["chains"]


async def bars(keeper):
    return [row.message() for row in await rows(keeper, EntryKind.BAR_CLOSED)]


async def test_bars__volatility__is_the_last_believable_one_stamped_inside_the_bar(trial, tmp_path):
    async with keeper_of(trial, tmp_path, CALM) as keeper:
        await decide(keeper, trial, vol=0.15)
        for vol in (0.16, 0.9):
            trial.pass_time(60)
            feed(keeper, *trial.quotes(vol=vol))
        trial.pass_time(DAY)
        trial.post_price(SPOT)
        await decide(keeper, trial, vol=0.2)
        (bar,) = await bars(keeper)
    assert bar.bar.iv == 0.16


async def test_bars__day_without_a_believable_volatility__has_none(trial, tmp_path):
    async with keeper_of(trial, tmp_path, CALM) as keeper:
        await decide(keeper, trial, vol=0.15)
        for vol in (0.9, 0.2):
            trial.pass_time(DAY)
            trial.post_price(SPOT)
            await decide(keeper, trial, vol=vol)
        first, second = await bars(keeper)
    assert (first.bar.iv, second.bar.iv) == (0.15, None)


async def test_bars__margin__is_the_one_published_before_the_bar(trial, tmp_path):
    async with keeper_of(trial, tmp_path, CALM, key=None) as keeper:
        await decide(keeper, trial)
        for price in (SPOT * 1.01, SPOT * 1.02):
            keeper.pipelines[0].memory.forecaster.published = TIGHT[0]
            trial.pass_time(DAY)
            trial.post_price(price)
            await decide(keeper, trial, price)
        first, second = await bars(keeper)
        (realised,) = keeper.pipelines[0].memory.realised
    assert (first.published, second.published) == (CALM[0], TIGHT[0])
    assert realised.move == pytest.approx(math.log(second.bar.close / first.bar.close))
    assert (realised.lower, realised.upper) == TIGHT[0]


async def test_bars__forecast_not_finite__publishes_no_margin_and_realises_nothing(trial, tmp_path):
    async with keeper_of(trial, tmp_path, ((math.nan, math.nan), 0.03)) as keeper:
        for day in range(3):
            trial.pass_time(DAY if day else 1)
            trial.post_price(SPOT)
            assert await refusal(keeper, trial) is Reason.MODEL_NOT_FINITE
        assert [bar.published for bar in await bars(keeper)] == [None, None]
        assert list(keeper.pipelines[0].memory.realised) == []


async def close_days(keeper, trial, prices):
    for price in prices:
        await decide(keeper, trial, price)
        trial.pass_time(DAY)
        trial.post_price(price)
    await decide(keeper, trial, prices[-1])


def state(keeper):
    memory = keeper.pipelines[0].memory
    return state_of(memory.forecaster, [MARKET]), memory.forecast, memory.bars, memory.bars_end


async def test_restart__model_s_state_saved__is_taken_up_and_forecasts_bit_for_bit_the_same(trial, tmp_path):
    real = {"parts": Parts(), "key": None, "extra": {"model": "min_bars = 1\nsave_bars = 2"}}
    async with keeper_of(trial, tmp_path, **real) as keeper:
        await close_days(keeper, trial, (SPOT * 1.01, SPOT * 0.98, SPOT * 1.02))
        before = state(keeper)
        kept = [row.body["bars"] for row in await rows(keeper, EntryKind.STATE_KEPT)]
    assert kept == [kept[0], kept[0] + 2]
    async with keeper_of(trial, tmp_path, **real) as keeper:
        assert state(keeper) == before
        assert keeper.pipelines[0].memory.learned_until < before[3]
        events = [row.body["event"] for row in await keeper.journal.find(EntryKind.LIFECYCLE)]
    assert "learning anew" not in events


async def test_restart__state_is_damaged__is_told_and_learned_anew_the_same(trial, tmp_path):
    real = {"parts": Parts(), "key": None, "extra": {"model": "min_bars = 1\nsave_bars = 2"}}
    async with keeper_of(trial, tmp_path, **real) as keeper:
        await close_days(keeper, trial, (SPOT * 1.01, SPOT * 0.98))
        before = state(keeper)
    with closing(sqlite3.connect(tmp_path / "keeper.db")) as database, database:
        database.execute("UPDATE model_state SET content = x'00'")
    async with keeper_of(trial, tmp_path, **real) as keeper:
        assert state(keeper) == before
        (told,) = [r.body for r in await keeper.journal.find(EntryKind.LIFECYCLE) if r.body["event"] == "learning anew"]
    assert "is not the one that was journalled" in told["detail"]
