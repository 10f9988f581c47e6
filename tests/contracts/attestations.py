"""The message that keepers sign, and signatures as eth_account makes them from its typed data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eth_abi import encode
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_utils import keccak

if TYPE_CHECKING:
    from collections.abc import Iterable

    from eth_account.signers.local import LocalAccount

Signature = tuple[int, int]
FIELDS = {
    "market": "bytes32",
    "policy": "address",
    "sequence": "uint256",
    "stateHash": "bytes32",
    "changesHash": "bytes32",
    "callsHash": "bytes32",
    "modelHash": "bytes32",
    "inputRoot": "bytes32",
    "probesHash": "bytes32",
    "maxLiquidatable": "uint256",
    "deadline": "uint256",
}
CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
LARGEST_S = CURVE_ORDER // 2


@dataclass(frozen=True, slots=True)
class Message:
    """Fields of the contract's message, in its order; the calls themselves where it has their hash.

    The policy in force is signed, and not sent: the steward knows it.
    """

    market: bytes
    sequence: int
    state_hash: bytes
    ids: tuple[int, ...]
    values: tuple[int, ...]
    calls: tuple[tuple[str, bytes], ...]
    model_hash: bytes
    input_root: bytes
    probes: tuple[tuple[bytes, int], ...]
    max_liquidatable: int
    deadline: int
    policy: str

    @property
    def calls_hash(self) -> bytes:
        """Of one call after the other."""
        so_far = bytes(32)
        for target, data in self.calls:
            so_far = keccak(encode(["bytes32", "address", "bytes32"], [so_far, target, keccak(data)]))
        return so_far

    def words(self) -> tuple[Any, ...]:
        """As an argument of the contract's functions."""
        sent = (name for name in self.__slots__ if name != "policy")
        return tuple(self.calls_hash if name == "calls" else getattr(self, name) for name in sent)

    def typed_data(self) -> dict[str, Any]:
        """As the fields that are signed."""
        changes = keccak(encode(["uint256[]", "uint256[]"], [self.ids, self.values]))
        probes = keccak(encode(["(bytes,int256)[]"], [self.probes]))
        middle = (changes, self.calls_hash, self.model_hash, self.input_root, probes)
        values = (
            self.market,
            self.policy,
            self.sequence,
            self.state_hash,
            *middle,
            self.max_liquidatable,
            self.deadline,
        )
        return dict(zip(FIELDS, values, strict=True))


@dataclass(frozen=True, slots=True)
class Domain:
    """Where a signature is good."""

    steward: str
    chain: int
    name: str = "Keeper risk steward"
    version: str = "1"

    def signable(self, message: Message, kind: str = "Apply") -> Any:
        """What a signer is shown."""
        domain = {
            "name": self.name,
            "version": self.version,
            "chainId": self.chain,
            "verifyingContract": str(self.steward),
        }
        types = {kind: [{"name": name, "type": type_} for name, type_ in FIELDS.items()]}
        return encode_typed_data(domain, types, message.typed_data())

    def digest(self, message: Message, kind: str = "Apply") -> bytes:
        """What is signed."""
        parts = self.signable(message, kind)
        return keccak(b"\x19" + parts.version + parts.header + parts.body)

    def sign(self, message: Message, signers: Iterable[LocalAccount], kind: str = "Apply") -> list[Signature]:
        """Signatures in the order of the signers."""
        signed = (signer.sign_message(self.signable(message, kind)) for signer in signers)
        return [compact(item.v, item.r, item.s) for item in signed]


def compact(v: int, r: int, s: int) -> Signature:
    """Two words, as EIP-2098 has them: the parity of the point in the highest bit of s."""
    return r, ((v - 27) << 255) | s


def make_signers(count: int) -> tuple[LocalAccount, ...]:
    """Accounts with keys, strictly ascending by address."""
    accounts = [Account.from_key(keccak(b"signer" + bytes([index]))) for index in range(count)]
    return tuple(sorted(accounts, key=lambda account: int(account.address, 16)))


def made_for_s(digest: bytes, s: int) -> tuple[LocalAccount, Signature, Signature]:
    """An account whose signature of a digest has this s; that signature, and the same key's other one of it.

    The other one has the complement of s.
    """
    nonce = Account.from_key(keccak(b"nonce"))
    point = nonce._key_obj.public_key.to_bytes()
    r, parity = int.from_bytes(point[:32], "big"), point[63] & 1
    key = (s * int(nonce.key.hex(), 16) - int.from_bytes(digest, "big")) * pow(r, -1, CURVE_ORDER) % CURVE_ORDER
    signer = Account.from_key(key.to_bytes(32, "big"))
    return signer, compact(27 + parity, r, s), compact(28 - parity, r, CURVE_ORDER - s)
