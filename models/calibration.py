"""Widen a tail slowly when it is breached too often and narrow it when it is breached too rarely."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from models.forecaster import TAUS, Tail

if TYPE_CHECKING:
    from collections.abc import Sequence

STEP = 0.015
BOUND = 0.7
"""A side's slow multiplier stays within e^+-0.7."""

FAST_STEP = 0.05
FAST_LIFE = 1.0
"""Half-life, in horizons, of what a breach adds to both sides at once: breaches come in clusters of either sign."""


class ConformalTail:
    """One horizon's multipliers, in log space: a slow one for each side (conformal, bounded) and a fast common one.

    Each level that is breached adds, and each that holds takes away its own share, so that a multiplier is at rest
    when the levels are breached as often as they claim. The fast one forgets, and so needs no bound: were every level
    of a side breached at every bar, it would end at e^0.3. `bars` of the horizon bring one independent observation,
    since their windows overlap; `care` below 1 slows the slow multipliers.
    """

    def __init__(self, bars: float, care: float = 1.0) -> None:
        self._step = STEP * care / bars
        self._fast_step = FAST_STEP / bars
        self._fast_decay = 0.5 ** (1.0 / (FAST_LIFE * bars))
        self._fast = 0.0
        self._lower = 0.0
        self._upper = 0.0

    def learn(self, realised: float, said: Tail) -> None:
        """Take a realised log-return and what was said about it."""
        self._fast *= self._fast_decay
        for tau, quantile in zip(TAUS, said.quantiles, strict=True):
            if quantile < 0:
                excess = (realised < quantile) - tau
                self._lower = _bounded(self._lower + self._step * excess)
            else:
                excess = (realised > quantile) - (1.0 - tau)
                self._upper = _bounded(self._upper + self._step * excess)
            self._fast += self._fast_step * excess

    def widen(self, quantiles: Sequence[float], es_lower: float, es_upper: float, scale: float) -> Tail:
        """Return standardised figures times `scale`, their side's multiplier and the common one."""
        lower, upper = scale * math.exp(self._lower + self._fast), scale * math.exp(self._upper + self._fast)
        return Tail(
            tuple(value * (lower if value < 0 else upper) for value in quantiles),
            es_lower=es_lower * lower,
            es_upper=es_upper * upper,
        )


def _bounded(value: float) -> float:
    return min(max(value, -BOUND), BOUND)
