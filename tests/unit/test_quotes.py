from __future__ import annotations

import json
from pathlib import Path

import pytest

from config.schema import FeedSettings
from keeper.messages import QuoteFault, QuoteRefused
from keeper.quotes import PAYLOAD_LIMIT, UNKNOWN_FEED, admit, encode, parse
from models.market import Quote, QuoteKind

NOW_MS = 1_517_875_200_000
VIX = FeedSettings(
    underlying="SPX",
    kind="vol",
    unit="decimal",
    max_age_seconds=60,
    max_future_seconds=5,
    minimum=0.03,
    maximum=2.5,
    max_jump=3.0,
)
FEEDS = {"vix": VIX}
MESSAGE = {
    "version": 1,
    "feed": "vix",
    "underlying": "SPX",
    "kind": "vol",
    "value": 0.1732,
    "unit": "decimal",
    "timestamp": NOW_MS,
    "sequence": 17,
}


def message(**changes):
    return json.dumps(MESSAGE | changes).encode()


def quote(sequence=17, age_ms=0):
    return Quote("vix", "SPX", QuoteKind.VOL, 0.1732, NOW_MS - age_ms, sequence)


def without(key):
    return json.dumps({name: value for name, value in MESSAGE.items() if name != key}).encode()


def test_parse__documented_message__is_the_quote():
    assert parse("vix", message(), FEEDS) == quote()


def test_parse__example_in_the_documentation__is_the_quote():
    page = (Path(__file__).parents[2] / "docs" / "feeds.md").read_text(encoding="utf-8")
    example = page.partition("```json\n")[2].partition("\n```")[0]
    assert parse("vix", example.encode(), FEEDS) == quote()


def test_parse__encoded_quote__is_the_same_quote():
    assert parse("vix", encode(quote(), "decimal"), FEEDS) == quote()


def test_encode__value_not_finite__raises():
    with pytest.raises(ValueError, match="JSON compliant"):
        encode(Quote("vix", "SPX", QuoteKind.VOL, float("nan"), NOW_MS, 1), "decimal")


@pytest.mark.parametrize(
    ("payload", "fault"),
    [
        (b"", QuoteFault.MALFORMED),
        (b"\xff\xfe", QuoteFault.MALFORMED),
        (b'{"version":1', QuoteFault.MALFORMED),
        (b"[]", QuoteFault.MALFORMED),
        (b"17", QuoteFault.MALFORMED),
        (b"[" * PAYLOAD_LIMIT, QuoteFault.MALFORMED),
        (message() + b" " * PAYLOAD_LIMIT, QuoteFault.MALFORMED),
        (message()[:-1] + b', "value": 0.2}', QuoteFault.MALFORMED),
        (without("unit"), QuoteFault.MALFORMED),
        (without("version"), QuoteFault.MALFORMED),
        (message(note="hello"), QuoteFault.MALFORMED),
        (message(version=True), QuoteFault.MALFORMED),
        (message(version="1"), QuoteFault.MALFORMED),
        (message(value=True), QuoteFault.MALFORMED),
        (message(value="0.17"), QuoteFault.MALFORMED),
        (message(value=None), QuoteFault.MALFORMED),
        (message(value=[[0.17]]), QuoteFault.MALFORMED),
        (message(feed=7), QuoteFault.MALFORMED),
        (message(timestamp=1.5178752e12), QuoteFault.MALFORMED),
        (message(timestamp=-1), QuoteFault.MALFORMED),
        (message(timestamp=2**53), QuoteFault.MALFORMED),
        (message(sequence=False), QuoteFault.MALFORMED),
        (message(sequence=10**400), QuoteFault.MALFORMED),
        (message(version=2), QuoteFault.WRONG_VERSION),
        (message(version=2, note="hello"), QuoteFault.WRONG_VERSION),
        (message(value=float("nan")), QuoteFault.NOT_FINITE),
        (message(value=float("inf")), QuoteFault.NOT_FINITE),
        (message(value=float("-inf")), QuoteFault.NOT_FINITE),
        (message().replace(b"0.1732", b"1e999"), QuoteFault.NOT_FINITE),
        (message(value=10**400), QuoteFault.NOT_FINITE),
        (message(value=0), QuoteFault.NOT_POSITIVE),
        (message(value=-0.17), QuoteFault.NOT_POSITIVE),
        (message().replace(b"0.1732", b"1e-999"), QuoteFault.NOT_POSITIVE),
        (message(feed="spx"), QuoteFault.MISLABELLED),
        (message(underlying="BTC"), QuoteFault.MISLABELLED),
        (message(kind="spot"), QuoteFault.MISLABELLED),
        (message(kind="smile"), QuoteFault.MISLABELLED),
        (message(unit="percent"), QuoteFault.MISLABELLED),
    ],
)
def test_parse__message_breaks_a_rule__is_refused_with_its_fault(payload, fault):
    refused = parse("vix", payload, FEEDS)
    assert isinstance(refused, QuoteRefused)
    assert (refused.feed, refused.fault) == ("vix", fault)
    assert refused.detail
    assert refused.payload.isascii()


def test_parse__value_nested_to_the_parsers_limit__is_malformed():
    for depth in range(700, 1100):
        payload = message(value=0).replace(b'"value": 0', b'"value": ' + b"[" * depth + b"]" * depth)
        assert parse("vix", payload, FEEDS).fault is QuoteFault.MALFORMED


def test_parse__integer_value__is_a_quote():
    assert parse("vix", message(value=2), FEEDS).value == 2.0


def test_parse__feed_not_configured__is_refused_under_one_name():
    refused = parse("dvol\n" * 100, message(), FEEDS)
    assert (refused.feed, refused.fault) == (UNKNOWN_FEED, QuoteFault.UNKNOWN_FEED)
    assert "dvol" in refused.detail
    assert "\n" not in refused.detail
    assert len(refused.detail) < 200


def test_parse__unprintable_payload__is_quoted_printably_and_short():
    refused = parse("vix", b"\x1b[2J\n\x00" * 500, FEEDS)
    assert refused.payload.isprintable()
    assert len(refused.payload) < 1100


@pytest.mark.parametrize("last", [None, quote(sequence=16), quote(sequence=16, age_ms=59_000)])
def test_admit__newer_than_the_last__is_admitted(last):
    assert admit(quote(), last, NOW_MS, VIX) == quote()


def test_admit__equal_timestamp_and_higher_sequence__is_admitted():
    assert admit(quote(sequence=18), quote(sequence=17), NOW_MS, VIX) == quote(sequence=18)


@pytest.mark.parametrize(
    ("offered", "fault"),
    [
        (quote(sequence=17), QuoteFault.DUPLICATE),
        (quote(sequence=16), QuoteFault.OUT_OF_ORDER),
        (quote(sequence=16, age_ms=-1000), QuoteFault.OUT_OF_ORDER),
        (quote(sequence=18, age_ms=1), QuoteFault.OUT_OF_ORDER),
        (quote(sequence=18, age_ms=-5001), QuoteFault.FUTURE_DATED),
    ],
)
def test_admit__not_newer_than_the_last__is_refused_with_its_fault(offered, fault):
    refused = admit(offered, quote(sequence=17), NOW_MS, VIX)
    assert isinstance(refused, QuoteRefused)
    assert refused.fault is fault
    assert str(offered.sequence) in refused.payload


def test_admit__first_message_future_dated__is_refused():
    assert admit(quote(age_ms=-5001), None, NOW_MS, VIX).fault is QuoteFault.FUTURE_DATED


def test_admit__future_dated_within_tolerance__is_admitted():
    assert admit(quote(age_ms=-5000), None, NOW_MS, VIX) == quote(age_ms=-5000)


def test_admit__sequence_restarted_after_the_feed_went_stale__is_admitted():
    stale = quote(sequence=9_000, age_ms=60_001)
    assert admit(quote(sequence=1), stale, NOW_MS, VIX) == quote(sequence=1)


def test_admit__sequence_restarted_before_the_feed_is_stale__is_out_of_order():
    fresh = quote(sequence=9_000, age_ms=60_000)
    assert admit(quote(sequence=1), fresh, NOW_MS, VIX).fault is QuoteFault.OUT_OF_ORDER


def test_admit__old_message_replayed_after_the_feed_went_stale__is_out_of_order():
    stale = quote(sequence=9_000, age_ms=90_000)
    replayed = quote(sequence=1, age_ms=60_001)
    assert admit(replayed, stale, NOW_MS, VIX).fault is QuoteFault.OUT_OF_ORDER
