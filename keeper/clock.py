"""Tell the time: the machine's, or the chain's when recorded data is replayed."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """What every stage calls now."""

    def now_ms(self) -> int:
        """Return Unix time in milliseconds."""
        ...


class WallClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        """Return Unix time in milliseconds."""
        return time.time_ns() // 1_000_000


class ChainClock:
    """The time of the latest block seen: never goes back."""

    def __init__(self, timestamp: int = 0) -> None:
        self._timestamp = timestamp

    def advance(self, timestamp: int) -> None:
        """Take a block's time, Unix seconds."""
        self._timestamp = max(self._timestamp, timestamp)

    def now_ms(self) -> int:
        """Return Unix time in milliseconds."""
        return self._timestamp * 1000
