"""The command that makes a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from config.errors import ConfigError
from keeper.terminal import err, out

Data = Annotated[
    list[str], typer.Option("--data", help="Recording: a Parquet or CSV file, or builtin:NAME. Repeatable.")
]
Target = Annotated[Path, typer.Option("--out", help="Artefact to write.")]


def watched() -> Progress:
    """Return a bar with stages done, what is being done, time past and time left, on standard error."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    return Progress(*columns, console=err)


def train(
    data: Data,
    target: Target,
    *,
    seed: Annotated[int, typer.Option(help="Starts the networks and the trees.")] = 0,
) -> None:
    """Train the ensemble on recordings, measure it walk-forward, and write a content-addressed artefact."""
    from models.bundle import save_bundle  # noqa: PLC0415 - torch and scikit-learn take seconds to import
    from models.learning import learn  # noqa: PLC0415 - likewise
    from models.recording import load_recordings  # noqa: PLC0415 - likewise

    if not target.parent.is_dir():
        raise ConfigError(f"--out {target}: {target.parent} is no folder")
    recordings = load_recordings(data)
    with watched() as progress:
        task = progress.add_task("training", total=None)

        def on_progress(done: int, total: int, what: str) -> None:
            progress.update(task, completed=done, total=total, description=what)

        bundle = learn(recordings, seed=seed, on_progress=on_progress)
    save_bundle(bundle, target)
    out.print(f"model {bundle.model_id} written to {target}", markup=False, highlight=False)
