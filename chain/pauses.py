"""Find out from the steward's logs by whom, and when, a market was paused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from chain.events import CHUNK
from chain.rpc import read
from chain.steward import PAUSED, market_id, parse_view, view_call

if TYPE_CHECKING:
    from chain.market import Market
    from models.market import BlockStamp

STATUS_SET = "0x" + keccak(text="StatusSet(bytes32,uint256,address)").hex()


@dataclass(frozen=True, slots=True)
class Pause:
    """Who paused a market, in which block and when (Unix seconds)."""

    account: str
    block_number: int
    at: int


async def is_paused(market: Market, block: BlockStamp) -> bool:
    """Say whether a market is paused at `block`."""
    (answer,) = await read(market.rpc, [view_call(market.steward, market.name)], block)
    return parse_view(answer).status == PAUSED


async def pause_of(market: Market, block: BlockStamp) -> Pause | None:
    """Return the newest pause of a market up to `block`, None where the logs hold none.

    Raises Refused when the endpoint does not serve the logs.
    """
    topics = [STATUS_SET, "0x" + market_id(market.name).hex(), f"0x{PAUSED:064x}"]
    for last in range(block.number, market.since_block - 1, -CHUNK):
        first = max(market.since_block, last - CHUNK + 1)
        where = {"address": market.steward, "topics": topics, "fromBlock": hex(first), "toBlock": hex(last)}
        logs = await market.rpc.call("eth_getLogs", where)
        if logs:
            number = logs[-1]["blockNumber"]
            found = await market.rpc.call("eth_getBlockByNumber", number, False)  # noqa: FBT003 - JSON-RPC's own
            account = to_checksum_address("0x" + logs[-1]["topics"][3][-40:])
            return Pause(str(account), int(number, 16), int(found["timestamp"], 16))
    return None
