"""Forecast by the geometric mean of learned members, calibrated online and limited."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from models.baselines import ImpliedVolTails
from models.calibration import ConformalTail
from models.forecaster import DAY, Forecast, Tail
from models.implied import bar_of_implied
from models.inputs import Inputs
from models.limiter import LOWER, UPPER, PublishedMargin, bound_step
from models.members import choose_members, geometric_mean
from models.reversion import Reversion
from models.steps import HORIZONS, IV_HORIZONS, Pending, Steps, whole_bar_horizons
from models.streams import StreamForecaster

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.market import Bar
    from models.members import Member
    from models.steps import Step


SHORT_HORIZON_CARE = 0.45
"""Of the slow calibration step below a day, where independent observations are many and a large step only adds noise:
at 1 h it was worth 0.3 % of pinball loss."""


class _Horizon:
    """One horizon of one stream: its slow mean, its calibration and what it said."""

    def __init__(self, horizon: int, bar_seconds: int) -> None:
        self.pending: Pending[Tail] = Pending(horizon, bar_seconds)
        self.conformal = ConformalTail(horizon / bar_seconds, 1.0 if horizon == DAY else SHORT_HORIZON_CARE)
        self.reversion = Reversion(bar_seconds)
        self.said: Tail | None = None


class _Tails:
    """The tails of one log-level's changes by the members."""

    def __init__(self, members: Sequence[Member], horizons: Sequence[int], bar_seconds: int) -> None:
        self._members = {horizon: choose_members(members, bar_seconds, horizon) for horizon in horizons}
        self._steps = Steps(bar_seconds)
        self._inputs = Inputs(bar_seconds)
        self._horizons = {horizon: _Horizon(horizon, bar_seconds) for horizon in horizons}

    @property
    def bar_seconds(self) -> int:
        """Length of the bars."""
        return self._steps.bar_seconds

    @property
    def warm(self) -> bool:
        """Whether the prior scale no longer counts."""
        return self._inputs.features.warm

    def update(self, bar: Bar) -> tuple[Step, dict[int, Tail]]:
        """Take one bar; return it as a step, and the tail of each horizon from its close."""
        step = self._steps.take(bar)
        features = self._inputs.features
        self._learn(step, warm=features.warm)
        shock = features.shock(step)
        self._inputs.update(step, bar)
        tails = {}
        for horizon, state in self._horizons.items():
            tails[horizon] = state.said = bound_step(state.said, self._tail(horizon, step.end), shock)
            state.pending.push(step, state.said)
        return step, tails

    def _learn(self, step: Step, *, warm: bool) -> None:
        for state in self._horizons.values():
            due = state.pending.due(step)
            if due is not None and warm and due[0] != 0.0:
                state.conformal.learn(*due)

    def _tail(self, horizon: int, end: int) -> Tail:
        features = self._inputs.features
        vector = self._inputs.vector(horizon, end)
        chosen = self._members[horizon]
        said = geometric_mean(
            [member.tail(vector, served, trust * features.warmth) for member, served, trust in chosen],
            [member.weight for member, _, _ in chosen],
        )
        scale = features.base_sd(horizon, end)
        if features.warm:
            scale *= self._horizons[horizon].reversion.factor(-said.quantiles[LOWER] * features.bar_sd)
        return self._horizons[horizon].conformal.widen(said.quantiles, said.es_lower, said.es_upper, scale)


class _LearnedImplied:
    """Quantiles of the log-change of implied volatility; silent until a stream carries one."""

    def __init__(self, members: Sequence[Member], bar_seconds: int) -> None:
        self._tails = _Tails(members, whole_bar_horizons(IV_HORIZONS, bar_seconds), bar_seconds)
        self._newest: dict[int, tuple[float, ...]] | None = None

    def update(self, bar: Bar) -> dict[int, tuple[float, ...]] | None:
        """Take the bar's implied volatility if it has one; None before the first."""
        if bar.iv is not None:
            _, tails = self._tails.update(bar_of_implied(bar, bar.iv))
            self._newest = {horizon: tail.quantiles for horizon, tail in tails.items()}
        return self._newest


class _Stream:
    """One asset's forecast by the ensemble."""

    def __init__(self, members: Sequence[Member], implied: Sequence[Member], bar_seconds: int) -> None:
        self._tails = _Tails(members, whole_bar_horizons(HORIZONS, bar_seconds), bar_seconds)
        # What was learned of volatility's days says nothing of its hours.
        known = [member for member in implied if member.daily_bars == (bar_seconds == DAY)]
        self._implied = _LearnedImplied(known, bar_seconds) if known else None
        # What is learned follows a single day's rise of the index: a forecast, but no ground to move margins on.
        self._steady = ImpliedVolTails(bar_seconds)
        self._margin = PublishedMargin(bar_seconds)

    @property
    def bar_seconds(self) -> int:
        """Length of the stream's bars."""
        return self._tails.bar_seconds

    def update(self, bar: Bar) -> Forecast:
        step, tails = self._tails.update(bar)
        published = self._margin.update(step, tails[DAY], warm=self._tails.warm)
        steady = self._steady.update(bar)
        implied = steady if self._implied is None else self._implied.update(bar)
        vol_rise = None if steady is None else steady[DAY][UPPER]
        return Forecast(bar.asset, bar.start, tails, implied, published, vol_rise)


class EnsembleForecaster(StreamForecaster):
    """The learned model: network, boosted trees and log-linear scale together. Streams are independent.

    `implied` are members for the log-changes of implied volatility; streams of bars that none of them was trained on
    forecast those by filtered historical simulation.
    """

    def __init__(self, model_id: str, members: Sequence[Member], implied: Sequence[Member] = ()) -> None:
        if not members:
            raise ValueError("an ensemble needs at least one member")
        super().__init__(model_id, partial(_Stream, tuple(members), tuple(implied)))
