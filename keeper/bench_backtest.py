"""Measure how fast a backtest is, and where its time goes, on invented hourly prices."""

from __future__ import annotations

import os
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from keeper.backtest.record import write
from keeper.backtest.session import Request, run_backtest

if TYPE_CHECKING:
    from collections.abc import Callable

HOUR = 3_600
HOURS_A_YEAR = 8_766
FIRST = 1_577_836_800
"""1 January 2020, Unix seconds."""

YEARLY_VOL, VOL_OF_VOL, REVERSION = 0.7, 0.03, 0.005
"""Volatility that hourly returns revert to, and how it moves an hour."""

WARM_UP_HOURS = 24 * 300


def measure_backtest(
    config: Path, assets: int, years: float, baselines: tuple[str, ...], on_bars: Callable[[int, int], None]
) -> dict[str, Any]:
    """Return bars, seconds, bars a second and the share of time by stage: reading to the last file written.

    `bars` are the recorded ones, warm-up left out; each is gone through once a run and again by the truncation test.
    """
    workers = os.cpu_count() or 1
    hours = round(years * HOURS_A_YEAR) + WARM_UP_HOURS
    with tempfile.TemporaryDirectory() as folder:
        sources = tuple(str(_invent(Path(folder), number, hours)) for number in range(assets))
        request = Request(data=sources, configs=(str(config),), baselines=baselines, max_gap_days=1.0)
        began = time.perf_counter()
        finished = run_backtest(request, workers=workers, on_bars=on_bars, clock=time.perf_counter)
        ran = time.perf_counter()
        write(finished, Path(folder) / "out")
        ended = time.perf_counter()
    spent: defaultdict[str, float] = defaultdict(float, write=ended - ran)
    for result in next(iter(finished.results.values())):
        for stage, seconds in result.stages.items():
            spent[stage] += seconds
    bars = assets * (hours - WARM_UP_HOURS)
    return {
        "assets": assets,
        "years": years,
        "bars": bars,
        "baselines": list(baselines),
        "workers": workers,
        "seconds": round(ended - began, 2),
        "bars_per_s": round(bars / (ended - began)),
        "share_of_time": {stage: round(seconds / sum(spent.values()), 3) for stage, seconds in sorted(spent.items())},
    }


def _invent(folder: Path, number: int, hours: int) -> Path:
    """Write hourly bars with volatility that clusters and reverts, and an implied one a little above it."""
    rng = np.random.default_rng([7, number])
    logs = np.zeros(hours)
    for hour, shock in enumerate(rng.normal(0.0, VOL_OF_VOL, hours - 1), start=1):
        logs[hour] = logs[hour - 1] * (1.0 - REVERSION) + shock
    vols = YEARLY_VOL * np.exp(logs)
    closes = 1_000.0 * np.exp(np.cumsum(vols / np.sqrt(HOURS_A_YEAR) * rng.standard_t(5, hours) / np.sqrt(5 / 3)))
    opens = np.concatenate([[closes[0]], closes[:-1]])
    spread = 1.0 + 0.2 * vols / np.sqrt(HOURS_A_YEAR)
    table = pa.table(
        {
            "ts": FIRST + HOUR * np.arange(hours),
            "open": opens,
            "high": np.maximum(opens, closes) * spread,
            "low": np.minimum(opens, closes) / spread,
            "close": closes,
            "iv": 1.05 * vols,
        }
    )
    path = folder / f"asset{number}.parquet"
    pyarrow.parquet.write_table(table, path)
    return path
