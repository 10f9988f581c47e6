"""Forecast by filtered and plain historical simulation: the baselines a learned model has to beat."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from models.empirical import ResidualWindow
from models.forecaster import DAY, Forecast, Tail
from models.limiter import PublishedMargin, bound_step
from models.scale import PRIOR_DAILY_SD, SMALLEST_SD, Ewma, Warmth, blend_with_prior
from models.steps import HORIZONS, IV_HORIZONS, Pending, Steps, whole_bar_horizons

if TYPE_CHECKING:
    from models.market import Bar
    from models.steps import Step

DAILY_HALF_LIFE = math.log(0.5) / math.log(0.97)
"""Bars; lambda = .97."""

INTRADAY_HALF_LIFE_SECONDS = DAY
"""A day, which on hourly bars is lambda = .972."""

DAILY_WINDOW = 500
INTRADAY_WINDOW_SECONDS = 2_160 * 3_600

SMALLEST_SHARE = 0.2
"""Of the prior shape; a filtered tail thinner than that is an artefact of a one-sided window."""

SMALLEST_RAW_SHARE = 1e-6
"""The same without a filter, where the shape has the size of the prior and must not bind on a calm asset."""

PRIOR_DAILY_IV_SD = 0.10
"""Daily sd of the log-change of implied volatility assumed before there is any history."""


class FilteredTails:
    """Tails of one log-level's changes: EWMA sd times the empirical quantiles of standardised changes.

    With `filtered=False` the changes are not standardised: plain historical simulation. Residuals of an h-bar
    horizon are h-bar changes over sd x sqrt(h), so mean reversion over the horizon is in their quantiles.
    """

    def __init__(
        self, horizons: tuple[int, ...], bar_seconds: int, prior_daily_sd: float, *, filtered: bool = True
    ) -> None:
        daily = bar_seconds == DAY
        self._bars = {horizon: horizon // bar_seconds for horizon in horizons}
        self._prior_sd = prior_daily_sd * math.sqrt(bar_seconds / DAY)
        self._filtered = filtered
        self._variance = Ewma(DAILY_HALF_LIFE if daily else INTRADAY_HALF_LIFE_SECONDS / bar_seconds)
        self._warmth = Warmth(bar_seconds)
        capacity = DAILY_WINDOW if daily else INTRADAY_WINDOW_SECONDS // bar_seconds
        share = SMALLEST_SHARE if filtered else SMALLEST_RAW_SHARE
        self._windows = {horizon: ResidualWindow(capacity, share) for horizon in horizons}
        self._pending: dict[int, Pending[float]] = {horizon: Pending(horizon, bar_seconds) for horizon in horizons}
        self._tails: dict[int, Tail] = {}

    @property
    def warm(self) -> bool:
        """Whether the prior scale no longer counts."""
        return self._warmth.complete

    def update(self, step: Step) -> dict[int, Tail]:
        """Take one step and return the tail of each horizon from its close."""
        shock = abs(step.log_return) / max(math.sqrt(self._variance.value), SMALLEST_SD)
        self._learn(step)
        sd = self._sd()
        for horizon, bars in self._bars.items():
            scale = sd * math.sqrt(bars)
            wanted = self._windows[horizon].tail(scale)
            self._tails[horizon] = bound_step(self._tails.get(horizon), wanted, shock)
            self._pending[horizon].push(step, scale)
        return dict(self._tails)

    def _learn(self, step: Step) -> None:
        for horizon, pending in self._pending.items():
            due = pending.due(step)
            if due is not None and self.warm and due[0] != 0.0:
                realised, scale = due
                self._windows[horizon].add(realised / scale)
        if step.moved:
            self._variance.add(step.log_return**2 / step.elapsed)
            self._warmth.add()

    def _sd(self) -> float:
        if not self._filtered:
            return self._prior_sd
        return blend_with_prior(math.sqrt(self._variance.value), self._prior_sd, self._warmth.value)


class ImpliedVolTails:
    """Quantiles of the log-change of implied volatility; silent until a stream carries one."""

    def __init__(self, bar_seconds: int) -> None:
        self._steps = Steps(bar_seconds)
        self._tails = FilteredTails(whole_bar_horizons(IV_HORIZONS, bar_seconds), bar_seconds, PRIOR_DAILY_IV_SD)
        self._newest: dict[int, tuple[float, ...]] | None = None

    def update(self, bar: Bar) -> dict[int, tuple[float, ...]] | None:
        """Take the bar's implied volatility if it has one; None before the first."""
        if bar.iv is not None:
            iv = bar.iv
            step = self._steps.take(replace(bar, open=iv, high=iv, low=iv, close=iv))
            tails = self._tails.update(step)
            self._newest = {horizon: tail.quantiles for horizon, tail in tails.items()}
        return self._newest


class _Stream:
    """One asset's baseline forecast."""

    def __init__(self, bar_seconds: int, *, filtered: bool) -> None:
        self._steps = Steps(bar_seconds)
        horizons = whole_bar_horizons(HORIZONS, bar_seconds)
        self._tails = FilteredTails(horizons, bar_seconds, PRIOR_DAILY_SD, filtered=filtered)
        self._implied = ImpliedVolTails(bar_seconds)
        self._margin = PublishedMargin(bar_seconds)

    def update(self, bar: Bar) -> Forecast:
        step = self._steps.take(bar)
        tails = self._tails.update(step)
        published = self._margin.update(step, tails[DAY], warm=self._tails.warm)
        return Forecast(bar.asset, bar.start, tails, self._implied.update(bar), published)


class HistoricalSimulation:
    """Empirical quantiles of the newest 500 daily (2,160 h of intraday) returns, unfiltered."""

    model_id = "historical-simulation"
    _filtered = False

    def __init__(self) -> None:
        self._streams: dict[str, _Stream] = {}

    def reset(self, asset: str, bar_seconds: int) -> None:
        """Forget `asset` and start a new stream. Raises ValueError unless the bars fill a day exactly."""
        self._streams[asset] = _Stream(bar_seconds, filtered=self._filtered)

    def update(self, bar: Bar) -> Forecast:
        """Take one closed bar. Raises ValueError, with the stream unchanged, on a bar it cannot take."""
        if bar.asset not in self._streams:
            raise ValueError(f"asset {bar.asset}: has had no reset")
        return self._streams[bar.asset].update(bar)


class EwmaFhs(HistoricalSimulation):
    """EWMA-filtered historical simulation (Barone-Adesi et al. 1999).

    Lambda is .97 on daily bars; the half-life is one day on intraday bars.
    """

    model_id = "ewma-fhs"
    _filtered = True
