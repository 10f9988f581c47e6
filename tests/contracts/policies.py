"""A policy's records, written out a second time: the tests do not lean on the product's own encoder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from eth_abi import encode
from eth_utils import keccak

if TYPE_CHECKING:
    from collections.abc import Sequence

NOBODY = "0x" + "00" * 20
PROBATION = 7_200
HEALTH_NONE, HEALTH_TRUE, HEALTH_FALSE, HEALTH_BELOW, HEALTH_ABOVE = range(5)
FRAME = "(address,uint256,uint256,uint256,uint256,uint256,uint256,address,uint256,bytes4,uint256[17],uint256[48])"
SETTER = "(address,bytes4,uint256,uint256,uint256,uint256[12])"
FRAME_SIZE, READ_SIZE, SETTER_SIZE, INVARIANT_SIZE = 2_400, 192, 544, 128
QUORUM_AT, RULES_AT = 320, 864
FIXED = 255


def selector(signature: str) -> bytes:
    """First four bytes of a function's hash."""
    return keccak(text=signature)[:4]


def packed(fields: Sequence[tuple[int, int]]) -> int:
    """One word of fields, each a number and its bits, highest first."""
    assert sum(bits for _, bits in fields) == 256
    return int("".join(f"{number:0{bits}b}" for number, bits in fields), 2)


def padded(numbers: Sequence[int], size: int) -> list[int]:
    """The numbers with zeros after them."""
    return [*numbers, *[0] * (size - len(numbers))]


@dataclass(frozen=True, slots=True)
class Parameter:
    """Limits on one parameter, by the contract's names, order and units."""

    minimum: int = 0
    maximum: int = 1_000
    max_step_up: int = 100
    max_step_down: int = 100
    drift_budget: int = 0
    drift_window: int = 0
    cooldown: int = 0
    notice: int = 0
    relative: bool = False
    tightening_up: bool = True
    reversible: bool = True
    coupled: int = 0

    def fields(self) -> tuple[int, ...]:
        """All fields, as the registry's view answers them."""
        return tuple(getattr(self, name) for name in self.__slots__)

    def words(self) -> tuple[int, ...]:
        """Three words, as they are stored."""
        sizes = ((self.drift_budget, 128), (self.drift_window, 32), (self.cooldown, 32), (self.notice, 32))
        flags = ((0, 13), (self.relative, 1), (self.tightening_up, 1), (self.reversible, 1))
        return (
            packed(((self.minimum, 128), (self.maximum, 128))),
            packed(((self.max_step_up, 128), (self.max_step_down, 128))),
            packed((*sizes, *flags, (self.coupled, 16))),
        )


@dataclass(frozen=True, slots=True)
class Health:
    """How the contract learns whether an account is liquidatable."""

    target: str = NOBODY
    signature: str = ""
    mode: int = HEALTH_NONE
    word: int = 0


@dataclass(frozen=True, slots=True)
class Value:
    """An argument that is the value of a parameter."""

    id_: int


@dataclass(frozen=True, slots=True)
class Setter:
    """A function that takes values of parameters and constants, one word each."""

    target: str
    signature: str
    arguments: tuple[Value | int, ...]

    @property
    def written(self) -> set[int]:
        """Ids of the parameters that it takes."""
        return {item.id_ for item in self.arguments if isinstance(item, Value)}

    def call(self, values: Sequence[int]) -> tuple[str, bytes]:
        """The call that sets these values."""
        words = [values[item.id_] if isinstance(item, Value) else item for item in self.arguments]
        return self.target, selector(self.signature) + encode(["uint256"] * len(words), words)

    def fields(self) -> tuple[object, ...]:
        """The record's fields in their order."""
        sources = [item.id_ if isinstance(item, Value) else FIXED for item in self.arguments]
        constants = [0 if isinstance(item, Value) else item for item in self.arguments]
        writes = sum(1 << id_ for id_ in self.written)
        lowest_first = int.from_bytes(bytes(sources), "little")
        frame = (self.target, selector(self.signature), len(self.arguments), writes, lowest_first)
        return (*frame, padded(constants, 12))


@dataclass(frozen=True, slots=True)
class Policy:
    """A whole policy.

    `positions` says of each parameter in which read and word it stands, `quorum` how many of whom must sign.
    """

    parameters: tuple[Parameter, ...]
    positions: tuple[tuple[int, int], ...]
    reads: tuple[tuple[str, bytes], ...]
    setters: tuple[Setter, ...]
    quorum: tuple[int, tuple[str, ...]]
    invariants: tuple[tuple[int, int, int, int], ...] = ()
    executor: str = NOBODY
    probation: int = PROBATION
    health: Health = Health()

    def limit(self, limits: dict[int, dict[str, int]]) -> Policy:
        """The policy with some limits of some parameters changed."""
        parameters = [replace(item, **limits.get(id_, {})) for id_, item in enumerate(self.parameters)]
        return replace(self, parameters=tuple(parameters))

    def calls(self, before: Sequence[int], after: Sequence[int]) -> tuple[tuple[str, bytes], ...]:
        """What a steward has to call to bring values about."""
        changed = {id_ for id_, (old, new) in enumerate(zip(before, after, strict=True)) if old != new}
        return tuple(setter.call(after) for setter in self.setters if changed & setter.written)

    def frame(self) -> tuple[object, ...]:
        """The fields of the policy itself, in their order."""
        layout = sum(((read << 8) | word) << (16 * id_) for id_, (read, word) in enumerate(self.positions))
        counts = (len(self.parameters), len(self.reads), len(self.setters), len(self.invariants))
        health = (self.health.target, (self.health.word << 8) | self.health.mode, selector(self.health.signature))
        threshold, signers = self.quorum
        quorum = padded((threshold, *(int(signer, 16) for signer in signers)), 17)
        rules = padded([word for parameter in self.parameters for word in parameter.words()], 48)
        return (self.executor, self.probation, layout, *counts, *health, quorum, rules)

    def blob(self) -> bytes:
        """The records in their order, each padded to its size."""
        reads = (encode(["address", "uint256"], [target, len(data)]) + data for target, data in self.reads)
        records = [
            encode([FRAME], [self.frame()]),
            *(read.ljust(READ_SIZE, b"\0") for read in reads),
            *(encode([SETTER], [setter.fields()]) for setter in self.setters),
            *(encode(["uint256"] * 4, item) for item in self.invariants),
        ]
        return b"".join(records)

    def setter_at(self, index: int) -> int:
        """Where in the blob a setter's record begins."""
        return FRAME_SIZE + READ_SIZE * len(self.reads) + SETTER_SIZE * index


def overwrite(blob: bytes, at: int, word: int) -> bytes:
    """The blob with another word there."""
    return blob[:at] + word.to_bytes(32, "big") + blob[at + 32 :]
