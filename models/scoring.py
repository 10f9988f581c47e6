"""Score a forecaster on a recording: pinball loss and breaches at every level of every horizon."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from models.forecaster import TAUS
from models.steps import HORIZONS, Pending, Steps, whole_bar_horizons

if TYPE_CHECKING:
    from models.forecaster import Forecaster
    from models.recording import Recording

SCORED = (1, 2, 3, 4)
"""Places in TAUS of the levels that count in a comparison: .005, .01, .99, .995."""


def pinball(realised: float, quantile: float, tau: float) -> float:
    """Return the quantile loss (tau - 1{r<q})(r - q)."""
    return (tau - (realised < quantile)) * (realised - quantile)


@dataclass(slots=True)
class Scores:
    """What one horizon's forecasts were worth, in time order; rows are at TAUS."""

    ends: list[int] = field(default_factory=list)
    losses: list[tuple[float, ...]] = field(default_factory=list)
    breaches: list[tuple[bool, ...]] = field(default_factory=list)

    def add(self, end: int, realised: float, quantiles: tuple[float, ...]) -> None:
        """Score the forecast that fell due at `end` (Unix seconds)."""
        levels = list(zip(TAUS, quantiles, strict=True))
        self.ends.append(end)
        self.losses.append(tuple(pinball(realised, quantile, tau) for tau, quantile in levels))
        self.breaches.append(
            tuple(realised < quantile if tau < 0.5 else realised > quantile for tau, quantile in levels)
        )

    def mean_loss(self) -> float:
        """Return the mean pinball loss over the SCORED levels. Raises ValueError without any score."""
        if not self.losses:
            raise ValueError("no forecast fell due in the scored part")
        return sum(row[place] for row in self.losses for place in SCORED) / (len(self.losses) * len(SCORED))

    def breach_rates(self) -> tuple[float, ...]:
        """Return the share of breaches at each of TAUS. Raises ValueError without any score."""
        if not self.breaches:
            raise ValueError("no forecast fell due in the scored part")
        return tuple(sum(column) / len(self.breaches) for column in zip(*self.breaches, strict=True))


def score(forecaster: Forecaster, recording: Recording, *, since: int) -> dict[int, Scores]:
    """Replay the recording from its start and score what is forecast at or after `since` (Unix seconds).

    Resets the forecaster's stream of the recording's asset.
    """
    seconds = recording.bar_seconds
    steps = Steps(seconds)
    horizons = whole_bar_horizons(HORIZONS, seconds)
    pending: dict[int, Pending[tuple[float, ...]]] = {h: Pending(h, seconds) for h in horizons}
    scores = {horizon: Scores() for horizon in horizons}
    forecaster.reset(recording.asset, seconds)
    for bar in recording.bars:
        step = steps.take(bar)
        forecast = forecaster.update(bar)
        for horizon in horizons:
            due = pending[horizon].due(step)
            if due is not None:
                scores[horizon].add(step.end, *due)
            if step.end >= since:
                pending[horizon].push(step, forecast.horizons[horizon].quantiles)
    return scores
