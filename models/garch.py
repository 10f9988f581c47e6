"""Forecast by GARCH models refitted online: the baselines that risk desks use, and the reference to beat."""

from __future__ import annotations

import importlib
import math
import warnings
from collections import deque
from dataclasses import dataclass
from functools import lru_cache, partial
from statistics import fmean
from typing import TYPE_CHECKING, Any

from models.baselines import ImpliedVolTails
from models.empirical import ResidualWindow
from models.forecaster import DAY, TAUS, Forecast, Tail
from models.limiter import LOWER, PublishedMargin, bound_step
from models.scale import PRIOR_DAILY_SD, SMALLEST_SD, Warmth, blend_with_prior
from models.steps import HORIZONS, Pending, Steps, whole_bar_horizons
from models.streams import StreamForecaster

if TYPE_CHECKING:
    from models.market import Bar
    from models.steps import Step

DAILY_WINDOW = 2_000
INTRADAY_WINDOW = 4_320
"""Returns a fit sees."""

SMALLEST_WINDOW = 250
DAILY_REFIT = 20
INTRADAY_REFIT = 168
"""Returns between two fits."""

DAILY_RESIDUALS = 500
INTRADAY_RESIDUALS = 2_160
SMALLEST_SHARE = 0.2
SMALLEST_FREEDOM = 2.1
UNIT = 100.0
"""Returns are fitted in units of their sd over this, where the optimiser works best."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A member of the family: with the leverage term (GJR) or without; Student-t tails or filtered residuals."""

    name: str
    leverage: bool
    student: bool


GARCH_KINDS = (
    Kind("garch-t", leverage=False, student=True),
    Kind("gjr-t", leverage=True, student=True),
    Kind("garch-fhs", leverage=False, student=False),
    Kind("gjr-fhs", leverage=True, student=False),
)


@dataclass(frozen=True, slots=True)
class Fitted:
    """Variance recursion omega + (alpha + gamma 1{r<0}) r^2 + beta v, and the Student-t's degrees of freedom."""

    omega: float
    alpha: float
    gamma: float
    beta: float
    freedom: float

    def next_variance(self, variance: float, log_return: float) -> float:
        """Return the variance of the next return."""
        news = self.alpha + (self.gamma if log_return < 0 else 0.0)
        return max(self.omega + news * log_return * log_return + self.beta * variance, SMALLEST_SD**2)

    def mean_variance(self, variance: float, bars: int) -> float:
        """Return the mean variance a bar over the next `bars`."""
        persistence = min(self.alpha + 0.5 * self.gamma + self.beta, 0.9999)
        level = self.omega / (1.0 - persistence)
        return level + (variance - level) * (1.0 - persistence**bars) / (bars * (1.0 - persistence))


RISKMETRICS = Fitted(0.0, 0.06, 0.0, 0.94, 4.0)
"""Used until there is enough to fit on (RiskMetrics 1996)."""


def fit(kind: Kind, returns: list[float]) -> Fitted | None:
    """Return the maximum-likelihood fit with zero mean, None where the optimiser finds none."""
    sd = math.sqrt(fmean(value * value for value in returns))
    if sd < SMALLEST_SD:
        return None
    # `arch` takes a second to import and is needed by these baselines only.
    arch: Any = importlib.import_module("arch.univariate")
    numpy: Any = importlib.import_module("numpy")
    model = arch.ZeroMean(
        numpy.array(returns) / sd * UNIT,
        volatility=arch.GARCH(p=1, o=int(kind.leverage), q=1),
        distribution=arch.StudentsT() if kind.student else arch.Normal(),
        rescale=False,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = model.fit(disp="off", show_warning=False).params
    fitted = Fitted(
        omega=float(found["omega"]) * (sd / UNIT) ** 2,
        alpha=float(found["alpha[1]"]),
        gamma=float(found.get("gamma[1]", 0.0)),
        beta=float(found["beta[1]"]),
        freedom=max(float(found.get("nu", 4.0)), SMALLEST_FREEDOM),
    )
    figures = (fitted.omega, fitted.alpha, fitted.gamma, fitted.beta, fitted.freedom)
    return fitted if all(map(math.isfinite, figures)) else None


@lru_cache(maxsize=1_000)
def student_tail(freedom: float) -> Tail:
    """Return the tail of a Student-t of unit variance (McNeil, Frey and Embrechts 2015, 2.2.4)."""
    special: Any = importlib.import_module("scipy.special")
    unit = math.sqrt((freedom - 2.0) / freedom)
    quantiles = tuple(float(special.stdtrit(freedom, tau)) for tau in TAUS)
    edge = quantiles[LOWER]
    log_density = (
        math.lgamma((freedom + 1.0) / 2.0)
        - math.lgamma(freedom / 2.0)
        - 0.5 * math.log(freedom * math.pi)
        - (freedom + 1.0) / 2.0 * math.log1p(edge * edge / freedom)
    )
    shortfall = math.exp(log_density) / TAUS[LOWER] * (freedom + edge * edge) / (freedom - 1.0) * unit
    return Tail(tuple(quantile * unit for quantile in quantiles), es_lower=-shortfall, es_upper=shortfall)


class _Level:
    """GARCH on one frequency of returns: bars, or days of a stream of bars."""

    def __init__(self, kind: Kind, seconds: int) -> None:
        daily = seconds == DAY
        self._kind = kind
        self._returns: deque[float] = deque(maxlen=DAILY_WINDOW if daily else INTRADAY_WINDOW)
        self._refit = DAILY_REFIT if daily else INTRADAY_REFIT
        self._until_fit = SMALLEST_WINDOW
        self._prior_sd = PRIOR_DAILY_SD * math.sqrt(seconds / DAY)
        self._variance = self._prior_sd**2
        self.warmth = Warmth(seconds)
        self.fitted = RISKMETRICS

    def add(self, log_return: float) -> None:
        """Take one return; fit again when enough have come since the last time."""
        if not self._returns:
            self._variance = max(log_return * log_return, SMALLEST_SD**2)
        self._variance = self.fitted.next_variance(self._variance, log_return)
        self._returns.append(log_return)
        self.warmth.add()
        self._until_fit -= 1
        if self._until_fit <= 0:
            self._until_fit = self._refit
            self._fit()

    def _fit(self) -> None:
        returns = list(self._returns)
        fitted = fit(self._kind, returns)
        if fitted is None:
            return
        self.fitted = fitted
        self._variance = fmean(value * value for value in returns)
        for value in returns:
            self._variance = fitted.next_variance(self._variance, value)

    def sd(self, bars: int) -> float:
        """Return the sd of the return over the next `bars`."""
        measured = math.sqrt(self.fitted.mean_variance(self._variance, bars))
        return blend_with_prior(measured, self._prior_sd, self.warmth.value) * math.sqrt(bars)


class _Horizon:
    """One horizon: the level it is forecast from, its residuals, and what it said."""

    def __init__(self, level: _Level, horizon: int, bars: int, bar_seconds: int, residuals: int) -> None:
        self.level = level
        self.bars = bars
        self.window = ResidualWindow(residuals, SMALLEST_SHARE)
        self.pending: Pending[float] = Pending(horizon, bar_seconds)
        self.said: Tail | None = None


class _Stream:
    """One asset's forecast by one kind of GARCH."""

    def __init__(self, kind: Kind, bar_seconds: int) -> None:
        self._kind = kind
        self._steps = Steps(bar_seconds)
        self._bars = _Level(kind, bar_seconds)
        self._days = self._bars if bar_seconds == DAY else _Level(kind, DAY)
        self._day_close: float | None = None
        self._implied = ImpliedVolTails(bar_seconds)
        self._margin = PublishedMargin(bar_seconds)
        self._horizons = {
            horizon: _Horizon(
                self._days if horizon == DAY else self._bars,
                horizon,
                1 if horizon == DAY else horizon // bar_seconds,
                bar_seconds,
                DAILY_RESIDUALS if horizon == DAY else INTRADAY_RESIDUALS * 3_600 // bar_seconds,
            )
            for horizon in whole_bar_horizons(HORIZONS, bar_seconds)
        }

    @property
    def bar_seconds(self) -> int:
        """Length of the stream's bars."""
        return self._steps.bar_seconds

    def update(self, bar: Bar) -> Forecast:
        step = self._steps.take(bar)
        daily, midnight = bar.seconds == DAY, step.end % DAY == 0
        shock = abs(step.log_return) / max(self._bars.sd(1), SMALLEST_SD)
        for horizon, state in self._horizons.items():
            due = state.pending.due(step)
            # Days of a stream of bars are those that close at midnight, so that residuals do not overlap.
            counted = daily or horizon < DAY or midnight
            if due is not None and counted and state.level.warmth.complete and due[0] != 0.0:
                state.window.add(due[0] / due[1])
        self._learn(step, daily=daily, midnight=midnight)
        tails = {}
        for horizon, state in self._horizons.items():
            scale = state.level.sd(state.bars)
            tails[horizon] = state.said = bound_step(state.said, self._tail(state, scale), shock)
            state.pending.push(step, scale)
        warm = self._days.warmth.complete
        published = self._margin.update(step, tails[DAY], warm=warm)
        return Forecast(bar.asset, bar.start, tails, self._implied.update(bar), published)

    def _learn(self, step: Step, *, daily: bool, midnight: bool) -> None:
        if step.moved:
            self._bars.add(step.log_return / math.sqrt(step.elapsed))
        if daily or not midnight:
            return
        if self._day_close is not None and step.log_close != self._day_close:
            self._days.add(step.log_close - self._day_close)
        self._day_close = step.log_close

    def _tail(self, state: _Horizon, scale: float) -> Tail:
        if not self._kind.student:
            return state.window.tail(scale)
        shape = student_tail(state.level.fitted.freedom)
        quantiles = tuple(scale * quantile for quantile in shape.quantiles)
        return Tail(quantiles, es_lower=scale * shape.es_lower, es_upper=scale * shape.es_upper)


class GarchForecaster(StreamForecaster):
    """One of GARCH-t, GJR-t, GARCH-FHS and GJR-FHS (Glosten et al. 1993; Barone-Adesi et al. 1999).

    Bars give the horizons below a day, days (closing at 00:00 UTC on intraday streams) give the day.
    """

    def __init__(self, kind: Kind) -> None:
        super().__init__(kind.name, partial(_Stream, kind))
