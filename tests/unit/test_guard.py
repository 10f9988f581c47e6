"""Every rule of the guard refuses what breaks it and lets its twin on the other side of the line pass."""

import math
from dataclasses import replace

import pytest
from builders import (
    BLOCK,
    CALM_VALUES,
    HASH,
    MARKET,
    NOW,
    QUANTILES,
    binding,
    feeds,
    forecast,
    guard_settings,
    market_state,
    preflight,
    snapshot,
    spot,
    tune,
    vol,
    with_parameter,
)

from keeper.guard import NOTICE, diverges, implausible, review, review_forecast, review_impact, review_inputs, trusted
from keeper.limits import FULL, VETO, verdict
from keeper.messages import Approved, Change, ProposalKind, Reason, Rejected
from keeper.propose import rollback
from models.forecaster import DAY, Tail
from models.market import Invariant, MarketState, ParameterState

GOOD = (450, 550, 2_000, 6_300, 4_800, 500)
NAN, INFINITY = math.nan, math.inf
SHOCKS = (0, 440), (1, 550), (2, 1_900)


def inputs(snap=None, used=None, **settings):
    return review_inputs(snap or snapshot(), used or {}, feeds(), guard_settings(**settings), NOW)


NAMES = [parameter.name for parameter in binding().parameters]


def reviewed(proposal, state=None, *, now=NOW, once_applied=(), announced_at=None):
    return review(proposal, state or market_state(), NAMES, once_applied, now, announced_at)


def refused(answer, reason: Reason, *words: str) -> bool:
    assert isinstance(answer, Rejected)
    assert all(word in answer.detail for word in words), answer.detail
    return answer.reason is reason


# Inputs


def test_inputs__fresh_plausible_and_agreeing__pass():
    assert inputs(used={"spx": spot(3_900.0), "vix": vol(0.17)}) is None


def test_inputs__refusal__names_market_and_block_and_no_proposal():
    answer = inputs(snapshot(spot=None))
    assert (answer.market, answer.block, answer.proposal) == (MARKET, BLOCK, None)


@pytest.mark.parametrize("missing", ["spot", "vol"])
def test_inputs__a_quote_never_seen__is_missing(missing):
    assert refused(inputs(snapshot(**{missing: None})), Reason.MISSING_FEED, f"no {missing} quote")


def test_inputs__oracle_at_its_greatest_age__passes():
    assert inputs(snapshot(market_state(oracle_updated_at=NOW - 3_600))) is None


def test_inputs__oracle_a_second_older__is_stale():
    answer = inputs(snapshot(market_state(oracle_updated_at=NOW - 3_601)))
    assert refused(answer, Reason.STALE_ORACLE, "3601 s old", "max_oracle_age_seconds is 3600")


@pytest.mark.parametrize("price", [0.0, -4_000.0])
def test_inputs__oracle_price_not_positive__is_stale(price):
    assert refused(inputs(snapshot(market_state(oracle_price=price))), Reason.STALE_ORACLE)


def test_inputs__tiny_positive_oracle_price__is_not_called_stale():
    state = market_state(oracle_price=1e-6)
    assert refused(inputs(snapshot(state)), Reason.FEED_DIVERGES)


@pytest.mark.parametrize("kind", ["spot", "vol"])
def test_inputs__quote_at_its_greatest_age__passes(kind):
    quote = {"spot": spot(age=600), "vol": vol(age=600)}[kind]
    assert inputs(snapshot(**{kind: quote})) is None


@pytest.mark.parametrize("kind", ["spot", "vol"])
def test_inputs__quote_a_little_older__is_stale(kind):
    quote = {"spot": spot(age=600.5), "vol": vol(age=600.5)}[kind]
    assert refused(inputs(snapshot(**{kind: quote})), Reason.STALE_FEED, quote.feed, "max_age_seconds is 600")


@pytest.mark.parametrize("value", [0.05, 3.0])
def test_inputs__value_on_the_edge_of_its_range__passes(value):
    assert inputs(snapshot(vol=vol(value))) is None


@pytest.mark.parametrize("value", [0.0499, 3.001, 0.0, -0.2, NAN, INFINITY, -INFINITY])
def test_inputs__value_outside_its_range_or_no_number__is_refused(value):
    assert refused(inputs(snapshot(vol=vol(value))), Reason.FEED_OUT_OF_RANGE, "feed vix")


@pytest.mark.parametrize("before", [0.125, 0.5])
def test_inputs__value_moved_as_far_as_may_be__passes(before):
    assert inputs(snapshot(vol=vol(0.25)), {"vix": vol(before)}) is None


@pytest.mark.parametrize("before", [0.124, 0.501])
def test_inputs__value_moved_further_than_allowed__jumped(before):
    answer = inputs(snapshot(vol=vol(0.25)), {"vix": vol(before)})
    assert refused(answer, Reason.FEED_JUMPED, "feed vix", "max_jump is 2")


def test_inputs__another_feeds_last_value__is_no_reference():
    assert inputs(snapshot(vol=vol(0.18)), {"spx": spot(4_000.0)}) is None


def test_inputs__spot_jumped__is_refused_before_it_is_compared_with_the_oracle():
    assert refused(inputs(snapshot(spot=spot(9_000.0)), {"spx": spot()}), Reason.FEED_JUMPED)


@pytest.mark.parametrize("price", [3_800.0, 4_200.0])
def test_inputs__spot_as_far_from_the_oracle_as_may_be__passes(price):
    assert inputs(snapshot(spot=spot(price))) is None


@pytest.mark.parametrize("price", [3_799.0, 4_201.0])
def test_inputs__spot_further_from_the_oracle__diverges(price):
    answer = inputs(snapshot(spot=spot(price)))
    assert refused(answer, Reason.FEED_DIVERGES, "feed spx", "the oracle 4000", "over 5.0%")


def test_inputs__vol__is_not_compared_with_the_oracle():
    assert inputs(snapshot(vol=vol(2.0))) is None


def test_implausible__without_reference__judges_the_range_alone():
    assert implausible(vol(0.05), None, feeds()["vix"]) is None
    assert implausible(vol(0.01), None, feeds()["vix"])[0] is Reason.FEED_OUT_OF_RANGE


@pytest.mark.parametrize("pair", [(NAN, 1.0), (1.0, NAN), (INFINITY, 1.0), (-INFINITY, 1.0)])
def test_diverges__not_a_number__counts_as_apart(pair):
    assert diverges(*pair, 0.05)


def believed(snap, used=None):
    return trusted(snap, used or {}, feeds(), guard_settings(), NOW)


def test_trusted__fresh_plausible_spot_and_fresh_oracle__is_the_quote_however_far_they_are_apart():
    assert believed(snapshot(spot=spot(9_000.0))) == spot(9_000.0)


@pytest.mark.parametrize(
    ("snap", "used"),
    [
        (snapshot(spot=None), {}),
        (snapshot(market_state(oracle_updated_at=NOW - 3_601)), {}),
        (snapshot(spot=spot(age=601)), {}),
        (snapshot(spot=spot(10_001.0)), {}),
        (snapshot(spot=spot(9_000.0)), {"spx": spot()}),
    ],
    ids=["missing", "stale oracle", "stale quote", "out of range", "jumped"],
)
def test_trusted__spot_or_oracle_in_doubt_on_its_own__is_none(snap, used):
    assert believed(snap, used) is None


def test_trusted__vol_in_doubt__does_not_matter():
    assert believed(snapshot(vol=None)) == spot()


# Forecast


def test_forecast__finite_ordered_and_warm__passes():
    assert review_forecast(forecast(), market_state(), 250, 250) is None


def test_forecast__without_volatility_rows__passes():
    assert review_forecast(forecast(iv_horizons=None), market_state(), 250, 250) is None


def test_forecast__one_bar_short__is_warming_up():
    assert refused(review_forecast(forecast(), market_state(), 249, 250), Reason.MODEL_WARMING_UP, "249 bars of 250")


def test_forecast__none_though_bars_suffice__is_warming_up():
    assert refused(review_forecast(None, market_state(), 250, 250), Reason.MODEL_WARMING_UP)


@pytest.mark.parametrize("pair", [(NAN, 0.02), (-0.02, NAN), (-INFINITY, 0.02), (-0.02, INFINITY)])
def test_forecast__published_not_finite__is_refused(pair):
    answer = review_forecast(forecast(published=pair), market_state(), 250, 250)
    assert refused(answer, Reason.MODEL_NOT_FINITE, "published margin")


@pytest.mark.parametrize("pair", [(0.0, 0.02), (-0.02, 0.0), (0.01, 0.02), (-0.02, -0.01), (0.02, -0.02)])
def test_forecast__published_on_one_side_of_zero__is_refused(pair):
    answer = review_forecast(forecast(published=pair), market_state(), 250, 250)
    assert refused(answer, Reason.MODEL_NOT_FINITE, "does not enclose zero")


@pytest.mark.parametrize("pair", [(-10.0, 0.02), (-0.02, 10.0)])
def test_forecast__published_at_the_largest_believable_move__passes(pair):
    assert review_forecast(forecast(published=pair), market_state(), 250, 250) is None


@pytest.mark.parametrize("pair", [(-10.01, 0.02), (-0.02, 10.01)])
def test_forecast__published_beyond_any_believable_move__is_refused(pair):
    answer = review_forecast(forecast(published=pair), market_state(), 250, 250)
    assert refused(answer, Reason.MODEL_NOT_FINITE, "within +-10")


@pytest.mark.parametrize("rise", [NAN, INFINITY, 10.01])
def test_forecast__rise_of_volatility_beyond_any_believable_move__is_refused(rise):
    answer = review_forecast(forecast(vol_rise=rise), market_state(), 250, 250)
    assert refused(answer, Reason.MODEL_NOT_FINITE, "rise of implied volatility")


@pytest.mark.parametrize("field", ["horizons", "iv_horizons"])
@pytest.mark.parametrize("edge", [-1, 1])
def test_forecast__quantile_beyond_any_believable_move__is_refused_and_one_at_the_edge_passes(field, edge):
    def answer(size):
        wild = (*QUANTILES[:5], size) if edge > 0 else (-size, *QUANTILES[1:])
        row = Tail(wild, -0.03, 0.02) if field == "horizons" else wild
        return review_forecast(forecast(**{field: {DAY: row}}), market_state(), 250, 250)

    assert answer(10.0) is None
    assert refused(answer(10.01), Reason.MODEL_NOT_FINITE, "not within +-10")


def test_forecast__tiny_margins_on_both_sides__pass():
    assert review_forecast(forecast(published=(-1e-9, 1e-9)), market_state(), 250, 250) is None


@pytest.mark.parametrize("place", range(6))
@pytest.mark.parametrize("field", ["horizons", "iv_horizons"])
def test_forecast__one_quantile_not_a_number__is_refused(field, place):
    spoilt = (*QUANTILES[:place], NAN, *QUANTILES[place + 1 :])
    row = Tail(spoilt, -0.03, 0.02) if field == "horizons" else spoilt
    answer = review_forecast(forecast(**{field: {DAY: row}}), market_state(), 250, 250)
    assert refused(answer, Reason.MODEL_NOT_FINITE, "a quantile at", "86400 s is not within +-10")


@pytest.mark.parametrize("shortfall", [(NAN, 0.02), (-0.03, INFINITY)])
def test_forecast__expected_shortfall_not_finite__is_refused(shortfall):
    answer = review_forecast(forecast(horizons={DAY: Tail(QUANTILES, *shortfall)}), market_state(), 250, 250)
    assert refused(answer, Reason.MODEL_NOT_FINITE, "expected shortfall at 86400 s")


@pytest.mark.parametrize("field", ["horizons", "iv_horizons"])
def test_forecast__quantiles_out_of_order__is_refused(field):
    crossed = (*QUANTILES[:2], QUANTILES[3], QUANTILES[2], *QUANTILES[4:])
    row = Tail(crossed, -0.03, 0.02) if field == "horizons" else crossed
    answer = review_forecast(forecast(**{field: {DAY: row}}), market_state(), 250, 250)
    assert refused(answer, Reason.MODEL_NOT_FINITE, "not ascending")


def test_forecast__equal_quantiles__pass():
    flat = Tail((-0.02,) * 3 + (0.02,) * 3, -0.02, 0.02)
    assert review_forecast(forecast(horizons={DAY: flat}), market_state(), 250, 250) is None


# What ties any proposal to a moment and a state


def test_review__sound_proposal__passes():
    assert reviewed(tune(*SHOCKS)) is None


def test_review__refusal__carries_the_proposal():
    proposal = tune(*SHOCKS, sequence=3)
    answer = reviewed(proposal)
    assert (answer.proposal, answer.market, answer.block) == (proposal, MARKET, BLOCK)


def test_review__at_the_deadline__passes():
    assert reviewed(tune(*SHOCKS, deadline=NOW)) is None


def test_review__a_second_past_the_deadline__is_expired():
    assert refused(reviewed(tune(*SHOCKS, deadline=NOW - 1)), Reason.EXPIRED, "1 s ago")


@pytest.mark.parametrize("sequence", [3, 5])
def test_review__sequence_that_does_not_follow__is_taken(sequence):
    assert refused(reviewed(tune(*SHOCKS, sequence=sequence)), Reason.SEQUENCE_TAKEN, str(sequence))


def test_review__other_state_hash__is_a_changed_state():
    assert refused(reviewed(tune(*SHOCKS), market_state(state_hash="0x" + "00" * 32)), Reason.STATE_CHANGED)


def test_review__other_live_values_under_the_same_hash__is_a_changed_state_to_the_keeper_alone():
    live = market_state((401, *CALM_VALUES[1:]), state_hash=HASH)
    assert verdict(tune(*SHOCKS), live, NOW, None) is None
    assert refused(reviewed(tune(*SHOCKS), live), Reason.STATE_CHANGED, "live is (401,")


def test_review__rollback_of_another_state__is_refused_too():
    state = market_state(last_good=GOOD)
    proposal = replace(rollback(state, "", "", NOW, 600), state_hash="0x" + "00" * 32)
    assert refused(reviewed(proposal, state, once_applied={GOOD}), Reason.STATE_CHANGED)


# Tuning


def test_tune__paused__is_refused():
    late = tune(*SHOCKS, deadline=NOW - 1)
    assert refused(reviewed(late, market_state(paused=True)), Reason.PAUSED)


@pytest.mark.parametrize("changes", [((5, 510), (5, 520)), ((3, 6_100), (5, 510), (4, 4_600))])
def test_tune__ids_repeated_or_out_of_order__are_not_ascending(changes):
    assert refused(reviewed(tune(*changes)), Reason.NOT_ASCENDING)


def test_tune__ids_ascending_with_a_gap__passes():
    assert reviewed(tune(*SHOCKS, (5, 520))) is None


@pytest.mark.parametrize("unknown", [-1, 6, 99])
def test_tune__id_the_steward_does_not_know__is_refused(unknown):
    changes = sorted([(5, 520), (unknown, 1)])
    assert refused(reviewed(tune(*changes)), Reason.UNKNOWN_PARAMETER, f"id {unknown}")


@pytest.mark.parametrize("unknown", [-1, 6])
def test_tune__target_of_an_unknown_id__is_refused(unknown):
    proposal = tune((5, 520), targets=(Change(unknown, 1),))
    assert refused(reviewed(proposal), Reason.UNKNOWN_PARAMETER, f"id {unknown}")


@pytest.mark.parametrize("changes", [(), ((5, 500),), ((0, 400), (1, 500), (2, 1_800))])
def test_tune__live_values_proposed__has_no_effect(changes):
    assert refused(reviewed(tune(*changes)), Reason.NO_EFFECT)


@pytest.mark.parametrize("present", [SHOCKS[:1], SHOCKS[:2], (SHOCKS[0], SHOCKS[2])])
def test_tune__part_of_a_group__is_split(present):
    assert refused(reviewed(tune(*present)), Reason.GROUP_SPLIT, "spot_shock_up moves without")


def test_tune__coupled_one_way__binds_only_the_one_that_says_so():
    state = with_parameter(with_parameter(market_state(), 4, coupled=0), 5, coupled=0b110000)
    assert reviewed(tune((4, 4_600)), state) is None
    assert refused(
        reviewed(tune((5, 520)), state), Reason.GROUP_SPLIT, "liquidation_penalty moves without liquidation_th"
    )


def test_tune__group_whole_though_one_stays_where_it_is__passes():
    assert reviewed(tune((0, 440), (1, 500), (2, 1_800))) is None


def test_tune__parameter_without_a_group_alone__passes():
    assert reviewed(tune((5, 520))) is None


@pytest.mark.parametrize("value", [450, 550])
def test_tune__value_on_the_edge_of_the_corridor__passes(value):
    state = with_parameter(market_state(), 5, minimum=450, maximum=550)
    assert reviewed(tune((5, value)), state) is None


@pytest.mark.parametrize("value", [449, 551])
def test_tune__value_outside_the_corridor__is_refused(value):
    state = with_parameter(market_state(), 5, minimum=450, maximum=550)
    proposal = tune((5, value), targets=(Change(5, 500),))
    assert refused(reviewed(proposal, state), Reason.OUTSIDE_CORRIDOR, "value", "450..550")


def test_tune__live_value_outside_the_corridor_named_as_it_is__is_refused_too():
    state = with_parameter(market_state(), 4, minimum=4_501, coupled=0)
    assert refused(reviewed(tune((4, 4_500), (5, 510)), state), Reason.OUTSIDE_CORRIDOR, "liquidation_threshold")


@pytest.mark.parametrize("target", [99, 1_001])
def test_tune__target_outside_the_corridor__is_refused_though_the_step_is_inside(target):
    proposal = tune((5, 520), targets=(Change(5, target),))
    assert refused(reviewed(proposal), Reason.OUTSIDE_CORRIDOR, f"target {target}", "100..1000")


@pytest.mark.parametrize("target", [100, 1_000])
def test_tune__target_on_the_edge_of_the_corridor__passes(target):
    assert reviewed(tune((5, 520), targets=(Change(5, target),))) is None


@pytest.mark.parametrize("value", [600, 430])
def test_tune__largest_step__passes(value):
    state = with_parameter(market_state(), 5, max_step_up=100, max_step_down=70)
    assert reviewed(tune((5, value)), state) is None


@pytest.mark.parametrize("value", [601, 429])
def test_tune__step_one_unit_larger__is_refused(value):
    state = with_parameter(market_state(), 5, max_step_up=100, max_step_down=70)
    assert refused(reviewed(tune((5, value)), state), Reason.STEP_TOO_LARGE, f"500 to {value}", "+100/-70")


@pytest.mark.parametrize(("value", "accepted"), [(520, True), (521, False), (489, True), (488, False)])
def test_tune__relative_steps__are_basis_points_of_the_live_value_rounded_down(value, accepted):
    state = with_parameter(market_state(), 5, relative=True, max_step_up=419, max_step_down=239)  # 20.95 up, 11.95 down
    answer = reviewed(tune((5, value)), state)
    assert answer is None if accepted else refused(answer, Reason.STEP_TOO_LARGE, "+20/-11")


def test_tune__relative_step_from_beyond_any_value__is_measured_from_the_largest_value():
    state = with_parameter(market_state(), 5, value=2**128 + 101, relative=True, max_step_down=10_000)
    assert reviewed(tune((5, 102), current=state.values), state) is None
    assert refused(reviewed(tune((5, 101), current=state.values), state), Reason.STEP_TOO_LARGE)


def test_tune__cooldown_just_over__passes():
    state = with_parameter(market_state(), 5, cooldown=3_600, changed_at=NOW - 3_600)
    assert reviewed(tune((5, 520)), state) is None


def test_tune__a_second_of_cooldown_left__is_refused():
    state = with_parameter(market_state(), 5, cooldown=3_600, changed_at=NOW - 3_599)
    assert refused(reviewed(tune((5, 520)), state), Reason.COOLING_DOWN, "liquidation_penalty", "another 1 s")


def test_tune__never_changed_before__does_not_cool_down():
    state = with_parameter(market_state(), 5, cooldown=2 * NOW, changed_at=0)
    assert reviewed(tune((5, 520)), state) is None


def test_tune__parameter_that_stays_while_its_group_moves__may_be_cooling_down():
    state = with_parameter(market_state(), 1, changed_at=NOW - 1)
    assert reviewed(tune((0, 440), (1, 500), (2, 1_900)), state) is None


WEEK = 604_800
EPOCH = NOW // WEEK * WEEK


def drifting(**state):
    """Parameter 5 with a budget of 60 units a week."""
    return with_parameter(market_state(), 5, cooldown=0, drift_budget=60, drift_window=WEEK, **state)


@pytest.mark.parametrize("value", [560, 440])
def test_tune__whole_drift_budget_at_once__passes(value):
    assert reviewed(tune((5, value)), drifting()) is None


@pytest.mark.parametrize("value", [561, 439])
def test_tune__a_unit_more_than_the_drift_budget__is_refused(value):
    assert refused(reviewed(tune((5, value)), drifting()), Reason.DRIFT_EXHAUSTED, "60 of 60 in 604800 s are left")


@pytest.mark.parametrize(("value", "accepted"), [(510, True), (511, False)])
def test_tune__share_used_in_this_epoch_and_the_one_before__counts(value, accepted):
    state = drifting(changed_at=EPOCH, drift_used=FULL // 2, drift_before=FULL // 3)
    answer = reviewed(tune((5, value)), state)
    assert answer is None if accepted else refused(answer, Reason.DRIFT_EXHAUSTED, "10 of 60")


@pytest.mark.parametrize(("value", "accepted"), [(530, True), (531, False)])
def test_tune__share_used_in_the_last_epoch__counts_and_the_one_before_it_no_more(value, accepted):
    state = drifting(changed_at=EPOCH - 60, drift_used=FULL // 2, drift_before=FULL // 3)
    answer = reviewed(tune((5, value)), state)
    assert answer is None if accepted else refused(answer, Reason.DRIFT_EXHAUSTED, "30 of 60")


def test_tune__budget_spent_two_epochs_ago__is_whole_again():
    state = drifting(changed_at=EPOCH - WEEK - 60, drift_used=FULL, drift_before=0)
    assert reviewed(tune((5, 560)), state) is None


@pytest.mark.parametrize(("now", "left"), [(EPOCH + WEEK - 60, 10), (EPOCH + WEEK - 59, 30)])
def test_tune__last_minute_before_the_next_epoch__counts_to_it_but_for_its_first_second(now, left):
    state = drifting(changed_at=EPOCH, drift_used=FULL // 2, drift_before=FULL // 3)
    assert reviewed(tune((5, 500 + left), deadline=now), state, now=now) is None
    assert refused(
        reviewed(tune((5, 501 + left), deadline=now), state, now=now), Reason.DRIFT_EXHAUSTED, f"{left} of 60"
    )


@pytest.mark.parametrize(("distance", "accepted"), [(5, True), (6, False)])
def test_tune__share_of_a_budget_that_is_no_whole_number__is_rounded_up(distance, accepted):
    state = with_parameter(drifting(changed_at=EPOCH, drift_used=35), 5, drift_budget=7)  # 1 of 7 is 34.3 shares
    answer = reviewed(tune((5, 500 + distance)), state)
    assert answer is None if accepted else refused(answer, Reason.DRIFT_EXHAUSTED, "5 of 7")


def test_tune__change_in_a_minute_that_is_not_over__cools_down_even_without_a_cooldown():
    state = with_parameter(market_state(), 5, cooldown=0, changed_at=NOW - NOW % 60 + 60)
    assert refused(reviewed(tune((5, 520)), state), Reason.COOLING_DOWN, f"another {60 - NOW % 60} s")
    later = NOW - NOW % 60 + 60
    assert reviewed(tune((5, 520), deadline=later), state, now=later) is None


def test_tune__budget_of_nothing__allows_no_move():
    state = with_parameter(market_state(), 5, drift_budget=0, drift_window=WEEK)
    assert refused(reviewed(tune((5, 501)), state), Reason.DRIFT_EXHAUSTED, "0 of 0")


def test_tune__without_a_window__drifts_without_limit():
    state = with_parameter(market_state(), 5, drift_budget=0, drift_window=0, drift_used=FULL)
    assert reviewed(tune((5, 600)), state) is None


def test_tune__invariant_broken__is_refused():
    state = with_parameter(market_state(), 4, max_step_up=9_000)
    answer = reviewed(tune((3, 6_000), (4, 6_001)), state)
    assert refused(answer, Reason.INVARIANT_BROKEN, "liquidation_threshold 6001", "maintenance_factor 6000")


def test_tune__invariant_at_equality__passes():
    state = with_parameter(market_state(), 4, max_step_up=9_000)
    assert reviewed(tune((3, 6_000), (4, 6_000)), state) is None


@pytest.mark.parametrize(("value", "accepted"), [(600, True), (601, False)])
def test_tune__invariant_with_factors__weighs_both_sides(value, accepted):
    state = market_state(invariants=(Invariant(5, 15, 4, 2),))  # 15 x penalty may not exceed 2 x threshold
    answer = reviewed(tune((5, value)), with_parameter(state, 5, max_step_up=200))
    words = f"liquidation_penalty {value} x 15 must not exceed liquidation_threshold 4500 x 2"
    assert answer is None if accepted else refused(answer, Reason.INVARIANT_BROKEN, words)


# Notice

ANNOUNCED = with_parameter(market_state(), 5, notice=3_600)


def test_tune__tightening_with_notice_never_announced__is_refused():
    assert refused(reviewed(tune((5, 520)), ANNOUNCED), Reason.NOT_ANNOUNCED, "3600 s before")


def test_tune__notice_just_over__passes():
    assert reviewed(tune((5, 520)), ANNOUNCED, announced_at=NOW - 3_600) is None


def test_tune__a_second_of_notice_left__is_refused():
    answer = reviewed(tune((5, 520)), ANNOUNCED, announced_at=NOW - 3_599)
    assert refused(answer, Reason.NOTICE_RUNNING, "another 1 s of 3600 s")


def test_tune__vetoed__is_refused():
    assert refused(reviewed(tune((5, 520)), ANNOUNCED, announced_at=VETO), Reason.VETOED)


def test_tune__loosening__needs_no_notice():
    assert reviewed(tune((5, 480)), ANNOUNCED) is None


def test_tune__lower_is_tighter__needs_its_notice_downwards():
    state = with_parameter(ANNOUNCED, 5, tightening_up=False)
    assert reviewed(tune((5, 520)), state) is None
    assert refused(reviewed(tune((5, 480)), state), Reason.NOT_ANNOUNCED)


def test_tune__lower_is_tighter_but_it_stays__needs_no_notice():
    state = with_parameter(with_parameter(ANNOUNCED, 4, coupled=0), 5, tightening_up=False)
    assert reviewed(tune((4, 4_600), (5, 500)), state) is None


def test_tune__several_notices__the_longest_of_what_tightens_counts():
    state = with_parameter(with_parameter(ANNOUNCED, 3, notice=7_200), 4, notice=9_000)
    changes = (3, 6_100), (4, 4_400), (5, 520)
    assert refused(reviewed(tune(*changes), state, announced_at=NOW - 7_199), Reason.NOTICE_RUNNING, "7200 s")
    assert reviewed(tune(*changes), state, announced_at=NOW - 7_200) is None


@pytest.mark.parametrize("announced_at", [None, NOW, VETO])
def test_tune__anything_else_wrong_with_it__is_said_before_the_notice(announced_at):
    proposal = tune((5, 520), targets=(Change(5, 1_001),))
    assert refused(reviewed(proposal, ANNOUNCED, announced_at=announced_at), Reason.OUTSIDE_CORRIDOR, "target")
    assert verdict(proposal, ANNOUNCED, NOW, announced_at)[0] in NOTICE


# Rolling back


def rolled_back(state: MarketState | None = None, *, once_applied=frozenset({GOOD})):
    live = state or market_state(last_good=GOOD)
    return reviewed(rollback(live, "a test", "0x00", NOW, 600), live, once_applied=once_applied)


def test_rollback__to_a_good_version_we_applied__passes():
    assert rolled_back() is None


def test_rollback__while_paused__passes():
    assert rolled_back(market_state(last_good=GOOD, paused=True)) is None


def test_rollback__inside_cooldown_and_beyond_every_step__passes():
    state = market_state(last_good=GOOD)
    for index in range(6):
        state = with_parameter(state, index, changed_at=NOW - 1, max_step_up=1, max_step_down=1)
    assert rolled_back(state) is None


def test_rollback__drift_budget_spent_and_notice_due__passes():
    state = market_state(last_good=GOOD)
    for index in range(6):
        state = with_parameter(state, index, drift_window=WEEK, notice=WEEK)
    assert rolled_back(state) is None


def test_rollback__protocol_changed_behind_the_steward__is_refused():
    state = market_state(last_good=GOOD, version_hash="0x" + "00" * 32)
    assert refused(rolled_back(state), Reason.CHANGED_BEHIND, "not what the steward left")


def test_tune__protocol_changed_behind_the_steward__passes_since_it_is_computed_for_what_is_live():
    assert reviewed(tune(*SHOCKS), market_state(version_hash="0x" + "00" * 32)) is None


def test_rollback__part_of_a_group__passes_since_the_rest_is_good_already():
    good = (410, *CALM_VALUES[1:])
    assert rolled_back(market_state(last_good=good), once_applied={good}) is None


def test_rollback__last_good_is_live__has_no_effect():
    assert refused(rolled_back(market_state(), once_applied={CALM_VALUES}), Reason.NO_EFFECT)


def test_rollback__to_anything_but_the_last_good_version__is_refused():
    state = market_state(last_good=GOOD)
    other = tune((5, 510), kind=ProposalKind.ROLLBACK)
    answer = reviewed(other, state, once_applied={GOOD, other.values})
    assert refused(answer, Reason.NOT_LAST_GOOD, "is not the last good version")


def test_rollback__to_live_values_while_others_are_the_last_good__is_not_the_last_good_version():
    proposal = tune(kind=ProposalKind.ROLLBACK)
    answer = reviewed(proposal, market_state(last_good=GOOD), once_applied={CALM_VALUES})
    assert refused(answer, Reason.NOT_LAST_GOOD, "is not the last good version")


def test_rollback__to_a_version_the_journal_never_saw__is_refused():
    assert refused(rolled_back(once_applied={CALM_VALUES}), Reason.NOT_LAST_GOOD, "the journal never saw")


@pytest.mark.parametrize("stray", [Change(-1, 1), Change(6, 1)])
def test_rollback__change_of_an_unknown_id__is_refused(stray):
    state = market_state(last_good=GOOD)
    proposal = rollback(state, "", "", NOW, 600)
    changes = sorted([*proposal.changes, stray], key=lambda change: change.id)
    answer = reviewed(replace(proposal, changes=tuple(changes)), state, once_applied={GOOD})
    assert refused(answer, Reason.UNKNOWN_PARAMETER)


def test_rollback__same_id_twice__is_refused():
    state = market_state(last_good=GOOD)
    proposal = rollback(state, "", "", NOW, 600)
    doubled = replace(proposal, changes=(Change(0, 3_999), *proposal.changes))
    assert refused(reviewed(doubled, state, once_applied={GOOD}), Reason.NOT_ASCENDING)


def test_rollback__of_a_parameter_that_cannot_be_set_back__is_refused():
    state = with_parameter(market_state(last_good=GOOD), 0, reversible=False)
    assert refused(rolled_back(state), Reason.IRREVERSIBLE, "spot_shock_up cannot be set back from 400 to 450")


def test_rollback__irreversible_parameter_that_stays__passes():
    assert rolled_back(with_parameter(market_state(last_good=GOOD), 5, reversible=False)) is None


def test_tune__irreversible_parameter__passes():
    assert reviewed(tune((5, 520)), with_parameter(market_state(), 5, reversible=False)) is None


@pytest.mark.parametrize("corridor", [{"minimum": 451}, {"maximum": 449}])
def test_rollback__good_value_outside_todays_corridor__is_refused(corridor):
    state = with_parameter(market_state(last_good=GOOD), 0, **corridor)
    assert refused(rolled_back(state), Reason.OUTSIDE_CORRIDOR, "spot_shock_up: value 450")


def test_rollback__unchanged_value_outside_todays_corridor__is_refused_since_the_steward_checks_it_too():
    state = with_parameter(market_state(last_good=GOOD), 5, minimum=501)
    assert refused(rolled_back(state), Reason.OUTSIDE_CORRIDOR, "liquidation_penalty: value 500")


def test_rollback__good_value_on_the_edge_of_todays_corridor__passes():
    assert rolled_back(with_parameter(market_state(last_good=GOOD), 0, minimum=450, maximum=450)) is None


def test_rollback__good_version_against_an_invariant__is_refused():
    good = (400, 500, 1_800, 6_000, 6_001, 500)
    assert refused(rolled_back(market_state(last_good=good), once_applied={good}), Reason.INVARIANT_BROKEN)


# Simulated effect


def impact(bound: int = 0, **shown):
    proposal = tune(*SHOCKS)
    return review_impact(proposal, preflight(proposal, **shown), guard_settings(max_newly_liquidatable=bound))


def test_impact__values_as_proposed_and_nobody_hit__is_approved():
    proposal = tune(*SHOCKS)
    shown = preflight(proposal)
    assert review_impact(proposal, shown, guard_settings()) == Approved(proposal, shown)


def test_impact__calldata_reverts__is_a_failed_simulation():
    assert refused(impact(error="risk_steward: paused"), Reason.SIMULATION_FAILED, "risk_steward: paused")


def test_impact__revert_without_a_reason__is_a_failed_simulation():
    assert refused(impact(error=""), Reason.SIMULATION_FAILED)


def test_impact__other_values_than_proposed__disagrees():
    assert refused(impact(values=CALM_VALUES), Reason.SIMULATION_DISAGREES, "simulated (400,", "proposed (440,")


def test_impact__accounts_at_the_bound__is_approved():
    assert isinstance(impact(2, newly_liquidatable=("0xa", "0xb")), Approved)


def test_impact__one_account_over_the_bound__is_too_large():
    answer = impact(1, newly_liquidatable=("0xa", "0xb"))
    assert refused(answer, Reason.IMPACT_TOO_LARGE, "2 accounts, bound 1: 0xa, 0xb")
    assert answer.proposal == tune(*SHOCKS)


def test_impact__many_accounts__names_the_first_five():
    hit = tuple(f"0x{n}" for n in range(6))
    answer = impact(newly_liquidatable=hit)
    assert refused(answer, Reason.IMPACT_TOO_LARGE, "6 accounts")
    assert answer.detail.endswith("0x0, 0x1, 0x2, 0x3, 0x4, ...")
    assert impact(newly_liquidatable=hit[:5]).detail.endswith("0x3, 0x4")


# Order


def test_review__several_rules_broken__names_the_first_that_is_checked():
    proposal = tune((0, 9_999), deadline=NOW - 1, sequence=9, state_hash="0x")
    assert refused(reviewed(proposal, market_state(paused=True)), Reason.PAUSED)
    assert refused(reviewed(proposal), Reason.EXPIRED)
    assert refused(reviewed(replace(proposal, deadline=NOW)), Reason.SEQUENCE_TAKEN)
    assert refused(reviewed(replace(proposal, deadline=NOW, sequence=4)), Reason.STATE_CHANGED)


def test_verdict__without_names__calls_a_parameter_by_its_id():
    assert verdict(tune((5, 9_999)), market_state(), NOW, None)[1].startswith("parameter 5: value 9999")


def test_review__state_with_fewer_parameters_than_the_binding__knows_only_its_own():
    state = market_state()
    fewer: tuple[ParameterState, ...] = state.parameters[:5]
    proposal = tune((5, 520), current=CALM_VALUES[:5])
    assert refused(reviewed(proposal, replace(state, parameters=fewer)), Reason.UNKNOWN_PARAMETER, "knows 5")
