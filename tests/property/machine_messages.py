"""Messages as the steward takes them, and signatures on them as anyone might make them: encoded and hashed by hand."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from coincurve import PrivateKey
from eth_utils import keccak
from steward_evm import CHAIN, DOMAIN, FIELDS, FUNCTIONS

Call = tuple[str, bytes]
Probe = tuple[int, int]
"""An account, and the health below or above which it is liquidatable."""

CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
MODEL_HASH, INPUT_ROOT = b"\x06" * 32, b"\x07" * 32
TYPES = {kind: keccak(text=kind + FIELDS) for kind in ("Apply", "Rollback")}
KINDS = {"apply": "Apply", "announce": "Apply", "rollback": "Rollback"}
"""What is signed for each function."""


def word(number: int) -> bytes:
    """One word; negative numbers as their two's complement."""
    return (number % 2**256).to_bytes(32)


def words(numbers: tuple[int, ...]) -> bytes:
    """Words one after the other."""
    return b"".join(map(word, numbers))


def address_of(key: PrivateKey) -> str:
    """The account of a key."""
    return "0x" + keccak(key.public_key.format(compressed=False)[1:])[12:].hex()


KEYS = tuple(sorted((PrivateKey(bytes([index]) * 32) for index in range(1, 7)), key=address_of))
"""Everyone who ever signs, ascending by address; who is in the quorum changes."""

SIGNERS = tuple(map(address_of, KEYS))


@dataclass(frozen=True, slots=True)
class Message:
    """The steward's message, less the two fields that it only records."""

    market: bytes
    sequence: int
    state_hash: bytes
    ids: tuple[int, ...]
    values: tuple[int, ...]
    calls: tuple[Call, ...]
    probes: tuple[Probe, ...]
    max_liquidatable: int
    deadline: int

    def encoded(self) -> bytes:
        """ABI encoding: eleven words, then the lists that four of them point to."""
        lists = (_numbers(self.ids), _numbers(self.values), _calls(self.calls), _probes(self.probes))
        ids, values, calls, probes = (352 + sum(map(len, lists[:index])) for index in range(4))
        tail = (MODEL_HASH, INPUT_ROOT, word(probes), word(self.max_liquidatable), word(self.deadline))
        head = (self.market, word(self.sequence), self.state_hash, word(ids), word(values), word(calls))
        return b"".join((*head, *tail, *lists))

    @lru_cache(maxsize=1_024)  # noqa: B019 - bounded, and messages are small
    def digest(self, kind: str, steward: str, chain: int = CHAIN) -> bytes:
        """EIP-712 digest of the message as `Apply` or `Rollback`."""
        hashes = (
            keccak(words(self.ids)),
            keccak(words(self.values)),
            keccak(word(32) + _calls(self.calls)),
            MODEL_HASH,
            INPUT_ROOT,
            keccak(word(32) + _probes(self.probes)),
        )
        head = (TYPES[kind], self.market, word(self.sequence), self.state_hash)
        fields = b"".join((*head, *hashes, word(self.max_liquidatable), word(self.deadline)))
        return keccak(b"\x19\x01" + _domain(steward, chain) + keccak(fields))


@dataclass(frozen=True, slots=True)
class Seal:
    """A signature: whose, over which digest, and whether it was spoilt since."""

    key: int
    digest: bytes
    spoilt: str = ""
    """`high s` or `zero`, or nothing."""

    def words(self) -> bytes:
        """The contract's v, r and s."""
        if self.spoilt == "zero":
            return words((27, 0, 0))
        v, r, s = _signature(self.key, self.digest)
        return words((55 - v, r, CURVE_ORDER - s) if self.spoilt else (v, r, s))


@dataclass(frozen=True, slots=True)
class Attempt:
    """A message on its way to one of a steward's functions."""

    function: str
    steward: int
    message: Message
    seals: tuple[Seal, ...]

    def calldata(self) -> bytes:
        """Selector and arguments."""
        message = self.message.encoded()
        seals = word(len(self.seals)) + b"".join(seal.words() for seal in self.seals)
        return FUNCTIONS[self.function] + word(64) + word(64 + len(message)) + message + seals


@lru_cache(maxsize=64)
def _domain(steward: str, chain: int) -> bytes:
    texts = b"".join(keccak(text=text) for text in (DOMAIN, "Keeper risk steward", "1"))
    return keccak(texts + word(chain) + word(int(steward, 16)))


@lru_cache(maxsize=256)
def _signature(key: int, digest: bytes) -> tuple[int, int, int]:
    signed = KEYS[key].sign_recoverable(digest, hasher=None)
    return signed[64] + 27, int.from_bytes(signed[:32]), int.from_bytes(signed[32:64])


def _numbers(numbers: tuple[int, ...]) -> bytes:
    return word(len(numbers)) + words(numbers)


def _calls(calls: tuple[Call, ...]) -> bytes:
    return _list([word(int(target, 16)) + word(64) + _bytes(data) for target, data in calls])


def _probes(probes: tuple[Probe, ...]) -> bytes:
    return _list([word(64) + word(threshold) + _bytes(word(account)) for account, threshold in probes])


def _bytes(data: bytes) -> bytes:
    return word(len(data)) + data.ljust(-(-len(data) // 32) * 32, b"\0")


def _list(items: list[bytes]) -> bytes:
    offsets = (32 * len(items) + sum(map(len, items[:index])) for index in range(len(items)))
    return word(len(items)) + b"".join(map(word, offsets)) + b"".join(items)
