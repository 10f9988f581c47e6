"""Build closed bars from spot quotes, aligned to the epoch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from models.market import Bar

if TYPE_CHECKING:
    from models.market import Quote


@dataclass(slots=True)
class BarBuilder:
    """Conflates the quotes of one underlying into the bar they fall in.

    A quote of an earlier bar than the open one is late and left out, and so is one before `known_until` (Unix seconds,
    the end of the last bar that was closed); a bar without quotes does not exist.
    """

    asset: str
    seconds: int
    known_until: int = 0
    _open: Bar | None = None

    def add(self, quote: Quote) -> Bar | None:
        """Take one spot quote; return the bar that it closes, if it opens the next one."""
        start = self.start_of(quote)
        current = self._open
        if start < self.known_until or (current is not None and start < current.start):
            return None
        if current is None or start > current.start:
            price = quote.value
            self._open = Bar(self.asset, start, self.seconds, price, price, price, price)
            return self._closed(current)
        self._open = replace(
            current,
            high=max(current.high, quote.value),
            low=min(current.low, quote.value),
            close=quote.value,
        )
        return None

    def start_of(self, quote: Quote) -> int:
        """Return the start of the bar that a quote falls in, Unix seconds."""
        moment = quote.timestamp_ms // 1000
        return moment - moment % self.seconds

    def close(self, now: int) -> Bar | None:
        """Return the open bar once `now` (Unix seconds) has reached its end."""
        current = self._open
        if current is None or now < current.end:
            return None
        self._open = None
        return self._closed(current)

    def _closed(self, bar: Bar | None) -> Bar | None:
        if bar is not None:
            self.known_until = bar.end
        return bar
