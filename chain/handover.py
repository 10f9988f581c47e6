"""Find out, without sending anything, whether a protocol takes its settings from an account, and how it would."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from eth_abi.abi import encode
from eth_utils.abi import function_signature_to_4byte_selector
from eth_utils.address import to_checksum_address

from chain.rpc import Refused
from chain.runtime import has_function, resolve
from chain.steward import revert_reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chain.rpc import Call, Rpc
    from models.market import BlockStamp

HAND_OVER = (
    "set_parameter_setter(address)",
    "nominateNewOwner(address)",
    "transferOwnership(address)",
    "transfer_ownership(address)",
    "setOwner(address)",
)
"""Functions by which protocols pass their setters on, the narrowest right first."""

ACCEPT = ("acceptOwnership()", "accept_ownership()")
"""What the new owner has to call where ownership passes in two steps."""


@dataclass(frozen=True, slots=True)
class Handover:
    """The call that makes `receiver` the one from whom a contract takes settings, and who may make it."""

    target: str
    function: str
    receiver: str
    owner: str | None
    accept: str | None

    @property
    def calldata(self) -> str:
        """The call's data, 0x-prefixed."""
        selector = function_signature_to_4byte_selector(self.function)
        return "0x" + (selector + encode(["address"], [self.receiver])).hex()

    def sentence(self) -> str:
        """Say who has to call what."""
        name = self.function.split("(")[0]
        who = f"its owner {self.owner}" if self.owner else "its owner"
        then = f"; then {self.receiver} calls {self.accept}" if self.accept else ""
        return f"{who} calls {name}({self.receiver}) on {self.target}: data {self.calldata}{then}"


@dataclass(frozen=True, slots=True)
class Missing:
    """A contract that does not take settings from who should make them, and why in its own words."""

    target: str
    reason: str
    handover: Handover | None

    @property
    def remedy(self) -> str:
        """Say how it is handed over."""
        if self.handover is None:
            return f"make that account the one from whom {self.target} takes settings; it has none of the usual calls"
        return self.handover.sentence()


async def rehearse(rpc: Rpc, sender: str, calls: Sequence[Call], block: BlockStamp) -> str | None:
    """Make calls from `sender` on a copy of the chain, one after the other; return why one was refused, or None.

    Raises Refused when the endpoint does not serve eth_simulateV1.
    """
    asked = [{"from": sender, "to": target, "data": data} for target, data in calls]
    answer = await rpc.call("eth_simulateV1", {"blockStateCalls": [{"calls": asked}]}, hex(block.number))
    for call in answer[0]["calls"]:
        if call["status"] != "0x1":
            failed = call.get("error") or {}
            return revert_reason(failed.get("data") or call.get("returnData") or "")
    return None


async def missing_handovers(rpc: Rpc, sender: str, calls: Sequence[Call], block: BlockStamp) -> list[Missing]:
    """Find the contracts that would refuse these calls from `sender`, each with the call that hands it over."""
    found = []
    for target in dict.fromkeys(target for target, _ in calls):
        reason = await rehearse(rpc, sender, [call for call in calls if call[0] == target], block)
        if reason is not None:
            found.append(Missing(target, reason, await handover_of(rpc, target, sender, block)))
    return found


async def handover_of(rpc: Rpc, target: str, receiver: str, block: BlockStamp) -> Handover | None:
    """Return how a contract would be handed over, None where it has none of the usual functions."""
    code = b"".join(part for _, part in await resolve(rpc, target, block))
    function = next((name for name in HAND_OVER if has_function(code, name)), None)
    if function is None:
        return None
    is_ownership = function != HAND_OVER[0]
    accept = next((name for name in ACCEPT if is_ownership and has_function(code, name)), None)
    return Handover(target, function, receiver, await _owner(rpc, target, block), accept)


async def _owner(rpc: Rpc, target: str, block: BlockStamp) -> str | None:
    data = "0x" + function_signature_to_4byte_selector("owner()").hex()
    try:
        answer = await rpc.call("eth_call", {"to": target, "data": data}, {"blockHash": block.hash})
    except Refused:
        return None
    return to_checksum_address("0x" + answer[-40:]) if len(answer) == 66 else None
