"""Tell one story in seven acts, and check each by reading the chain and the journal, never the keeper's own word."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import tempfile
import time
from collections import deque
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from config.errors import ConfigError
from keeper.daemon import Parts, open_keeper
from keeper.demo.acts import agreement, broken_model, calm, killed_between, poisoned_feed, spike, wrong_value
from keeper.demo.faults import CorruptingExecutor, FaultyForecaster
from keeper.demo.report import NOTHING, Act, Day, write_html, write_json
from keeper.demo.world import MARKET, open_world
from keeper.journal import EntryKind, Journal
from keeper.messages import Announced, Applied, DryRun, Failed, NoChange, Rejected
from models.recording import load_recording
from models.registry import load_forecaster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from rich.console import Console

    from keeper.daemon import Keeper
    from keeper.demo.world import World
    from keeper.journal import Entry
    from keeper.messages import Outcome
    from keeper.submit import Executor
    from models.market import Bar

FIRST_DAY = "2018-01-17"
FEED_SECONDS = 10
ACTS = 7


class Days:
    """The recorded days still to come."""

    def __init__(self, bars: Iterable[Bar]) -> None:
        self._bars = deque(bars)

    def __next__(self) -> Bar:
        """Take the next day."""
        return self._bars.popleft()

    def peek(self) -> Bar:
        """Look at the next day."""
        return self._bars[0]


@dataclass(slots=True)
class Story:
    """What is on stage while the acts run: the world, the recorded days still to come, the keeper's injected faults."""

    world: World
    console: Console
    days: Days
    forecaster: FaultyForecaster
    executor: CorruptingExecutor | None = None
    title: str = ""
    told: int = 0
    played: list[Day] = field(default_factory=list)

    @contextlib.asynccontextmanager
    async def keeper(self) -> AsyncIterator[Keeper]:
        """Run a keeper in this process, with the faults within reach."""
        world = self.world
        parts = Parts(open_forecaster=lambda _: self.forecaster, wrap_executor=self._wrap)
        protocols = {MARKET: world.protocol}
        async with open_keeper(world.settings, world.secrets, world.deployment, protocols, parts) as keeper:
            yield keeper

    def _wrap(self, executor: Executor) -> Executor:
        self.executor = CorruptingExecutor(executor)
        return self.executor

    async def live(self, keeper: Keeper, bar: Bar, vol_factor: float = 1.0) -> Outcome:
        """Let one recorded day happen, through broker and chain, and let the keeper decide at its close."""
        await self.world.begin_day(bar)
        await keeper.follow_chain_time()
        sent = await self.world.publish_day(bar, vol_factor)
        async with asyncio.timeout(FEED_SECONDS):
            await keeper.saw(sent)
        outcome = (await keeper.tick())[0]
        await self.note(bar, outcome, vol_factor)
        return outcome

    async def note(self, bar: Bar, outcome: Outcome | str, vol_factor: float = 1.0) -> None:
        """Show a day and keep it for the plots: a line for every change on chain, the last one with the outcome."""
        changes = (await self.world.changes())[self.told :]
        self.told += len(changes)
        for change in changes[:-1]:
            await self._line(bar, vol_factor, change.values, f"{change.kind} applied: version {change.sequence}")
        text = outcome if isinstance(outcome, str) else describe(outcome)
        await self._line(bar, vol_factor, await self.world.parameters(), text)

    async def _line(self, bar: Bar, vol_factor: float, values: tuple[int, ...], text: str) -> None:
        date = datetime.fromtimestamp(bar.start, UTC).date().isoformat()
        day = Day(date, bar.close, (bar.iv or 0.0) * vol_factor, values, await self.published(), text)
        self.played.append(day)
        self.console.print(
            f"  {day.date}  S&P {day.spot:8.2f}  VIX {100 * day.vol:6.2f}  {text}", highlight=False, markup=False
        )

    def announce(self, letter: str, act: Callable[..., object]) -> None:
        """Show which act begins."""
        self.title = (act.__doc__ or "").split(". ")[0].removeprefix(f"({letter}) ").rstrip(".")
        self.console.print(f"\n[bold]({letter})[/] {self.title}", soft_wrap=True)

    def conclude(self, act: Act) -> Act:
        """Show how an act ended."""
        self.console.print(f"  [{'green' if act.passed else 'bold red'}]{'passed' if act.passed else 'FAILED'}[/]")
        return act

    async def published(self) -> tuple[float, float] | None:
        """Return the margin of the newest assessment in the journal."""
        async with self.journal() as journal:
            last = await journal.last(EntryKind.ASSESSMENT, MARKET)
        return None if last is None else (last.body["published"][0], last.body["published"][1])

    @contextlib.asynccontextmanager
    async def journal(self) -> AsyncIterator[Journal]:
        """Open the journal as an auditor would: apart from the keeper."""
        journal = await Journal.open(self.world.settings.journal.url.get_secret_value(), lambda: 0)
        try:
            yield journal
        finally:
            await journal.close()

    async def rows(self, kind: EntryKind) -> list[Entry]:
        """Read all rows of a kind."""
        async with self.journal() as journal:
            return await journal.find(kind=kind, market=MARKET)

    async def run_keeper(self, *command: str) -> int:
        """Run a keeper process to its end; return its exit code (negative: the signal that killed it)."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            *command,
            env=self.world.environment(),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        _, errors = await process.communicate()
        code = process.returncode or 0
        if code not in (0, 3, -signal.SIGKILL):
            self.console.print(errors.decode(errors="replace"), markup=False, highlight=False)
        return code


def describe(outcome: Outcome) -> str:
    """Return a few words for a day's line."""
    match outcome:
        case Rejected():
            return f"refused: {outcome.reason.value}"
        case Applied():
            return f"{outcome.kind.value} applied: version {outcome.sequence}, {outcome.gas_used} gas"
        case NoChange():
            return NOTHING
        case Failed() | DryRun() | Announced():
            return type(outcome).__name__.lower()


async def play(story: Story) -> list[Act]:
    """Play the acts in order; the first five share one keeper, the last two have processes of their own.

    An act that raises has failed, and ends the story: the ones after it would tell of another world.
    """
    played: list[Act] = []
    try:
        async with story.keeper() as keeper:
            for letter, act in zip("abcde", (calm, spike, poisoned_feed, broken_model, wrong_value), strict=True):
                story.announce(letter, act)
                played.append(story.conclude(await act(story, keeper)))
        for letter, last in zip("fg", (killed_between, agreement), strict=True):
            story.announce(letter, last)
            played.append(story.conclude(await last(story)))
    except Exception as error:  # noqa: BLE001 - whatever an act raises is its verdict
        fault = f"{type(error).__name__}: {error}"
        played.append(
            story.conclude(
                Act(story.title, passed=False, expected="the act runs to its end", read=fault, transactions=(), gas=0)
            )
        )
    return played


async def tell(console: Console, json_file: Path, html_file: Path, workdir: Path | None) -> bool:
    """Play all acts and write both reports. Returns whether every act passed.

    Raises ConfigError, before anything starts, for a report that could not be written.
    """
    for report in (json_file, html_file):
        _make_way(report)
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        place = workdir or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="keeper-demo-")))
        place.mkdir(parents=True, exist_ok=True)
        console.rule("DEMO: recorded data on a private development chain")
        bars = [replace(bar, asset=MARKET) for bar in load_recording("builtin:spx").bars]
        first = datetime.fromisoformat(FIRST_DAY).replace(tzinfo=UTC).timestamp()
        history = [bar for bar in bars if bar.end <= first]
        days = Days(bar for bar in bars if bar.start >= first and bar.iv)
        async with open_world(history, place.resolve(), lambda step: console.print(f"  {step}")) as world:
            forecaster = FaultyForecaster(load_forecaster(world.settings.model.model))
            story = Story(world, console, days, forecaster)
            acts = await play(story)
            names = [parameter.name for parameter in world.protocol.parameters]
    seconds = time.monotonic() - began
    write_json(json_file, acts, seconds)
    write_html(html_file, acts, story.played, names, seconds)
    console.print(_table(acts))
    passed = sum(act.passed for act in acts)
    console.print(f"{passed} of {ACTS} acts passed in {seconds:.1f} s")
    console.print(f"reports: {json_file}, {html_file}", markup=False)
    return passed == ACTS


def _make_way(report: Path) -> None:
    """Remove an earlier run's report: it must not stand for this run if this one breaks off."""
    if not report.parent.is_dir():
        raise ConfigError(f"{report}: cannot be written: {report.parent} is no folder")
    report.unlink(missing_ok=True)


def _table(acts: list[Act]) -> Table:
    table = Table(title="What chain and journal say", title_justify="left")
    for column in ("act", "", "read", "gas"):
        table.add_column(column, justify="right" if column == "gas" else "left", overflow="fold")
    for letter, act in zip("abcdefg", acts, strict=False):
        verdict = "[green]passed[/]" if act.passed else "[bold red]FAILED[/]"
        gas = f"{act.gas:,}" if act.gas else "-"
        read = act.read if act.passed else f"{act.read}\n[bold]expected:[/] {act.expected}"
        table.add_row(f"({letter}) {act.name}", verdict, read, gas)
    return table
