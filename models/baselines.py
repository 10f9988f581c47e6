"""Forecast by plain, filtered and normal rules of thumb: the baselines a learned model has to beat."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from statistics import NormalDist
from typing import TYPE_CHECKING

from models.empirical import ResidualWindow
from models.forecaster import DAY, TAUS, Forecast, Tail
from models.implied import bar_of_implied
from models.limiter import PublishedMargin, bound_step
from models.scale import PRIOR_DAILY_SD, SMALLEST_SD, Ewma, Warmth, blend_with_prior
from models.steps import HORIZONS, IV_HORIZONS, Pending, Steps, whole_bar_horizons
from models.streams import StreamForecaster

if TYPE_CHECKING:
    from models.market import Bar
    from models.steps import Step


@dataclass(frozen=True, slots=True)
class Filter:
    """How a baseline measures scale, and the tail it gives it.

    `decay` is the lambda of the EWMA on daily bars (RiskMetrics 1996), None for no scale at all. Intraday, .97 has a
    half-life of one day, which on hourly bars is lambda = .972, and the others stand to it as on days. The tail is
    `normal`, or that of the newest `window` days; intraday, of 4.32 hours for each of them.
    """

    name: str
    decay: float | None
    normal: bool = False
    window: int = 500


EWMA_FHS = Filter("ewma-fhs", 0.97)
HISTORICAL_SIMULATION = Filter("historical-simulation", None)
FILTERS = (
    EWMA_FHS,
    HISTORICAL_SIMULATION,
    Filter("static", None, window=1_000_000),
    Filter("ewma-normal-94", 0.94, normal=True),
    Filter("ewma-normal-97", 0.97, normal=True),
    Filter("ewma-normal-99", 0.99, normal=True),
    Filter("fhs-94", 0.94),
    Filter("fhs-99", 0.99),
)

INTRADAY_DECAY = 0.97
"""Its half-life intraday is a day."""

INTRADAY_HOURS_A_DAY = 4.32
"""500 days of daily bars correspond to 2,160 hours of intraday bars."""

SMALLEST_SHARE = 0.2
"""Of the prior shape; a filtered tail thinner than that is an artefact of a one-sided window."""

SMALLEST_RAW_SHARE = 1e-6
"""The same without a filter, where the shape has the size of the prior and must not bind on a calm asset."""

PRIOR_DAILY_IV_SD = 0.10
"""Daily sd of the log-change of implied volatility assumed before there is any history."""

_GAUSS = NormalDist()
_EDGE = _GAUSS.pdf(_GAUSS.inv_cdf(0.01)) / 0.01
NORMAL = Tail(tuple(_GAUSS.inv_cdf(tau) for tau in TAUS), es_lower=-_EDGE, es_upper=_EDGE)
"""The tail of a standard normal."""


class FilteredTails:
    """Tails of one log-level's changes: EWMA sd times the empirical quantiles of standardised changes.

    Without a decay the changes are not standardised: plain historical simulation. Residuals of an h-bar
    horizon are h-bar changes over sd x sqrt(h), so mean reversion over the horizon is in their quantiles.
    """

    def __init__(
        self, horizons: tuple[int, ...], bar_seconds: int, prior_daily_sd: float, kind: Filter = EWMA_FHS
    ) -> None:
        daily = bar_seconds == DAY
        self._bars = {horizon: horizon // bar_seconds for horizon in horizons}
        self._prior_sd = prior_daily_sd * math.sqrt(bar_seconds / DAY)
        self._kind = kind
        self._variance = Ewma(_half_life(kind.decay or INTRADAY_DECAY, bar_seconds))
        self._warmth = Warmth(bar_seconds)
        capacity = kind.window if daily else int(INTRADAY_HOURS_A_DAY * kind.window) * 3_600 // bar_seconds
        share = SMALLEST_RAW_SHARE if kind.decay is None else SMALLEST_SHARE
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
            wanted = _normal(scale) if self._kind.normal else self._windows[horizon].tail(scale)
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
        if self._kind.decay is None:
            return self._prior_sd
        return blend_with_prior(math.sqrt(self._variance.value), self._prior_sd, self._warmth.value)


def _normal(scale: float) -> Tail:
    quantiles = tuple(scale * quantile for quantile in NORMAL.quantiles)
    return Tail(quantiles, es_lower=scale * NORMAL.es_lower, es_upper=scale * NORMAL.es_upper)


def _half_life(decay: float, bar_seconds: int) -> float:
    """Return the half-life in bars."""
    usual = 1.0 if bar_seconds == DAY else DAY / bar_seconds * math.log(INTRADAY_DECAY) / math.log(0.5)
    return usual * math.log(0.5) / math.log(decay)


class ImpliedVolTails:
    """Quantiles of the log-change of implied volatility; silent until a stream carries one."""

    def __init__(self, bar_seconds: int) -> None:
        self._steps = Steps(bar_seconds)
        self._tails = FilteredTails(whole_bar_horizons(IV_HORIZONS, bar_seconds), bar_seconds, PRIOR_DAILY_IV_SD)
        self._newest: dict[int, tuple[float, ...]] | None = None

    def update(self, bar: Bar) -> dict[int, tuple[float, ...]] | None:
        """Take the bar's implied volatility if it has one; None before the first."""
        if bar.iv is not None:
            step = self._steps.take(bar_of_implied(bar, bar.iv))
            tails = self._tails.update(step)
            self._newest = {horizon: tail.quantiles for horizon, tail in tails.items()}
        return self._newest


class _Stream:
    """One asset's baseline forecast."""

    def __init__(self, kind: Filter, bar_seconds: int) -> None:
        self._steps = Steps(bar_seconds)
        horizons = whole_bar_horizons(HORIZONS, bar_seconds)
        self._tails = FilteredTails(horizons, bar_seconds, PRIOR_DAILY_SD, kind)
        self._implied = ImpliedVolTails(bar_seconds)
        self._margin = PublishedMargin(bar_seconds)

    @property
    def bar_seconds(self) -> int:
        """Length of the stream's bars."""
        return self._steps.bar_seconds

    def update(self, bar: Bar) -> Forecast:
        step = self._steps.take(bar)
        tails = self._tails.update(step)
        published = self._margin.update(step, tails[DAY], warm=self._tails.warm)
        return Forecast(bar.asset, bar.start, tails, self._implied.update(bar), published)


class FilteredForecaster(StreamForecaster):
    """One of FILTERS."""

    def __init__(self, kind: Filter) -> None:
        super().__init__(kind.name, partial(_Stream, kind))


class HistoricalSimulation(FilteredForecaster):
    """Empirical quantiles of the newest 500 daily (2,160 h of intraday) returns, unfiltered."""

    def __init__(self) -> None:
        super().__init__(HISTORICAL_SIMULATION)


class EwmaFhs(FilteredForecaster):
    """EWMA-filtered historical simulation (Barone-Adesi et al. 1999).

    Lambda is .97 on daily bars; the half-life is one day on intraday bars.
    """

    def __init__(self) -> None:
        super().__init__(EWMA_FHS)
