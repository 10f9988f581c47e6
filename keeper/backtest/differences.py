"""Say in what two runs differ: their inputs, their settings, and their figures with an interval."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from config.load import load_settings
from keeper.backtest.metrics import daily, daily_cost, interval

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from keeper.backtest.metrics import Array, Times
    from keeper.backtest.series import Series

ABSENT = "(absent)"


@dataclass(frozen=True, slots=True)
class Difference:
    """A figure of the second run less the first, mean by day, with the 95 % interval of a 30-day block bootstrap."""

    name: str
    unit: str
    mean: float
    low: float
    high: float


def record_differences(earlier: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the places at which two records' inputs or results differ, dotted, with both values."""
    parts = ({"inputs": record["inputs"], "results": record["results"]} for record in (earlier, now))
    before, after = (dict(_flat(part)) for part in parts)
    return [f"{place}: was {old}, is {new}" for place, old, new in _unequal(before, after)]


def config_differences(paths: tuple[str, str]) -> list[tuple[str, Any, Any]]:
    """Return the keys at which two settings files differ, with both values; addresses are left out."""
    documents = (load_settings(Path(path), {}).model_dump(exclude={"journal", "mqtt", "chain"}) for path in paths)
    before, after = (dict(_flat(document)) for document in documents)
    return _unequal(before, after)


def run_differences(first: Series, second: Series, seed: int) -> tuple[Difference, ...]:
    """Return what the second run's days cost and held more than the first's, on the days that both decided."""
    pairs = (
        ("cost", "% of notional a year", daily_cost(first), daily_cost(second)),
        ("spot shock down", "% points", _shock(first), _shock(second)),
        ("collateral", "% of notional", _collateral(first), _collateral(second)),
    )
    return tuple(_difference(name, unit, before, after, seed) for name, unit, before, after in pairs)


def _difference(name: str, unit: str, first: tuple[Times, Array], second: tuple[Times, Array], seed: int) -> Difference:
    _, rows, others = np.intersect1d(first[0], second[0], return_indices=True)
    difference = second[1][others] - first[1][rows]
    return Difference(name, unit, float(difference.mean()), *interval(difference, seed))


def _shock(series: Series) -> tuple[Times, Array]:
    days = daily(series.at)
    return series.at[days], 100.0 * series.shock_down[days]


def _collateral(series: Series) -> tuple[Times, Array]:
    days = daily(series.at)
    return series.at[days], 100.0 * series.locked[days] / series.notional[days]


def _unequal(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    places = sorted(before.keys() | after.keys())
    pairs = ((place, before.get(place, ABSENT), after.get(place, ABSENT)) for place in places)
    return [(place, old, new) for place, old, new in pairs if old != new]


def _flat(document: Mapping[str, Any] | list[Any], place: str = "") -> Iterator[tuple[str, Any]]:
    items = enumerate(document) if isinstance(document, list) else document.items()
    for key, value in items:
        where = f"{place}.{key}" if place else str(key)
        if isinstance(value, dict | list):
            yield from _flat(value, where)
        else:
            yield where, value
