"""Replay a recording through a forecaster and keep what was said beside what happened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from models.forecaster import DAY
from models.steps import HORIZONS, Pending, Steps, whole_bar_horizons

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from models.forecaster import Forecaster
    from models.recording import Recording

    Array = npt.NDArray[np.float64]

WARM_UP_SECONDS = 400 * DAY
"""A replay starts this long before what it scores; daily streams start at their beginning."""

EVERY = 2_000
"""Bars between two reports of progress."""

Said = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Outcomes:
    """One horizon's forecasts that fell due, in time order.

    `ends` (n) are Unix seconds at the end of the horizon, `realised` (n) log-returns, `quantiles` (n, levels),
    `es` (n, 2) lower and upper, `published` (n, 2) the published pair at the time of the forecast.
    """

    ends: npt.NDArray[np.int64]
    realised: Array
    quantiles: Array
    es: Array
    published: Array

    def where(self, chosen: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> Outcomes:
        """Return the rows that a mask or their numbers choose."""
        return Outcomes(
            self.ends[chosen],
            self.realised[chosen],
            self.quantiles[chosen],
            self.es[chosen],
            self.published[chosen],
        )


def replay(
    forecaster: Forecaster,
    recording: Recording,
    *,
    since: int,
    until: int | None = None,
    on_bars: Callable[[int, int], None] | None = None,
) -> dict[int, Outcomes]:
    """Return by horizon the forecasts made from `since` up to `until` (Unix seconds) that fell due.

    Forecasts of a day on intraday bars are kept where their window closes at 00:00 UTC, so that they do not overlap.
    Resets the forecaster's stream of the recording's asset. `on_bars` hears (bars done, bars in all).
    """
    seconds = recording.bar_seconds
    bars = [bar for bar in recording.bars if until is None or bar.end <= until]
    if seconds != DAY:
        bars = [bar for bar in bars if bar.start >= since - WARM_UP_SECONDS]
    steps = Steps(seconds)
    horizons = whole_bar_horizons(HORIZONS, seconds)
    pending: dict[int, Pending[Said]] = {horizon: Pending(horizon, seconds) for horizon in horizons}
    found: dict[int, list[Said]] = {horizon: [] for horizon in horizons}
    forecaster.reset(recording.asset, seconds)
    for done, bar in enumerate(bars, start=1):
        step = steps.take(bar)
        forecast = forecaster.update(bar)
        for horizon in horizons:
            due = pending[horizon].due(step)
            if due is not None and (horizon != DAY or step.end % DAY == 0):
                found[horizon].append((step.end, due[0], *due[1]))
            if step.end >= since:
                tail = forecast.horizons[horizon]
                pending[horizon].push(step, (*tail.quantiles, tail.es_lower, tail.es_upper, *forecast.published))
        if on_bars is not None and done % EVERY == 0:
            on_bars(done, len(bars))
    return {horizon: _outcomes(rows) for horizon, rows in found.items()}


def _outcomes(rows: list[Said]) -> Outcomes:
    table = np.array(rows, dtype=float).reshape(len(rows), 12)
    return Outcomes(table[:, 0].astype(np.int64), table[:, 1], table[:, 2:8], table[:, 8:10], table[:, 10:12])


def joined(parts: Sequence[Outcomes]) -> Outcomes:
    """Return the outcomes of consecutive replays as one."""
    return Outcomes(
        np.concatenate([part.ends for part in parts]),
        np.concatenate([part.realised for part in parts]),
        np.concatenate([part.quantiles for part in parts]),
        np.concatenate([part.es for part in parts]),
        np.concatenate([part.published for part in parts]),
    )
