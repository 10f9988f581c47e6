"""Remember what later decisions need of earlier ones: a fold over the journal, the same live and after a restart."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chain.steward import StewardEvent
from keeper.journal import EntryKind
from keeper.messages import Applied, Approved, Assessment, Attempt, BarClosed, Baseline, Incident, Proposal
from keeper.watch import Promise, Realised
from models.market import Auction

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Iterable

    from config.protocol import Protocol, Role
    from keeper.journal import Journal, Message
    from keeper.messages import Incident
    from models.forecaster import Forecast, Forecaster
    from models.market import Bar, Quote


RESTORED = (
    EntryKind.BASELINE,
    EntryKind.BAR_CLOSED,
    EntryKind.ATTEMPT,
    EntryKind.APPLIED,
    EntryKind.CHANGE,
    EntryKind.AUCTION,
)
"""What a restart folds in whole; of proposals and assessments only the newest count."""


@dataclass(slots=True)
class Memory:
    """What one market's pipeline knows of its past.

    `used` holds the quotes of the last decision by feed, `once_applied` every version a rollback may restore, `ours`
    the digests of what we sent. The journal knows the market from `first_block` on, its logs up to `seen_block`.
    """

    protocol: Protocol
    forecaster: Forecaster
    realised: deque[Realised]
    used: dict[str, Quote] = field(default_factory=dict)
    oracle_price: float | None = None
    once_applied: set[tuple[int, ...]] = field(default_factory=set)
    promise: Promise | None = None
    forecast: Forecast | None = None
    ours: set[str] = field(default_factory=set)
    logged: set[StewardEvent | Auction] = field(default_factory=set)
    first_block: int = 0
    seen_block: int = 0
    bars: int = 0
    bars_end: int = 0
    _values: tuple[int, ...] = ()
    _close: float | None = None  # of the last live bar: warm-up bars may lie years before it
    _proposals: dict[str, Proposal] = field(default_factory=dict)
    _lasting: set[tuple[str, tuple[int, ...], tuple[int, ...]]] = field(default_factory=set)

    @property
    def shocks(self) -> tuple[float | None, float | None]:
        """Return the spot shocks up and down of the last decision's values as ratios, None where there are none."""
        return self._ratio("spot_shock_up"), self._ratio("spot_shock_down")

    def warm_up(self, bars: Iterable[Bar]) -> None:
        """Feed the forecaster recorded bars from before the journal's first."""
        for bar in bars:
            self._learn(bar)

    def note(self, message: Message) -> None:
        """Take one journalled message into account."""
        match message:
            case BarClosed(bar=bar):
                if self._close is not None:
                    move = bar.close / self._close - 1.0
                    self.realised.append(Realised(move, message.shock_up, message.shock_down))
                self._learn(bar)
                self._close = bar.close
            case Baseline():
                self.once_applied |= {message.values, message.last_good}
                self.promise = Promise(message.sequence, message.values, message.values)
                self._values = message.values
                self.first_block = message.block.number
                self._saw(message.block.number)
            case Assessment():
                self.used = {quote.feed: quote for quote in (message.spot, message.vol)}
                self.oracle_price = message.oracle_price
                self._values = message.values
                self._saw(message.block.number)
            case Proposal():
                self._proposals = {message.digest: message}
            case Applied():
                self.once_applied.add(message.values)
                self._keep_promise(message)
            case Approved() | Attempt():
                self.ours.add(message.proposal.digest if isinstance(message, Approved) else message.digest)
            case StewardEvent() | Auction():
                self.logged.add(message)
            case _:
                pass

    def news(self, incidents: Iterable[Incident]) -> list[Incident]:
        """Return the incidents that did not last from the tick before: each is told once, and again if it returns."""
        found = {(incident.kind, incident.promised, incident.observed): incident for incident in incidents}
        new = [incident for key, incident in found.items() if key not in self._lasting]
        self._lasting = set(found)
        return new

    async def restore(self, journal: Journal, market: str) -> None:
        """Fold in what the journal holds about a market. Call once, after `warm_up`."""
        for kind in RESTORED:
            for entry in await journal.find(kind=kind, market=market):
                self.note(entry.message())
        await self.recall_promise(journal, market)
        last = await journal.last(EntryKind.ASSESSMENT, market)
        if last is not None:
            self.note(last.message())

    async def recall_promise(self, journal: Journal, market: str) -> None:
        """Take up the newest applied change and the proposal it carried out."""
        applied = await journal.last(EntryKind.APPLIED, market)
        if applied is None:
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
        self.forecast = self.forecaster.update(bar)
        self.bars += 1
        self.bars_end = bar.end

    def _ratio(self, role: Role) -> float | None:
        pairs = zip(self.protocol.parameters, self._values, strict=False)
        return next((value / p.scale for p, value in pairs if p.role == role), None)
