import math

import pytest
from scipy.stats import t as student
from walks import bars_from, restless_returns

from models.forecaster import TAUS
from models.garch import GARCH_KINDS, RISKMETRICS, Fitted, GarchForecaster, fit, student_tail
from models.registry import load_forecaster


def test_student_tail__against_scipy__matches():
    tail, unit = student_tail(5.0), math.sqrt(3 / 5)
    assert tail.quantiles == pytest.approx([student.ppf(tau, 5) * unit for tau in TAUS])
    shortfall = student.expect(lambda x: x, args=(5,), ub=student.ppf(0.01, 5), conditional=True) * unit
    assert (tail.es_lower, tail.es_upper) == pytest.approx((shortfall, -shortfall), rel=1e-6)


def test_mean_variance__many_bars__goes_from_today_to_the_usual_level():
    fitted = Fitted(omega=1e-5, alpha=0.05, gamma=0.0, beta=0.9, freedom=5.0)
    usual = 1e-5 / 0.05
    assert fitted.mean_variance(9e-4, 1) == pytest.approx(9e-4)
    assert fitted.mean_variance(9e-4, 100_000) == pytest.approx(usual, rel=1e-3)
    two = (9e-4 + usual + 0.95 * (9e-4 - usual)) / 2
    assert fitted.mean_variance(9e-4, 2) == pytest.approx(two)


@pytest.mark.parametrize("kind", GARCH_KINDS, ids=lambda kind: kind.name)
def test_fit__returns_in_another_unit__scales_with_them(kind):
    returns = restless_returns(800)
    small, large = fit(kind, returns), fit(kind, [1e3 * value for value in returns])
    assert small is not None
    assert large is not None
    assert large.omega == pytest.approx(1e6 * small.omega, rel=0.05)
    assert large.beta == pytest.approx(small.beta, rel=0.01)
    assert (small.gamma != 0.0) == kind.leverage


def test_fit__a_price_that_never_moved__finds_nothing():
    assert fit(GARCH_KINDS[0], [0.0] * 300) is None


@pytest.mark.parametrize("kind", GARCH_KINDS, ids=lambda kind: kind.name)
def test_garch__online__refits_and_widens_after_shocks(kind):
    model = GarchForecaster(kind)
    model.reset("x", 86_400)
    calm, stressed = restless_returns(330, sd=0.01), [0.06, -0.06] * 5
    answers = [model.update(bar).horizons[86_400] for bar in bars_from(calm + stressed)]
    assert model.streams["x"]._days.fitted != RISKMETRICS
    assert answers[-1].quantiles[2] < 1.3 * answers[329].quantiles[2] < 0


@pytest.mark.parametrize("name", [kind.name for kind in GARCH_KINDS])
def test_garch__by_name__is_a_forecaster_with_that_name(name):
    assert load_forecaster(name).model_id == name


def test_update__without_a_reset__is_refused():
    with pytest.raises(ValueError, match="asset x: has had no reset"):
        load_forecaster("gjr-fhs").update(bars_from([0.01])[0])
