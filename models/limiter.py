"""Limit how fast a forecast and the published margin may move from one bar to the next."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from statistics import median
from typing import TYPE_CHECKING

from models.forecaster import DAY, Tail
from models.steps import Pending

if TYPE_CHECKING:
    from models.steps import Step

LOWER, UPPER = 2, 3
"""Places of the 1 % and 99 % quantiles in TAUS."""

HOUR = 3_600

RISE_PER_DAY = 1.10
FALL_PER_DAY = 0.97
WARM_UP_RATIO = 1.2
"""Largest move of the published value in one bar, either way, while the stream still leans on its prior."""

FLOOR_SHARE = 0.88
"""Of the trailing median. At 0.9 the S&P 500's and the Nasdaq's lower sides were breached half as often as claimed in
the years after a crisis; at 0.85 the published pair's peak to trough was above that of the buffered benchmark."""

FLOOR_STEPS = 500
CONFORMAL_STEP = 0.05
CONFORMAL_BOUND = 0.7
"""The published value is at most e^0.7 times, at least e^-0.7 times what the model says."""

CALM_RATIO = 4.0
SHOCK_SHARE = 0.75
"""A quantile rises at most max(4, 0.75 x the bar's move in trailing sd) times a bar and falls to no less than
1/4: half of what a reader may rely on (8 and 1.5), because their trailing sd need not be ours."""


def bound_step(previous: Tail | None, wanted: Tail, shock: float) -> Tail:
    """Return `wanted` moved toward `previous` where the step is too large; `shock` is the bar's move in sd.

    All figures of one side obey the same ratio, so the result is monotone in tau wherever both arguments are.
    """
    if previous is None:
        return wanted
    most = max(CALM_RATIO, SHOCK_SHARE * shock)
    return Tail(
        tuple(_bounded(old, new, most) for old, new in zip(previous.quantiles, wanted.quantiles, strict=True)),
        es_lower=_bounded(previous.es_lower, wanted.es_lower, most),
        es_upper=_bounded(previous.es_upper, wanted.es_upper, most),
    )


def _bounded(old: float, new: float, most: float) -> float:
    size = min(max(abs(new), abs(old) / CALM_RATIO), abs(old) * most)
    return math.copysign(size, new)


class TrailingMedian:
    """Median of the last `capacity` values, kept sorted."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._arrived: deque[float] = deque()
        self._sorted: list[float] = []

    def add(self, value: float) -> None:
        """Take one value."""
        if len(self._arrived) == self._capacity:
            del self._sorted[bisect_left(self._sorted, self._arrived.popleft())]
        self._arrived.append(value)
        insort(self._sorted, value)

    @property
    def value(self) -> float:
        """The median, 0 before the first value."""
        return median(self._sorted) if self._sorted else 0.0


class PublishedMargin:
    """The anti-procyclical pair that proposals are built from: lower 1 % and upper 99 % of the daily return.

    Each side follows the model's quantile times a conformal multiplier that is steered by breaches of the
    published value itself; it rises at most 10 % and falls at most 3 % a day, and never aims below 0.88 x its
    own trailing median of 500 steps: days on daily bars, hours otherwise.
    """

    def __init__(self, bar_seconds: int) -> None:
        self._per_bar = bar_seconds / DAY
        self._sides = (_Side(self._per_bar), _Side(self._per_bar))
        self._pending: Pending[tuple[float, float]] = Pending(DAY, bar_seconds)
        self._step_seconds = DAY if bar_seconds == DAY else max(HOUR, bar_seconds)
        self._newest_step: int | None = None

    def update(self, step: Step, daily: Tail, *, warm: bool) -> tuple[float, float]:
        """Take the model's daily tail at the close of `step` and return the pair to publish."""
        lower, upper = self._sides
        due = self._pending.due(step)
        if warm and due is not None and due[0] != 0.0:
            realised, (said_lower, said_upper) = due
            lower.learn(breached=realised < said_lower)
            upper.learn(breached=realised > said_upper)
        if warm and step.end // self._step_seconds != self._newest_step:
            self._newest_step = step.end // self._step_seconds
            lower.remember()
            upper.remember()
        pair = (
            -lower.follow(-daily.quantiles[LOWER], warm=warm),
            upper.follow(daily.quantiles[UPPER], warm=warm),
        )
        self._pending.push(step, pair)
        return pair


class _Side:
    """One side of the published pair, in magnitude."""

    def __init__(self, per_bar: float) -> None:
        self._per_bar = per_bar
        self._value = 0.0
        self._log_multiplier = 0.0
        self._settled = False
        self._history = TrailingMedian(FLOOR_STEPS)

    def learn(self, *, breached: bool) -> None:
        if not self._settled:  # A value on its way from the prior says nothing of the quantile it follows.
            return
        step = CONFORMAL_STEP * self._per_bar * (float(breached) - 0.01)
        self._log_multiplier = min(max(self._log_multiplier + step, -CONFORMAL_BOUND), CONFORMAL_BOUND)

    def remember(self) -> None:
        self._history.add(self._value)

    def follow(self, quantile: float, *, warm: bool) -> float:
        wanted = max(quantile * math.exp(self._log_multiplier), FLOOR_SHARE * self._history.value)
        if self._value:
            rise = RISE_PER_DAY**self._per_bar if warm else WARM_UP_RATIO
            fall = FALL_PER_DAY**self._per_bar if warm else 1.0 / WARM_UP_RATIO
            within = min(max(wanted, self._value * fall), self._value * rise)
            self._settled = self._settled or (warm and within == wanted)
            wanted = within
        self._value = wanted
        return wanted
