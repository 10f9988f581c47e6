"""Name what a journal may hold: each message's kind, and the market and key that its row is found by."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from chain.steward import StewardEvent
from keeper.deliberation import Deliberation
from keeper.learned import StateKept
from keeper.messages import (
    Announced,
    Applied,
    Approved,
    Assessment,
    Attempt,
    BarClosed,
    Baseline,
    DryRun,
    Failed,
    Incident,
    Lifecycle,
    NoChange,
    Outcome,
    Proposal,
    QuoteConfirmed,
    QuoteRefused,
    Rejected,
    Undone,
    digest,
    parse,
)
from models.champions import Promotion
from models.market import Auction

Message = (
    QuoteRefused
    | BarClosed
    | StewardEvent
    | Auction
    | Baseline
    | Assessment
    | Deliberation
    | Proposal
    | Approved
    | Attempt
    | Outcome
    | Undone
    | QuoteConfirmed
    | Incident
    | Lifecycle
    | Promotion
    | StateKept
)


class EntryKind(StrEnum):
    """What a row holds: one kind per message class."""

    QUOTE_REFUSED = "quote_refused"
    BAR_CLOSED = "bar_closed"
    CHANGE = "change"
    AUCTION = "auction"
    BASELINE = "baseline"
    ASSESSMENT = "assessment"
    DELIBERATION = "deliberation"
    PROPOSAL = "proposal"
    APPROVED = "approved"
    REJECTED = "rejected"
    NO_CHANGE = "no_change"
    ATTEMPT = "attempt"
    ANNOUNCED = "announced"
    APPLIED = "applied"
    FAILED = "failed"
    UNDONE = "undone"
    QUOTE_CONFIRMED = "quote_confirmed"
    DRY_RUN = "dry_run"
    INCIDENT = "incident"
    LIFECYCLE = "lifecycle"
    PROMOTION = "promotion"
    STATE_KEPT = "state_kept"


MESSAGES: dict[EntryKind, type[Message]] = {
    EntryKind.QUOTE_REFUSED: QuoteRefused,
    EntryKind.BAR_CLOSED: BarClosed,
    EntryKind.CHANGE: StewardEvent,
    EntryKind.AUCTION: Auction,
    EntryKind.BASELINE: Baseline,
    EntryKind.ASSESSMENT: Assessment,
    EntryKind.DELIBERATION: Deliberation,
    EntryKind.PROPOSAL: Proposal,
    EntryKind.APPROVED: Approved,
    EntryKind.REJECTED: Rejected,
    EntryKind.NO_CHANGE: NoChange,
    EntryKind.ATTEMPT: Attempt,
    EntryKind.ANNOUNCED: Announced,
    EntryKind.APPLIED: Applied,
    EntryKind.FAILED: Failed,
    EntryKind.UNDONE: Undone,
    EntryKind.QUOTE_CONFIRMED: QuoteConfirmed,
    EntryKind.DRY_RUN: DryRun,
    EntryKind.INCIDENT: Incident,
    EntryKind.LIFECYCLE: Lifecycle,
    EntryKind.PROMOTION: Promotion,
    EntryKind.STATE_KEPT: StateKept,
}
_KINDS = {message: kind for kind, message in MESSAGES.items()}


@dataclass(frozen=True, slots=True)
class Entry:
    """One journalled message. `recorded_at_ms` is Unix milliseconds, `hash` is 64 hex digits."""

    id: int
    recorded_at_ms: int
    kind: EntryKind
    market: str
    key: str
    body: dict[str, Any]
    hash: str

    def message(self) -> Message:
        """Return the message as its class. Raises pydantic.ValidationError if the body is not one."""
        return parse(MESSAGES[self.kind], self.body)


def kind_of(message: Message) -> EntryKind:
    """Return the kind a message is filed under. Raises TypeError for a class that is never journalled."""
    kind = _KINDS.get(type(message))
    if kind is None:
        raise TypeError(f"{type(message).__name__} is not journalled: expected one of {sorted(EntryKind)}")
    return kind


def index_of(message: Message) -> tuple[str, str]:
    """Return the market and the key (a digest, feed, asset or transaction) that a message is found by."""
    market = key = ""
    match message:
        case Approved():
            market, key = message.proposal.market, message.proposal.digest
        case Rejected():
            market, key = message.market, message.proposal.digest if message.proposal else ""
        case Proposal() | Attempt() | Announced() | Applied() | Failed() | Undone() | DryRun() | StewardEvent():
            market, key = message.market, message.digest
        case Assessment() | Deliberation():
            market, key = message.market, message.inputs if isinstance(message, Deliberation) else digest(message)
        case BarClosed():
            market, key = message.market, message.bar.asset
        case Auction():
            market, key = message.market, message.tx_hash
        case Baseline() | NoChange() | Incident() | StateKept():
            market = message.market
        case QuoteRefused():
            key = message.feed
        case QuoteConfirmed():
            market, key = message.market, message.quote.feed
    return index_text(market), index_text(key)


def index_text(text: str) -> str:
    """Return a market or key as the table keeps it."""
    # A refused feed message may name anything: PostgreSQL stores no NUL and indexes at most 2.7 kB.
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")[:256]
