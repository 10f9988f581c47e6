"""The command line: read settings, call the part that does the work, show what came of it."""

from __future__ import annotations

import asyncio
import math
import sys
import traceback
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from config.errors import ConfigError, KnownFault
from config.load import DEFAULT_SETTINGS, Secrets
from keeper.backtest_commands import backtest
from keeper.bench_commands import bench
from keeper.evaluate_commands import evaluate
from keeper.explain_commands import explain
from keeper.messages import Failed, Rejected
from keeper.model_commands import model
from keeper.outcomes import describe, document
from keeper.setup_commands import check, deploy, govern, pause, policy, veto
from keeper.terminal import (
    EXIT_FAILED,
    EXIT_HALTED,
    EXIT_REFUSED,
    EXIT_USAGE,
    AsJson,
    Config,
    err,
    out,
    read_deployment,
    read_protocols,
    read_secrets,
    read_settings,
)
from keeper.train_commands import train

if TYPE_CHECKING:
    from collections.abc import Mapping

    from config.schema import MarketSettings, Settings
    from keeper.messages import Outcome

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Watches an options protocol's risk and keeps its margin parameters, within limits that hold on chain.",
)
app.command()(deploy)
app.command()(check)
app.command()(policy)
app.command()(govern)
app.command()(pause)
app.command()(veto)
app.command()(explain)
app.command()(train)
app.command()(evaluate)
app.command()(backtest)
app.add_typer(bench, name="bench")
app.add_typer(model, name="model")


def main() -> None:
    """Run the command line; known faults become one plain sentence and an exit code."""
    try:
        app()
    except KnownFault as error:
        err.print("[bold red]error:[/]", end=" ")
        err.print(str(error), markup=False, highlight=False, soft_wrap=True)
        sys.exit(EXIT_USAGE if isinstance(error, ConfigError) else EXIT_FAILED)
    except Exception:  # noqa: BLE001 - the last resort: it says so and ends the process
        err.print("[bold red]halted by a fault that nothing here foresaw:[/]")
        err.print(traceback.format_exc(), markup=False, highlight=False, soft_wrap=True)
        sys.exit(EXIT_HALTED)


@app.command()
def run(config: Config = DEFAULT_SETTINGS, *, dry_run: bool = False) -> None:
    """Run until stopped. Without a key, or with --dry-run, nothing is sent."""
    from keeper.daemon import open_keeper, run_until_stopped
    from keeper.pauses import pause_notices

    settings, secrets = read_settings(config), read_secrets(dry_run=dry_run)
    out.print("starting: reading the journal, warming up the model", highlight=False)

    async def go() -> None:
        deployment, protocols = read_deployment(settings), read_protocols(settings, config)
        async with open_keeper(settings, secrets, deployment, protocols, settings_file=config) as keeper:
            _say_mode(secrets)
            _say_pauses(await pause_notices(pipeline.market for pipeline in keeper.pipelines))
            out.print(f"deciding every {settings.keeper.tick_seconds} s; waiting for the feeds")
            await run_until_stopped(keeper, _show)

    asyncio.run(go())


@app.command()
def once(
    config: Config = DEFAULT_SETTINGS,
    *,
    dry_run: Annotated[bool, typer.Option(help="Send nothing, even with a key.")] = False,
    wait_seconds: Annotated[int, typer.Option(min=0, help="How long to wait for the first message of each feed.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Make one decision. Exit code 0: applied, dry run or nothing to do; 3: refused; 1: failed."""
    settings, secrets = read_settings(config), read_secrets(dry_run=dry_run)
    outcomes, pauses = asyncio.run(_once(settings, secrets, config, wait_seconds))
    for outcome in outcomes:
        if as_json:
            out.print_json(data=document(outcome) | {"paused": pauses.get(outcome.market)})
        else:
            _show(outcome)
    if not as_json:
        _say_pauses(pauses)
    raise typer.Exit(max(_exit_code(outcome) for outcome in outcomes))


@app.command()
def rollback(
    config: Config = DEFAULT_SETTINGS,
    *,
    market: Annotated[str, typer.Option(help="Market to roll back; may be left out when there is one.")] = "",
    because: Annotated[str, typer.Option(help="Reason, for the journal.")] = "an operator asked for it",
    dry_run: bool = False,
) -> None:
    """Restore the last good version of a market, through the same guard as every change."""
    from keeper.daemon import open_keeper

    settings, secrets = read_settings(config), read_secrets(dry_run=dry_run)
    name = _one_market(settings, market).name

    async def go() -> Outcome:
        deployment, protocols = read_deployment(settings), read_protocols(settings, config)
        async with open_keeper(settings, secrets, deployment, protocols, settings_file=config) as keeper:
            await keeper.finish()
            pipeline = next(p for p in keeper.pipelines if p.market.name == name)
            return await pipeline.roll_back(because)

    outcome = asyncio.run(go())
    _show(outcome)
    raise typer.Exit(_exit_code(outcome))


@app.command()
def confirm(
    feed: Annotated[str, typer.Argument(help="Feed whose newest quote is true, though it jumped.")],
    config: Config = DEFAULT_SETTINGS,
    *,
    because: Annotated[str, typer.Option(help="Where it was checked, for the journal.")] = "an operator checked it",
    wait_seconds: Annotated[int, typer.Option(min=1, help="How long to wait for the feed's message.")] = 10,
) -> None:
    """Confirm a feed's newest quote after FEED_JUMPED: a running keeper heeds it at its next tick."""
    from keeper.confirm import confirm_quote

    confirmed = asyncio.run(confirm_quote(read_settings(config), feed, because, wait_seconds))
    for one in confirmed:
        out.print(f"{one.market}: feed {feed} confirmed at {one.quote.value:g}", markup=False, highlight=False)


@app.command()
def demo(
    *,
    json_file: Annotated[Path, typer.Option("--json", help="Where the report goes as JSON.")] = Path(
        "demo-report.json"
    ),
    html_file: Annotated[Path, typer.Option("--html", help="Where the page goes.")] = Path("demo-report.html"),
    workdir: Annotated[Path | None, typer.Option(help="Keep settings and journal here.")] = None,
) -> None:
    """Show the whole main job on recorded data: a real broker, chain and database, each act checked."""
    from keeper.demo.story import tell

    passed = asyncio.run(tell(out, json_file, html_file, workdir))
    raise typer.Exit(0 if passed else EXIT_FAILED)


@app.command()
def status(config: Config = DEFAULT_SETTINGS, *, as_json: AsJson = False) -> None:
    """Show each market: parameters against their limits, last decision, accounts, sequence."""
    from keeper.status import gather, render

    settings = read_settings(config)
    found = asyncio.run(gather(settings, read_deployment(settings), read_protocols(settings, config)))
    if as_json:
        out.print_json(data=found)
    else:
        for renderable in render(found):
            out.print(renderable)


@app.command()
def publish(
    config: Config = DEFAULT_SETTINGS,
    *,
    data: Annotated[Path | None, typer.Option(help="Parquet or CSV; default S&P 500 with VIX.")] = None,
    vol: Annotated[Path | None, typer.Option(help="Volatility recording to join on.")] = None,
    market: Annotated[str, typer.Option(help="Market whose feeds to publish; may be left out when there is one.")] = "",
    speed: Annotated[float, typer.Option(help="Times the recorded pace; 0 publishes at once.")] = 86_400.0,
    start: Annotated[str, typer.Option(help="First day, YYYY-MM-DD.")] = "",
    end: Annotated[str, typer.Option(help="Day after the last, YYYY-MM-DD.")] = "",
    recorded_time: Annotated[bool, typer.Option(help="Keep recorded timestamps instead of now.")] = False,
) -> None:
    """Replay recorded data into the broker at SPEED times the pace it was recorded at."""
    from keeper.publish import publish as publish_bars
    from models.recording import load_recording, load_vol, with_vol

    settings = read_settings(config)
    names = _one_market(settings, market)
    recording = load_recording(data or "builtin:spx")
    if vol is not None:
        recording = with_vol(recording, load_vol(vol))
    underlying = settings.feeds[names.spot_feed].underlying
    bars = [replace(bar, asset=underlying) for bar in recording.bars]
    first, last = (_day(start, "--start") if start else None), (_day(end, "--end") if end else None)
    chosen = sum(1 for bar in bars if (first is None or bar.start >= first) and (last is None or bar.start < last))
    with _progress("bars") as progress:
        task = progress.add_task(f"publishing to {names.spot_feed}, {names.vol_feed}", total=chosen)
        seen: set[int] = set()

        def on_progress(_: int, reading: Any) -> None:
            seen.add(reading.timestamp_ms // (recording.bar_seconds * 1000))
            progress.update(task, completed=len(seen))

        sent = asyncio.run(
            publish_bars(
                bars,
                settings,
                names,
                speed=speed or math.inf,
                restamp=not recorded_time,
                start=first,
                end=last,
                on_progress=on_progress,
            )
        )
    out.print(f"{sent} messages published")


@app.command()
def forecast(
    *,
    stdio: Annotated[bool, typer.Option("--stdio", help="Read and answer JSON lines.")] = False,
    model: Annotated[str, typer.Option(help="'default', a baseline's name, or a model file.")] = "default",
) -> None:
    """Answer a stream of bars with forecasts, a JSON line each (docs/model.md)."""
    from models.registry import load_forecaster
    from models.streaming import ForecastStream

    if not stdio:
        raise typer.BadParameter("the only way to forecast is --stdio so far")
    stream = ForecastStream(load_forecaster(model))
    for line in sys.stdin:
        answer = stream.answer(line)
        if answer is not None:
            sys.stdout.write(answer + "\n")
            sys.stdout.flush()


@app.command()
def verify(
    config: Config = DEFAULT_SETTINGS,
    *,
    journal_only: Annotated[bool, typer.Option(help="Do not compare with the chain.")] = False,
    as_json: AsJson = False,
) -> None:
    """Prove the journal's chain of hashes, and that it agrees with what happened on chain."""
    from keeper.audit import audit

    settings = read_settings(config)
    deployment = None if journal_only else read_deployment(settings)
    report = asyncio.run(audit(settings, deployment, read_protocols(settings, config)))
    if as_json:
        out.print_json(data=report.document())
    else:
        colour = "green" if report.ok else "bold red"
        out.print(report.sentence(), style=colour, markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(0 if report.ok else EXIT_FAILED)


async def _once(
    settings: Settings, secrets: Secrets, config: Path, wait_seconds: int
) -> tuple[list[Outcome], dict[str, str]]:
    from keeper.daemon import open_keeper
    from keeper.pauses import pause_notices

    deployment, protocols = read_deployment(settings), read_protocols(settings, config)
    async with open_keeper(settings, secrets, deployment, protocols, settings_file=config) as keeper:
        await keeper.wait_for_feeds(wait_seconds)
        outcomes = await keeper.tick()
        return outcomes, await pause_notices(pipeline.market for pipeline in keeper.pipelines)


def _say_pauses(pauses: Mapping[str, str]) -> None:
    for notice in pauses.values():
        out.print(notice, style="yellow", markup=False, highlight=False, soft_wrap=True)


def _one_market(settings: Settings, name: str) -> MarketSettings:
    names = [market.name for market in settings.markets]
    if not name and len(names) == 1:
        return settings.markets[0]
    if name not in names:
        raise ConfigError(f"--market {name or '(missing)'}: must be one of {', '.join(names)}")
    return settings.markets[names.index(name)]


def _day(text: str, option: str) -> int:
    try:
        return int(datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).timestamp())
    except ValueError:
        raise ConfigError(f"{option} {text}: must be a day, YYYY-MM-DD") from None


def _progress(unit: str) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=err)


def _say_mode(secrets: Secrets) -> None:
    dry = secrets.private_key is None
    out.print("[yellow]dry run: nothing is sent[/]" if dry else "[bold]live: approved changes are sent[/]")


def _show(outcome: Outcome) -> None:
    out.print(describe(outcome), markup=False, highlight=False, soft_wrap=True)


def _exit_code(outcome: Outcome) -> int:
    match outcome:
        case Rejected():
            return EXIT_REFUSED
        case Failed():
            return EXIT_FAILED
        case _:
            return 0
