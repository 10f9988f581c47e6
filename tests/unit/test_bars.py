"""Spot quotes become closed bars, each once and only whole."""

import pytest
from builders import NOW, spot

from keeper.bars import BarBuilder
from keeper.clock import ChainClock, WallClock
from models.market import Bar

DAY = 86_400
START = NOW - NOW % DAY


def builder(known_until: int = 0) -> BarBuilder:
    return BarBuilder("SPX", DAY, known_until)


def at(moment: float, value: float = 4_000.0):
    return spot(value, timestamp_ms=int(moment * 1000))


def test_add__first_quote__closes_nothing():
    assert builder().add(at(START)) is None


def test_add__quotes_of_one_bar_then_the_next__returns_open_high_low_close():
    bars = builder()
    for second, price in ((0, 10.0), (60, 14.0), (120, 8.0), (DAY - 0.001, 12.0)):
        assert bars.add(at(START + second, price)) is None
    assert bars.add(at(START + DAY, 99.0)) == Bar("SPX", START, DAY, 10.0, 14.0, 8.0, 12.0)


def test_add__closed_by_the_next__that_quote_opens_its_own_bar():
    bars = builder()
    bars.add(at(START, 10.0))
    bars.add(at(START + DAY, 20.0))
    assert bars.close(START + 2 * DAY) == Bar("SPX", START + DAY, DAY, 20.0, 20.0, 20.0, 20.0)


def test_add__quote_of_an_earlier_bar_than_the_open_one__is_left_out():
    bars = builder()
    bars.add(at(START, 10.0))
    assert bars.add(at(START - 1, 1.0)) is None
    assert bars.close(START + DAY).low == 10.0


def test_add__days_without_quotes__make_no_bars():
    bars = builder()
    bars.add(at(START, 10.0))
    assert bars.add(at(START + 5 * DAY, 20.0)).start == START
    assert bars.add(at(START + 6 * DAY, 20.0)).start == START + 5 * DAY


def test_add__bar_known_before__takes_no_more_quotes():
    bars = builder(known_until=START)
    assert bars.add(at(START - 1)) is None
    assert bars.close(START + 9 * DAY) is None


def test_add__bar_that_begins_where_the_known_ones_end__is_taken():
    bars = builder(known_until=START)
    bars.add(at(START))
    assert bars.close(START + DAY).start == START


def test_add__known_bars_end_inside_a_bar__leaves_out_the_part():
    bars = builder(known_until=START + 1)
    bars.add(at(START + 60))
    assert bars.close(START + DAY) is None


def test_add__quote_for_a_bar_that_was_just_closed__is_late():
    bars = builder()
    bars.add(at(START, 10.0))
    bars.close(START + DAY)
    bars.add(at(START + 5, 99.0))
    assert bars.close(START + 2 * DAY) is None


def test_add__bar_closed_by_a_quote__is_known_from_then_on():
    bars = builder()
    bars.add(at(START, 10.0))
    bars.add(at(START + DAY, 20.0))
    assert bars.known_until == START + DAY


def test_start_of__quote__is_the_start_of_its_bar():
    bars = builder()
    assert [bars.start_of(at(START + second)) for second in (-0.001, 0, DAY - 0.001)] == [START - DAY, START, START]


def test_close__a_second_before_the_end__keeps_the_bar_open():
    bars = builder()
    bars.add(at(START))
    assert bars.close(START + DAY - 1) is None
    assert bars.close(START + DAY).end == START + DAY


def test_close__again__has_nothing_left():
    bars = builder()
    bars.add(at(START))
    bars.close(START + DAY)
    assert bars.close(START + DAY) is None


def test_close__no_quote_yet__has_nothing():
    assert builder().close(NOW) is None


@pytest.mark.parametrize("seconds", [3_600, 86_400])
def test_add__any_length__starts_on_a_multiple_of_it(seconds):
    bars = BarBuilder("SPX", seconds)
    bars.add(at(NOW))
    bar = bars.close(NOW + seconds)
    assert bar.start % seconds == 0
    assert bar.start <= NOW < bar.end


def test_chain_clock__blocks_seen__is_the_latest_and_never_goes_back():
    clock = ChainClock()
    assert clock.now_ms() == 0
    clock.advance(NOW)
    clock.advance(NOW - 5)
    assert clock.now_ms() == NOW * 1000


def test_wall_clock__two_readings__do_not_go_back():
    clock = WallClock()
    first = clock.now_ms()
    assert clock.now_ms() >= first > NOW * 1000
