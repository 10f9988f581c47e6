"""Write a market's policy as the records that the steward reads, and read such records back."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError
from eth_utils.address import to_checksum_address

from config.errors import KnownFault

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chain.protocol import BoundProtocol
    from config.deployment import Limits, Policies

NOBODY = "0x" + "00" * 20
HEADER = "(address,uint256,uint256,uint256,uint256,uint256,uint256,address,uint256,bytes4)"
PARAMETER = "(uint256,uint256,uint256,uint256,bool,uint256,uint256,uint256,bool,uint256,bool,uint256)"
CALL = "(address,bytes)"
INVARIANT = "(uint256,uint256,uint256,uint256)"
HEADER_SIZE, PARAMETER_SIZE, READ_SIZE, CALL_SIZE, INVARIANT_SIZE = 320, 384, 256, 224, 128


class PolicyError(KnownFault):
    """What stands at an address is no policy."""


@dataclass(frozen=True, slots=True)
class ParameterLimits:
    """What holds on one parameter; the fields are those of the record, in its order and units."""

    minimum: int
    maximum: int
    max_step_up: int
    max_step_down: int
    relative: bool
    cooldown: int
    drift_budget: int
    drift_window: int
    tightening_up: bool
    notice: int
    reversible: bool
    coupled: int


@dataclass(frozen=True, slots=True)
class HealthRule:
    """The view that says whether an account is liquidatable, and how its answer is read (mode 0: there is none)."""

    target: str
    selector: bytes
    word: int
    mode: int


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything the steward knows of a market besides its versions.

    `positions` gives each parameter's read and word of the answer; (a, f, b, g) of `invariants` is
    value[a] · f ≤ value[b] · g.
    """

    executor: str
    probation: int
    health: HealthRule
    positions: tuple[tuple[int, int], ...]
    parameters: tuple[ParameterLimits, ...]
    reads: tuple[tuple[str, bytes], ...]
    calls: tuple[tuple[str, bytes], ...]
    invariants: tuple[tuple[int, int, int, int], ...]

    @classmethod
    def of(cls, bound: BoundProtocol, policies: Policies, executor: str | None) -> Policy:
        """Return the policy that a binding and its limits describe."""
        target, selector, word, mode = bound.health_rule()
        names = [parameter.name for parameter in bound.binding.parameters]
        return cls(
            executor=to_checksum_address(executor or NOBODY),
            probation=policies.probation_seconds,
            health=HealthRule(to_checksum_address(target), selector, word, mode),
            positions=bound.positions(),
            parameters=tuple(_limits(bound, index, policies.limits[name]) for index, name in enumerate(names)),
            reads=tuple((to_checksum_address(to), bytes.fromhex(data[2:])) for to, data in bound.reads()),
            calls=tuple((to_checksum_address(to), prefix) for to, prefix in bound.allowed_calls()),
            invariants=bound.invariants(),
        )

    def blob(self) -> bytes:
        """Return the records in their order, each padded to its size."""
        layout = sum(((read << 8) | word) << (16 * index) for index, (read, word) in enumerate(self.positions))
        counts = (len(self.parameters), len(self.reads), len(self.calls), len(self.invariants))
        rule = (self.health.word << 8) | self.health.mode
        header = (self.executor, self.probation, layout, *counts, self.health.target, rule, self.health.selector)
        return b"".join(
            [
                encode([HEADER], [header]),
                *(encode([PARAMETER], [astuple(limits)]) for limits in self.parameters),
                *(encode([CALL], [read]).ljust(READ_SIZE, b"\0") for read in self.reads),
                *(encode([CALL], [call]).ljust(CALL_SIZE, b"\0") for call in self.calls),
                *(encode([INVARIANT], [invariant]) for invariant in self.invariants),
            ]
        )

    @classmethod
    def read(cls, code: bytes) -> Policy:
        """Read a stored policy's code: a STOP byte, then the records. Raises PolicyError when it is none."""
        try:
            return _read(code)
        except DecodingError as error:
            raise PolicyError(f"{len(code)} bytes of code that are no policy: {error}") from None


def _limits(bound: BoundProtocol, index: int, limits: Limits) -> ParameterLimits:
    parameter = bound.binding.parameters[index]
    return ParameterLimits(
        minimum=limits.minimum,
        maximum=limits.maximum,
        max_step_up=limits.max_step_up,
        max_step_down=limits.max_step_down,
        relative=limits.relative,
        cooldown=limits.cooldown_seconds,
        drift_budget=limits.drift_budget,
        drift_window=limits.drift_window_seconds,
        tightening_up=parameter.tightening == "up",
        notice=limits.notice_seconds,
        reversible=parameter.reversible,
        coupled=bound.coupled_mask(index),
    )


def _read(code: bytes) -> Policy:
    executor, probation, layout, parameters, reads, calls, invariants, target, rule, selector = decode(
        [HEADER], code[1:]
    )[0]
    sizes = ((PARAMETER, PARAMETER_SIZE, parameters), (CALL, READ_SIZE, reads), (CALL, CALL_SIZE, calls))
    start, records = 1 + HEADER_SIZE, []
    for kind, size, count in (*sizes, (INVARIANT, INVARIANT_SIZE, invariants)):
        records.append(_records(code, kind, start, size, count))
        start += size * count
    limits, read_records, call_records, invariant_records = records
    slots = [(layout >> (16 * index)) & 0xFFFF for index in range(parameters)]
    return Policy(
        executor=to_checksum_address(executor),
        probation=probation,
        health=HealthRule(to_checksum_address(target), selector, rule >> 8, rule & 0xFF),
        positions=tuple((slot >> 8, slot & 0xFF) for slot in slots),
        parameters=tuple(ParameterLimits(*record) for record in limits),
        reads=tuple((to_checksum_address(to), data) for to, data in read_records),
        calls=tuple((to_checksum_address(to), prefix) for to, prefix in call_records),
        invariants=tuple(invariant_records),
    )


def _records(code: bytes, kind: str, start: int, size: int, count: int) -> Sequence[Any]:
    return [decode([kind], code[start + size * index : start + size * (index + 1)])[0] for index in range(count)]
