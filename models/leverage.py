"""Learn online whether falls or rises are followed by larger moves, and weigh past moves accordingly."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from models.forecaster import DAY
from models.scale import SMALLEST_SD, Ewma

if TYPE_CHECKING:
    from collections.abc import Sequence

CANDIDATES = (-0.8, -0.4, 0.0, 0.4, 0.8)
"""A squared fall counts 1 + k times, a squared rise 1 - k times: the news-impact curve of GJR, by steps of k."""

DAILY_LIFE, INTRADAY_LIFE = 10, 24
"""Half-life of the candidates' variances: days, hours."""

DAILY_MEMORY, INTRADAY_MEMORY = 1_000, 2_160
"""Half-life of a candidate's likelihood: days, hours."""

LEVEL_MEMORY = 264.0
"""Half-life in bars of the ratio by which a candidate is too high or too low on the whole."""

FREEDOM = 6.0
"""Of the Student-t that candidates are scored by: one crash does not decide."""

LARGEST_RATIO = 25.0
SMALLEST_LEVEL = 0.05


class Leverage:
    """Mean of CANDIDATES under their discounted likelihoods, and sds of falls and rises weighted by it.

    It is found per stream, so that a market that fears rises (or a mirrored recording) gets the opposite sign.
    """

    def __init__(self, bar_seconds: int, half_lives: Sequence[float]) -> None:
        daily = bar_seconds == DAY
        bars = 1.0 if daily else 3_600 / bar_seconds
        self._candidates = [Ewma((DAILY_LIFE if daily else INTRADAY_LIFE) * bars) for _ in CANDIDATES]
        self._forget = 0.5 ** (1.0 / ((DAILY_MEMORY if daily else INTRADAY_MEMORY) * bars))
        self._level_rate = 1.0 - 0.5 ** (1.0 / LEVEL_MEMORY)
        self._levels = [1.0] * len(CANDIDATES)
        self._scores = [0.0] * len(CANDIDATES)
        self._sides = [(Ewma(life), Ewma(life)) for life in half_lives]
        self._started = False
        self.mean = 0.0

    def update(self, move: float, variance: float) -> None:
        """Take a bar's move (usual size of its time divided out) and its variance measured from move and range."""
        if self._started:
            self._score(move * move)
        self._started = True
        side = math.copysign(1.0, move) if move else 0.0
        for candidate, ewma in zip(CANDIDATES, self._candidates, strict=True):
            ewma.add(variance * (1.0 - candidate * side))
        for fall, rise in self._sides:
            fall.add(variance * (1.0 - side) / 2.0)
            rise.add(variance * (1.0 + side) / 2.0)

    def _score(self, square: float) -> None:
        for place, ewma in enumerate(self._candidates):
            ratio = square / max(ewma.value, SMALLEST_SD**2)
            self._levels[place] += self._level_rate * (min(ratio, LARGEST_RATIO) - self._levels[place])
            level = max(self._levels[place], SMALLEST_LEVEL)
            log_variance = math.log(max(ewma.value, SMALLEST_SD**2) * level)
            tail = (FREEDOM + 1.0) * math.log1p(ratio / level / (FREEDOM - 2.0))
            self._scores[place] = self._forget * self._scores[place] - 0.5 * (log_variance + tail)
        best = max(self._scores)
        weights = [math.exp(score - best) for score in self._scores]
        self.mean = math.fsum(map(float.__mul__, weights, CANDIDATES)) / math.fsum(weights)

    def variances(self) -> list[float]:
        """Return the weighted variance at each half-life."""
        return [(1.0 + self.mean) * fall.value + (1.0 - self.mean) * rise.value for fall, rise in self._sides]
