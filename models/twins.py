"""Make a recording's twin: the same market in another unit, upside down, or at another time."""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from models.market import Bar
    from models.recording import Recording


def twin(recording: Recording, *, scale: float, mirrored: bool, shift_seconds: int) -> Recording:
    """Return the recording with log prices times `scale` (and -1 if `mirrored`) and every bar shifted in time.

    Log prices count from the first open, which stays. Raises ValueError unless the shift is a whole number of bars.
    """
    if scale <= 0 or shift_seconds % recording.bar_seconds:
        raise ValueError("scale must be above 0 and shift_seconds a whole number of bars")
    first = recording.bars[0].open
    factor = -scale if mirrored else scale
    name = f"{recording.asset}-twin"

    def moved(price: float) -> float:
        return first * math.exp(factor * math.log(price / first))

    def bar(original: Bar) -> Bar:
        low, high = sorted((moved(original.low), moved(original.high)))
        opened, close = moved(original.open), moved(original.close)
        return replace(
            original,
            asset=name,
            start=original.start + shift_seconds,
            open=opened,
            # Rounding may put an edge a last bit inside the body.
            high=max(high, opened, close),
            low=min(low, opened, close),
            close=close,
        )

    told = f"{recording.digest} {scale!r} {mirrored} {shift_seconds}"
    return replace(
        recording,
        asset=name,
        bars=tuple(bar(original) for original in recording.bars),
        digest=hashlib.sha256(told.encode()).hexdigest(),
    )
