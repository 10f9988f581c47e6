from __future__ import annotations

from dataclasses import replace

import pytest

from config.schema import FeedSettings
from keeper.messages import QuoteFault, QuoteRefused
from keeper.quotebook import REFUSALS_PER_WINDOW, WINDOW_SECONDS, QuoteBook, RefusalThrottle
from keeper.quotes import UNKNOWN_FEED, encode
from models.market import Quote, QuoteKind

NOW_MS = 1_517_875_200_000
SPX = FeedSettings(
    underlying="SPX",
    kind="spot",
    unit="USD",
    max_age_seconds=60,
    minimum=1.0,
    maximum=1e6,
    max_jump=1.5,
)
REFUSED = QuoteRefused("spx", QuoteFault.MALFORMED, "must be a JSON object", "[]")


class Clock:
    def __init__(self, now):
        self.now = now

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock(NOW_MS)


@pytest.fixture
def book(clock):
    return QuoteBook({"spx": SPX}, "keeper/feeds", clock)


def spot(sequence, value=2700.0, timestamp_ms=NOW_MS):
    return Quote("spx", "SPX", QuoteKind.SPOT, value, timestamp_ms, sequence)


def offer(book, quote):
    return book.offer("keeper/feeds/spx", encode(quote, "USD"))


def test_newest__nothing_accepted_yet__is_none(book):
    assert book.newest("spx") is None
    assert book.age_seconds("spx") is None


def test_offer__newer_quotes__newest_wins(book):
    assert offer(book, spot(1)) == spot(1)
    assert offer(book, spot(2, value=2650.0)) == spot(2, value=2650.0)
    assert book.newest("spx") == spot(2, value=2650.0)
    assert book.accepted == {"spx": 2}


def test_offer__refused_message__is_counted_and_leaves_the_newest(book):
    offer(book, spot(2))
    assert offer(book, spot(1)).fault is QuoteFault.OUT_OF_ORDER
    assert offer(book, spot(2)).fault is QuoteFault.DUPLICATE
    assert book.offer("keeper/feeds/spx", b"{").fault is QuoteFault.MALFORMED
    assert book.newest("spx") == spot(2)
    assert book.refused == {
        ("spx", QuoteFault.OUT_OF_ORDER): 1,
        ("spx", QuoteFault.DUPLICATE): 1,
        ("spx", QuoteFault.MALFORMED): 1,
    }


@pytest.mark.parametrize("topic", ["spx", "keeper/feeds/", "keeper/feeds/spx/more", "other/feeds/spx", ""])
def test_offer__topic_of_no_feed__is_unknown_feed(book, topic):
    assert book.offer(topic, encode(spot(1), "USD")).fault is QuoteFault.UNKNOWN_FEED
    assert book.newest("spx") is None


def test_offer__thousands_of_made_up_feeds__use_one_counter(book):
    for number in range(5000):
        book.offer(f"keeper/feeds/made-up-{number}", b"{}")
    assert book.refused == {(UNKNOWN_FEED, QuoteFault.UNKNOWN_FEED): 5000}


def test_age_seconds__clock_moves_on__is_by_the_messages_own_timestamp(book, clock):
    offer(book, spot(1, timestamp_ms=NOW_MS - 1500))
    clock.now += 1000
    assert book.age_seconds("spx") == 2.5


@pytest.fixture
def throttle(clock):
    clock.now = 0.0
    return RefusalThrottle(clock)


def flood(throttle, count, refused=REFUSED):
    return [passed for _ in range(count) for passed in throttle.take(refused)]


def test_take__up_to_the_limit__passes_everything(throttle):
    assert flood(throttle, REFUSALS_PER_WINDOW) == [REFUSED] * REFUSALS_PER_WINDOW


def test_take__above_the_limit__is_suppressed_until_one_summary(throttle, clock):
    assert len(flood(throttle, 10_000)) == REFUSALS_PER_WINDOW
    clock.now = WINDOW_SECONDS - 0.001
    assert throttle.ended() == ()
    clock.now = WINDOW_SECONDS
    (summary,) = throttle.ended()
    assert summary.suppressed == 10_000 - REFUSALS_PER_WINDOW
    assert (summary.feed, summary.fault) == ("spx", QuoteFault.MALFORMED)
    assert throttle.ended() == ()


def test_take__next_window__passes_again_after_the_summary(throttle, clock):
    flood(throttle, REFUSALS_PER_WINDOW + 5)
    clock.now = WINDOW_SECONDS
    summary, passed = throttle.take(REFUSED)
    assert summary.suppressed == 5
    assert passed == REFUSED


def test_take__another_fault__has_a_limit_of_its_own(throttle):
    flood(throttle, 1000)
    assert throttle.take(replace(REFUSED, fault=QuoteFault.NOT_FINITE)) != ()


def test_ended__nothing_was_suppressed__says_nothing(throttle, clock):
    flood(throttle, REFUSALS_PER_WINDOW)
    clock.now = WINDOW_SECONDS
    assert throttle.ended() == ()


def test_drain__window_still_open__tells_what_was_suppressed(throttle):
    flood(throttle, REFUSALS_PER_WINDOW + 1)
    assert [summary.suppressed for summary in throttle.drain()] == [1]
    assert throttle.drain() == ()
