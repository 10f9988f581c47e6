"""Load recorded bars and volatility series, and refuse what is not one."""

from __future__ import annotations

import hashlib
import importlib
import math
import struct
from collections import Counter
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from config.errors import KnownFault
from models.forecaster import DAY
from models.market import Bar
from models.steps import check_bar, check_bar_seconds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BUILTIN = "builtin:"
BUILTIN_BARS = ("spx", "nasdaq", "wti")
BUILTIN_VOLS = ("vix",)

REQUIRED = ("ts", "open", "high", "low", "close")
LARGEST_MEDIAN_IV = 5.0
"""A median implied volatility above 500 % a year is taken for a figure in percent."""

LARGEST_IV = 10.0
"""A single value above 1000 % a year is one too, wherever the others are decimals."""

OTHER_FREQUENCY = 10
"""So many rows in a row that are equally far apart, but not as far as the rest, are of another frequency."""

Columns = dict[str, list[Any]]


class RecordingError(KnownFault):
    """A recording cannot be used; the message names the source, the row and the rule."""


@dataclass(frozen=True, slots=True)
class Recording:
    """Bars of one asset in time order; gaps stay gaps. `digest` is the SHA-256 of the content, in hex."""

    asset: str
    bar_seconds: int
    bars: tuple[Bar, ...]
    digest: str


@dataclass(frozen=True, slots=True)
class VolSeries:
    """Closes of an implied-volatility series as decimals, by the bar's opening Unix second."""

    name: str
    closes: Mapping[int, float]


def load_recording(source: str | Path) -> Recording:
    """Load bars from "builtin:spx" (or nasdaq, wti), a .parquet or a .csv file.

    Columns: ts (Unix seconds at the bar's open), open, high, low, close, and optionally volume and iv
    (decimal, at the close), where null is allowed. "builtin:spx" carries the VIX from 2014 on.
    Raises RecordingError.
    """
    name, columns = _columns(source, BUILTIN_BARS)
    starts = _starts(name, columns)
    seconds = _spacing(name, starts)
    if "iv" in columns:
        _check_decimal(name, "iv", columns["iv"])
    asset = asset_of(source)
    bars = tuple(_bar(name, asset, columns, row, seconds) for row in range(len(starts)))
    recording = Recording(asset, seconds, bars, _digest(bars))
    return with_vol(recording, load_vol(BUILTIN + "vix")) if name == BUILTIN + "spx" else recording


def load_vol(source: str | Path) -> VolSeries:
    """Load the closes of a volatility series: "builtin:vix" or a file with ts and close.

    Raises RecordingError.
    """
    name, columns = _columns(source, BUILTIN_VOLS)
    starts = _starts(name, {"close": [], **columns}, required=("ts", "close"))
    closes = [_number(name, row, "close", value) for row, value in enumerate(columns["close"])]
    for row, value in enumerate(closes):
        if value <= 0:
            raise RecordingError(f"{name}: row {row}: close {value}: must be above 0")
    _check_decimal(name, "close", closes)
    return VolSeries(asset_of(source), dict(zip(starts, closes, strict=True)))


def load_recordings(sources: Sequence[str]) -> list[Recording]:
    """Load recordings, each of an asset of its own. Raises RecordingError for two that would be called alike."""
    doubled = doubled_name(sources)
    if doubled is not None:
        alike = " and ".join(source for source in sources if asset_of(source) == doubled)
        raise RecordingError(
            f"{alike}: both are called {doubled} by their file names: rename one, or join them into one file"
        )
    return [load_recording(source) for source in sources]


def doubled_name(sources: Sequence[str]) -> str | None:
    """Return the first name that two of the recordings would have, None where each has its own."""
    names = [asset_of(source) for source in sources]
    return next((name for place, name in enumerate(names) if name in names[:place]), None)


def with_vol(recording: Recording, vol: VolSeries) -> Recording:
    """Return the recording with the series' closes as implied volatility, joined by exact opening second."""
    bars = tuple(replace(bar, iv=vol.closes.get(bar.start)) for bar in recording.bars)
    return replace(recording, bars=bars, digest=_digest(bars))


def asset_of(source: str | Path) -> str:
    """Return what a recording's asset is called: by its file's name, or its own where it is built in."""
    text = str(source)
    return text.removeprefix(BUILTIN) if text.startswith(BUILTIN) else Path(text).stem


def _columns(source: str | Path, builtin: Sequence[str]) -> tuple[str, Columns]:
    text = str(source)
    if text.startswith(BUILTIN):
        if text.removeprefix(BUILTIN) not in builtin:
            known = ", ".join(BUILTIN + name for name in builtin)
            raise RecordingError(f"{text}: unknown recording, one of {known}")
        return text, _builtin_columns(text.removeprefix(BUILTIN))
    path = Path(text)
    readers = {".parquet": pyarrow.parquet.read_table, ".csv": pyarrow.csv.read_csv}
    if path.suffix not in readers:
        raise RecordingError(f"{path.name}: must end in .parquet or .csv, or be a {BUILTIN}NAME")
    try:
        table: pa.Table = readers[path.suffix](path)
    except FileNotFoundError:
        raise RecordingError(f"{path.name}: no such file") from None
    except (pa.ArrowException, OSError) as error:
        raise RecordingError(f"{path.name}: not a readable {path.suffix[1:]} file: {error}") from error
    return path.name, {name: table.column(name).to_pylist() for name in table.column_names}


def _builtin_columns(name: str) -> Columns:
    """Read a series of the `arch` package, which takes a second to import and is needed only here."""
    module = importlib.import_module(f"arch.data.{'sp500' if name == 'spx' else name}")
    frame = module.load()
    columns: Columns = {"ts": [int(day.timestamp()) for day in frame.index.tz_localize("UTC")]}
    if name in ("spx", "nasdaq"):
        for column in ("Open", "High", "Low", "Close", "Volume"):
            columns[column.lower()] = [float(value) for value in frame[column]]
        return columns
    frame = frame.dropna()
    columns["ts"] = [int(day.timestamp()) for day in frame.index.tz_localize("UTC")]
    unit = 0.01 if name == "vix" else 1.0
    closes = [float(value) * unit for value in frame.iloc[:, 0]]
    # Published as closes only: a bar's open, high and low are its close.
    return columns | dict.fromkeys(("open", "high", "low", "close"), closes)


def _starts(name: str, columns: Columns, required: Sequence[str] = REQUIRED) -> list[int]:
    missing = [column for column in required if column not in columns]
    if missing:
        raise RecordingError(f"{name}: missing column {', '.join(missing)}")
    starts = columns["ts"]
    if not starts:
        raise RecordingError(f"{name}: has no rows")
    for row, value in enumerate(starts):
        if not isinstance(value, int):
            raise RecordingError(f"{name}: row {row}: ts {value!r}: must be whole Unix seconds")
    for row, (before, after) in enumerate(pairwise(starts), start=1):
        if after <= before:
            rule = "is repeated" if after == before else f"must be above the previous row's {before}"
            raise RecordingError(f"{name}: row {row}: ts {after}: {rule}")
    return starts


def _spacing(name: str, starts: Sequence[int]) -> int:
    """Return the commonest spacing; one bar alone is taken for a day."""
    spacings = Counter(after - before for before, after in pairwise(starts))
    seconds = spacings.most_common(1)[0][0] if spacings else DAY
    try:
        check_bar_seconds(seconds)
    except ValueError as error:
        raise RecordingError(f"{name}: {error}") from None
    _check_frequency(name, starts, seconds)
    return seconds


def _check_frequency(name: str, starts: Sequence[int], seconds: int) -> None:
    """Refuse a recording that changes its frequency: gaps are whole bars, and no two of many are alike in a row."""
    alike, last = 0, seconds
    for row, (before, after) in enumerate(pairwise(starts), start=1):
        apart = after - before
        alike = alike + 1 if apart == last else 1
        last = apart
        if apart % seconds:
            rule = f"is {apart} s after the previous row, the recording's bars are {seconds} s: mixed frequencies"
            raise RecordingError(f"{name}: row {row}: ts {after}: {rule}")
        if apart > seconds and alike >= OTHER_FREQUENCY:
            rule = f"{alike} rows in a row are {apart} s apart, the recording's bars are {seconds} s: mixed frequencies"
            raise RecordingError(f"{name}: row {row}: ts {after}: {rule}")


def _bar(name: str, asset: str, columns: Columns, row: int, seconds: int) -> Bar:
    opened, high, low, close = (_number(name, row, field, columns[field][row]) for field in REQUIRED[1:])
    volume, iv = (_optional(name, row, field, columns) for field in ("volume", "iv"))
    bar = Bar(asset, columns["ts"][row], seconds, opened, high, low, close, volume, iv)
    try:
        check_bar(bar)
    except ValueError as error:
        raise RecordingError(f"{name}: row {row}: {error}") from None
    return bar


def _optional(name: str, row: int, field: str, columns: Columns) -> float | None:
    value = columns[field][row] if field in columns else None
    return None if value is None else _number(name, row, field, value)


def _number(name: str, row: int, field: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise RecordingError(f"{name}: row {row}: {field} {value!r}: must be a finite number")
    return float(value)


def _check_decimal(name: str, field: str, values: Sequence[float | None]) -> None:
    present = [value for value in values if isinstance(value, int | float)]
    middle = median(present) if present else 0.0
    for row, value in enumerate(values):
        if isinstance(value, int | float) and (value > LARGEST_IV or value >= middle > LARGEST_MEDIAN_IV):
            raise RecordingError(
                f"{name}: row {row}: {field} {value:g}, {field} has median {middle:g}: "
                "decimal expected (0.65 for 65 %), not percent"
            )


def _digest(bars: Sequence[Bar]) -> str:
    content = hashlib.sha256()
    for bar in bars:
        extras = (math.nan if value is None else value for value in (bar.volume, bar.iv))
        content.update(struct.pack("<qq6d", bar.start, bar.seconds, bar.open, bar.high, bar.low, bar.close, *extras))
    return content.hexdigest()
