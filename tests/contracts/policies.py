"""A policy's records, written out a second time: the tests do not lean on the product's own encoder."""

from __future__ import annotations

from dataclasses import dataclass, replace

from eth_abi import encode
from eth_utils import keccak

NOBODY = "0x" + "00" * 20
PROBATION = 7_200
HEALTH_NONE, HEALTH_TRUE, HEALTH_FALSE, HEALTH_BELOW, HEALTH_ABOVE = range(5)
HEADER = "(address,uint256,uint256,uint256,uint256,uint256,uint256,address,uint256,bytes4)"
PARAMETER = "(uint256,uint256,uint256,uint256,bool,uint256,uint256,uint256,bool,uint256,bool,uint256)"


def selector(signature: str) -> bytes:
    """First four bytes of a function's hash."""
    return keccak(text=signature)[:4]


@dataclass(frozen=True, slots=True)
class Parameter:
    """Limits on one parameter, by the contract's names and units."""

    minimum: int = 0
    maximum: int = 1_000
    max_step_up: int = 100
    max_step_down: int = 100
    relative: bool = False
    cooldown: int = 0
    drift_budget: int = 0
    drift_window: int = 0
    tightening_up: bool = True
    notice: int = 0
    reversible: bool = True
    coupled: int = 0

    def words(self) -> tuple[int, ...]:
        """The record's fields in their order."""
        return tuple(getattr(self, name) for name in self.__slots__)


@dataclass(frozen=True, slots=True)
class Health:
    """How the contract learns whether an account is liquidatable."""

    target: str = NOBODY
    signature: str = ""
    mode: int = HEALTH_NONE
    word: int = 0


@dataclass(frozen=True, slots=True)
class Policy:
    """A whole policy. `positions` says of each parameter in which read and word it stands."""

    parameters: tuple[Parameter, ...]
    positions: tuple[tuple[int, int], ...]
    reads: tuple[tuple[str, bytes], ...]
    calls: tuple[tuple[str, bytes], ...]
    invariants: tuple[tuple[int, int, int, int], ...] = ()
    executor: str = NOBODY
    probation: int = PROBATION
    health: Health = Health()

    def limit(self, limits: dict[int, dict[str, int]]) -> Policy:
        """The policy with some limits of some parameters changed."""
        parameters = [replace(item, **limits.get(id_, {})) for id_, item in enumerate(self.parameters)]
        return replace(self, parameters=tuple(parameters))

    def header(self) -> tuple[object, ...]:
        """The header's fields in their order."""
        layout = sum(((read << 8) | word) << (16 * id_) for id_, (read, word) in enumerate(self.positions))
        counts = (len(self.parameters), len(self.reads), len(self.calls), len(self.invariants))
        rule = (self.health.word << 8) | self.health.mode
        health = (self.health.target, rule, selector(self.health.signature))
        return (self.executor, self.probation, layout, *counts, *health)

    def blob(self) -> bytes:
        """The records in their order, each padded to its size."""
        records = [
            encode([HEADER], [self.header()]),
            *(encode([PARAMETER], [item.words()]) for item in self.parameters),
            *(encode(["(address,bytes)"], [item]).ljust(256, b"\0") for item in self.reads),
            *(encode(["(address,bytes)"], [item]).ljust(224, b"\0") for item in self.calls),
            *(encode(["uint256"] * 4, item) for item in self.invariants),
        ]
        return b"".join(records)
