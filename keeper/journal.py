"""Keep every decision in one append-only, hash-chained table, on disk before anything acts on it."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from keeper.entries import MESSAGES, Entry, EntryKind, Message, index_of, index_text, kind_of
from keeper.journal_database import (
    GENESIS,
    TAKE_WRITE_LOCK,
    JournalError,
    JournalRow,
    StateRow,
    fault_text,
    open_engine,
    prepare,
    redacted,
    row_hash,
    try_file,
)
from keeper.messages import Announced, Applied, Attempt, Failed, Undone, body, canonical

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence

    from sqlalchemy import ColumnElement
    from sqlalchemy.ext.asyncio import AsyncEngine
    from sqlmodel.sql.expression import SelectOfScalar

__all__ = ["MESSAGES", "Entry", "EntryKind", "Journal", "JournalError", "Message", "index_of", "kind_of"]

T = TypeVar("T")

ENDS = (EntryKind.ANNOUNCED, EntryKind.APPLIED, EntryKind.FAILED, EntryKind.UNDONE)
"""What ends an attempt, and what opens it again."""


class Journal:
    """The journal of one keeper. Any number of coroutines and processes may append to one database."""

    def __init__(self, engine: AsyncEngine, where: str, now_ms: Callable[[], int]) -> None:
        self._engine = engine
        self._where = where
        self._now_ms = now_ms
        self._running: set[asyncio.Task[Any]] = set()
        self._appending = asyncio.Lock()
        self._scanning = asyncio.Lock()
        self._scanned = 0
        self._attempts: dict[tuple[str, str], Attempt] = {}
        self._ended: set[tuple[str, str]] = set()

    @classmethod
    async def open(cls, url: str, now_ms: Callable[[], int]) -> Journal:
        """Open or create the journal at `url`; `now_ms` gives Unix milliseconds for `recorded_at_ms`.

        Raises JournalError for a wrong or unreachable URL, a foreign database or a newer schema.
        """
        journal = cls(open_engine(url), redacted(url), now_ms)
        try:
            await journal._whole(journal._prepare())
        except BaseException:
            await journal.close()
            raise
        return journal

    async def _prepare(self) -> None:
        with self._faults("open"):
            await try_file(self._engine)
        async with self._writing("open") as session:
            await prepare(session, self._where)

    async def close(self) -> None:
        """Let running work end, then close every connection."""
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._engine.dispose()

    async def append(self, message: Message) -> Entry:
        """Write one message; it is on disk when this returns, and nothing of it is when this raises.

        Raises ValueError for NaN, infinity or text that is not Unicode, JournalError when the database refuses.

        An attempt ends once: a second Announced, Applied or Failed of one transaction, from another process that
        followed it too, is not written, and the first one's entry is returned, unless a reorganisation undid that in
        between.
        A cancelled append still runs to its end; one whose connection to PostgreSQL breaks during the commit may have
        been written.
        """
        kind = kind_of(message)
        # Pydantic makes NaN and infinity null where the type is Any; the message itself is asked first.
        json.dumps(asdict(message), allow_nan=False, default=str)
        document = canonical(body(message))
        return await self._whole(self._write(kind, *index_of(message), document))

    async def _write(self, kind: EntryKind, market: str, key: str, document: bytes) -> Entry:
        columns = [kind.encode(), market.encode(), key.encode(), document]
        async with self._appending, self._writing("append") as session:
            ended = await _end_of(session, kind, key, document)
            if ended is not None:
                return self._entry(ended)
            last_id, previous = await _head(session)
            now = self._now_ms()
            row = JournalRow(
                id=last_id + 1,
                recorded_at_ms=now,
                kind=kind.value,
                market=market,
                key=key,
                body=document,
                previous=previous,
                hash=row_hash(previous, last_id + 1, now, columns),
            )
            session.add(row)
        return self._entry(row)

    async def last(self, kind: EntryKind, market: str | None = None, before_id: int | None = None) -> Entry | None:
        """Return the newest entry of a kind, of one market and before a row if given. Raises JournalError."""
        conditions = [col(JournalRow.kind) == kind.value]
        if before_id is not None:
            conditions.append(col(JournalRow.id) < before_id)
        if market is not None:
            conditions.append(col(JournalRow.market) == index_text(market))
        found = await self._select(conditions, limit=1, newest_first=True)
        return found[0] if found else None

    async def find(
        self,
        kind: EntryKind | None = None,
        key: str | None = None,
        market: str | None = None,
        after_id: int = 0,
        limit: int | None = None,
    ) -> list[Entry]:
        """Return the entries that match all that is given, oldest first. Raises JournalError."""
        conditions = [col(JournalRow.id) > after_id]
        if kind is not None:
            conditions.append(col(JournalRow.kind) == kind.value)
        if key is not None:
            conditions.append(col(JournalRow.key) == index_text(key))
        if market is not None:
            conditions.append(col(JournalRow.market) == index_text(market))
        return await self._select(conditions, limit=limit)

    async def unfinished_attempts(self, sender: str | None = None) -> list[Attempt]:
        """Return the attempts without an Announced, Applied or Failed of the same digest and transaction, oldest first.

        Rows never change, so each call reads only those written since the one before. Raises JournalError.
        """
        kinds = [EntryKind.ATTEMPT.value, *(kind.value for kind in ENDS)]
        async with self._scanning:
            newer = [col(JournalRow.kind).in_(kinds), col(JournalRow.id) > self._scanned]
            for entry in await self._select(newer):
                self._note_attempt(entry.message())
                self._scanned = entry.id
            unfinished = [attempt for key, attempt in self._attempts.items() if key not in self._ended]
        return [attempt for attempt in unfinished if sender is None or attempt.sender == sender]

    def _note_attempt(self, message: Message) -> None:
        match message:
            case Attempt():
                self._attempts.setdefault((message.digest, message.tx_hash), message)
            case Announced() | Applied() | Failed():
                self._ended.add((message.digest, message.tx_hash))
            case Undone():
                self._ended.discard((message.digest, message.tx_hash))

    async def put_state(self, market: str, sha256: str, content: bytes, *, keeping: str | None = None) -> None:
        """Store a market's state beside the journal in the place of all but `keeping`. Raises JournalError."""
        await self._whole(self._put_state(StateRow(market=market, sha256=sha256, content=content), keeping))

    async def _put_state(self, row: StateRow, keeping: str | None) -> None:
        async with self._appending, self._writing("save a state") as session:
            there = await session.exec(select(StateRow).where(col(StateRow.market) == row.market))
            for old in there.all():
                if old.sha256 not in {keeping, row.sha256}:
                    await session.delete(old)
            await session.merge(row)

    async def state(self, market: str, sha256: str) -> bytes | None:
        """Return a market's state, None where it is not there. Raises JournalError."""
        return await self._whole(self._state(market, sha256))

    async def _state(self, market: str, sha256: str) -> bytes | None:
        async with self._reading("read a state") as session:
            row = await session.get(StateRow, (market, sha256))
            return None if row is None else row.content

    async def head(self) -> tuple[int, str]:
        """Return the newest row's id and hash; 0 and the genesis hash for an empty journal. Raises JournalError."""
        row_id, newest = await self._whole(self._read_head())
        return row_id, newest.hex()

    async def _read_head(self) -> tuple[int, bytes]:
        async with self._reading("read") as session:
            return await _head(session)

    async def _select(
        self, conditions: Sequence[ColumnElement[bool]], *, limit: int | None = None, newest_first: bool = False
    ) -> list[Entry]:
        order = col(JournalRow.id).desc() if newest_first else col(JournalRow.id)
        query = select(JournalRow).where(*conditions).order_by(order).limit(limit)
        return [self._entry(row) for row in await self._whole(self._read_rows(query))]

    async def _read_rows(self, query: SelectOfScalar[JournalRow]) -> Sequence[JournalRow]:
        async with self._reading("read") as session:
            return (await session.exec(query)).all()

    def _entry(self, row: JournalRow) -> Entry:
        try:
            kind, document = EntryKind(row.kind), json.loads(row.body)
        except ValueError as fault:
            raise JournalError(f"journal {self._where}: row {row.id} is damaged: {fault}: verify it") from fault
        return Entry(row.id, row.recorded_at_ms, kind, row.market, row.key, document, row.hash.hex())

    async def _whole(self, work: Coroutine[Any, Any, T]) -> T:
        """Let work end even if its caller is cancelled: a connection cut in mid-transaction would keep its lock."""
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)

    @asynccontextmanager
    async def _reading(self, doing: str) -> AsyncIterator[AsyncSession]:
        with self._faults(doing):
            async with AsyncSession(self._engine, expire_on_commit=False) as session:
                yield session

    @asynccontextmanager
    async def _writing(self, doing: str) -> AsyncIterator[AsyncSession]:
        """Hold the database's only write lock, then commit; any fault rolls all of it back."""
        async with self._reading(doing) as session, session.begin():
            connection = await session.connection()
            await connection.exec_driver_sql(TAKE_WRITE_LOCK[self._engine.dialect.name])
            yield session

    @contextmanager
    def _faults(self, doing: str) -> Iterator[None]:
        try:
            yield
        except (SQLAlchemyError, sqlite3.Error) as fault:
            raise JournalError(f"journal {self._where}: cannot {doing}: {fault_text(fault)}") from fault


async def _end_of(session: AsyncSession, kind: EntryKind, key: str, document: bytes) -> JournalRow | None:
    """Return the row that has ended this very transaction already, if `kind` would end it again."""
    if kind not in ENDS or kind is EntryKind.UNDONE:
        return None
    kinds = col(JournalRow.kind).in_([end.value for end in ENDS])
    query = select(JournalRow).where(kinds, col(JournalRow.key) == key).order_by(col(JournalRow.id).desc())
    tx_hash = json.loads(document)["tx_hash"]
    for row in (await session.exec(query)).all():
        if json.loads(row.body)["tx_hash"] == tx_hash:
            return None if row.kind == EntryKind.UNDONE.value else row
    return None


async def _head(session: AsyncSession) -> tuple[int, bytes]:
    newest = select(JournalRow.id, JournalRow.hash).order_by(col(JournalRow.id).desc()).limit(1)
    row = (await session.exec(newest)).first()
    return (row[0], row[1]) if row else (0, GENESIS)
