"""Turn a checked bar into what a model learns from it, and tell when a forecast made on it falls due."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from models.forecaster import DAY

if TYPE_CHECKING:
    from models.market import Bar

HORIZONS = (3_600, 14_400, DAY)
"""Horizons of price forecasts in seconds; a stream has those that are whole bars."""

IV_HORIZONS = (3_600, DAY)
"""Horizons of implied-volatility forecasts in seconds."""

LONGEST_HOLIDAY = 5
"""Daily bars at most this many days apart are neighbours: weekends and holidays are no gap."""

Payload = TypeVar("Payload")


@dataclass(frozen=True, slots=True)
class Step:
    """One accepted bar as the models see it.

    `log_return` and `log_range` (the true range) are natural logs since the previous close, not yet divided
    by the square root of `elapsed`, the number of bars since then. `moved` is False for a bar that stood
    entirely still: a dead feed, not a calm market, so nothing is learned from it.
    """

    end: int
    log_close: float
    log_return: float
    log_range: float
    elapsed: int

    @property
    def moved(self) -> bool:
        """Whether the price moved at all since the previous close."""
        return self.log_range > 0.0


def check_bar_seconds(bar_seconds: int) -> None:
    """Raise ValueError unless bars of this length fill a day exactly."""
    if bar_seconds < 1 or DAY % bar_seconds:
        raise ValueError(f"bar_seconds {bar_seconds}: must divide a day of {DAY} seconds")


def whole_bar_horizons(horizons: tuple[int, ...], bar_seconds: int) -> tuple[int, ...]:
    """Return the horizons that are a whole number of bars."""
    return tuple(horizon for horizon in horizons if horizon % bar_seconds == 0)


def check_bar(bar: Bar) -> None:
    """Raise ValueError naming the field, value and rule of a bar that cannot be."""
    for field in ("open", "high", "low", "close"):
        value = getattr(bar, field)
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{field} {value}: must be a finite number above 0")
    if bar.high < max(bar.open, bar.close):
        raise ValueError(f"high {bar.high}: must not be below open {bar.open} or close {bar.close}")
    if bar.low > min(bar.open, bar.close):
        raise ValueError(f"low {bar.low}: must not be above open {bar.open} or close {bar.close}")
    if bar.volume is not None and not (math.isfinite(bar.volume) and bar.volume >= 0):
        raise ValueError(f"volume {bar.volume}: must be a finite number, 0 or more, or null")
    if bar.iv is not None and not (math.isfinite(bar.iv) and bar.iv > 0):
        raise ValueError(f"iv {bar.iv}: must be a finite decimal above 0, or null")


class Steps:
    """The sequence of one asset's bars: refuses what does not fit, and dates the rest."""

    def __init__(self, bar_seconds: int) -> None:
        check_bar_seconds(bar_seconds)
        self.bar_seconds = bar_seconds
        self._last_start: int | None = None
        self._last_log_close = 0.0

    def take(self, bar: Bar) -> Step:
        """Accept the next bar. Raises ValueError, and stays as it was, when the bar does not fit."""
        if bar.seconds != self.bar_seconds:
            raise ValueError(f"bar of {bar.seconds} seconds: the stream was reset to {self.bar_seconds}")
        check_bar(bar)
        if self._last_start is not None and bar.start <= self._last_start:
            raise ValueError(f"ts {bar.start}: must be above the previous bar's {self._last_start}")
        log_close, previous = math.log(bar.close), self._last_log_close
        elapsed = 1 if self._last_start is None else self._elapsed(bar.start - self._last_start)
        if self._last_start is None:
            previous = math.log(bar.open)
        self._last_start, self._last_log_close = bar.start, log_close
        return Step(
            end=bar.end,
            log_close=log_close,
            log_return=log_close - previous,
            log_range=max(math.log(bar.high), previous) - min(math.log(bar.low), previous),
            elapsed=elapsed,
        )

    def _elapsed(self, seconds: int) -> int:
        bars = max(1, round(seconds / self.bar_seconds))
        return 1 if self.bar_seconds == DAY and bars <= LONGEST_HOLIDAY else bars


class Pending(Generic[Payload]):
    """What was said at each bar about one horizon, until the horizon is over.

    Intraday a forecast falls due at the bar that ends exactly one horizon later; across a gap it is dropped.
    On daily bars it falls due at the next trading day.
    """

    def __init__(self, horizon: int, bar_seconds: int) -> None:
        self._horizon = horizon
        self._daily = bar_seconds == DAY
        self._waiting: deque[tuple[int, float, Payload]] = deque()

    def push(self, step: Step, payload: Payload) -> None:
        """Remember what was said at the close of `step`."""
        self._waiting.append((step.end + self._horizon, step.log_close, payload))

    def due(self, step: Step) -> tuple[float, Payload] | None:
        """Return the realised log-return and what was said, if a forecast falls due at this close."""
        while self._waiting and (self._daily or self._waiting[0][0] <= step.end):
            target, log_close, payload = self._waiting.popleft()
            if (self._daily and step.elapsed == 1) or target == step.end:
                return step.log_close - log_close, payload
        return None
