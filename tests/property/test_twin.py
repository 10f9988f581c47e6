"""The guard and the steward's real bytecode give one verdict with one reason: on a table, and on 20,000 proposals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import islice

import pytest
from steward_evm import MINUTE, Rules, Stewards, World, in_our_words, limits
from twin_proposals import Author, Walk

from keeper.limits import announcement, verdict
from keeper.messages import Change, Proposal, ProposalKind, Reason
from models.market import Invariant, MarketState

WALKS = 3
PROPOSALS = 8_000
LEAST = 40
"""Proposals of every walk that each reason must decide, so that no rule goes untested."""

ANNOUNCED_EACH, LEAST_ANNOUNCED = 4, 10
"""Of every so many proposals one is announced as well; how many of them each reason of its own must decide."""

TWIN = {
    Reason.PAUSED,
    Reason.EXPIRED,
    Reason.SEQUENCE_TAKEN,
    Reason.STATE_CHANGED,
    Reason.UNKNOWN_PARAMETER,
    Reason.NOT_ASCENDING,
    Reason.OUTSIDE_CORRIDOR,
    Reason.STEP_TOO_LARGE,
    Reason.COOLING_DOWN,
    Reason.DRIFT_EXHAUSTED,
    Reason.NO_EFFECT,
    Reason.GROUP_SPLIT,
    Reason.INVARIANT_BROKEN,
    Reason.NOT_ANNOUNCED,
    Reason.VETOED,
    Reason.NOTICE_RUNNING,
    Reason.CHANGED_BEHIND,
    Reason.NOT_LAST_GOOD,
    Reason.IRREVERSIBLE,
}
NAMES_A_PARAMETER = {
    Reason.OUTSIDE_CORRIDOR,
    Reason.STEP_TOO_LARGE,
    Reason.COOLING_DOWN,
    Reason.DRIFT_EXHAUSTED,
    Reason.IRREVERSIBLE,
}


ANNOUNCEMENT = {Reason.ALREADY_ANNOUNCED, Reason.NO_NOTICE_DUE, Reason.NOTICE_TOO_LONG}
"""What is said of announcements alone, beside all that is said of a change but for its notice."""


def agreed(
    world: World, proposal: Proposal, state: MarketState, announced_at: int | None, *, announces: bool = False
) -> Reason | None:
    """Return the one verdict of both. Raises AssertionError when there are two."""
    judge = announcement if announces else verdict
    finding = judge(proposal, state, world.house.now, announced_at)
    refusal = world.refusal(proposal, "announce" if announces else None)
    if finding is None or refusal is None:
        assert finding is refusal, f"guard: {finding}, steward: {refusal}, on {proposal} in {state}"
        return None
    reason, parameter = in_our_words(refusal)
    assert finding[0] is reason, f"guard: {finding}, steward: {refusal}, on {proposal} in {state}"
    if reason in NAMES_A_PARAMETER:
        assert finding[1].startswith(f"parameter {parameter}"), f"guard: {finding}, steward: {refusal}"
    return reason


@pytest.fixture
def stewards() -> Stewards:
    return Stewards()


# Every rule by name: what happened before, the proposal, and the verdict of both.

WINDOW = 960
PAIR = Rules().limit(0, coupled=0b11).limit(1, coupled=0b11)
DRIFT = Rules().limit(0, drift_budget=120, drift_window=WINDOW)
SEVEN = DRIFT.limit(0, drift_budget=7)
NOTICE = Rules().limit(0, notice=500).limit(1, notice=900, tightening_up=False)
ORDERED = Rules(invariants=(Invariant(0, 1, 1, 1), Invariant(2, 3, 1, 4))).limit(0, max_step_up=200)
FIXED = Rules().limit(0, reversible=False)
RESTING = Rules().limit(0, cooldown=100)
HALF = Rules().limit(0, relative=True, max_step_up=333, max_step_down=5_000)
MANY = Rules((limits(cooldown=1, drift_budget=150, drift_window=WINDOW),) * 16, (500,) * 16)
SPREAD = tuple((index, 600) for index in (0, 2, 3, 6, 8, 9, 12, 15))
UP, DOWN = (0, 510), (0, 490)
OTHER_STATE = "0x" + "11" * 32


def did(world: World, *changes: tuple[int, int], wait: int = 0) -> World:
    """Apply a change and let time pass."""
    world.submit(world.change(*changes))
    world.house.wait(wait)
    return world


def undone(world: World) -> World:
    """Roll back to the last good version."""
    world.submit(world.undo())
    return world


def wrote(world: World, *values: int) -> World:
    """Change the protocol behind the steward's back."""
    world.write(values)
    return world


def governed(world: World, rules: Rules) -> World:
    """Let governance put another policy into force."""
    world.put(rules)
    return world


def paused(world: World) -> World:
    """Let the guardian pause the market."""
    world.pause()
    return world


def later(world: World, seconds: int) -> World:
    """Let time pass."""
    world.house.wait(seconds)
    return world


def announced(world: World, *changes: tuple[int, int], wait: int, veto: bool = False) -> Proposal:
    """Announce a change and let time pass."""
    proposal = world.change(*changes)
    world.announce(proposal)
    if veto:
        world.veto(proposal)
    world.house.wait(wait)
    return proposal


def next_window(world: World, *, second: int = MINUTE - 1) -> World:
    """Let time pass until a second, counted from 0, of the next drift window; by default its first whole minute."""
    # Minutes are rounded up, so that a window's first second is that after the last whole minute of the one before.
    minutes = -(-world.house.now // MINUTE) % (WINDOW // MINUTE)
    return later(world, -world.house.now % MINUTE + WINDOW - minutes * MINUTE - MINUTE + 1 + second)


Story = Callable[[World], Proposal]
CASES: dict[str, tuple[Reason | None, Rules, Story]] = {
    "a sound change": (None, Rules(), lambda w: w.change(UP)),
    "paused": (Reason.PAUSED, Rules(), lambda w: paused(w).change(UP, deadline=0)),
    "another market is paused": (None, Rules(), lambda w: (paused(w.house.add(Rules())), w.change(UP))[-1]),
    "paused, a rollback": (None, Rules(), lambda w: paused(did(w, UP)).undo()),
    "at the deadline": (None, Rules(), lambda w: w.change(UP, deadline=w.house.now)),
    "a second late": (Reason.EXPIRED, Rules(), lambda w: w.change(UP, deadline=w.house.now - 1, sequence=9)),
    "sequence of the current version": (Reason.SEQUENCE_TAKEN, Rules(), lambda w: did(w, UP).change(UP, sequence=1)),
    "sequence left out": (Reason.SEQUENCE_TAKEN, Rules(), lambda w: w.change(UP, sequence=2, state_hash=OTHER_STATE)),
    "another state": (Reason.STATE_CHANGED, Rules(), lambda w: w.change((9, 1), state_hash=OTHER_STATE)),
    "first unknown id": (Reason.UNKNOWN_PARAMETER, Rules(), lambda w: w.change(UP, (3, 500))),
    "unknown id that comes twice": (Reason.UNKNOWN_PARAMETER, Rules(), lambda w: w.change((7, 1), (7, 1))),
    "an id twice": (Reason.NOT_ASCENDING, Rules(), lambda w: w.change((0, 550), (0, 600))),
    "ids descending": (Reason.NOT_ASCENDING, Rules(), lambda w: w.change((1, 510), UP)),
    "on the lower edge": (None, Rules().limit(0, minimum=490), lambda w: w.change(DOWN)),
    "below the corridor": (Reason.OUTSIDE_CORRIDOR, Rules().limit(0, minimum=491), lambda w: w.change(DOWN)),
    "on the upper edge": (None, Rules().limit(0, maximum=510), lambda w: w.change(UP)),
    "above the corridor": (Reason.OUTSIDE_CORRIDOR, Rules().limit(0, maximum=509), lambda w: w.change(UP)),
    "left outside the corridor": (
        Reason.OUTSIDE_CORRIDOR,
        Rules().limit(1, maximum=600),
        lambda w: wrote(w, 500, 601, 500).change(UP, (1, 601)),
    ),
    "largest step": (None, Rules(), lambda w: w.change((0, 600), (1, 400))),
    "step up too large": (Reason.STEP_TOO_LARGE, Rules(), lambda w: w.change((0, 601))),
    "step down too large": (Reason.STEP_TOO_LARGE, Rules(), lambda w: w.change((0, 399))),
    "largest relative step, rounded down": (None, HALF, lambda w: w.change((0, 516))),
    "relative step too large": (Reason.STEP_TOO_LARGE, HALF, lambda w: w.change((0, 517))),
    "relative step down to a half": (None, HALF, lambda w: w.change((0, 250))),
    "relative step from zero": (Reason.STEP_TOO_LARGE, HALF, lambda w: wrote(w, 0, 0, 0).change((0, 1))),
    "relative step from beyond any value": (
        Reason.STEP_TOO_LARGE,
        Rules().limit(0, relative=True, max_step_down=10_000, maximum=2**128 - 1),
        lambda w: wrote(w, 2**128 + 1, 500, 500).change((0, 1)),
    ),
    "cooldown just over": (None, RESTING, lambda w: did(w, UP, wait=100).change((0, 520))),
    "a second of cooldown left": (Reason.COOLING_DOWN, RESTING, lambda w: did(w, UP, wait=99).change((0, 520))),
    "cooling but left alone": (None, RESTING, lambda w: did(w, UP).change(UP, (1, 510))),
    "cooldown counts from the minute's end": (
        None,
        RESTING,
        lambda w: did(later(w, 1), UP, wait=159).change((0, 520)),
    ),
    "a second of cooldown left after the minute's end": (
        Reason.COOLING_DOWN,
        RESTING,
        lambda w: did(later(w, 1), UP, wait=158).change((0, 520)),
    ),
    "twice in a minute, without a cooldown": (
        Reason.COOLING_DOWN,
        Rules(),
        lambda w: did(later(w, 1), UP, wait=58).change((0, 520)),
    ),
    "again at the minute's end": (None, Rules(), lambda w: did(later(w, 1), UP, wait=59).change((0, 520))),
    "twice in a second that ends a minute": (None, Rules(), lambda w: did(w, UP).change((0, 520))),
    "a rollback starts no cooldown": (None, RESTING, lambda w: undone(did(w, UP, wait=100)).change(UP)),
    "a rollback ends no cooldown": (Reason.COOLING_DOWN, RESTING, lambda w: undone(did(w, UP, wait=99)).change(UP)),
    "whole drift budget": (None, DRIFT, lambda w: did(w, (0, 580)).change((0, 540))),
    "drift budget spent": (Reason.DRIFT_EXHAUSTED, DRIFT, lambda w: did(w, (0, 580)).change((0, 539))),
    "spent in the window before": (
        Reason.DRIFT_EXHAUSTED,
        DRIFT,
        lambda w: next_window(did(next_window(w), (0, 580))).change((0, 539)),
    ),
    "whole again two windows on": (
        None,
        DRIFT,
        lambda w: next_window(next_window(did(next_window(w), (0, 580)))).change((0, 480)),
    ),
    "spent in this window and the one before": (
        Reason.DRIFT_EXHAUSTED,
        DRIFT,
        lambda w: did(next_window(did(next_window(w), (0, 560))), (0, 590)).change((0, 559)),
    ),
    "left of this window and the one before": (
        None,
        DRIFT,
        lambda w: did(next_window(did(next_window(w), (0, 560))), (0, 590)).change((0, 561)),
    ),
    "two windows on what came between counts alone": (
        None,
        DRIFT,
        lambda w: next_window(did(next_window(did(next_window(w), (0, 560))), (0, 590))).change((0, 501)),
    ),
    "last second of the window after": (
        Reason.DRIFT_EXHAUSTED,
        DRIFT,
        lambda w: next_window(next_window(did(next_window(w), (0, 560))), second=-1).change((0, 499)),
    ),
    "first second of the window after that": (
        None,
        DRIFT,
        lambda w: next_window(next_window(did(next_window(w), (0, 560))), second=0).change((0, 499)),
    ),
    "a change in the last second of its window": (
        None,
        DRIFT,
        lambda w: next_window(next_window(did(next_window(w, second=-1), (0, 560)), second=0)).change((0, 499)),
    ),
    "a change in the first second of its window": (
        Reason.DRIFT_EXHAUSTED,
        DRIFT,
        lambda w: next_window(did(next_window(w, second=0), (0, 560))).change((0, 499)),
    ),
    "shares that are rounded up": (Reason.DRIFT_EXHAUSTED, SEVEN, lambda w: did(w, (0, 501)).change((0, 507))),
    "left of shares that are rounded up": (None, SEVEN, lambda w: did(w, (0, 501)).change((0, 506))),
    "a window that governance made shorter": (
        None,
        DRIFT,
        lambda w: later(governed(did(w, (0, 580)), DRIFT.limit(0, drift_window=60)), 120).change((0, 480)),
    ),
    "a budget that governance made smaller": (
        Reason.DRIFT_EXHAUSTED,
        DRIFT,
        lambda w: governed(did(w, (0, 580)), DRIFT.limit(0, drift_budget=60)).change((0, 559)),
    ),
    "sixteen at once": (None, MANY, lambda w: w.change(*((index, 600) for index in range(16)))),
    "sixteenth of its budget": (None, MANY, lambda w: did(w, *SPREAD, wait=1).change((15, 650))),
    "sixteenth beyond its budget": (Reason.DRIFT_EXHAUSTED, MANY, lambda w: did(w, *SPREAD, wait=1).change((15, 651))),
    "seventh within its cooldown": (Reason.COOLING_DOWN, MANY, lambda w: did(w, *SPREAD).change((5, 600), (6, 610))),
    "neighbours of those that cool down": (
        None,
        MANY,
        lambda w: did(w, *SPREAD).change(*((index, 600) for index in (1, 4, 5, 7, 10, 11, 13, 14))),
    ),
    "a rollback spends no budget": (
        None,
        DRIFT,
        lambda w: undone(did(next_window(w), (0, 580))).change((0, 540)),
    ),
    "a rollback gives no budget back": (
        Reason.DRIFT_EXHAUSTED,
        DRIFT,
        lambda w: undone(did(next_window(w), (0, 580))).change((0, 541)),
    ),
    "budget of nothing": (Reason.DRIFT_EXHAUSTED, DRIFT.limit(0, drift_budget=0), lambda w: w.change((0, 501))),
    "nothing named": (Reason.NO_EFFECT, Rules(), lambda w: w.change()),
    "live values named": (Reason.NO_EFFECT, PAIR, lambda w: w.change((0, 500))),
    "half of a pair": (Reason.GROUP_SPLIT, PAIR, lambda w: w.change(UP)),
    "pair of which one stays": (None, PAIR, lambda w: w.change(UP, (1, 500))),
    "coupled one way": (None, PAIR.limit(0, coupled=0), lambda w: w.change(UP)),
    "split and against an invariant": (
        Reason.GROUP_SPLIT,
        ORDERED.limit(0, coupled=0b101),
        lambda w: w.change((0, 501)),
    ),
    "equal where the first may not exceed": (None, ORDERED, lambda w: w.change((0, 510), (1, 510))),
    "first exceeds the second": (Reason.INVARIANT_BROKEN, ORDERED, lambda w: w.change((0, 501))),
    "weighed sides equal": (None, ORDERED.limit(2, max_step_up=200), lambda w: w.change((2, 666))),
    "live value larger than any corridor, where it may not exceed": (
        Reason.OUTSIDE_CORRIDOR,
        ORDERED.limit(2, max_step_up=200),
        lambda w: wrote(w, 500, 500, 2**128).change(DOWN),
    ),
    "live value larger than any corridor, in an order": (
        Reason.OUTSIDE_CORRIDOR,
        ORDERED.limit(2, max_step_up=200),
        lambda w: wrote(w, 500, 2**128, 500).change((2, 510)),
    ),
    "weighed side exceeds": (Reason.INVARIANT_BROKEN, ORDERED.limit(2, max_step_up=200), lambda w: w.change((2, 667))),
    "not announced": (Reason.NOT_ANNOUNCED, NOTICE, lambda w: w.change(UP)),
    "loosening needs no notice": (None, NOTICE, lambda w: w.change(DOWN, (1, 510))),
    "lower is tighter": (Reason.NOT_ANNOUNCED, NOTICE, lambda w: w.change((1, 490))),
    "left where it is, it tightens nothing": (None, NOTICE, lambda w: w.change((1, 500), (2, 510))),
    "notice just over": (None, NOTICE, lambda w: announced(w, UP, wait=500)),
    "a second of notice left": (Reason.NOTICE_RUNNING, NOTICE, lambda w: announced(w, UP, wait=499)),
    "longest notice counts": (Reason.NOTICE_RUNNING, NOTICE, lambda w: announced(w, UP, (1, 490), wait=899)),
    "vetoed": (Reason.VETOED, NOTICE, lambda w: announced(w, UP, wait=500, veto=True)),
    "another than announced": (
        Reason.NOT_ANNOUNCED,
        NOTICE,
        lambda w: replace(announced(w, UP, wait=500), changes=(Change(0, 509),)),
    ),
    "a rollback beyond steps, cooldown, budget and notice": (
        None,
        NOTICE.limit(0, cooldown=10**6, drift_budget=10, drift_window=10**5 * MINUTE),
        lambda w: did(w, DOWN).undo(),
    ),
    "rollback to what is live": (Reason.NO_EFFECT, Rules(), lambda w: w.undo()),
    "rollback once proven": (Reason.NO_EFFECT, Rules(), lambda w: did(w, UP, wait=50_000).undo()),
    "rollback a second before": (None, Rules(), lambda w: did(w, UP, wait=49_999).undo()),
    "rollback of a rollback": (Reason.NO_EFFECT, Rules(), lambda w: undone(did(w, UP)).undo()),
    "rollback of what followed a rollback": (None, Rules(), lambda w: did(undone(did(w, UP)), (1, 510)).undo()),
    "rollback to something else": (
        Reason.NOT_LAST_GOOD,
        Rules(),
        lambda w: did(w, UP).undo(changes=(Change(0, 501),)),
    ),
    "rollback of nothing": (Reason.NOT_LAST_GOOD, Rules(), lambda w: did(w, UP).undo(changes=())),
    "rollback that names what stays": (
        None,
        Rules(),
        lambda w: did(w, UP).undo(changes=(Change(0, 500), Change(2, 500))),
    ),
    "rollback of an unknown id": (
        Reason.UNKNOWN_PARAMETER,
        Rules(),
        lambda w: did(w, UP).undo(changes=(Change(0, 500), Change(3, 1))),
    ),
    "rollback that names one twice": (
        Reason.NOT_ASCENDING,
        Rules(),
        lambda w: did(w, UP).undo(changes=(Change(0, 500), Change(0, 500))),
    ),
    "rollback late": (Reason.EXPIRED, Rules(), lambda w: did(w, UP).undo(deadline=w.house.now - 1)),
    "rollback after a change behind the steward": (
        Reason.CHANGED_BEHIND,
        Rules(),
        lambda w: wrote(did(w, UP), 510, 501, 500).undo(),
    ),
    "change after a change behind the steward": (None, Rules(), lambda w: wrote(w, 500, 501, 500).change(UP)),
    "rollback of one that cannot be set back": (Reason.IRREVERSIBLE, FIXED, lambda w: did(w, UP).undo()),
    "rollback to values outside today's corridor": (
        Reason.OUTSIDE_CORRIDOR,
        Rules(),
        lambda w: governed(did(w, UP), Rules().limit(0, minimum=501)).undo(),
    ),
    "rollback against today's invariant": (
        Reason.INVARIANT_BROKEN,
        Rules(),
        lambda w: governed(did(w, UP), replace(Rules(), invariants=(Invariant(1, 51, 0, 50),))).undo(),
    ),
    "rollback with two faults, the corridor's first": (
        Reason.OUTSIDE_CORRIDOR,
        Rules(),
        lambda w: governed(
            did(w, UP, (1, 510)), FIXED.limit(0, minimum=501, reversible=True).limit(1, reversible=False)
        ).undo(),
    ),
    "rollback with two faults, the irreversible first": (
        Reason.IRREVERSIBLE,
        Rules(),
        lambda w: governed(did(w, UP, (1, 510)), FIXED.limit(1, minimum=501)).undo(),
    ),
    "rollback of another": (None, FIXED, lambda w: did(w, (1, 510)).undo()),
}


NOTICES: dict[str, tuple[Reason | None, Rules, Story]] = {
    "announced in time": (None, NOTICE, lambda w: w.change(UP, deadline=w.house.now + 500)),
    "a second too late for its notice": (
        Reason.NOTICE_TOO_LONG,
        NOTICE,
        lambda w: w.change(UP, deadline=w.house.now + 499),
    ),
    "announced before": (Reason.ALREADY_ANNOUNCED, NOTICE, lambda w: announced(w, UP, wait=1)),
    "vetoed before": (Reason.ALREADY_ANNOUNCED, NOTICE, lambda w: announced(w, UP, wait=1, veto=True)),
    "a loosening announced": (Reason.NO_NOTICE_DUE, NOTICE, lambda w: w.change(DOWN)),
    "paused, announced": (Reason.PAUSED, NOTICE, lambda w: paused(w).change(UP)),
    "announced a second after its deadline": (
        Reason.EXPIRED,
        NOTICE,
        lambda w: w.change(UP, deadline=w.house.now - 1),
    ),
    "announced too large": (Reason.STEP_TOO_LARGE, NOTICE, lambda w: w.change((0, 700))),
    "cooldown over at the deadline": (
        None,
        NOTICE.limit(0, cooldown=600),
        lambda w: on_the_minute(w, (1, 510)).change(UP, deadline=w.house.now + 600),
    ),
}
"""What is said of announcements, by name."""


def on_the_minute(world: World, *changes: tuple[int, int]) -> World:
    """Apply a change as a minute begins."""
    return did(later(world, -world.house.now % MINUTE), *changes)


@pytest.mark.parametrize("name", NOTICES)
def test_notice__guard_and_steward__give_the_verdict_that_the_table_says(stewards, name):
    expected, rules, story = NOTICES[name]
    world = stewards.add(rules)
    proposal = story(world)
    assert agreed(world, proposal, world.state(), world.announced_at(proposal), announces=True) is expected


@pytest.mark.parametrize("name", CASES)
def test_case__guard_and_steward__give_the_verdict_that_the_table_says(stewards, name):
    expected, rules, story = CASES[name]
    world = stewards.add(rules)
    proposal = story(world)
    assert agreed(world, proposal, world.state(), world.announced_at(proposal)) is expected


def test_cases__every_reason_of_the_twin__is_in_the_table():
    assert {reason for reason, _, _ in CASES.values()} == {*TWIN, None}


@pytest.mark.parametrize("seed", range(WALKS))
def test_walk__eight_thousand_proposals__guard_and_steward_never_differ(stewards, seed):
    found: Counter[tuple[ProposalKind, Reason | None]] = Counter()
    walk = Walk(stewards, Author(seed))
    notices: Counter[Reason | None] = Counter()
    for index, (world, proposal, state, announced_at) in enumerate(islice(walk, PROPOSALS)):
        found[proposal.kind, agreed(world, proposal, state, announced_at)] += 1
        if index % ANNOUNCED_EACH == 0 and proposal.kind is ProposalKind.TUNE:
            notices[agreed(world, proposal, state, announced_at, announces=True)] += 1
            hasty = replace(proposal, deadline=world.house.now + max(row.notice for row in state.parameters) - 1)
            notices[agreed(world, hasty, state, world.announced_at(hasty), announces=True)] += 1
    assert found.total() == PROPOSALS
    reasons = Counter(reason for _, reason in found.elements())
    assert {reason: reasons[reason] for reason in TWIN if reasons[reason] < LEAST} == {}
    assert {reason: notices[reason] for reason in (*ANNOUNCEMENT, None) if notices[reason] < LEAST_ANNOUNCED} == {}
    assert found[ProposalKind.TUNE, None] > PROPOSALS // 20
    assert found[ProposalKind.ROLLBACK, None] > PROPOSALS // 100
