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
VIEW_TYPE = "(uint256,address,uint256,uint256,bytes32,bytes32,uint256,bytes32,uint256[],uint256[3])"
ACTIVATED = "Activated(bytes32,uint256[],bytes32)"
APPLIED = "Applied(bytes32,uint256,bytes32,uint256[])"
ROLLED_BACK = "RolledBack(bytes32,uint256,bytes32,uint256[])"
REBASED = "Rebased(bytes32,uint256,uint256[],bytes32)"
ANNOUNCED = "Announced(bytes32,uint256,bytes32,uint256[],uint256[],uint256)"
NO_DIGEST = "0x" + "00" * 32

ACTIVE, RETIRED, PAUSED = 1, 2, 3
"""A market's status; 0 before activation. Paused, it takes rollbacks alone."""

STATE_BITS, STATES_A_WORD = 42, 6
"""What the steward remembers of one parameter, highest bits first: minute of its last change 26, shares 8 and 8."""

MINUTE = 60


@dataclass(frozen=True, slots=True)
class Remembered:
    """What the steward remembers of one parameter: its last change, and the shares of its drift budget used.

    `changed_at` is Unix seconds, rounded up to a whole minute; 0 = never.
    """

    changed_at: int
    drift_used: int
    drift_before: int


@dataclass(frozen=True, slots=True)
class StewardView:
    """The steward's account of one market, besides its policy; values in id order.

    `good_at` is the time of the block in which the last good version was made.
    """

    status: int
    policy: str
    sequence: int
    applied_at: int
    version_hash: str
    good_hash: str
    good_at: int
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


def announced_call(steward: str, digest: str) -> Call:
    """Return the call for the Unix second at which a message was announced; 0 for never, 2**256 - 1 for vetoed."""
    return (steward, _encode("announced_at(bytes32)", ["bytes32"], [_bytes(digest)]))


def parse_view(answer: bytes) -> StewardView:
    """Decode `market_state`. Raises BindingError when the contract is not this steward."""
    try:
        fields: tuple[Any, ...] = decode([VIEW_TYPE], answer)[0]
    except Exception as error:
        raise BindingError(f"the steward does not answer {MARKET_STATE} as expected: {error}") from error
    status, policy, sequence, applied_at, version, good, good_at, live, values, states = fields
    return StewardView(
        status=status,
        policy=policy,
        sequence=sequence,
        applied_at=applied_at,
        version_hash="0x" + version.hex(),
        good_hash="0x" + good.hex(),
        good_at=good_at,
        state_hash="0x" + live.hex(),
        values=values,
        remembered=tuple(_remembered(states, index) for index in range(len(values))),
    )


def _remembered(states: Sequence[int], index: int) -> Remembered:
    state = states[index // STATES_A_WORD] >> (STATE_BITS * (index % STATES_A_WORD))
    return Remembered(((state >> 16) & (2**26 - 1)) * MINUTE, (state >> 8) & 0xFF, state & 0xFF)


def state_hash(steward: str, chain_id: int, market: str, values: Sequence[int]) -> str:
    """Return the hash that binds values to a steward, chain and market, as the steward forms it."""
    types = ["address", "uint256", "bytes32", "uint256[]"]
    return "0x" + keccak(encode(types, [steward, chain_id, market_id(market), values])).hex()


def version_filter(steward: str, market: str, first: int, last: int) -> dict[str, Any]:
    """Return the log filter for the values of the versions made in some blocks."""
    kinds = [_topic(kind) for kind in (ACTIVATED, APPLIED, ROLLED_BACK, REBASED)]
    at = {"fromBlock": hex(first), "toBlock": hex(last)}
    return {"address": steward, "topics": [kinds, "0x" + market_id(market).hex()], **at}


def version_values(log: dict[str, Any]) -> tuple[int, ...]:
    """Return the values of the version that a log of `version_filter` tells of."""
    return tuple(decode(["uint256[]"], bytes.fromhex(log["data"][2:]))[0])


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
    kind = EVENTS[log["topics"][0]]
    return StewardEvent(
        market=market,
        sequence=int(log["topics"][2], 16),
        digest=NO_DIGEST if kind == "rebase" else log["topics"][3],
        values=version_values(log),
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


EVENTS: dict[str, Literal["tune", "rollback", "rebase"]] = {
    _topic(APPLIED): "tune",
    _topic(ROLLED_BACK): "rollback",
    _topic(REBASED): "rebase",
}
"""What each event makes of a version; all have its values first."""
