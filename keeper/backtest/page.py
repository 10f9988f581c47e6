"""Lay a backtest out as one page that opens without a server and asks nothing of any host."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, select_autoescape
from markupsafe import Markup

from keeper.backtest.metrics import UNITS
from keeper.backtest.plots import plots_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keeper.backtest.job import Result
    from keeper.backtest.metrics import Metrics
    from keeper.backtest.plots import Plot
    from keeper.backtest.session import Backtest

LARGEST = 1_000_000
"""Bytes; the page is drawn coarser until it is smaller."""

COLUMNS = 480
FEWEST_COLUMNS = 15


@dataclass(frozen=True, slots=True)
class Row:
    """One metric of every run, as text."""

    name: str
    unit: str
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """One asset: what it was made from, its table and its plots."""

    result: Result
    span: str
    runs: tuple[str, ...]
    rows: tuple[Row, ...]
    differences: tuple[Row, ...]
    plots: tuple[Plot, ...]


def render(backtest: Backtest, record: dict[str, Any], metrics: dict[str, Any]) -> str:
    """Return the page's HTML, drawn coarser until it is under LARGEST bytes; the documents are those of the run."""
    columns = COLUMNS
    page = _page(backtest, record, metrics, columns)
    while len(page.encode()) >= LARGEST and columns > FEWEST_COLUMNS:
        columns //= 2
        page = _page(backtest, record, metrics, columns)
    return page


def _page(backtest: Backtest, record: dict[str, Any], metrics: dict[str, Any], columns: int) -> str:
    comparison = metrics.get("comparison", {"settings": [], "figures": {}})
    grouped = list(zip(*backtest.results.values(), strict=True))
    sections = [_section(results, comparison["figures"], columns) for results in grouped]
    templates = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=select_autoescape())
    templates.filters["svg"] = lambda plot: Markup(plot.chart.svg())  # noqa: S704 - our own SVG, its texts escaped
    return templates.get_template("page.html").render(
        sections=sections,
        runs=sections[0].runs,
        pooled=_rows(metrics["mean"]),
        record=record,
        request=backtest.request,
        configs=list(zip(backtest.results, backtest.request.configs, strict=True)),
        config_rows=comparison["settings"],
        cuts=[(name, result, cut) for name, each in backtest.results.items() for result in each for cut in result.cuts],
        cuts_hold=backtest.cuts_hold,
    )


def _section(results: Sequence[Result], figures: dict[str, list[dict[str, Any]]], columns: int) -> Section:
    metrics = {name: values for result in results for name, values in result.metrics.items()}
    facts = results[0].facts
    return Section(
        result=results[0],
        span=f"{_when(facts.start)} to {_when(facts.last)} UTC",
        runs=tuple(metrics),
        rows=_rows(metrics),
        differences=tuple(
            Row(one["name"], one["unit"], (shown(one["mean"]), f"{one['low']:.3g} to {one['high']:.3g}"))
            for one in figures.get(facts.asset, ())
        ),
        plots=tuple(plots_of(results, columns)),
    )


def _rows(metrics: dict[str, Metrics]) -> tuple[Row, ...]:
    return tuple(
        Row(name, unit, tuple(shown(values[name]) for values in metrics.values())) for name, unit in UNITS.items()
    )


def shown(value: float | None) -> str:
    """Return a figure as the tables print it."""
    if value is None:
        return "n/a"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _when(at: int) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}"
