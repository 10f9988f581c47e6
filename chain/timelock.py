"""Speak to the timelock that governs a steward: what is scheduled, what is ready, and the calls that bring it on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from eth_abi.abi import encode
from eth_utils.abi import function_signature_to_4byte_selector
from eth_utils.crypto import keccak

from chain.rpc import Refused, read
from chain.steward import revert_reason

if TYPE_CHECKING:
    from chain.rpc import Rpc
    from models.market import BlockStamp

NONE = b"\0" * 32
"""No predecessor: an operation waits for no other."""

MAX_CALL_BYTES = 1_024
"""The most calldata that the timelock takes."""

MAX_SALT = 2**256 - 1

DONE = 1
"""What stands in the place of an operation's time once it was executed."""


class Stage(StrEnum):
    """How far an operation has come."""

    UNKNOWN = "not scheduled"
    WAITING = "waiting"
    READY = "ready"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Standing:
    """An operation's stage, when it is ready (Unix seconds, 0 if not scheduled), and the shortest delay in force."""

    stage: Stage
    ready_at: int
    delay: int


@dataclass(frozen=True, slots=True)
class Operation:
    """One call that the timelock makes, after its delay. A salt tells operations apart that are otherwise the same."""

    target: str
    data: bytes
    salt: int = 0

    @property
    def id(self) -> bytes:
        """The timelock's key of it: keccak256 of the ABI encoding of all it consists of."""
        return keccak(encode(["address", "uint256", "bytes", "bytes32", "bytes32"], self._parts))

    @property
    def execution(self) -> bytes:
        """The call that executes it."""
        signature = "execute(address,uint256,bytes,bytes32,bytes32)"
        types = ["address", "uint256", "bytes", "bytes32", "bytes32"]
        return bytes(function_signature_to_4byte_selector(signature)) + encode(types, self._parts)

    def schedule(self, delay: int) -> bytes:
        """Return the call that schedules it `delay` seconds ahead."""
        signature = "schedule(address,uint256,bytes,bytes32,bytes32,uint256)"
        types = ["address", "uint256", "bytes", "bytes32", "bytes32", "uint256"]
        return bytes(function_signature_to_4byte_selector(signature)) + encode(types, [*self._parts, delay])

    @property
    def cancellation(self) -> bytes:
        """The call that takes it back."""
        return bytes(function_signature_to_4byte_selector("cancel(bytes32)")) + self.id

    @property
    def _parts(self) -> list[object]:
        return [self.target, 0, self.data, NONE, self.salt.to_bytes(32)]


async def refusal(rpc: Rpc, timelock: str, operation: Operation, block: BlockStamp) -> str | None:
    """Return why the call would be refused if the timelock made it at `block`, in the contract's words; None if not."""
    call = {"from": timelock, "to": operation.target, "data": "0x" + operation.data.hex()}
    try:
        await rpc.call("eth_call", call, {"blockHash": block.hash, "requireCanonical": True})
    except Refused as error:
        return revert_reason(error)
    return None


async def standing(rpc: Rpc, timelock: str, operation: Operation, block: BlockStamp) -> Standing:
    """Return how far an operation has come at `block`."""
    timestamp = "0x" + (function_signature_to_4byte_selector("get_timestamp(bytes32)") + operation.id).hex()
    delay = "0x" + function_signature_to_4byte_selector("get_minimum_delay()").hex()
    answers = await read(rpc, [(timelock, timestamp), (timelock, delay)], block)
    ready_at, shortest = (int.from_bytes(answer) for answer in answers)
    if ready_at <= DONE:
        return Standing(Stage.DONE if ready_at else Stage.UNKNOWN, 0, shortest)
    return Standing(Stage.READY if ready_at <= block.timestamp else Stage.WAITING, ready_at, shortest)
