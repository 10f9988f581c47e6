"""Replay recorded bars into the broker as feed messages, as fast as the operator asks."""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from aiomqtt import MqttError

from config.errors import ConfigError
from keeper.mqtt import BrokerError, broker_address, connection
from keeper.quotes import encode
from models.market import Quote, QuoteKind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping

    from aiomqtt import Client

    from config.schema import FeedSettings, MarketSettings, MqttSettings, Settings
    from models.market import Bar

SEQUENCES_PER_MILLISECOND = 1000


@dataclass(frozen=True, slots=True)
class Reading:
    """One value of a recording, not yet numbered. `value` and `timestamp_ms` are those of `models.market.Quote`."""

    feed: str
    value: float
    timestamp_ms: int


def readings_of(bars: Iterable[Bar], spot_feed: str, vol_feed: str) -> Iterator[Reading]:
    """Unfold each bar into its spot path and, where it has one, its implied volatility, in the order of time.

    The path is open, low, high, close in a bar that rose and open, high, low, close in one that fell: at the start, at
    one and two thirds, and in the last millisecond, so that every reading lies inside its bar. Vol comes with the
    close.
    """
    for bar in bars:
        start, third = bar.start * 1000, bar.seconds * 1000 // 3
        last = bar.end * 1000 - 1
        turns = (bar.low, bar.high) if bar.close >= bar.open else (bar.high, bar.low)
        yield Reading(spot_feed, bar.open, start)
        yield Reading(spot_feed, turns[0], start + third)
        yield Reading(spot_feed, turns[1], start + 2 * third)
        yield Reading(spot_feed, bar.close, last)
        if bar.iv is not None:
            yield Reading(vol_feed, bar.iv, last)


class Publisher:
    """Numbers readings, labels them as their feed's settings say, and publishes them retained at QoS 1.

    A sequence is the timestamp in microseconds, or the feed's last sequence + 1 where that is higher. It so grows
    within a run, and a later run continues above an earlier one without having to remember it.
    """

    def __init__(self, client: Client, topic_prefix: str, feeds: Mapping[str, FeedSettings]) -> None:
        self._client = client
        self._prefix = topic_prefix
        self._feeds = feeds
        self._sequences: dict[str, int] = {}

    async def send(self, reading: Reading) -> Quote:
        """Publish a reading and return it as the quote it became once the broker has it.

        Raises KeyError on a feed without settings and ConfigError on a value that is not finite.
        """
        settings = self._feeds[reading.feed]
        sequence = max(
            reading.timestamp_ms * SEQUENCES_PER_MILLISECOND,
            self._sequences.get(reading.feed, -1) + 1,
        )
        kind = QuoteKind(settings.kind)
        quote = Quote(reading.feed, settings.underlying, kind, reading.value, reading.timestamp_ms, sequence)
        payload = encode(quote, settings.unit)
        self._sequences[reading.feed] = sequence
        await self._client.publish(f"{self._prefix}/{reading.feed}", payload, qos=1, retain=True)
        return quote


@asynccontextmanager
async def publisher(mqtt: MqttSettings, feeds: Mapping[str, FeedSettings]) -> AsyncIterator[Publisher]:
    """Connect a publisher. Raises ConfigError on a bad URL and BrokerError when the broker refuses or is lost."""
    address = broker_address(mqtt.url)
    try:
        async with connection(address) as client:
            yield Publisher(client, mqtt.topic_prefix, feeds)
    except MqttError as error:
        raise BrokerError(f"broker {address}: {error}") from error


async def replay(
    readings: Iterable[Reading],
    target: Publisher,
    *,
    speed: float,
    restamp: bool,
    now_ms: Callable[[], int],
    sleep: Callable[[float], Awaitable[None]],
    on_progress: Callable[[int, Reading], None],
) -> int:
    """Send the readings at `speed` times the pace they were recorded at, and return how many were sent.

    `speed` may be infinite: no waiting. With `restamp` a message is dated when it is due, so the replay starts now and
    its spacing is the recorded one divided by `speed`; without it messages keep the recorded timestamps.
    `on_progress` gets the count so far and the reading as recorded. Raises ConfigError unless `speed` is above 0.
    """
    if not speed > 0:
        raise ConfigError(f"speed must be above 0, got {speed}")
    sent, first_ms, start_ms = 0, 0, now_ms()
    for reading in readings:
        first_ms = first_ms if sent else reading.timestamp_ms
        due_ms = start_ms + math.floor((reading.timestamp_ms - first_ms) / speed)
        ahead_ms = due_ms - now_ms()
        if ahead_ms > 0:
            await sleep(ahead_ms / 1000)
        await target.send(replace(reading, timestamp_ms=due_ms) if restamp else reading)
        sent += 1
        on_progress(sent, reading)
    return sent


async def publish(
    bars: Iterable[Bar],
    settings: Settings,
    market: MarketSettings,
    *,
    speed: float = math.inf,
    restamp: bool = True,
    start: int | None = None,
    end: int | None = None,
    on_progress: Callable[[int, Reading], None] = lambda _sent, _reading: None,
    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> int:
    """Replay the bars that open in [start, end) (Unix seconds) into the feeds of `market`; return the messages sent.

    A message carries the underlying that the settings give its feed, whatever the recording calls its asset. Raises
    ConfigError on a speed not above 0, on a bad broker URL and when no bar is in the range, BrokerError when the
    broker cannot be reached or is lost. See `replay` for the options.
    """
    chosen = [bar for bar in bars if (start is None or bar.start >= start) and (end is None or bar.start < end)]
    if not chosen:
        raise ConfigError(f"the recording has no bar that opens in [{start}, {end})")
    readings = readings_of(chosen, market.spot_feed, market.vol_feed)
    async with publisher(settings.mqtt, settings.feeds) as target:
        return await replay(
            readings,
            target,
            speed=speed,
            restamp=restamp,
            now_ms=now_ms,
            sleep=sleep,
            on_progress=on_progress,
        )
