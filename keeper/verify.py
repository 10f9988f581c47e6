"""Prove that the journal is whole and agrees with the chain, or name the first row that does not."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from pydantic import ValidationError
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from chain.steward import StewardEvent
from keeper.journal import MESSAGES, Entry, EntryKind, index_of
from keeper.journal_database import GENESIS, SCHEMA_VERSION, fault_text, open_engine, row_hash, try_file
from keeper.messages import Applied, Baseline, Incident, IncidentKind, Proposal, canonical, parse

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection


T = TypeVar("T")

PAGE_ROWS = 500
SMALLEST_ID = -(2**63)


class Rule(StrEnum):
    """What every row must satisfy, in the order it is checked."""

    READABLE = "READABLE"
    CONTIGUOUS = "CONTIGUOUS"
    COLUMN_TYPES = "COLUMN_TYPES"
    PREVIOUS = "PREVIOUS"
    HASH = "HASH"
    KNOWN_KIND = "KNOWN_KIND"
    CANONICAL_BODY = "CANONICAL_BODY"
    BODY_OF_ITS_KIND = "BODY_OF_ITS_KIND"
    INDEX_COLUMNS = "INDEX_COLUMNS"
    FILE_INTEGRITY = "FILE_INTEGRITY"


class Fault(NamedTuple):
    """One broken rule; `row` is None where the database cannot say which row it concerns."""

    row: int | None
    rule: Rule
    detail: str


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What a verification found: `rows` good rows in front, then the first fault if any.

    `head_hash` is the hash of the last good row in hex.
    """

    rows: int
    head_hash: str
    first_bad_row: int | None = None
    rule: Rule | None = None
    detail: str = ""

    @property
    def ok(self) -> bool:
        """Whether no rule is broken."""
        return self.rule is None

    @property
    def sentence(self) -> str:
        """The report in one line."""
        if self.ok:
            return f"The journal is whole: {self.rows} rows, head {self.head_hash}."
        where = "The journal" if self.first_bad_row is None else f"Row {self.first_bad_row} of the journal"
        return f"{where} breaks {self.rule}: {self.detail} ({self.rows} rows before it are good)."


class RawRow(NamedTuple):
    """A row as stored: text as bytes, and the storage class of each column behind the id."""

    id: int
    recorded_at_ms: int
    kind: bytes
    market: bytes
    key: bytes
    body: bytes
    previous: bytes
    hash: bytes
    types: str


# Damaged text may be no UTF-8, a damaged number no integer, a damaged blob text: CAST reads all of them, typeof tells.
_READ = {
    "sqlite": "SELECT id, CAST(recorded_at_ms AS INTEGER), CAST(kind AS BLOB), CAST(market AS BLOB), CAST(key AS BLOB),"
    " CAST(body AS BLOB), CAST(previous AS BLOB), CAST(hash AS BLOB), typeof(recorded_at_ms) || ' ' || typeof(kind)"
    " || ' ' || typeof(market) || ' ' || typeof(key) || ' ' || typeof(body) || ' ' || typeof(previous) || ' ' ||"
    " typeof(hash) FROM journal NOT INDEXED WHERE id >= :start ORDER BY id LIMIT :limit",
    "postgresql": "SELECT id, recorded_at_ms, convert_to(kind, 'UTF8'), convert_to(market, 'UTF8'),"
    " convert_to(key, 'UTF8'), body, previous, hash, concat_ws(' ', pg_typeof(recorded_at_ms), pg_typeof(kind),"
    " pg_typeof(market), pg_typeof(key), pg_typeof(body), pg_typeof(previous), pg_typeof(hash))"
    " FROM journal WHERE id >= :start ORDER BY id LIMIT :limit",
}
_TYPES = {
    "sqlite": "integer text text text blob blob blob",
    "postgresql": "bigint text text text bytea bytea bytea",
}


_UNREADABLE = (SQLAlchemyError, UnicodeDecodeError)


async def verify_chain_of_hashes(journal_url: str) -> VerifyReport:
    """Read the journal from its first row to its last, in pages, and check every rule on every row.

    The database is opened for reading only; one that cannot be read is a failed verification. Rows missing at the end
    leave no trace in a chain of hashes: compare `head_hash` with one noted before, or the rows with the chain.
    Raises JournalError when the URL itself is wrong.
    """
    engine = open_engine(journal_url, read_only=True)
    walk = _Walk()
    try:
        await try_file(engine)
        async with engine.connect() as connection:
            fault = await _schema_fault(connection) or await walk.run(connection) or await _file_fault(connection)
    except (*_UNREADABLE, sqlite3.Error) as broken:
        fault = Fault(None, Rule.READABLE, fault_text(broken))
    finally:
        await engine.dispose()
    if fault is None:
        return VerifyReport(walk.rows, walk.head.hex())
    return VerifyReport(walk.rows, walk.head.hex(), *fault)


async def _schema_fault(connection: AsyncConnection) -> Fault | None:
    version = (await connection.execute(text("SELECT max(version) FROM journal_meta"))).scalar()
    if version == SCHEMA_VERSION:
        return None
    return Fault(None, Rule.READABLE, f"its schema version is {version}, this keeper reads {SCHEMA_VERSION}")


async def _file_fault(connection: AsyncConnection) -> Fault | None:
    if connection.dialect.name != "sqlite":
        return None
    first = (await connection.execute(text("PRAGMA integrity_check(1)"))).scalar()
    return None if first == "ok" else Fault(None, Rule.FILE_INTEGRITY, str(first))


class _Walk:
    """The last good row reached so far."""

    def __init__(self) -> None:
        self.rows = 0
        self.head = GENESIS

    async def run(self, connection: AsyncConnection) -> Fault | None:
        size = PAGE_ROWS
        while True:
            try:
                page = await _page(connection, self.rows + 1 if self.rows else SMALLEST_ID, size)
            except _UNREADABLE as broken:
                if size == 1:
                    return Fault(self.rows + 1, Rule.READABLE, fault_text(broken))
                size = 1  # so that the good rows of this page are passed and the bad one gets its name
                continue
            if not page:
                return None
            for row in page:
                fault = check_row(row, self.rows, self.head, _TYPES[connection.dialect.name])
                if fault:
                    return fault
                self.rows, self.head = row.id, row.hash


async def _page(connection: AsyncConnection, start: int, limit: int) -> list[RawRow]:
    found = await connection.execute(text(_READ[connection.dialect.name]), {"start": start, "limit": limit})
    return [RawRow(*row) for row in found]


def check_row(row: RawRow, last_id: int, last_hash: bytes, types: str) -> Fault | None:
    """Return the first rule that a row breaks when it follows the row `last_id` with the hash `last_hash`."""
    if row.id != last_id + 1:
        return Fault(last_id + 1, Rule.CONTIGUOUS, f"expected id {last_id + 1}, found {row.id}")
    if row.types != types or None in row:
        return Fault(row.id, Rule.COLUMN_TYPES, f"expected {types}, found {row.types}")
    columns = (row.kind, row.market, row.key, row.body)
    # The row's own hash comes first: if that holds, the row is as written and the one before it is not.
    if row.hash != row_hash(row.previous, row.id, row.recorded_at_ms, columns):
        return Fault(row.id, Rule.HASH, "a column of this row was changed")
    if row.previous != last_hash:
        return Fault(row.id, Rule.PREVIOUS, f"it follows another row {last_id} than the one that stands there")
    return _check_content(row)


def _check_content(row: RawRow) -> Fault | None:
    try:
        kind = EntryKind(row.kind.decode())
    except ValueError:
        return Fault(row.id, Rule.KNOWN_KIND, f"the kind is {row.kind!r}")
    try:
        document = json.loads(row.body)
        same = canonical(document) == row.body
    except (ValueError, RecursionError) as fault:
        return Fault(row.id, Rule.CANONICAL_BODY, str(fault))
    if not same:
        return Fault(row.id, Rule.CANONICAL_BODY, "the body is not in canonical form")
    try:
        message = parse(MESSAGES[kind], document)
    except ValidationError as fault:
        first = fault.errors(include_url=False)[0]
        return Fault(row.id, Rule.BODY_OF_ITS_KIND, f"{kind}: {first['loc']}: {first['msg']}")
    if tuple(part.encode() for part in index_of(message)) != (row.market, row.key):
        return Fault(row.id, Rule.INDEX_COLUMNS, "market and key are not those of the body")
    return None


@dataclass(frozen=True, slots=True)
class Disagreement:
    """The first difference between journal and chain: `row` is a journal id, None if an event has no row."""

    row: int | None
    event: StewardEvent | None
    detail: str


@dataclass(frozen=True, slots=True)
class Agreement:
    """How the changes on chain are accounted for: made by this journal's keepers, by others, or before it began."""

    own: int
    foreign: int
    before: int


def compare_with_chain(entries: list[Entry], events: list[StewardEvent]) -> Agreement | Disagreement:
    """Match every Applied row with its event and its Proposal, and every event with its row.

    `entries` are the journal's rows in id order, `events` all changes of the same markets. Those up to the sequence of
    a market's first Baseline row are older than the journal and need no row; another keeper's need the Change row that
    was written when it was seen. An Applied row that a later Undone row takes back needs no event. Values that differ
    from the proposal's need a READBACK_MISMATCH incident that promises the one and observes the other.
    """
    history = _History.of(entries)
    open_events = {(event.market, event.sequence): event for event in events}
    own = 0
    for entry in entries:
        if entry.kind is not EntryKind.APPLIED or history.took_back(entry):
            continue
        applied = _as(Applied, entry)
        event = open_events.pop((applied.market, applied.sequence), None)
        detail = _against_event(applied, event) or history.against_proposal(applied, entry.id)
        if detail:
            return Disagreement(entry.id, event, detail)
        own += 1
    before = [event for event in open_events.values() if event.sequence <= history.baselines.get(event.market, 0)]
    later = [event for event in open_events.values() if event not in before]
    for event in sorted(later, key=lambda event: (event.block_number, event.market, event.sequence)):
        if not history.saw_foreign(event):
            return Disagreement(None, event, f"{_name(event)} on chain, {event.tx_hash}, has no row")
    return Agreement(own, len(later), len(before))


def _against_event(applied: Applied, event: StewardEvent | None) -> str | None:
    if event is None:
        return f"{_name(applied)} has no event on chain, or an earlier row claims it"
    for field in ("digest", "tx_hash", "kind", "values"):
        ours, theirs = getattr(applied, field), getattr(event, field)
        if _plain(ours) != _plain(theirs):
            return f"{_name(applied)}: {field} is {_plain(ours)} in the row and {_plain(theirs)} on chain"
    return None


@dataclass(frozen=True, slots=True)
class _History:
    """What was proposed, by digest, the first known sequence by market, what was read back wrong, seen or undone."""

    proposals: dict[str, Entry]
    baselines: dict[str, int]
    mismatches: list[Incident]
    seen: set[tuple[str, int, str, str]]
    undone: dict[tuple[str, str], int]

    @classmethod
    def of(cls, entries: list[Entry]) -> _History:
        newest_first = entries[::-1]  # so that the oldest of a key stays in a dictionary
        baselines = [_as(Baseline, entry) for entry in newest_first if entry.kind is EntryKind.BASELINE]
        incidents = [_as(Incident, entry) for entry in entries if entry.kind is EntryKind.INCIDENT]
        return cls(
            proposals={entry.key: entry for entry in newest_first if entry.kind is EntryKind.PROPOSAL},
            baselines={baseline.market: baseline.sequence for baseline in baselines},
            mismatches=[incident for incident in incidents if incident.kind is IncidentKind.READBACK_MISMATCH],
            seen={_identity(_as(StewardEvent, entry)) for entry in entries if entry.kind is EntryKind.CHANGE},
            undone={(e.key, e.body["tx_hash"]): e.id for e in entries if e.kind is EntryKind.UNDONE},
        )

    def took_back(self, applied: Entry) -> bool:
        """Say whether a later row tells that a reorganisation took an applied change back."""
        return self.undone.get((applied.key, applied.body["tx_hash"]), 0) > applied.id

    def saw_foreign(self, event: StewardEvent) -> bool:
        """Say whether another keeper's change was journalled when it was seen."""
        return _identity(event) in self.seen and event.digest not in self.proposals

    def against_proposal(self, applied: Applied, row: int) -> str | None:
        found = self.proposals.get(applied.digest)
        if found is None or found.id > row:
            return f"{_name(applied)}: no proposal {applied.digest} was journalled before it"
        proposal = _as(Proposal, found)
        if proposal.digest != applied.digest:
            return f"{_name(applied)}: the proposal in row {found.id} has the digest {proposal.digest}"
        for field in ("market", "sequence", "kind"):
            if getattr(applied, field) != getattr(proposal, field):
                return f"{_name(applied)}: {field} in row {found.id} is {getattr(proposal, field)}"
        if applied.values != proposal.values and not self._explains(applied, proposal):
            return f"{_name(applied)}: {applied.values} applied, {proposal.values} proposed, and no incident says so"
        return None

    def _explains(self, applied: Applied, proposal: Proposal) -> bool:
        return any(
            incident.market == applied.market
            and incident.promised == proposal.values
            and incident.observed == applied.values
            and incident.block.number >= applied.block.number
            for incident in self.mismatches
        )


def _as(kind: type[T], entry: Entry) -> T:
    message = entry.message()
    assert isinstance(message, kind)
    return message


def _identity(event: StewardEvent) -> tuple[str, int, str, str]:
    return event.market, event.sequence, event.digest, event.tx_hash


def _plain(value: str | tuple[int, ...]) -> str:
    return str(value).lower()  # hex digits come in either case


def _name(change: Applied | StewardEvent) -> str:
    return f"{change.kind} {change.sequence} of {change.market}"
