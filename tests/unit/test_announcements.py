"""An announced change is followed to its end: it waits, is made, is given up, or is vetoed, also across a restart."""

from dataclasses import replace

import pytest
from builders import (
    BLOCK,
    MARKET,
    NOW,
    applied,
    assessment,
    binding,
    market_state,
    parameters,
    preflight,
    tune,
    with_parameter,
)

from config.schema import ProposeSettings
from keeper.announcements import PASSING, Announcement, Announcements, held_off, standing, unwanted, vetoed
from keeper.journal import Journal
from keeper.limits import VETO
from keeper.messages import (
    Announced,
    Approved,
    Change,
    Failed,
    Incident,
    IncidentKind,
    NoChange,
    Proposal,
    Reason,
    Rejected,
    Undone,
    digest,
)
from keeper.propose import propose

NOTICE, DEADLINE, HOLDOFF = 3_600, 600, 86_400
DUE = NOW + NOTICE
PROPOSAL = tune((0, 440), (1, 550), (2, 1_700), deadline=DUE + DEADLINE)
APPROVED = Approved(PROPOSAL, preflight(PROPOSAL))
TOLD = Announced(MARKET, PROPOSAL.digest, "0x" + "ae" * 32, DUE, "0xa0", BLOCK, 66_000)
LIFE = (PROPOSAL, APPROVED, TOLD)
FRESH = Announcement(APPROVED, TOLD)
STATE = market_state(parameters=parameters(notice=NOTICE))

PASSES = [Rejected(MARKET, reason, "", BLOCK, PROPOSAL) for reason in sorted(PASSING)]
ENDS = [Rejected(MARKET, reason, "", BLOCK, PROPOSAL) for reason in sorted(set(Reason) - PASSING)]
FAILED = Failed(MARKET, PROPOSAL.digest, "0xfeed", "reverted")
STALE = Rejected(MARKET, Reason.STALE_FEED, "too old", BLOCK)
TOO_LARGE = Rejected(MARKET, Reason.IMPACT_TOO_LARGE, "2 accounts", BLOCK, PROPOSAL)
MINED = applied(PROPOSAL)
UNDONE = Undone(MARKET, PROPOSAL.digest, MINED.tx_hash, 4)
IDLE = NoChange(MARKET, BLOCK, "", "0x00")


def at(seconds: int, **changes):
    """The state in a block of a time, with every parameter's notice."""
    return replace(STATE, block=replace(BLOCK, timestamp=seconds), **changes)


def veto_seen(seconds: int, proposal: Proposal = PROPOSAL) -> Rejected:
    return Rejected(MARKET, Reason.VETOED, "", replace(BLOCK, timestamp=seconds), proposal)


def announcement(*messages, since: int | None = NOW) -> Announcement:
    """The announcement after later messages about it, as the chain has it since a time."""
    found = FRESH
    for message in messages:
        found = found.after(message)
    return replace(found, since=since)


@pytest.fixture
async def journal(tmp_path):
    opened = await Journal.open(f"sqlite:///{tmp_path}/keeper.db", lambda: NOW * 1000)
    yield opened
    await opened.close()


async def read(journal, *messages, market=MARKET, earliest=0):
    """Return what a keeper that starts now makes of a journal with these messages."""
    for message in messages:
        await journal.append(message)
    return await Announcements(journal, market).follow(earliest)


# What waits


async def test_standing__announced__is_the_change_as_it_was_approved(journal):
    assert standing(await read(journal, *LIFE)) == FRESH


async def test_standing__never_announced__is_none(journal):
    assert standing(await read(journal, PROPOSAL, APPROVED)) is None


async def test_standing__of_another_market__is_none(journal):
    assert standing(await read(journal, *LIFE, market="ETH")) is None


@pytest.mark.parametrize("end", [MINED, FAILED, *ENDS], ids=lambda end: getattr(end, "reason", type(end).__name__))
async def test_standing__made_failed_or_given_up__is_none(journal, end):
    assert standing(await read(journal, *LIFE, end)) is None


@pytest.mark.parametrize("refused", PASSES, ids=lambda refused: refused.reason)
async def test_standing__refused_for_a_reason_that_passes__stands(journal, refused):
    assert standing(await read(journal, *LIFE, refused)) == FRESH


async def test_standing__refused_before_it_was_announced__stands(journal):
    assert standing(await read(journal, PROPOSAL, TOO_LARGE, APPROVED, TOLD)) == FRESH


async def test_standing__refusal_before_any_proposal__leaves_it_standing(journal):
    assert standing(await read(journal, *LIFE, STALE, IDLE)) == FRESH


async def test_standing__another_announced_since__is_the_newest(journal):
    second = tune((5, 520), deadline=DUE + DEADLINE)
    judged = Approved(second, preflight(second))
    newest = replace(TOLD, digest=second.digest, tx_hash="0xa1")
    found = await read(journal, *LIFE, TOO_LARGE, second, judged, newest)
    assert standing(found) == Announcement(judged, newest)


async def test_standing__approved_again_when_it_was_due__is_still_the_one_that_was_announced(journal):
    later = Approved(PROPOSAL, replace(APPROVED.preflight, gas=1))
    assert standing(await read(journal, *LIFE, later, PASSES[0])) == FRESH


async def test_standing__made_and_taken_back_by_a_reorganisation__stands_until_it_is_mined_again(journal):
    assert standing(await read(journal, *LIFE, MINED, UNDONE)) == FRESH
    assert standing(await read(journal, MINED)) is None


# Live and after a restart

WHOLE = (
    *LIFE,
    PASSES[0],
    TOO_LARGE,
    Incident(MARKET, IncidentKind.STILL_APPLICABLE, "", BLOCK, demands_rollback=False, digest=PROPOSAL.digest),
    veto_seen(NOW + 90),
    veto_seen(NOW + 95),
    MINED,
    UNDONE,
)


@pytest.mark.parametrize("length", range(len(WHOLE) + 1))
async def test_follow__restarted_at_any_moment__knows_what_it_lived_through(journal, length):
    living = Announcements(journal, MARKET)
    for message in WHOLE[:length]:
        await journal.append(message)
        lived = await living.follow(0)
    restored = await read(journal)
    assert restored == (lived if length else ())
    assert len(restored) == (length >= 3)


async def test_follow__whole_life__keeps_the_first_of_each(journal):
    (found,) = await read(journal, *WHOLE)
    assert (found.made, found.warned, found.vetoed_at) == (False, True, NOW + 90)
    assert found.given_up == "IMPACT_TOO_LARGE: 2 accounts"


@pytest.mark.parametrize(
    "other",
    [
        Incident(MARKET, IncidentKind.STILL_APPLICABLE, "", BLOCK, demands_rollback=False, digest="0x99"),
        Incident(MARKET, IncidentKind.REORGED, "", BLOCK, demands_rollback=False, digest=PROPOSAL.digest),
    ],
)
async def test_follow__incident_about_something_else__was_no_warning(journal, other):
    assert await read(journal, *LIFE, other) == (FRESH,)


@pytest.mark.parametrize(("earliest", "kept"), [(DUE + DEADLINE, 1), (DUE + DEADLINE + 1, 0)])
async def test_follow__deadline_long_over__is_forgotten(journal, earliest, kept):
    assert len(await read(journal, *LIFE, earliest=earliest)) == kept


async def test_follow__vetoed_after_its_deadline__is_kept_for_as_long_as_the_veto_counts(journal):
    seen = DUE + DEADLINE + 50
    assert len(await read(journal, *LIFE, veto_seen(seen), earliest=seen)) == 1
    assert await read(journal, earliest=seen + 1) == ()


# What anyone may still make


def test_may_be_made__announced_on_the_same_state__may_until_the_deadline_is_over_on_chain():
    assert announcement().may_be_made(at(NOW))
    assert announcement().may_be_made(at(PROPOSAL.deadline))
    assert not announcement().may_be_made(at(PROPOSAL.deadline + 1))


@pytest.mark.parametrize(
    "changes", [{"sequence": 4}, {"sequence": 2}, {"state_hash": "0xff"}, {"policy": "0xff"}, {"paused": True}]
)
def test_may_be_made__state_that_the_message_was_not_signed_for__may_not(changes):
    assert not announcement().may_be_made(at(NOW, **changes))


@pytest.mark.parametrize("since", [None, VETO])
def test_may_be_made__vetoed_or_unknown_to_the_chain__may_not(since):
    assert not announcement(since=since).may_be_made(at(NOW))


def test_may_be_made__made__may_not():
    assert not announcement(MINED).may_be_made(at(NOW))


# What is told


@pytest.mark.parametrize("end", [TOO_LARGE, FAILED])
def test_unwanted__given_up_and_still_applicable__names_attestation_deadline_and_remedy(end):
    (incident,) = unwanted([announcement(end)], at(DUE), None, DUE)
    assert (incident.kind, incident.demands_rollback) == (IncidentKind.STILL_APPLICABLE, False)
    assert incident.digest == PROPOSAL.digest
    assert end.detail in incident.detail
    assert "until 2023-11-14T23:23:20+00:00" in incident.detail
    assert f"`keeper veto {TOLD.attestation}`" in incident.detail


def test_unwanted__told_before__is_not_told_again():
    once = announcement(TOO_LARGE)
    (incident,) = unwanted([once], at(DUE), None, DUE)
    assert unwanted([once.after(incident)], at(DUE), None, DUE) == ()


@pytest.mark.parametrize("changes", [{"sequence": 4}, {"state_hash": "0xff"}, {"policy": "0xff"}, {"paused": True}])
def test_unwanted__given_up_and_not_applicable__is_nothing_to_tell(changes):
    assert unwanted([announcement(TOO_LARGE)], at(DUE, **changes), None, DUE) == ()


def test_unwanted__expired_by_our_clock_alone__is_nothing_an_operator_could_act_on():
    assert unwanted([announcement(TOO_LARGE)], at(PROPOSAL.deadline), None, PROPOSAL.deadline + 1) == ()


def test_unwanted__standing_while_all_is_well_or_refused_itself__is_nothing_to_tell():
    assert unwanted([announcement()], at(DUE), None, DUE) == ()
    assert unwanted([announcement()], at(DUE), PASSES[0], DUE) == ()


def test_unwanted__due_while_nothing_can_be_judged__is_told_from_that_second_on():
    assert unwanted([announcement()], at(DUE - 1), STALE, DUE - 1) == ()
    (incident,) = unwanted([announcement()], at(DUE), STALE, DUE)
    assert "due and cannot be judged (STALE_FEED: too old)" in incident.detail


# A veto


@pytest.mark.parametrize("earlier", [(), (TOO_LARGE,), (FAILED,)], ids=["standing", "given up", "failed"])
def test_vetoed__seen_for_the_first_time__is_a_refusal_at_that_block(earlier):
    refused = vetoed([announcement(*earlier, since=VETO)], at(NOW + 9), HOLDOFF)
    assert (refused.reason, refused.block.timestamp, refused.proposal) == (Reason.VETOED, NOW + 9, PROPOSAL)
    assert TOLD.attestation in refused.detail


def test_vetoed__told_before_made_or_not_vetoed__is_none():
    told, made = announcement(veto_seen(NOW), since=VETO), announcement(MINED, since=VETO)
    assert vetoed([told, made, announcement(), announcement(since=None)], at(NOW), HOLDOFF) is None


def forbids(held, *changes):
    return any(hold.forbids([Change(*change) for change in changes], STATE) for hold in held)


def test_held_off__vetoed__holds_what_it_would_have_tightened_until_the_time_is_over():
    once = announcement(veto_seen(NOW), since=VETO)
    held = held_off([once], STATE, HOLDOFF, NOW + HOLDOFF - 1)
    assert [hold.because for hold in held] == [f"held off for another 1 s: {TOLD.attestation} was vetoed"]
    assert held_off([once], STATE, HOLDOFF, NOW + HOLDOFF) == ()


def test_held_off__vetoed__holds_no_other_parameter_and_no_other_direction():
    held = held_off([announcement(veto_seen(NOW))], STATE, HOLDOFF, NOW)
    assert forbids(held, (0, 401))
    assert forbids(held, (1, 900))
    assert forbids(held, (0, 390), (1, 501))
    assert not forbids(held, (0, 399), (1, 499))
    assert not forbids(held, (0, 400))
    assert not forbids(held, (5, 600))
    assert not forbids(held, (2, 1_900)), "what the vetoed change would have loosened"


def test_held_off__parameter_that_tightens_downwards__is_held_downwards():
    state = with_parameter(STATE, 5, tightening_up=False)
    lower = tune((5, 450), deadline=DUE + DEADLINE)
    once = Announcement(Approved(lower, preflight(lower)), TOLD).after(veto_seen(NOW, lower))
    (hold,) = held_off([once], state, HOLDOFF, NOW)
    assert hold.forbids([Change(5, 499)], state)
    assert not hold.forbids([Change(5, 500)], state)
    assert not hold.forbids([Change(5, 501)], state)


def test_held_off__given_up_and_still_applicable__holds_every_second_announcement_until_it_is_not():
    once = announcement(TOO_LARGE)
    held = held_off([once], at(DUE), HOLDOFF, DUE)
    assert forbids(held, (5, 600))
    assert not forbids(held, (5, 400))
    assert TOLD.attestation in held[0].because
    assert held_off([once], at(DUE, sequence=4), HOLDOFF, DUE) == ()
    assert held_off([once], at(DUE + DEADLINE + 1), HOLDOFF, DUE + DEADLINE + 1) == ()


def test_held_off__given_up_and_still_applicable__leaves_what_needs_no_notice():
    state = with_parameter(at(DUE), 5, notice=0)
    assert not forbids(held_off([announcement(TOO_LARGE)], state, HOLDOFF, DUE), (5, 600))


def test_held_off__standing__holds_nothing():
    assert held_off([announcement()], STATE, HOLDOFF, NOW) == ()


# What is proposed meanwhile


def proposed(found, held, dead_band=0.01):
    rules = ProposeSettings(margin_period_days=5.0, dead_band=dead_band)
    return propose(found, STATE, binding(), rules, NOW, held)


TIGHTER = assessment(published=(-0.030, 0.030), raw=(-0.0316, 0.0170))
"""Wider shocks; since the same loss is a smaller share of them, lower maintenance and threshold."""


def test_propose__tightening_that_was_vetoed__is_left_out_and_the_loosening_beside_it_is_not():
    free = proposed(TIGHTER, ())
    assert {change.id for change in free.changes} == {0, 1, 2, 3, 4}
    held = held_off([announcement(veto_seen(NOW))], STATE, HOLDOFF, NOW)
    outcome = proposed(TIGHTER, held)
    assert {change.id for change in outcome.changes} == {3, 4}
    assert all(change.value < STATE.values[change.id] for change in outcome.changes)


def test_propose__nothing_but_what_was_vetoed__is_no_change_that_says_so():
    shocks = replace(TIGHTER, raw=(-0.0316 * 0.030 / 0.02294, 0.0170))
    held = held_off([announcement(veto_seen(NOW))], STATE, HOLDOFF, NOW + 5)
    outcome = proposed(shocks, held, dead_band=0.1)
    assert isinstance(outcome, NoChange)
    assert outcome.inputs == digest(shocks)
    assert f"held off for another {HOLDOFF - 5} s: {TOLD.attestation} was vetoed" in outcome.detail
    assert "spot_shock_up+spot_shock_down" in outcome.detail
