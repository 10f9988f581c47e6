"""Turn recorded bars into what a live keeper would have been told, and when. Strictly causal."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from config.errors import KnownFault
from models.forecaster import DAY
from models.market import Bar
from models.steps import LONGEST_HOLIDAY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.recording import Recording

YEAR = 365 * DAY
STAND_IN_HALF_LIFE = 10 * DAY
STAND_IN_FLOOR = 0.05
STAND_IN_START = 0.5
"""Annualised volatility that the stand-in begins with, until bars have told otherwise."""


class BacktestError(KnownFault):
    """A backtest cannot be made from these inputs; the message names the recording and the rule."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Missing bars of a recording: from the end of the last bar before to the start of the next, Unix seconds."""

    start: int
    end: int


def gaps_of(recording: Recording) -> tuple[Gap, ...]:
    """Return the gaps of a recording; on daily bars weekends and holidays are none."""
    seconds = recording.bar_seconds
    longest = LONGEST_HOLIDAY * DAY if seconds == DAY else seconds
    pairs = zip(recording.bars, recording.bars[1:], strict=False)
    return tuple(Gap(a.end, b.start) for a, b in pairs if b.start - a.start > longest)


def refuse_long_gaps(recording: Recording, limit: int) -> None:
    """Raise BacktestError on a gap of more than `limit` seconds: what follows would not be the same market."""
    for gap in gaps_of(recording):
        if gap.end - gap.start > limit:
            row = next(row for row, bar in enumerate(recording.bars) if bar.start == gap.end)
            raise BacktestError(
                f"{recording.asset}: row {row}: {(gap.end - gap.start) / DAY:.1f} days without a bar before it, "
                f"at most {limit / DAY:g} (--max-gap-days): the run would be invalid"
            )


@dataclass(slots=True)
class StandInVol:
    """In place of a recorded implied volatility: the EWMA of squared log-returns, annualised (decimal)."""

    variance: float = STAND_IN_START**2
    _close: float | None = None
    _end: int = 0

    def update(self, bar: Bar) -> float:
        """Take one bar and return the volatility at its close."""
        if self._close is not None:
            elapsed = bar.end - self._end
            weight = -math.expm1(-math.log(2.0) * bar.seconds / STAND_IN_HALF_LIFE)
            self.variance += weight * (math.log(bar.close / self._close) ** 2 * YEAR / elapsed - self.variance)
        self._close, self._end = bar.close, bar.end
        return max(math.sqrt(self.variance), STAND_IN_FLOOR)


@dataclass(slots=True)
class Merger:
    """Builds the model's bars, of `seconds`, from recorded bars that are no longer."""

    seconds: int
    _open: Bar | None = field(default=None)

    def add(self, bar: Bar) -> list[Bar]:
        """Take one recorded bar and return the bars that it completes, oldest first."""
        if bar.seconds == self.seconds:
            return [bar]
        start = bar.start - bar.start % self.seconds
        closed = []
        if self._open is not None and self._open.start != start:
            closed.append(self._open)
            self._open = None
        self._open = _joined(self._open, bar, start, self.seconds)
        if bar.end >= self._open.end:
            closed.append(self._open)
            self._open = None
        return closed


def _joined(built: Bar | None, bar: Bar, start: int, seconds: int) -> Bar:
    if built is None:
        return replace(bar, start=start, seconds=seconds)
    volume = None if built.volume is None or bar.volume is None else built.volume + bar.volume
    high, low = max(built.high, bar.high), min(built.low, bar.low)
    iv = built.iv if bar.iv is None else bar.iv
    return Bar(bar.asset, start, seconds, built.open, high, low, bar.close, volume, iv)


def first_tick(recording: Recording, model_seconds: int, min_bars: int, *, since: int, recorded_vol: bool) -> int:
    """Return when deciding begins, Unix seconds: not before `since`, with enough bars and, if recorded, a volatility.

    Everything before warms the model up. Raises BacktestError when nothing is left.
    """
    if recording.bar_seconds > model_seconds:
        raise BacktestError(
            f"{recording.asset}: bars of {recording.bar_seconds} s, model.bar_seconds is {model_seconds}: "
            "a recording may be finer than the model's bars, not coarser"
        )
    buckets: set[int] = set()
    for bar in recording.bars:
        buckets.add(bar.start // model_seconds)
        if bar.end >= since and len(buckets) > min_bars and not (recorded_vol and bar.iv is None):
            return bar.end
    if len(buckets) <= min_bars:
        raise BacktestError(
            f"{recording.asset}: {len(buckets)} bars of {model_seconds} s: "
            f"model.min_bars = {min_bars} and one more are needed"
        )
    raise BacktestError(
        f"{recording.asset}: has no bar to decide on: they end before --start, or have no volatility after it"
    )


def clip(bars: Sequence[Bar], until: int | None) -> tuple[Bar, ...]:
    """Return the bars that had closed by `until`, Unix seconds; all for None."""
    return tuple(bar for bar in bars if until is None or bar.end <= until)
