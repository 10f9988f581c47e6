"""Read tails of standardised returns from a sliding window that starts from a prior shape."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque

from models.forecaster import TAUS, Tail

PRIOR_SAMPLES = 200
"""Residuals of the prior shape that a window starts with; real ones push them out."""


def prior_quantile(tau: float) -> float:
    """Return the quantile of a Student-t with 4 degrees of freedom scaled to unit variance (closed form)."""
    alpha = 4.0 * tau * (1.0 - tau)
    q = math.cos(math.acos(math.sqrt(alpha)) / 3.0) / math.sqrt(alpha)
    return math.copysign(math.sqrt(2.0 * max(q - 1.0, 0.0)), tau - 0.5)


PRIOR_QUANTILES = tuple(prior_quantile(tau) for tau in TAUS)
PRIOR_RESIDUALS = tuple(prior_quantile((i + 0.5) / PRIOR_SAMPLES) for i in range(PRIOR_SAMPLES))


class ResidualWindow:
    """The newest `capacity` standardised returns, always sorted, at O(log n) a bar.

    No quantile is nearer to zero than `smallest_share` of the prior shape's, so that every tail keeps its sign.
    """

    def __init__(self, capacity: int, smallest_share: float) -> None:
        self._capacity = max(capacity, PRIOR_SAMPLES)
        self._smallest_share = smallest_share
        self._arrived = deque(PRIOR_RESIDUALS)
        self._sorted = sorted(PRIOR_RESIDUALS)

    def add(self, residual: float) -> None:
        """Take one realised return divided by the scale that was forecast for it."""
        if len(self._arrived) == self._capacity:
            del self._sorted[bisect_left(self._sorted, self._arrived.popleft())]
        self._arrived.append(residual)
        insort(self._sorted, residual)

    def tail(self, scale: float) -> Tail:
        """Return the window's tail times `scale`: monotone in tau, negative below and positive above."""
        quantiles = tuple(
            scale * _away_from_zero(self._quantile(tau), self._smallest_share * prior)
            for tau, prior in zip(TAUS, PRIOR_QUANTILES, strict=True)
        )
        beyond = max(1, int(TAUS[2] * len(self._sorted)))
        lower = scale * math.fsum(self._sorted[:beyond]) / beyond
        upper = scale * math.fsum(self._sorted[-beyond:]) / beyond
        return Tail(quantiles, es_lower=min(lower, quantiles[2]), es_upper=max(upper, quantiles[3]))

    def _quantile(self, tau: float) -> float:
        position = tau * (len(self._sorted) - 1)
        below = int(position)
        low, high = self._sorted[below], self._sorted[min(below + 1, len(self._sorted) - 1)]
        return low + (position - below) * (high - low)


def _away_from_zero(value: float, floor: float) -> float:
    return min(value, floor) if floor < 0 else max(value, floor)
