"""Messages as the steward takes them, and signatures on them as anyone might make them: encoded and hashed by hand."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from coincurve import PrivateKey
from eth_utils import keccak
from steward_evm import CHAIN

Call = tuple[str, bytes]
Probe = tuple[int, int]
"""An account, and the health below or above which it is liquidatable."""

HALF_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141 // 2
DOMAIN = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
FIELDS = (
    "(bytes32 market,address policy,uint256 sequence,bytes32 stateHash,bytes32 changesHash,"
    "bytes32 callsHash,bytes32 modelHash,bytes32 inputRoot,bytes32 probesHash,uint256 maxLiquidatable,uint256 deadline)"
)
MESSAGE = "(bytes32,uint256,bytes32,uint256[],uint256[],bytes32,bytes32,bytes32,(bytes,int256)[],uint256,uint256)"
SUBMIT = keccak(text=f"submit(uint256,{MESSAGE},(uint256,uint256)[])")[:4]
TYPES = {kind: keccak(text=kind + FIELDS) for kind in ("Apply", "Rollback")}
KINDS = {"apply": "Apply", "announce": "Apply", "rollback": "Rollback", "nonsense": "Apply"}
"""What is signed for each purpose; there is no such thing as the last."""

ACTIONS = {"apply": 0, "announce": 1, "rollback": 2, "nonsense": 3}
PURPOSE_BITS, PLACE_BITS = 4, 4
"""What the purpose takes of an action, and above it each setter of the order."""


def word(number: int) -> bytes:
    """One word; negative numbers as their two's complement."""
    return (number % 2**256).to_bytes(32)


def words(numbers: tuple[int, ...]) -> bytes:
    """Words one after the other."""
    return b"".join(map(word, numbers))


def address_of(key: PrivateKey) -> str:
    """The account of a key."""
    return "0x" + keccak(key.public_key.format(compressed=False)[1:])[12:].hex()


KEYS = tuple(sorted((PrivateKey(bytes([index]) * 32) for index in range(1, 18)), key=address_of))
"""Everyone who ever signs, ascending by address, one more than a policy can name."""

SIGNERS = tuple(map(address_of, KEYS))


def hash_calls(calls: tuple[Call, ...]) -> bytes:
    """Chain calls together: the hash before, the target, and the hash of the data."""
    found = bytes(32)
    for target, data in calls:
        found = keccak(found + word(int(target, 16)) + keccak(data))
    return found


@dataclass(frozen=True, slots=True)
class Message:
    """The steward's message."""

    market: bytes
    sequence: int
    state_hash: bytes
    policy: str
    """Address of the policy in force: signed, and not sent."""

    ids: tuple[int, ...]
    values: tuple[int, ...]
    calls_hash: bytes
    probes: tuple[Probe, ...]
    max_liquidatable: int
    deadline: int
    model_hash: bytes = b"\x06" * 32
    input_root: bytes = b"\x07" * 32
    order: tuple[int, ...] = ()
    """Setters in the order of their calls, the policy's if empty; who signs does so by signing the calls' hash."""

    def encoded(self) -> bytes:
        """ABI encoding: eleven words, then the lists that three of them point to."""
        lists = (_numbers(self.ids), _numbers(self.values), _probes(self.probes))
        ids, values, probes = (352 + sum(map(len, lists[:index])) for index in range(3))
        head = (self.market, word(self.sequence), self.state_hash, word(ids), word(values), self.calls_hash)
        tail = (self.model_hash, self.input_root, word(probes), word(self.max_liquidatable), word(self.deadline))
        return b"".join((*head, *tail, *lists))

    @lru_cache(maxsize=1_024)  # noqa: B019 - bounded, and messages are small
    def digest(self, kind: str, steward: str, chain: int = CHAIN) -> bytes:
        """EIP-712 digest of the message as `Apply` or `Rollback`."""
        ids, values = _numbers(self.ids), _numbers(self.values)
        hashes = (
            keccak(words((64, 64 + len(ids))) + ids + values),
            self.calls_hash,
            self.model_hash,
            self.input_root,
            keccak(word(32) + _probes(self.probes)),
        )
        head = (TYPES[kind], self.market, word(int(self.policy, 16)), word(self.sequence), self.state_hash)
        fields = b"".join((*head, *hashes, word(self.max_liquidatable), word(self.deadline)))
        return keccak(b"\x19\x01" + _domain(steward, chain) + keccak(fields))


@dataclass(frozen=True, slots=True)
class Seal:
    """A signature: whose, over which digest, and whether it was spoilt since."""

    key: int
    digest: bytes
    spoilt: str = ""
    """`high s`, `zero` or `other parity`, or nothing."""

    def words(self) -> bytes:
        """The contract's r and vs: the highest bit of the second says which of two points r stands for."""
        parity, r, s = _signature(self.key, self.digest)
        if self.spoilt == "zero":
            return words((0, 0))
        if self.spoilt == "high s":
            s = HALF_ORDER + 1
        if self.spoilt == "other parity":
            parity = 1 - parity
        return words((r, parity << 255 | s))


@dataclass(frozen=True, slots=True)
class Attempt:
    """A message on its way to a steward, for a purpose."""

    function: str
    steward: int
    message: Message
    seals: tuple[Seal, ...]

    @property
    def action(self) -> int:
        """The first argument: the purpose, and the order above it."""
        places = (setter << (PLACE_BITS * place) for place, setter in enumerate(self.message.order))
        return ACTIONS[self.function] | sum(places) << PURPOSE_BITS

    def calldata(self) -> bytes:
        """Selector and arguments."""
        message = self.message.encoded()
        seals = word(len(self.seals)) + b"".join(seal.words() for seal in self.seals)
        return SUBMIT + words((self.action, 96, 96 + len(message))) + message + seals


@lru_cache(maxsize=64)
def _domain(steward: str, chain: int) -> bytes:
    texts = b"".join(keccak(text=text) for text in (DOMAIN, "Keeper risk steward", "1"))
    return keccak(texts + word(chain) + word(int(steward, 16)))


@lru_cache(maxsize=256)
def _signature(key: int, digest: bytes) -> tuple[int, int, int]:
    signed = KEYS[key].sign_recoverable(digest, hasher=None)
    return signed[64], int.from_bytes(signed[:32]), int.from_bytes(signed[32:64])


def _numbers(numbers: tuple[int, ...]) -> bytes:
    return word(len(numbers)) + words(numbers)


def _probes(probes: tuple[Probe, ...]) -> bytes:
    items = [words((64, threshold, 32, account)) for account, threshold in probes]
    return (
        word(len(items)) + words(tuple(32 * len(items) + 128 * index for index in range(len(items)))) + b"".join(items)
    )
