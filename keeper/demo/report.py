"""Write the demonstration down: a JSON document for machines, one self-contained page with plots for people."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, select_autoescape
from markupsafe import Markup
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

NOTHING = "no change"
"""How a day's decision reads when the market is left alone."""

TEMPLATE = "page.html"
MOVE_LIMIT = 8
PANELS = {
    "On chain: spot shocks": ("spot_shock_up", "spot_shock_down"),
    "On chain: shocked volatility": ("shocked_vol",),
    "On chain: liquidation": ("maintenance_factor", "liquidation_threshold"),
}


@dataclass(frozen=True, slots=True)
class Act:
    """One act: what had to be true, what was read on chain and in the journal, and what it cost."""

    name: str
    passed: bool
    expected: str
    read: str
    transactions: tuple[str, ...]
    gas: int


@dataclass(frozen=True, slots=True)
class Day:
    """One recorded day as it was lived: prices, parameters (basis points) after the decision, and the decision."""

    date: str
    spot: float
    vol: float
    parameters: tuple[int, ...]
    published: tuple[float, float] | None
    decision: str

    @property
    def event(self) -> bool:
        """Say whether the day is worth a mark on the plots."""
        return self.decision != NOTHING

    @property
    def refused(self) -> bool:
        """Say whether nothing was changed though something was asked."""
        return "applied" not in self.decision


def write_json(path: Path, acts: Sequence[Act], seconds: float) -> None:
    """Write {"acts": [{"name", "passed", "expected", "read", "transactions", "gas"}], "seconds"}."""
    document = {"acts": [asdict(act) for act in acts], "seconds": round(seconds, 1)}
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def write_html(path: Path, acts: Sequence[Act], days: Sequence[Day], names: Sequence[str], seconds: float) -> None:
    """Write the page: verdicts, plots and the day-by-day log. It asks nothing of any host."""
    templates = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=select_autoescape())
    plot = Markup(_plots(days, names))  # noqa: S704 - our own SVG
    page = templates.get_template(TEMPLATE).render(acts=acts, days=days, seconds=seconds, plot=plot, names=names)
    path.write_text(page, encoding="utf-8")


def _plots(days: Sequence[Day], names: Sequence[str]) -> str:
    """Return one SVG: price and volatility, margins, parameters by scale, with the events marked."""
    figure = Figure(figsize=(10, 13), layout="constrained")
    axes = figure.subplots(5, 1, sharex=True)
    steps = range(len(days))
    _market(axes[0], days, steps)
    _margins(axes[1], days, steps)
    for axis, (title, shown) in zip(axes[2:], PANELS.items(), strict=True):
        _parameters(axis, days, names, title, shown)
    for axis in axes:
        for step in (step for step in steps if days[step].event):
            axis.axvline(step, color="tab:red" if days[step].refused else "tab:green", alpha=0.4, linewidth=1)
        axis.grid(alpha=0.25)
    axes[-1].set_xticks(list(steps), [day.date[5:] for day in days], rotation=90, fontsize=8)
    axes[-1].set_xlabel("recorded day of 2018; green line: change applied, red line: refused or killed")
    buffer = io.StringIO()
    FigureCanvasSVG(figure)
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def _market(axis: Axes, days: Sequence[Day], steps: range) -> None:
    axis.plot(steps, [day.spot for day in days], color="tab:blue", label="S&P 500")
    axis.set_ylabel("S&P 500", color="tab:blue")
    other = axis.twinx()
    other.semilogy(steps, [100 * day.vol for day in days], color="tab:orange", marker=".", label="VIX feed")
    other.set_ylabel("VIX feed (%, log)", color="tab:orange")
    axis.set_title("What the feeds said", loc="left", fontsize=10)


def _margins(axis: Axes, days: Sequence[Day], steps: range) -> None:
    """Draw the model's margin as a step: a day's move is to be held against the margin known the evening before."""
    for side, label in ((1, "upper 99 %"), (0, "lower 1 %")):
        axis.step(
            [step for step in steps if days[step].published],
            [100 * day.published[side] for day in days if day.published],
            where="post",
            label=label,
        )
    moves = [100 * (later.spot / earlier.spot - 1) for earlier, later in pairwise(days)]
    axis.plot(steps[1:], moves, "k.", label="realised daily move")
    axis.set_ylim(-MOVE_LIMIT, MOVE_LIMIT)
    axis.set_ylabel("daily move (%)")
    axis.set_title(
        f"The model's published margin, and what happened (the wild model's answer leaves the +-{MOVE_LIMIT} % shown)",
        loc="left",
        fontsize=10,
    )
    axis.legend(fontsize=8, loc="upper left")


def _parameters(axis: Axes, days: Sequence[Day], names: Sequence[str], title: str, shown: Sequence[str]) -> None:
    for name in shown:
        values = [day.parameters[names.index(name)] for day in days]
        axis.step(range(len(days)), values, where="post", label=name)
    axis.set_ylabel("basis points")
    axis.set_title(title, loc="left", fontsize=10)
    axis.legend(fontsize=8, loc="upper left")
