from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from config.schema import FeedSettings
from keeper.messages import QuoteRefused
from keeper.quotebook import QuoteBook
from keeper.quotes import encode, parse
from models.market import Quote, QuoteKind

NOW_MS = 1_517_875_200_000
VIX = FeedSettings(
    underlying="SPX", kind="vol", unit="decimal", max_age_seconds=60, minimum=0.03, maximum=2.5, max_jump=3.0
)
TOPIC = "keeper/feeds/vix"
KEYS = st.sampled_from(["version", "feed", "underlying", "kind", "value", "unit", "timestamp", "sequence", "other"])
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.sampled_from([1, "vix", "SPX", "vol", "decimal", NOW_MS, 0.2]),
)
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner), max_leaves=12)


def quotes():
    """Well-formed quotes around now, close enough together to collide and to be out of order."""
    return st.builds(
        Quote,
        st.just("vix"),
        st.just("SPX"),
        st.just(QuoteKind.VOL),
        st.floats(1e-300, 1e300),
        st.integers(NOW_MS - 60_000, NOW_MS + 10_000),
        st.integers(0, 12),
    )


@given(st.text(), st.one_of(st.binary(max_size=6000), JSON.map(lambda document: json.dumps(document).encode())))
def test_offer__any_topic_and_bytes__never_raises(topic, payload):
    book = QuoteBook({"vix": VIX}, "keeper/feeds", lambda: NOW_MS)
    for name in (topic, TOPIC):
        outcome = book.offer(name, payload)
        assert isinstance(outcome, Quote | QuoteRefused)
    assert book.accepted.total() + book.refused.total() == 2


@given(quotes(), KEYS, JSON)
def test_offer__one_key_replaced_by_anything__is_refused_printably_or_positive(quote, key, value):
    document = json.loads(encode(quote, "decimal")) | {key: value}
    outcome = parse("vix", json.dumps(document).encode(), {"vix": VIX})
    if isinstance(outcome, Quote):
        assert 0 < outcome.value < float("inf")
    else:
        assert (outcome.payload + outcome.detail).isprintable()


@given(quotes())
def test_parse__encoded_quote__round_trips(quote):
    assert parse("vix", encode(quote, "decimal"), {"vix": VIX}) == quote


@given(st.lists(quotes(), max_size=30))
def test_offer__any_order_of_fresh_quotes__admitted_sequences_rise_and_time_never_falls(offered):
    book = QuoteBook({"vix": VIX}, "keeper/feeds", lambda: NOW_MS)
    admitted = [
        it for it in (book.offer(TOPIC, encode(quote, "decimal")) for quote in offered) if isinstance(it, Quote)
    ]
    sequences = [quote.sequence for quote in admitted]
    stamps = [quote.timestamp_ms for quote in admitted]
    assert sequences == sorted(set(sequences))
    assert stamps == sorted(stamps)
    assert all(stamp <= NOW_MS + 5000 for stamp in stamps)


@given(st.lists(st.tuples(quotes(), st.integers(0, 90_000)), max_size=30))
def test_offer__clock_runs_past_staleness__time_never_falls(offered):
    now = [NOW_MS]
    book = QuoteBook({"vix": VIX}, "keeper/feeds", lambda: now[0])
    newest = 0
    for quote, wait in offered:
        now[0] += wait
        book.offer(TOPIC, encode(quote, "decimal"))
        held = book.newest("vix")
        assert held is None or held.timestamp_ms >= newest
        newest = held.timestamp_ms if held else newest
