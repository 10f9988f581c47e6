import math
import random
from dataclasses import replace

import pytest
from walks import bars_from, restless_returns

from models.baselines import EwmaFhs, HistoricalSimulation
from models.empirical import PRIOR_QUANTILES, ResidualWindow, prior_quantile
from models.forecaster import TAUS
from models.registry import load_forecaster


def last_forecast(model, bars):
    model.reset("x", bars[0].seconds)
    return [model.update(bar) for bar in bars][-1]


def test_prior_quantile__student_t_with_four_degrees__matches_its_table():
    # t(4): 3.7469 at 99 %, 7.1732 at 99.9 %; unit variance divides by sqrt 2.
    assert prior_quantile(0.99) == pytest.approx(3.746947 / math.sqrt(2), rel=1e-6)
    assert prior_quantile(0.001) == pytest.approx(-7.173182 / math.sqrt(2), rel=1e-6)


def test_first_answer__before_any_history__is_the_stated_prior():
    forecast = last_forecast(EwmaFhs(), bars_from([1e-7]))
    assert forecast.horizons[86_400].quantiles[2] == pytest.approx(0.05 * PRIOR_QUANTILES[2], rel=0.35)
    assert forecast.published[1] == forecast.horizons[86_400].quantiles[3]


def test_window__full__holds_exactly_the_newest_residuals():
    window = ResidualWindow(500, 0.0)
    for value in range(1_000):
        window.add(float(value))
    tail = window.tail(1.0)
    assert tail.quantiles[3] == pytest.approx(500 + 0.99 * 499)
    assert tail.es_upper == pytest.approx(sum(range(995, 1_000)) / 5)


def test_ewma_fhs__normal_returns__has_their_quantile_and_shortfall():
    draw = random.Random(1)
    forecast = last_forecast(EwmaFhs(), bars_from([draw.gauss(0, 0.01) for _ in range(1_500)]))
    tail = forecast.horizons[86_400]
    assert tail.quantiles[3] == pytest.approx(0.0233, rel=0.35)
    assert tail.es_upper > tail.quantiles[3]
    assert tail.es_lower < tail.quantiles[2]


def test_ewma_fhs__volatility_triples__widens_where_plain_simulation_hardly_does():
    returns = restless_returns(700, sd=0.01)
    stressed = returns + [0.06, -0.06] * 10
    widened = {}
    for model in (EwmaFhs(), HistoricalSimulation()):
        before = last_forecast(model, bars_from(returns)).horizons[86_400].quantiles[2]
        after = last_forecast(model, bars_from(stressed)).horizons[86_400].quantiles[2]
        widened[model.model_id] = after / before
    assert widened["ewma-fhs"] > 1.5 * widened["historical-simulation"]


def test_ewma_normal__its_tail__is_that_of_a_normal_with_the_ewma_sd():
    tail = last_forecast(load_forecaster("ewma-normal-94"), bars_from(restless_returns(300))).horizons[86_400]
    assert tail.quantiles[5] / tail.quantiles[3] == pytest.approx(3.090232 / 2.326348, rel=1e-5)
    assert tail.es_upper / tail.quantiles[3] == pytest.approx(2.665214 / 2.326348, rel=1e-5)
    assert tail.quantiles[:3] == pytest.approx([-value for value in reversed(tail.quantiles[3:])])


def test_fhs__smaller_lambda__follows_a_shock_further():
    calm, stressed = restless_returns(400, sd=0.01), restless_returns(400, sd=0.01) + [0.05, -0.05] * 3
    widened = []
    for name in ("fhs-94", "ewma-fhs", "fhs-99"):
        before, after = (
            last_forecast(load_forecaster(name), bars_from(path)).horizons[86_400] for path in (calm, stressed)
        )
        widened.append(after.quantiles[2] / before.quantiles[2])
    assert widened == sorted(widened, reverse=True)


def test_static__a_calm_year_after_a_wild_one__remembers_all_there_was():
    returns = restless_returns(600, sd=0.03) + restless_returns(600, sd=0.005)
    static, rolling = (
        last_forecast(load_forecaster(name), bars_from(returns)).horizons[86_400].quantiles[2]
        for name in ("static", "historical-simulation")
    )
    assert static < 2 * rolling < 0


@pytest.mark.parametrize(
    ("seconds", "horizons"),
    [
        (60, {3_600, 14_400, 86_400}),
        (3_600, {3_600, 14_400, 86_400}),
        (14_400, {14_400, 86_400}),
        (86_400, {86_400}),
    ],
)
def test_horizons__of_a_stream__are_those_that_are_whole_bars(seconds, horizons):
    assert set(last_forecast(EwmaFhs(), bars_from([0.01], seconds=seconds)).horizons) == horizons


def test_implied_vol__absent_then_present__starts_to_answer_and_keeps_answering():
    model, bars = EwmaFhs(), bars_from(restless_returns(4), seconds=3_600)
    model.reset("x", 3_600)
    answers = [model.update(replace(bar, iv=iv)) for bar, iv in zip(bars, [None, 0.6, 0.63, None], strict=True)]
    assert answers[0].iv_horizons is None
    assert all(set(answer.iv_horizons) == {3_600, 86_400} for answer in answers[1:])
    assert all(len(q) == len(TAUS) for answer in answers[1:] for q in answer.iv_horizons.values())
    assert answers[3].iv_horizons == answers[2].iv_horizons


def test_implied_vol__its_own_volatility__sets_its_quantiles():
    draw, level, model = random.Random(5), 0.6, EwmaFhs()
    model.reset("x", 86_400)
    for bar in bars_from(restless_returns(900)):
        level *= math.exp(draw.gauss(0, 0.03))
        answer = model.update(replace(bar, iv=level))
    assert answer.iv_horizons[86_400][3] == pytest.approx(0.03 * 2.33, rel=0.4)


def test_update__without_a_reset__is_refused():
    with pytest.raises(ValueError, match="asset x: has had no reset"):
        EwmaFhs().update(bars_from([0.01])[0])


@pytest.mark.parametrize("seconds", [0, -60, 7, 172_800])
def test_reset__bars_that_do_not_fill_a_day__are_refused(seconds):
    with pytest.raises(ValueError, match="must divide a day"):
        EwmaFhs().reset("x", seconds)
