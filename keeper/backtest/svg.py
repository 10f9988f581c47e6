"""Draw time series as inline SVG, small enough to stand many to a page; text stays text."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from models.forecaster import DAY

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

    from keeper.backtest.feed import Gap

    Array = npt.NDArray[np.float64]
    Times = npt.NDArray[np.int64]

WIDTH, HEIGHT = 960, 190
MARK_SPACING = 4
"""Columns that a mark with a text takes: texts are the larger part of a page."""

LEFT, RIGHT, TOP, BOTTOM = 64, 64, 26, 22
YEAR_MARKS, MONTH_MARKS = 3 * 365 * DAY, 120 * DAY
"""Spans from which on the time axis is marked in years, and in months."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line: `step` holds a value until the next, `right` reads on the right axis. `colour` is an index of ten."""

    label: str
    times: Times
    values: Array
    colour: int
    step: bool = False
    right: bool = False
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Marks:
    """Points, each with an optional stem to `base` and a text that a pointer shows."""

    label: str
    times: Times
    values: Array
    colour: int
    texts: Sequence[str] = ()
    base: float | None = None


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart over a span of Unix seconds. `columns` is how finely lines are drawn: extremes of each are kept."""

    title: str
    unit: str
    start: int
    end: int
    lines: Sequence[Line]
    marks: Sequence[Marks] = ()
    gaps: Sequence[Gap] = ()
    verticals: Sequence[tuple[int, str]] = ()
    right_unit: str = ""
    log: bool = False
    columns: int = 480

    def svg(self) -> str:
        """Return the chart as an <svg> element."""
        left = _Axis.over(
            [*(line.values for line in self.lines if not line.right), *(m.values for m in self.marks)], self.log
        )
        right_values = [line.values for line in self.lines if line.right]
        right = _Axis.over(right_values, log=False) if right_values else None
        parts = [
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(self.title)}">',
            *self._gaps(),
            *left.ticks(LEFT, self.unit, "end"),
            *(right.ticks(WIDTH - RIGHT, self.right_unit, "start", grid=False) if right else ()),
            *self._times(),
            *self._verticals(),
            *(self._line(line, right if line.right and right else left) for line in self.lines),
            *(self._points(mark, left) for mark in self.marks),
            *self._legend(),
            "</svg>",
        ]
        return "".join(parts)

    def _x(self, at: float) -> float:
        inside = min(max((at - self.start) / max(self.end - self.start, 1), 0.0), 1.0)
        return LEFT + inside * (WIDTH - LEFT - RIGHT)

    def _gaps(self) -> Iterable[str]:
        for gap in self.gaps:
            if gap.end > self.start and gap.start < self.end:
                x, until = self._x(gap.start), self._x(gap.end)
                days = (gap.end - gap.start) / DAY
                yield (
                    f'<rect class="gap" x="{x:.1f}" y="{TOP}" width="{max(until - x, 1.5):.1f}" '
                    f'height="{HEIGHT - TOP - BOTTOM}">'
                    f"<title>no data for {days:.1f} days from {_day(gap.start)}</title></rect>"
                )

    def _times(self) -> Iterable[str]:
        for at, text in _time_ticks(self.start, self.end):
            x = self._x(at)
            yield f'<path class="grid" d="M{x:.1f},{TOP}V{HEIGHT - BOTTOM}"/>'
            yield f'<text x="{x:.1f}" y="{HEIGHT - 7}" text-anchor="middle">{text}</text>'

    def _verticals(self) -> Iterable[str]:
        columns: dict[int, list[str]] = {}
        width = max(WIDTH // self.columns, 1) * MARK_SPACING
        for at, text in self.verticals:
            columns.setdefault(round(self._x(at) / width) * width, []).append(text)
        for x, texts in columns.items():
            shown = texts[0] if len(texts) == 1 else f"{len(texts)} changes, the first: {texts[0]}"
            yield f'<path class="change" d="M{x},{TOP}V{HEIGHT - BOTTOM}"><title>{escape(shown)}</title></path>'

    def _line(self, line: Line, axis: _Axis) -> str:
        path, pen, last_y = [], "M", ""
        times, values = _changes(line.times, line.values) if line.step else (line.times, line.values)
        for at, value in _thinned(times, values, self.start, self.end, self.columns):
            if not math.isfinite(value):
                pen = "M"
                continue
            x, y = f"{self._x(at):.0f}", f"{axis.y(value):.1f}".removesuffix(".0")
            path.append(f"H{x}V{y}" if line.step and pen == "L" else f"{pen}{x},{y}")
            pen, last_y = "L", y
        if line.step and last_y:
            path.append(f"H{self._x(float(line.times[-1])):.0f}")
        dashed = " d" if line.dashed else ""
        return f'<path class="l c{line.colour}{dashed}" d="{"".join(path)}"/>'

    def _points(self, mark: Marks, axis: _Axis) -> str:
        drawn, stems = [], []
        for row in _spread(mark, max(self.columns // MARK_SPACING, 1)):
            x, y = self._x(float(mark.times[row])), axis.y(float(mark.values[row]))
            title = f"<title>{escape(mark.texts[row])}</title>" if mark.texts else ""
            if mark.base is not None:
                stems.append(f"M{x:.0f},{axis.y(mark.base):.0f}V{y:.0f}")
            drawn.append(f'<circle class="f{mark.colour}" cx="{x:.0f}" cy="{y:.0f}" r="2">{title}</circle>')
        return f'<path class="l c{mark.colour}" d="{"".join(stems)}"/>' * bool(stems) + "".join(drawn)

    def _legend(self) -> Iterable[str]:
        x = max(LEFT, round(6.2 * len(self.unit)) + 8)
        shown = [(line.label, line.colour) for line in self.lines if line.label]
        shown += [(mark.label, mark.colour) for mark in self.marks if len(mark.times)]
        for label, colour in shown:
            yield f'<rect class="f{colour}" x="{x}" y="9" width="10" height="4"/>'
            yield f'<text x="{x + 14}" y="15">{escape(label)}</text>'
            x += 26 + round(6.2 * len(label))


@dataclass(frozen=True, slots=True)
class _Axis:
    """A value axis from `low` to `high`."""

    low: float
    high: float
    log: bool

    @classmethod
    def over(cls, values: Sequence[Array], log: bool) -> _Axis:  # noqa: FBT001 - passed on from the chart
        found = np.concatenate([np.asarray(each, dtype=float).ravel() for each in values] or [np.zeros(1)])
        found = found[np.isfinite(found)]
        low, high = (float(found.min()), float(found.max())) if len(found) else (0.0, 1.0)
        if log and low > 0:
            return cls(math.log10(low), math.log10(high) + 1e-9, log=True)
        pad = 0.05 * (high - low) or max(abs(high) * 0.05, 1e-9)
        return cls(low - pad, high + pad, log=False)

    def y(self, value: float) -> float:
        shown = math.log10(value) if self.log else value
        inside = min(max((shown - self.low) / (self.high - self.low), 0.0), 1.0)
        return HEIGHT - BOTTOM - inside * (HEIGHT - TOP - BOTTOM)

    def ticks(self, x: int, unit: str, anchor: str, *, grid: bool = True) -> Iterable[str]:
        at = x - 5 if anchor == "end" else x + 5
        for value in self._values():
            y = self.y(value)
            if grid:
                yield f'<path class="grid" d="M{LEFT},{y:.1f}H{WIDTH - RIGHT}"/>'
            yield f'<text x="{at}" y="{y + 3.5:.1f}" text-anchor="{anchor}">{value:.6g}</text>'
        edge, towards = (0, "start") if anchor == "end" else (WIDTH, "end")
        yield f'<text x="{edge}" y="15" text-anchor="{towards}">{escape(unit)}</text>'

    def _values(self) -> list[float]:
        if self.log:
            low, high = 10**self.low, 10**self.high
            decades = range(math.floor(self.low), math.ceil(self.high) + 1)
            marks = [m * 10.0**decade for decade in decades for m in (1, 2, 5) if low <= m * 10.0**decade <= high]
            return marks if len(marks) > 1 else [low, high]
        step = _nice((self.high - self.low) / 4)
        return [step * k for k in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]


def _nice(step: float) -> float:
    """Return the nearest 1, 2, 2.5 or 5 times a power of ten at or above a step."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(m * power for m in (1.0, 2.0, 2.5, 5.0, 10.0) if m * power >= step * 0.999)


def _changes(times: Times, values: Array) -> tuple[Times, Array]:
    """Return the first point and those at which the value is another than before."""
    rows = np.flatnonzero(np.append([True], values[1:] != values[:-1]))
    return times[rows], values[rows]


def _thinned(times: Times, values: Array, start: int, end: int, columns: int) -> list[tuple[float, float]]:
    """Return the points to draw: all of few, else first, lowest, highest and last of each column."""
    if len(times) <= 2 * columns:
        return list(zip(times.tolist(), values.tolist(), strict=True))
    places = np.clip((times - start) * columns // max(end - start, 1), 0, columns)
    edges = np.flatnonzero(np.diff(places, prepend=-1))
    points: list[tuple[float, float]] = []
    for low, high in zip(edges, [*edges[1:], len(times)], strict=True):
        part = values[low:high]
        if not np.isfinite(part).any():
            points.append((float(times[low]), math.nan))
            continue
        rows = sorted({0, int(np.nanargmin(part)), int(np.nanargmax(part)), len(part) - 1})
        points.extend((float(times[low + row]), float(part[row])) for row in rows)
    return points


def _spread(mark: Marks, most: int) -> list[int]:
    """Return the rows to draw: all of few, else the largest in size."""
    if len(mark.times) <= most:
        return list(range(len(mark.times)))
    return sorted(np.argsort(-np.abs(mark.values))[:most].tolist())


def _time_ticks(start: int, end: int) -> list[tuple[int, str]]:
    first, last = datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(end, UTC)
    if end - start >= YEAR_MARKS:
        days = [(datetime(year, 1, 1, tzinfo=UTC), f"{year}") for year in range(first.year + 1, last.year + 1)]
    elif end - start >= MONTH_MARKS:
        months = [first.year * 12 + first.month + number for number in range((end - start) // (28 * DAY) + 1)]
        starts = [datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC) for month in months]
        days = [(day, f"{day:%Y-%m}") for day in starts[:: max(len(starts) // 10, 1)]]
    else:
        step = max((end - start) // 6 // DAY, 1) * DAY
        moments = range(start - start % DAY + DAY, end, step)
        days = [(datetime.fromtimestamp(moment, UTC), _day(moment)) for moment in moments]
    return [(int(day.timestamp()), text) for day, text in days if start <= day.timestamp() <= end]


def _day(at: int) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}"
