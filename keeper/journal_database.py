"""Hold the journal's table, the rules its database enforces, and the way to open that database."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sqlalchemy import URL, BigInteger, Column, Index, Integer, LargeBinary, Text, event, inspect, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlmodel import Field, SQLModel, select

from config.errors import KnownFault

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlmodel.ext.asyncio.session import AsyncSession

SCHEMA_VERSION = 1
GENESIS = hashlib.sha256(b"keeper journal, schema 1").digest()
"""What the first row takes for the hash of the row before it."""

LOCK_SECONDS = 10
"""How long an append waits for another writer."""


class JournalError(KnownFault):
    """The journal cannot be opened, read or written. The text names the database without its credentials."""


class JournalRow(SQLModel, table=True):
    """One row: `hash` covers `previous`, the hash of the row before it, and every other column."""

    __tablename__ = "journal"
    __table_args__ = (Index("journal_by_kind", "kind", "market", "id"), Index("journal_by_key", "key", "id"))

    # Only INTEGER makes SQLite's primary key the row id.
    id: int = Field(
        sa_column=Column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False)
    )
    recorded_at_ms: int = Field(sa_column=Column(BigInteger, nullable=False))
    kind: str = Field(sa_column=Column(Text, nullable=False))
    market: str = Field(sa_column=Column(Text, nullable=False))
    key: str = Field(sa_column=Column(Text, nullable=False))
    body: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    previous: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    hash: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class JournalMeta(SQLModel, table=True):
    """The schema version that the journal was made with."""

    __tablename__ = "journal_meta"

    version: int = Field(primary_key=True)


class StateRow(SQLModel, table=True):
    """What a market's model had learned: `sha256` is the hex digest of `content`, which the journal repeats.

    Beside the journal, as only the newest one is of use: a state that is lost or refused is learned anew.
    """

    __tablename__ = "model_state"

    market: str = Field(sa_column=Column(Text, primary_key=True))
    sha256: str = Field(sa_column=Column(Text, primary_key=True))
    content: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


# An insert must take the next id, or SQLite's INSERT OR REPLACE would delete a row without a DELETE trigger.
_TRIGGERS = {
    "sqlite": (
        (
            "CREATE TRIGGER journal_no_update BEFORE UPDATE ON journal"
            " BEGIN SELECT RAISE(ABORT, 'the journal is append-only: no UPDATE'); END"
        ),
        (
            "CREATE TRIGGER journal_no_delete BEFORE DELETE ON journal"
            " BEGIN SELECT RAISE(ABORT, 'the journal is append-only: no DELETE'); END"
        ),
        (
            "CREATE TRIGGER journal_next_id BEFORE INSERT ON journal"
            " WHEN NEW.id IS NOT (SELECT COALESCE(MAX(id), 0) + 1 FROM journal)"
            " BEGIN SELECT RAISE(ABORT, 'the journal is append-only: an insert takes the next id'); END"
        ),
    ),
    "postgresql": (
        (
            "CREATE OR REPLACE FUNCTION journal_append_only() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION USING MESSAGE = 'the journal is append-only: no ' || TG_OP; END $$"
        ),
        (
            "CREATE TRIGGER journal_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON journal"
            " FOR EACH STATEMENT EXECUTE FUNCTION journal_append_only()"
        ),
    ),
}

# The number is any constant that every keeper uses. The settings hold for this transaction, whatever the server's are.
TAKE_WRITE_LOCK = {
    "sqlite": "BEGIN IMMEDIATE",
    "postgresql": "SELECT set_config('synchronous_commit', 'on', true),"
    f" set_config('lock_timeout', '{LOCK_SECONDS}s', true), pg_advisory_xact_lock(7235419)",
}

_RULES = {
    "database is locked": f"another process has held the write lock for over {LOCK_SECONDS} s",
    "lock timeout": f"another process has held the write lock for over {LOCK_SECONDS} s",
    "disk is full": "free space on its disk",
    "readonly database": "the keeper's user must be able to write the file and its folder",
    "unable to open": "the folder must exist and the keeper's user must be able to write in it",
    "not a database": "name another file, or restore this one from a backup",
    "already exists": "the database holds another program's table: give the keeper a database of its own",
}


def row_hash(previous: bytes, row_id: int, recorded_at_ms: int, columns: Sequence[bytes]) -> bytes:
    """Hash a row: SHA-256 of `previous`, both integers (8 bytes, big-endian), each column after its length.

    `columns` are kind, market, key and body as UTF-8.
    """
    hasher = hashlib.sha256(previous)
    for number in (row_id, recorded_at_ms):
        hasher.update(number.to_bytes(8, "big", signed=True))
    for column in columns:
        hasher.update(len(column).to_bytes(8, "big"))
        hasher.update(column)
    return hasher.digest()


def _database_url(url: str) -> URL:
    allowed = "allowed are sqlite:///FILE and postgresql://USER:PASSWORD@HOST/DATABASE"
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # both texts would repeat the password
        raise JournalError(f"journal.url: not a database address: {allowed}") from None
    if parsed.drivername == "sqlite":
        if parsed.host or parsed.query or parsed.database in {None, "", ":memory:"}:
            raise JournalError(f"journal.url: sqlite takes a file and nothing else: {allowed}")
    elif parsed.drivername != "postgresql":
        raise JournalError(f"journal.url: {parsed.drivername}:// is not supported: {allowed}")
    elif not parsed.database:
        raise JournalError(f"journal.url: postgresql without the name of a database: {allowed}")
    return parsed


def redacted(url: str) -> str:
    """Return a journal URL without user, password and options. Raises JournalError if it is not one."""
    full = _database_url(url)
    shown = URL.create(full.drivername, host=full.host, port=full.port, database=full.database)
    return shown.render_as_string()


def fault_text(fault: Exception) -> str:
    """Say in one line what a database reported, and what to do where that is known."""
    lines = str(getattr(fault, "orig", None) or fault).splitlines()
    text = lines[0] if lines else type(fault).__name__
    rule = next((rule for sign, rule in _RULES.items() if sign in text), None)
    return f"{text} ({rule})" if rule else text


def open_engine(url: str, *, read_only: bool = False) -> AsyncEngine:
    """Make the engine for a journal URL; connecting comes later. Raises JournalError for a wrong URL."""
    address = _database_url(url)
    if address.drivername == "postgresql":
        return create_async_engine(
            address.set(drivername="postgresql+psycopg").update_query_dict(
                {"connect_timeout": address.query.get("connect_timeout", str(LOCK_SECONDS))}
            ),
            hide_parameters=True,
            pool_pre_ping=True,
            isolation_level="AUTOCOMMIT" if read_only else "READ COMMITTED",
        )
    if read_only:
        query = {"mode": "ro", "uri": "true"}
        address = address.set(database=f"file:{quote(address.database or '')}", query=query)
    engine = create_async_engine(
        address.set(drivername="sqlite+aiosqlite"),
        hide_parameters=True,
        # No isolation level: sqlite3 would begin a deferred transaction of its own, which can fail to upgrade.
        connect_args={"isolation_level": None, "timeout": LOCK_SECONDS},
    )
    if not read_only:
        event.listen(engine.sync_engine, "connect", _make_durable)
    return engine


async def try_file(engine: AsyncEngine) -> None:
    """Open a SQLite file once and close it again. Raises sqlite3.Error where that fails.

    The thread of an aiosqlite connection that never opened outlives the event loop and ends in a traceback.
    """
    if engine.dialect.name == "sqlite":
        await asyncio.to_thread(_try_file, *engine.dialect.create_connect_args(engine.url))


def _try_file(arguments: Sequence[Any], options: Mapping[str, Any]) -> None:
    with closing(sqlite3.connect(*arguments, **options)) as connection:
        connection.execute("PRAGMA schema_version")


def _make_durable(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


async def prepare(session: AsyncSession, where: str) -> None:
    """Create the tables and triggers where there are none. Raises JournalError for a newer schema.

    `session` holds the write lock.
    """
    connection = await session.connection()
    states: Any = StateRow
    tables = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
    if JournalMeta.__tablename__ in tables:
        version = (await session.exec(select(JournalMeta.version))).one()
        if version > SCHEMA_VERSION:
            raise JournalError(
                f"journal {where}: schema version {version} is newer than {SCHEMA_VERSION}, the newest this keeper"
                " reads: upgrade the keeper"
            )
        if StateRow.__tablename__ not in tables:  # a journal that is older than saved states
            await connection.run_sync(states.__table__.create)
        return
    models: list[Any] = [JournalRow, JournalMeta, StateRow]
    for model in models:
        await connection.run_sync(model.__table__.create)
    for statement in _TRIGGERS[connection.dialect.name]:
        await connection.exec_driver_sql(statement)
    session.add(JournalMeta(version=SCHEMA_VERSION))
