"""Whatever is journalled comes back equal and verifies; whatever is changed afterwards is named."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import tempfile
from contextlib import closing
from typing import get_args

from hypothesis import given, settings
from hypothesis import strategies as st

from keeper.deliberation import Considered, Deliberation
from keeper.journal import Journal, Message, index_of
from keeper.journal_database import GENESIS, row_hash
from keeper.messages import (
    Announced,
    Applied,
    Assessment,
    BarClosed,
    Failed,
    Lifecycle,
    QuoteConfirmed,
    body,
    canonical,
    parse,
)
from keeper.objective import Terms
from keeper.verify import verify_chain_of_hashes
from keeper.weighing import Weighing
from models.forecaster import Tail
from models.market import Bar, Quote

FINITE = st.floats(allow_nan=False, allow_infinity=False)
PAIR = st.tuples(FINITE, FINITE)
JSON = st.recursive(st.none() | st.booleans() | st.integers() | FINITE | st.text(), st.lists, max_leaves=5)
QUOTES = st.builds(Quote, value=FINITE)
BARS = st.builds(
    Bar, open=FINITE, high=FINITE, low=FINITE, close=FINITE, volume=st.none() | FINITE, iv=st.none() | FINITE
)
TAILS = st.builds(Tail, quantiles=st.lists(FINITE, min_size=6, max_size=6).map(tuple), es_lower=FINITE, es_upper=FINITE)
TERMS = st.builds(Terms, FINITE, FINITE)
WITH_FLOATS = {
    Quote: QUOTES,
    Bar: BARS,
    BarClosed: st.builds(BarClosed, bar=BARS, published=st.none() | PAIR),
    QuoteConfirmed: st.builds(QuoteConfirmed, quote=QUOTES),
    Assessment: st.builds(
        Assessment,
        spot=QUOTES,
        vol=QUOTES,
        oracle_price=FINITE,
        published=PAIR,
        raw=PAIR,
        vol_rise=st.none() | FINITE,
        tail=st.none() | TAILS,
        vol_tail=st.none() | st.lists(FINITE).map(tuple),
        holdings=st.none() | st.lists(PAIR).map(tuple),
    ),
    Deliberation: st.builds(
        Deliberation,
        parameters=st.lists(st.builds(Considered, before=st.none() | TERMS, after=st.none() | TERMS), max_size=3).map(
            tuple
        ),
        weighed=st.lists(st.builds(Weighing, before=TERMS, after=TERMS, change=FINITE), max_size=2).map(tuple),
        settings=st.dictionaries(st.text(), st.none() | st.integers() | FINITE, max_size=3),
    ),
    Lifecycle: st.builds(Lifecycle, settings=st.dictionaries(st.text(), JSON)),
}
MESSAGES = st.one_of(*(WITH_FLOATS.get(kind, st.from_type(kind)) for kind in get_args(Message)))


def end_of(message: Message) -> object:
    """Give what an end is told by: a transaction ends once, so the second row about it is not written."""
    return (message.digest, message.tx_hash) if isinstance(message, Announced | Applied | Failed) else object()


SOME_MESSAGES = st.lists(MESSAGES, min_size=1, max_size=5, unique_by=end_of)
COLUMNS = st.lists(st.binary(max_size=20), min_size=4, max_size=4)


async def journalled(folder: str, messages: list[Message]) -> str:
    """Write a journal of these messages, check that they come back equal, and give its URL."""
    url = f"sqlite:///{folder}/keeper.db"
    journal = await Journal.open(url, lambda: 0)
    for message in messages:
        await journal.append(message)
    assert [entry.message() for entry in await journal.find()] == messages
    await journal.close()
    return url


@given(message=MESSAGES)
def test_body__any_message__comes_back_equal_from_its_canonical_text(message: Message) -> None:
    text = canonical(body(message))
    again = parse(type(message), json.loads(text))
    assert again == message
    assert canonical(json.loads(text)) == text
    assert index_of(again) == index_of(message)


@given(one=st.tuples(st.integers(0, 2**63 - 1), COLUMNS), other=st.tuples(st.integers(0, 2**63 - 1), COLUMNS))
def test_row_hash__rows__are_equal_exactly_if_their_hashes_are(
    one: tuple[int, list[bytes]], other: tuple[int, list[bytes]]
) -> None:
    hashes = [row_hash(GENESIS, 1, recorded, columns) for recorded, columns in (one, other)]
    assert (hashes[0] == hashes[1]) == (one == other)


@settings(max_examples=25, deadline=None)
@given(messages=SOME_MESSAGES, data=st.data())
def test_verify__any_column_of_any_row_changed__names_that_row(messages: list[Message], data: st.DataObject) -> None:
    row_id = data.draw(st.integers(1, len(messages)), label="row")
    column = data.draw(st.sampled_from(["recorded_at_ms", "kind", "market", "key", "body", "previous", "hash"]))
    with tempfile.TemporaryDirectory() as folder:
        url = asyncio.run(journalled(folder, messages))
        assert asyncio.run(verify_chain_of_hashes(url)).ok
        with closing(sqlite3.connect(f"{folder}/keeper.db")) as connection, connection:
            connection.execute("DROP TRIGGER journal_no_update")
            query = f"SELECT {column} FROM journal WHERE id = ?"
            (old,) = connection.execute(query, (row_id,)).fetchone()
            new = data.draw({int: st.integers(0, 2**63 - 1), str: st.text(), bytes: st.binary()}[type(old)])
            connection.execute(f"UPDATE journal SET {column} = ? WHERE id = ?", (new, row_id))
        report = asyncio.run(verify_chain_of_hashes(url))
    assert report.first_bad_row == (None if new == old else row_id)
