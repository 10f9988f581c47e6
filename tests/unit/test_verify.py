"""A changed journal fails verification by the name of its first bad row; one that differs from the chain does too."""

from __future__ import annotations

import re
import sqlite3
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from chain.steward import StewardEvent
from keeper.journal import Entry, Journal, JournalError, Message, index_of, kind_of
from keeper.journal_database import GENESIS, row_hash
from keeper.messages import (
    Applied,
    Baseline,
    Change,
    Incident,
    IncidentKind,
    Lifecycle,
    NoChange,
    Proposal,
    ProposalKind,
    Undone,
    body,
    canonical,
)
from keeper.verify import Agreement, Disagreement, Rule, compare_with_chain, verify_chain_of_hashes
from models.market import BlockStamp

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
APPLIED = Applied("eth", PROPOSAL.digest, ProposalKind.TUNE, 3, (2_000, 11_000), "0xfeed", BLOCK, 88_000)
EVENT = StewardEvent("eth", 3, PROPOSAL.digest, (2_000, 11_000), "tune", "0xfeed", 7)
WRONG = (20_000, 11_000)
UNDONE = Undone("eth", PROPOSAL.digest, "0xfeed", 3)
FOREIGN = StewardEvent("eth", 4, "0x" + "0f" * 32, (2_100, 11_000), "tune", "0xf0e1", 9)
MISMATCH = Incident("eth", IncidentKind.READBACK_MISMATCH, "", BLOCK, True, PROPOSAL.values, WRONG)


async def written(path: Path, *messages: Message) -> str:
    """Write a journal of these messages and give its URL."""
    url = f"sqlite:///{path}/keeper.db"
    journal = await Journal.open(url, lambda: 1_700_000_000_123)
    for message in messages:
        await journal.append(message)
    await journal.close()
    return url


def file_of(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


def forge(url: str, *statements: str) -> None:
    """Change the database as its owner can: without the triggers, keeping the indices whole."""
    with closing(sqlite3.connect(file_of(url))) as connection, connection:
        for trigger in ("journal_no_update", "journal_no_delete", "journal_next_id"):
            connection.execute(f"DROP TRIGGER {trigger}")
        for statement in statements:
            connection.execute(statement)


def forge_row(url: str, row_id: int, kind: str, market: str, key: str, document: bytes) -> None:
    """Rewrite the newest row and its hash, as someone who knows the encoding would."""
    with closing(sqlite3.connect(file_of(url))) as connection, connection:
        connection.execute("DROP TRIGGER journal_no_update")
        query = "SELECT recorded_at_ms, previous FROM journal WHERE id = ?"
        recorded, previous = connection.execute(query, (row_id,)).fetchone()
        forged = row_hash(previous, row_id, recorded, [kind.encode(), market.encode(), key.encode(), document])
        connection.execute(
            "UPDATE journal SET kind = ?, market = ?, key = ?, body = ?, hash = ? WHERE id = ?",
            (kind, market, key, document, forged, row_id),
        )


def varint(page: bytes, offset: int) -> tuple[int, int]:
    """Read one of SQLite's variable-length integers; give it and the offset behind it."""
    value = 0
    for index in range(9):
        byte = page[offset + index]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, offset + index + 1
    raise AssertionError("no journal row needs nine bytes")


def cells(url: str) -> dict[int, range]:
    """Locate each row's cell in the file: https://www.sqlite.org/fileformat2.html#b_tree_pages."""
    with closing(sqlite3.connect(file_of(url))) as connection:
        size = connection.execute("PRAGMA page_size").fetchone()[0]
        root = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'journal'").fetchone()[0]
    data = file_of(url).read_bytes()
    page = data[(root - 1) * size : root * size]
    assert page[0] == 0x0D, "the rows must fit in one leaf page"
    found = {}
    for number in range(int.from_bytes(page[3:5], "big")):
        start = int.from_bytes(page[8 + 2 * number : 10 + 2 * number], "big")
        length, behind_length = varint(page, start)
        row_id, behind_id = varint(page, behind_length)
        found[row_id] = range((root - 1) * size + start, (root - 1) * size + behind_id + length)
    return found


THREE_ROWS = (NoChange("eth", BLOCK, "déjà vu", "0x00"), APPLIED, Lifecycle("stopped"))


async def test_verify__journal_as_written__is_whole(tmp_path: Path) -> None:
    url = await written(tmp_path, PROPOSAL, *THREE_ROWS)
    before = file_of(url).read_bytes()
    report = await verify_chain_of_hashes(url)
    assert report.ok
    assert (report.rows, report.first_bad_row, report.rule) == (4, None, None)
    assert report.sentence == f"The journal is whole: 4 rows, head {report.head_hash}."
    assert file_of(url).read_bytes() == before


async def test_verify__empty_journal__is_whole_with_the_genesis_head(tmp_path: Path) -> None:
    report = await verify_chain_of_hashes(await written(tmp_path))
    assert report.ok
    assert (report.rows, report.head_hash) == (0, GENESIS.hex())


async def test_verify__more_rows_than_a_page__are_all_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keeper.verify.PAGE_ROWS", 2)
    url = await written(tmp_path, *THREE_ROWS, *(Lifecycle("noted", str(number)) for number in range(4)))
    report = await verify_chain_of_hashes(url)
    assert report.ok
    assert report.rows == 7


async def test_verify__keeper_still_writing__reads_what_is_committed(tmp_path: Path) -> None:
    journal = await Journal.open(f"sqlite:///{tmp_path}/keeper.db", lambda: 0)
    await journal.append(Lifecycle("started"))
    report = await verify_chain_of_hashes(f"sqlite:///{tmp_path}/keeper.db")
    await journal.append(Lifecycle("stopped"))
    await journal.close()
    assert report.ok
    assert report.rows == 1


@pytest.mark.parametrize("mask", [0x01, 0x80, 0xFF])
@pytest.mark.parametrize("row_id", [1, 2, 3])
async def test_verify__any_byte_of_a_row_flipped_in_the_file__fails_at_that_row(
    tmp_path: Path, row_id: int, mask: int
) -> None:
    url = await written(tmp_path, *THREE_ROWS)
    good = file_of(url).read_bytes()
    cell = cells(url)[row_id]
    unnamed = []
    for offset in cell:
        bad = bytearray(good)
        bad[offset] ^= mask
        file_of(url).write_bytes(bad)
        report = await verify_chain_of_hashes(url)
        assert not report.ok, f"byte {offset - cell.start} of {len(cell)}"
        assert report.first_bad_row in {row_id, None}, report.sentence
        if report.first_bad_row is None:
            unnamed.append(offset - cell.start)
    # Only the two bytes of the cell's length are no part of what SQL can read of the row.
    assert set(unnamed) <= {0, 1}


@pytest.mark.parametrize("offset", [0, 18, 40, 56, 100, 105, 4_096])
async def test_verify__header_or_schema_page_flipped__is_a_report_and_no_traceback(tmp_path: Path, offset: int) -> None:
    url = await written(tmp_path, *THREE_ROWS)
    bad = bytearray(file_of(url).read_bytes())
    bad[offset] ^= 0xFF
    file_of(url).write_bytes(bad)
    report = await verify_chain_of_hashes(url)
    assert "journal" in report.sentence


async def test_verify__index_differs_from_its_table__fails_on_integrity(tmp_path: Path) -> None:
    url = await written(tmp_path, *THREE_ROWS)
    bad = bytearray(file_of(url).read_bytes())
    in_table = cells(url)[1]
    in_index = next(found.start() for found in re.finditer(b"no_changeeth", bad) if found.start() not in in_table)
    bad[in_index] ^= 0x01
    file_of(url).write_bytes(bad)
    report = await verify_chain_of_hashes(url)
    assert (report.rows, report.first_bad_row, report.rule) == (3, None, Rule.FILE_INTEGRITY)
    assert report.sentence.startswith("The journal breaks FILE_INTEGRITY: ")


async def test_verify__damaged_page_among_many__names_the_row_behind_the_last_readable_one(tmp_path: Path) -> None:
    url = await written(tmp_path, *(Lifecycle("noted", "x" * 1_500) for _ in range(12)))
    with closing(sqlite3.connect(file_of(url))) as connection:
        size = connection.execute("PRAGMA page_size").fetchone()[0]
    data = bytearray(file_of(url).read_bytes())
    (leaf,) = [
        start
        for start in range(0, len(data), size)
        if data[start] == 0x0D and b"lifecycle" in data[start : start + size]
    ][2:3]
    data[leaf : leaf + size] = bytes(size)
    file_of(url).write_bytes(data)
    report = await verify_chain_of_hashes(url)
    assert report.rule is Rule.READABLE
    assert report.first_bad_row == report.rows + 1 == 5


async def test_verify__no_database__fails_and_says_why(tmp_path: Path) -> None:
    report = await verify_chain_of_hashes(f"sqlite:///{tmp_path}/absent.db")
    assert (report.first_bad_row, report.rule) == (None, Rule.READABLE)
    assert not (tmp_path / "absent.db").exists()
    (tmp_path / "other.db").write_bytes(b"no database at all " * 100)
    report = await verify_chain_of_hashes(f"sqlite:///{tmp_path}/other.db")
    assert report.rule is Rule.READABLE
    assert "file is not a database" in report.sentence


async def test_verify__wrong_url__is_the_callers_fault() -> None:
    with pytest.raises(JournalError, match=r"journal\.url"):
        await verify_chain_of_hashes("mysql://host/db")


async def test_verify__newer_schema__fails_and_names_both_versions(tmp_path: Path) -> None:
    url = await written(tmp_path)
    with closing(sqlite3.connect(file_of(url))) as connection, connection:
        connection.execute("UPDATE journal_meta SET version = 2")
    report = await verify_chain_of_hashes(url)
    assert report.rule is Rule.READABLE
    assert "schema version is 2, this keeper reads 1" in report.sentence


@pytest.mark.parametrize(
    ("statement", "row_id", "rule"),
    [
        ("UPDATE journal SET recorded_at_ms = recorded_at_ms + 1 WHERE id = 2", 2, Rule.HASH),
        ("UPDATE journal SET kind = 'failed' WHERE id = 2", 2, Rule.HASH),
        ("UPDATE journal SET market = 'btc' WHERE id = 2", 2, Rule.HASH),
        ("UPDATE journal SET key = '' WHERE id = 2", 2, Rule.HASH),
        ("UPDATE journal SET body = '{}' WHERE id = 2", 2, Rule.COLUMN_TYPES),
        ("UPDATE journal SET body = x'7b7d' WHERE id = 2", 2, Rule.HASH),
        ("UPDATE journal SET hash = zeroblob(32) WHERE id = 2", 2, Rule.HASH),
        ("UPDATE journal SET previous = zeroblob(32) WHERE id = 2", 2, Rule.HASH),
        ("UPDATE journal SET recorded_at_ms = 0.5 WHERE id = 2", 2, Rule.COLUMN_TYPES),
        ("UPDATE journal SET market = CAST(market AS BLOB) WHERE id = 2", 2, Rule.COLUMN_TYPES),
        ("UPDATE journal SET market = CAST(x'ff' AS TEXT) WHERE id = 2", 2, Rule.HASH),
        ("DELETE FROM journal WHERE id = 2", 2, Rule.CONTIGUOUS),
        ("DELETE FROM journal WHERE id = 1", 1, Rule.CONTIGUOUS),
        ("UPDATE journal SET id = -1 WHERE id = 3", 1, Rule.CONTIGUOUS),
        ("INSERT INTO journal SELECT -id, 0, kind, market, key, body, previous, hash FROM journal", 1, Rule.CONTIGUOUS),
    ],
)  # fmt: skip
async def test_verify__row_changed_by_sql__names_row_and_rule(
    tmp_path: Path, statement: str, row_id: int, rule: Rule
) -> None:
    url = await written(tmp_path, *THREE_ROWS)
    forge(url, statement)
    report = await verify_chain_of_hashes(url)
    assert (report.first_bad_row, report.rule) == (row_id, rule)
    assert report.rows == row_id - 1
    assert report.sentence.startswith(f"Row {row_id} of the journal breaks {rule}: ")


async def test_verify__row_rewritten_with_its_hash__breaks_the_link_of_the_next(tmp_path: Path) -> None:
    url = await written(tmp_path, *THREE_ROWS)
    forge_row(url, 2, "applied", "eth", APPLIED.digest, canonical(body(replace(APPLIED, gas_used=1))))
    report = await verify_chain_of_hashes(url)
    assert (report.rows, report.first_bad_row, report.rule) == (2, 3, Rule.PREVIOUS)


@pytest.mark.parametrize(
    ("kind", "market", "key", "document", "rule"),
    [
        ("omen", "", "", b'{"detail":"","event":"x","settings":{}}', Rule.KNOWN_KIND),
        ("lifecycle", "", "", b'{"event": "x"}', Rule.CANONICAL_BODY),
        ("lifecycle", "", "", b'{"event":"x"', Rule.CANONICAL_BODY),
        ("lifecycle", "", "", b"\xff", Rule.CANONICAL_BODY),
        ("lifecycle", "", "", b'{"event":NaN}', Rule.CANONICAL_BODY),
        ("lifecycle", "", "", b'{"other":1}', Rule.BODY_OF_ITS_KIND),
        ("lifecycle", "", "", b"1", Rule.BODY_OF_ITS_KIND),
        ("lifecycle", "eth", "", b'{"detail":"","event":"x","settings":{}}', Rule.INDEX_COLUMNS),
        ("lifecycle", "", "k", b'{"detail":"","event":"x","settings":{}}', Rule.INDEX_COLUMNS),
    ],
)
async def test_verify__newest_row_forged_with_a_right_hash__still_breaks_its_rule(
    tmp_path: Path, kind: str, market: str, key: str, document: bytes, rule: Rule
) -> None:
    url = await written(tmp_path, *THREE_ROWS)
    forge_row(url, 3, kind, market, key, document)
    report = await verify_chain_of_hashes(url)
    assert (report.first_bad_row, report.rule) == (3, rule)


async def test_verify__newest_row_forged_with_endless_nesting__breaks_its_rule(tmp_path: Path) -> None:
    url = await written(tmp_path, *THREE_ROWS)
    forge_row(url, 3, "lifecycle", "", "", b"[" * 100_000)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(1_000)  # Python's own; a test plugin raises it beyond what the stack holds
    try:
        report = await verify_chain_of_hashes(url)
    finally:
        sys.setrecursionlimit(limit)
    assert (report.first_bad_row, report.rule) == (3, Rule.CANONICAL_BODY)


def entries(*messages: Message) -> list[Entry]:
    """Build the rows that a journal of these messages would hold."""
    return [
        Entry(number, 0, kind_of(message), *index_of(message), body(message), "")
        for number, message in enumerate(messages, start=1)
    ]


def disagreement(rows: list[Entry], events: list[StewardEvent]) -> Disagreement:
    """Compare, and give the difference, which there must be."""
    found = compare_with_chain(rows, events)
    assert isinstance(found, Disagreement), found
    return found


def test_compare__every_change_in_both__agrees() -> None:
    rollback = replace(PROPOSAL, kind=ProposalKind.ROLLBACK, sequence=4, changes=(Change(0, 1_500),))
    undone = replace(
        APPLIED, digest=rollback.digest, kind=ProposalKind.ROLLBACK, sequence=4, values=rollback.values, tx_hash="0xaa"
    )
    event = StewardEvent("eth", 4, rollback.digest.upper(), rollback.values, "rollback", "0xAA", 9)
    rows = entries(Lifecycle("started"), PROPOSAL, APPLIED, rollback, undone)
    assert compare_with_chain(rows, [event, EVENT]) == Agreement(own=2, foreign=0, before=0)


def test_compare__nothing_happened__agrees() -> None:
    assert compare_with_chain(entries(Lifecycle("started"), PROPOSAL), []) == Agreement(0, 0, 0)


def test_compare__row_without_an_event__names_the_row() -> None:
    found = disagreement(entries(PROPOSAL, APPLIED), [])
    assert (found.row, found.event) == (2, None)
    assert found.detail == "tune 3 of eth has no event on chain, or an earlier row claims it"


def test_compare__two_rows_for_one_event__names_the_second() -> None:
    found = disagreement(entries(PROPOSAL, APPLIED, APPLIED), [EVENT])
    assert found.row == 3


def test_compare__events_without_rows__names_the_earliest() -> None:
    later = replace(EVENT, sequence=4, block_number=8)
    found = disagreement(entries(Lifecycle("started")), [later, EVENT])
    assert (found.row, found.event) == (None, EVENT)
    assert found.detail == "tune 3 of eth on chain, 0xfeed, has no row"


def test_compare__events_up_to_the_first_baseline__need_no_row() -> None:
    first, second = Baseline("eth", BLOCK, 2, (), ()), Baseline("eth", BLOCK, 9, (), ())
    old, foreign = replace(EVENT, sequence=2), replace(EVENT, market="btc", sequence=1)
    assert compare_with_chain(entries(first, PROPOSAL, APPLIED, second), [old, EVENT]) == Agreement(1, 0, 1)
    assert disagreement(entries(first, second), [old, EVENT]).event == EVENT
    assert disagreement(entries(first), [foreign]).event == foreign


def test_compare__another_keepers_change_that_was_seen__is_accounted_for() -> None:
    rows = entries(PROPOSAL, APPLIED, EVENT, FOREIGN)
    assert compare_with_chain(rows, [EVENT, FOREIGN]) == Agreement(own=1, foreign=1, before=0)


def test_compare__another_keepers_change_never_seen__is_named() -> None:
    found = disagreement(entries(PROPOSAL, APPLIED, EVENT), [EVENT, FOREIGN])
    assert (found.row, found.event) == (None, FOREIGN)
    assert found.detail == "tune 4 of eth on chain, 0xf0e1, has no row"


@pytest.mark.parametrize(
    "other", [{"market": "btc"}, {"sequence": 5}, {"digest": "0x" + "0e" * 32}, {"tx_hash": "0xf0e2"}]
)
def test_compare__row_of_another_foreign_change__accounts_for_nothing(other: dict) -> None:
    found = disagreement(entries(replace(FOREIGN, **other)), [FOREIGN])
    assert found.event == FOREIGN


def test_compare__own_change_seen_on_chain_but_without_its_applied_row__is_named() -> None:
    found = disagreement(entries(PROPOSAL, EVENT), [EVENT])
    assert (found.row, found.event) == (None, EVENT)


def test_compare__change_undone_and_gone__needs_no_event() -> None:
    assert compare_with_chain(entries(PROPOSAL, APPLIED, UNDONE), []) == Agreement(0, 0, 0)


def test_compare__change_undone_and_mined_again__is_one_own_change() -> None:
    again = replace(APPLIED, block=replace(BLOCK, number=8))
    rows = entries(PROPOSAL, APPLIED, UNDONE, again)
    assert compare_with_chain(rows, [replace(EVENT, block_number=8)]) == Agreement(1, 0, 0)


def test_compare__change_undone_but_still_on_chain__is_named() -> None:
    found = disagreement(entries(PROPOSAL, APPLIED, UNDONE), [EVENT])
    assert (found.row, found.event) == (None, EVENT)


@pytest.mark.parametrize("other", [{"digest": "0x" + "0e" * 32}, {"tx_hash": "0xbeef"}])
def test_compare__another_change_undone__takes_this_one_not_back(other: dict) -> None:
    assert disagreement(entries(PROPOSAL, APPLIED, replace(UNDONE, **other)), []).row == 2


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"digest": "0x" + "00" * 32}, "digest"),
        ({"tx_hash": "0xbeef"}, "tx_hash"),
        ({"values": (2_001, 11_000)}, "values"),
        ({"kind": "rollback"}, "kind"),
    ],
)
def test_compare__event_tells_another_change__names_row_event_and_field(change: dict, word: str) -> None:
    event = replace(EVENT, **change)
    found = disagreement(entries(PROPOSAL, APPLIED), [event])
    assert (found.row, found.event) == (2, event)
    assert f"tune 3 of eth: {word} is " in found.detail


def test_compare__proposal_missing_or_journalled_afterwards__names_the_applied_row() -> None:
    for rows in (entries(APPLIED), entries(APPLIED, PROPOSAL)):
        found = disagreement(rows, [EVENT])
        assert found.row == 1
        assert "no proposal 0x" in found.detail


def test_compare__proposal_with_another_digest_than_its_key__names_the_applied_row() -> None:
    proposal, applied = entries(replace(PROPOSAL, because="no reason"), APPLIED)
    found = disagreement([replace(proposal, key=PROPOSAL.digest), applied], [EVENT])
    assert found.row == 2
    assert "the proposal in row 1 has the digest" in found.detail


@pytest.mark.parametrize("change", [{"market": "btc"}, {"sequence": 4}, {"kind": ProposalKind.ROLLBACK}])
def test_compare__applied_row_of_another_change_than_proposed__names_it(change: dict) -> None:
    rows, event = entries(PROPOSAL, replace(APPLIED, **change)), replace(EVENT, **change)
    found = disagreement(rows, [event])
    assert found.row == 2
    assert "in row 1 is" in found.detail


@pytest.mark.parametrize(
    ("incident", "agrees"),
    [
        (None, False),
        (MISMATCH, True),
        (replace(MISMATCH, kind=IncidentKind.FOREIGN_CHANGE), False),
        (replace(MISMATCH, market="btc"), False),
        (replace(MISMATCH, observed=(19_999, 11_000)), False),
        (replace(MISMATCH, promised=(1_999, 11_000)), False),
        (replace(MISMATCH, block=replace(BLOCK, number=6)), False),
    ],
)
def test_compare__other_values_than_proposed__need_the_incident_that_says_so(
    incident: Incident | None, agrees: bool
) -> None:
    messages = [PROPOSAL, replace(APPLIED, values=WRONG), *([incident] if incident else [])]
    found = compare_with_chain(entries(*messages), [replace(EVENT, values=WRONG)])
    assert (found == Agreement(1, 0, 0)) == agrees
    if isinstance(found, Disagreement):
        assert found.row == 2
        assert "no incident says so" in found.detail
