"""What must hold of every decision, whatever the market, the model and the limits are."""

import json
import math
import types
from dataclasses import fields, replace
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from itertools import pairwise
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
from builders import NOW, assessment, binding, forecast, market_state, tune, vol
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from config.schema import ProposeSettings
from keeper.assess import assess
from keeper.guard import LARGEST_MOVE, review, review_forecast
from keeper.journal import MESSAGES
from keeper.limits import FULL, drift_left, drift_returns_at, verdict
from keeper.messages import Change, NoChange, Preflight, Proposal, Reason, body, canonical, digest, parse
from keeper.propose import propose, rollback
from keeper.targets import parameter_targets
from models.forecaster import DAY, Tail
from models.market import Snapshot

SETTINGS = ProposeSettings()
MOVES = st.floats(1e-6, 0.3)
SHOCKS, LIQUIDATION, PENALTY = (0, 1, 2), (3, 4), (5,)
MAINTENANCE, THRESHOLD = 3, 4
NAMES = [parameter.name for parameter in binding().parameters]
WINDOW = 960
MINUTE = 60
THIS_MINUTE = NOW + -NOW % MINUTE
"""When a change at NOW is remembered to have been made."""

EPOCH = THIS_MINUTE // WINDOW * WINDOW


@st.composite
def bindings(draw):
    """The reference binding with scale and direction of its parameters redrawn."""
    rows = list(binding().parameters)
    for together in ([0], [1], [2], [3, 4], [5]):
        tightening = draw(st.sampled_from(["up", "down"]))
        offsets = ["0", "1", "1.5"] if tightening == "up" else ["11", "12.5"]
        changed = {
            "scale": draw(st.sampled_from([100, 10_000, 10**6, 10**18])),
            "tightening": tightening,
            "offset": Decimal(draw(st.sampled_from(offsets))),
        }
        for index in together:
            rows[index] = rows[index].model_copy(update=changed)
    return binding().model_copy(update={"parameters": rows})


@st.composite
def assessments(draw):
    """Assessments as the guard lets them through: margins on both sides of zero, tails in order."""
    return assessment(
        published=(-draw(MOVES), draw(MOVES)),
        raw=(-draw(MOVES), draw(MOVES)),
        vol=vol(draw(st.floats(0.03, 3.0))),
        vol_rise=draw(st.none() | st.floats(-1.0, 1.0)),
    )


@st.composite
def couplings(draw):
    """The groups of a market, and the mask of each parameter's."""
    shocks = draw(st.sampled_from([(SHOCKS,), ((0,), (1,), (2,)), ((0, 2), (1,))]))
    groups = (*shocks, LIQUIDATION, PENALTY)
    masks = {index: sum(1 << other for other in group) for group in groups for index in group}
    return {index: mask if draw(st.booleans()) or mask.bit_count() > 1 else 0 for index, mask in masks.items()}


@st.composite
def states(draw, targets, *, admissible=False):
    """Live states around the targets, with any limits; admissible ones have every corridor hold value and target."""
    masks = draw(couplings())
    parameters = []
    for row in market_state().parameters:
        target = targets.get(row.id, 500)
        value = draw(st.integers(0, 2 * target + 10))
        inside = min(value, target), max(value, target)
        relative = draw(st.booleans())
        steps = st.integers(0, 20_000 if relative else 2 * abs(target - value) + 2)
        used = draw(st.integers(0, FULL))
        parameters.append(
            replace(
                row,
                value=value,
                minimum=draw(st.integers(0, inside[0] if admissible else 3 * target)),
                maximum=inside[1] + draw(st.integers(0, 10**20)) if admissible else draw(st.integers(0, 3 * target)),
                max_step_up=draw(steps),
                max_step_down=draw(steps),
                relative=relative,
                cooldown=draw(st.integers(0, 100)),
                changed_at=draw(st.just(0) | minutes(THIS_MINUTE - 120) | minutes(EPOCH - 2 * WINDOW)),
                drift_budget=draw(st.integers(0, 2 * abs(target - value) + 2)),
                drift_window=draw(st.sampled_from([0, 0, WINDOW])),
                drift_used=used,
                drift_before=draw(st.integers(0, FULL - used)),
                tightening_up=draw(st.booleans()),
                notice=draw(st.sampled_from([0, 0, 500])),
                coupled=masks[row.id],
            )
        )
    state = replace(market_state(), parameters=tuple(parameters))
    assume(not admissible or state.values[THRESHOLD] <= state.values[MAINTENANCE])
    return replace(state, last_good=state.values)


def minutes(first: int) -> st.SearchStrategy[int]:
    """When the steward may remember the last change to have been made, from a moment on."""
    return st.integers(first // MINUTE, THIS_MINUTE // MINUTE).map(lambda minute: minute * MINUTE)


def group_of(state, index: int) -> tuple[int, ...]:
    """The ids that move with one, itself included."""
    mask = state.parameters[index].coupled | 1 << index
    return tuple(other for other in range(len(state.parameters)) if mask >> other & 1)


@st.composite
def decisions(draw, *, admissible=False):
    """An assessment, a state, a binding and what propose() makes of them."""
    protocol, found = draw(bindings()), draw(assessments())
    rules = ProposeSettings(dead_band=draw(st.sampled_from([0.0, 0.1, 0.5])))
    state = draw(states(parameter_targets(found, protocol, rules), admissible=admissible))
    return state, protocol, propose(found, state, protocol, rules, NOW)


def moves(proposal: Proposal, state):
    """(parameter state, units moved, units of the whole way) of every change."""
    pairs = zip(proposal.changes, proposal.targets, strict=True)
    return {
        change.id: (row := state.parameters[change.id], change.value - row.value, target.value - row.value)
        for change, target in pairs
    }


@given(decisions())
def test_propose__any_market__stays_inside_every_limit_and_on_the_way_to_its_target(decision):
    state, _, outcome = decision
    assume(isinstance(outcome, Proposal))
    for row, moved, way in moves(outcome, state).values():
        assert -_step(row, row.max_step_down) <= moved <= _step(row, row.max_step_up)
        assert min(0, way) <= moved <= max(0, way)
        assert _within_budget(row, moved)


@given(decisions())
def test_propose__any_market__never_splits_a_group_and_always_changes_something(decision):
    state, _, outcome = decision
    assume(isinstance(outcome, Proposal))
    ids = [change.id for change in outcome.changes]
    assert all(low < high for low, high in pairwise(ids))
    assert all(set(group_of(state, index)) <= set(ids) for index in ids)
    assert [target.id for target in outcome.targets] == ids
    for index in ids:
        assert any(outcome.values[i] != state.values[i] for i in group_of(state, index))


@given(decisions())
def test_propose__any_market__moves_a_group_by_the_largest_common_share(decision):
    state, _, outcome = decision
    assume(isinstance(outcome, Proposal))
    found = moves(outcome, state)
    for group in {group_of(state, index) for index in found}:
        members = [found[index] for index in group]
        shares = [_limit(row, way) / abs(way) if way else Fraction(1) for row, _, way in members]
        share = min(Fraction(1), *shares)
        assert [moved for _, moved, _ in members] == [_towards_zero(share * way) for _, _, way in members]


@given(st.data())
def test_drift_returns_at__budget_spent__is_the_first_second_at_which_a_unit_is_left(data):
    row = replace(
        market_state().parameters[0],
        changed_at=data.draw(minutes(EPOCH - WINDOW)),
        drift_budget=data.draw(st.integers(0, 500)),
        drift_window=WINDOW,
        drift_used=(used := data.draw(st.integers(0, FULL))),
        drift_before=FULL - used,
    )
    assume(drift_left(row, NOW) == 0)
    returns_at = drift_returns_at(row, NOW)
    if returns_at is None:
        assert row.drift_budget == 0
    else:
        assert NOW < returns_at <= NOW + 2 * WINDOW
        assert drift_left(row, returns_at - 1) == 0 < drift_left(row, returns_at)


def _step(row, limit: int) -> int:
    return row.value * limit // 10_000 if row.relative else limit


def _shares_taken(row) -> int:
    """Shares of the drift budget that count at NOW."""
    if row.changed_at >= EPOCH:
        return row.drift_used + row.drift_before
    return row.drift_used if row.changed_at >= EPOCH - WINDOW else 0


def _within_budget(row, moved: int) -> bool:
    if not row.drift_window or not moved:
        return True
    return row.drift_budget > 0 and math.ceil(Fraction(abs(moved) * FULL, row.drift_budget)) <= FULL - _shares_taken(
        row
    )


def _limit(row, way: int) -> Fraction:
    step = _step(row, row.max_step_up if way > 0 else row.max_step_down)
    low, high = 0, step
    while low < high:  # the largest move that the budget allows, by bisection
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _within_budget(row, middle) else (low, middle - 1)
    return Fraction(low)


def _towards_zero(number: Fraction) -> int:
    return math.floor(number) if number > 0 else math.ceil(number)


@given(decisions())
def test_propose__any_market__leaves_a_cooling_group_alone(decision):
    state, _, outcome = decision
    assume(isinstance(outcome, Proposal))
    for change in outcome.changes:
        for index in group_of(state, change.id):
            row = state.parameters[index]
            assert row.changed_at == 0 or row.changed_at + row.cooldown <= NOW


@given(decisions(admissible=True))
def test_propose__targets_inside_every_corridor__passes_the_guard_once_its_notice_is_over(decision):
    state, _, outcome = decision
    assume(isinstance(outcome, Proposal))
    assert review(outcome, state, NAMES, (), NOW, NOW - 500) is None
    at_once = verdict(outcome, state, NOW, None)
    assert at_once is None or at_once[0] is Reason.NOT_ANNOUNCED
    assert outcome.deadline - NOW == SETTINGS.deadline_seconds + (500 if at_once else 0)


@given(decisions())
def test_propose__target_outside_a_corridor__is_refused_whole(decision):
    state, _, outcome = decision
    assume(isinstance(outcome, Proposal))
    rows = {row.id: row for row in state.parameters}
    assume(any(not rows[t.id].minimum <= t.value <= rows[t.id].maximum for t in outcome.targets))
    assert review(outcome, state, NAMES, (), NOW, None).reason is Reason.OUTSIDE_CORRIDOR


@given(st.data())
def test_review__any_proposal__passes_exactly_when_every_limit_is_kept(data):
    protocol = binding()
    state = data.draw(states(parameter_targets(assessment(), protocol, SETTINGS), admissible=data.draw(st.booleans())))
    changes = []
    for row in state.parameters:
        step = data.draw(st.integers(-_step(row, row.max_step_down) - 1, _step(row, row.max_step_up) + 1))
        if data.draw(st.sampled_from([True, True, True, False])):
            changes.append((row.id, data.draw(st.sampled_from([row.value, max(0, row.value + step)]))))
    proposal = tune(*changes, current=state.values)
    announced_at = data.draw(st.sampled_from([None, NOW - 500, NOW - 499]))
    passes = review(proposal, state, NAMES, (), NOW, announced_at) is None
    assert passes == _admissible(changes, proposal.values, state, announced_at)


def _admissible(changes, values, state, announced_at) -> bool:
    ids = {index for index, _ in changes}
    whole = all(set(group_of(state, index)) <= ids for index in ids)
    in_order = values[THRESHOLD] <= values[MAINTENANCE]
    kept = all(_kept(state.parameters[index], value, announced_at) for index, value in changes)
    return whole and in_order and values != state.values and kept


def _kept(row, value: int, announced_at: int | None) -> bool:
    step = row.value - _step(row, row.max_step_down) <= value <= row.value + _step(row, row.max_step_up)
    rested = value == row.value or row.changed_at == 0 or row.changed_at + row.cooldown <= NOW
    tightens = value > row.value if row.tightening_up else value < row.value
    told = not (tightens and row.notice) or (announced_at is not None and announced_at + row.notice <= NOW)
    return row.minimum <= value <= row.maximum and step and rested and told and _within_budget(row, value - row.value)


@given(st.data())
def test_rollback__any_state__restores_exactly_the_last_good_version(data):
    state = data.draw(states({}))
    good = tuple(data.draw(st.just(value) | st.integers(0, 10**20)) for value in state.values)
    proposal = rollback(replace(state, last_good=good), "a test", "0x00", NOW, 600)
    assert proposal.values == good
    assert all(state.values[change.id] != change.value for change in proposal.changes)


@given(st.data())
def test_rollback__last_good_inside_every_corridor__passes_the_guard_whatever_steps_and_cooldowns(data):
    state = data.draw(states({}))
    good = tuple(data.draw(st.integers(0, 10**20)) for _ in state.values)
    assume(good != state.values and good[THRESHOLD] <= good[MAINTENANCE])
    rows = tuple(replace(row, minimum=0, maximum=10**20) for row in state.parameters)
    state = replace(state, last_good=good, parameters=rows, paused=data.draw(st.booleans()))
    proposal = rollback(state, "a test", "0x00", NOW, 600)
    assert review(proposal, state, NAMES, {good}, NOW, None) is None
    assert review(proposal, state, NAMES, (), NOW, None).reason is Reason.NOT_LAST_GOOD


# Forecasts

BELIEVABLE = st.floats(-LARGEST_MOVE, LARGEST_MOVE)
ROWS = st.lists(BELIEVABLE, min_size=6, max_size=6).map(lambda row: tuple(sorted(row)))
TAILS = st.builds(Tail, ROWS, BELIEVABLE, BELIEVABLE)


@st.composite
def forecasts(draw):
    """Forecasts that the guard believes."""
    horizons = {DAY: draw(TAILS), 5 * DAY: draw(TAILS)}
    implied = draw(st.none() | ROWS.map(lambda row: {DAY: row}))
    size = st.floats(1e-6, LARGEST_MOVE)
    return forecast(horizons=horizons, iv_horizons=implied, published=(-draw(size), draw(size)))


@given(forecasts(), st.floats(1e-3, 365.0), st.floats(1e-3, 100.0))
def test_propose__any_forecast_the_guard_believes__is_decided_without_a_fault(found, period, multiple):
    state = market_state()
    assert review_forecast(found, state, 250, 250) is None
    seen = assess(Snapshot(state, assessment().spot, assessment().vol), found, "m", 250)
    rules = ProposeSettings(margin_period_days=period, vol_multiple=multiple)
    assert isinstance(propose(seen, state, binding(), rules, NOW), NoChange | Proposal)


@given(forecasts(), st.sampled_from([math.nan, math.inf, -math.inf]), st.data())
def test_review_forecast__one_number_not_finite_anywhere__is_refused(found, bad, data):
    places = [("published", i) for i in range(2)]
    places += [(horizon, i) for horizon in found.horizons for i in range(8)]
    places += [("iv", i) for i in range(6) if found.iv_horizons]
    where, i = data.draw(st.sampled_from(places))
    if where == "published":
        spoilt = replace(found, published=_put(found.published, i, bad))
    elif where == "iv":
        spoilt = replace(found, iv_horizons={DAY: _put(found.iv_horizons[DAY], i, bad)})
    else:
        tail = found.horizons[where]
        six, two = _put(tail.quantiles, i, bad), _put((tail.es_lower, tail.es_upper), i - 6, bad)
        spoilt = replace(found, horizons={**found.horizons, where: Tail(six, *two)})
    assert review_forecast(spoilt, market_state(), 250, 250).reason is Reason.MODEL_NOT_FINITE


def _put(numbers, place: int, number: float):
    return tuple(number if index == place else old for index, old in enumerate(numbers))


# Messages

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
FLOATS = st.floats(allow_nan=False, allow_infinity=False).map(lambda number: number + 0.0)  # -0.0 equals 0.0
JSON = st.recursive(st.none() | st.integers() | TEXT, lambda inner: st.lists(inner, max_size=3))
PLAIN = {str: TEXT, int: st.integers(), float: FLOATS, bool: st.booleans(), type(None): st.none(), Any: JSON}


def anything(kind) -> st.SearchStrategy:
    """Values of an annotation that a message uses."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind in PLAIN:
        found = PLAIN[kind]
    elif origin is Literal:
        found = st.sampled_from(arguments)
    elif origin is types.UnionType:
        found = st.one_of(*map(anything, arguments))
    elif origin is dict:
        found = st.dictionaries(TEXT, anything(arguments[1]), max_size=3)
    elif origin is tuple and arguments[-1] is Ellipsis:
        found = st.lists(anything(arguments[0]), max_size=4).map(tuple)
    elif origin is tuple:
        found = st.tuples(*map(anything, arguments))
    elif issubclass(kind, Enum):
        found = st.sampled_from(kind)
    else:
        found = st.builds(kind, **{field.name: anything(get_type_hints(kind)[field.name]) for field in fields(kind)})
    return found


CLASSES = [*MESSAGES.values(), Change, Preflight]


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
@settings(max_examples=40)
@given(data=st.data())
def test_message__any__is_read_back_equal_and_no_field_can_change_under_its_digest(kind, data):
    message = data.draw(anything(kind))
    read = parse(kind, json.loads(canonical(body(message))))
    assert read == message
    assert digest(read) == digest(message)
    field = data.draw(st.sampled_from(fields(kind)))
    other = data.draw(anything(get_type_hints(kind)[field.name]))
    same = other == getattr(message, field.name)
    assert (digest(replace(message, **{field.name: other})) == digest(message)) == same
