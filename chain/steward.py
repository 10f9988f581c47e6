"""Speak to the risk steward: its view of a market, its calldata and its events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError
from eth_utils.abi import function_signature_to_4byte_selector
from eth_utils.crypto import keccak

from chain.protocol import BindingError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chain.rpc import Call, Refused

MARKET_STATE = "market_state(bytes32)"
VIEW_TYPE = "(uint256,address,bool,uint256,uint256,bytes32,uint256,bytes32,uint256,bytes32,uint256[],uint256[4])"
ACTIVATED = "Activated(bytes32,uint256[],bytes32)"
APPLIED = "Applied(bytes32,uint256,bytes32,uint256[],bytes32)"
ROLLED_BACK = "RolledBack(bytes32,uint256,bytes32,uint256,uint256[],bytes32)"
REBASED = "Rebased(bytes32,uint256,uint256[],bytes32)"
ANNOUNCED = "Announced(bytes32,uint256,bytes32,uint256[],uint256[],uint256)"
NO_DIGEST = "0x" + "00" * 32

ACTIVE = 1
"""A market's status when it takes changes."""

STATE_BITS = 64
"""What the steward remembers of one parameter, highest bits first: changed_at 32, drift_used 16, drift_before 16."""

OPEN_QUORUM = "0x" + "00" * (1 + 17 * 32)
"""Code of a quorum that needs no signature: what a simulation puts in place of the real one."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """What the steward remembers of one parameter: its last change, and the shares of its drift budget used."""

    changed_at: int
    drift_used: int
    drift_before: int


@dataclass(frozen=True, slots=True)
class StewardView:
    """The steward's account of one market, besides its policy; values in id order.

    `status` is 0 before activation, 1 when active, 2 when retired. `good_in` is the number of the block in which the
    last good version was made.
    """

    status: int
    policy: str
    paused: bool
    sequence: int
    applied_at: int
    version_hash: str
    good_sequence: int
    good_hash: str
    good_in: int
    state_hash: str
    values: tuple[int, ...]
    remembered: tuple[Remembered, ...]


@dataclass(frozen=True, slots=True)
class StewardEvent:
    """One version as the chain recorded it. `digest` is the input root the keeper sent: its proposal's digest.

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


def quorum_code_call(steward: str) -> Call:
    """Return the call for the address at which the signers stand."""
    return (steward, _encode("quorum_code()", [], []))


def announced_call(steward: str, digest: str) -> Call:
    """Return the call for the Unix second at which a message was announced; 0 for never, 2**256 - 1 for vetoed."""
    return (steward, _encode("announced_at(bytes32)", ["bytes32"], [_bytes(digest)]))


def parse_view(answer: bytes) -> StewardView:
    """Decode `market_state`. Raises BindingError when the contract is not this steward."""
    try:
        fields: tuple[Any, ...] = decode([VIEW_TYPE], answer)[0]
    except Exception as error:
        raise BindingError(f"the steward does not answer {MARKET_STATE} as expected: {error}") from error
    status, policy, paused, sequence, applied_at, version, good_sequence, good, good_in, live, values, states = fields
    return StewardView(
        status=status,
        policy=policy,
        paused=paused,
        sequence=sequence,
        applied_at=applied_at,
        version_hash="0x" + version.hex(),
        good_sequence=good_sequence,
        good_hash="0x" + good.hex(),
        good_in=good_in,
        state_hash="0x" + live.hex(),
        values=values,
        remembered=tuple(_remembered(states, index) for index in range(len(values))),
    )


def _remembered(states: Sequence[int], index: int) -> Remembered:
    state = states[index // 4] >> (STATE_BITS * (index % 4))
    return Remembered((state >> 32) & 0xFFFFFFFF, (state >> 16) & 0xFFFF, state & 0xFFFF)


def state_hash(steward: str, chain_id: int, market: str, values: Sequence[int]) -> str:
    """Return the hash that binds values to a steward, chain and market, as the steward forms it."""
    types = ["address", "uint256", "bytes32", "uint256[]"]
    return "0x" + keccak(encode(types, [steward, chain_id, market_id(market), values])).hex()


def version_filter(steward: str, market: str, block: int) -> dict[str, Any]:
    """Return the log filter for the values of the versions made in a block."""
    kinds = [_topic(kind) for kind in (ACTIVATED, APPLIED, ROLLED_BACK, REBASED)]
    at = {"fromBlock": hex(block), "toBlock": hex(block)}
    return {"address": steward, "topics": [kinds, "0x" + market_id(market).hex()], **at}


def version_values(log: dict[str, Any]) -> tuple[int, ...]:
    """Return the values of the version that a log of `version_filter` tells of."""
    types = ["uint256", "uint256[]"] if log["topics"][0] == _topic(ROLLED_BACK) else ["uint256[]"]
    return tuple(decode(types, bytes.fromhex(log["data"][2:]))[-1])


def applicable_at(log: dict[str, Any]) -> int:
    """Return when the notice of an Announced log is over, Unix seconds."""
    return int(decode(["uint256[]", "uint256[]", "uint256"], bytes.fromhex(log["data"][2:]))[-1])


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
    fallback = fallback or "reverted without a reason"
    try:
        raw = _bytes(data or "")
        if raw[:4] == function_signature_to_4byte_selector("Error(string)"):
            return str(decode(["string"], raw[4:])[0])
        if raw[:4] == function_signature_to_4byte_selector("Panic(uint256)"):
            return f"panic {decode(['uint256'], raw[4:])[0]:#x}"
    except (ValueError, DecodingError):  # a contract may revert with anything, and an endpoint may garble it
        return fallback
    return fallback


def _encode(signature: str, types: Sequence[str], arguments: Sequence[Any]) -> str:
    return "0x" + (function_signature_to_4byte_selector(signature) + encode(types, arguments)).hex()


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
