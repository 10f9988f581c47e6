"""Read a market's history from logs, by block number, so that nothing is lost to a restart or a dropped connection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chain.steward import StewardEvent, change_filter, parse_event
from models.market import Auction

if TYPE_CHECKING:
    from chain.market import Market
    from models.market import BlockStamp

CHUNK = 5_000
"""Blocks asked for in one eth_getLogs: public endpoints refuse more."""


@dataclass(frozen=True, slots=True)
class History:
    """What the chain logged about a market, oldest first."""

    changes: tuple[StewardEvent, ...]
    auctions: tuple[Auction, ...]


async def history(market: Market, start: int, end: BlockStamp) -> History:
    """Return a market's changes and auctions from block `start` up to and including `end`."""
    changes: list[StewardEvent] = []
    auctions: list[Auction] = []
    filters = [change_filter(market.steward, market.name), *_auction_filter(market)]
    for first in range(start, end.number + 1, CHUNK):
        span = {"fromBlock": hex(first), "toBlock": hex(min(first + CHUNK - 1, end.number))}
        logs = await market.rpc.batch([("eth_getLogs", ({**where, **span},)) for where in filters])
        changes += [parse_event(market.name, log) for log in logs[0]]
        auctions += [_auction(market, log) for found in logs[1:] for log in found]
    return History(tuple(changes), tuple(auctions))


def _auction_filter(market: Market) -> list[dict[str, Any]]:
    wanted = market.protocol.auction_filter()
    return [] if wanted is None else [wanted]


def _auction(market: Market, log: dict[str, Any]) -> Auction:
    account, auction_id = market.protocol.auction_of(log)
    return Auction(market.name, account, int(log["blockNumber"], 16), log["transactionHash"], auction_id)
