"""Check each way a tick can end on a real chain with a real journal, and what a restarted keeper still knows."""

from __future__ import annotations

import math

import pytest
from eth_account import Account
from processes import run_keeper
from trials import (
    CALM,
    LOOSE,
    MARKET,
    SPOT,
    TIGHT,
    VOL,
    audited,
    decide,
    feed,
    incidents,
    keeper_of,
    refusal,
    rows,
    scripted,
)

from chain.anvil import KEYS
from chain.protocol import BindingError
from chain.rpc import Rpc, Unreachable
from chain.steward import market_id
from keeper.daemon import Parts
from keeper.demo.faults import CorruptingExecutor
from keeper.journal import EntryKind, Journal
from keeper.messages import (
    Applied,
    DryRun,
    IncidentKind,
    NoChange,
    ProposalKind,
    Reason,
    Rejected,
)
from keeper.verify import Agreement
from keeper.watch import Promise
from models.forecaster import DAY

pytestmark = pytest.mark.integration
pytest_plugins = ["chains"]


APART = SPOT * 1.06
"""A spot that the guard believes by itself, further from the oracle's than it may be."""

PERSISTENT = 3
"""`watch.persistence_ticks` as shipped."""


async def rollbacks(keeper):
    """Return how many rollbacks were proposed."""
    return [row.body["kind"] for row in await rows(keeper, EntryKind.PROPOSAL)].count(ProposalKind.ROLLBACK)


def untouched(trial):
    return (trial.nonce(), trial.sequence()) == (0, 0)


async def test_tick__calm_market__is_no_change_and_sends_nothing(trial, tmp_path):
    async with keeper_of(trial, tmp_path, CALM) as keeper:
        outcome = await decide(keeper, trial)
        kinds = [row.kind for row in await keeper.journal.find()]
    assert isinstance(outcome, NoChange)
    assert untouched(trial)
    assert kinds == [
        EntryKind.LIFECYCLE,
        EntryKind.BASELINE,
        EntryKind.ASSESSMENT,
        EntryKind.DELIBERATION,
        EntryKind.NO_CHANGE,
    ]


async def test_tick__tighter_forecast_and_higher_vol__applies_every_group_whole(trial, tmp_path):
    before = trial.parameters()
    async with keeper_of(trial, tmp_path, TIGHT) as keeper:
        outcome = await decide(keeper, trial, vol=0.2)
        kinds = [row.kind for row in await keeper.journal.find(after_id=2)]
    assert isinstance(outcome, Applied)
    assert outcome.values == trial.parameters()
    assert all(after > old for after, old in zip(outcome.values[:5], before[:5], strict=True))
    assert kinds[:6] == [
        EntryKind.ASSESSMENT,
        EntryKind.DELIBERATION,
        EntryKind.PROPOSAL,
        EntryKind.APPROVED,
        EntryKind.ATTEMPT,
        EntryKind.APPLIED,
    ]


async def test_tick__after_a_change__finds_nothing_more_to_do(trial, tmp_path):
    async with keeper_of(trial, tmp_path, TIGHT) as keeper:
        await decide(keeper, trial)
        assert isinstance(await decide(keeper, trial), NoChange)
        assert await incidents(keeper) == []
    assert trial.sequence() == 1


async def test_tick__dry_run__says_what_it_would_send(trial, tmp_path):
    async with keeper_of(trial, tmp_path, TIGHT, key=None) as keeper:
        outcome = await decide(keeper, trial)
        approved = (await keeper.journal.last(EntryKind.APPROVED)).message()
    assert isinstance(outcome, DryRun)
    assert outcome.calldata == approved.preflight.calldata
    assert untouched(trial)


async def test_tick__no_quote_yet__is_missing_feed(trial, tmp_path):
    async with keeper_of(trial, tmp_path, TIGHT) as keeper:
        outcome = (await keeper.tick())[0]
        assert outcome.reason is Reason.MISSING_FEED
        spot, _ = trial.quotes()
        feed(keeper, spot)
        outcome = (await keeper.tick())[0]
        assert outcome.reason is Reason.MISSING_FEED
        assert "vol" in outcome.detail
    assert untouched(trial)


async def test_tick__quotes_grow_old__is_stale_feed(trial, tmp_path):
    async with keeper_of(trial, tmp_path, TIGHT) as keeper:
        feed(keeper, *trial.quotes())
        trial.pass_time(90_010)
        trial.post_price(SPOT)
        assert (await keeper.tick())[0].reason is Reason.STALE_FEED
    assert untouched(trial)


async def test_tick__oracle_grows_old__is_stale_oracle(trial, tmp_path):
    async with keeper_of(trial, tmp_path, TIGHT) as keeper:
        trial.pass_time(90_010)
        assert await refusal(keeper, trial) is Reason.STALE_ORACLE
        trial.post_price(SPOT)
        assert isinstance(await decide(keeper, trial), Applied)


async def test_tick__spot_far_from_the_oracle__is_feed_diverges_with_an_incident(trial, tmp_path):
    async with keeper_of(trial, tmp_path, TIGHT) as keeper:
        assert await refusal(keeper, trial, spot=APART) is Reason.FEED_DIVERGES
        assert await incidents(keeper) == [IncidentKind.ORACLE_DIVERGED]
    assert untouched(trial)


async def test_tick__spot_just_within_the_deviation__is_decided(trial, tmp_path):
    async with keeper_of(trial, tmp_path, TIGHT) as keeper:
        assert isinstance(await decide(keeper, trial, spot=SPOT * 1.049), Applied)


async def test_tick__vol_ten_times_the_last_one__is_feed_jumped(trial, tmp_path):
    async with keeper_of(trial, tmp_path, CALM) as keeper:
        await decide(keeper, trial)
        assert await refusal(keeper, trial, vol=10 * VOL) is Reason.FEED_JUMPED
    assert untouched(trial)


async def test_tick__vol_outside_its_range__is_feed_out_of_range(trial, tmp_path):
    async with keeper_of(trial, tmp_path, CALM) as keeper:
        assert await refusal(keeper, trial, vol=3.1) is Reason.FEED_OUT_OF_RANGE


async def test_tick__too_few_bars__is_model_warming_up(trial, tmp_path):
    async with keeper_of(trial, tmp_path, TIGHT, extra={"model": "min_bars = 6"}) as keeper:
        assert await refusal(keeper, trial) is Reason.MODEL_WARMING_UP


async def test_tick__model_answers_nan__is_model_not_finite(trial, tmp_path):
    async with keeper_of(trial, tmp_path, ((math.nan, math.nan), 0.03)) as keeper:
        assert await refusal(keeper, trial) is Reason.MODEL_NOT_FINITE
    assert untouched(trial)


async def test_tick__model_far_out_of_the_corridor__is_outside_corridor(trial, tmp_path):
    async with keeper_of(trial, tmp_path, ((-1.0, 1.0), 0.5)) as keeper:
        assert await refusal(keeper, trial) is Reason.OUTSIDE_CORRIDOR
    assert untouched(trial)


async def test_tick__steward_paused__is_paused_until_governance_unpauses(trial, tmp_path):
    async with keeper_of(trial, tmp_path, TIGHT) as keeper:
        trial.pause()
        assert await refusal(keeper, trial) is Reason.PAUSED
        assert untouched(trial)
        trial.unpause()
        assert isinstance(await decide(keeper, trial), Applied)


async def test_roll_back__steward_paused__still_restores_the_last_good_version(trial, tmp_path):
    before = trial.parameters()
    async with keeper_of(trial, tmp_path, TIGHT) as keeper:
        await decide(keeper, trial)
        trial.pause()
        outcome = await keeper.pipelines[0].roll_back("a test asks for it")
    assert (type(outcome), outcome.kind) == (Applied, ProposalKind.ROLLBACK)
    assert trial.parameters() == before


async def test_roll_back__last_good_version_live__is_no_effect(trial, tmp_path):
    async with keeper_of(trial, tmp_path, CALM) as keeper:
        outcome = await keeper.pipelines[0].roll_back("a test asks for it")
    assert outcome.reason is Reason.NO_EFFECT
    assert untouched(trial)


async def loosened(keeper, trial):
    """Let the keeper loosen within the steward's probation; return the parameters before, which a rollback restores."""
    before = trial.parameters()
    assert isinstance(await decide(keeper, trial), Applied)
    assert all(new <= old for new, old in zip(trial.parameters(), before, strict=True))
    return before


async def test_tick__oracle_diverges_persistently_after_a_loosening__restores_the_tighter_version(trial, tmp_path):
    async with keeper_of(trial, tmp_path, LOOSE) as keeper:
        before = await loosened(keeper, trial)
        for _ in range(PERSISTENT - 1):
            assert await refusal(keeper, trial, spot=APART) is Reason.FEED_DIVERGES
        outcome = await decide(keeper, trial, spot=APART)
    assert (type(outcome), outcome.kind) == (Applied, ProposalKind.ROLLBACK)
    assert trial.parameters() == before


async def test_tick__oracle_diverges_a_tick_too_short_and_again_later__is_told_and_rolls_nothing_back(trial, tmp_path):
    async with keeper_of(trial, tmp_path, LOOSE) as keeper:
        await loosened(keeper, trial)
        loose = trial.parameters()
        for _ in range(2):
            for _ in range(PERSISTENT - 1):
                assert await refusal(keeper, trial, spot=APART) is Reason.FEED_DIVERGES
            assert isinstance(await decide(keeper, trial), NoChange)
        assert await incidents(keeper) == [IncidentKind.ORACLE_DIVERGED] * 2
        assert await rollbacks(keeper) == 0
    assert trial.parameters() == loose


DOUBTFUL = {
    "ten_times_the_last": (10 * SPOT, 0, Reason.FEED_JUMPED),
    "out_of_range": (0.5, 0, Reason.FEED_OUT_OF_RANGE),
    "stale_oracle": (APART, 90_010, Reason.STALE_ORACLE),
}


@pytest.mark.parametrize("case", DOUBTFUL)
async def test_tick__divergence_that_cannot_be_believed__is_no_incident_and_rolls_nothing_back(trial, tmp_path, case):
    spot, seconds, reason = DOUBTFUL[case]
    async with keeper_of(trial, tmp_path, LOOSE) as keeper:
        await loosened(keeper, trial)
        loose = trial.parameters()
        trial.pass_time(seconds or 1)
        assert [await refusal(keeper, trial, spot=spot) for _ in range(PERSISTENT + 1)] == [reason] * (PERSISTENT + 1)
        assert await incidents(keeper) == []
        assert await rollbacks(keeper) == 0
    assert trial.parameters() == loose


async def test_tick__divergence_of_a_stale_quote__is_no_incident_and_rolls_nothing_back(trial, tmp_path):
    async with keeper_of(trial, tmp_path, LOOSE) as keeper:
        await loosened(keeper, trial)
        loose = trial.parameters()
        feed(keeper, *trial.quotes(APART))
        trial.pass_time(90_010)
        trial.post_price(SPOT)
        outcomes = [(await keeper.tick())[0] for _ in range(PERSISTENT + 1)]
        assert [outcome.reason for outcome in outcomes] == [Reason.STALE_FEED] * (PERSISTENT + 1)
        assert await incidents(keeper) == []
        assert await rollbacks(keeper) == 0
    assert trial.parameters() == loose


async def test_tick__oracle_diverges_after_a_tightening__keeps_the_tighter_values(trial, tmp_path):
    async with keeper_of(trial, tmp_path, TIGHT) as keeper:
        await decide(keeper, trial)
        tightened = trial.parameters()
        for _ in range(PERSISTENT + 1):
            assert await refusal(keeper, trial, spot=APART) is Reason.FEED_DIVERGES
    assert trial.parameters() == tightened


async def test_tick__governance_changed_the_market_behind_the_steward__is_an_incident_without_rollback(trial, tmp_path):
    async with keeper_of(trial, tmp_path, CALM) as keeper:
        await decide(keeper, trial)
        trial.set_behind_the_steward("set_parameters", [*trial.parameters()[:5], 400])
        assert isinstance(await decide(keeper, trial), NoChange)
        await decide(keeper, trial)
        told = await rows(keeper, EntryKind.INCIDENT)
        assert [row.body["kind"] for row in told] == [IncidentKind.FOREIGN_CHANGE]
        assert told[0].body["demands_rollback"] is False
        assert await rows(keeper, EntryKind.PROPOSAL) == []
    assert trial.parameters()[5] == 400
    assert untouched(trial)


async def test_tick__another_keeper_changed_the_market_through_the_steward__is_an_incident_without_rollback(
    trial, folders
):
    async with keeper_of(trial, folders[0], CALM) as ours:
        await decide(ours, trial)
        async with keeper_of(trial, folders[1], TIGHT) as theirs:
            assert isinstance(await decide(theirs, trial), Applied)
            assert await incidents(theirs) == []
        trial.pass_time(60)
        await decide(ours, trial)
        assert await incidents(ours) == [IncidentKind.FOREIGN_CHANGE]
        assert await rollbacks(ours) == 0


async def test_tick__governance_records_its_own_change__is_told_accounted_for_and_may_be_restored(trial, tmp_path):
    async with keeper_of(trial, tmp_path, CALM) as keeper:
        await decide(keeper, trial)
        trial.set_behind_the_steward("set_parameters", [*trial.parameters()[:5], 400])
        trial.govern("rebase", market_id(MARKET))
        await decide(keeper, trial)
        told = await rows(keeper, EntryKind.INCIDENT)
        assert [row.body["kind"] for row in told] == [IncidentKind.FOREIGN_CHANGE]
        assert "made by governance" in told[0].body["detail"]
        assert trial.parameters() in keeper.pipelines[0].memory.once_applied
        assert (await audited(keeper, trial)).chain == Agreement(own=0, foreign=1, before=0)


async def test_tick__reorganisation_brings_another_keepers_change_into_blocks_already_read__is_still_told(
    trial, folders
):
    async with keeper_of(trial, folders[0], CALM) as ours:
        await decide(ours, trial)
        before = trial.ask("evm_snapshot")
        trial.pass_time(60)
        trial.pass_time(60)
        await decide(ours, trial)
        read_up_to = ours.pipelines[0].memory.seen_block
        trial.ask("evm_revert", before)
        async with keeper_of(trial, folders[1], TIGHT) as theirs:
            landed = await decide(theirs, trial)
        assert landed.block.number <= read_up_to
        trial.pass_time(180)
        await decide(ours, trial)
        assert await incidents(ours) == [IncidentKind.FOREIGN_CHANGE]


async def test_tick__wrong_value_slips_through__is_noticed_and_rolled_back_in_the_same_tick(trial, tmp_path):
    before = trial.parameters()
    async with keeper_of(trial, tmp_path, parts=scripted(TIGHT, wrap_executor=CorruptingExecutor)) as keeper:
        keeper.executor.armed = True
        outcome = await decide(keeper, trial)
        told = await rows(keeper, EntryKind.INCIDENT)
        applied = [row.body["kind"] for row in await rows(keeper, EntryKind.APPLIED)]
    assert (type(outcome), outcome.kind) == (Applied, ProposalKind.ROLLBACK)
    assert [row.body["kind"] for row in told] == [IncidentKind.READBACK_MISMATCH]
    assert applied == [ProposalKind.TUNE, ProposalKind.ROLLBACK]
    assert trial.parameters() == before
    assert (trial.nonce(), trial.sequence()) == (2, 2)


async def test_tick__wrong_value_and_a_keeper_that_died_of_it__is_rolled_back_by_the_next_one(trial, tmp_path):
    before = trial.parameters()

    class FailingLater(Rpc):
        """Answers until the change is mined, and not again."""

        sent = False

        async def batch(self, requests):
            if self.sent and requests[0][0] == "eth_getLogs":
                raise Unreachable("the endpoint went away")
            if self.sent and requests[0][0] == "eth_call" and len(requests) > 1:
                raise Unreachable("the endpoint went away")
            self.sent = self.sent or requests[0][0] == "eth_sendRawTransaction"
            return await super().batch(requests)

    parts = scripted(TIGHT, wrap_executor=CorruptingExecutor, open_rpc=FailingLater)
    async with keeper_of(trial, tmp_path, parts=parts) as keeper:
        keeper.executor.armed = True
        outcome = await decide(keeper, trial)
        assert (type(outcome), outcome.reason) == (Rejected, Reason.ENDPOINT_FAILED)
    assert trial.parameters() != before
    async with keeper_of(trial, tmp_path, CALM) as keeper:
        outcome = await decide(keeper, trial)
        assert (type(outcome), outcome.kind) == (Applied, ProposalKind.ROLLBACK)
    assert trial.parameters() == before


async def test_tick__endpoint_fails__is_endpoint_failed_and_the_next_tick_decides(trial, tmp_path):
    class Flaky(Rpc):
        down = False

        async def batch(self, requests):
            if self.down:
                raise Unreachable("the endpoint is down")
            return await super().batch(requests)

    async with keeper_of(trial, tmp_path, parts=scripted(TIGHT, open_rpc=Flaky)) as keeper:
        feed(keeper, *trial.quotes())
        keeper.rpc.down = True
        refused = (await keeper.tick())[0]
        assert refused.reason is Reason.ENDPOINT_FAILED
        assert (await keeper.journal.find())[-1].message() == refused
        keeper.rpc.down = False
        assert isinstance(await decide(keeper, trial), Applied)


async def test_tick__head_too_old_by_the_wall_clock__is_stale_block(trial, tmp_path):
    async with keeper_of(trial, tmp_path, TIGHT, clock='"wall"', warmup='""') as keeper:
        refused = (await keeper.tick())[0]
    assert refused.reason is Reason.STALE_BLOCK
    assert untouched(trial)


async def test_tick__market_no_longer_answers_its_steward__is_refused_and_sends_nothing(trial, tmp_path):
    code = trial.ask("eth_getCode", trial.market.address, "latest")
    async with keeper_of(trial, tmp_path, TIGHT) as keeper:
        trial.ask("anvil_setCode", trial.market.address, "0x")
        assert await refusal(keeper, trial) is Reason.ENDPOINT_FAILED
    trial.ask("anvil_setCode", trial.market.address, code)
    assert untouched(trial)


async def test_tick__steward_no_longer_answers_as_bound__halts(trial, tmp_path):
    async def broken():
        async with keeper_of(trial, tmp_path, TIGHT) as keeper:
            trial.ask("anvil_setCode", trial.steward.address, "0x")
            await decide(keeper, trial)

    with pytest.raises(BindingError, match="steward"):
        await broken()
    journal = await Journal.open(f"sqlite:///{tmp_path / 'keeper.db'}", lambda: 0)
    events = [row.body["event"] for row in await journal.find(kind=EntryKind.LIFECYCLE)]
    await journal.close()
    assert events == ["started", "halted"]


KNOWN = (
    "used",
    "oracle_price",
    "once_applied",
    "promise",
    "applied",
    "forecast",
    "logged",
    "first_block",
    "bars",
    "bars_end",
)


def knowledge(keeper):
    memory = keeper.pipelines[0].memory
    return {name: getattr(memory, name) for name in KNOWN} | {"realised": list(memory.realised)}


async def live_through_days(keeper, trial, days):
    for day in range(days):
        price = SPOT * (1 + 0.004 * (-1) ** day)
        trial.pass_time(DAY if day else 1)
        trial.post_price(price)
        await decide(keeper, trial, price, VOL * (1 + 0.05 * day))


async def test_restart__after_days_of_bars_and_changes__knows_what_it_knew(trial, tmp_path):
    real = Parts()
    options = {"parts": real, "warmup": '"builtin:spx"', "extra": {"model": "min_bars = 250"}}
    async with keeper_of(trial, tmp_path, **options) as keeper:
        await live_through_days(keeper, trial, 5)
        live = knowledge(keeper)
        changes = len(await rows(keeper, EntryKind.APPLIED))
        closed = len(await rows(keeper, EntryKind.BAR_CLOSED))
        fresh = keeper.pipelines[0].memory
    async with keeper_of(trial, tmp_path, **options) as keeper:
        restored = knowledge(keeper)
        assert keeper.pipelines[0].memory is not fresh
    assert (closed, changes >= 1) == (4, True)
    assert len(live["realised"]) == closed - 1
    assert restored == live


async def test_restart__after_a_rollback__still_holds_the_market_to_it(trial, tmp_path):
    async with keeper_of(trial, tmp_path, TIGHT) as keeper:
        await decide(keeper, trial)
        await keeper.pipelines[0].roll_back("a test asks for it")
        live = knowledge(keeper)
    async with keeper_of(trial, tmp_path, CALM) as keeper:
        restored = knowledge(keeper)
        assert restored["promise"] == live["promise"]
        assert restored["once_applied"] == live["once_applied"]
        assert isinstance(await decide(keeper, trial), NoChange)
        assert await incidents(keeper) == []


async def test_follow__own_change__is_journalled_once_and_again_by_nobody_after_a_restart(trial, tmp_path):
    async with keeper_of(trial, tmp_path, TIGHT) as keeper:
        await decide(keeper, trial)
        await decide(keeper, trial)
    async with keeper_of(trial, tmp_path, TIGHT) as keeper:
        await decide(keeper, trial)
        changes = await rows(keeper, EntryKind.CHANGE)
        applied = await rows(keeper, EntryKind.APPLIED)
        assert [row.key for row in changes] == [row.key for row in applied]
        assert await incidents(keeper) == []


class Lost(Rpc):
    """An endpoint that loses what is sent through it."""

    async def batch(self, requests):
        if requests[0][0] == "eth_sendRawTransaction":
            raise Unreachable("the request was lost")
        return await super().batch(requests)


async def test_tick__two_keys_take_turns__each_finishes_only_its_own_attempts(trial, tmp_path):
    other = Account.from_key(KEYS[2]).address
    trial = trial.signed_by(1, trial.keeper, other)
    lossy, shortly = scripted(TIGHT, open_rpc=Lost), {"chain": "receipt_timeout_seconds = 1"}
    async with keeper_of(trial, tmp_path, parts=lossy, key=KEYS[2], extra=shortly) as keeper:
        assert await refusal(keeper, trial) is Reason.IN_FLIGHT
    async with keeper_of(trial, tmp_path, TIGHT) as keeper:
        assert await keeper.finish() == []
        assert isinstance(await decide(keeper, trial), Applied)
        assert [attempt.sender for attempt in await keeper.journal.unfinished_attempts()] == [other]
    async with keeper_of(trial, tmp_path, TIGHT, key=KEYS[2]) as keeper:
        assert await keeper.finish() == []
        assert [row.body["detail"] for row in await rows(keeper, EntryKind.FAILED)] == [
            "reverted: risk_steward: wrong sequence"
        ]
    assert trial.sequence() == 1


# Another process on the same journal


async def test_tick__another_process_rolled_back_on_the_same_journal__is_no_foreign_change_and_its_promise_is_kept(
    trial, tmp_path
):
    before = trial.parameters()
    async with keeper_of(trial, tmp_path, TIGHT) as keeper:
        assert isinstance(await decide(keeper, trial), Applied)
        ended = await run_keeper("rollback", "-c", tmp_path / "keeper.toml", cwd=tmp_path)
        assert ended.code == 0, ended
        assert trial.parameters() == before
        assert isinstance(await decide(keeper, trial), NoChange)
        assert await incidents(keeper) == []
        assert keeper.pipelines[0].memory.promise == Promise(2, before, before)
        trial.set_behind_the_steward("set_parameters", [*trial.parameters()[:5], 400])
        await decide(keeper, trial)
        assert await incidents(keeper) == [IncidentKind.FOREIGN_CHANGE]
        assert (await audited(keeper, trial)).chain == Agreement(own=2, foreign=0, before=0)
