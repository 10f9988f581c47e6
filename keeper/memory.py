"""Remember what later decisions need of earlier ones: a fold over the journal, the same live and after a restart."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chain.steward import StewardEvent
from keeper.journal import EntryKind
from keeper.learned import Learned, StateKept, pack, unpack
from keeper.messages import (
    Applied,
    Approved,
    Assessment,
    BarClosed,
    Baseline,
    NoChange,
    Proposal,
    ProposalKind,
    QuoteConfirmed,
    Undone,
    digest,
)
from keeper.watch import Promise, Realised
from models.market import Auction
from models.snapshot import Restorable, StateError

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Iterable

    from config.schema import ModelSettings
    from keeper.journal import Journal, Message
    from keeper.messages import Incident
    from models.forecaster import Forecast, Forecaster
    from models.market import Bar, Quote


RESTORED = (
    EntryKind.BASELINE,
    EntryKind.BAR_CLOSED,
    EntryKind.APPLIED,
    EntryKind.UNDONE,
    EntryKind.CHANGE,
    EntryKind.AUCTION,
)
"""What a restart folds in whole; of proposals and assessments only the newest count."""


@dataclass(slots=True)
class Memory:
    """What one market's pipeline knows of its past.

    `used` holds by feed the quotes of the last decision that was not refused, `once_applied` every version a rollback
    may restore, `applied` our changes by transaction hash, as far as they stand. The journal knows the market from
    `first_block` on, its logs up to `seen_block`. `doubts` counts the ticks in a row at which the feed stood apart
    from the oracle. The forecaster's state was last saved, or taken up, after `kept_bars` bars, and needs to learn none
    that ended by `learned_until`.
    """

    forecaster: Forecaster
    realised: deque[Realised]
    used: dict[str, Quote] = field(default_factory=dict)
    oracle_price: float | None = None
    once_applied: set[tuple[int, ...]] = field(default_factory=set)
    promise: Promise | None = None
    applied: dict[str, Applied] = field(default_factory=dict)
    doubts: int = 0
    forecast: Forecast | None = None
    logged: set[StewardEvent | Auction] = field(default_factory=set)
    first_block: int = 0
    seen_block: int = 0
    bars: int = 0
    bars_end: int = 0
    kept_bars: int = 0
    learned_until: int = 0
    _assessed: dict[str, tuple[Quote, Quote]] = field(default_factory=dict)
    _close: float | None = None  # of the last live bar: warm-up bars may lie years before it
    _proposals: dict[str, Proposal] = field(default_factory=dict)
    _lasting: set[tuple[str, tuple[int, ...], tuple[int, ...]]] = field(default_factory=set)

    def warm_up(self, bars: Iterable[Bar]) -> None:
        """Feed the forecaster recorded bars from before the journal's first."""
        for bar in bars:
            self._learn(bar)

    def note(self, message: Message) -> None:  # noqa: C901 - one case a message
        """Take one journalled message into account."""
        match message:
            case BarClosed(bar=bar):
                if self._close is not None and message.published is not None:
                    self.realised.append(Realised(math.log(bar.close / self._close), *message.published))
                self._learn(bar)
                self._close = bar.close
            case Baseline():
                self.once_applied |= {message.values, message.last_good}
                self.promise = Promise(message.sequence, message.values, message.values)
                self.first_block = message.block.number
                self._saw(message.block.number)
            case Assessment():
                self._assessed = {digest(message): (message.spot, message.vol)}
                self.oracle_price = message.oracle_price
                self._saw(message.block.number)
            case NoChange() | Approved():
                inputs = message.inputs if isinstance(message, NoChange) else message.proposal.inputs
                self.used |= {quote.feed: quote for quote in self._assessed.get(inputs, ())}
            case QuoteConfirmed(quote=quote):
                self.used[quote.feed] = quote
            case Proposal():
                self._proposals = {message.digest: message}
            case Applied():
                self.once_applied.add(message.values)
                self.applied[message.tx_hash] = message
                self._keep_promise(message)
            case Undone():
                # Nothing is promised until the change is mined again, or its attempt has ended otherwise.
                self.applied.pop(message.tx_hash, None)
                self.promise = None
            case StewardEvent() | Auction():
                self.logged.add(message)
                if isinstance(message, StewardEvent) and message.kind == "rebase":
                    # Governance stands behind these values: a rollback may restore them.
                    self.once_applied.add(message.values)
            case _:
                pass

    def news(self, incidents: Iterable[Incident]) -> list[Incident]:
        """Return the incidents that did not last from the tick before: each is told once, and again if it returns."""
        found = {(incident.kind, incident.promised, incident.observed): incident for incident in incidents}
        new = [incident for key, incident in found.items() if key not in self._lasting]
        self._lasting = set(found)
        return new

    async def keep(self, journal: Journal, market: str, settings: ModelSettings) -> None:
        """Save what the forecaster has learned, once that is `save_bars` bars more than were saved.

        Nothing is saved of a forecaster whose streams cannot be, nor before the first forecast.
        """
        due = self.bars - self.kept_bars >= settings.save_bars or not self.kept_bars
        if not due or self.forecast is None or not isinstance(self.forecaster, Restorable):
            return
        learned = Learned(self.forecast, self.bars, self.bars_end)
        kept, content = pack(self.forecaster, market, learned, settings.bar_seconds, settings.warmup)
        before = await journal.last(EntryKind.STATE_KEPT, market)
        await journal.put_state(market, kept.sha256, content, keeping=before.body["sha256"] if before else None)
        await journal.append(kept)
        self.kept_bars = self.bars

    async def take_up(self, journal: Journal, market: str, settings: ModelSettings) -> str | None:
        """Put the forecaster where it was when its state was last saved; call before `restore`, in place of `warm_up`.

        Returns why that is refused, "" where nothing was ever saved, None where it is done.
        """
        entry = await journal.last(EntryKind.STATE_KEPT, market)
        if entry is None:
            return ""
        kept = entry.message()
        assert isinstance(kept, StateKept)
        content = await journal.state(market, kept.sha256)
        try:
            learned = unpack(self.forecaster, kept, content, settings.bar_seconds, settings.warmup)
        except StateError as error:
            return str(error)
        self.forecast, self.bars, self.bars_end = learned.forecast, learned.bars, learned.bars_end
        self.kept_bars, self.learned_until = self.bars, self.bars_end
        return None

    async def restore(self, journal: Journal, market: str) -> None:
        """Fold in what the journal holds about a market. Call once, after `warm_up` or `take_up`."""
        entries = [entry for kind in RESTORED for entry in await journal.find(kind=kind, market=market)]
        for entry in sorted(entries, key=lambda entry: entry.id):
            self.note(entry.message())
        await self.recall_promise(journal, market)
        await self._recall_used(journal, market)

    async def _recall_used(self, journal: Journal, market: str) -> None:
        """Take up the quotes of the newest decision that was not refused, the operator's, and the last assessment."""
        # An announced change is approved again when it is due, on the quotes it was announced for: the first counts.
        first = {entry.key: entry for entry in reversed(await journal.find(kind=EntryKind.APPROVED, market=market))}
        decided = [
            (entry.id, entry.body["proposal"]["inputs"], entry)
            for entry in first.values()
            if entry.body["proposal"]["kind"] == ProposalKind.TUNE
        ]
        idle = await journal.last(EntryKind.NO_CHANGE, market)
        if idle is not None:
            decided.append((idle.id, idle.body["inputs"], idle))
        since = 0
        if decided:
            since, inputs, entry = max(decided, key=lambda decision: decision[0])
            for assessment in await journal.find(kind=EntryKind.ASSESSMENT, key=inputs, market=market):
                self.note(assessment.message())
            self.note(entry.message())
        for confirmed in await journal.find(kind=EntryKind.QUOTE_CONFIRMED, market=market, after_id=since):
            self.note(confirmed.message())
        last = await journal.last(EntryKind.ASSESSMENT, market)
        if last is not None:
            self.note(last.message())

    async def recall_promise(self, journal: Journal, market: str) -> None:
        """Take up the newest applied change and the proposal it carried out."""
        applied = await journal.last(EntryKind.APPLIED, market)
        undone = await journal.last(EntryKind.UNDONE, market)
        if applied is None:
            return
        if undone is not None and undone.id > applied.id:
            self.note(undone.message())
            return
        for entry in await journal.find(kind=EntryKind.PROPOSAL, key=applied.key, market=market):
            self.note(entry.message())
        self.note(applied.message())

    def _keep_promise(self, applied: Applied) -> None:
        proposal = self._proposals.get(applied.digest)
        if proposal is not None:
            self.promise = Promise(applied.sequence, proposal.values, applied.values)

    def _saw(self, block: int) -> None:
        self.seen_block = max(self.seen_block, block)

    def _learn(self, bar: Bar) -> None:
        if bar.end <= self.learned_until:
            return
        self.forecast = self.forecaster.update(bar)
        self.bars += 1
        self.bars_end = bar.end
