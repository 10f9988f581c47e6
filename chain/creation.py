"""Find the block in which a contract was created: nothing of it is older."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chain.rpc import Rpc
    from models.market import BlockStamp


async def created_in(rpc: Rpc, address: str, end: BlockStamp) -> int:
    """Return the block in which the contract that stands at `address` at block `end` was created, found by halving.

    Raises Refused when the endpoint does not keep the state of old blocks.
    """
    low, high = 0, end.number
    while low < high:
        middle = (low + high) // 2
        if len(await rpc.call("eth_getCode", address, hex(middle))) > len("0x"):
            high = middle
        else:
            low = middle + 1
    return low
