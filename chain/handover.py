"""Find out from whom a contract takes its settings, and by which call that passes to another account."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from eth_abi.abi import encode
from eth_utils.abi import function_signature_to_4byte_selector
from eth_utils.address import to_checksum_address

from chain.rpc import Refused
from chain.runtime import has_function, resolve

if TYPE_CHECKING:
    from chain.rpc import Rpc
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

SETTERS = ("parameter_setter()", "owner()")
"""Views that tell from whom protocols take their settings, the narrowest right first."""


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


async def setters_of(rpc: Rpc, target: str, block: BlockStamp) -> tuple[str, ...]:
    """Return the accounts that a contract itself names as those from whom it may take settings."""
    named = [await _account(rpc, target, view, block) for view in SETTERS]
    return tuple(dict.fromkeys(account for account in named if account is not None))


async def handover_of(rpc: Rpc, target: str, receiver: str, block: BlockStamp) -> Handover | None:
    """Return how a contract would be handed over, None where it has none of the usual functions."""
    code = b"".join(part for _, part in await resolve(rpc, target, block))
    function = next((name for name in HAND_OVER if has_function(code, name)), None)
    if function is None:
        return None
    is_ownership = function != HAND_OVER[0]
    accept = next((name for name in ACCEPT if is_ownership and has_function(code, name)), None)
    return Handover(target, function, receiver, await _account(rpc, target, "owner()", block), accept)


async def _account(rpc: Rpc, target: str, view: str, block: BlockStamp) -> str | None:
    data = "0x" + function_signature_to_4byte_selector(view).hex()
    try:
        answer = await rpc.call("eth_call", {"to": target, "data": data}, {"blockHash": block.hash})
    except Refused:
        return None
    return to_checksum_address("0x" + answer[-40:]) if len(answer) == 66 else None
