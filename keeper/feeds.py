"""Carry feed messages from the MQTT broker into the quote book, through every loss of the connection."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter
from typing import TYPE_CHECKING

from aiomqtt import MqttError
from paho.mqtt.reasoncodes import ReasonCode

from keeper.mqtt import broker_address, connection
from keeper.quotebook import RefusalThrottle
from models.market import Quote

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from aiomqtt import Client, Message

    from config.schema import MqttSettings
    from keeper.messages import QuoteRefused
    from keeper.quotebook import QuoteBook

FIRST_RETRY_SECONDS = 0.5
LAST_RETRY_SECONDS = 30.0
SUMMARY_SECONDS = 1.0
BACKLOG_PER_FEED = 1000
REFUSED_SUBSCRIPTION = 128  # SUBACK return code (MQTT 3.1.1, section 3.9.3)

log = logging.getLogger(__name__)


def retry_seconds(failures: int, rng: random.Random) -> float:
    """Return how long to wait after the `failures`-th failure in a row: doubling, capped, jittered by half."""
    ceiling = min(LAST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2.0 ** min(failures - 1, 16))
    return ceiling * rng.uniform(0.5, 1.0)


def conflate(outcomes: Sequence[Quote | QuoteRefused], limit: int) -> list[Quote | QuoteRefused]:
    """Keep every refusal but only the newest `limit` quotes of each feed, in the order of arrival."""
    seen: Counter[str] = Counter()
    kept: list[Quote | QuoteRefused] = []
    for outcome in reversed(outcomes):
        if isinstance(outcome, Quote):
            seen[outcome.feed] += 1
            if seen[outcome.feed] > limit:
                continue
        kept.append(outcome)
    return kept[::-1]


class MqttFeed:
    """Subscribes to PREFIX/+ at QoS 1 and offers every message to the book, for as long as `run` runs.

    aiomqtt drops the newest message of a full queue, so its queue is unbounded and is emptied into the book, without
    an await between messages, each time the callbacks return. When more than `BACKLOG_PER_FEED` quotes of one feed
    have piled up, the callbacks see the newest of them only and `conflated` counts the others; the book saw them all.
    What a callback raises ends `run`.
    """

    def __init__(
        self,
        settings: MqttSettings,
        book: QuoteBook,
        on_quote: Callable[[Quote], Awaitable[None]],
        on_refused: Callable[[QuoteRefused], Awaitable[None]],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: random.Random | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raise ConfigError on a bad URL. `clock` is monotonic, in seconds, and times the summaries of refusals."""
        self.address = broker_address(settings.url)
        self.connected = False
        self.connects = 0
        self.conflated = 0
        self.last_error = ""
        self._filter = f"{settings.topic_prefix}/+"
        self._book = book
        self._on_quote = on_quote
        self._on_refused = on_refused
        self._sleep = sleep
        self._rng = rng or random.Random()  # noqa: S311 - jitter is no secret
        self._throttle = RefusalThrottle(clock)

    async def run(self) -> None:
        """Stay connected until cancelled. Raises what a callback raises; a lost broker is retried for ever."""
        try:
            await self._stay_connected()
        finally:
            await self._journal(self._throttle.drain())

    async def _stay_connected(self) -> None:
        failures = 0
        while True:
            connects = self.connects
            try:
                await self._listen()
            except MqttError as error:
                if _cancelling():  # leaving the connection failed after a cancel: the cancel counts
                    raise asyncio.CancelledError from error
                self.last_error = str(error)
            failures = 1 if self.connects > connects else failures + 1
            delay = retry_seconds(failures, self._rng)
            log.warning("Broker %s: %s. Next attempt in %.1f s.", self.address, self.last_error, delay)
            await self._journal(self._throttle.ended())
            await self._sleep(delay)

    async def _listen(self) -> None:
        async with connection(self.address) as client:
            _check_subscription(await client.subscribe(self._filter, qos=1))
            self.connected = True
            self.connects += 1
            self.last_error = ""
            log.info("Broker %s: connected, reading %s.", self.address, self._filter)
            try:
                await self._pump(client)
            finally:
                self.connected = False

    async def _pump(self, client: Client) -> None:
        """Deliver messages until the connection is lost, which raises MqttError."""
        messages = client.messages
        arrival: asyncio.Future[Message] = asyncio.ensure_future(anext(messages))
        try:
            while True:
                # The arrival is never cancelled to look at the clock: a message could be lost with it.
                await asyncio.wait((arrival,), timeout=SUMMARY_SECONDS)
                if arrival.done():
                    backlog = [arrival.result(), *[await anext(messages) for _ in range(len(messages))]]
                    arrival = asyncio.ensure_future(anext(messages))
                    await self._deliver(backlog)
                await self._journal(self._throttle.ended())
        finally:
            arrival.cancel()
            await asyncio.gather(arrival, return_exceptions=True)

    async def _deliver(self, backlog: Iterable[Message]) -> None:
        outcomes = [self._book.offer(message.topic.value, message.payload) for message in backlog]
        kept = conflate(outcomes, BACKLOG_PER_FEED)
        self.conflated += len(outcomes) - len(kept)
        for outcome in kept:
            if isinstance(outcome, Quote):
                await self._on_quote(outcome)
            else:
                await self._journal(self._throttle.take(outcome))

    async def _journal(self, refusals: Iterable[QuoteRefused]) -> None:
        for refused in refusals:
            await self._on_refused(refused)


def _cancelling() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _check_subscription(codes: Iterable[int | ReasonCode]) -> None:
    for code in codes:
        value = code.value if isinstance(code, ReasonCode) else code
        if value >= REFUSED_SUBSCRIPTION:
            raise MqttError("the broker refused the subscription: let this user read the feeds")
