"""Check what ends an announced change, that a veto holds, and that what may still be made is told and waited out."""

from __future__ import annotations

import pytest
from notices import DEADLINE, NOTICE, announced, made, pass_until
from trials import CALM, LOOSE, RISKY_PRICE, SPOT, TIGHT, audited, decide, incidents, keeper_of, refusal, rows
from wires import wired

from keeper.journal import EntryKind
from keeper.messages import Announced, Applied, Failed, IncidentKind, NoChange, Reason, Rejected
from keeper.verify import Agreement

pytestmark = pytest.mark.integration
pytest_plugins = ["chains"]

HOLDOFF = 2_000
"""How long a veto counts here."""

TOLD = [IncidentKind.STILL_APPLICABLE]


@pytest.fixture
def announcing(trial):
    """The trial market under a policy that wants every tightening announced."""
    trial.limit(notice_seconds=NOTICE)
    return trial


def patient(trial, folder, script=TIGHT, **options):
    """Open a keeper for which a veto counts for `HOLDOFF` seconds."""
    return keeper_of(trial, folder, script, veto_holdoff_seconds=HOLDOFF, **options)


def veto(trial, announcement):
    """Let the guardian veto an announced change."""
    trial.deployer.send(trial.steward, "veto", announcement.attestation)


async def waits(keeper, trial, words, **quotes):
    """Decide, and return the detail of the idle tick, which must hold the words and nothing sent."""
    nonce = trial.nonce()
    outcome = await decide(keeper, trial, **quotes)
    assert isinstance(outcome, NoChange), outcome
    assert words in outcome.detail
    assert trial.nonce() == nonce
    return outcome.detail


# A veto


async def test_veto__while_the_notice_runs__holds_until_the_hold_off_is_over_then_it_is_announced_anew(
    announcing, tmp_path
):
    async with patient(announcing, tmp_path) as keeper:
        first = await announced(keeper, announcing)
        veto(announcing, first)
        assert await refusal(keeper, announcing) is Reason.VETOED
        seen = announcing.now()
        for _ in range(2):
            announcing.pass_time(HOLDOFF // 4)
            await waits(keeper, announcing, f"{first.attestation} was vetoed")
        pass_until(announcing, seen + HOLDOFF - 1)
        await waits(keeper, announcing, "held off for another 1 s")
        pass_until(announcing, seen + HOLDOFF)
        second = await announced(keeper, announcing)
        assert second.digest != first.digest
        assert (await made(keeper, announcing)).digest == second.digest
        assert await incidents(keeper) == []


async def test_veto__keeper_restarted__still_holds(announcing, tmp_path):
    async with patient(announcing, tmp_path) as keeper:
        first = await announced(keeper, announcing)
        veto(announcing, first)
        assert await refusal(keeper, announcing) is Reason.VETOED
    for _ in range(2):
        async with patient(announcing, tmp_path) as keeper:
            announcing.pass_time(HOLDOFF // 4)
            await waits(keeper, announcing, f"{first.attestation} was vetoed")
    announcing.pass_time(HOLDOFF)
    async with patient(announcing, tmp_path) as keeper:
        await announced(keeper, announcing)


async def test_veto__while_the_keeper_was_down_until_long_after_the_deadline__holds(announcing, tmp_path):
    async with patient(announcing, tmp_path) as keeper:
        first = await announced(keeper, announcing)
    veto(announcing, first)
    announcing.pass_time(NOTICE + DEADLINE + 60)
    async with patient(announcing, tmp_path) as keeper:
        assert await refusal(keeper, announcing) is Reason.VETOED
        await waits(keeper, announcing, f"{first.attestation} was vetoed")


async def test_veto__of_a_change_that_was_given_up_already__holds(announcing, tmp_path):
    async with patient(announcing, tmp_path) as keeper:
        first = await announced(keeper, announcing)
        announcing.set_behind_the_steward("set_parameters", [*announcing.parameters()[:5], 400])
        assert await refusal(keeper, announcing) is Reason.STATE_CHANGED
        veto(announcing, first)
        assert await refusal(keeper, announcing) is Reason.VETOED
        await waits(keeper, announcing, f"{first.attestation} was vetoed")


async def test_veto__quotes_cannot_be_used__is_heeded_all_the_same(announcing, tmp_path):
    async with patient(announcing, tmp_path) as keeper:
        veto(announcing, await announced(keeper, announcing))
        assert await refusal(keeper, announcing, vol=99.0) is Reason.VETOED
        assert await refusal(keeper, announcing, vol=99.0) is Reason.FEED_OUT_OF_RANGE


async def test_veto__model_wants_to_loosen_meanwhile__loosens(announcing, tmp_path):
    async with patient(announcing, tmp_path) as keeper:
        veto(announcing, await announced(keeper, announcing))
        assert await refusal(keeper, announcing) is Reason.VETOED
    async with patient(announcing, tmp_path, LOOSE) as keeper:
        loosened = await decide(keeper, announcing)
        assert isinstance(loosened, Applied)


async def test_veto__operator_asks_for_a_rollback__is_rolled_back(announcing, tmp_path):
    async with patient(announcing, tmp_path, LOOSE) as keeper:
        assert isinstance(await decide(keeper, announcing), Applied)
    announcing.limit(cooldown_seconds=0, notice_seconds=NOTICE)
    announcing.pass_time(60)
    async with patient(announcing, tmp_path) as keeper:
        veto(announcing, await announced(keeper, announcing))
        assert await refusal(keeper, announcing) is Reason.VETOED
        assert isinstance(await keeper.pipelines[0].roll_back("a test asks for it"), Applied)


# What makes the first one void


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


async def test_tick__state_changed_and_set_back__is_told_and_no_second_one_is_announced_beside_it(announcing, tmp_path):
    async with keeper_of(announcing, tmp_path, TIGHT) as keeper:
        first = await announced(keeper, announcing)
        before = announcing.parameters()
        announcing.set_behind_the_steward("set_parameters", [*before[:5], 400])
        assert await refusal(keeper, announcing) is Reason.STATE_CHANGED
        announcing.set_behind_the_steward("set_parameters", [*before])
        await waits(keeper, announcing, f"anyone may make {first.attestation} until ")
        assert await incidents(keeper) == [IncidentKind.FOREIGN_CHANGE, *TOLD]


async def test_tick__operator_rolled_back_meanwhile__is_given_up(announcing, tmp_path):
    announcing.limit(cooldown_seconds=0)
    async with keeper_of(announcing, tmp_path, TIGHT) as keeper:
        assert isinstance(await decide(keeper, announcing), Applied)
    announcing.limit(cooldown_seconds=0, notice_seconds=NOTICE)
    async with keeper_of(announcing, tmp_path, TIGHT) as keeper:
        await announced(keeper, announcing, vol=0.2)
        assert isinstance(await keeper.pipelines[0].roll_back("a test asks for it"), Applied)
        assert await refusal(keeper, announcing, vol=0.2) is Reason.SEQUENCE_TAKEN
        assert await incidents(keeper) == []
    assert announcing.sequence() == 2


async def test_tick__deadline_passed_while_it_was_down__is_expired_and_announced_anew(announcing, tmp_path):
    async with keeper_of(announcing, tmp_path, TIGHT) as keeper:
        first = await announced(keeper, announcing)
    announcing.pass_time(NOTICE + DEADLINE + 1)
    async with keeper_of(announcing, tmp_path, TIGHT) as keeper:
        assert await refusal(keeper, announcing) is Reason.EXPIRED
        assert (await announced(keeper, announcing)).digest != first.digest
        assert await incidents(keeper) == []
    assert announcing.sequence() == 0


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


async def test_tick__another_policy_in_force__voids_it_and_the_change_is_made_by_the_new_one(announcing, tmp_path):
    async with keeper_of(announcing, tmp_path, TIGHT) as keeper:
        first = await announced(keeper, announcing)
        announcing.limit(notice_seconds=0)
        assert await refusal(keeper, announcing) is Reason.POLICY_CHANGED
        assert await incidents(keeper) == []
        applied = await decide(keeper, announcing)
        assert isinstance(applied, Applied)
        assert applied.digest != first.digest


# What anyone may still make


async def test_tick__price_moved_during_the_notice__is_given_up_told_and_waited_out(announcing, tmp_path):
    async with keeper_of(announcing, tmp_path, TIGHT) as keeper:
        first = await announced(keeper, announcing)
        announcing.pass_time(NOTICE)
        announcing.post_price(RISKY_PRICE)
        stopped = await decide(keeper, announcing, RISKY_PRICE)
        assert (type(stopped), stopped.reason) == (Rejected, Reason.IMPACT_TOO_LARGE)
        assert stopped.detail == f"1 accounts, bound 0: {announcing.risky}"
        assert await incidents(keeper) == TOLD
        (told,) = [row.body["detail"] for row in await rows(keeper, EntryKind.INCIDENT)]
        assert f"`keeper veto {first.attestation}`" in told
        announcing.post_price(SPOT)
        for _ in range(2):
            await waits(keeper, announcing, f"anyone may make {first.attestation} until ")
        assert await incidents(keeper) == TOLD
    async with keeper_of(announcing, tmp_path, TIGHT) as keeper:
        await waits(keeper, announcing, f"anyone may make {first.attestation} until ")
        assert await incidents(keeper) == TOLD
        announcing.pass_time(DEADLINE + 1)
        assert (await announced(keeper, announcing)).digest != first.digest
    assert announcing.sequence() == 0


async def test_tick__given_up_and_vetoed_as_the_incident_advises__is_held_off(announcing, tmp_path):
    async with patient(announcing, tmp_path) as keeper:
        first = await announced(keeper, announcing)
        announcing.pass_time(NOTICE)
        announcing.post_price(RISKY_PRICE)
        assert isinstance(await decide(keeper, announcing, RISKY_PRICE), Rejected)
        veto(announcing, first)
        announcing.post_price(SPOT)
        assert await refusal(keeper, announcing) is Reason.VETOED
        announcing.pass_time(DEADLINE + 1)
        await waits(keeper, announcing, f"{first.attestation} was vetoed")
        announcing.pass_time(HOLDOFF)
        await announced(keeper, announcing)


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
        assert await incidents(keeper) == TOLD
        assert len(await rows(keeper, EntryKind.ATTEMPT)) == 1


async def test_tick__announced_change_reverts_when_it_is_made__is_told_and_announced_anew_after_its_deadline(
    announcing, tmp_path
):
    async with wired(announcing, tmp_path) as keeper:
        first = await announced(keeper, announcing)
        announcing.pass_time(NOTICE)
        keeper.rpc.before = lambda _: announcing.post_price(RISKY_PRICE)
        failed = await decide(keeper, announcing)
        assert (type(failed), failed.detail) == (Failed, "reverted: risk_steward: too many liquidatable")
        assert await incidents(keeper) == TOLD
        keeper.rpc.before = None
        announcing.post_price(SPOT)
        await waits(keeper, announcing, f"anyone may make {first.attestation} until ")
        announcing.pass_time(DEADLINE + 1)
        await announced(keeper, announcing)
        await made(keeper, announcing)


async def test_tick__paused_meanwhile__is_given_up_and_told_once_the_pause_is_lifted(announcing, tmp_path):
    async with keeper_of(announcing, tmp_path, TIGHT) as keeper:
        first = await announced(keeper, announcing)
        announcing.pause()
        announcing.pass_time(NOTICE)
        assert await refusal(keeper, announcing) is Reason.PAUSED
        assert await incidents(keeper) == []
        announcing.unpause()
        await waits(keeper, announcing, f"anyone may make {first.attestation} until ")
        assert await incidents(keeper) == TOLD


async def test_tick__loosening_while_a_change_was_given_up__goes_on_and_voids_it(announcing, tmp_path):
    async with keeper_of(announcing, tmp_path, TIGHT) as keeper:
        await announced(keeper, announcing)
        announcing.pause()
        assert await refusal(keeper, announcing) is Reason.PAUSED
        announcing.unpause()
    async with keeper_of(announcing, tmp_path, LOOSE) as keeper:
        assert isinstance(await decide(keeper, announcing), Applied)


async def test_tick__due_while_the_quotes_cannot_be_used__is_told_and_made_once_they_can(announcing, tmp_path):
    async with keeper_of(announcing, tmp_path, TIGHT) as keeper:
        first = await announced(keeper, announcing)
        announcing.pass_time(NOTICE)
        refused = await decide(keeper, announcing, spot=SPOT * 1.2)
        assert (type(refused), refused.reason) == (Rejected, Reason.FEED_DIVERGES)
        assert await incidents(keeper) == [IncidentKind.ORACLE_DIVERGED, *TOLD]
        outcome = await decide(keeper, announcing)
        assert isinstance(outcome, Applied)
        assert outcome.digest == first.digest


async def test_tick__model_has_gone_back_meanwhile__what_was_given_up_is_waited_out_without_a_word(
    announcing, tmp_path
):
    async with keeper_of(announcing, tmp_path, TIGHT) as keeper:
        await announced(keeper, announcing)
        announcing.pause()
        assert await refusal(keeper, announcing) is Reason.PAUSED
        announcing.unpause()
    async with keeper_of(announcing, tmp_path, CALM) as keeper:
        await waits(keeper, announcing, "every parameter is within its dead band")
        assert not isinstance(await decide(keeper, announcing), Announced)
