"""State what a risk model answers: quantiles and expected shortfall of log-returns, bar by bar."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from models.market import Bar

TAUS = (0.001, 0.005, 0.01, 0.99, 0.995, 0.999)
"""Quantile levels of every forecast, ascending."""

DAY = 86_400


@dataclass(frozen=True, slots=True)
class Tail:
    """Quantiles at `TAUS` and expected shortfall at .01 and .99 of one horizon's log-return."""

    quantiles: tuple[float, ...]
    es_lower: float
    es_upper: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """A model's answer at the close of one bar. Keys of the mappings are horizons in seconds.

    `iv_horizons` holds the quantiles (at `TAUS`) of the log-change of implied volatility, None without a vol series.
    `published` is the limited, anti-procyclical pair (lower 1 %, upper 99 %) of the daily log-return. `vol_rise` is the
    steadier 99 % daily log-change of implied volatility that proposals are built from; None where it is that of
    `iv_horizons`.
    """

    asset: str
    ts: int
    horizons: Mapping[int, Tail]
    iv_horizons: Mapping[int, tuple[float, ...]] | None
    published: tuple[float, float]
    vol_rise: float | None = None


class Forecaster(Protocol):
    """A streaming risk model. Strictly causal: an answer depends on the bars given so far and nothing else."""

    @property
    def model_id(self) -> str:
        """Content address of the artefact, or the baseline's name."""
        ...

    def reset(self, asset: str, bar_seconds: int) -> None:
        """Forget `asset` and start a new stream of bars of `bar_seconds`."""
        ...

    def update(self, bar: Bar) -> Forecast:
        """Take one closed bar and forecast from its close. Raises ValueError on a bar the stream cannot take."""
        ...
