"""Pack what a market's model has learned, so that a restarted keeper forecasts bit for bit as if it had not stopped."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.snapshot import Restorable, StateError, put_back, state_of

if TYPE_CHECKING:
    from models.forecaster import Forecast, Forecaster


@dataclass(frozen=True, slots=True)
class StateKept:
    """The journal's word for a saved state: what it was learned from, and the SHA-256 of what stands in the database.

    `warmup` is the recording the model was fed before its first live bar, `bars` how many bars it has had, `bars_end`
    the end of the last, Unix seconds.
    """

    market: str
    model_id: str
    bar_seconds: int
    warmup: str
    bars: int
    bars_end: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Learned:
    """What is packed beside the streams: the newest forecast, and the bars it was made from."""

    forecast: Forecast
    bars: int
    bars_end: int


def pack(
    forecaster: Forecaster, market: str, learned: Learned, bar_seconds: int, warmup: str
) -> tuple[StateKept, bytes]:
    """Return a market's state and its word. Raises TypeError for a forecaster whose streams cannot be saved."""
    if not isinstance(forecaster, Restorable):
        raise TypeError(f"{forecaster.model_id}: its streams cannot be saved")
    more = {"forecast": learned.forecast, "bars": learned.bars, "bars_end": learned.bars_end}
    content = state_of(forecaster, [market], more).encode()
    digest = hashlib.sha256(content).hexdigest()
    return (
        StateKept(market, forecaster.model_id, bar_seconds, warmup, learned.bars, learned.bars_end, digest),
        content,
    )


def unpack(forecaster: Forecaster, kept: StateKept, content: bytes | None, bar_seconds: int, warmup: str) -> Learned:
    """Put a market's stream where it was and return what was kept beside it.

    Raises StateError with the rule that is broken; the market's stream is new then, or as it was.
    """
    name = f"state of {kept.market} after {kept.bars} bars"
    if content is None:
        raise StateError(f"{name}: is not in the database")
    if hashlib.sha256(content).hexdigest() != kept.sha256:
        raise StateError(f"{name}: is not the one that was journalled: corrupt or foreign")
    if kept.bar_seconds != bar_seconds:
        raise StateError(f"{name}: is of bars of {kept.bar_seconds} s, model.bar_seconds is {bar_seconds}")
    if kept.warmup != warmup:
        raise StateError(f"{name}: was warmed up with {kept.warmup!r}, model.warmup is {warmup!r}")
    if not isinstance(forecaster, Restorable):
        raise StateError(f"{name}: saved by model {kept.model_id}; the streams of {forecaster.model_id} are not saved")
    more = put_back(forecaster, content, name)
    return Learned(more["forecast"], more["bars"], more["bars_end"])
