"""Put the keeper together from its settings, and run it: the only place where the parts are built."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from apscheduler.schedulers.asyncio import AsyncIOScheduler

from chain.accounts import AccountUnreadable
from chain.market import bind
from chain.rpc import Rpc, RpcError, head, require_chain
from chain.signer import LocalSigner
from config.errors import ConfigError
from keeper.announcements import Announcements
from keeper.bars import BarBuilder
from keeper.check import examine, sources_of
from keeper.clock import ChainClock, WallClock
from keeper.feeds import MqttFeed
from keeper.ground import Source
from keeper.journal import EntryKind, Journal
from keeper.memory import Memory
from keeper.messages import Applied, Lifecycle, Reason, Rejected
from keeper.pipeline import Pipeline
from keeper.quotebook import QuoteBook
from keeper.submit import DryRunExecutor, StewardExecutor
from models.bundle import ArtefactError
from models.market import BlockStamp
from models.recording import RecordingError, load_recording
from models.registry import load_forecaster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping
    from pathlib import Path

    from chain.market import Market
    from config.deployment import Deployment
    from config.load import Secrets
    from config.protocol import Protocol
    from config.schema import MarketSettings, Settings
    from keeper.clock import Clock
    from keeper.messages import Outcome, QuoteRefused
    from keeper.submit import Executor
    from models.forecaster import Forecaster
    from models.market import Bar, Quote

FIRST_QUOTES_SECONDS = 5
"""How long the first decision waits for the broker's retained messages."""

NO_BLOCK = BlockStamp(0, "", 0)


@dataclass(frozen=True, slots=True)
class Parts:
    """What may be put in another's place: the defaults are the product, the demo injects its faults here."""

    open_rpc: Callable[[str], Rpc] = Rpc
    open_forecaster: Callable[[str], Forecaster] = load_forecaster
    wrap_executor: Callable[[Executor], Executor] = lambda executor: executor


@dataclass(slots=True)
class Keeper:
    """A running keeper: one pipeline a market, one journal, one feed, one key."""

    settings: Settings
    journal: Journal
    clock: Clock
    rpc: Rpc
    feed: MqttFeed
    executor: Executor
    pipelines: tuple[Pipeline, ...]
    listening: asyncio.Task[None]

    async def tick(self) -> list[Outcome]:
        """Finish what is unfinished, then make one decision for every market.

        An endpoint that fails, or an account that cannot be read, is a refusal of this tick; any other fault is raised,
        and halts the keeper.
        """
        try:
            await require_chain(self.rpc, self.settings.chain.chain_id)
            await self.follow_chain_time()
            await self.finish()
        except RpcError as error:
            return [await self._endpoint_failed(pipeline, error) for pipeline in self.pipelines]
        return [await self._tick(pipeline) for pipeline in self.pipelines]

    async def finish(self) -> list[Applied]:
        """Bring attempts of an earlier run to their end, and let their markets' pipelines know."""
        applied = [ended for ended in await self.executor.finish() if isinstance(ended, Applied)]
        for ended in applied:
            pipeline = next(p for p in self.pipelines if p.market.name == ended.market)
            pipeline.memory.note(ended)
            await pipeline.memory.recall_promise(self.journal, ended.market)
        return applied

    async def saw(self, timestamps: Mapping[str, int]) -> None:
        """Wait until every feed's newest quote is at least as new as given (milliseconds by feed)."""
        for pipeline in self.pipelines:
            await pipeline.saw(timestamps)

    async def wait_for_feeds(self, seconds: float) -> None:
        """Wait until every market has a quote of each of its feeds, or `seconds` have passed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                for pipeline in self.pipelines:
                    await pipeline.saw({pipeline.names.spot_feed: 0, pipeline.names.vol_feed: 0})

    async def run(self, stop: asyncio.Event, on_outcome: Callable[[Outcome], None]) -> None:
        """Decide every `tick_seconds`, and when a notice is over, until `stop` is set.

        Raises what no stage knows how to handle.
        """
        due: asyncio.Queue[None] = asyncio.Queue(maxsize=1)
        scheduler = AsyncIOScheduler()
        scheduler.add_job(_make_due, "interval", seconds=self.settings.keeper.tick_seconds, args=[due])
        scheduler.start()
        stopping = asyncio.create_task(stop.wait())
        opening = asyncio.create_task(self._open(due))
        alarm: asyncio.TimerHandle | None = None
        try:
            while not stop.is_set():
                waking = asyncio.create_task(due.get())
                await asyncio.wait({waking, stopping, self.listening}, return_when=asyncio.FIRST_COMPLETED)
                if self.listening.done():
                    self.listening.result()
                if waking.cancel():
                    continue
                for outcome in await self.tick():
                    on_outcome(outcome)
                if alarm is not None:
                    alarm.cancel()
                alarm = self._set_alarm(due)
        finally:
            if alarm is not None:
                alarm.cancel()
            opening.cancel()
            stopping.cancel()
            scheduler.shutdown(wait=False)

    def _set_alarm(self, due: asyncio.Queue[None]) -> asyncio.TimerHandle | None:
        """Make a decision due when the first notice is over: what was announced must not wait to near its deadline."""
        left = seconds_until(self.clock.now_ms(), [pipeline.due for pipeline in self.pipelines])
        return None if left is None else asyncio.get_running_loop().call_later(left, _ask, due)

    async def _open(self, due: asyncio.Queue[None]) -> None:
        """Make the first decision due once the feeds have spoken."""
        await self.wait_for_feeds(FIRST_QUOTES_SECONDS)
        await _make_due(due)

    async def _tick(self, pipeline: Pipeline) -> Outcome:
        try:
            return await pipeline.tick()
        except RpcError as error:
            return await self._endpoint_failed(pipeline, error)

    async def _endpoint_failed(self, pipeline: Pipeline, error: RpcError) -> Outcome:
        unreadable = isinstance(error, AccountUnreadable)
        reason = Reason.ACCOUNT_UNREADABLE if unreadable else Reason.ENDPOINT_FAILED
        refused = Rejected(pipeline.market.name, reason, str(error), NO_BLOCK)
        await self.journal.append(refused)
        return refused

    async def follow_chain_time(self) -> None:
        """Set a chain clock to the latest block's time; a wall clock needs no setting."""
        if isinstance(self.clock, ChainClock):
            self.clock.advance((await head(self.rpc)).timestamp)


@contextlib.asynccontextmanager
async def open_keeper(
    settings: Settings,
    secrets: Secrets,
    deployment: Deployment,
    protocols: Mapping[str, Protocol],
    parts: Parts | None = None,
    settings_file: Path | None = None,
) -> AsyncIterator[Keeper]:
    """Build a keeper, restore what its journal holds, and listen to its feeds until the context is left.

    `protocols` maps market names to bindings; with `settings_file`, which they were named in, an error about one has
    file and line as in `keeper check`. Raises ConfigError, WrongChain, JournalError or RpcError on a part that
    cannot be had. A fault that leaves the context is journalled as a halt.
    """
    parts = parts or Parts()
    clock: Clock = WallClock() if settings.keeper.clock == "wall" else ChainClock()
    if deployment.chain_id != settings.chain.chain_id:
        raise ConfigError(
            f"{settings.keeper.deployment}: chain_id is {deployment.chain_id}, "
            f"chain.chain_id in the settings is {settings.chain.chain_id}"
        )
    async with contextlib.AsyncExitStack() as stack:
        rpc = await stack.enter_async_context(parts.open_rpc(settings.chain.rpc_url.get_secret_value()))
        await require_chain(rpc, settings.chain.chain_id)
        if isinstance(clock, ChainClock):
            clock.advance((await head(rpc)).timestamp)
        bare = {name: Source(binding) for name, binding in protocols.items()}
        sources = bare if settings_file is None else sources_of(settings, protocols, settings_file)
        await _require_sound(rpc, deployment, sources, secrets)
        journal = await Journal.open(settings.journal.url.get_secret_value(), clock.now_ms)
        stack.push_async_callback(journal.close)
        markets = {m.name: bind(m.name, deployment, protocols[m.name], rpc) for m in settings.markets}
        executor, sender = _executor(settings, secrets, deployment, rpc, journal, markets)
        executor = parts.wrap_executor(executor)
        forecaster = _forecaster(settings, parts)
        pipelines = tuple(
            [
                await _pipeline(names, markets[names.name], settings, forecaster, executor, journal, clock, sender)
                for names in settings.markets
            ]
        )
        feed = _feed(settings, journal, clock, pipelines)
        mode = "dry run"
        if secrets.private_key is not None:
            mode = sender
        await journal.append(Lifecycle("started", mode, settings.model_dump(mode="json")))
        listening = asyncio.create_task(feed.run())
        stack.push_async_callback(_stop, listening)
        try:
            yield Keeper(settings, journal, clock, rpc, feed, executor, pipelines, listening)
        except Exception as error:
            # Fail closed: what no stage foresaw ends the process, after saying so where an auditor looks.
            await journal.append(Lifecycle("halted", f"{type(error).__name__}: {error}"))
            raise
        await journal.append(Lifecycle("stopped"))


async def run_until_stopped(keeper: Keeper, on_outcome: Callable[[Outcome], None]) -> None:
    """Run until SIGTERM or SIGINT, or until a fault that no stage knows how to handle, which is raised."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await keeper.run(stop, on_outcome)


async def _require_sound(rpc: Rpc, deployment: Deployment, sources: Mapping[str, Source], secrets: Secrets) -> None:
    """Raise ConfigError unless `keeper check` would pass: better at the start than at the first change."""
    own = [] if secrets.private_key is None else [LocalSigner(secrets.private_key).address]
    (await examine(rpc, deployment, sources, own)).require()


async def _stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def _make_due(due: asyncio.Queue[None]) -> None:
    """Ask for a tick. A coroutine: APScheduler runs plain functions in another thread."""
    _ask(due)


def _ask(due: asyncio.Queue[None]) -> None:
    """Ask for a tick unless one is waiting."""
    with contextlib.suppress(asyncio.QueueFull):
        due.put_nowait(None)


def seconds_until(now_ms: int, times: Iterable[int | None]) -> float | None:
    """Return the seconds until the first of the times that is to come (Unix seconds), None without one."""
    left = [at - now_ms / 1000 for at in times if at is not None and at * 1000 > now_ms]
    return min(left, default=None)


def _executor(
    settings: Settings,
    secrets: Secrets,
    deployment: Deployment,
    rpc: Rpc,
    journal: Journal,
    markets: Mapping[str, Market],
) -> tuple[Executor, str]:
    """Return the executor and the address that simulations are sent from."""
    if secrets.private_key is None:
        return DryRunExecutor(), deployment.signers[0]
    signer = LocalSigner(secrets.private_key)
    return StewardExecutor(rpc, signer, journal, settings.chain, markets), signer.address


def _forecaster(settings: Settings, parts: Parts) -> Forecaster:
    try:
        return parts.open_forecaster(settings.model.model)
    except ArtefactError as error:
        raise ConfigError(f"model.model: {error}") from None


async def _pipeline(
    names: MarketSettings,
    market: Market,
    settings: Settings,
    forecaster: Forecaster,
    executor: Executor,
    journal: Journal,
    clock: Clock,
    sender: str,
) -> Pipeline:
    seconds = settings.model.bar_seconds
    forecaster.reset(names.name, seconds)
    memory = Memory(forecaster, deque(maxlen=settings.watch.breach_window))
    await _recall(memory, names.name, settings, journal, clock)
    heeded, _ = await journal.head()  # what the journal holds is restored, each confirmation in its turn
    await memory.restore(journal, names.name)
    await memory.keep(journal, names.name, settings.model)
    builder = BarBuilder(names.name, seconds, memory.bars_end)
    announced = Announcements(journal, names.name)
    return Pipeline(
        market, names, settings, executor, journal, clock, sender, memory, announced, builder, heeded=heeded
    )


async def _recall(memory: Memory, market: str, settings: Settings, journal: Journal, clock: Clock) -> None:
    """Take up what the model had learned, or warm it up anew where that is not to be had, saying why."""
    refused = await memory.take_up(journal, market, settings.model)
    if refused is None:
        return
    if refused:
        await journal.append(Lifecycle("learning anew", refused))
    memory.warm_up(await _warm_up_bars(market, settings, journal, clock))


async def _warm_up_bars(asset: str, settings: Settings, journal: Journal, clock: Clock) -> list[Bar]:
    """Return the recorded bars that ended before the journal's first one, and before now."""
    if not settings.model.warmup:
        return []
    try:
        recording = await asyncio.to_thread(load_recording, settings.model.warmup)
    except RecordingError as error:
        raise ConfigError(f"model.warmup: {error}") from None
    if recording.bar_seconds != settings.model.bar_seconds:
        raise ConfigError(
            f"model.warmup: {settings.model.warmup} has bars of {recording.bar_seconds} s, "
            f"model.bar_seconds is {settings.model.bar_seconds}"
        )
    first = await journal.find(kind=EntryKind.BAR_CLOSED, market=asset, limit=1)
    until = min([clock.now_ms() // 1000, *(entry.body["bar"]["start"] for entry in first)])
    return [replace(bar, asset=asset) for bar in recording.bars if bar.end <= until]


def _feed(settings: Settings, journal: Journal, clock: Clock, pipelines: tuple[Pipeline, ...]) -> MqttFeed:
    book = QuoteBook(settings.feeds, settings.mqtt.topic_prefix, clock.now_ms)

    async def on_quote(quote: Quote) -> None:
        for pipeline in pipelines:
            pipeline.take(quote)

    async def on_refused(refused: QuoteRefused) -> None:
        await journal.append(refused)

    return MqttFeed(settings.mqtt, book, on_quote, on_refused)
