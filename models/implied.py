"""Measure implied volatility against its own past and against realised volatility, without its unit."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from models.forecaster import DAY
from models.scale import Ewma

if TYPE_CHECKING:
    from models.market import Bar

DAILY_LIVES, INTRADAY_LIVES = (5, 500), (120, 12_000)
"""Half-lives of its recent mean and of its usual ratio to realised volatility: days, hours."""

IMPLIED_RATIOS = ("implied_recent", "implied_premium")
CLIP = 4.0


class ImpliedRatios:
    """Two logs, O(1) a bar; silent (zeros) on a bar that states no implied volatility.

    The premium's usual level is taken out, so that neither the calendar of the annualisation nor the unit counts.
    """

    def __init__(self, bar_seconds: int) -> None:
        daily = bar_seconds == DAY
        bars = 1.0 if daily else 3_600 / bar_seconds
        recent, usual = DAILY_LIVES if daily else INTRADAY_LIVES
        self._recent, self._usual = Ewma(recent * bars), Ewma(usual * bars)

    def update(self, iv: float | None, realised_sd: float) -> tuple[float, ...]:
        """Take one bar's implied volatility and base sd; return the ratios in the order of IMPLIED_RATIOS."""
        if iv is None or iv <= 0.0:
            return (0.0,) * len(IMPLIED_RATIOS)
        level = math.log(iv)
        premium = level - math.log(realised_sd)
        self._recent.add(level)
        self._usual.add(premium)
        ratios = (level - self._recent.value, premium - self._usual.value)
        return tuple(min(max(ratio, -CLIP), CLIP) for ratio in ratios)


def bar_of_implied(bar: Bar, iv: float) -> Bar:
    """Return the bar of the implied volatility itself, known at the close only."""
    return replace(bar, open=iv, high=iv, low=iv, close=iv, volume=None, iv=None)
