"""Say what an option book is made of: a seeded generator's series, or those of a recorded Deribit chain."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from keeper.backtest.feed import YEAR, BacktestError
from models.forecaster import DAY

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

SERIES = 400
TENORS = (7.0, 14.0, 30.0, 60.0)
TENOR_WEIGHTS = (0.2, 0.25, 0.35, 0.2)
SHORTEST_TENOR = 1.0
"""Days; a series that expires sooner is gone before it can be liquidated."""

COLUMNS = ("ts", "expiry", "strike", "type", "mark_iv", "underlying", "open_interest")


@dataclass(frozen=True, slots=True)
class Shape:
    """Series to choose from, a row each.

    `distance` is ln(strike / spot) in standard deviations to expiry, `tenor` days to expiry, `weight` how likely a
    short is of this series.
    """

    distance: Array
    tenor: Array
    is_call: npt.NDArray[np.bool_]
    weight: Array
    source: str


def generated(seed: int) -> Shape:
    """Return series that writers usually sell: calls and puts, mostly somewhat out of the money."""
    rng = np.random.default_rng([seed, 0])
    is_call = rng.random(SERIES) < 0.5
    away = rng.normal(0.7, 0.6, SERIES)
    tenor = rng.choice(TENORS, SERIES, p=TENOR_WEIGHTS)
    return Shape(
        np.where(is_call, away, -away), tenor, is_call, np.full(SERIES, 1.0 / SERIES), f"generator, seed {seed}"
    )


def from_chain(path: Path) -> Shape:
    """Return the series with open interest in a recorded chain, each weighted by it, as its last snapshot had them.

    Columns: ts, expiry (Unix seconds), strike, type (C or P), mark_iv (decimal), underlying, open_interest.
    Raises BacktestError naming file, row and rule.
    """
    try:
        table: pa.Table = pyarrow.parquet.read_table(path)
    except FileNotFoundError:
        raise BacktestError(f"{path.name}: no such file") from None
    except (pa.ArrowException, OSError) as error:
        raise BacktestError(f"{path.name}: not a readable parquet file: {error}") from error
    missing = [column for column in COLUMNS if column not in table.column_names]
    if missing:
        raise BacktestError(f"{path.name}: missing column {', '.join(missing)}")
    columns = {name: table.column(name).to_pylist() for name in COLUMNS}
    newest: dict[tuple[Any, ...], int] = {}
    for row in range(table.num_rows):
        if columns["open_interest"][row]:
            _check(path.name, row, columns)
            newest[columns["expiry"][row], columns["strike"][row], columns["type"][row]] = row
    rows = [row for row in newest.values() if columns["expiry"][row] - columns["ts"][row] >= SHORTEST_TENOR * DAY]
    if not rows:
        raise BacktestError(f"{path.name}: has no series with open interest and a day or more to expiry")
    years = np.array([(columns["expiry"][row] - columns["ts"][row]) / YEAR for row in rows])
    moneyness = np.array([math.log(columns["strike"][row] / columns["underlying"][row]) for row in rows])
    vols = np.array([columns["mark_iv"][row] for row in rows])
    interest = np.array([columns["open_interest"][row] for row in rows], dtype=float)
    return Shape(
        distance=moneyness / (vols * np.sqrt(years)),
        tenor=years * YEAR / DAY,
        is_call=np.array([columns["type"][row] == "C" for row in rows]),
        weight=interest / interest.sum(),
        source=path.name,
    )


def _check(name: str, row: int, columns: dict[str, list[Any]]) -> None:
    for field in ("ts", "expiry", "strike", "mark_iv", "underlying", "open_interest"):
        value = columns[field][row]
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
            raise BacktestError(f"{name}: row {row}: {field} {value!r}: must be a finite number above 0")
    if columns["type"][row] not in ("C", "P"):
        raise BacktestError(f"{name}: row {row}: type {columns['type'][row]!r}: must be C or P")
    if columns["mark_iv"][row] > 10.0:
        raise BacktestError(f"{name}: row {row}: mark_iv {columns['mark_iv'][row]}: decimal expected (0.65 for 65 %)")
