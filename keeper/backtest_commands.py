"""The command that replays recordings through the keeper's own decisions."""

from __future__ import annotations

import os
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from config.errors import ConfigError
from config.load import DEFAULT_SETTINGS
from keeper.terminal import EXIT_FAILED, AsJson, Config, err, out

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from keeper.backtest.session import Backtest

Data = Annotated[
    list[str] | None,
    typer.Option("--data", help="Recording: a Parquet or CSV file, or builtin:spx, nasdaq, wti. Repeatable."),
]
Compare = Annotated[
    tuple[Path, Path] | None, typer.Option(help="Two settings files, A and B, side by side instead of --config.")
]
BASELINES = ["unchanged", "ewma-fhs"]


def backtest(
    data: Data = None,
    config: Config = DEFAULT_SETTINGS,
    *,
    target: Annotated[Path, typer.Option("--out", help="Folder for report.html, metrics.json and the rest.")] = Path(
        "backtest"
    ),
    compare: Compare = None,
    check_repro: Annotated[
        bool,
        typer.Option("--check-repro", help="Run again what --out holds, and say what differs; nothing is written."),
    ] = False,
    vol: Annotated[
        list[str] | None, typer.Option(help="Volatility recording: FILE, or ASSET=FILE. Repeatable.")
    ] = None,
    book: Annotated[Path | None, typer.Option(help="Recorded Deribit chain that the option book is made of.")] = None,
    policies: Annotated[Path | None, typer.Option(help="On-chain limits; default config/policies.")] = None,
    baseline: Annotated[
        list[str] | None, typer.Option(help="Run beside it; default unchanged and ewma-fhs; 'none' for none.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Starts the option book and chooses the truncations.")] = 0,
    start: Annotated[str, typer.Option(help="First day to decide on, YYYY-MM-DD.")] = "",
    end: Annotated[str, typer.Option(help="Day after the last, YYYY-MM-DD.")] = "",
    max_gap_days: Annotated[
        float, typer.Option(min=0.1, help="A longer gap in the data makes the run invalid.")
    ] = 14.0,
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0: as many as there are cores.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Show what the keeper would have done on recorded data (docs/backtest.md).

    Exit code 1 where the truncation test fails or a run is not reproduced.
    """
    from keeper.backtest.record import compute, read_record, write  # noqa: PLC0415 - pyarrow and arch take a second
    from keeper.backtest.session import Request, run_backtest  # noqa: PLC0415 - likewise

    earlier = read_record(target) if check_repro else None
    if earlier is not None and not data:
        request = Request.parse(earlier["request"])
    elif data:
        chosen = BASELINES if baseline is None else [name for name in baseline if name != "none"]
        request = Request(
            data=tuple(data),
            configs=tuple(map(str, compare or (config,))),
            policies=None if policies is None else str(policies),
            vols=tuple(vol or ()),
            chain=None if book is None else str(book),
            baselines=tuple(chosen),
            seed=seed,
            since=_day(start, "--start") if start else None,
            until=_day(end, "--end") if end else None,
            max_gap_days=max_gap_days,
        )
    else:
        raise ConfigError("--data: missing: give a recording, or --check-repro with the --out of an earlier run")
    with watched() as on_bars:
        finished = run_backtest(request, workers=workers or os.cpu_count() or 1, on_bars=on_bars)
    if earlier is not None:
        _compare_records(earlier, compute(finished))
    record = write(finished, target)
    if as_json:
        out.print_json(data=record)
    else:
        _summary(finished, target)
    raise typer.Exit(0 if finished.cuts_hold else EXIT_FAILED)


@contextmanager
def watched() -> Iterator[Callable[[int, int], None]]:
    """Show bars done, bars to do, time past and time left on standard error; yield what to tell of both."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("bars"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err) as progress:
        task = progress.add_task("reading", total=None)
        counted = [0, 0]

        def on_bars(done: int, more: int) -> None:
            counted[0] += done
            counted[1] += more
            progress.update(task, completed=counted[0], total=counted[1] or None, description="replaying")

        yield on_bars


def _compare_records(earlier: dict[str, object], now: dict[str, object]) -> None:
    from keeper.backtest.differences import record_differences  # noqa: PLC0415 - likewise

    found = record_differences(earlier, now)
    for line in found:
        out.print(line, markup=False, highlight=False, soft_wrap=True)
    out.print("not reproduced" if found else "reproduced: inputs and results have the same hashes")
    raise typer.Exit(EXIT_FAILED if found else 0)


def _summary(finished: Backtest, target: Path) -> None:
    from keeper.backtest.summary import table  # noqa: PLC0415 - likewise

    out.print(table(finished))
    cuts = [cut for results in finished.results.values() for result in results for cut in result.cuts]
    broken = [cut.difference for cut in cuts if cut.difference]
    out.print(f"truncation test: {'; '.join(broken) if broken else f'holds at {len(cuts)} cuts'}", highlight=False)
    out.print(f"written to {target}: report.html, metrics.json, decisions.parquet, run.json", highlight=False)


def _day(text: str, option: str) -> int:
    try:
        return int(datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).timestamp())
    except ValueError:
        raise ConfigError(f"{option} {text}: must be a day, YYYY-MM-DD") from None
