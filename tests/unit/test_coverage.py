import math

import numpy as np
import pytest
from scipy.stats import chi2, norm

from models.coverage import acerbi_szekely, christoffersen, fz0, kupiec, rates_by_tercile, rolling_error


def marked(count: int, *places: int):
    found = np.zeros(count, dtype=bool)
    found[list(places)] = True
    return found


def test_kupiec__hand_computed__matches():
    # 20 breaches in 1,000 at 1 %: LR = 2 ln[(.98^980 .02^20) / (.99^980 .01^20)].
    ratio = 2 * (980 * math.log(0.98 / 0.99) + 20 * math.log(2))
    assert kupiec(marked(1_000, *range(20)), 0.01) == pytest.approx(chi2.sf(ratio, 1))


def test_kupiec__as_often_as_claimed__is_one_and_never__counts_against():
    assert kupiec(marked(1_000, *range(0, 1_000, 100)), 0.01) == pytest.approx(1.0)
    assert kupiec(marked(1_000), 0.01) < 1e-4


def test_christoffersen__breaches_in_a_row__fails_and_spread_apart__passes():
    assert christoffersen(marked(1_000, *range(500, 510))) < 1e-6
    assert christoffersen(marked(1_000, *range(0, 1_000, 100))) > 0.5


@pytest.mark.parametrize("test", [lambda b: kupiec(b, 0.01), christoffersen])
def test_coverage__nothing_at_all__passes(test):
    assert test(marked(0)) == 1.0


def test_rolling_error__no_breach__is_the_rate_and_short__is_unknown():
    assert rolling_error(marked(400), 0.01) == pytest.approx(0.01)
    assert math.isnan(rolling_error(marked(200), 0.01))


def test_rates_by_tercile__breaches_only_when_calm__shows_it():
    volatility = np.arange(300.0)
    assert rates_by_tercile(marked(300, 1, 2, 3), volatility) == pytest.approx((0.03, 0.0, 0.0))


def test_fz0__true_quantile_and_shortfall__beat_wrong_ones():
    draws = np.random.default_rng(0).normal(size=200_000)
    quantile = norm.ppf(0.01)
    shortfall = -norm.pdf(quantile) / 0.01
    scores = [
        fz0(draws, np.full(len(draws), q), np.full(len(draws), e), 0.01).mean()
        for q, e in ((quantile, shortfall), (1.15 * quantile, 1.15 * shortfall), (0.85 * quantile, 0.85 * shortfall))
    ]
    assert scores[0] == min(scores)


def test_acerbi_szekely__true_shortfall__is_near_zero_and_too_small_a_one__is_below():
    # An even grid of quantiles stands for the normal distribution without sampling noise.
    grid = norm.ppf((np.arange(100_000) + 0.5) / 100_000)
    quantile = float(norm.ppf(0.01))
    shortfall = -norm.pdf(quantile) / 0.01
    assert acerbi_szekely(grid, np.full(len(grid), quantile), np.array(shortfall), 0.01) == pytest.approx(0, abs=1e-3)
    assert acerbi_szekely(grid, np.full(len(grid), quantile), np.array(0.5 * shortfall), 0.01) < -0.7
