"""Widen a tail slowly when it is breached too often and narrow it when it is breached too rarely."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from models.forecaster import TAUS, Tail

if TYPE_CHECKING:
    from collections.abc import Sequence

STEP = 0.015
BOUND = 0.7
"""The multiplier stays within e^+-0.7."""


class ConformalTail:
    """One horizon's pair of multipliers, in log space (a bounded conformal PID without the P and D terms).

    Each level of a side that is breached adds, and each that holds takes away its own share, so that the
    multiplier is at rest when the levels are breached as often as they claim. `weight` is the share of an
    independent observation that one bar brings: 1 over the bars of the horizon, since their windows overlap.
    """

    def __init__(self, weight: float) -> None:
        self._step = STEP * weight
        self._lower = 0.0
        self._upper = 0.0

    def learn(self, realised: float, said: Tail) -> None:
        """Take a realised log-return and what was said about it."""
        for tau, quantile in zip(TAUS, said.quantiles, strict=True):
            if quantile < 0:
                self._lower = _bounded(self._lower + self._step * ((realised < quantile) - tau))
            else:
                self._upper = _bounded(self._upper + self._step * ((realised > quantile) - (1.0 - tau)))

    def widen(self, quantiles: Sequence[float], es_lower: float, es_upper: float, scale: float) -> Tail:
        """Return standardised figures times `scale` and their side's multiplier."""
        lower, upper = scale * math.exp(self._lower), scale * math.exp(self._upper)
        return Tail(
            tuple(value * (lower if value < 0 else upper) for value in quantiles),
            es_lower=es_lower * lower,
            es_upper=es_upper * upper,
        )


def _bounded(value: float) -> float:
    return min(max(value, -BOUND), BOUND)
