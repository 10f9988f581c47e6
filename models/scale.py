"""Average squared moves over time, and lean on a stated prior while there are few of them."""

from __future__ import annotations

import math

from models.forecaster import DAY

PRIOR_DAILY_SD = 0.05
"""Daily sd of a log-return that is assumed of an asset nothing is known about: 96 % a year."""

SMALLEST_SD = 1e-9
"""Floor of any sd of a bar: keeps a dead price's forecast above zero without touching a live one."""

WARM_DAILY_BARS = 60
WARM_INTRADAY_SECONDS = 10 * DAY


class Ewma:
    """Exponentially weighted mean with exact normalisation: the first value counts fully."""

    __slots__ = ("_decay", "_total", "_weight")

    def __init__(self, half_life: float) -> None:
        self._decay = 0.5 ** (1.0 / half_life)
        self._total = 0.0
        self._weight = 0.0

    def add(self, value: float) -> None:
        """Take one value; `half_life` is counted in such values."""
        self._total = self._decay * self._total + (1.0 - self._decay) * value
        self._weight = self._decay * self._weight + (1.0 - self._decay)

    @property
    def value(self) -> float:
        """The mean, 0 before the first value."""
        return self._total / self._weight if self._weight else 0.0


class Warmth:
    """How far a stream may be trusted: from 0 (prior only) to 1 (data only) over the warm-up."""

    __slots__ = ("_bars", "_seen")

    def __init__(self, bar_seconds: int) -> None:
        self._bars = WARM_DAILY_BARS if bar_seconds == DAY else max(60, WARM_INTRADAY_SECONDS // bar_seconds)
        self._seen = 0

    def add(self) -> None:
        """Count one bar that moved."""
        self._seen = min(self._seen + 1, self._bars)

    @property
    def value(self) -> float:
        """Weight of the data against the prior, 0 to 1."""
        return self._seen / self._bars

    @property
    def complete(self) -> bool:
        """Whether the prior no longer counts."""
        return self._seen == self._bars


def blend_with_prior(sd: float, prior_sd: float, warmth: float) -> float:
    """Return the geometric blend of the measured sd and the prior, floored at SMALLEST_SD."""
    measured = max(sd, SMALLEST_SD)
    return math.exp(warmth * math.log(measured) + (1.0 - warmth) * math.log(prior_sd))
