"""Follow what was announced: which change waits, which was given up but may still be made, and what a veto forbids."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from keeper.journal import EntryKind
from keeper.limits import VETO
from keeper.messages import (
    Announced,
    Applied,
    Approved,
    Failed,
    Incident,
    IncidentKind,
    Reason,
    Rejected,
    Undone,
    parse,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from chain.market import Market
    from keeper.journal import Entry, Journal, Message
    from keeper.messages import Change, Proposal
    from models.market import MarketState

PASSING = frozenset({Reason.IN_FLIGHT, Reason.FEE_TOO_HIGH, Reason.NOT_ATTESTED})
"""Refusals that leave an announced change standing: it is taken up again at the next tick."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """An announced change and what became of it so far.

    `given_up` says why the keeper will not make it, "" while it stands. `vetoed_at` is the time, Unix seconds, of the
    block at which a veto was first seen. `warned`: an operator was told that anyone may still make it. `since` is when
    it was announced by the chain's word of this tick: Unix seconds, `VETO`, None where the chain knows no such thing.
    """

    approved: Approved
    announced: Announced
    made: bool = False
    given_up: str = ""
    vetoed_at: int | None = None
    warned: bool = False
    since: int | None = None

    @property
    def proposal(self) -> Proposal:
        """The change itself."""
        return self.approved.proposal

    @property
    def stands(self) -> bool:
        """Whether the keeper means to make it."""
        return not (self.made or self.given_up)

    def after(self, message: Message) -> Announcement:
        """Return the announcement with one later message about it taken into account."""
        match message:
            case Applied() | Undone():
                return replace(self, made=isinstance(message, Applied))
            case Failed():
                return replace(self, given_up=self.given_up or message.detail)
            case Rejected(reason=Reason.VETOED):
                at = message.block.timestamp if self.vetoed_at is None else self.vetoed_at
                return replace(self, given_up=self.given_up or message.reason, vetoed_at=at)
            case Rejected() if message.reason not in PASSING:
                return replace(self, given_up=self.given_up or f"{message.reason}: {message.detail}")
            case Incident(kind=IncidentKind.STILL_APPLICABLE):
                return replace(self, warned=True)
        return self

    def may_be_made(self, state: MarketState) -> bool:
        """Say whether anyone who has the signed bytes may make it: at this state, now or once its notice is over."""
        due = (state.sequence + 1, state.state_hash, state.policy)
        fits = due == (self.proposal.sequence, self.proposal.state_hash, self.proposal.policy)
        # The chain's own time: a clock that is ahead of it would call a change expired that still can be made.
        lives = self.since not in (None, VETO) and state.block.timestamp <= self.proposal.deadline
        return fits and lives and not (self.made or state.paused)


@dataclass(frozen=True, slots=True)
class HeldOff:
    """Parameters that may not be tightened for now, and the reason for an operator."""

    ids: frozenset[int]
    because: str

    def forbids(self, changes: Iterable[Change], state: MarketState) -> bool:
        """Say whether changes of the live values tighten one of them."""
        return not self.ids.isdisjoint(_tightened(changes, state.values, state))


@dataclass(slots=True)
class Announcements:
    """One market's announcements that still matter, read from its journal: what other processes wrote counts too."""

    journal: Journal
    market: str
    _known: dict[str, tuple[int, Announcement]] = field(default_factory=dict)  # with the journal row of its notice
    _read: int = 0  # journal rows up to here are taken into account

    async def follow(self, earliest: int) -> tuple[Announcement, ...]:
        """Return the announcements whose deadline, or the veto of which, is no earlier than given, oldest first."""
        # A row that is written meanwhile is read now and once more: it makes no difference a second time.
        head, _ = await self.journal.head()
        for entry in await self.journal.find(EntryKind.ANNOUNCED, market=self.market, after_id=self._read):
            approved = await self.journal.find(EntryKind.APPROVED, entry.key, self.market, limit=1)
            if approved and entry.key not in self._known:
                told = Announcement(parse(Approved, approved[0].body), parse(Announced, entry.body))
                self._known[entry.key] = entry.id, told
        for digest, (row, known) in list(self._known.items()):
            latest = known
            for entry in await self._rows_about(digest, max(row, self._read)):
                latest = latest.after(entry.message())
            self._known[digest] = row, latest
            if max(latest.proposal.deadline, latest.vetoed_at or 0) < earliest:
                del self._known[digest]
        self._read = head
        return tuple(known for _, known in self._known.values())

    async def look(self, market: Market, state: MarketState, earliest: int) -> tuple[Announcement, ...]:
        """Return the same with the chain's word at the state's block: it alone knows of a veto. Raises RpcError."""
        for one in await self.follow(earliest):
            if not one.made and one.vetoed_at is None:
                at = await market.announced_at(one.announced.attestation, state.block)
                row, known = self._known[one.proposal.digest]
                self._known[one.proposal.digest] = row, replace(known, since=at)
        return tuple(known for _, known in self._known.values())

    async def _rows_about(self, digest: str, after_id: int) -> list[Entry]:
        rows = await self.journal.find(key=digest, market=self.market, after_id=after_id)
        incidents = await self.journal.find(EntryKind.INCIDENT, market=self.market, after_id=after_id)
        about = [entry for entry in incidents if entry.body.get("digest") == digest]
        return sorted([*rows, *about], key=lambda entry: entry.id)


def standing(announcements: Sequence[Announcement]) -> Announcement | None:
    """Return the change that was announced last, unless it was made, failed or was given up."""
    newest = next(reversed(announcements), None)
    return newest if newest is not None and newest.stands else None


def vetoed(announcements: Iterable[Announcement], state: MarketState, holdoff: int) -> Rejected | None:
    """Return the refusal that tells of a veto which was not told of before; its block is where the hold-off begins.

    A change that was given up counts as well, whatever its deadline: the guardian's word is about what it would do.
    """
    for one in announcements:
        if one.vetoed_at is None and not one.made and one.since == VETO:
            detail = (
                f"the guardian vetoed version {one.proposal.sequence} ({one.announced.attestation}): "
                f"what it would have tightened is not tightened for {holdoff} s"
            )
            return Rejected(state.market, Reason.VETOED, detail, state.block, one.proposal)
    return None


def held_off(announcements: Iterable[Announcement], state: MarketState, holdoff: int, now: int) -> tuple[HeldOff, ...]:
    """Return what may not be proposed at `now`, Unix seconds: what a veto holds off, and a second announcement."""
    found = []
    for one in announcements:
        left = (one.vetoed_at or 0) + holdoff - now
        if one.vetoed_at is not None and left > 0:
            ids = _tightened(one.proposal.changes, one.proposal.current, state)
            found.append(HeldOff(ids, f"held off for another {left} s: {one.announced.attestation} was vetoed"))
        elif one.given_up and one.may_be_made(state):
            ids = frozenset(row.id for row in state.parameters if row.notice)
            found.append(HeldOff(ids, f"not announced: {_open(one)}"))
    return tuple(found)


def unwanted(
    announcements: Iterable[Announcement], state: MarketState, refused: Rejected | None, now: int
) -> tuple[Incident, ...]:
    """Return an incident for each change that anyone may still make though the keeper does not: told once each.

    That is a change which was given up, or one that is due while `refused` says that nothing can be judged.
    """
    told = []
    for one in announcements:
        doubt = f"given up ({one.given_up})"
        if one.stands:
            if refused is None or refused.proposal is not None or now < one.announced.applicable_at:
                continue
            doubt = f"due and cannot be judged ({refused.reason}: {refused.detail})"
        # In the seconds between our clock and the chain's there is nothing left for an operator to do.
        if not one.warned and now <= one.proposal.deadline and one.may_be_made(state):
            told.append(_incident(one, state, doubt))
    return tuple(told)


def _incident(one: Announcement, state: MarketState, doubt: str) -> Incident:
    remedy = f"`keeper veto {one.announced.attestation}` forbids it"
    return Incident(
        state.market,
        IncidentKind.STILL_APPLICABLE,
        f"version {one.proposal.sequence} is {doubt}, but {_open(one)}: {remedy}",
        state.block,
        demands_rollback=False,
        digest=one.proposal.digest,
    )


def _open(one: Announcement) -> str:
    until = datetime.fromtimestamp(one.proposal.deadline, UTC).isoformat()
    return f"anyone may make {one.announced.attestation} until {until}"


def _tightened(changes: Iterable[Change], values: Sequence[int], state: MarketState) -> frozenset[int]:
    """Return the ids that changes of these values tighten, of those that the steward still knows."""
    known = [change for change in changes if change.id < min(len(values), len(state.parameters))]
    return frozenset(
        change.id
        for change in known
        if change.value != values[change.id]
        and (change.value > values[change.id]) == state.parameters[change.id].tightening_up
    )
