"""Decide what one feed message says and whether it may be used: the pure rules of docs/feeds.md."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from keeper.messages import QuoteFault, QuoteRefused
from models.market import Quote, QuoteKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from config.schema import FeedSettings

VERSION = 1
"""The message format that docs/feeds.md describes."""

PAYLOAD_LIMIT = 4096
"""Largest payload that is read, in bytes."""

UNKNOWN_FEED = "(unknown)"
"""Feed name of every refusal whose topic names no configured feed, so that strangers cannot make up names."""

EXCERPT_BYTES = 256
LARGEST_INTEGER = 2**53 - 1  # the largest that every JSON implementation keeps exact (RFC 8259, section 6)
TEXT_KEYS = ("feed", "underlying", "kind", "unit")
INTEGER_KEYS = ("version", "timestamp", "sequence")
KEYS = frozenset((*TEXT_KEYS, *INTEGER_KEYS, "value"))


@dataclass(frozen=True, slots=True)
class _Fault:
    """What is wrong with a message, and the sentence that says so."""

    fault: QuoteFault
    detail: str


class _NotFiniteError(ValueError):
    """The JSON text holds NaN, Infinity or -Infinity."""


def encode(quote: Quote, unit: str) -> bytes:
    """Write a quote as its message. Raises ValueError on a value that is not finite."""
    document = {
        "version": VERSION,
        "feed": quote.feed,
        "underlying": quote.underlying,
        "kind": quote.kind.value,
        "value": quote.value,
        "unit": unit,
        "timestamp": quote.timestamp_ms,
        "sequence": quote.sequence,
    }
    return json.dumps(document, separators=(",", ":"), allow_nan=False).encode()


def parse(feed: str, payload: bytes, settings: Mapping[str, FeedSettings]) -> Quote | QuoteRefused:
    """Read a message that arrived on the topic of `feed`. Any bytes give a quote or a refusal, never an error."""
    if feed not in settings:
        detail = f"no feed {feed[:64]!a} is configured"
        return QuoteRefused(UNKNOWN_FEED, QuoteFault.UNKNOWN_FEED, detail, excerpt(payload))
    document = _document(feed, payload, settings[feed])
    if isinstance(document, _Fault):
        return QuoteRefused(feed, document.fault, document.detail, excerpt(payload))
    return Quote(
        feed,
        document["underlying"],
        QuoteKind(document["kind"]),
        float(document["value"]),
        document["timestamp"],
        document["sequence"],
    )


def admit(quote: Quote, last: Quote | None, now_ms: int, settings: FeedSettings) -> Quote | QuoteRefused:
    """Judge a quote against the `last` one admitted of its feed and the time in Unix milliseconds."""
    fault = _order_fault(quote, last, now_ms, settings)
    if fault is not None:
        return QuoteRefused(quote.feed, fault.fault, fault.detail, excerpt(encode(quote, settings.unit)))
    return quote


def excerpt(payload: bytes) -> str:
    """Return the beginning of a payload in printable ASCII."""
    return repr(payload[:EXCERPT_BYTES])[2:-1]


def _order_fault(quote: Quote, last: Quote | None, now_ms: int, settings: FeedSettings) -> _Fault | None:
    ahead = (quote.timestamp_ms - now_ms) / 1000
    if ahead > settings.max_future_seconds:
        limit = settings.max_future_seconds
        return _Fault(QuoteFault.FUTURE_DATED, f"dated {ahead:.3f} s ahead, at most {limit} s are allowed")
    if last is None or _restarted(quote, last, now_ms, settings):
        return None
    if quote.sequence == last.sequence:
        return _Fault(QuoteFault.DUPLICATE, f"sequence {quote.sequence} was already accepted")
    if quote.sequence < last.sequence:
        return _Fault(QuoteFault.OUT_OF_ORDER, f"sequence {quote.sequence} comes after {last.sequence}")
    if quote.timestamp_ms < last.timestamp_ms:
        return _Fault(QuoteFault.OUT_OF_ORDER, f"timestamp {quote.timestamp_ms} comes after {last.timestamp_ms}")
    return None


def _restarted(quote: Quote, last: Quote, now_ms: int, settings: FeedSettings) -> bool:
    """Tell whether a producer may begin a new sequence: its feed is stale, so nothing is decided on it anyway."""
    oldest_fresh = now_ms - settings.max_age_seconds * 1000
    return last.timestamp_ms < oldest_fresh <= quote.timestamp_ms


def _document(feed: str, payload: bytes, expected: FeedSettings) -> dict[str, Any] | _Fault:
    document = _load(payload)
    if isinstance(document, _Fault):
        return document
    fault = _form_fault(document) or _label_fault(document, feed, expected) or _value_fault(document["value"])
    return document if fault is None else fault


def _load(payload: bytes) -> dict[str, Any] | _Fault:
    if len(payload) > PAYLOAD_LIMIT:
        return _Fault(QuoteFault.MALFORMED, f"{len(payload)} bytes, at most {PAYLOAD_LIMIT} are allowed")
    try:
        document = json.loads(payload.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    except _NotFiniteError as error:
        return _Fault(QuoteFault.NOT_FINITE, str(error))
    except (ValueError, RecursionError) as error:
        return _Fault(QuoteFault.MALFORMED, f"not a JSON text in UTF-8: {error}")
    if not isinstance(document, dict):
        return _Fault(QuoteFault.MALFORMED, "must be a JSON object")
    return document


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        raise ValueError("a key occurs twice")
    return document


def _no_constant(name: str) -> float:
    raise _NotFiniteError(f"{name} is not a number")


def _form_fault(document: dict[str, Any]) -> _Fault | None:
    version = document.get("version")
    if type(version) is int and version != VERSION:
        return _Fault(QuoteFault.WRONG_VERSION, f"version {_shown(version)}, this keeper reads version {VERSION}")
    if missing := sorted(KEYS - document.keys()):
        return _Fault(QuoteFault.MALFORMED, f"missing {', '.join(missing)}")
    if unknown := sorted(document.keys() - KEYS):
        return _Fault(QuoteFault.MALFORMED, f"unknown key {_shown(unknown[0])}")
    return _type_fault(document)


def _type_fault(document: dict[str, Any]) -> _Fault | None:
    for key in TEXT_KEYS:
        if not isinstance(document[key], str):
            return _Fault(QuoteFault.MALFORMED, f"{key} must be a string, got {_shown(document[key])}")
    for key in INTEGER_KEYS:
        if type(document[key]) is not int or not 0 <= document[key] <= LARGEST_INTEGER:
            return _Fault(QuoteFault.MALFORMED, f"{key} must be an integer of 0..2^53-1, got {_shown(document[key])}")
    if type(document["value"]) not in (int, float):
        return _Fault(QuoteFault.MALFORMED, f"value must be a number, got {_shown(document['value'])}")
    return None


def _label_fault(document: dict[str, Any], feed: str, expected: FeedSettings) -> _Fault | None:
    labels = {"feed": feed, "underlying": expected.underlying, "kind": expected.kind, "unit": expected.unit}
    for key, label in labels.items():
        if document[key] != label:
            return _Fault(QuoteFault.MISLABELLED, f"{key} must be {label!r}, got {_shown(document[key])}")
    return None


def _value_fault(value: float) -> _Fault | None:
    try:
        finite = math.isfinite(float(value))
    except OverflowError:  # an integer of more than 308 digits
        finite = False
    if not finite:
        return _Fault(QuoteFault.NOT_FINITE, f"value is too large: {_shown(value)}")
    if float(value) <= 0:
        return _Fault(QuoteFault.NOT_POSITIVE, f"value must be above 0, got {_shown(value)}")
    return None


def _shown(value: Any) -> str:
    if isinstance(value, dict | list):  # may be nested deeper than ascii() can follow
        return "an object" if isinstance(value, dict) else "an array"
    text = ascii(value)
    return text if len(text) <= 64 else f"{text[:61]}..."
