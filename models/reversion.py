"""Pull a forecast scale a little towards its own slow mean, where volatility usually returns to."""

from __future__ import annotations

import math

from models.forecaster import DAY
from models.scale import Ewma

DAILY_LIFE, INTRADAY_LIFE = 1_000, 8_760
"""Half-life of the slow mean: days, hours."""

SHARE_BELOW, SHARE_ABOVE = 0.2, 0.05
"""Of the distance in logs, where the scale is below its mean and above it. Without any, on days and on hours alike, the
calmest third was breached too often, the wildest too rarely, and margins at equal coverage were 1 to 3 % larger. The
excess of the calmest third asks for more from below; from above, more makes forecasts late in a storm's tail."""


class Reversion:
    """The slow mean of one horizon's log-scale."""

    def __init__(self, bar_seconds: int) -> None:
        self._mean = Ewma(DAILY_LIFE if bar_seconds == DAY else INTRADAY_LIFE * 3_600 / bar_seconds)

    def factor(self, scale: float) -> float:
        """Take one bar's forecast scale (above 0) and return the factor that pulls it towards the slow mean."""
        log = math.log(scale)
        self._mean.add(log)
        distance = log - self._mean.value
        return math.exp(-(SHARE_BELOW if distance < 0 else SHARE_ABOVE) * distance)
