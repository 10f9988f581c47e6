"""Pull a forecast scale a little towards its own slow mean, where volatility usually returns to."""

from __future__ import annotations

import math

from models.forecaster import DAY
from models.scale import Ewma

DAILY_LIFE, INTRADAY_LIFE = 1_000, 8_760
"""Half-life of the slow mean: days, hours."""

SHARE = 0.1
"""Of the distance in logs. Without it, on days and on hours alike, the calmest third was breached too often, the
wildest too rarely, and margins at equal coverage were 1 to 3 % larger. Twice as much is worse."""


class Reversion:
    """The slow mean of one horizon's log-scale."""

    def __init__(self, bar_seconds: int) -> None:
        self._mean = Ewma(DAILY_LIFE if bar_seconds == DAY else INTRADAY_LIFE * 3_600 / bar_seconds)

    def factor(self, scale: float) -> float:
        """Take one bar's forecast scale (above 0) and return the factor that pulls it towards the slow mean."""
        log = math.log(scale)
        self._mean.add(log)
        return math.exp(-SHARE * (log - self._mean.value))
