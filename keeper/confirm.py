"""Let an operator vouch for a quote that the guard took for a jump: an audited row that the keeper heeds."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from config.errors import ConfigError, KnownFault
from keeper.clock import WallClock
from keeper.feeds import MqttFeed
from keeper.journal import Journal
from keeper.messages import QuoteConfirmed
from keeper.quotebook import QuoteBook

if TYPE_CHECKING:
    from config.schema import Settings
    from models.market import Quote


class NoQuote(KnownFault):
    """The feed brought no message that could be confirmed."""


async def confirm_quote(settings: Settings, feed: str, because: str, seconds: float) -> list[QuoteConfirmed]:
    """Journal the newest quote of `feed` as true, for every market that uses it, and return what was journalled.

    Raises ConfigError for a feed that no market uses or a value outside its range, NoQuote when the broker brings
    none within `seconds`.
    """
    markets = [market.name for market in settings.markets if feed in (market.spot_feed, market.vol_feed)]
    if not markets:
        raise ConfigError(f"feed {feed}: no market uses it (feeds: {', '.join(settings.feeds)})")
    quote = await _newest(settings, feed, seconds)
    limits = settings.feeds[feed]
    if not limits.minimum <= quote.value <= limits.maximum:
        raise ConfigError(f"feeds.{feed}: {quote.value:g} is outside {limits.minimum:g}..{limits.maximum:g}")
    journal = await Journal.open(settings.journal.url.get_secret_value(), WallClock().now_ms)
    try:
        confirmed = [QuoteConfirmed(market, quote, because) for market in markets]
        for message in confirmed:
            await journal.append(message)
    finally:
        await journal.close()
    return confirmed


async def _newest(settings: Settings, feed: str, seconds: float) -> Quote:
    """Return the feed's retained or next message."""
    found: asyncio.Future[Quote] = asyncio.get_running_loop().create_future()

    async def on_quote(quote: Quote) -> None:
        if quote.feed == feed and not found.done():
            found.set_result(quote)

    async def on_refused(_: object) -> None:
        """Refused messages are the running keeper's to journal."""

    book = QuoteBook(settings.feeds, settings.mqtt.topic_prefix, WallClock().now_ms)
    listening = asyncio.create_task(MqttFeed(settings.mqtt, book, on_quote, on_refused).run())
    try:
        return await asyncio.wait_for(found, seconds)
    except TimeoutError:
        raise NoQuote(f"feed {feed}: no usable message within {seconds:g} s") from None
    finally:
        listening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await listening
