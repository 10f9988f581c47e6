"""The journal keeps every message, once, in order, or says why it cannot."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
import traceback
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, get_args

import pytest

from chain.steward import StewardEvent
from keeper import journal_database
from keeper.deliberation import Considered, Deliberation
from keeper.journal import MESSAGES, EntryKind, Journal, JournalError, Message, index_of, kind_of
from keeper.journal_database import GENESIS, redacted, row_hash
from keeper.learned import StateKept
from keeper.messages import (
    Announced,
    Applied,
    Approved,
    Assessment,
    Attempt,
    BarClosed,
    Baseline,
    Change,
    DryRun,
    Failed,
    Incident,
    IncidentKind,
    Lifecycle,
    NoChange,
    Preflight,
    Proposal,
    ProposalKind,
    QuoteConfirmed,
    QuoteFault,
    QuoteRefused,
    Reason,
    Rejected,
    Undone,
    digest,
)
from keeper.objective import Terms
from keeper.weighing import Weighing
from models.champions import Promotion
from models.market import Auction, Bar, BlockStamp, Quote, QuoteKind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

BLOCK = BlockStamp(7, "0x" + "ab" * 32, 1_700_000_000)
PROPOSAL = Proposal(
    market="eth",
    kind=ProposalKind.TUNE,
    policy="0x" + "0f" * 20,
    sequence=3,
    state_hash="0x" + "01" * 32,
    block=BLOCK,
    current=(1_500, 11_000),
    changes=(Change(0, 2_000),),
    targets=(Change(0, 2_400),),
    inputs="0x" + "02" * 32,
    model_id="ewma-fhs",
    deadline=1_700_000_600,
    because="vol rose",
)
BAR = Bar("SPX", 0, 86_400, 1.0, 2.0, 0.5, 1.5, None, 0.2)
SPOT = Quote("spx", "SPX", QuoteKind.SPOT, 4_000.5, 5, 6)
ASSESSMENT = Assessment(
    market="eth",
    block=BLOCK,
    sequence=2,
    state_hash="0x" + "01" * 32,
    values=(1_500, 11_000),
    spot=SPOT,
    vol=Quote("vix", "SPX", QuoteKind.VOL, 0.2, 5, 6),
    oracle_price=4_000.0,
    accounts=3,
    liquidatable=(),
    model_id="ewma-fhs",
    bars=500,
    published=(-0.04, 0.03),
    raw=(-0.05, 0.03),
    vol_rise=None,
)
TERMS = Terms(0.001, 0.0002)
DELIBERATION = Deliberation(
    market="eth",
    block=BLOCK,
    inputs=digest(ASSESSMENT),
    parameters=(
        Considered(
            0, "vol", "bps", "shocked_vol", 10**27, "up", "1/3", 1_500, 2_400, 2_400, 2_000, "PROPOSED", TERMS, TERMS
        ),
        Considered(1, "penalty", "bps", None, 1, "down", "0", 5, None, None, 5, "NOT_TUNED", None, None),
    ),
    weighed=(Weighing((0,), TERMS, TERMS, 0.0001),),
    notes=("cooling down",),
    settings={"dead_band": 0.1},
)
PREFLIGHT = Preflight(BLOCK, "0x" + "03" * 32, "0x" + "04" * 32, 90_000, (2_000, 11_000), ())
ATTEMPT = Attempt(
    "eth", PROPOSAL.digest, ProposalKind.TUNE, 31_337, "0xSender", "0xTo", 4, "0xfeed", "0x02f8", 1_700_000_600
)
ANNOUNCED = Announced("eth", PROPOSAL.digest, "0x" + "04" * 32, 1_700_003_600, "0xfeed", BLOCK, 66_000)
APPLIED = Applied("eth", PROPOSAL.digest, ProposalKind.TUNE, 3, (2_000, 11_000), "0xfeed", BLOCK, 88_000)
FAILED = Failed("eth", PROPOSAL.digest, "0xfeed", "reverted")
UNDONE = Undone("eth", PROPOSAL.digest, "0xfeed", 3)

EXAMPLES: dict[EntryKind, tuple[Message, str, str]] = {
    EntryKind.QUOTE_REFUSED: (QuoteRefused("vix", QuoteFault.NOT_FINITE, "nan", "{}"), "", "vix"),
    EntryKind.BAR_CLOSED: (BarClosed("eth", BAR, (-0.03, 0.02)), "eth", "SPX"),
    EntryKind.CHANGE: (
        StewardEvent("eth", 3, PROPOSAL.digest, (2_000, 11_000), "tune", "0xfeed", 7),
        "eth",
        PROPOSAL.digest,
    ),
    EntryKind.AUCTION: (Auction("eth", "0xAccount", 7, "0xfeed"), "eth", "0xfeed"),
    EntryKind.BASELINE: (Baseline("eth", BLOCK, 2, (1_500, 11_000), (1_500, 11_000)), "eth", ""),
    EntryKind.ASSESSMENT: (ASSESSMENT, "eth", digest(ASSESSMENT)),
    EntryKind.DELIBERATION: (DELIBERATION, "eth", digest(ASSESSMENT)),
    EntryKind.PROPOSAL: (PROPOSAL, "eth", PROPOSAL.digest),
    EntryKind.APPROVED: (Approved(PROPOSAL, PREFLIGHT), "eth", PROPOSAL.digest),
    EntryKind.REJECTED: (Rejected("eth", Reason.PAUSED, "by guardian", BLOCK, PROPOSAL), "eth", PROPOSAL.digest),
    EntryKind.NO_CHANGE: (NoChange("eth", BLOCK, "dead band", "0x00"), "eth", ""),
    EntryKind.ATTEMPT: (ATTEMPT, "eth", PROPOSAL.digest),
    EntryKind.ANNOUNCED: (ANNOUNCED, "eth", PROPOSAL.digest),
    EntryKind.APPLIED: (APPLIED, "eth", PROPOSAL.digest),
    EntryKind.FAILED: (FAILED, "eth", PROPOSAL.digest),
    EntryKind.UNDONE: (UNDONE, "eth", PROPOSAL.digest),
    EntryKind.QUOTE_CONFIRMED: (QuoteConfirmed("eth", SPOT, "seen on two screens"), "eth", "spx"),
    EntryKind.DRY_RUN: (DryRun("eth", PROPOSAL.digest, "vol rose", "0xTo", "0x1234"), "eth", PROPOSAL.digest),
    EntryKind.INCIDENT: (Incident("eth", IncidentKind.FOREIGN_CHANGE, "who?", BLOCK, demands_rollback=True), "eth", ""),
    EntryKind.LIFECYCLE: (Lifecycle("started", "", {"tick_seconds": 60}), "", ""),
    EntryKind.PROMOTION: (Promotion("d081fdcfd3449d6c", "", "it covers"), "", ""),
    EntryKind.STATE_KEPT: (StateKept("eth", "ewma-fhs", 86_400, "builtin:spx", 500, 7, "ab" * 32), "eth", ""),
}


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/keeper.db"


@pytest.fixture
async def journal(url: str) -> AsyncIterator[Journal]:
    opened = await Journal.open(url, lambda: 1_700_000_000_123)
    yield opened
    await opened.close()


def sql(url: str, statement: str) -> list[tuple]:
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection, connection:
        return connection.execute(statement).fetchall()


@pytest.mark.parametrize("kind", EntryKind)
async def test_append__each_message_class__comes_back_equal_under_its_index(journal: Journal, kind: EntryKind) -> None:
    message, market, key = EXAMPLES[kind]
    written = await journal.append(message)
    (found,) = await journal.find(kind, key=key, market=market)
    assert found == written
    assert found.message() == message
    assert (found.id, found.recorded_at_ms, found.kind) == (1, 1_700_000_000_123, kind)
    assert (found.market, found.key) == (market, key)


def test_kinds__every_message_class__has_exactly_one() -> None:
    assert set(MESSAGES) == set(EntryKind)
    assert set(MESSAGES.values()) == set(get_args(Message))


def test_kind_of__class_that_is_no_message__names_it() -> None:
    with pytest.raises(TypeError, match="BlockStamp is not journalled"):
        kind_of(BLOCK)


def test_index_of__hostile_feed_name__fits_any_database() -> None:
    market, key = index_of(QuoteRefused("\0" + "x" * 10_000, QuoteFault.UNKNOWN_FEED, "", ""))
    assert market == ""
    assert key == "\ufffd" + "x" * 255


async def test_find__hostile_feed_name__is_found_by_the_name_as_received(journal: Journal) -> None:
    message = QuoteRefused("a\0b", QuoteFault.UNKNOWN_FEED, "", "")
    await journal.append(message)
    (found,) = await journal.find(key="a\0b")
    assert found.message() == message


async def test_hash__first_and_second_row__follow_the_documented_encoding(journal: Journal, url: str) -> None:
    first = await journal.append(Lifecycle("started"))
    second = await journal.append(EXAMPLES[EntryKind.BAR_CLOSED][0])

    def number(value: int) -> bytes:
        return value.to_bytes(8, "big")

    document = b'{"detail":"","event":"started","settings":{}}'
    parts = [b"lifecycle", b"", b"", document]
    encoded = number(1) + number(1_700_000_000_123) + b"".join(number(len(part)) + part for part in parts)
    assert hashlib.sha256(b"keeper journal, schema 1").digest() == GENESIS
    assert first.hash == hashlib.sha256(GENESIS + encoded).hexdigest()
    ((previous,),) = sql(url, "SELECT hex(previous) FROM journal WHERE id = 2")
    assert previous.lower() == first.hash != second.hash


def test_row_hash__byte_moved_between_columns__differs() -> None:
    assert row_hash(GENESIS, 1, 2, [b"ab", b"c"]) != row_hash(GENESIS, 1, 2, [b"a", b"bc"])


async def test_head__empty_then_one_row__moves_from_genesis_to_the_row(journal: Journal) -> None:
    assert await journal.head() == (0, GENESIS.hex())
    entry = await journal.append(Lifecycle("started"))
    assert await journal.head() == (1, entry.hash)


async def test_last__several_markets__is_the_newest_of_the_one_asked_for(journal: Journal) -> None:
    for market, detail in (("eth", "1"), ("btc", "2"), ("eth", "3"), ("btc", "4")):
        await journal.append(NoChange(market, BLOCK, detail, ""))
    newest, of_eth = await journal.last(EntryKind.NO_CHANGE), await journal.last(EntryKind.NO_CHANGE, "eth")
    assert newest is not None
    assert of_eth is not None
    assert (newest.id, of_eth.id) == (4, 3)
    assert await journal.last(EntryKind.APPLIED) is None


async def test_find__after_an_id_with_a_limit__pages_oldest_first(journal: Journal) -> None:
    for _ in range(5):
        await journal.append(Lifecycle("tick"))
    assert [entry.id for entry in await journal.find(after_id=1, limit=3)] == [2, 3, 4]
    assert [entry.id for entry in await journal.find()] == [1, 2, 3, 4, 5]


async def test_append__many_coroutines__get_contiguous_ids_in_one_chain(journal: Journal, url: str) -> None:
    written = await asyncio.gather(*(journal.append(Lifecycle("tick", str(n))) for n in range(50)))
    assert sorted(entry.id for entry in written) == list(range(1, 51))
    assert sql(url, "SELECT count(*) FROM journal a JOIN journal b ON b.id = a.id + 1 AND b.previous = a.hash") == [
        (49,)
    ]


@pytest.mark.parametrize(
    "message",
    [
        replace(ASSESSMENT, oracle_price=float("nan")),
        replace(ASSESSMENT, oracle_price=float("-inf")),
        Lifecycle("started", "", {"nested": [{"x": float("inf")}]}),
        QuoteRefused("\ud800", QuoteFault.UNKNOWN_FEED, "", ""),
    ],
    ids=["nan", "infinity", "nested infinity", "lone surrogate"],
)
async def test_append__body_that_is_not_json__raises_before_anything_is_written(
    journal: Journal, message: Message
) -> None:
    with pytest.raises(ValueError, match=r"not JSON compliant|surrogates"):
        await journal.append(message)
    assert await journal.head() == (0, GENESIS.hex())
    assert (await journal.append(Lifecycle("started"))).id == 1


async def test_append__cancelled_at_any_moment__leaves_a_journal_that_goes_on(journal: Journal, url: str) -> None:
    for steps in range(40):
        appending = asyncio.create_task(journal.append(Lifecycle("cancelled", str(steps))))
        for _ in range(steps):
            await asyncio.sleep(0)
        appending.cancel()
        await asyncio.gather(appending, return_exceptions=True)
    entry = await journal.append(Lifecycle("after"))
    assert sql(url, "SELECT count(*), max(id) FROM journal") == [(entry.id, entry.id)]


async def test_append__disk_full__leaves_nothing_and_the_next_one_works(journal: Journal) -> None:
    await journal.append(Lifecycle("started"))
    before = await journal.head()
    async with journal._engine.connect() as connection:
        pages = (await connection.exec_driver_sql("PRAGMA page_count")).scalar()
        await connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(JournalError, match=r"keeper\.db: cannot append: database or disk is full \(free space"):
        await journal.append(Lifecycle("too large", "x" * 50_000))
    assert await journal.head() == before
    async with journal._engine.connect() as connection:
        await connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
    assert (await journal.append(Lifecycle("large", "x" * 50_000))).id == 2


async def test_append__another_process_holds_the_lock__says_so_and_the_next_one_works(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_database, "LOCK_SECONDS", 0.05)
    journal = await Journal.open(url, lambda: 0)
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalError, match=r"cannot append: database is locked \(another process"):
            await journal.append(Lifecycle("started"))
        other.execute("ROLLBACK")
    assert (await journal.append(Lifecycle("started"))).id == 1
    await journal.close()


async def test_connection__as_opened__survives_power_loss(journal: Journal) -> None:
    async with journal._engine.connect() as connection:
        assert (await connection.exec_driver_sql("PRAGMA journal_mode")).scalar() == "wal"
        assert (await connection.exec_driver_sql("PRAGMA synchronous")).scalar() == 2


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE journal SET market = 'x'",
        "DELETE FROM journal",
        "INSERT OR REPLACE INTO journal SELECT * FROM journal",
        "INSERT INTO journal SELECT id + 2, recorded_at_ms, kind, market, key, body, previous, hash FROM journal",
    ],
    ids=["update", "delete", "replace", "gap"],
)
async def test_database__anything_but_the_next_row__is_refused(journal: Journal, url: str, statement: str) -> None:
    await journal.append(Lifecycle("started"))
    before = sql(url, "SELECT * FROM journal")
    with pytest.raises(sqlite3.IntegrityError, match="the journal is append-only"):
        sql(url, statement)
    assert sql(url, "SELECT * FROM journal") == before


async def test_unfinished_attempts__ends_of_every_kind__leaves_those_without_one(journal: Journal) -> None:
    bumped = Attempt(
        "eth", PROPOSAL.digest, ProposalKind.TUNE, 31_337, "0xSender", "0xTo", 4, "0xbeef", "0x02f9", 1_700_000_600
    )
    foreign = Attempt(
        "eth", "0xother", ProposalKind.TUNE, 31_337, "0xElse", "0xTo", 9, "0xcafe", "0x02fa", 1_700_000_600
    )
    for message in (ATTEMPT, bumped, foreign):
        await journal.append(message)
    assert await journal.unfinished_attempts() == [ATTEMPT, bumped, foreign]
    await journal.append(APPLIED)
    assert await journal.unfinished_attempts() == [bumped, foreign]
    assert await journal.unfinished_attempts(sender="0xSender") == [bumped]
    await journal.append(Failed("eth", PROPOSAL.digest, "0xbeef", "nonce spent"))
    await journal.append(ATTEMPT)
    assert await journal.unfinished_attempts() == [foreign]


async def test_unfinished_attempts__announced_and_then_applied__each_transaction_has_its_own_end(
    journal: Journal,
) -> None:
    announcing = replace(ATTEMPT, tx_hash="0xbeef", announces=True)
    for message in (announcing, replace(ANNOUNCED, tx_hash="0xbeef"), ATTEMPT):
        await journal.append(message)
    assert await journal.unfinished_attempts() == [ATTEMPT]
    await journal.append(APPLIED)
    assert await journal.unfinished_attempts() == []


async def test_unfinished_attempts__ended_by_another_keeper__is_finished(journal: Journal, url: str) -> None:
    await journal.append(ATTEMPT)
    assert await journal.unfinished_attempts() == [ATTEMPT]
    other = await Journal.open(url, lambda: 0)
    assert await other.unfinished_attempts() == [ATTEMPT]
    await other.append(FAILED)
    await other.close()
    assert await journal.unfinished_attempts() == []


async def test_unfinished_attempts__undone_by_a_reorganisation__is_unfinished_until_it_ends_again(
    journal: Journal,
) -> None:
    await journal.append(ATTEMPT)
    await journal.append(APPLIED)
    assert await journal.unfinished_attempts() == []
    await journal.append(UNDONE)
    assert await journal.unfinished_attempts() == [ATTEMPT]
    await journal.append(APPLIED)
    assert await journal.unfinished_attempts() == []


async def test_unfinished_attempts__history_with_an_undone_change__reads_the_same_when_opened_again(
    journal: Journal, url: str
) -> None:
    for message in (ATTEMPT, APPLIED, UNDONE):
        await journal.append(message)
    other = await Journal.open(url, lambda: 0)
    assert await other.unfinished_attempts() == [ATTEMPT]
    await other.close()


@pytest.mark.parametrize("first", [ANNOUNCED, APPLIED, FAILED], ids=["announced", "applied", "failed"])
@pytest.mark.parametrize(
    "second",
    [replace(ANNOUNCED, gas_used=1), replace(APPLIED, gas_used=1), replace(FAILED, detail="other words")],
    ids=["announced", "applied", "failed"],
)
async def test_append__second_end_of_one_transaction__is_the_first_ones_entry(
    journal: Journal, url: str, first: Message, second: Message
) -> None:
    written = await journal.append(first)
    other = await Journal.open(url, lambda: 0)
    assert await other.append(second) == written
    await other.close()
    assert await journal.find() == [written]


@pytest.mark.parametrize(
    "other",
    [replace(APPLIED, tx_hash="0xbeef"), replace(FAILED, tx_hash="0xbeef"), replace(APPLIED, digest="0x" + "09" * 32)],
    ids=["applied in another transaction", "another transaction failed", "another proposal"],
)
async def test_append__end_of_another_transaction_or_proposal__is_written(journal: Journal, other: Message) -> None:
    await journal.append(APPLIED)
    assert (await journal.append(other)).message() == other


async def test_append__end_after_it_was_undone__is_written_again_but_once(journal: Journal) -> None:
    later = replace(APPLIED, block=replace(BLOCK, number=8))
    for message in (APPLIED, UNDONE, later, later):
        await journal.append(message)
    assert [entry.message() for entry in await journal.find()] == [APPLIED, UNDONE, later]


async def test_append__end_of_one_transaction_undone__lets_no_other_one_end_twice(journal: Journal) -> None:
    other = replace(APPLIED, tx_hash="0xbeef")
    for message in (APPLIED, other, UNDONE, other):
        await journal.append(message)
    assert [entry.message() for entry in await journal.find()] == [APPLIED, other, UNDONE]


async def test_append__two_changes_undone__each_has_its_row(journal: Journal) -> None:
    for message in (UNDONE, UNDONE):
        await journal.append(message)
    assert len(await journal.find(EntryKind.UNDONE)) == 2


async def test_open__again__goes_on_with_the_same_chain(url: str) -> None:
    first = await Journal.open(url, lambda: 1)
    written = await first.append(Lifecycle("started"))
    await first.close()
    second = await Journal.open(url, lambda: 2)
    assert await second.head() == (1, written.hash)
    assert (await second.append(Lifecycle("started"))).id == 2
    await second.close()


@pytest.mark.usefixtures("journal")
async def test_open__newer_schema__is_refused(url: str) -> None:
    sql(url, "UPDATE journal_meta SET version = 2")
    with pytest.raises(JournalError, match=r"keeper\.db: schema version 2 is newer than 1.*: upgrade the keeper"):
        await Journal.open(url, lambda: 0)


async def test_open__table_of_another_program__is_refused(url: str) -> None:
    sql(url, "CREATE TABLE journal (note TEXT)")
    with pytest.raises(JournalError, match=r"already exists \(the database holds another program's table"):
        await Journal.open(url, lambda: 0)
    assert sql(url, "SELECT name FROM sqlite_master") == [("journal",)]


async def test_open__file_that_is_no_database__is_refused(tmp_path: Path) -> None:
    (tmp_path / "keeper.db").write_bytes(b"no database at all " * 100)
    with pytest.raises(JournalError, match=r"keeper\.db: cannot open: file is not a database"):
        await Journal.open(f"sqlite:///{tmp_path}/keeper.db", lambda: 0)


async def test_open__folder_missing__says_so(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="the folder must exist"):
        await Journal.open(f"sqlite:///{tmp_path}/nowhere/keeper.db", lambda: 0)


@pytest.mark.parametrize(
    "url",
    [
        "mysql://keeper:hunter2@host/db",
        "postgresql+asyncpg://keeper:hunter2@host/db",
        "postgresql://keeper:hunter2@host",
        "postgresql://keeper:x@host:hunter2/db",
        "sqlite://keeper:hunter2@host/db",
        "sqlite:///keeper.db?password=hunter2",
        "sqlite://",
        "sqlite:///:memory:",
        "hunter2",
        "",
    ],
)
async def test_open__url_of_another_kind__says_what_is_allowed_and_keeps_the_secret(url: str) -> None:
    with pytest.raises(JournalError, match=r"^journal\.url: .*allowed are sqlite:///FILE and postgresql://") as caught:
        await Journal.open(url, lambda: 0)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value)).replace(repr(url), "")


def test_redacted__credentials_and_options__are_gone() -> None:
    url = "postgresql://keeper:hunter2@db.example:5433/risk?sslpassword=hunter3"
    assert redacted(url) == "postgresql://db.example:5433/risk"


async def test_find__row_of_an_unknown_kind__names_the_row(journal: Journal, url: str) -> None:
    await journal.append(Lifecycle("started"))
    sql(url, "DROP TRIGGER journal_no_update")
    sql(url, "UPDATE journal SET kind = 'omen'")
    with pytest.raises(JournalError, match=r"keeper\.db: row 1 is damaged: 'omen' is not a valid EntryKind"):
        await journal.find()


async def test_append__assessment_without_what_was_added_later__has_the_body_and_digest_it_always_had(journal):
    entry = await journal.append(ASSESSMENT)
    assert not {"tail", "vol_tail", "holdings"} & entry.body.keys()
    assert entry.message() == ASSESSMENT
    whole = replace(ASSESSMENT, holdings=((1.0, 0.5), (1.5, 0.5)))
    assert (await journal.append(whole)).message() == whole
    assert digest(whole) != digest(ASSESSMENT)


async def test_last__before_a_row__is_the_newest_older_one(journal):
    rows = [await journal.append(replace(ASSESSMENT, bars=bars)) for bars in (1, 2, 3)]
    assert await journal.last(EntryKind.ASSESSMENT, "eth", before_id=rows[2].id) == rows[1]
    assert await journal.last(EntryKind.ASSESSMENT, "eth", before_id=rows[0].id) is None
