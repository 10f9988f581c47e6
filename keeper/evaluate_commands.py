"""The command that judges a model, or the recipe it comes from, by the gates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from keeper.terminal import EXIT_FAILED, AsJson, out
from keeper.train_commands import Data, watched

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from models.gates import Gate

Document = Annotated[Path | None, typer.Option("--out", help="Write the JSON here as well.")]


def evaluate(
    data: Data,
    *,
    model: Annotated[str, typer.Option(help="A finished model; left out, the recipe is trained walk-forward.")] = "",
    baseline: Annotated[list[str] | None, typer.Option(help="Baselines for 'its own best'; default all.")] = None,
    twins: Annotated[bool, typer.Option(help="Judge scaled, mirrored and shifted twins as well.")] = True,
    seed: Annotated[int, typer.Option(help="Starts networks, trees and the bootstrap.")] = 0,
    target: Document = None,
    as_json: AsJson = False,
) -> None:
    """Judge by the gates of docs/model.md. Exit code 1 where a gate does not pass."""
    from models.evaluation import evaluate as judge_model  # noqa: PLC0415 - torch takes seconds to import
    from models.recording import load_recordings  # noqa: PLC0415 - likewise
    from models.registry import BASELINES, load_forecaster  # noqa: PLC0415 - likewise

    unknown = [name for name in baseline or () if name not in BASELINES]
    if unknown:
        raise typer.BadParameter(f"--baseline {unknown[0]}: must be one of {', '.join(BASELINES)}")
    recordings = load_recordings(data)
    with watched() as progress:
        task = progress.add_task("evaluating", total=None)

        def on_progress(done: int, total: int, what: str) -> None:
            progress.update(task, completed=done, total=total, description=what)

        found = judge_model(
            recordings,
            model=load_forecaster(model) if model else None,
            baselines=tuple(baseline or BASELINES),
            with_twins=twins,
            seed=seed,
            on_progress=on_progress,
        )
    if target is not None:
        target.write_text(json.dumps(found.document(), indent=1) + "\n", encoding="utf-8")
    if as_json:
        out.print_json(data=found.document())
    else:
        for name, gates in (("originals", found.originals), ("twins", found.twins)):
            out.print(_table(f"{found.model_id}: {name}", gates))
    raise typer.Exit(0 if found.passed else EXIT_FAILED)


def _table(title: str, gates: Iterable[Gate]) -> Table:
    table = Table("gate", "horizon", "passed", "figures", title=title)
    for gate in gates:
        shown = ", ".join(_shown(gate.figures, gate.intervals))
        table.add_row(gate.name, f"{gate.horizon // 3_600} h", "yes" if gate.passed else "NO", shown)
    return table


def _shown(figures: Mapping[str, Any], intervals: Mapping[str, tuple[float, float]]) -> Iterator[str]:
    for name, value in figures.items():
        if isinstance(value, float):
            yield f"{name} {value:.4g}{_interval(intervals.get(name))}"
        elif name == "rates":
            thirds = zip(intervals.items(), value, strict=True)
            yield from (f"{third} {rate:.4g}{_interval(found)}" for (third, found), rate in thirds)
        elif name == "series" and intervals:
            yield from (
                f"{asset} {each['log_ratio']:.4g}{_interval(intervals[asset])}" for asset, each in value.items()
            )
        elif isinstance(value, list):
            yield f"{name} {' … '.join(f'{each:.4g}' for each in value)}"
        elif not isinstance(value, dict):
            yield f"{name} {value}"


def _interval(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f" ({interval[0]:.4g} … {interval[1]:.4g})"
