"""Check the notice of a tightening from end to end: announced, waited for, made with the very bytes, or given up."""

from __future__ import annotations

import math

import pytest
from notices import DEADLINE, NOTICE, announced, made, pass_until
from trials import (
    CALM,
    LOOSE,
    TIGHT,
    audited,
    decide,
    incidents,
    keeper_of,
    refusal,
    rows,
    scripted,
)
from wires import DEATHS, Wire, killed_on_the_way, wired

from chain.attestation import announcing as announcement_of
from keeper.clock import ChainClock
from keeper.journal import EntryKind
from keeper.messages import Applied, DryRun, NoChange, Reason
from keeper.pipeline import NEXT_BLOCK_SECONDS
from keeper.verify import Agreement
from keeper.watch import Promise

pytestmark = pytest.mark.integration
pytest_plugins = ["chains"]


@pytest.fixture
def announcing(trial):
    """The trial market under a policy that wants every tightening announced."""
    trial.limit(notice_seconds=NOTICE)
    return trial


def calldata(trial, tx_hash):
    return trial.ask("eth_getTransactionByHash", tx_hash)["input"]


async def test_tick__tightening_that_needs_notice__is_announced_and_changes_nothing_yet(announcing, tmp_path):
    before = announcing.parameters()
    async with keeper_of(announcing, tmp_path, TIGHT) as keeper:
        outcome = await announced(keeper, announcing)
        kinds = [row.kind for row in await keeper.journal.find(after_id=2)]
        attempt = (await keeper.journal.last(EntryKind.ATTEMPT)).message()
    assert kinds == [
        EntryKind.ASSESSMENT,
        EntryKind.DELIBERATION,
        EntryKind.PROPOSAL,
        EntryKind.APPROVED,
        EntryKind.ATTEMPT,
        EntryKind.ANNOUNCED,
    ]
    assert (attempt.announces, attempt.tx_hash, attempt.digest) == (True, outcome.tx_hash, outcome.digest)
    assert outcome.applicable_at == outcome.block.timestamp + NOTICE
    on_chain = announcing.steward.functions.announced_at(outcome.attestation).call()
    assert on_chain == outcome.block.timestamp == announcing.now()
    assert (announcing.parameters(), announcing.sequence(), announcing.nonce()) == (before, 0, 1)


async def test_tick__until_the_notice_is_over__waits_and_then_makes_the_change_with_the_same_bytes(
    announcing, tmp_path
):
    before = announcing.parameters()
    async with keeper_of(announcing, tmp_path, TIGHT) as keeper:
        first = await announced(keeper, announcing)
        for _ in range(2):
            announcing.pass_time(NOTICE // 3)
            waiting = await decide(keeper, announcing)
            assert isinstance(waiting, NoChange)
            assert waiting.detail.startswith("version 1 is announced: another ")
        assert (announcing.parameters(), announcing.nonce()) == (before, 1)
        applied = await made(keeper, announcing, NOTICE // 3)
        assert len(await rows(keeper, EntryKind.PROPOSAL)) == 1
        assert (await audited(keeper, announcing)).chain == Agreement(own=1, foreign=0, before=0)
        assert isinstance(await decide(keeper, announcing), NoChange)
        assert await incidents(keeper) == []
    assert applied.digest == first.digest
    assert applied.block.timestamp >= first.applicable_at
    assert calldata(announcing, first.tx_hash) == announcement_of(calldata(announcing, applied.tx_hash))
    assert announcing.parameters() == applied.values
    assert all(new > old for new, old in zip(applied.values[:2], before[:2], strict=True))
    assert (announcing.sequence(), announcing.nonce()) == (1, 2)


async def test_tick__a_second_before_the_notice_is_over__still_waits(announcing, tmp_path):
    async with keeper_of(announcing, tmp_path, TIGHT) as keeper:
        first = await announced(keeper, announcing)
        pass_until(announcing, first.applicable_at - 1)
        assert isinstance(await decide(keeper, announcing), NoChange)
        pass_until(announcing, first.applicable_at)
        assert isinstance(await decide(keeper, announcing), Applied)


async def test_tick__notice_over_by_the_clock_and_not_by_the_newest_block__waits_for_the_block(announcing, tmp_path):
    async with keeper_of(announcing, tmp_path, TIGHT) as keeper:
        first = await announced(keeper, announcing)
        pipeline = keeper.pipelines[0]
        assert pipeline.due == first.applicable_at
        pass_until(announcing, first.applicable_at - 1)
        pipeline.clock = ChainClock(first.applicable_at + 3)
        assert isinstance(await decide(keeper, announcing), NoChange)
        assert pipeline.due == first.applicable_at + 3 + NEXT_BLOCK_SECONDS
        pass_until(announcing, first.applicable_at)
        assert isinstance(await decide(keeper, announcing), Applied)


async def test_tick__loosening__needs_no_notice(announcing, tmp_path):
    async with keeper_of(announcing, tmp_path, LOOSE) as keeper:
        assert isinstance(await decide(keeper, announcing), Applied)
        assert await rows(keeper, EntryKind.ANNOUNCED) == []


async def test_tick__model_has_changed_its_mind_meanwhile__makes_what_was_announced(announcing, tmp_path):
    async with keeper_of(announcing, tmp_path, TIGHT) as keeper:
        await announced(keeper, announcing)
    async with keeper_of(announcing, tmp_path, CALM) as keeper:
        await made(keeper, announcing)


# What leaves it standing


async def test_tick__gas_too_dear_when_it_is_due__is_refused_and_made_once_it_falls(announcing, tmp_path):
    async with keeper_of(announcing, tmp_path, TIGHT) as keeper:
        first = await announced(keeper, announcing)
        announcing.pass_time(NOTICE)
        announcing.ask("anvil_setNextBlockBaseFeePerGas", hex(300 * 10**9))
        announcing.ask("evm_mine")
        assert await refusal(keeper, announcing) is Reason.FEE_TOO_HIGH
        announcing.ask("anvil_setNextBlockBaseFeePerGas", hex(10**9))
        announcing.ask("evm_mine")
        assert (await decide(keeper, announcing)).digest == first.digest
    assert announcing.sequence() == 1


@pytest.mark.parametrize("restarted", [False, True], ids=["live", "restarted"])
async def test_tick__quotes_move_far_while_the_notice_runs__are_held_against_the_tick_before(
    announcing, tmp_path, restarted
):
    """1.0 is no jump from 0.4, and 0.4 none from 0.15; from 0.15 it would be one."""
    async with keeper_of(announcing, tmp_path, TIGHT) as keeper:
        first = await announced(keeper, announcing)
        announcing.pass_time(NOTICE // 2)
        assert isinstance(await decide(keeper, announcing, vol=0.4), NoChange)
        announcing.pass_time(NOTICE // 2)
        if not restarted:
            assert (await decide(keeper, announcing, vol=1.0)).digest == first.digest
            assert keeper.pipelines[0].memory.used["vix"].value == 0.4
    if restarted:
        async with keeper_of(announcing, tmp_path, TIGHT) as keeper:
            assert (await decide(keeper, announcing, vol=1.0)).digest == first.digest
    async with keeper_of(announcing, tmp_path, TIGHT) as keeper:
        assert keeper.pipelines[0].memory.used["vix"].value == 0.4


async def test_tick__model_is_not_to_be_believed_while_the_notice_runs__leaves_what_was_announced_standing(
    announcing, tmp_path
):
    async with keeper_of(announcing, tmp_path, TIGHT) as keeper:
        first = await announced(keeper, announcing)
    async with keeper_of(announcing, tmp_path, ((math.nan, math.nan), 0.03)) as keeper:
        assert await refusal(keeper, announcing) is Reason.MODEL_NOT_FINITE
        assert (await made(keeper, announcing)).digest == first.digest


# Restarts, lost sends and reorganisations


async def test_restart__between_announcement_and_change__makes_what_was_announced(announcing, tmp_path):
    async with keeper_of(announcing, tmp_path, TIGHT) as keeper:
        first = await announced(keeper, announcing)
    async with keeper_of(announcing, tmp_path, TIGHT) as keeper:
        assert isinstance(await decide(keeper, announcing), NoChange)
        applied = await made(keeper, announcing)
        assert keeper.pipelines[0].memory.promise == Promise(1, applied.values, applied.values)
        assert (await audited(keeper, announcing)).chain == Agreement(own=1, foreign=0, before=0)
    assert applied.digest == first.digest
    assert (announcing.sequence(), announcing.nonce()) == (1, 2)


@pytest.mark.parametrize("death", DEATHS)
async def test_restart__killed_while_it_announced__announces_once_and_makes_it(announcing, tmp_path, death):
    attempt = await killed_on_the_way(announcing, tmp_path, death)
    assert attempt.announces
    async with keeper_of(announcing, tmp_path, TIGHT) as keeper:
        assert isinstance(await decide(keeper, announcing), NoChange)
        (first,) = [row.message() for row in await rows(keeper, EntryKind.ANNOUNCED)]
        assert (first.digest, first.tx_hash) == (attempt.digest, attempt.tx_hash)
        assert (await made(keeper, announcing)).digest == attempt.digest
        assert len(await rows(keeper, EntryKind.ATTEMPT)) == 2
    assert (announcing.sequence(), announcing.nonce()) == (1, 2)


async def test_finish__request_of_the_announcement_lost__announces_it_once(announcing, tmp_path):
    async with wired(announcing, tmp_path) as keeper:
        keeper.rpc.lost = "request"
        assert await refusal(keeper, announcing) is Reason.IN_FLIGHT
        keeper.rpc.lost = ""
        assert isinstance(await decide(keeper, announcing), NoChange)
        assert len(await rows(keeper, EntryKind.ANNOUNCED)) == 1
        await made(keeper, announcing)
        assert len(await rows(keeper, EntryKind.PROPOSAL)) == 1
    assert (announcing.sequence(), announcing.nonce()) == (1, 2)


async def test_finish__request_of_the_announced_change_lost__makes_it_once(announcing, tmp_path):
    async with wired(announcing, tmp_path) as keeper:
        first = await announced(keeper, announcing)
        announcing.pass_time(NOTICE)
        keeper.rpc.lost = "request"
        assert await refusal(keeper, announcing) is Reason.IN_FLIGHT
        keeper.rpc.lost = ""
        await decide(keeper, announcing)
        assert [row.key for row in await rows(keeper, EntryKind.APPLIED)] == [first.digest]
        assert len(await rows(keeper, EntryKind.PROPOSAL)) == 1
    assert (announcing.sequence(), announcing.nonce()) == (1, 2)


async def test_tick__announcement_reorganised_into_a_later_block__waits_for_that_ones_notice(announcing, tmp_path):
    async with keeper_of(announcing, tmp_path, TIGHT) as keeper:
        first = await announced(keeper, announcing)
        raw = (await rows(keeper, EntryKind.ATTEMPT))[0].body["raw"]
        announcing.ask("anvil_rollback", 1)
        announcing.pass_time(DEADLINE // 2)
        announcing.send_again(raw)
        applicable_at = announcing.now() + NOTICE
        pass_until(announcing, first.applicable_at)
        assert isinstance(await decide(keeper, announcing), NoChange)
        pass_until(announcing, applicable_at)
        assert (await decide(keeper, announcing)).digest == first.digest
    assert (announcing.sequence(), announcing.nonce()) == (1, 2)


# Dry run


async def test_tick__dry_run__says_at_every_tick_what_it_would_announce(announcing, tmp_path):
    parts = scripted(TIGHT, open_rpc=Wire)
    async with keeper_of(announcing, tmp_path, parts=parts, key=None) as keeper:
        outcomes = [await decide(keeper, announcing) for _ in range(2)]
        approved = (await keeper.journal.last(EntryKind.APPROVED)).message()
        assert keeper.rpc.sent == []
    assert [type(outcome) for outcome in outcomes] == [DryRun] * 2
    assert outcomes[1].calldata == announcement_of(approved.preflight.calldata)
    assert outcomes[1].calldata != approved.preflight.calldata
    assert announcing.nonce() == 0
