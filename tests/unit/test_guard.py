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

from config.protocol import Protocol
from keeper.guard import diverges, implausible, review, review_forecast, review_impact, review_inputs, trusted
from keeper.messages import Approved, Change, ProposalKind, Reason, Rejected
from keeper.propose import rollback
from models.forecaster import DAY, Tail
from models.market import MarketState, ParameterState

GOOD = (450, 550, 2_000, 6_300, 4_800, 500)
NAN, INFINITY = math.nan, math.inf
SHOCKS = (0, 440), (1, 550), (2, 1_900)


def inputs(snap=None, used=None, **settings):
    return review_inputs(snap or snapshot(), used or {}, feeds(), guard_settings(**settings), NOW)


def reviewed(proposal, state=None, *, protocol=None, now=NOW, once_applied=()):
    return review(proposal, state or market_state(), protocol or binding(), once_applied, now)


def refused(verdict, reason: Reason, *words: str) -> bool:
    assert isinstance(verdict, Rejected)
    assert all(word in verdict.detail for word in words), verdict.detail
    return verdict.reason is reason


def variant(**changes) -> Protocol:
    """The reference binding with fields of its parameters changed: `reversible={5: False}`."""
    rows = [
        row.model_copy(update={key: by_id[index] for key, by_id in changes.items() if index in by_id})
        for index, row in enumerate(binding().parameters)
    ]
    return binding().model_copy(update={"parameters": rows})


# Inputs


def test_inputs__fresh_plausible_and_agreeing__pass():
    assert inputs(used={"spx": spot(3_900.0), "vix": vol(0.17)}) is None


def test_inputs__refusal__names_market_and_block_and_no_proposal():
    verdict = inputs(snapshot(spot=None))
    assert (verdict.market, verdict.block, verdict.proposal) == (MARKET, BLOCK, None)


@pytest.mark.parametrize("missing", ["spot", "vol"])
def test_inputs__a_quote_never_seen__is_missing(missing):
    assert refused(inputs(snapshot(**{missing: None})), Reason.MISSING_FEED, f"no {missing} quote")


def test_inputs__oracle_at_its_greatest_age__passes():
    assert inputs(snapshot(market_state(oracle_updated_at=NOW - 3_600))) is None


def test_inputs__oracle_a_second_older__is_stale():
    verdict = inputs(snapshot(market_state(oracle_updated_at=NOW - 3_601)))
    assert refused(verdict, Reason.STALE_ORACLE, "3601 s old", "max_oracle_age_seconds is 3600")


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
    verdict = inputs(snapshot(vol=vol(0.25)), {"vix": vol(before)})
    assert refused(verdict, Reason.FEED_JUMPED, "feed vix", "max_jump is 2")


def test_inputs__another_feeds_last_value__is_no_reference():
    assert inputs(snapshot(vol=vol(0.18)), {"spx": spot(4_000.0)}) is None


def test_inputs__spot_jumped__is_refused_before_it_is_compared_with_the_oracle():
    assert refused(inputs(snapshot(spot=spot(9_000.0)), {"spx": spot()}), Reason.FEED_JUMPED)


@pytest.mark.parametrize("price", [3_800.0, 4_200.0])
def test_inputs__spot_as_far_from_the_oracle_as_may_be__passes(price):
    assert inputs(snapshot(spot=spot(price))) is None


@pytest.mark.parametrize("price", [3_799.0, 4_201.0])
def test_inputs__spot_further_from_the_oracle__diverges(price):
    verdict = inputs(snapshot(spot=spot(price)))
    assert refused(verdict, Reason.FEED_DIVERGES, "feed spx", "the oracle 4000", "over 5.0%")


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
    verdict = review_forecast(forecast(published=pair), market_state(), 250, 250)
    assert refused(verdict, Reason.MODEL_NOT_FINITE, "published margin")


@pytest.mark.parametrize("pair", [(0.0, 0.02), (-0.02, 0.0), (0.01, 0.02), (-0.02, -0.01), (0.02, -0.02)])
def test_forecast__published_on_one_side_of_zero__is_refused(pair):
    verdict = review_forecast(forecast(published=pair), market_state(), 250, 250)
    assert refused(verdict, Reason.MODEL_NOT_FINITE, "does not enclose zero")


@pytest.mark.parametrize("pair", [(-10.0, 0.02), (-0.02, 10.0)])
def test_forecast__published_at_the_largest_believable_move__passes(pair):
    assert review_forecast(forecast(published=pair), market_state(), 250, 250) is None


@pytest.mark.parametrize("pair", [(-10.01, 0.02), (-0.02, 10.01)])
def test_forecast__published_beyond_any_believable_move__is_refused(pair):
    verdict = review_forecast(forecast(published=pair), market_state(), 250, 250)
    assert refused(verdict, Reason.MODEL_NOT_FINITE, "within +-10")


@pytest.mark.parametrize("field", ["horizons", "iv_horizons"])
@pytest.mark.parametrize("edge", [-1, 1])
def test_forecast__quantile_beyond_any_believable_move__is_refused_and_one_at_the_edge_passes(field, edge):
    def verdict(size):
        wild = (*QUANTILES[:5], size) if edge > 0 else (-size, *QUANTILES[1:])
        row = Tail(wild, -0.03, 0.02) if field == "horizons" else wild
        return review_forecast(forecast(**{field: {DAY: row}}), market_state(), 250, 250)

    assert verdict(10.0) is None
    assert refused(verdict(10.01), Reason.MODEL_NOT_FINITE, "not within +-10")


def test_forecast__tiny_margins_on_both_sides__pass():
    assert review_forecast(forecast(published=(-1e-9, 1e-9)), market_state(), 250, 250) is None


@pytest.mark.parametrize("place", range(6))
@pytest.mark.parametrize("field", ["horizons", "iv_horizons"])
def test_forecast__one_quantile_not_a_number__is_refused(field, place):
    spoilt = (*QUANTILES[:place], NAN, *QUANTILES[place + 1 :])
    row = Tail(spoilt, -0.03, 0.02) if field == "horizons" else spoilt
    verdict = review_forecast(forecast(**{field: {DAY: row}}), market_state(), 250, 250)
    assert refused(verdict, Reason.MODEL_NOT_FINITE, "a quantile at", "86400 s is not within +-10")


@pytest.mark.parametrize("shortfall", [(NAN, 0.02), (-0.03, INFINITY)])
def test_forecast__expected_shortfall_not_finite__is_refused(shortfall):
    verdict = review_forecast(forecast(horizons={DAY: Tail(QUANTILES, *shortfall)}), market_state(), 250, 250)
    assert refused(verdict, Reason.MODEL_NOT_FINITE, "expected shortfall at 86400 s")


@pytest.mark.parametrize("field", ["horizons", "iv_horizons"])
def test_forecast__quantiles_out_of_order__is_refused(field):
    crossed = (*QUANTILES[:2], QUANTILES[3], QUANTILES[2], *QUANTILES[4:])
    row = Tail(crossed, -0.03, 0.02) if field == "horizons" else crossed
    verdict = review_forecast(forecast(**{field: {DAY: row}}), market_state(), 250, 250)
    assert refused(verdict, Reason.MODEL_NOT_FINITE, "not ascending")


def test_forecast__equal_quantiles__pass():
    flat = Tail((-0.02,) * 3 + (0.02,) * 3, -0.02, 0.02)
    assert review_forecast(forecast(horizons={DAY: flat}), market_state(), 250, 250) is None


# What ties any proposal to a moment and a state


def test_review__sound_proposal__passes():
    assert reviewed(tune(*SHOCKS)) is None


def test_review__refusal__carries_the_proposal():
    proposal = tune(*SHOCKS, sequence=3)
    verdict = reviewed(proposal)
    assert (verdict.proposal, verdict.market, verdict.block) == (proposal, MARKET, BLOCK)


def test_review__at_the_deadline__passes():
    assert reviewed(tune(*SHOCKS, deadline=NOW)) is None


def test_review__a_second_past_the_deadline__is_expired():
    assert refused(reviewed(tune(*SHOCKS, deadline=NOW - 1)), Reason.EXPIRED, "1 s ago")


@pytest.mark.parametrize("sequence", [3, 5])
def test_review__sequence_that_does_not_follow__is_taken(sequence):
    assert refused(reviewed(tune(*SHOCKS, sequence=sequence)), Reason.SEQUENCE_TAKEN, str(sequence))


def test_review__other_state_hash__is_a_changed_state():
    assert refused(reviewed(tune(*SHOCKS), market_state(state_hash="0x" + "00" * 32)), Reason.STATE_CHANGED)


def test_review__other_live_values__is_a_changed_state():
    live = market_state((401, *CALM_VALUES[1:]), state_hash=HASH)
    assert refused(reviewed(tune(*SHOCKS), live), Reason.STATE_CHANGED, "live is (401,")


def test_review__rollback_of_another_state__is_refused_too():
    state = market_state(last_good=GOOD)
    proposal = replace(rollback(state, "", "", NOW, 600), state_hash="0x" + "00" * 32)
    assert refused(reviewed(proposal, state, once_applied={GOOD}), Reason.STATE_CHANGED)


# Tuning


def test_tune__paused__is_refused():
    assert refused(reviewed(tune(*SHOCKS), market_state(paused=True)), Reason.PAUSED)


@pytest.mark.parametrize("changes", [((5, 510), (5, 520)), (SHOCKS[1], SHOCKS[0], SHOCKS[2])])
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


def test_tune__invariant_broken__is_refused():
    state = with_parameter(market_state(), 4, max_step_up=9_000)
    verdict = reviewed(tune((3, 6_000), (4, 6_001)), state)
    assert refused(verdict, Reason.INVARIANT_BROKEN, "liquidation_threshold 6001", "maintenance_factor 6000")


def test_tune__invariant_at_equality__passes():
    state = with_parameter(market_state(), 4, max_step_up=9_000)
    assert reviewed(tune((3, 6_000), (4, 6_000)), state) is None


# Rolling back


def rolled_back(state: MarketState | None = None, *, protocol=None, once_applied=frozenset({GOOD})):
    live = state or market_state(last_good=GOOD)
    return reviewed(rollback(live, "a test", "0x00", NOW, 600), live, protocol=protocol, once_applied=once_applied)


def test_rollback__to_a_good_version_we_applied__passes():
    assert rolled_back() is None


def test_rollback__while_paused__passes():
    assert rolled_back(market_state(last_good=GOOD, paused=True)) is None


def test_rollback__inside_cooldown_and_beyond_every_step__passes():
    state = market_state(last_good=GOOD)
    for index in range(6):
        state = with_parameter(state, index, changed_at=NOW - 1, max_step_up=1, max_step_down=1)
    assert rolled_back(state) is None


def test_rollback__part_of_a_group__passes_since_the_rest_is_good_already():
    good = (410, *CALM_VALUES[1:])
    assert rolled_back(market_state(last_good=good), once_applied={good}) is None


def test_rollback__last_good_is_live__has_no_effect():
    assert refused(rolled_back(market_state(), once_applied={CALM_VALUES}), Reason.NO_EFFECT)


def test_rollback__to_anything_but_the_last_good_version__is_refused():
    state = market_state(last_good=GOOD)
    other = tune((5, 510), kind=ProposalKind.ROLLBACK)
    verdict = reviewed(other, state, once_applied={GOOD, other.values})
    assert refused(verdict, Reason.NOT_LAST_GOOD, "is not the last good version")


def test_rollback__to_a_version_the_journal_never_saw__is_refused():
    assert refused(rolled_back(once_applied={CALM_VALUES}), Reason.NOT_LAST_GOOD, "the journal never saw")


@pytest.mark.parametrize("stray", [Change(-1, 1), Change(6, 1)])
def test_rollback__change_of_an_unknown_id__is_refused(stray):
    state = market_state(last_good=GOOD)
    proposal = rollback(state, "", "", NOW, 600)
    changes = sorted([*proposal.changes, stray], key=lambda change: change.id)
    verdict = reviewed(replace(proposal, changes=tuple(changes)), state, once_applied={GOOD})
    assert refused(verdict, Reason.UNKNOWN_PARAMETER)


def test_rollback__same_id_twice__is_refused():
    state = market_state(last_good=GOOD)
    proposal = rollback(state, "", "", NOW, 600)
    doubled = replace(proposal, changes=(Change(0, 3_999), *proposal.changes))
    assert refused(reviewed(doubled, state, once_applied={GOOD}), Reason.NOT_ASCENDING)


def test_rollback__of_a_parameter_that_cannot_be_set_back__is_refused():
    assert refused(rolled_back(protocol=variant(reversible={0: False})), Reason.NOT_LAST_GOOD, "spot_shock_up cannot")


def test_rollback__irreversible_parameter_that_stays__passes():
    assert rolled_back(protocol=variant(reversible={5: False})) is None


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
    verdict = impact(1, newly_liquidatable=("0xa", "0xb"))
    assert refused(verdict, Reason.IMPACT_TOO_LARGE, "2 accounts, bound 1: 0xa, 0xb")
    assert verdict.proposal == tune(*SHOCKS)


def test_impact__many_accounts__names_the_first_five():
    hit = tuple(f"0x{n}" for n in range(6))
    verdict = impact(newly_liquidatable=hit)
    assert refused(verdict, Reason.IMPACT_TOO_LARGE, "6 accounts")
    assert verdict.detail.endswith("0x0, 0x1, 0x2, 0x3, 0x4, ...")
    assert impact(newly_liquidatable=hit[:5]).detail.endswith("0x3, 0x4")


# Order


def test_review__several_rules_broken__names_the_first_that_is_checked():
    state = market_state(paused=True)
    proposal = tune((0, 9_999), deadline=NOW - 1, sequence=9, state_hash="0x")
    assert refused(reviewed(proposal, state), Reason.EXPIRED)
    assert refused(reviewed(replace(proposal, deadline=NOW), state), Reason.SEQUENCE_TAKEN)


def test_review__state_with_fewer_parameters_than_the_binding__knows_only_its_own():
    state = market_state()
    fewer: tuple[ParameterState, ...] = state.parameters[:5]
    proposal = tune((5, 520), current=CALM_VALUES[:5])
    assert refused(reviewed(proposal, replace(state, parameters=fewer)), Reason.UNKNOWN_PARAMETER, "knows 5")
