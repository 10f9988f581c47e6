"""What parameters cost is stated in one objective, and a change that does not pay for itself is not proposed."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
from builders import (
    CALM_VALUES,
    NOW,
    account,
    assessment,
    binding,
    forecast,
    market_state,
    snapshot,
    vol,
    with_parameter,
)

from config.schema import ProposeSettings
from keeper.assess import assess
from keeper.messages import NoChange, Proposal
from keeper.objective import Rates, Stake, Terms, curve, holdings, objective_of, optimal_ratios
from keeper.propose import Stay, plan, propose
from keeper.targets import parameter_targets, target_ratios
from keeper.weighing import Scales
from models.forecaster import Tail

UP, DOWN, VOL, MAINTENANCE, THRESHOLD, PENALTY = range(6)
CURVE = curve((0.10, 0.12, 0.16), 0.13)
CALM = (-0.02294, 0.01754)


def tail(lower: float = CALM[0], upper: float = CALM[1]) -> Tail:
    """A daily tail of a Student-t's shape through two 1 % quantiles."""
    return Tail(
        (1.8 * lower, 1.2 * lower, lower, upper, 1.2 * upper, 1.8 * upper), es_lower=1.4 * lower, es_upper=1.4 * upper
    )


def judged(raw: tuple[float, float] = CALM, **changes):
    """The calm assessment with a whole tail, so that changes are judged by the objective."""
    return assessment(**{"raw": raw, "tail": tail(*raw), "published": CALM, **changes})


def above(share: float = 0.2):
    """A market whose spot shocks stand above what the model asks for by a share; its thresholds cool down."""
    state = market_state((round((1 + share) * 400), round((1 + share) * 501), *CALM_VALUES[2:]))
    return with_parameter(with_parameter(state, THRESHOLD, changed_at=NOW), MAINTENANCE, changed_at=NOW)


def scales_of(found, protocol=None):
    protocol, settings = protocol or binding(), ProposeSettings()
    return Scales(found, protocol, settings, parameter_targets(found, protocol, settings))


def proposed(found, state, **settings):
    return propose(found, state, binding(), ProposeSettings(**settings), NOW)


# The tail


def test_curve__at_its_first_size__has_the_excess_that_the_shortfall_says():
    assert CURVE.excess(0.10) == pytest.approx(0.01 * (0.13 - 0.10))


def test_curve__worked_by_hand__is_the_sum_of_its_stretches():
    between_first = 0.02 / math.log(2) * (0.01 - 0.005)
    between_last = 0.04 / math.log(5) * (0.005 - 0.001)
    rest = 0.01 * 0.03 - between_first - between_last
    assert CURVE.excess(0.16) == pytest.approx(rest)
    assert CURVE.excess(0.12) == pytest.approx(rest + between_last)
    halfway = 0.02 / math.log(2) * (0.01 / math.sqrt(2) - 0.005)
    assert CURVE.excess(0.11) == pytest.approx(rest + between_last + halfway)


def test_curve__below_its_first_size__goes_on_until_a_loss_is_certain():
    width = 0.02 / math.log(2)
    certain = 0.10 - width * math.log(100)
    assert CURVE.excess(certain) - CURVE.excess(0.10) == pytest.approx(width * 0.99)
    assert CURVE.excess(certain - 0.5) - CURVE.excess(certain) == pytest.approx(0.5)


@pytest.mark.parametrize("chance", [0.0099, 0.007, 0.005, 0.002, 0.001, 0.0001])
def test_curve__excess__falls_by_the_chance_of_what_is_passed(chance):
    size, step = CURVE.exceeded_with(chance), 1e-7
    assert (CURVE.excess(size - step) - CURVE.excess(size + step)) / (2 * step) == pytest.approx(chance, rel=1e-5)


def test_curve__shortfall_shorter_than_the_quantiles_say__is_not_believed():
    assert curve((0.10, 0.12, 0.16), 0.10) == curve((0.10, 0.12, 0.16))


def test_curve__all_sizes_one__has_no_excess_beyond_them():
    flat = curve((0.1, 0.1, 0.1))
    assert (flat.excess(0.1), flat.excess(0.2)) == (0.0, 0.0)
    assert flat.excess(0.0) == pytest.approx(0.1)


# Its terms


def test_terms__worked_by_hand__are_money_tied_up_and_the_weighed_excess():
    rates = Rates(margin=0.001, shortfall=0.1, change=0.0)
    cost = Stake(1.0, CURVE).terms(0.10, rates, ((1.0, 1.0),))
    assert cost == Terms(pytest.approx(0.0001), pytest.approx(0.1 * 0.0003))
    assert cost.total == pytest.approx(0.00013)


def test_terms__account_that_holds_more_than_it_must__ties_up_more_and_loses_less():
    rates = Rates(margin=0.001, shortfall=0.1, change=0.0)
    half = Stake(1.0, CURVE).terms(0.08, rates, ((1.0, 0.5), (1.25, 0.5)))
    assert half.margin == pytest.approx(0.001 * 0.08 * 1.125)
    assert half.shortfall == pytest.approx(0.1 * (CURVE.excess(0.08) + CURVE.excess(0.10)) / 2)


def test_rates__without_a_weight__make_the_published_margin_the_best_one():
    settings = ProposeSettings(margin_cost=0.2, margin_period_days=4.0)
    rates = Rates.of(settings)
    assert rates.margin == pytest.approx(0.2 * 4 / 365)
    assert rates.shortfall * 0.01 == pytest.approx(rates.margin)
    objective = objective_of(judged(), settings, 0.05)
    best = 1 - math.exp(CALM[0] * 2)
    costs = [objective.terms("spot_shock_down", best * share).total for share in (0.9, 0.99, 1.0, 1.01, 1.1)]
    assert min(costs) == costs[2]


def test_objective__threshold__covers_what_a_liquidation_uses_up():
    settings = ProposeSettings(margin_period_days=4.0)
    objective = objective_of(judged(), settings, 0.05)
    at_target = target_ratios(judged(), settings)["liquidation_threshold"]
    first = 1 - math.exp(CALM[0])
    assert objective.stakes["liquidation_threshold"]._cover(at_target) == pytest.approx(first)
    assert objective.stakes["liquidation_threshold"]._cover(1.0) == 1.0


def test_objective__assessment_of_an_older_journal__has_none():
    assert objective_of(assessment(), ProposeSettings(), 0.05) is None
    assert optimal_ratios(assessment(), ProposeSettings(shortfall_weight=9.0)) == {}


# The book


def test_holdings__accounts__are_classed_by_equity_over_requirement_and_weighed_by_requirement():
    book = holdings([(105, 100), (300, 100), (-5, 100), (149, 100), (7, 0)])
    assert book == ((0.0, 0.25), (1.0, 0.25), (1.25, 0.25), (1.5, 0.25))


def test_holdings__nobody_owes_anything__are_unknown():
    assert holdings([(7, 0)]) is None
    assert holdings([]) is None


@pytest.mark.parametrize("scale", [10**6, 10**18, 10**60])
def test_holdings__another_unit_of_money__are_the_same(scale):
    book = [(105, 100), (300, 120), (99, 100)]
    assert holdings([(equity * scale, required * scale) for equity, required in book]) == holdings(book)


def test_assess__open_accounts__come_with_the_assessment():
    state = market_state(
        accounts=(account("a"), replace(account("b"), equity=1_800), replace(account("c"), equity=None))
    )
    found = assess(snapshot(state), forecast(), "ewma-fhs", 500)
    assert found.holdings == ((1.1, 0.5), (1.5, 0.5))
    assert found.tail == forecast().horizons[86_400]


# Targets


def test_target_ratios__weight_left_out_or_small__are_the_published_margins():
    calm = target_ratios(assessment(), ProposeSettings())
    for settings in (ProposeSettings(), ProposeSettings(shortfall_weight=0.0), ProposeSettings(shortfall_weight=0.1)):
        found = target_ratios(judged(raw=assessment().raw), settings)
        assert found == calm


def test_target_ratios__shortfall_weighs_ten_times_as_much__are_the_quantile_of_a_tenth_of_the_chance():
    settings = ProposeSettings(margin_cost=0.073, margin_period_days=5.0, shortfall_weight=1.0)
    ratios = target_ratios(judged(), settings)
    assert ratios["spot_shock_down"] == pytest.approx(1 - math.exp(1.8 * CALM[0] * math.sqrt(5)))
    assert ratios["spot_shock_up"] == pytest.approx(math.exp(1.8 * CALM[1] * math.sqrt(5)) - 1)


def test_target_ratios__more_weight__is_never_looser():
    weights = (0.0, 0.1, 0.2, 0.5, 1.0, 5.0, 100.0)
    found = [target_ratios(judged(), ProposeSettings(shortfall_weight=weight)) for weight in weights]
    for role in found[0]:
        assert all(later[role] >= before[role] for before, later in pairwise(found))


def test_target_ratios__unlimited_forecast_rises__leaves_shocks_as_steady_as_the_published_margin():
    settings = ProposeSettings(shortfall_weight=1.0)
    calm, wild = (target_ratios(judged(raw=raw), settings) for raw in (CALM, (3 * CALM[0], 3 * CALM[1])))
    assert wild["spot_shock_down"] == pytest.approx(calm["spot_shock_down"])


# What is worth a change


def test_propose__values_above_what_is_asked__are_loosened_where_that_pays():
    assert isinstance(proposed(judged(), above()), Proposal)


def test_propose__loosening_that_costs_more_than_it_brings__stays_and_says_what_both_are():
    outcome = proposed(judged(), above(), change_cost=0.01)
    assert isinstance(outcome, NoChange)
    assert "is not worth its cost: it brings" in outcome.detail
    found = plan(judged(), above(), binding(), ProposeSettings(change_cost=0.01), NOW)
    assert {found.stays[index] for index in (UP, DOWN, VOL)} == {Stay.NOT_WORTH_ITS_COST}
    assert found.weighed[0].gain < 0


def test_propose__loosening_into_a_tail_that_outgrew_the_published_margin__is_not_worth_it():
    wild = (1.6 * CALM[0], 1.6 * CALM[1])
    assert isinstance(proposed(judged(), above()), Proposal)
    assert isinstance(proposed(judged(raw=wild), above()), NoChange)


@pytest.mark.parametrize("share", [0.12, 0.2, 0.4])
def test_propose__more_tail__never_loosens_what_less_tail_does_not(share):
    gains = []
    for stretch in (0.8, 1.0, 1.1, 1.3, 1.6, 2.0):
        found = judged(raw=(stretch * CALM[0], stretch * CALM[1]))
        state = above(share)
        scales = scales_of(found)
        rows = state.parameters[:2]
        gains.append(
            scales.weigh(rows, [replace(row, value=target) for row, target in zip(rows, (400, 501), strict=True)]).gain
        )
    assert all(later <= before + 1e-15 for before, later in pairwise(gains))
    assert gains[-1] < gains[0]


@pytest.mark.parametrize("share", [0.001, 0.01, 0.05, 0.3])
def test_propose__change_that_costs_nothing__is_made_for_every_improvement(share):
    state = with_parameter(above(share), VOL, value=1_800)
    found = plan(judged(), state, binding(), ProposeSettings(change_cost=0.0, dead_band=0.0), NOW)
    assert all(weighing.gain > 0 for weighing in found.weighed)
    assert Stay.NOT_WORTH_ITS_COST not in found.stays.values()


def test_propose__gain_within_the_dead_band__changes_nothing():
    assert isinstance(proposed(judged(), above(0.05), change_cost=0.0), NoChange)


@pytest.mark.parametrize("settings", [{"change_cost": 1e9}, {"shortfall_weight": 0.0, "margin_cost": 1e9}])
def test_propose__below_what_covers_the_published_margin__is_tightened_whatever_it_costs(settings):
    below = market_state((300, 400, *CALM_VALUES[2:]))
    proposal = proposed(judged(), below, **settings)
    assert [change.value for change in proposal.changes[:2]] == [400, 501]


def test_propose__loosening__never_passes_what_covers_the_published_margin():
    proposal = proposed(judged(), above(0.5), margin_cost=1e6, shortfall_weight=0.0)
    floors = parameter_targets(judged(), binding(), ProposeSettings())
    assert all(change.value >= floors[change.id] for change in proposal.changes)


def test_weigh__accounts_below_their_requirement__make_loosening_worth_less():
    thin, covered = judged(holdings=((0.9, 1.0),)), judged(holdings=((1.25, 1.0),))
    rows = above().parameters[:2]
    step = [replace(row, value=target) for row, target in zip(rows, (400, 501), strict=True)]
    gains = [scales_of(found).weigh(rows, step).gain for found in (thin, judged(), covered)]
    assert gains[0] < gains[1] < gains[2]


def test_weigh__the_same_ratios_in_finer_units__cost_the_same():
    fine = binding().model_copy(
        update={"parameters": [row.model_copy(update={"scale": row.scale * 10**14}) for row in binding().parameters]}
    )
    rows = above().parameters
    scaled = [replace(row, value=row.value * 10**14) for row in rows]
    targets = (400, 501, 1_700, 5_900, 4_600)
    plainly = scales_of(judged()).weigh(
        rows[:5], [replace(row, value=target) for row, target in zip(rows[:5], targets, strict=True)]
    )
    finely = scales_of(judged(), fine).weigh(
        scaled[:5],
        [replace(row, value=target * 10**14) for row, target in zip(scaled[:5], targets, strict=True)],
    )
    assert finely.before.total == pytest.approx(plainly.before.total, rel=1e-12)
    assert finely.gain == pytest.approx(plainly.gain, rel=1e-9)


def test_weigh__tail_of_volatility__prices_a_lower_shocked_vol():
    quantiles = (-0.4, -0.3, -0.2, 0.25, 0.3, 0.4)
    rows = [market_state((400, 501, 2_600, *CALM_VALUES[3:])).parameters[VOL]]
    step = [replace(rows[0], value=2_300)]
    blind = scales_of(judged(vol=vol(0.144), vol_rise=0.25)).weigh(rows, step)
    seeing = scales_of(judged(vol=vol(0.144), vol_rise=0.25, vol_tail=quantiles)).weigh(rows, step)
    assert blind.after.shortfall == 0.0
    assert seeing.after.shortfall > seeing.before.shortfall > 0.0
