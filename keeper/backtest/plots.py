"""Choose what is drawn of one asset's runs: one look at each thing an operator asks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from keeper.backtest.metrics import LEVEL, daily_breaches, daily_cost, period_breaches
from keeper.backtest.svg import Chart, Line, Marks
from models.coverage import ROLLING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from keeper.backtest.job import Result
    from keeper.backtest.series import Series
    from keeper.backtest.track import Move

    Array = npt.NDArray[np.float64]
    Times = npt.NDArray[np.int64]

RED, GREY = 8, 9
"""Colours: the others belong to runs and parameters in their order."""


@dataclass(frozen=True, slots=True)
class Plot:
    """A chart with its caption."""

    title: str
    chart: Chart
    caption: str


def plots_of(results: Sequence[Result], columns: int) -> list[Plot]:
    """Return the plots of one asset; `results` are its runs under one configuration, or under the two compared."""
    first = results[0]
    mains = [result.runs[0] for result in results]
    runs = [run for result in results for run in result.runs]
    span = (int(mains[0].at[0]), int(mains[0].at[-1]))
    period = f"{first.period_days:g} d"
    drawn = [
        _price(mains[0]),
        _vol(first, mains),
        _margin(mains, period, first.period_days),
        _liquidation(first, mains),
        _coverage(mains[0]),
        _changes(mains[0]),
        _liquidations(runs),
        _cost(runs),
    ]
    return [
        Plot(
            title,
            Chart(title, unit, *span, lines, marks, mains[0].gaps, verticals, right, log, columns),
            caption,
        )
        for title, unit, lines, marks, verticals, right, log, caption in drawn
    ]


Drawn = tuple[str, str, list[Line], list[Marks], list[tuple[int, str]], str, bool, str]


def _price(run: Series) -> Drawn:
    verticals = [(move.at, f"{_when(move.at)} {_what(run, move)}") for move in run.moves]
    lines = [Line("price at the decision", run.at, run.price, 0)]
    caption = "The oracle's and the feed's price (log). Green: a change was made (point at it). Grey: no data."
    return "Price, and when parameters changed", "price", lines, [], verticals, "", bool(np.all(run.price > 0)), caption


def _vol(result: Result, mains: Sequence[Series]) -> Drawn:
    lines = [Line("implied volatility, the feed", mains[0].at, 100 * mains[0].vol, 1)]
    for place, run in enumerate(mains):
        values = 100 * _ratio(result, run, "shocked_vol")
        lines.append(Line(f"shocked vol, {run.name}", run.at, values, place and 4, step=True))
    recorded = "as recorded" if result.facts.recorded_vol else "none recorded: a stand-in from trailing returns"
    return "Volatility, and the shocked volatility", "% a year", lines, [], [], "", False, f"Volatility {recorded}."


def _margin(mains: Sequence[Series], period: str, days: float) -> Drawn:
    starts, moves, down, up = period_breaches(mains[0], days)
    broken = down | up
    lines = [Line(f"move over the next {period}", starts, 100 * moves, GREY)]
    for place, run in enumerate(mains):
        lines.append(Line(f"spot shock up, {run.name}", run.at, 100 * run.shock_up, place and 4, step=True))
        lines.append(Line(f"spot shock down, {run.name}", run.at, -100 * run.shock_down, (place and 4) + 1, step=True))
    texts = [
        f"{_when(int(at))}: {move:+.1%} over {period}" for at, move in zip(starts[broken], moves[broken], strict=True)
    ]
    marks = [Marks(f"breach, {mains[0].name}", starts[broken], 100 * moves[broken], RED, texts)]
    caption = (
        f"Each day's move over the margin period of {period} beside the shocks that open positions obeyed at its start "
        f"({len(starts)} days, overlapping; each side claims {LEVEL:.0%}). {int(broken.sum())} breaches."
    )
    return "Margin against realised loss", "%", lines, marks, [], "", False, caption


def _liquidation(result: Result, mains: Sequence[Series]) -> Drawn:
    lines = []
    for place, run in enumerate(mains):
        for offset, role in enumerate(("maintenance_factor", "liquidation_threshold")):
            values = 100 * _ratio(result, run, role)
            lines.append(Line(f"{role.replace('_', ' ')}, {run.name}", run.at, values, 4 * place + offset, step=True))
    caption = "Share of the cushion between mark and initial margin that accounts must keep."
    return "Maintenance and liquidation", "%", lines, [], [], "", False, caption


def _coverage(run: Series) -> Drawn:
    ends, lower, upper = daily_breaches(run)
    window = min(ROLLING, max(len(ends) // 2, 1))
    lines = []
    for colour, (label, breaches) in enumerate((("below the lower 1 %", lower), ("above the upper 99 %", upper))):
        if len(ends) > window:
            rates = np.convolve(breaches, np.ones(window) / window, mode="valid")
            lines.append(Line(label, ends[window - 1 :], 100 * rates, colour, step=True))
    claimed = np.full(2, 100 * LEVEL)
    lines.append(Line("claimed", np.array([run.at[0], run.at[-1]]), claimed, GREY, dashed=True))
    caption = f"Share of the last {window} days on which the daily move left the margin published the evening before."
    return "Coverage of the published daily margin", "%", lines, [], [], "", False, caption


def _changes(run: Series) -> Drawn:
    marks = []
    for index, name in enumerate(run.parameters):
        moves = [move for move in run.moves if move.before[index] != move.after[index]]
        sizes = [100 * (move.after[index] / max(move.before[index], 1) - 1) for move in moves]
        texts = [f"{_when(move.at)} {name} {move.before[index]} to {move.after[index]}" for move in moves]
        times = np.array([move.at for move in moves], dtype=np.int64)
        marks.append(Marks(name.replace("_", " "), times, np.array(sizes, dtype=float), index % 8, texts, 0.0))
    zero = [Line("", np.array([run.at[0], run.at[-1]]), np.zeros(2), GREY)]
    return "Sizes of changes", "% of value", zero, marks, [], "", False, "Each changed parameter of each change."


def _liquidations(runs: Sequence[Series]) -> Drawn:
    lines = [Line(run.name, run.at, run.liquidations, place, step=True) for place, run in enumerate(runs)]
    lines += [
        Line(
            f"bad debt, {run.name}",
            run.at,
            1e4 * run.bad_debt / run.notional.mean(),
            place,
            step=True,
            right=True,
            dashed=True,
        )
        for place, run in enumerate(runs)
    ]
    caused = ", ".join(f"{run.name} {run.losses.caused}" for run in runs)
    caption = (
        f"Accounts liquidated so far; dashed, right: bad debt so far. Begun by changes of the day before: {caused}."
    )
    return "Liquidations caused and bad debt", "accounts", lines, [], [], "bps of notional", False, caption


def _cost(runs: Sequence[Series]) -> Drawn:
    lines = []
    for place, run in enumerate(runs):
        at, cost = daily_cost(run)
        lines.append(Line(run.name, at, np.cumsum(cost) / np.arange(1, len(cost) + 1), place))
    caption = "Capital cost of the collateral and bad debt, mean a year from the start to each day."
    return "Cost so far", "% of notional a year", lines, [], [], "", False, caption


def _ratio(result: Result, run: Series, role: str) -> Array:
    index, origin, sign, scale = result.facts.axes[role]
    return np.asarray((run.values[:, index] - origin) * sign / scale)


def _what(run: Series, move: Move) -> str:
    if move.kind == "announced":
        return "announced"
    pairs = zip(run.parameters, move.before, move.after, strict=True)
    return ", ".join(f"{name} {old} to {new}" for name, old, new in pairs if old != new)


def _when(at: int) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}"
