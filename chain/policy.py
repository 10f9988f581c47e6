"""Write a market's policy as the records that the steward reads, and read such records back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError
from eth_utils.address import to_checksum_address

from config.errors import KnownFault

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chain.protocol import BoundProtocol
    from config.deployment import Limits, Policies

NOBODY = "0x" + "00" * 20
FRAME = "(address,uint256,uint256,uint256,uint256,uint256,uint256,address,uint256,bytes4)"
MAX_PARAMETERS, MAX_READS, MAX_SETTERS, MAX_INVARIANTS = 16, 16, 8, 16
INVARIANT = "(uint256,uint256,uint256,uint256)"
SETTER = "(address,bytes4,uint256,uint256,uint256,uint256[12])"
ARGUMENT_WORDS, CONSTANT = 12, 255
FRAME_SIZE, QUORUM_SIZE, RULE_SIZE, READ_SIZE, SETTER_SIZE, INVARIANT_SIZE = 320, 544, 96, 192, 544, 128
WORD = 32
MASK_16, MASK_32, MASK_128 = 2**16 - 1, 2**32 - 1, 2**128 - 1


class PolicyError(KnownFault):
    """What stands at an address is no policy."""


@dataclass(frozen=True, slots=True)
class ParameterLimits:
    """What holds on one parameter, in on-chain units and seconds; the contract packs it into three words."""

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

    def words(self) -> tuple[int, int, int]:
        """Return it packed."""
        flags = (self.relative << 2) | (self.tightening_up << 1) | self.reversible
        times = (self.drift_window << 96) | (self.cooldown << 64) | (self.notice << 32)
        return (
            (self.minimum << 128) | self.maximum,
            (self.max_step_up << 128) | self.max_step_down,
            (self.drift_budget << 128) | times | (flags << 16) | self.coupled,
        )

    @classmethod
    def of_words(cls, corridor: int, steps: int, rest: int) -> ParameterLimits:
        """Return it unpacked."""
        return cls(
            minimum=corridor >> 128,
            maximum=corridor & MASK_128,
            max_step_up=steps >> 128,
            max_step_down=steps & MASK_128,
            relative=bool(rest >> 18 & 1),
            cooldown=(rest >> 64) & MASK_32,
            drift_budget=rest >> 128,
            drift_window=(rest >> 96) & MASK_32,
            tightening_up=bool(rest >> 17 & 1),
            notice=(rest >> 32) & MASK_32,
            reversible=bool(rest >> 16 & 1),
            coupled=rest & MASK_16,
        )


@dataclass(frozen=True, slots=True)
class HealthRule:
    """The view that says whether an account is liquidatable, and how its answer is read (mode 0: there is none)."""

    target: str
    selector: bytes
    word: int
    mode: int


@dataclass(frozen=True, slots=True)
class SetterRule:
    """A setter as the steward calls it: each argument word is the value of a parameter (its id), or a constant.

    `words` has (id, 0) or (None, constant) for each 32-byte word behind the selector.
    """

    target: str
    selector: bytes
    words: tuple[tuple[int | None, int], ...]

    def record(self) -> bytes:
        """Return the record that the steward reads."""
        sources = [CONSTANT if index is None else index for index, _ in self.words]
        writes = sum(1 << index for index in {index for index, _ in self.words if index is not None})
        packed = sum(source << (8 * position) for position, source in enumerate(sources))
        constants = [number for _, number in self.words] + [0] * (ARGUMENT_WORDS - len(self.words))
        return encode([SETTER], [(self.target, self.selector, len(self.words), writes, packed, constants)])

    @classmethod
    def read(cls, record: bytes) -> SetterRule:
        """Read such a record."""
        target, selector, number, _, packed, constants = decode([SETTER], record)[0]
        if number > ARGUMENT_WORDS:
            raise DecodingError(f"a setter of {number} words")
        sources = [(packed >> (8 * position)) & 0xFF for position in range(number)]
        pairs = zip(sources, constants, strict=False)
        words = tuple((None if source == CONSTANT else source, number) for source, number in pairs)
        return cls(to_checksum_address(target), selector, words)


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything the steward knows of a market besides its versions.

    A change needs `threshold` signatures of `signers`, which are strictly ascending. `positions` gives each parameter's
    read and word of the answer; (a, f, b, g) of `invariants` is value[a] · f ≤ value[b] · g.
    """

    executor: str
    probation: int
    threshold: int
    signers: tuple[str, ...]
    health: HealthRule
    positions: tuple[tuple[int, int], ...]
    parameters: tuple[ParameterLimits, ...]
    reads: tuple[tuple[str, bytes], ...]
    setters: tuple[SetterRule, ...]
    invariants: tuple[tuple[int, int, int, int], ...]

    @classmethod
    def of(
        cls, bound: BoundProtocol, policies: Policies, threshold: int, signers: Sequence[str], executor: str | None
    ) -> Policy:
        """Return the policy that a binding and its limits describe."""
        target, selector, word, mode = bound.health_rule()
        names = [parameter.name for parameter in bound.binding.parameters]
        return cls(
            executor=to_checksum_address(executor or NOBODY),
            probation=policies.probation_seconds,
            threshold=threshold,
            signers=tuple(sorted(map(to_checksum_address, signers), key=lambda one: int(one, 16))),
            health=HealthRule(to_checksum_address(target), selector, word, mode),
            positions=bound.positions(),
            parameters=tuple(_limits(bound, index, policies.limits[name]) for index, name in enumerate(names)),
            reads=tuple((to_checksum_address(to), bytes.fromhex(data[2:])) for to, data in bound.reads()),
            setters=tuple(
                SetterRule(to_checksum_address(to), selector, words) for to, selector, words in bound.setter_words()
            ),
            invariants=bound.invariants(),
        )

    def unsigned(self) -> Policy:
        """Return the same policy, but that a change needs no signature: for simulations alone."""
        return replace(self, threshold=0, signers=())

    def unannounced(self) -> Policy:
        """Return the same policy, but that nothing has to be announced: for simulations alone."""
        return replace(self, parameters=tuple(replace(limits, notice=0) for limits in self.parameters))

    def blob(self) -> bytes:
        """Return the records in their order, each padded to its size."""
        layout = sum(((read << 8) | word) << (16 * index) for index, (read, word) in enumerate(self.positions))
        counts = (len(self.parameters), len(self.reads), len(self.setters), len(self.invariants))
        rule = (self.health.word << 8) | self.health.mode
        frame = (self.executor, self.probation, layout, *counts, self.health.target, rule, self.health.selector)
        quorum = (self.threshold, *(int(signer, 16) for signer in self.signers))
        rules = [word for limits in self.parameters for word in limits.words()]
        return b"".join(
            [
                encode([FRAME], [frame]),
                _words(quorum).ljust(QUORUM_SIZE, b"\0"),
                _words(rules).ljust(MAX_PARAMETERS * RULE_SIZE, b"\0"),
                *(_record(target, data, READ_SIZE) for target, data in self.reads),
                *(setter.record() for setter in self.setters),
                *(encode([INVARIANT], [invariant]) for invariant in self.invariants),
            ]
        )

    @classmethod
    def read(cls, code: bytes) -> Policy:
        """Read a stored policy's code: a STOP byte, then the records. Raises PolicyError when it is none."""
        try:
            return _read(code)
        except (DecodingError, OverflowError) as error:
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
    executor, probation, layout, parameters, reads, setters, invariants, target, rule, selector = decode(
        [FRAME], code[1:]
    )[0]
    _check_size(code, parameters, reads, setters, invariants)
    start = 1 + FRAME_SIZE
    threshold, *signers = _numbers(code[start : start + QUORUM_SIZE])
    start += QUORUM_SIZE
    rules = _numbers(code[start : start + RULE_SIZE * parameters])
    start += RULE_SIZE * MAX_PARAMETERS
    read_records, start = _records(code, start, READ_SIZE, reads)
    setter_records, start = _records(code, start, SETTER_SIZE, setters)
    invariant_records, start = _records(code, start, INVARIANT_SIZE, invariants)
    slots = [(layout >> (16 * index)) & 0xFFFF for index in range(parameters)]
    return Policy(
        executor=to_checksum_address(executor),
        probation=probation,
        threshold=threshold,
        signers=tuple(to_checksum_address(signer.to_bytes(20)) for signer in signers if signer),
        health=HealthRule(to_checksum_address(target), selector, rule >> 8, rule & 0xFF),
        positions=tuple((slot >> 8, slot & 0xFF) for slot in slots),
        parameters=tuple(ParameterLimits.of_words(*rules[3 * index : 3 * index + 3]) for index in range(parameters)),
        reads=tuple(map(_target_and_data, read_records)),
        setters=tuple(map(SetterRule.read, setter_records)),
        invariants=tuple(decode([INVARIANT], record)[0] for record in invariant_records),
    )


def _check_size(code: bytes, parameters: int, reads: int, setters: int, invariants: int) -> None:
    """Raise DecodingError unless the numbers of records are a policy's, and the code has just their size."""
    most = (MAX_PARAMETERS, MAX_READS, MAX_SETTERS, MAX_INVARIANTS)
    counts = (parameters, reads, setters, invariants)
    if any(count > limit for count, limit in zip(counts, most, strict=True)):
        raise DecodingError(f"says {parameters} parameters, {reads} reads, {setters} setters, {invariants} invariants")
    fixed = 1 + FRAME_SIZE + QUORUM_SIZE + RULE_SIZE * MAX_PARAMETERS
    size = fixed + READ_SIZE * reads + SETTER_SIZE * setters + INVARIANT_SIZE * invariants
    if len(code) != size:
        raise DecodingError(f"its records take {size} bytes")


def _record(target: str, data: bytes, size: int) -> bytes:
    """Return a target and some bytes as the steward reads them: address, length, bytes, zeros up to the size."""
    return (_words((int(target, 16), len(data))) + data).ljust(size, b"\0")


def _records(code: bytes, start: int, size: int, count: int) -> tuple[list[bytes], int]:
    """Return records of one size and where they end."""
    end = start + size * count
    return [code[at : at + size] for at in range(start, end, size)], end


def _target_and_data(record: bytes) -> tuple[str, bytes]:
    target, length = _numbers(record[: 2 * WORD])
    return to_checksum_address(target.to_bytes(20)), record[2 * WORD : 2 * WORD + length]


def _words(numbers: Sequence[int]) -> bytes:
    return b"".join(number.to_bytes(WORD) for number in numbers)


def _numbers(words: bytes) -> list[int]:
    if len(words) % WORD:
        raise DecodingError(f"{len(words)} bytes are no whole number of words")
    return [int.from_bytes(words[start : start + WORD]) for start in range(0, len(words), WORD)]
