"""Make calls on copies of the chain (eth_simulateV1), and read a protocol's parameters there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chain.steward import revert_reason

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from chain.protocol import BoundProtocol
    from chain.rpc import Call, Rpc
    from models.market import BlockStamp

BATCH = 20
"""Simulations asked for in one request."""

Read = tuple[int, ...] | str
"""What the getters read once the calls were made, in id order, or why a call was refused."""


async def read_after(
    rpc: Rpc,
    bound: BoundProtocol,
    makers: Mapping[str, str],
    asked: Sequence[Sequence[Call]],
    block: BlockStamp,
    *,
    at: int | None = None,
) -> list[Read]:
    """Make each list of calls on a copy of its own, each call by its target's maker, and read the getters there.

    `at` is the time of the copies, Unix seconds; None for that of the next block. Raises Refused when the endpoint
    does not serve eth_simulateV1.
    """
    views = [{"to": target, "data": data} for target, data in bound.reads()]
    copies = [[*(made_by(makers[call[0]], call) for call in calls), *views] for calls in asked]
    found: list[Read] = []
    for answer in await simulated(rpc, copies, block, at=at):
        reason = refusal_in(answer)
        returned = [bytes.fromhex(one["returnData"][2:]) for one in answer[-len(views) :]]
        found.append(bound.values(returned) if reason is None else reason)
    return found


async def simulated(
    rpc: Rpc, copies: Sequence[Sequence[dict[str, str]]], block: BlockStamp, *, at: int | None = None
) -> list[list[dict[str, Any]]]:
    """Return the answers to calls, a copy of the chain for each list of them. Raises Refused as `read_after`."""
    when = {} if at is None else {"blockOverrides": {"time": hex(at)}}
    number = hex(block.number)
    requests = [("eth_simulateV1", ({"blockStateCalls": [{**when, "calls": calls}]}, number)) for calls in copies]
    batches = [requests[start : start + BATCH] for start in range(0, len(requests), BATCH)]
    return [answer[0]["calls"] for batch in batches for answer in await rpc.batch(batch)]


def refusal_in(answer: Sequence[Mapping[str, Any]]) -> str | None:
    """Return why the first call that was refused was, None where all were taken."""
    return next((_reason(one) for one in answer if one["status"] != "0x1"), None)


def made_by(sender: str, call: Call) -> dict[str, str]:
    """Return a call as the endpoint takes it, from an account."""
    return {"from": sender, "to": call[0], "data": call[1]}


def _reason(call: Mapping[str, Any]) -> str:
    failed = call.get("error") or {}
    return revert_reason(failed.get("data") or call.get("returnData") or "")
