"""Speak the steward's signed messages: encode one, hash it as EIP-712 says, attach signatures to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from eth_abi.abi import encode
from eth_utils.abi import function_signature_to_4byte_selector
from eth_utils.crypto import keccak

from chain.steward import market_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chain.rpc import Call
    from chain.signer import Signature

Action = Literal["apply", "rollback", "announce"]
"""What a message is submitted for. An announcement carries the signatures of the change that it announces."""

PROBES = "(bytes,int256)[]"
MESSAGE = f"(bytes32,uint256,bytes32,uint256[],uint256[],bytes32,bytes32,bytes32,{PROBES},uint256,uint256)"
SIGNATURES = "(uint256,uint256)[]"
SUBMIT = f"submit(uint256,{MESSAGE},{SIGNATURES})"

FIELDS = (
    "(bytes32 market,address policy,uint256 sequence,bytes32 stateHash,bytes32 changesHash,"
    "bytes32 callsHash,bytes32 modelHash,bytes32 inputRoot,bytes32 probesHash,uint256 maxLiquidatable,uint256 deadline)"
)
CODES: dict[Action, int] = {"apply": 0, "announce": 1, "rollback": 2}
CODE_BITS, PLACE_BITS = 4, 4
"""What the purpose takes of a submission's first argument, and what each setter takes of the order above it."""

PRIMARY: dict[Action, str] = {"apply": "Apply", "announce": "Apply", "rollback": "Rollback"}
DOMAIN = keccak(text="EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")
NAME, VERSION = keccak(text="Keeper risk steward"), keccak(text="1")

WORD = 32

Probe = tuple[bytes, int]
"""Arguments of the policy's health view for one account, and the threshold that its answer is held against."""


@dataclass(frozen=True, slots=True)
class Message:
    """One change as signers sign it: EIP-712 fields, with `calls` and `probes` instead of their hashes.

    `market` is the market's name, `policy` the address of the policy in force, `changes` pairs of id and value, ids
    ascending. `calls` are in the order in which they are made: `order` has the position of every setter of the policy,
    the first to be called first, and is empty where that is the policy's own. Hashes are 0x-prefixed.
    """

    market: str
    policy: str
    sequence: int
    state_hash: str
    changes: tuple[tuple[int, int], ...]
    calls: tuple[Call, ...]
    model_hash: str
    input_root: str
    probes: tuple[Probe, ...]
    max_liquidatable: int
    deadline: int
    order: tuple[int, ...] = ()

    def digest(self, action: Action, steward: str, chain_id: int) -> str:
        """Return what is signed: the EIP-712 hash for one steward on one chain."""
        kind = keccak(text=PRIMARY[action] + FIELDS)
        ids, new = [index for index, _ in self.changes], [value for _, value in self.changes]
        values = [
            kind,
            market_id(self.market),
            self.policy,
            self.sequence,
            _bytes(self.state_hash),
            keccak(encode(["uint256[]", "uint256[]"], [ids, new])),
            calls_hash(self.calls),
            _bytes(self.model_hash),
            _bytes(self.input_root),
            keccak(encode([PROBES], [self.probes])),
            self.max_liquidatable,
            self.deadline,
        ]
        types = ["bytes32", "bytes32", "address", "uint256", *["bytes32"] * 6, "uint256", "uint256"]
        domain = encode(["bytes32"] * 3 + ["uint256", "address"], [DOMAIN, NAME, VERSION, chain_id, steward])
        return "0x" + keccak(b"\x19\x01" + keccak(domain) + keccak(encode(types, values))).hex()

    def calldata(self, action: Action) -> str:
        """Return the steward call that submits the message, as yet without signatures."""
        fields = (
            market_id(self.market),
            self.sequence,
            _bytes(self.state_hash),
            [index for index, _ in self.changes],
            [value for _, value in self.changes],
            calls_hash(self.calls),
            _bytes(self.model_hash),
            _bytes(self.input_root),
            self.probes,
            self.max_liquidatable,
            self.deadline,
        )
        code = CODES[action] | (0 if action == "announce" else _packed(self.order) << CODE_BITS)
        selector = function_signature_to_4byte_selector(SUBMIT)
        return "0x" + (selector + encode(["uint256", MESSAGE, SIGNATURES], [code, fields, []])).hex()


def calls_hash(calls: Sequence[Call]) -> bytes:
    """Return the hash of calls in their order, as the steward forms it while it makes them."""
    found = bytes(WORD)
    for target, data in calls:
        found = keccak(encode(["bytes32", "address", "bytes32"], [found, target, keccak(_bytes(data))]))
    return found


def attach(calldata: str, signatures: Sequence[Signature]) -> str:
    """Return calldata with signatures, by ascending signer, in place of its empty list: its last word."""
    assert calldata.endswith("00" * WORD)
    words = [number for one in signatures for number in (one.r, one.vs)]
    return calldata[: -2 * WORD] + b"".join(number.to_bytes(WORD) for number in (len(signatures), *words)).hex()


def order_of(calldata: str, setters: int) -> tuple[int, ...]:
    """Return the order in which calldata of a change or rollback calls the setters, empty for the policy's own."""
    packed = int(calldata[10 : 10 + 2 * WORD], 16) >> CODE_BITS
    places = range(setters) if packed else ()
    return tuple((packed >> (PLACE_BITS * place)) % 2**PLACE_BITS for place in places)


def announcing(calldata: str) -> str:
    """Return the calldata that announces what the given one applies: the rest of it is the same."""
    return calldata[:10] + CODES["announce"].to_bytes(WORD).hex() + calldata[10 + 2 * WORD :]


def _packed(order: Sequence[int]) -> int:
    return sum(setter << (PLACE_BITS * place) for place, setter in enumerate(order))


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))
