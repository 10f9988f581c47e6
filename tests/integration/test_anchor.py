"""Check what a quote's jump is measured against, live and after a restart."""

from __future__ import annotations

import pytest
from trials import CALM, MARKET, SPOT, decide, keeper_of, refusal

from keeper.journal import Journal
from keeper.messages import Applied, NoChange, QuoteConfirmed, Reason, Rejected
from models.forecaster import DAY
from models.market import Quote, QuoteKind

pytestmark = pytest.mark.integration
pytest_plugins = ["chains"]


WILD = ((-1.0, 1.0), 0.5)


async def a_day_later(keeper, trial, script, **quotes):
    """Let the open bar close and the model answer it with a script; return that day's decision."""
    keeper.pipelines[0].memory.forecaster.published, keeper.pipelines[0].memory.forecaster.move = script
    trial.pass_time(DAY)
    trial.post_price(SPOT)
    return await decide(keeper, trial, **quotes)


@pytest.mark.parametrize("restarted", [False, True], ids=["live", "restarted"])
async def test_tick__quote_of_a_refused_decision__is_no_anchor_for_the_next(trial, tmp_path, restarted):
    """0.40 is no jump from 0.15, and 0.13 none from that; from 0.40 it would be one."""
    async with keeper_of(trial, tmp_path, CALM) as keeper:
        assert isinstance(await decide(keeper, trial, vol=0.15), NoChange)
        refused = await a_day_later(keeper, trial, WILD, vol=0.40)
        assert refused.reason is Reason.OUTSIDE_CORRIDOR
        if not restarted:
            assert isinstance(await a_day_later(keeper, trial, CALM, vol=0.13), NoChange)
    if restarted:
        async with keeper_of(trial, tmp_path, CALM) as keeper:
            assert isinstance(await decide(keeper, trial, vol=0.13), NoChange)


async def test_tick__quote_of_an_accepted_decision__is_the_anchor_for_the_next(trial, tmp_path):
    async with keeper_of(trial, tmp_path, CALM) as keeper:
        assert isinstance(await decide(keeper, trial, vol=0.15), NoChange)
        assert isinstance(await decide(keeper, trial, vol=0.40), Applied)
        assert await refusal(keeper, trial, vol=0.13) is Reason.FEED_JUMPED


async def confirm(keeper, trial, vol):
    """Vouch for a vol quote as another process would: in the journal alone."""
    journal = await Journal.open(keeper.settings.journal.url.get_secret_value(), lambda: 0)
    at = trial.now() * 1000
    await journal.append(QuoteConfirmed(MARKET, Quote("vix", MARKET, QuoteKind.VOL, vol, at, at), "seen elsewhere"))
    await journal.close()


@pytest.mark.parametrize("restarted", [False, True], ids=["live", "restarted"])
async def test_tick__jump_that_an_operator_confirmed__is_accepted_from_the_next_tick_on(trial, tmp_path, restarted):
    async with keeper_of(trial, tmp_path, CALM) as keeper:
        await decide(keeper, trial, vol=0.15)
        assert await refusal(keeper, trial, vol=0.60) is Reason.FEED_JUMPED
        await confirm(keeper, trial, 0.60)
        if not restarted:
            assert isinstance(await decide(keeper, trial, vol=0.60), Applied)
    if restarted:
        async with keeper_of(trial, tmp_path, CALM) as keeper:
            assert isinstance(await decide(keeper, trial, vol=0.60), Applied)


async def test_restart__confirmed_long_ago_and_decided_on_since__holds_quotes_against_the_latest_decision(
    trial, tmp_path
):
    async with keeper_of(trial, tmp_path, CALM, key=None) as keeper:
        await confirm(keeper, trial, 0.60)
        for vol in (0.60, 0.30, 0.15):
            assert not isinstance(await decide(keeper, trial, vol=vol), Rejected)
    async with keeper_of(trial, tmp_path, CALM, key=None) as keeper:
        assert isinstance(await decide(keeper, trial, vol=0.15), NoChange)
