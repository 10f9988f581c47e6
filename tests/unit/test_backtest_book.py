import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from keeper.backtest.book import ACCOUNTS, Book
from keeper.backtest.feed import BacktestError
from keeper.backtest.shapes import from_chain, generated
from models.forecaster import DAY

HOUR = 3_600
CALM = np.array([0.05, 0.05, 0.3, 0.5, 0.35])
"""Shock up and down, shocked vol, maintenance factor, liquidation threshold."""

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
CHAIN = {
    "ts": [1_000_000, 1_000_000],
    "expiry": [1_000_000 + 30 * DAY, 1_000_000 + 7 * DAY],
    "strike": [110.0, 95.0],
    "type": ["C", "P"],
    "mark_iv": [0.5, 0.6],
    "underlying": [100.0, 100.0],
    "open_interest": [3.0, 1.0],
}


def advance(book: Book, times, prices, parameters=CALM, vol=0.2) -> None:
    rows = np.tile(parameters, (len(times), 1))
    book.advance(np.array(times), np.array(prices, dtype=float), np.full(len(times), vol), rows, rows, rows)


def opened(seed: int = 0) -> Book:
    book = Book(generated(seed), seed, penalty=0.05)
    advance(book, [0], [1_000.0])
    return book


def test_book__just_opened__holds_more_than_its_initial_margin_everywhere():
    book = opened()
    assert book.totals.locked[0] > 1.05 * book.totals.initial[0] > 1.05 * book.totals.mark[0] > 0
    assert book.losses.settled == book.losses.liquidations == 0
    assert book.newly_liquidatable(0, 1_000.0, 0 * CALM, CALM) == ()


def test_book__scale_of_prices__makes_no_difference():
    times = [HOUR * hour for hour in range(24 * 90)]
    walk = np.exp(np.cumsum(np.random.default_rng(3).normal(0, 0.01, len(times))))
    books = [Book(generated(0), 0, 0.05) for _ in range(2)]
    for book, scale in zip(books, (1e-6, 1e6), strict=True):
        advance(book, times, scale * walk)
    assert books[0].losses.liquidations == books[1].losses.liquidations > 0
    assert books[0].totals.locked == pytest.approx(books[1].totals.locked)


def test_book__in_one_go_or_in_pieces__is_the_same():
    times = [HOUR * hour for hour in range(24 * 60)]
    walk = 100 * np.exp(np.cumsum(np.random.default_rng(4).normal(0, 0.008, len(times))))
    whole, pieces = (Book(generated(0), 0, 0.05) for _ in range(2))
    advance(whole, times, walk)
    for start in range(0, len(times), 7):
        advance(pieces, times[start : start + 7], walk[start : start + 7])
    assert whole.totals == pieces.totals
    assert whole.losses == pieces.losses


def test_book__crash__liquidates_leaves_bad_debt_and_opens_anew():
    book = opened()
    advance(book, [HOUR, 2 * HOUR, 3 * HOUR], [600.0, 600.0, 600.0])
    assert 0 < book.losses.liquidations < ACCOUNTS
    assert book.losses.bad_debt > 0
    assert book.totals.bad_debt[-1] == book.losses.bad_debt
    assert book.losses.caused == 0


def test_book__tightening_alone__causes_the_auctions_that_it_begins():
    book = opened()
    tight = np.array([0.2, 0.2, 0.6, 0.95, 0.9])
    rows, before = tight[None], CALM[None]
    book.advance(np.array([HOUR]), np.array([1_000.0]), np.array([0.2]), rows, rows, before)
    book.advance(np.array([2 * HOUR]), np.array([1_000.0]), np.array([0.2]), rows, rows, before)
    assert book.losses.caused == book.losses.liquidations > 0


def test_book__recovery_above_maintenance__ends_the_auction():
    book = opened()
    advance(book, [HOUR, HOUR + 60, 3 * HOUR], [870.0, 1_000.0, 1_000.0])
    assert book.losses.liquidations == 0
    assert not book._auction.any()


def test_book__expiry__settles_what_is_owed():
    book = opened()
    advance(book, [DAY * day for day in range(1, 80)], [1_000.0] * 79)
    assert book.losses.settled > ACCOUNTS
    assert book.losses.bad_debt == 0


def test_from_chain__series__are_standard_deviations_away_and_weighted_by_open_interest(tmp_path):
    path = tmp_path / "chain.parquet"
    pyarrow.parquet.write_table(pa.table(CHAIN), path)
    shape = from_chain(path)
    assert shape.distance == pytest.approx(
        [math.log(1.1) / (0.5 * math.sqrt(30 / 365)), math.log(0.95) / (0.6 * math.sqrt(7 / 365))]
    )
    assert shape.weight == pytest.approx([0.75, 0.25])
    assert shape.is_call.tolist() == [True, False]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mark_iv": [50.0, 0.6]}, ["row 0", "mark_iv 50", "decimal"]),
        ({"strike": [110.0, -1.0]}, ["row 1", "strike -1.0", "above 0"]),
        ({"underlying": [float("nan"), 100.0]}, ["row 0", "underlying nan", "finite"]),
        ({"type": ["C", "X"]}, ["row 1", "type 'X'", "C or P"]),
        ({"open_interest": [0.0, 0.0]}, ["no series with open interest"]),
        ({"strike": None}, ["missing column strike"]),
    ],
)
def test_from_chain__bad_rows__are_refused_by_file_row_and_rule(tmp_path, change, words):
    path = tmp_path / "chain.parquet"
    columns = {name: values for name, values in (CHAIN | change).items() if values is not None}
    pyarrow.parquet.write_table(pa.table(columns), path)
    with pytest.raises(BacktestError) as refused:
        from_chain(path)
    assert all(word in str(refused.value) for word in ["chain.parquet", *words]), refused.value


@pytest.mark.skipif(not DATA.is_dir(), reason="the recorded market data is not on this machine")
@pytest.mark.parametrize("name", ["deribit_btc_options_chain_2020-05-21", "deribit_btc_options_chain_2026-01"])
def test_from_chain__recorded_deribit_chain__makes_a_book(name):
    shape = from_chain(DATA / f"{name}.parquet")
    assert len(shape.weight) > 50
    book = Book(shape, 0, 0.05)
    advance(book, [0, HOUR], [30_000.0, 30_100.0], CALM * np.array([4, 4, 3, 1, 1]), vol=0.6)
    assert book.totals.locked[-1] > book.totals.initial[-1] > 0
