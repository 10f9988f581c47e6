"""A forecast becomes targets, and targets become the step that the limits on chain admit."""

import math
from dataclasses import replace
from decimal import Decimal

import pytest
from builders import (
    BLOCK,
    CALM_VALUES,
    HASH,
    MARKET,
    NOW,
    assessment,
    binding,
    market_state,
    vol,
    with_parameter,
)

from config.load import DEFAULT_SETTINGS, load_protocol
from config.protocol import Protocol
from config.schema import ProposeSettings
from keeper.limits import FULL
from keeper.messages import Change, NoChange, Proposal, ProposalKind, digest
from keeper.propose import propose, rollback
from keeper.targets import parameter_targets, target_ratios
from models.market import Invariant, MarketState

SETTINGS = ProposeSettings()
CALM_TARGETS = {0: 400, 1: 501, 2: 1_800, 3: 5_950, 4: 4_600}


def proposed(found=None, state=None, *, protocol=None, now=NOW, **settings):
    rules = ProposeSettings(**settings)
    return propose(found or assessment(), state or market_state(), protocol or binding(), rules, now)


def wanting(vol_target: int, **changes):
    """An assessment whose target of shocked_vol is given; the other targets are calm."""
    return assessment(vol=vol(vol_target / 10_000 / 1.25), **changes)


def coupled(masks: dict[int, int]) -> MarketState:
    """The calm market with other couplings."""
    state = market_state()
    for index, mask in masks.items():
        state = with_parameter(state, index, coupled=mask)
    return state


# Targets


def test_target_ratios__published_margin__grows_with_the_square_root_of_the_period():
    ratios = target_ratios(assessment(published=(-0.03, 0.02)), ProposeSettings(margin_period_days=4.0))
    assert ratios["spot_shock_down"] == pytest.approx(1 - math.exp(-0.06))
    assert ratios["spot_shock_up"] == pytest.approx(math.exp(0.04) - 1)


def test_target_ratios__shocked_vol__is_a_multiple_of_implied_vol_after_its_rise():
    rising = target_ratios(assessment(vol=vol(0.2), vol_rise=math.log(1.5)), ProposeSettings(vol_multiple=1.25))
    assert rising["shocked_vol"] == pytest.approx(1.25 * 0.2 * 1.5)


def test_target_ratios__without_a_vol_model__takes_implied_vol_as_it_is():
    assert target_ratios(assessment(vol=vol(0.2)), SETTINGS)["shocked_vol"] == pytest.approx(0.25)


def test_target_ratios__liquidation_threshold__is_the_share_a_liquidation_uses_up():
    settings = ProposeSettings(margin_period_days=4.0, liquidation_days=1.0)
    ratios = target_ratios(assessment(published=(-0.03, 0.02), raw=(-0.06, 0.02)), settings)
    assert ratios["liquidation_threshold"] == pytest.approx(1 - math.exp(-0.06 / 0.06))


@pytest.mark.parametrize("raw", [(-0.06, 0.01), (-0.01, 0.06)])
def test_target_ratios__liquidation_threshold__follows_the_larger_tail(raw):
    larger = target_ratios(assessment(raw=raw), SETTINGS)["liquidation_threshold"]
    assert larger == target_ratios(assessment(raw=(-0.06, 0.06)), SETTINGS)["liquidation_threshold"]


@pytest.mark.parametrize("published", [(-0.04, 0.01), (-0.01, 0.04)])
def test_target_ratios__liquidation_threshold__is_relative_to_the_larger_margin(published):
    ratio = target_ratios(assessment(published=published), SETTINGS)["liquidation_threshold"]
    assert ratio == target_ratios(assessment(published=(-0.04, 0.04)), SETTINGS)["liquidation_threshold"]


def test_target_ratios__longer_liquidation__raises_the_threshold():
    short, long = (
        target_ratios(assessment(), ProposeSettings(liquidation_days=days))["liquidation_threshold"]
        for days in (1.0, 4.0)
    )
    assert 1 - long == pytest.approx((1 - short) ** 2)


def test_target_ratios__maintenance__keeps_its_share_of_the_way_to_full_margin():
    ratios = target_ratios(assessment(), ProposeSettings(maintenance_gap=0.25))
    threshold = ratios["liquidation_threshold"]
    assert ratios["maintenance_factor"] == pytest.approx(threshold + (1 - threshold) / 4)


def test_target_ratios__raw_tail_far_beyond_the_margin__saturates_at_all_of_it():
    ratios = target_ratios(assessment(raw=(-10.0, 0.02)), SETTINGS)
    assert ratios["liquidation_threshold"] == ratios["maintenance_factor"] == 1.0


def test_parameter_targets__calm_market__are_these_basis_points():
    assert parameter_targets(assessment(), binding(), SETTINGS) == CALM_TARGETS


def test_parameter_targets__parameter_without_a_role__has_none():
    assert 5 not in parameter_targets(assessment(), binding(), SETTINGS)


def redrawn(role: str, **changes) -> Protocol:
    """The reference binding with the parameter of a role changed."""
    rows = [row.model_copy(update=changes) if row.role == role else row for row in binding().parameters]
    return binding().model_copy(update={"parameters": rows})


@pytest.mark.parametrize(
    ("tightening", "offset", "target"),
    [("up", "0", 1_801), ("up", "1", 11_801), ("up", "0.00005", 1_801), ("up", "0.00006", 1_802), ("down", "1", 8_199)],
)
def test_parameter_targets__between_two_units__rounds_to_the_tighter(tightening, offset, target):
    protocol = redrawn("shocked_vol", tightening=tightening, offset=Decimal(offset))
    found = assessment(vol=vol(0.18005 / 1.25))
    assert parameter_targets(found, protocol, SETTINGS)[2] == target


@pytest.mark.parametrize(("tightening", "sign"), [("up", 1), ("down", -1)])
def test_parameter_targets__offset_at_a_scale_finer_than_a_float__is_added_to_the_digit(tightening, sign):
    offset, scale = Decimal("1.000000000000000001"), 10**18
    protocol = redrawn("shocked_vol", tightening=tightening, offset=offset, scale=scale)
    without = parameter_targets(assessment(), redrawn("shocked_vol", scale=scale), SETTINGS)[2]
    assert parameter_targets(assessment(), protocol, SETTINGS)[2] == 10**18 + 1 + sign * without


def test_parameter_targets__lyra__spot_is_shocked_up_for_calls_and_down_for_puts():
    lyra = load_protocol("lyra_v1", DEFAULT_SETTINGS)
    found = assessment(published=(-0.08, 0.07))
    ratios, targets = target_ratios(found, SETTINGS), parameter_targets(found, lyra, SETTINGS)
    call, put = lyra.id_of("call_spot_price_shock"), lyra.id_of("put_spot_price_shock")
    assert targets.keys() == {call, put}
    assert targets[call] / 1e18 == pytest.approx(1 + ratios["spot_shock_up"])
    assert targets[put] / 1e18 == pytest.approx(1 - ratios["spot_shock_down"])
    assert targets[put] < 10**18 < targets[call]


@pytest.mark.parametrize("wild", [{"published": (-10.0, 10.0)}, {"vol_rise": 10.0}])
def test_propose__wildest_forecast_the_guard_believes_over_the_longest_period__is_a_proposal(wild):
    proposal = proposed(assessment(**wild), margin_period_days=365.0)
    assert max(target.value for target in proposal.targets) > 10**7


# Dead band


def test_propose__every_target_inside_the_dead_band__changes_nothing():
    outcome = proposed()
    assert outcome == NoChange(MARKET, BLOCK, "every parameter is within its dead band", digest(assessment()))


def test_propose__target_at_the_edge_of_the_dead_band__changes_nothing():
    assert isinstance(proposed(wanting(1_980)), NoChange)


def test_propose__target_a_unit_past_the_dead_band__moves_the_whole_group():
    proposal = proposed(wanting(1_981))
    assert [change.id for change in proposal.changes] == [0, 1, 2]
    assert proposal.changes == (Change(0, 400), Change(1, 501), Change(2, 1_981))


def test_propose__target_below_the_dead_band__moves_as_well():
    assert proposed(wanting(1_619)).changes == (Change(0, 400), Change(1, 501), Change(2, 1_619))


@pytest.mark.parametrize(("target", "moves"), [(1_980, False), (1_981, True), (1_620, False), (1_619, True)])
@pytest.mark.parametrize(("tightening", "sign"), [("up", 1), ("down", -1)])
def test_propose__value_with_an_offset__has_the_dead_band_of_the_same_ratio_without(target, moves, tightening, sign):
    protocol = redrawn("shocked_vol", tightening=tightening, offset=Decimal(1))
    state = with_parameter(market_state(), 2, value=10_000 + sign * 1_800, maximum=20_000, max_step_down=2_000)
    outcome = proposed(wanting(target), state, protocol=protocol)
    assert isinstance(outcome, Proposal) is moves
    if moves:
        assert outcome.changes[2] == Change(2, 10_000 + sign * target)


def test_propose__without_a_dead_band__moves_for_one_unit():
    assert proposed(dead_band=0.0).changes[1] == Change(1, 501)


def test_propose__live_value_zero__is_left_for_any_target_above():
    state = market_state((0, *CALM_VALUES[1:]))
    assert proposed(state=state).changes[0].id == 0


def test_propose__group_inside_its_dead_band__stays_out_of_the_proposal():
    assert {change.id for change in proposed(wanting(2_500)).changes} == {0, 1, 2}


def test_propose__two_groups_outside__are_one_proposal_in_id_order():
    proposal = proposed(wanting(2_500, raw=(-0.05, 0.02)))
    assert [change.id for change in proposal.changes] == [0, 1, 2, 3, 4]


def test_propose__groups_whose_ids_interleave__are_still_in_id_order():
    state = coupled({0: 0b00101, 2: 0b00101, 1: 0b11010, 3: 0b11010, 4: 0b11010})
    proposal = proposed(wanting(2_500, raw=(-0.05, 0.02)), state)
    assert [change.id for change in proposal.changes] == [0, 1, 2, 3, 4]


def test_propose__coupling_chained_and_one_way__moves_all_that_are_linked():
    proposal = proposed(wanting(2_500), coupled({0: 0, 1: 0b000001, 2: 0b000010}))
    assert [change.id for change in proposal.changes] == [0, 1, 2]


def test_propose__coupled_with_a_parameter_without_a_target__names_it_where_it_is():
    proposal = proposed(wanting(2_500), coupled({2: 0b100111}))
    assert proposal.changes[-1] == proposal.targets[-1] == Change(5, 500)
    assert [change.id for change in proposal.changes] == [0, 1, 2, 5]


# Steps


def test_propose__everything_within_one_step__goes_all_the_way():
    proposal = proposed(wanting(3_800))
    assert proposal.changes == proposal.targets == (Change(0, 400), Change(1, 501), Change(2, 3_800))


def test_propose__one_of_a_group_is_too_far__all_take_the_same_share_of_their_way():
    state = with_parameter(market_state(), 0, max_step_up=50)
    proposal = proposed(wanting(3_000, published=(-0.03, 0.02672)), state)
    assert [target.value for target in proposal.targets[:3]] == [616, 649, 3_000]
    assert proposal.changes[:3] == (
        Change(0, 450),
        Change(1, 500 + 149 * 50 // 216),
        Change(2, 1_800 + 1_200 * 50 // 216),
    )


def test_propose__way_down__is_held_to_the_limit_downwards():
    state = with_parameter(market_state(), 2, max_step_up=9_999, max_step_down=300)
    proposal = proposed(wanting(1_200), state)
    assert proposal.changes == (Change(0, 400), Change(1, 500), Change(2, 1_500))


def test_propose__way_up__is_not_held_to_the_limit_downwards():
    state = with_parameter(market_state(), 2, max_step_up=9_999, max_step_down=1)
    assert proposed(wanting(3_000), state).changes[2] == Change(2, 3_000)


def test_propose__way_of_a_single_unit_up__is_held_to_the_limit_upwards():
    state = with_parameter(market_state(), 1, max_step_up=1, max_step_down=0)
    assert proposed(state=state, dead_band=0.0).changes[1] == Change(1, 501)


def test_propose__units_finer_than_a_float__still_takes_exactly_the_largest_step():
    limit = 10**17 + 1
    state = with_parameter(coupled({0: 0b011, 1: 0b011, 2: 0}), 2, value=10**17, max_step_up=limit, maximum=10**30)
    proposal = proposed(assessment(vol=vol(1.0)), state, protocol=redrawn("shocked_vol", scale=10**18))
    assert proposal.changes == (Change(2, 10**17 + limit),)


def test_propose__no_step_allowed__says_so():
    state = with_parameter(market_state(), 2, max_step_up=0)
    outcome = proposed(wanting(3_000), state)
    assert isinstance(outcome, NoChange)
    assert outcome.detail.startswith("spot_shock_up+spot_shock_down+shocked_vol cannot move")


def test_propose__group_that_cannot_move__does_not_ride_along_with_one_that_can():
    state = with_parameter(market_state(), 2, max_step_up=0)
    proposal = proposed(wanting(3_000, raw=(-0.05, 0.02)), state)
    assert [change.id for change in proposal.changes] == [3, 4]


def test_propose__relative_step__is_a_share_of_the_live_value():
    state = with_parameter(market_state(), 2, relative=True, max_step_up=1_111)
    assert proposed(wanting(3_000), state).changes[2] == Change(2, 1_800 + 199)


# Drift

WEEK = 604_800
EPOCH = NOW // WEEK * WEEK


def drifting(index: int, budget: int, **changes) -> MarketState:
    """The calm market with a weekly drift budget on one parameter."""
    return with_parameter(market_state(), index, drift_budget=budget, drift_window=WEEK, **changes)


def test_propose__drift_budget_smaller_than_the_step__holds_all_of_the_group_to_its_share():
    proposal = proposed(wanting(2_400, published=(-0.03, 0.02672)), drifting(2, 300))
    assert [target.value for target in proposal.targets[:3]] == [616, 649, 2_400]
    assert proposal.changes[:3] == (Change(0, 400 + 216 // 2), Change(1, 500 + 149 // 2), Change(2, 1_800 + 300))


def test_propose__part_of_the_budget_used__moves_by_what_is_left():
    state = drifting(2, 600, changed_at=EPOCH, cooldown=0, drift_used=FULL // 5, drift_before=FULL // 5)
    assert proposed(wanting(2_400), state).changes[2] == Change(2, 1_800 + 360)


def test_propose__way_back_down__uses_the_budget_too():
    state = drifting(2, 100)
    assert proposed(wanting(1_500), state).changes[2] == Change(2, 1_700)


@pytest.mark.parametrize("seconds", [1, 5, WEEK - 60])
@pytest.mark.parametrize(
    ("used", "before", "end"),
    [(0, FULL, EPOCH + WEEK - 60), (1, FULL - 1, EPOCH + WEEK - 60), (FULL, 0, EPOCH + 2 * WEEK - 60)],
)
def test_propose__drift_budget_spent__says_of_which_and_for_how_long(used, before, end, seconds):
    state = drifting(2, 600, changed_at=EPOCH, cooldown=0, drift_used=used, drift_before=before)
    outcome = proposed(wanting(2_400), state, now=end + 1 - seconds)
    assert outcome.detail == (
        "spot_shock_up+spot_shock_down+shocked_vol cannot move: "
        f"the drift budget of shocked_vol is spent for another {seconds} s"
    )
    assert isinstance(proposed(wanting(2_400), state, now=end), NoChange)
    assert isinstance(proposed(wanting(2_400), state, now=end + 1), Proposal)


def test_propose__drift_budget_spent_in_this_epoch__is_spent_for_the_next_one_too():
    state = drifting(2, 600, changed_at=EPOCH, cooldown=0, drift_used=FULL)
    assert proposed(wanting(2_400), state, now=EPOCH).detail.endswith(f"is spent for another {2 * WEEK - 59} s")


def test_propose__drift_budget_of_nothing__is_not_said_to_come_back():
    outcome = proposed(wanting(2_400), drifting(2, 0))
    assert outcome.detail.endswith("the drift budget of shocked_vol allows no move")


def test_propose__spent_budget_of_one_that_is_where_it_should_be__holds_nothing_up():
    state = drifting(0, 600, changed_at=EPOCH, cooldown=0, drift_used=FULL)
    assert proposed(wanting(2_400), state).changes[2] == Change(2, 2_400)
    held = with_parameter(state, 2, max_step_up=0)
    assert proposed(wanting(2_400), held).detail.endswith("its step limits and drift budgets leave less than one unit")


# Invariants


def test_propose__step_that_would_break_an_invariant_with_a_group_that_waits__stays_and_says_so():
    state = replace(market_state(), invariants=(Invariant(2, 1, 3, 3),))  # shocked_vol <= 3 x maintenance_factor
    state = with_parameter(with_parameter(state, 3, value=700), 3, changed_at=NOW - 1)
    outcome = proposed(wanting(2_101), state)
    assert "shocked_vol cannot move: shocked_vol would exceed what maintenance_factor allows" in outcome.detail
    assert "maintenance_factor+liquidation_threshold cools down" in outcome.detail
    assert proposed(wanting(2_100), state).changes[2] == Change(2, 2_100)


def test_propose__invariant_of_a_group_that_stays__does_not_hold_up_the_other():
    state = replace(market_state(), invariants=(Invariant(2, 1, 5, 5),))  # shocked_vol <= 5 x liquidation_penalty
    proposal = proposed(wanting(2_501, raw=(-0.05, 0.02)), state)
    assert [change.id for change in proposal.changes] == [3, 4]


def test_propose__live_values_break_an_invariant__proposes_nothing_since_nothing_could_be_applied():
    state = replace(market_state(), invariants=(Invariant(3, 1, 5, 1),))
    outcome = proposed(wanting(2_400), state)
    assert outcome.detail.endswith("maintenance_factor would exceed what liquidation_penalty allows")


# Cooldown


def test_propose__group_cooling_down__waits_and_says_for_how_long():
    state = with_parameter(market_state(), 1, cooldown=3_600, changed_at=NOW - 3_599)
    outcome = proposed(wanting(3_000), state)
    assert isinstance(outcome, NoChange)
    assert outcome.detail == "spot_shock_up+spot_shock_down+shocked_vol cools down for another 1 s"


def test_propose__two_of_a_group_cooling_down__waits_for_the_longer():
    state = with_parameter(market_state(), 1, cooldown=3_600, changed_at=NOW - 3_500)
    state = with_parameter(state, 0, cooldown=3_600, changed_at=NOW - 7_200)
    assert proposed(wanting(3_000), state).detail.endswith("for another 100 s")


def test_propose__cooldown_just_over__moves():
    state = with_parameter(market_state(), 1, cooldown=3_600, changed_at=NOW - 3_600)
    assert isinstance(proposed(wanting(3_000), state), Proposal)


def test_propose__never_changed__does_not_cool_down():
    state = with_parameter(market_state(), 1, cooldown=2 * NOW, changed_at=0)
    assert isinstance(proposed(wanting(3_000), state), Proposal)


def test_propose__one_group_cooling_down__the_other_moves():
    state = with_parameter(market_state(), 1, changed_at=NOW - 1)
    proposal = proposed(wanting(3_000, raw=(-0.05, 0.02)), state)
    assert [change.id for change in proposal.changes] == [3, 4]


# What a proposal says


def test_propose__proposal__is_bound_to_what_it_was_computed_from():
    found = wanting(2_500)
    proposal = proposed(found, deadline_seconds=300)
    assert (proposal.market, proposal.kind, proposal.sequence) == (MARKET, ProposalKind.TUNE, 4)
    assert (proposal.state_hash, proposal.block, proposal.current) == (HASH, BLOCK, CALM_VALUES)
    assert (proposal.inputs, proposal.model_id) == (digest(found), "ewma-fhs")
    assert proposal.deadline == NOW + 300


@pytest.mark.parametrize(("target", "deadline"), [(2_500, NOW + 86_400 + 300), (1_500, NOW + 300)])
def test_propose__tightening_with_notice__lives_until_its_notice_is_over_and_loosening_does_not(target, deadline):
    state = with_parameter(market_state(), 2, notice=86_400)
    proposal = proposed(wanting(target, published=(-0.0229, 0.0175)), state, deadline_seconds=300)
    assert proposal.changes[2] == Change(2, target)
    assert proposal.deadline == deadline


def test_propose__because__tells_moves_and_their_cause_in_one_sentence():
    proposal = proposed(wanting(2_500, published=(-0.0229, 0.0175)))
    assert proposal.because == (
        "spot_shock_up 400 -> 400, spot_shock_down 500 -> 500, shocked_vol 1800 -> 2500 bps: "
        "the model's daily 1 % and 99 % moves are -2.26% and +1.77%, implied volatility is 20.0%"
    )


def test_propose__target_outside_the_corridor__stands_there_unclamped():
    state = with_parameter(market_state(), 2, maximum=2_000)
    proposal = proposed(wanting(2_500), state)
    assert proposal.targets[2] == Change(2, 2_500)


# Rolling back


def test_rollback__some_values_differ__changes_exactly_those():
    good = (450, 500, 1_800, 6_000, 4_500, 510)
    proposal = rollback(market_state(last_good=good), "a wrong value", "0x01", NOW, 300)
    assert proposal.changes == proposal.targets == (Change(0, 450), Change(5, 510))
    assert proposal.values == good


def test_rollback__proposal__is_bound_to_the_state_it_undoes():
    proposal = rollback(market_state(last_good=(450, *CALM_VALUES[1:])), "a wrong value", "0x01", NOW, 300)
    assert (proposal.kind, proposal.sequence, proposal.deadline) == (ProposalKind.ROLLBACK, 4, NOW + 300)
    assert (proposal.market, proposal.state_hash, proposal.block) == (MARKET, HASH, BLOCK)
    assert (proposal.current, proposal.inputs) == (CALM_VALUES, "0x01")
    assert (proposal.because, proposal.model_id) == ("a wrong value", "")


def test_rollback__last_good_is_live__changes_nothing():
    assert rollback(market_state(), "", "", NOW, 300).changes == ()
