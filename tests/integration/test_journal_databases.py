"""SQLite and PostgreSQL keep the same journal, whatever is done to its writers."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import traceback
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from keeper.journal import EntryKind, Journal, JournalError
from keeper.journal_database import TAKE_WRITE_LOCK
from keeper.messages import Applied, Attempt, BarClosed, Lifecycle, NoChange, ProposalKind, QuoteFault, QuoteRefused
from keeper.verify import Rule, verify_chain_of_hashes
from models.market import Bar, BlockStamp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

pytestmark = pytest.mark.integration
pytest_plugins = ["databases"]

ROOT = Path(__file__).resolve().parents[2]
BLOCK = BlockStamp(7, "0x" + "ab" * 32, 1_700_000_000)
ATTEMPT = Attempt("eth", "0xd1", ProposalKind.TUNE, 31_337, "0xSender", "0xTo", 4, "0xfeed", "0x02f8", 1_700_000_600)
APPLIED = Applied("eth", "0xd1", ProposalKind.TUNE, 3, (2_000, 11_000), "0xfeed", BLOCK, 88_000)
THREE_ROWS = (NoChange("eth", BLOCK, "déjà vu", "0x00"), APPLIED, Lifecycle("stopped"))

WRITERS = """
import asyncio, os, sys
from keeper.journal import Journal
from keeper.messages import Lifecycle

async def write(url, count):
    journal = await Journal.open(url, lambda: 0)
    for number in range(count):
        entry = await journal.append(Lifecycle(str(os.getpid()), str(number)))
        os.write(1, f"{os.getpid()} {entry.id} {number}\\n".encode())
    await journal.close()

url, writers, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
for _ in range(writers):
    if os.fork() == 0:
        asyncio.run(write(url, count))
        os._exit(0)
for _ in range(writers):
    os.wait()
"""


@contextmanager
def processes_writing(url: str, writers: int, count: int) -> Iterator[Iterator[tuple[int, int, int]]]:
    """Start processes that append `count` rows each; give process, id and number of each row once it is written."""
    command = [sys.executable, "-c", WRITERS, url, str(writers), str(count)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True) as parent:
        try:
            yield (tuple(map(int, line.split())) for line in parent.stdout)
        finally:
            os.killpg(parent.pid, signal.SIGKILL)


@pytest.fixture
async def journal(journal_url: str) -> AsyncIterator[Journal]:
    """Open an empty journal."""
    opened = await Journal.open(journal_url, lambda: 1_700_000_000_123)
    yield opened
    await opened.close()


async def test_append__rows_of_several_classes__come_back_equal_and_verify(
    journal: Journal, journal_url: str, sql: Any
) -> None:
    hostile = QuoteRefused("\0" + "é" * 5_000, QuoteFault.UNKNOWN_FEED, "\u2028", "{}" * 100_000)
    bar = BarClosed("eth", Bar("SPX", 0, 86_400, 1.0, 2.0, 0.1 + 0.2, 1e300), (-0.04, 1e-300))
    messages = [*THREE_ROWS, ATTEMPT, hostile, bar]
    written = [await journal.append(message) for message in messages]
    assert [entry.message() for entry in written] == messages
    assert await journal.find() == written
    assert await journal.find(EntryKind.QUOTE_REFUSED, key=hostile.feed) == [written[4]]
    assert await journal.last(EntryKind.APPLIED, "eth") == written[1]
    assert await journal.unfinished_attempts() == []
    report = await verify_chain_of_hashes(journal_url)
    assert report.ok
    assert (report.rows, report.head_hash) == await journal.head() == (6, written[-1].hash)
    assert sql("SELECT version FROM journal_meta") == [(1,)]


async def test_append__same_messages__give_the_same_hash_in_either_database(journal: Journal) -> None:
    for message in THREE_ROWS:
        await journal.append(message)
    assert await journal.head() == (3, "6cab5fe6eeec6f89a746d34ade7c4b290edf77141d594af10522d2623dadc4ea")


async def test_append__two_journals_and_many_coroutines__make_one_chain(journal: Journal, journal_url: str) -> None:
    other = await Journal.open(journal_url, lambda: 0)
    both = [journal, other] * 30
    written = await asyncio.gather(*(one.append(Lifecycle("tick", str(n))) for n, one in enumerate(both)))
    await other.close()
    assert sorted(entry.id for entry in written) == list(range(1, 61))
    assert (await verify_chain_of_hashes(journal_url)).rows == 60


async def test_append__three_processes_from_the_first_moment__make_one_chain(journal_url: str) -> None:
    with processes_writing(journal_url, writers=3, count=25) as written:
        ids = [row_id for _, row_id, _ in written]
    assert sorted(ids) == list(range(1, 76))
    report = await verify_chain_of_hashes(journal_url)
    assert report.ok, report.sentence
    assert report.rows == 75


async def test_append__ten_writers_killed_at_random_moments__lose_no_written_row(journal_url: str) -> None:
    acknowledged, killed, patience = {}, set(), 0
    with processes_writing(journal_url, writers=10, count=5_000) as written:
        for process, row_id, number in written:
            acknowledged[row_id] = (str(process), str(number))
            patience -= 1
            if patience < 0 and process not in killed:
                os.kill(process, signal.SIGKILL)
                killed.add(process)
                patience = random.randint(0, 20)
    assert len(killed) == 10
    journal = await Journal.open(journal_url, lambda: 0)
    after = await journal.append(Lifecycle("after"))
    rows = {entry.id: (entry.body["event"], entry.body["detail"]) for entry in await journal.find()}
    await journal.close()
    assert acknowledged.items() <= rows.items()
    report = await verify_chain_of_hashes(journal_url)
    assert report.ok, report.sentence
    assert report.rows == after.id == len(rows)


@pytest.mark.parametrize("statement", ["UPDATE journal SET market = 'x'", "DELETE FROM journal"])
async def test_database__row_changed_or_deleted__is_refused(journal: Journal, sql: Any, statement: str) -> None:
    await journal.append(Lifecycle("started"))
    before = sql("SELECT * FROM journal")
    with pytest.raises(Exception, match=r"the journal is append-only: no (UPDATE|DELETE)"):
        sql(statement)
    assert sql("SELECT * FROM journal") == before


@pytest.mark.parametrize(
    ("statement", "row_id", "rule"),
    [
        ("UPDATE journal SET recorded_at_ms = recorded_at_ms + 1 WHERE id = 2", 2, Rule.HASH),
        ("UPDATE journal SET kind = 'failed' WHERE id = 2", 2, Rule.HASH),
        ("UPDATE journal SET market = 'btc' WHERE id = 1", 1, Rule.HASH),
        ("UPDATE journal SET key = '' WHERE id = 2", 2, Rule.HASH),
        ("UPDATE journal SET body = previous WHERE id = 3", 3, Rule.HASH),
        ("UPDATE journal SET hash = previous WHERE id = 2", 2, Rule.HASH),
        ("UPDATE journal SET previous = hash WHERE id = 2", 2, Rule.HASH),
        ("DELETE FROM journal WHERE id = 1", 1, Rule.CONTIGUOUS),
        ("DELETE FROM journal WHERE id = 2", 2, Rule.CONTIGUOUS),
        ("UPDATE journal SET id = 4 WHERE id = 3", 3, Rule.CONTIGUOUS),
        ("INSERT INTO journal SELECT -id, 0, kind, market, key, body, previous, hash FROM journal", 1, Rule.CONTIGUOUS),
    ],
)
async def test_verify__row_changed_without_the_triggers__names_row_and_rule(
    journal: Journal, journal_url: str, unlocked: Any, statement: str, row_id: int, rule: Rule
) -> None:
    for message in THREE_ROWS:
        await journal.append(message)
    unlocked(statement)
    report = await verify_chain_of_hashes(journal_url)
    assert (report.first_bad_row, report.rule) == (row_id, rule)


async def test_open__newer_schema__is_refused(journal: Journal, journal_url: str, sql: Any) -> None:
    await journal.append(Lifecycle("started"))
    sql("UPDATE journal_meta SET version = 2")
    with pytest.raises(JournalError, match="schema version 2 is newer than 1"):
        await Journal.open(journal_url, lambda: 0)
    assert (await verify_chain_of_hashes(journal_url)).rule is Rule.READABLE


async def test_postgresql__truncate__is_refused(postgres_url: str) -> None:
    journal = await Journal.open(postgres_url, lambda: 0)
    await journal.append(Lifecycle("started"))
    with psycopg.connect(postgres_url) as connection, pytest.raises(psycopg.Error, match="append-only: no TRUNCATE"):
        connection.execute("TRUNCATE journal")
    assert (await journal.head())[0] == 1
    await journal.close()


async def test_postgresql__column_of_another_type__is_a_failed_verification(postgres_url: str) -> None:
    journal = await Journal.open(postgres_url, lambda: 0)
    await journal.append(Lifecycle("started"))
    await journal.close()
    with psycopg.connect(postgres_url) as connection:
        connection.execute("ALTER TABLE journal ALTER recorded_at_ms TYPE numeric")
    report = await verify_chain_of_hashes(postgres_url)
    assert (report.first_bad_row, report.rule) == (1, Rule.COLUMN_TYPES)
    with psycopg.connect(postgres_url) as connection:
        connection.execute("ALTER TABLE journal DROP COLUMN key")
    report = await verify_chain_of_hashes(postgres_url)
    assert (report.first_bad_row, report.rule) == (1, Rule.READABLE)


async def test_postgresql__another_holds_the_lock__says_so_and_the_next_append_works(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient = TAKE_WRITE_LOCK["postgresql"].replace("'10s'", "'50ms'")
    journal = await Journal.open(postgres_url, lambda: 0)
    with psycopg.connect(postgres_url) as other:
        other.execute(TAKE_WRITE_LOCK["postgresql"])
        monkeypatch.setitem(TAKE_WRITE_LOCK, "postgresql", impatient)
        with pytest.raises(JournalError, match=r"cannot append: .*lock timeout \(another process"):
            await journal.append(Lifecycle("started"))
    assert (await journal.append(Lifecycle("started"))).id == 1
    await journal.close()


async def test_postgresql__connection_lost_in_an_append__leaves_nothing_and_the_next_append_works(
    postgres_url: str,
) -> None:
    journal = await Journal.open(postgres_url, lambda: 0)
    await journal.append(Lifecycle("started"))
    with psycopg.connect(postgres_url, autocommit=True) as administrator, psycopg.connect(postgres_url) as other:
        other.execute(TAKE_WRITE_LOCK["postgresql"])
        lost = asyncio.create_task(journal.append(Lifecycle("lost")))
        waiting = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        terminated: list[tuple] = []
        while not terminated:
            await asyncio.sleep(0)
            terminated = administrator.execute(waiting).fetchall()
        with pytest.raises(JournalError, match="cannot append: "):
            await lost
    assert (await journal.append(Lifecycle("next"))).id == 2
    await journal.close()
    assert (await verify_chain_of_hashes(postgres_url)).rows == 2


async def test_postgresql__server_settings_that_lose_rows__do_not_hold_for_appends(postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        (name,) = connection.execute("SELECT current_database()").fetchone()
        connection.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
        connection.execute(f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'")
    journal = await Journal.open(postgres_url, lambda: 0)
    async with journal._writing("look") as session:
        connection = await session.connection()
        assert (await connection.exec_driver_sql("SHOW synchronous_commit")).scalar() == "on"
        assert (await connection.exec_driver_sql("SHOW transaction_isolation")).scalar() == "read committed"
    await journal.close()


async def test_postgresql__unreachable__says_so_without_the_password() -> None:
    url = f"postgresql://keeper:hunter2@127.0.0.1:{random.randint(1, 1_000)}/risk"
    with pytest.raises(JournalError, match=r"journal postgresql://127\.0\.0\.1:\d+/risk: cannot open: ") as caught:
        await Journal.open(url, lambda: 0)
    shown = "".join(traceback.format_exception(caught.value))
    assert "hunter2" not in shown
    report = await verify_chain_of_hashes(url)
    assert report.rule is Rule.READABLE
    assert "hunter2" not in report.sentence
