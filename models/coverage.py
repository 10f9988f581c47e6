"""Test whether breaches come as often, and as independently, as a quantile claims."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Breaches = npt.NDArray[np.bool_]
    Array = npt.NDArray[np.float64]

ROLLING = 250
"""Forecasts of a rolling coverage window (a regulatory year)."""


def kupiec(breaches: Breaches, rate: float) -> float:
    """Return the p-value of the unconditional coverage test (Kupiec 1995), likelihood ratio ~ chi2(1)."""
    hits, count = int(breaches.sum()), len(breaches)
    if count == 0:
        return 1.0
    claimed = _log_likelihood(hits, count, rate)
    return _chi2_tail(2.0 * (_log_likelihood(hits, count, hits / count) - claimed))


def christoffersen(breaches: Breaches) -> float:
    """Return the p-value of the independence test (Christoffersen 1998), likelihood ratio ~ chi2(1)."""
    before, after = breaches[:-1], breaches[1:]
    if len(after) == 0:
        return 1.0
    free = _log_likelihood(int((~before & after).sum()), int((~before).sum()), _share(after[~before]))
    free += _log_likelihood(int((before & after).sum()), int(before.sum()), _share(after[before]))
    return _chi2_tail(2.0 * (free - _log_likelihood(int(after.sum()), len(after), _share(after))))


def rolling_error(breaches: Breaches, rate: float) -> float:
    """Return the mean absolute distance of the rolling breach rate from `rate`; NaN when shorter than the window."""
    if len(breaches) < ROLLING:
        return math.nan
    totals = np.concatenate([[0], np.cumsum(breaches)])
    return float(np.abs((totals[ROLLING:] - totals[:-ROLLING]) / ROLLING - rate).mean())


def rates_by_tercile(breaches: Breaches, volatility: Array) -> tuple[float, ...]:
    """Return the breach rate where the forecast volatility was low, middling and high."""
    edges = np.quantile(volatility, (1 / 3, 2 / 3))
    place = np.digitize(volatility, edges)
    return tuple(float(_share(breaches[place == third])) for third in range(3))


def fz0(realised: Array, quantile: Array, shortfall: Array, tau: float) -> Array:
    """Return the joint score of a lower quantile and its expected shortfall (Patton, Ziegel and Chen 2019).

    An upper tail is scored by passing every argument with its sign changed.
    """
    excess = np.maximum(quantile - realised, 0.0)
    return excess / (-tau * shortfall) + quantile / shortfall + np.log(-shortfall) - 1.0


def acerbi_szekely(realised: Array, quantile: Array, shortfall: Array, tau: float) -> float:
    """Return Z2 of a lower tail (Acerbi and Szekely 2014): 0 expected, below it losses beyond the forecast."""
    return float(1.0 - (realised * (realised < quantile) / (tau * shortfall)).mean())


def _log_likelihood(hits: int, count: int, rate: float) -> float:
    """Return the Bernoulli log-likelihood, where 0 log 0 is 0."""
    hit = hits * math.log(rate) if hits else 0.0
    return hit + ((count - hits) * math.log(1.0 - rate) if count > hits else 0.0)


def _share(values: Breaches) -> float:
    return float(values.mean()) if len(values) else 0.0


def _chi2_tail(statistic: float) -> float:
    """Return P(chi2(1) > statistic)."""
    return math.erfc(math.sqrt(max(statistic, 0.0) / 2.0))
