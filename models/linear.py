"""Forecast by a log-linear scale model: about twenty frozen weights a horizon times frozen quantiles."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from models.baselines import ImpliedVolTails
from models.calibration import ConformalTail
from models.features import Features
from models.forecaster import DAY, Forecast, Tail
from models.limiter import PublishedMargin, bound_step
from models.steps import HORIZONS, Pending, Steps, whole_bar_horizons

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from models.market import Bar

LARGEST_LOG_MULTIPLIER = 1.2


@dataclass(frozen=True, slots=True)
class Head:
    """The frozen model of one horizon.

    `weights` apply to (feature - mean) / sd in the order of FEATURES; the factor is 1 at the mean.
    `quantiles` (at TAUS) and the expected shortfalls are of returns divided by the forecast scale; the lower
    side is negative, the upper positive.
    `daily_bars` says which kind of stream it was trained on.
    """

    horizon: int
    daily_bars: bool
    weights: tuple[float, ...]
    means: tuple[float, ...]
    sds: tuple[float, ...]
    quantiles: tuple[float, ...]
    es_lower: float
    es_upper: float

    def multiplier(self, vector: Sequence[float], trust: float = 1.0) -> float:
        """Return the bounded factor on the base sd; `trust` (0 to 1) shrinks it while a stream is young."""
        log = math.fsum(
            weight * (value - mean) / sd
            for weight, value, mean, sd in zip(self.weights, vector, self.means, self.sds, strict=True)
        )
        return math.exp(trust * min(max(log, -LARGEST_LOG_MULTIPLIER), LARGEST_LOG_MULTIPLIER))


def choose_head(heads: Iterable[Head], bar_seconds: int, horizon: int) -> Head:
    """Return the head for a horizon of a stream: trained on such bars if there is one, at the nearest horizon.

    A head trained on the other kind of bars gives its tail shape only. Its weights do not carry over: measured
    on hourly streams, weights from daily bars made the 1 h pinball 2 % worse than no weights.
    """
    daily = bar_seconds == DAY
    nearest = min(
        heads,
        key=lambda head: (head.daily_bars != daily, abs(math.log(head.horizon / horizon)), head.horizon),
    )
    if nearest.daily_bars == daily:
        return nearest
    return replace(nearest, weights=(0.0,) * len(nearest.weights))


class _Horizon:
    """One horizon of one stream: its head, its calibration and what it said."""

    def __init__(self, head: Head, horizon: int, bar_seconds: int) -> None:
        self.head = head
        self.horizon = horizon
        self.pending: Pending[Tail] = Pending(horizon, bar_seconds)
        self.conformal = ConformalTail(bar_seconds / horizon)
        self.said: Tail | None = None


class _Stream:
    """One asset's forecast by the linear scale model."""

    def __init__(self, heads: Sequence[Head], bar_seconds: int) -> None:
        self._steps = Steps(bar_seconds)
        self._features = Features(bar_seconds)
        self._implied = ImpliedVolTails(bar_seconds)
        self._margin = PublishedMargin(bar_seconds)
        self._horizons = [
            _Horizon(choose_head(heads, bar_seconds, horizon), horizon, bar_seconds)
            for horizon in whole_bar_horizons(HORIZONS, bar_seconds)
        ]

    def update(self, bar: Bar) -> Forecast:
        step = self._steps.take(bar)
        features = self._features
        for state in self._horizons:
            due = state.pending.due(step)
            if due is not None and features.warm and due[0] != 0.0:
                state.conformal.learn(*due)
        shock = features.shock(step)
        features.update(step)
        tails = {}
        for state in self._horizons:
            tails[state.horizon] = state.said = bound_step(state.said, self._tail(state, step.end), shock)
            state.pending.push(step, state.said)
        published = self._margin.update(step, tails[DAY], warm=features.warm)
        return Forecast(bar.asset, bar.start, tails, self._implied.update(bar), published)

    def _tail(self, state: _Horizon, end: int) -> Tail:
        head, features = state.head, self._features
        vector = features.vector(state.horizon, end)
        scale = features.base_sd(state.horizon, end) * head.multiplier(vector, features.warmth)
        return state.conformal.widen(head.quantiles, head.es_lower, head.es_upper, scale)


class LinearForecaster:
    """The learned model of the first version. Streams are independent of each other."""

    def __init__(self, model_id: str, heads: Sequence[Head]) -> None:
        if not heads:
            raise ValueError("a linear model needs at least one head")
        self.model_id = model_id
        self._heads = tuple(heads)
        self._streams: dict[str, _Stream] = {}

    def reset(self, asset: str, bar_seconds: int) -> None:
        """Forget `asset` and start a new stream. Raises ValueError unless the bars fill a day exactly."""
        self._streams[asset] = _Stream(self._heads, bar_seconds)

    def update(self, bar: Bar) -> Forecast:
        """Take one closed bar. Raises ValueError, with the stream unchanged, on a bar it cannot take."""
        if bar.asset not in self._streams:
            raise ValueError(f"asset {bar.asset}: has had no reset")
        return self._streams[bar.asset].update(bar)
