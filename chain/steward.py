"""Speak to the risk steward: its view of a market, its calldata and its events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from eth_abi.abi import decode, encode
from eth_utils.abi import function_signature_to_4byte_selector
from eth_utils.crypto import keccak

from chain.protocol import BindingError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chain.rpc import Call, Refused

CALLS = "(address,bytes)[]"
APPLY_TYPES = ("bytes32", "uint256", "bytes32", "(uint256,uint256)[]", CALLS, "bytes32", "uint256")
ROLLBACK_TYPES = ("bytes32", "uint256", "bytes32", CALLS, "bytes32", "uint256")
APPLY = f"apply({','.join(APPLY_TYPES)})"
ROLLBACK = f"rollback({','.join(ROLLBACK_TYPES)})"
MARKET_STATE = "market_state(bytes32)"
VIEW_TYPE = "(uint256,bytes32,bool," + ",".join(["uint256[]"] * 9) + ",bool[])"
APPLIED = "Applied(bytes32,uint256,bytes32,uint256[],bytes32)"
ROLLED_BACK = "RolledBack(bytes32,uint256,bytes32,uint256,uint256[],bytes32)"
REBASED = "Rebased(bytes32,uint256,uint256[],bytes32)"
NO_DIGEST = "0x" + "00" * 32


@dataclass(frozen=True, slots=True)
class StewardView:
    """The steward's account of one market: live values, last good version and limits, all in id order."""

    sequence: int
    state_hash: str
    paused: bool
    values: tuple[int, ...]
    last_good: tuple[int, ...]
    minimum: tuple[int, ...]
    maximum: tuple[int, ...]
    max_step_up: tuple[int, ...]
    max_step_down: tuple[int, ...]
    cooldown: tuple[int, ...]
    changed_at: tuple[int, ...]
    group: tuple[int, ...]
    tightening_up: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class StewardEvent:
    """One version as the chain recorded it. `digest` is the context the keeper sent: its proposal's digest.

    Governance makes a version by "rebase": it records what it changed itself, and there is no proposal.
    """

    market: str
    sequence: int
    digest: str
    values: tuple[int, ...]
    kind: Literal["tune", "rollback", "rebase"]
    tx_hash: str
    block_number: int


def market_id(name: str) -> bytes:
    """Return the steward's key of a market: keccak256 of its name."""
    return keccak(text=name)


def view_call(steward: str, market: str) -> Call:
    """Return the call for everything the steward knows about a market."""
    return (steward, _encode(MARKET_STATE, ["bytes32"], [market_id(market)]))


def role_call(steward: str, account: str) -> Call:
    """Return the call that says whether an account holds the keeper role."""
    return (steward, _encode("hasRole(bytes32,address)", ["bytes32", "address"], [keccak(text="KEEPER_ROLE"), account]))


def parse_view(answer: bytes) -> StewardView:
    """Decode `market_state`. Raises BindingError when the contract is not this steward."""
    try:
        fields = decode([VIEW_TYPE], answer)[0]
    except Exception as error:
        raise BindingError(f"the steward does not answer {MARKET_STATE} as expected: {error}") from error
    sequence, state_hash, paused, *columns = fields
    return StewardView(sequence, "0x" + state_hash.hex(), paused, *(tuple(column) for column in columns))


def apply_calldata(
    market: str,
    sequence: int,
    state_hash: str,
    changes: Sequence[tuple[int, int]],
    calls: Sequence[Call],
    digest: str,
    deadline: int,
) -> str:
    """Return the calldata that applies a batch of changes."""
    arguments = [market_id(market), sequence, _bytes(state_hash), changes, _raw(calls), _bytes(digest), deadline]
    return _encode(APPLY, APPLY_TYPES, arguments)


def rollback_calldata(
    market: str, sequence: int, state_hash: str, calls: Sequence[Call], digest: str, deadline: int
) -> str:
    """Return the calldata that restores the last good version."""
    arguments = [market_id(market), sequence, _bytes(state_hash), _raw(calls), _bytes(digest), deadline]
    return _encode(ROLLBACK, ROLLBACK_TYPES, arguments)


def change_filter(steward: str, market: str) -> dict[str, Any]:
    """Return the log filter for a market's changes."""
    return {
        "address": steward,
        "topics": [[_topic(APPLIED), _topic(ROLLED_BACK), _topic(REBASED)], "0x" + market_id(market).hex()],
    }


def parse_event(market: str, log: dict[str, Any]) -> StewardEvent:
    """Decode one Applied, RolledBack or Rebased log."""
    kind, types = EVENTS[log["topics"][0]]
    fields = decode(types, bytes.fromhex(log["data"][2:]))
    return StewardEvent(
        market=market,
        sequence=int(log["topics"][2], 16),
        digest=NO_DIGEST if kind == "rebase" else log["topics"][3],
        values=tuple(fields[types.index("uint256[]")]),
        kind=kind,
        tx_hash=log["transactionHash"],
        block_number=int(log["blockNumber"], 16),
    )


def revert_reason(error: Refused | str) -> str:
    """Return a revert's own words where it has any: Error(string) or Panic(uint256) data, else the message."""
    data, fallback = (error, "") if isinstance(error, str) else (error.data, error.message)
    raw = bytes.fromhex(data[2:]) if data and data.startswith("0x") else b""
    if raw[:4] == function_signature_to_4byte_selector("Error(string)"):
        return str(decode(["string"], raw[4:])[0])
    if raw[:4] == function_signature_to_4byte_selector("Panic(uint256)"):
        return f"panic {decode(['uint256'], raw[4:])[0]:#x}"
    return fallback or "reverted without a reason"


def _encode(signature: str, types: Sequence[str], arguments: Sequence[Any]) -> str:
    return "0x" + (function_signature_to_4byte_selector(signature) + encode(types, arguments)).hex()


def _raw(calls: Sequence[Call]) -> list[tuple[str, bytes]]:
    return [(target, _bytes(data)) for target, data in calls]


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def _topic(signature: str) -> str:
    return "0x" + keccak(text=signature).hex()


EVENTS: dict[str, tuple[Literal["tune", "rollback", "rebase"], list[str]]] = {
    _topic(APPLIED): ("tune", ["uint256[]", "bytes32"]),
    _topic(ROLLED_BACK): ("rollback", ["uint256", "uint256[]", "bytes32"]),
    _topic(REBASED): ("rebase", ["uint256[]", "bytes32"]),
}
"""What each event makes of a version, and its unindexed fields."""
