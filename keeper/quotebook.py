"""Keep the newest accepted quote of every feed, count what was refused, and bound what refusals may cost."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from keeper.messages import QuoteFault, QuoteRefused
from keeper.quotes import admit, parse
from models.market import Quote

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from config.schema import FeedSettings

REFUSALS_PER_WINDOW = 60
WINDOW_SECONDS = 60.0


class QuoteBook:
    """The newest quote of each configured feed. Synchronous; `now_ms` gives Unix milliseconds.

    `accepted` counts by feed and `refused` by feed and fault. Messages on topics of no configured feed share the name
    `keeper.quotes.UNKNOWN_FEED`, so the counters cannot grow beyond the configuration.
    """

    def __init__(self, feeds: Mapping[str, FeedSettings], topic_prefix: str, now_ms: Callable[[], int]) -> None:
        self.accepted: Counter[str] = Counter()
        self.refused: Counter[tuple[str, QuoteFault]] = Counter()
        self._feeds = feeds
        self._topics = {f"{topic_prefix}/{feed}": feed for feed in feeds}
        self._now_ms = now_ms
        self._newest: dict[str, Quote] = {}

    def offer(self, topic: str, payload: bytes) -> Quote | QuoteRefused:
        """Take one message as it arrived: the quote if it is now the newest of its feed, else why it is not used."""
        outcome = self._judge(self._topics.get(topic), topic, payload)
        if isinstance(outcome, Quote):
            self._newest[outcome.feed] = outcome
            self.accepted[outcome.feed] += 1
        else:
            self.refused[outcome.feed, outcome.fault] += 1
        return outcome

    def newest(self, feed: str) -> Quote | None:
        """Return the last quote accepted of `feed`, None before the first."""
        return self._newest.get(feed)

    def age_seconds(self, feed: str) -> float | None:
        """Return the age of the newest quote by its own timestamp, None before the first, below 0 if in the future."""
        quote = self._newest.get(feed)
        return None if quote is None else (self._now_ms() - quote.timestamp_ms) / 1000

    def _judge(self, feed: str | None, topic: str, payload: bytes) -> Quote | QuoteRefused:
        if feed is None:
            return parse(topic, payload, {})
        outcome = parse(feed, payload, self._feeds)
        if isinstance(outcome, QuoteRefused):
            return outcome
        return admit(outcome, self._newest.get(feed), self._now_ms(), self._feeds[feed])


@dataclass(slots=True)
class _Window:
    """Refusals of one feed and fault since `started` (seconds of the throttle's clock)."""

    started: float
    passed: int
    suppressed: int
    last: QuoteRefused

    def summary(self) -> tuple[QuoteRefused, ...]:
        if not self.suppressed:
            return ()
        detail = f"{self.suppressed} more within {WINDOW_SECONDS:.0f} s, the last one: {self.last.detail}"
        return (replace(self.last, detail=detail, suppressed=self.suppressed),)


class RefusalThrottle:
    """Lets the first refusals of a minute through, per feed and fault, and one summary of the others at its end.

    A hostile publisher can so add 61 entries a minute, feed and fault to the journal, and no more.
    `clock` is monotonic, in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._windows: dict[tuple[str, QuoteFault], _Window] = {}

    def take(self, refused: QuoteRefused) -> tuple[QuoteRefused, ...]:
        """Return what is to be journalled now that `refused` happened, oldest first."""
        ended = self.ended()
        key = (refused.feed, refused.fault)
        window = self._windows.setdefault(key, _Window(self._clock(), 0, 0, refused))
        window.last = refused
        if window.passed >= REFUSALS_PER_WINDOW:
            window.suppressed += 1
            return ended
        window.passed += 1
        return (*ended, refused)

    def ended(self) -> tuple[QuoteRefused, ...]:
        """Close the windows whose minute is over and return their summaries."""
        now = self._clock()
        return self._close([key for key, it in self._windows.items() if now - it.started >= WINDOW_SECONDS])

    def drain(self) -> tuple[QuoteRefused, ...]:
        """Close every window and return the summaries: nothing suppressed goes unsaid at a stop."""
        return self._close(list(self._windows))

    def _close(self, keys: list[tuple[str, QuoteFault]]) -> tuple[QuoteRefused, ...]:
        return tuple(summary for key in keys for summary in self._windows.pop(key).summary())
