"""Run one tick of one market: read, watch, assess, propose, guard, simulate, submit, watch again."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from chain.events import history
from chain.rpc import head
from keeper import announcements, guard, limits
from keeper.assess import assess
from keeper.deliberation import deliberation
from keeper.journal import EntryKind
from keeper.messages import (
    Announced,
    Applied,
    BarClosed,
    Baseline,
    IncidentKind,
    NoChange,
    Preflight,
    ProposalKind,
    Reason,
    Rejected,
    Undone,
    digest,
)
from keeper.preflight import due_preflight, preflight_of
from keeper.propose import carry, plan, rollback
from keeper.watch import inspect, inspect_history, inspect_liquidations
from models.market import QuoteKind, Snapshot

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from chain.market import Market
    from chain.steward import StewardEvent
    from config.schema import MarketSettings, Settings
    from keeper.announcements import Announcement, Announcements
    from keeper.bars import BarBuilder
    from keeper.clock import Clock
    from keeper.journal import Journal, Message
    from keeper.memory import Memory
    from keeper.messages import Approved, Assessment, Incident, Outcome, Proposal
    from keeper.submit import Executor
    from models.market import BlockStamp, MarketState, Quote

M = TypeVar("M", bound="Message")

REORG_BLOCKS = 64
"""How far back logs are read again: two epochs, the depth at which Ethereum calls a block final."""

OPEN_BARS = 3
"""Bars whose volatility is kept until they close."""

NEXT_BLOCK_SECONDS = 5
"""How soon to look again when a notice is over by the clock, but not yet by the newest block."""

BACKLOG = 10_000
"""Quotes kept between two ticks; older ones only shape a bar's high and low."""


@dataclass(slots=True)
class Pipeline:
    """One market's way through the house. `sender` is the address that simulations run from.

    `due` is when a decision must not be missed, Unix seconds: the end of the last notice, None before there was one.
    """

    market: Market
    names: MarketSettings
    settings: Settings
    executor: Executor
    journal: Journal
    clock: Clock
    sender: str
    memory: Memory
    announced: Announcements
    builder: BarBuilder
    newest: dict[str, Quote] = field(default_factory=dict)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    backlog: deque[Quote] = field(default_factory=lambda: deque(maxlen=BACKLOG))
    vols: dict[int, float] = field(default_factory=dict)
    heeded: int = 0
    due: int | None = None

    def take(self, quote: Quote) -> None:
        """Keep an accepted quote for the next tick."""
        if quote.feed not in (self.names.spot_feed, self.names.vol_feed):
            return
        self.newest[quote.feed] = quote
        self.arrived.set()
        self.backlog.append(quote)

    async def saw(self, timestamps: Mapping[str, int]) -> None:
        """Wait until the newest quote of each feed given is at least as new as given, in milliseconds."""
        while not all(feed in self.newest and self.newest[feed].timestamp_ms >= at for feed, at in timestamps.items()):
            self.arrived.clear()
            await self.arrived.wait()

    async def tick(self) -> Outcome:
        """Make one decision and carry it out; everything said on the way is in the journal when this returns."""
        block = await head(self.market.rpc)
        stale = self._stale_block(block)
        if stale is not None:
            return await self._say(stale)
        state = await self._read(block)
        await self._follow(state)
        await self._heed()
        await self._close_bars(state)
        grave = await self._inspect(state)
        if grave is not None:
            return await self._roll_back(state, grave.detail, digest(grave))
        return await self._decide(state)

    async def roll_back(self, because: str) -> Outcome:
        """Restore the last good version at an operator's word, through the same guard."""
        state = await self._read(await head(self.market.rpc))
        return await self._roll_back(state, because, state.state_hash)

    async def _read(self, block: BlockStamp) -> MarketState:
        state = await self.market.state(block)
        if not self.memory.once_applied:
            await self._say(Baseline(state.market, block, state.sequence, state.values, state.last_good))
        return state

    async def _follow(self, state: MarketState) -> None:
        """Journal what the chain logged since the last tick, and name the changes that are not ours.

        The last blocks are read again: a reorganisation may have put other logs into them.
        """
        start = max(self.memory.first_block, self.memory.seen_block - REORG_BLOCKS) + 1
        found = await history(self.market, start, state.block)
        changes = [change for change in found.changes if change not in self.memory.logged]
        for change in changes:
            await self._say(change)
        for auction in found.auctions:
            if auction not in self.memory.logged:
                await self._say(auction)
        undone = self._undone(found.changes, start)
        for gone in undone:
            await self._say(gone)
        foreign = [change for change in changes if not await self._is_ours(change)]
        for incident in inspect_history(state, foreign, undone):
            await self._say(incident)
        if len(changes) > len(foreign):
            # Another process on this journal may have made the change: its promise is ours to keep.
            await self.memory.recall_promise(self.journal, self.market.name)
        self.memory.seen_block = state.block.number

    def _undone(self, changes: Sequence[StewardEvent], start: int) -> list[Undone]:
        """Say which applied changes are gone from the blocks that were read again, oldest first."""
        there = {change.tx_hash for change in changes}
        recent = [applied for applied in self.memory.applied.values() if applied.block.number >= start]
        return [
            Undone(self.market.name, applied.digest, applied.tx_hash, applied.sequence)
            for applied in recent
            if applied.tx_hash not in there
        ]

    async def _is_ours(self, change: StewardEvent) -> bool:
        """Say whether the journal holds the proposal that a change carried out."""
        return bool(await self.journal.find(EntryKind.PROPOSAL, change.digest, self.market.name, limit=1))

    async def _heed(self) -> None:
        """Take up the quotes that an operator has confirmed since the last tick, in another process."""
        for entry in await self.journal.find(EntryKind.QUOTE_CONFIRMED, market=self.market.name, after_id=self.heeded):
            self.memory.note(entry.message())
            self.heeded = entry.id

    async def _decide(self, state: MarketState) -> Outcome:
        """Make the decision, and tell of what anyone may still make though the keeper does not."""
        earliest = self._now() - self.settings.guard.veto_holdoff_seconds
        outcome = await self._decide_after(await self.announced.look(self.market, state, earliest), state)
        refused = outcome if isinstance(outcome, Rejected) else None
        for incident in announcements.unwanted(await self.announced.follow(earliest), state, refused, self._now()):
            await self._say(incident)
        return outcome

    async def _decide_after(self, announced: Sequence[Announcement], state: MarketState) -> Outcome:
        snapshot, rules = self._snapshot(state), self.settings
        holdoff = rules.guard.veto_holdoff_seconds
        refused = announcements.vetoed(announced, state, holdoff) or guard.review_inputs(
            snapshot, self.memory.used, rules.feeds, rules.guard, self._now()
        )
        if refused is not None:
            return await self._say(refused)
        pending = announcements.standing(announced)
        if pending is not None:
            return await self._take_up(pending, state)
        assessment = await self._assess(snapshot)
        if isinstance(assessment, Rejected):
            return assessment
        held = announcements.held_off(announced, state, holdoff, self._now())
        binding = self.market.protocol.binding
        found = plan(assessment, state, binding, rules.propose, self._now(), held)
        await self._say(deliberation(found, assessment, state, binding, rules.propose))
        proposal = carry(found, assessment, state, binding, rules.propose, self._now())
        if isinstance(proposal, NoChange):
            return await self._say(proposal)
        return await self._carry_out(proposal, state)

    async def _assess(self, snapshot: Snapshot) -> Assessment | Rejected:
        """Journal what was seen and what the model makes of it, or why the model is not to be believed."""
        memory = self.memory
        unfit = guard.review_forecast(memory.forecast, snapshot.state, memory.bars, self.settings.model.min_bars)
        if unfit is not None:
            return await self._say(unfit)
        return await self._say(assess(snapshot, memory.forecast, memory.forecaster.model_id, memory.bars))

    def _snapshot(self, state: MarketState) -> Snapshot:
        return Snapshot(state, self.newest.get(self.names.spot_feed), self.newest.get(self.names.vol_feed))

    async def _roll_back(self, state: MarketState, because: str, inputs: str) -> Outcome:
        proposal = rollback(state, because, inputs, self._now(), self.settings.propose.deadline_seconds)
        return await self._carry_out(proposal, state)

    async def _carry_out(self, proposal: Proposal, state: MarketState) -> Outcome:
        await self._say(proposal)
        refused = self._review(proposal, state, None, self._now())
        announce = refused is not None and refused.reason is Reason.NOT_ANNOUNCED
        if announce:
            refused = guard.review_announcement(proposal, state, self._names(), self._now())
        if refused is not None:
            return await self._say(refused)
        rules = self.settings.guard
        preflight = await preflight_of(proposal, self.market, state, rules, self.sender, announce=announce)
        return await self._submit(proposal, preflight, state, announce=announce)

    async def _take_up(self, pending: Announcement, state: MarketState) -> Outcome:
        """Make an announced change once its notice is over: the very message that was announced, judged again."""
        proposal = pending.proposal
        self.memory.note(proposal)  # it may have been made before a restart, or another after it
        # The steward goes by the time of a block to come, which may be behind our clock and no later than the newest.
        times = self._now(), min(self._now(), state.block.timestamp)
        verdicts = (self._review(proposal, state, pending.since, at) for at in times)
        refused = next((verdict for verdict in verdicts if verdict is not None), None)
        if refused is not None and refused.reason is Reason.NOTICE_RUNNING:
            return await self._wait(pending, refused.detail, state)
        if refused is not None:
            return await self._say(refused)
        preflight = await due_preflight(pending.approved.preflight, proposal, self.market, state, self.sender)
        return await self._submit(proposal, preflight, state)

    async def _wait(self, pending: Announcement, detail: str, state: MarketState) -> Outcome:
        over = (pending.since or 0) + limits.notice(pending.proposal.changes, state)
        self.due = over if over > self._now() else self._now() + NEXT_BLOCK_SECONDS
        # Quotes move on while the notice runs: the next one is held against those of today.
        assessment = await self._assess(self._snapshot(state))
        if isinstance(assessment, Rejected):
            return assessment
        detail = f"version {pending.proposal.sequence} is announced: {detail}"
        return await self._say(NoChange(state.market, state.block, detail, digest(assessment)))

    def _review(self, proposal: Proposal, state: MarketState, announced_at: int | None, now: int) -> Rejected | None:
        return guard.review(proposal, state, self._names(), self.memory.once_applied, now, announced_at)

    def _names(self) -> list[str]:
        return [parameter.name for parameter in self.market.protocol.binding.parameters]

    async def _submit(
        self, proposal: Proposal, preflight: Preflight, state: MarketState, *, announce: bool = False
    ) -> Outcome:
        verdict = guard.review_impact(proposal, preflight, self.settings.guard)
        await self._say(verdict)
        if isinstance(verdict, Rejected):
            return verdict
        outcome = await self._say(await self.executor.execute(verdict, self.market, announce=announce))
        if isinstance(outcome, Announced):
            self.due = outcome.applicable_at
        if isinstance(outcome, Applied):
            return await self._watch(verdict, outcome, state)
        return outcome

    async def _watch(self, approved: Approved, applied: Applied, before: MarketState) -> Outcome:
        """Hold the promise against the block that the change was mined in; roll back at once if it was broken."""
        after = await self.market.state(applied.block)
        surprises = inspect_liquidations(before.accounts, after, approved.preflight, self.settings.guard)
        for surprise in surprises:
            await self._say(surprise)
        grave = await self._inspect(after) or next(iter(surprises), None)
        if grave is None or applied.kind is ProposalKind.ROLLBACK:
            return applied
        return await self._roll_back(after, grave.detail, digest(grave))

    async def _close_bars(self, state: MarketState) -> None:
        """Feed the model the bars that the believable quotes since the last tick have closed."""
        quotes, closed = list(self.backlog), []
        self.backlog.clear()
        for quote in quotes:
            if quote.kind is QuoteKind.VOL:
                self._keep_vol(quote)
            elif self._believable(quote, state):
                closed.append(self.builder.add(quote))
        closed.append(self.builder.close(self._now()))
        for bar in closed:
            if bar is not None:
                vol = self.vols.pop(bar.start, None)
                await self._say(BarClosed(self.market.name, replace(bar, iv=vol), self._published()))
        await self.memory.keep(self.journal, self.market.name, self.settings.model)

    def _published(self) -> tuple[float, float] | None:
        """Return the margin of the newest forecast, if that is fit to be used."""
        forecast = self.memory.forecast
        return None if forecast is None or guard.forecast_fault(forecast) else forecast.published

    def _keep_vol(self, quote: Quote) -> None:
        """Keep the last believable volatility of each bar that may still be open."""
        if guard.implausible(quote, self.memory.used.get(quote.feed), self.settings.feeds[quote.feed]) is None:
            self.vols[self.builder.start_of(quote)] = quote.value
            for start in sorted(self.vols)[:-OPEN_BARS]:
                del self.vols[start]

    def _believable(self, quote: Quote, state: MarketState) -> bool:
        """Say whether a spot quote may shape a bar: plausible, and near the oracle's price now or a tick ago."""
        feed = self.settings.feeds[quote.feed]
        if guard.implausible(quote, self.memory.used.get(quote.feed), feed) is not None:
            return False
        limit = self.settings.guard.max_oracle_deviation
        prices = (state.oracle_price, self.memory.oracle_price or state.oracle_price)
        return not all(guard.diverges(quote.value, price, limit) for price in prices)

    async def _inspect(self, state: MarketState) -> Incident | None:
        """Journal the anomalies that are new; return the gravest that demands a rollback."""
        rules = self.settings
        found = inspect(
            state,
            self.memory.promise,
            guard.trusted(self._snapshot(state), self.memory.used, rules.feeds, rules.guard, self._now()),
            self.memory.realised,
            self.market.protocol.binding,
            rules.guard,
            rules.watch,
            self.memory.doubts,
        )
        for incident in self.memory.news(found):
            await self._say(incident)
        self.memory.doubts = self.memory.doubts + 1 if IncidentKind.ORACLE_DIVERGED in {i.kind for i in found} else 0
        return next((incident for incident in found if incident.demands_rollback), None)

    def _stale_block(self, block: BlockStamp) -> Rejected | None:
        age = self._now() - block.timestamp
        limit = self.settings.chain.max_block_age_seconds
        if age <= limit:
            return None
        detail = f"the head, block {block.number}, is {age} s old, max_block_age_seconds is {limit}"
        return Rejected(self.market.name, Reason.STALE_BLOCK, detail, block)

    async def _say(self, message: M) -> M:
        """Journal a message, then remember what later decisions need of it."""
        await self.journal.append(message)
        self.memory.note(message)
        return message

    def _now(self) -> int:
        return self.clock.now_ms() // 1000
