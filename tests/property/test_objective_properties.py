"""Whatever the model says and the chain holds, the objective is a number, and no target is looser than its floor."""

import math

from builders import NOW, assessment, binding, market_state, vol, with_parameter
from hypothesis import given, settings
from hypothesis import strategies as st

from config.schema import ProposeSettings
from keeper.deliberation import deliberation
from keeper.guard import LARGEST_MOVE
from keeper.messages import body, canonical
from keeper.objective import CHANCES, curve
from keeper.propose import plan
from keeper.targets import floor_ratios, target_ratios
from keeper.weighing import Weighing
from models.forecaster import Tail

MOVE = st.floats(-LARGEST_MOVE, LARGEST_MOVE)
QUANTILES = st.lists(MOVE, min_size=6, max_size=6).map(sorted).map(tuple)
SIZES = st.lists(st.floats(0, 1e3), min_size=3, max_size=3).map(sorted).map(tuple)


@st.composite
def seen(draw):
    """What the guard lets through at its wildest."""
    quantiles = draw(QUANTILES)
    return assessment(
        published=(-draw(st.floats(1e-300, LARGEST_MOVE)), draw(st.floats(1e-300, LARGEST_MOVE))),
        raw=(quantiles[2], quantiles[3]),
        tail=Tail(quantiles, draw(MOVE), draw(MOVE)),
        vol=vol(draw(st.floats(0.01, 10.0))),
        vol_rise=draw(st.none() | MOVE),
        vol_tail=draw(st.none() | QUANTILES),
        holdings=draw(st.none() | st.just(((0.0, 0.5), (1.5, 0.5)))),
    )


RULES = st.builds(
    ProposeSettings,
    margin_period_days=st.floats(0.01, 365.0),
    liquidation_days=st.floats(0.01, 365.0),
    shortfall_weight=st.none() | st.floats(0.0, 1e9),
    margin_cost=st.floats(1e-9, 1e9),
    change_cost=st.floats(0.0, 1e9),
    dead_band=st.sampled_from([0.0, 0.1]),
)


@settings(max_examples=200)
@given(seen(), RULES, st.lists(st.integers(0, 2**255), min_size=5, max_size=5))
def test_deliberation__any_believable_inputs_and_values__is_written_down(found, rules, values):
    state = market_state()
    for index, value in enumerate(values):
        state = with_parameter(state, index, value=value)
    made = plan(found, state, binding(), rules, NOW)
    told = deliberation(made, found, state, binding(), rules)
    assert canonical(body(told))
    for row in told.parameters:
        if row.role is not None and row.before is not None:
            assert math.isfinite(row.before.total + row.after.total)
            assert row.before.shortfall >= 0.0
    assert all(isinstance(one, Weighing) for one in told.weighed)


@settings(max_examples=200)
@given(seen(), RULES)
def test_target_ratios__any_believable_inputs__are_no_looser_than_what_covers_the_published_margin(found, rules):
    floors, targets = floor_ratios(found, rules), target_ratios(found, rules)
    assert all(targets[role] >= floors[role] for role in floors)


@settings(max_examples=300)
@given(SIZES, st.floats(0, 1e3) | st.none(), st.floats(-10, 2e3), st.floats(0, 1e3))
def test_curve__more_cover__loses_less_and_by_no_more_than_the_cover(sizes, shortfall, cover, more):
    one = curve(sizes, shortfall)
    less, most = one.excess(cover + more), one.excess(cover)
    slack = 1e-9 * (1 + most)
    assert 0.0 <= less <= most + slack
    assert most - less <= more + slack
    if cover >= sizes[0]:
        assert most - less <= CHANCES[0] * more + slack


@settings(max_examples=300)
@given(SIZES, st.floats(1.0, 10.0), st.floats(0, 1e3))
def test_curve__every_loss_larger__loses_no_less(sizes, factor, cover):
    larger = tuple(factor * size for size in sizes)
    assert curve(larger).excess(cover) >= curve(sizes).excess(cover) * (1 - 1e-9) - 1e-12
