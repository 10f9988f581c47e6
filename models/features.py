"""Measure a stream's volatility at many speeds, as ratios that do not change with the asset's own scale."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from models.forecaster import DAY
from models.leverage import Leverage
from models.scale import PRIOR_DAILY_SD, SMALLEST_SD, Ewma, Warmth, blend_with_prior
from models.season import HourOfWeek

if TYPE_CHECKING:
    from models.steps import Step

DAILY_HALF_LIVES = (1, 2, 4, 8, 22, 66, 132, 264)
"""Days."""

INTRADAY_HALF_LIVES = (1, 3, 8, 24, 72, 168, 720, 2160)
"""Hours."""

BASE = {True: 4, False: 3}
"""Place of the base half-life in the list: 22 days on daily bars, 24 hours otherwise."""

RANGE_SPEEDS = (0, 2, 4, 5)
DOWNSIDE_SPEEDS = (3, 5)
TREND_SPEEDS = (2, 5)
LEVERAGE_SPEEDS = (0, 1, 2, 3, 4)

FEATURES = (
    *(f"return_sd_{speed}" for speed in range(8)),
    *(f"range_sd_{speed}" for speed in RANGE_SPEEDS),
    *(f"downside_share_{speed}" for speed in DOWNSIDE_SPEEDS),
    *(f"trend_{speed}" for speed in TREND_SPEEDS),
    "largest_move",
    "last_return",
    "season",
    *(f"leverage_sd_{speed}" for speed in LEVERAGE_SPEEDS),
    "feared_return",
)
"""Names in the order of `Features.vector`; the number is the place in the list of half-lives."""

CLIP = 4.0
SMALLEST_RATIO = 1e-6
ROUNDING = 1.0 + 1e-6
"""The same bars in another unit differ by last bits, and must be taken for the same."""

PARKINSON = 1.0 / (4.0 * math.log(2.0))
"""Variance of a driftless walk is its expected squared log-range times this (Parkinson 1980)."""


class Features:
    """Causal state of one stream, O(1) a bar."""

    def __init__(self, bar_seconds: int) -> None:
        daily = bar_seconds == DAY
        hours = 24.0 if daily else 1.0
        lives = DAILY_HALF_LIVES if daily else INTRADAY_HALF_LIVES
        in_bars = [life * hours * 3_600 / bar_seconds for life in lives]
        self._bar_seconds = bar_seconds
        self._prior_sd = PRIOR_DAILY_SD * math.sqrt(bar_seconds / DAY)
        self._warmth = Warmth(bar_seconds)
        self._season = HourOfWeek(bar_seconds)
        self._base = Ewma(in_bars[BASE[daily]])
        self._returns = [Ewma(life) for life in in_bars]
        self._ranges = [Ewma(in_bars[speed]) for speed in RANGE_SPEEDS]
        self._downside = [(Ewma(in_bars[speed]), Ewma(in_bars[speed])) for speed in DOWNSIDE_SPEEDS]
        self._trend = [(Ewma(in_bars[speed]), in_bars[speed]) for speed in TREND_SPEEDS]
        self._leverage = Leverage(bar_seconds, [in_bars[speed] for speed in LEVERAGE_SPEEDS])
        self._largest = 0.0
        self._largest_decay = 0.5 ** (1.0 / in_bars[BASE[daily]])
        self._last = 0.0

    @property
    def warmth(self) -> float:
        """Weight of the data against the prior, 0 to 1."""
        return self._warmth.value

    @property
    def warm(self) -> bool:
        """Whether the prior no longer counts."""
        return self._warmth.complete

    def shock(self, step: Step) -> float:
        """Return the size of the step's move in sd as they were before it."""
        sd = math.sqrt(max(self._base.value, *(ewma.value for ewma in self._returns)))
        return abs(step.log_return) / max(sd, SMALLEST_SD)

    def update(self, step: Step) -> None:
        """Take one step; one that stood still teaches nothing."""
        if not step.moved:
            return
        usual = math.sqrt(self._season.variance_share(step.end - self._bar_seconds) * step.elapsed)
        move, spread = step.log_return / usual, step.log_range / usual
        self._season.learn(step, self._returns[-1].value)
        self._warmth.add()
        # A range that is no more than the return, as where only closes are known, says nothing of the way between.
        closes_only = step.log_range <= abs(step.log_return) * ROUNDING
        squared_range = move * move if closes_only else PARKINSON * spread * spread
        variance = 0.5 * (move * move + squared_range)
        self._leverage.update(move, variance)
        self._base.add(variance)
        for ewma in self._returns:
            ewma.add(move * move)
        for ewma in self._ranges:
            ewma.add(squared_range)
        for below, above in self._downside:
            below.add(move * move if move < 0 else 0.0)
            above.add(move * move if move > 0 else 0.0)
        for ewma, _ in self._trend:
            ewma.add(move)
        self._largest = max(abs(move), self._largest * self._largest_decay)
        self._last = move

    @property
    def bar_sd(self) -> float:
        """The base sd of a bar at the usual time of the week."""
        return math.sqrt(max(self._base.value, SMALLEST_SD**2))

    def base_sd(self, horizon: int, end: int) -> float:
        """Return the base sd of the log-return over `horizon` seconds from `end` (Unix seconds)."""
        sd = blend_with_prior(math.sqrt(self._base.value), self._prior_sd, self._warmth.value)
        return sd * math.sqrt(horizon / self._bar_seconds * self._season.horizon_share(end, horizon))

    def vector(self, horizon: int, end: int) -> tuple[float, ...]:
        """Return the features in the order of FEATURES, each within +-CLIP."""
        base = max(self._base.value, SMALLEST_SD**2)
        sd = math.sqrt(base)
        raw = (
            *(_log_ratio(ewma.value, base) for ewma in self._returns),
            *(_log_ratio(ewma.value, base) for ewma in self._ranges),
            *(_share(below.value, above.value) for below, above in self._downside),
            *(math.tanh(ewma.value / sd * math.sqrt(life)) for ewma, life in self._trend),
            math.log(max(self._largest / sd, SMALLEST_RATIO)),
            self._last / sd,
            0.5 * math.log(self._season.horizon_share(end, horizon)),
            *(_log_ratio(variance, base) for variance in self._leverage.variances()),
            -self._leverage.mean * min(max(self._last / sd, -CLIP), CLIP),
        )
        return tuple(min(max(value, -CLIP), CLIP) for value in raw)


def _log_ratio(variance: float, base: float) -> float:
    """Log of the ratio of two sds, given their variances."""
    return 0.5 * math.log(max(variance / base, SMALLEST_RATIO**2))


def _share(below: float, above: float) -> float:
    total = below + above
    return below / total - 0.5 if total > 0 else 0.0
