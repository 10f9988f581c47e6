"""Put a backtest's figures into one table for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from keeper.backtest.metrics import UNITS
from keeper.backtest.page import shown
from keeper.backtest.record import metrics_document

if TYPE_CHECKING:
    from keeper.backtest.session import Backtest


def table(backtest: Backtest) -> Table:
    """Return the metrics of every run, the mean over the assets."""
    document = metrics_document(backtest)
    assets = ", ".join(document["assets"])
    made = Table("metric", title=f"{assets}: mean over assets" if len(document["assets"]) > 1 else assets)
    for run in document["mean"]:
        made.add_column(run, justify="right")
    made.add_column("what it is", overflow="fold")
    for name, unit in UNITS.items():
        made.add_row(name, *(shown(figures[name]) for figures in document["mean"].values()), unit)
    return made
