"""Measure how busy a market is against its own past, as ratios that do not depend on the volume's unit."""

from __future__ import annotations

import math

from models.forecaster import DAY
from models.scale import Ewma

DAILY_HALF_LIVES = (1, 22, 264)
"""Days."""

INTRADAY_HALF_LIVES = (1, 24, 720)
"""Hours."""

VOLUME_RATIOS = ("volume_short", "volume_long")
CLIP = 4.0


class VolumeRatios:
    """Log-volume averaged at three speeds, O(1) a bar; silent (zeros) on a bar that states no volume."""

    def __init__(self, bar_seconds: int) -> None:
        daily = bar_seconds == DAY
        lives = DAILY_HALF_LIVES if daily else INTRADAY_HALF_LIVES
        per_bar = 1.0 if daily else 3_600 / bar_seconds
        self._averages = [Ewma(life * per_bar) for life in lives]

    def update(self, volume: float | None) -> tuple[float, ...]:
        """Take one bar's volume and return the ratios in the order of VOLUME_RATIOS, each within +-CLIP."""
        if volume is None or volume <= 0.0:
            return (0.0,) * len(VOLUME_RATIOS)
        for average in self._averages:
            average.add(math.log(volume))
        fast, usual, slow = (average.value for average in self._averages)
        return tuple(min(max(ratio, -CLIP), CLIP) for ratio in (fast - usual, usual - slow))
