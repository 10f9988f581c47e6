"""Check the notice of a tightening from end to end: announced, waited for, made with the very bytes, or given up."""

from __future__ import annotations

import math

import pytest
from trials import (
    CALM,
    LOOSE,
    RISKY_PRICE,
    SPOT,
    TIGHT,
    audited,
    decide,
    incidents,
    keeper_of,
    refusal,
    rows,
    scripted,
)
from wires import DEATHS, SEND, Wire, killed_on_the_way, wired

from chain.attestation import submitted_for
from keeper.journal import EntryKind
from keeper.messages import Announced, Applied, DryRun, Failed, IncidentKind, NoChange, Reason, Rejected
from keeper.verify import Agreement
from keeper.watch import Promise

pytestmark = pytest.mark.integration
pytest_plugins = ["chains"]

NOTICE = 3_600
"""Far longer than a proposal without notice lives, far shorter than quotes do."""

DEADLINE = 600
"""`propose.deadline_seconds` as shipped: how long after its notice a change may still be made."""


@pytest.fixture
def announcing(trial):
    """The trial market under a policy that wants every tightening announced."""
    trial.limit(notice_seconds=NOTICE)
    return trial


async def announced(keeper, trial):
    """Let the keeper announce its tightening; return that."""
    outcome = await decide(keeper, trial)
    assert isinstance(outcome, Announced), outcome
    return outcome


async def made(keeper, trial, seconds=NOTICE):
    """Let the rest of the notice pass and the keeper make the announced change; return that."""
    trial.pass_time(seconds)
    outcome = await decide(keeper, trial)
    assert isinstance(outcome, Applied), outcome
    return outcome


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
    assert submitted_for(calldata(announcing, first.tx_hash), "apply") == calldata(announcing, applied.tx_hash)
    assert announcing.parameters() == applied.values
    assert all(new > old for new, old in zip(applied.values[:2], before[:2], strict=True))
    assert (announcing.sequence(), announcing.nonce()) == (1, 2)


async def test_tick__a_second_before_the_notice_is_over__still_waits(announcing, tmp_path):
    async with keeper_of(announcing, tmp_path, TIGHT) as keeper:
        first = await announced(keeper, announcing)
        announcing.pass_time(first.applicable_at - announcing.now() - 1)
        assert isinstance(await decide(keeper, announcing), NoChange)
        announcing.pass_time(1)
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


# What ends an announced change


async def test_tick__vetoed__is_refused_as_vetoed_and_announced_anew_as_another_change(announcing, tmp_path):
    async with keeper_of(announcing, tmp_path, TIGHT) as keeper:
        first = await announced(keeper, announcing)
        announcing.deployer.send(announcing.steward, "veto", first.attestation)
        announcing.pass_time(NOTICE)
        assert await refusal(keeper, announcing) is Reason.VETOED
        assert announcing.sequence() == 0
        second = await announced(keeper, announcing)
        assert second.digest != first.digest
        assert (await made(keeper, announcing)).digest == second.digest


async def test_tick__state_changed_meanwhile__is_given_up_and_announced_anew(announcing, tmp_path):
    async with keeper_of(announcing, tmp_path, TIGHT) as keeper:
        first = await announced(keeper, announcing)
        announcing.set_behind_the_steward("set_parameters", [*announcing.parameters()[:5], 400])
        assert await refusal(keeper, announcing) is Reason.STATE_CHANGED
        assert await incidents(keeper) == [IncidentKind.FOREIGN_CHANGE]
        second = await announced(keeper, announcing)
        assert second.digest != first.digest
        applied = await made(keeper, announcing)
    assert (applied.digest, applied.values[5]) == (second.digest, 400)


async def test_tick__operator_rolled_back_meanwhile__is_given_up(announcing, tmp_path):
    announcing.limit(cooldown_seconds=0)
    async with keeper_of(announcing, tmp_path, TIGHT) as keeper:
        assert isinstance(await decide(keeper, announcing), Applied)
    announcing.limit(cooldown_seconds=0, notice_seconds=NOTICE)
    async with keeper_of(announcing, tmp_path, TIGHT) as keeper:
        await announced_higher(keeper, announcing)
        assert isinstance(await keeper.pipelines[0].roll_back("a test asks for it"), Applied)
        assert await refusal(keeper, announcing, vol=0.2) is Reason.SEQUENCE_TAKEN
    assert announcing.sequence() == 2


async def announced_higher(keeper, trial):
    """Let the keeper announce a rise of the shocked vol alone."""
    assert isinstance(await decide(keeper, trial, vol=0.2), Announced)


async def test_tick__deadline_passed_while_it_was_down__is_expired_and_announced_anew(announcing, tmp_path):
    async with keeper_of(announcing, tmp_path, TIGHT) as keeper:
        first = await announced(keeper, announcing)
    announcing.pass_time(NOTICE + DEADLINE + 1)
    async with keeper_of(announcing, tmp_path, TIGHT) as keeper:
        assert await refusal(keeper, announcing) is Reason.EXPIRED
        assert (await announced(keeper, announcing)).digest != first.digest
    assert announcing.sequence() == 0


async def test_tick__paused_meanwhile__is_given_up(announcing, tmp_path):
    async with keeper_of(announcing, tmp_path, TIGHT) as keeper:
        await announced(keeper, announcing)
        announcing.pause()
        announcing.pass_time(NOTICE)
        assert await refusal(keeper, announcing) is Reason.PAUSED
        announcing.unpause()
        await announced(keeper, announcing)


async def test_tick__price_moved_during_the_notice__the_steward_stops_it_and_the_next_tick_names_the_account(
    announcing, tmp_path
):
    async with keeper_of(announcing, tmp_path, TIGHT) as keeper:
        await announced(keeper, announcing)
        announcing.pass_time(NOTICE)
        announcing.post_price(RISKY_PRICE)
        stopped = await decide(keeper, announcing, RISKY_PRICE)
        assert (type(stopped), stopped.reason) == (Rejected, Reason.SIMULATION_FAILED)
        assert "too many liquidatable" in stopped.detail
        named = await decide(keeper, announcing, RISKY_PRICE)
        assert (type(named), named.reason) == (Rejected, Reason.IMPACT_TOO_LARGE)
        assert announcing.risky in named.detail
    assert (announcing.sequence(), announcing.nonce()) == (0, 1)


async def test_tick__price_moved_during_the_notice_and_nobody_is_probed__is_refused_before_anything_is_signed(
    announcing, tmp_path
):
    async with keeper_of(announcing, tmp_path, TIGHT, extra={"guard": "probed_accounts = 0"}) as keeper:
        await announced(keeper, announcing)
        announcing.pass_time(NOTICE)
        announcing.post_price(RISKY_PRICE)
        refused = await decide(keeper, announcing, RISKY_PRICE)
        assert (type(refused), refused.reason) == (Rejected, Reason.IMPACT_TOO_LARGE)
        assert announcing.risky in refused.detail
        assert len(await rows(keeper, EntryKind.ATTEMPT)) == 1


async def test_tick__announced_change_reverts_when_it_is_made__is_failed_and_announced_anew(announcing, tmp_path):
    async with wired(announcing, tmp_path) as keeper:
        await announced(keeper, announcing)
        announcing.pass_time(NOTICE)
        keeper.rpc.before = lambda _: announcing.post_price(RISKY_PRICE)
        failed = await decide(keeper, announcing)
        assert (type(failed), failed.detail) == (Failed, "reverted: risk_steward: too many liquidatable")
        keeper.rpc.before = None
        announcing.post_price(SPOT)
        await announced(keeper, announcing)
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


async def test_tick__signer_replaced_and_named_again__makes_what_was_announced(announcing, tmp_path):
    async with keeper_of(announcing, tmp_path, TIGHT) as keeper:
        first = await announced(keeper, announcing)
        announcing.signed_by(1, announcing.deployer.address)
        announcing.pass_time(NOTICE)
        assert await refusal(keeper, announcing) is Reason.NOT_ATTESTED
        announcing.signed_by(1, announcing.keeper)
        assert (await decide(keeper, announcing)).digest == first.digest


async def test_tick__governance_waives_the_notice__makes_it_at_once(announcing, tmp_path):
    async with keeper_of(announcing, tmp_path, TIGHT) as keeper:
        first = await announced(keeper, announcing)
        announcing.limit(notice_seconds=0)
        assert (await decide(keeper, announcing)).digest == first.digest


async def test_tick__governance_lengthens_the_notice__waits_until_that_is_over_too(announcing, tmp_path):
    async with keeper_of(announcing, tmp_path, TIGHT) as keeper:
        first = await announced(keeper, announcing)
        announcing.limit(notice_seconds=NOTICE + DEADLINE // 2)
        announcing.pass_time(NOTICE)
        assert isinstance(await decide(keeper, announcing), NoChange)
        announcing.pass_time(DEADLINE // 2)
        assert (await decide(keeper, announcing)).digest == first.digest


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


async def test_tick__announcement_reorganised_away__is_given_up_and_announced_anew(announcing, tmp_path):
    async with keeper_of(announcing, tmp_path, TIGHT) as keeper:
        first = await announced(keeper, announcing)
        announcing.reorganise()
        assert announcing.nonce() == 0
        assert await refusal(keeper, announcing) is Reason.NOT_ANNOUNCED
        second = await announced(keeper, announcing)
        assert second.tx_hash != first.tx_hash
        assert (await made(keeper, announcing)).digest == second.digest
        assert (await audited(keeper, announcing)).chain == Agreement(own=1, foreign=0, before=0)


async def test_tick__announcement_reorganised_into_a_later_block__waits_for_that_ones_notice(announcing, tmp_path):
    async with keeper_of(announcing, tmp_path, TIGHT) as keeper:
        first = await announced(keeper, announcing)
        raw = (await rows(keeper, EntryKind.ATTEMPT))[0].body["raw"]
        announcing.ask("anvil_rollback", 1)
        announcing.pass_time(DEADLINE // 2)
        announcing.ask(SEND, raw)
        announcing.pass_time(first.applicable_at - announcing.now())
        assert isinstance(await decide(keeper, announcing), NoChange)
        announcing.pass_time(DEADLINE // 2)
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
    assert outcomes[1].calldata == submitted_for(approved.preflight.calldata, "announce")
    assert outcomes[1].calldata != approved.preflight.calldata
    assert announcing.nonce() == 0
