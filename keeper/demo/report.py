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

TEMPLATE = "page.html"


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
        return self.decision != "NoChange"


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
    """Return one SVG: price and volatility, margins, shocks, liquidation parameters, with the events marked."""
    figure = Figure(figsize=(10, 11), layout="constrained")
    axes = figure.subplots(4, 1, sharex=True)
    steps = range(len(days))
    _market(axes[0], days, steps)
    _margins(axes[1], days, steps)
    _parameters(axes[2], days, names, ("spot_shock_up", "spot_shock_down", "shocked_vol"), "shocks (bps)")
    _parameters(axes[3], days, names, ("maintenance_factor", "liquidation_threshold"), "liquidation (bps)")
    for axis in axes:
        for step in steps:
            if days[step].event:
                colour = (
                    "tab:red" if "refused" in days[step].decision or "killed" in days[step].decision else "tab:green"
                )
                axis.axvline(step, color=colour, alpha=0.35, linewidth=1)
        axis.grid(alpha=0.25)
    axes[3].set_xticks(list(steps), [day.date[5:] for day in days], rotation=90, fontsize=8)
    axes[3].set_xlabel("recorded day (2018); green: change applied, red: refused or killed")
    buffer = io.StringIO()
    FigureCanvasSVG(figure)
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def _market(axis: Axes, days: Sequence[Day], steps: range) -> None:
    axis.plot(steps, [day.spot for day in days], color="tab:blue", label="S&P 500")
    axis.set_ylabel("S&P 500", color="tab:blue")
    other = axis.twinx()
    other.plot(steps, [100 * day.vol for day in days], color="tab:orange", marker=".", label="VIX feed")
    other.set_ylabel("VIX feed (%)", color="tab:orange")
    axis.set_title("What the feeds said", loc="left", fontsize=10)


def _margins(axis: Axes, days: Sequence[Day], steps: range) -> None:
    known = [(step, day.published) for step, day in zip(steps, days, strict=True) if day.published is not None]
    axis.plot([step for step, _ in known], [100 * pair[1] for _, pair in known], label="upper 99 %")
    axis.plot([step for step, _ in known], [100 * pair[0] for _, pair in known], label="lower 1 %")
    moves = [100 * (later.spot / earlier.spot - 1) for earlier, later in pairwise(days)]
    axis.plot(steps[1:], moves, "k.", label="realised daily move")
    axis.set_ylabel("daily move (%)")
    axis.set_title("The model's published margin against what happened", loc="left", fontsize=10)
    axis.legend(fontsize=8)


def _parameters(axis: Axes, days: Sequence[Day], names: Sequence[str], shown: Sequence[str], label: str) -> None:
    for name in shown:
        values = [day.parameters[names.index(name)] for day in days]
        axis.step(range(len(days)), values, where="post", label=name)
    axis.set_ylabel(label)
    axis.set_title(f"On chain: {label}", loc="left", fontsize=10)
    axis.legend(fontsize=8)
