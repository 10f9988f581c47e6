"""Know how volatile each hour of the week usually is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from models.forecaster import DAY

if TYPE_CHECKING:
    from models.steps import Step

HOUR = 3_600
HOURS_A_WEEK = 168
HALF_LIFE_WEEKS = 13.0
LARGEST_SHARE = 9.0
"""A single bar counts as at most three usual sds, so that one crash does not mark its hour for months."""

SMALLEST_SHARE = 0.05


class HourOfWeek:
    """Variance of each hour of the week relative to the stream's slow variance; 1 on daily bars."""

    def __init__(self, bar_seconds: int) -> None:
        self._active = bar_seconds < DAY
        self._rate = 1.0 - 0.5 ** (bar_seconds / HOUR / HALF_LIFE_WEEKS)
        self._shares = [1.0] * HOURS_A_WEEK
        self._mean = 1.0

    def learn(self, step: Step, usual_variance: float) -> None:
        """Take one step, given the usual variance of a deseasonalised bar; gaps teach nothing."""
        if not self._active or step.elapsed > 1 or usual_variance <= 0.0:
            return
        hour = self._hour(step.end - 1)
        share = min(step.log_return**2 / usual_variance, LARGEST_SHARE)
        updated = self._shares[hour] + self._rate * (share - self._shares[hour])
        self._shares[hour] = max(updated, SMALLEST_SHARE)
        self._mean = math.fsum(self._shares) / HOURS_A_WEEK

    def variance_share(self, start: int) -> float:
        """Return the share of the hour that begins at or before `start` (Unix seconds)."""
        return self._shares[self._hour(start)] / self._mean if self._active else 1.0

    def horizon_share(self, start: int, horizon: int) -> float:
        """Return the mean share of the hours from `start` on."""
        if not self._active:
            return 1.0
        hours = max(1, horizon // HOUR)
        first = self._hour(start)
        total = sum(self._shares[(first + offset) % HOURS_A_WEEK] for offset in range(hours))
        return total / hours / self._mean

    @staticmethod
    def _hour(moment: int) -> int:
        return moment // HOUR % HOURS_A_WEEK
