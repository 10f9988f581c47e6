"""Small markets to replay: invented bars, the shipped settings, a forecaster that says what it is told."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from config.load import DEFAULT_SETTINGS, load_settings
from keeper.backtest.rules import Rules, rules_of
from keeper.backtest.shapes import generated
from keeper.backtest.simulator import Simulation, Start
from models.forecaster import DAY, Forecast, Tail
from models.market import Bar

if TYPE_CHECKING:
    from pathlib import Path

HOUR = 3_600
FIRST = 1_600_000_000 - 1_600_000_000 % DAY


def bars(count: int, seconds: int = DAY, *, seed: int = 1, sd: float = 0.012, vol: float = 0.2) -> list[Bar]:
    """A random walk with an implied volatility that follows how wild it is."""
    rng = np.random.default_rng(seed)
    close, made = 1_000.0, []
    for number in range(count):
        wild = 1.0 + 1.5 * (number % 90 > 60)
        opened, close = close, close * math.exp(sd * wild * math.sqrt(seconds / DAY) * rng.standard_normal())
        high, low = max(opened, close) * 1.001, min(opened, close) * 0.999
        made.append(Bar("spx", FIRST + number * seconds, seconds, opened, high, low, close, None, vol * wild))
    return made


def write_bars(path: Path, rows: list[Bar]) -> Path:
    """The bars as a recording."""
    names = ("open", "high", "low", "close", "iv")
    columns = {"ts": [bar.start for bar in rows]} | {name: [getattr(bar, name) for bar in rows] for name in names}
    pyarrow.parquet.write_table(pa.table(columns), path)
    return path


def write_settings(path: Path, **changes: str) -> Path:
    """The shipped settings, few bars to warm up, with lines replaced."""
    text = DEFAULT_SETTINGS.read_text().replace('warmup = "builtin:spx"', 'warmup = ""\nmin_bars = 30')
    text = text.replace('model = "default"', 'model = "ewma-fhs"')
    for old, new in changes.items():
        assert f"{old} = " in text, old
        lines = [f"{old} = {new}" if line.startswith(f"{old} = ") else line for line in text.splitlines()]
        text = "\n".join(lines) + "\n"
    path.write_text(text)
    return path


def rules(tmp_path: Path, policies: Path | None = None, **changes: str) -> Rules:
    """What a market of the shipped binding obeys."""
    config = write_settings(tmp_path / "keeper.toml", **changes)
    return rules_of("spx", load_settings(config, {}), config, policies)


@dataclass
class Told:
    """A forecaster that answers with the daily tail of the newest step that has come: (first bar's number, sd)."""

    steps: tuple[tuple[int, float], ...] = ((0, 0.01),)
    model_id: str = "told"
    taken: list[Bar] = field(default_factory=list)
    stream: tuple[str, int] | None = None

    def reset(self, asset: str, bar_seconds: int) -> None:
        self.taken, self.stream = [], (asset, bar_seconds)

    def update(self, bar: Bar) -> Forecast:
        self.taken.append(bar)
        sd = next(sd for first, sd in reversed(self.steps) if len(self.taken) > first)
        quantiles = tuple(sd * z for z in (-3.1, -2.6, -2.3, 2.3, 2.6, 3.1))
        tail = Tail(quantiles, -2.7 * sd, 2.7 * sd)
        return Forecast(bar.asset, bar.start, {DAY: tail}, None, (quantiles[2], quantiles[3]))


def simulation(obeyed: Rules, forecaster, *, at: int = 40, seed: int = 0, seconds: int = DAY, **options) -> Simulation:
    """A simulation that decides from bar `at` on."""
    start = Start(FIRST + at * seconds, recorded_vol=True, seed=seed, **options)
    return Simulation(obeyed, forecaster, generated(seed), start, "keeper")
