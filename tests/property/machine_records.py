"""A policy as the records that the registry stores, written by hand, so that each of them can be wrong by itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from eth_utils import keccak
from machine_messages import SIGNERS, words
from machine_policies import Policy, selector

if TYPE_CHECKING:
    from machine_policies import Setter

HEALTH = selector("health(uint256)")
CONSTANT = 255
QUORUM_WORDS, RULE_WORDS, SETTER_WORDS, READ_SIZE = 17, 48, 12, 192


@dataclass(slots=True)
class Records:
    """Numbers in the order in which they are stored; lists are filled up with zeros to their size."""

    executor: int
    probation: int
    layout: int
    health_target: int
    health_rule: int
    health_selector: bytes
    quorum: list[int]
    rules: list[int]
    reads: list[tuple[int, bytes]]
    setters: list[list[int]]
    invariants: list[list[int]]
    counts: list[int] = field(default_factory=list)
    """Of parameters, reads, setters and invariants."""

    def blob(self) -> bytes:
        """The records one after the other."""
        frame = (self.executor, self.probation, self.layout, *self.counts, self.health_target, self.health_rule)
        fixed = words(frame) + self.health_selector.ljust(32, b"\0")
        quorum = words(tuple(self.quorum)).ljust(32 * QUORUM_WORDS, b"\0")
        rules = words(tuple(self.rules)).ljust(32 * RULE_WORDS, b"\0")
        reads = [(words((target, len(data))) + data).ljust(READ_SIZE, b"\0") for target, data in self.reads]
        rest = [words(tuple(row)) for row in (*self.setters, *self.invariants)]
        return b"".join((fixed, quorum, rules, *reads, *rest))


def records(policy: Policy, protocol: str, executor: str) -> Records:
    """The records of a policy for the protocol at an address."""
    target = int(protocol, 16)
    reads = [(target, data) for data in policy.reads()]
    setters = [_setter(target, setter) for setter in policy.setters]
    invariants = [[rule.a, rule.factor_a, rule.b, rule.factor_b] for rule in policy.invariants]
    return Records(
        executor=int(executor, 16),
        probation=policy.probation,
        layout=sum(place << (16 * index) for index, place in enumerate(policy.positions())),
        health_target=target if policy.health else 0,
        health_rule=policy.health_word << 8 | policy.health,
        health_selector=HEALTH if policy.health else bytes(4),
        quorum=[policy.threshold, *(int(SIGNERS[signer], 16) for signer in policy.signers)],
        rules=[number for limits in policy.limits for number in limits.words()],
        reads=reads,
        setters=setters,
        invariants=invariants,
        counts=[len(policy.limits), len(reads), len(setters), len(invariants)],
    )


def policy_address(registry: str, blob: bytes) -> str:
    """Where the registry stores such records: the address of a CREATE2 without a salt."""
    creation = keccak(bytes.fromhex("600b5981380380925939f300") + blob)
    return "0x" + keccak(b"\xff" + bytes.fromhex(registry[2:]) + bytes(32) + creation)[12:].hex()


def _setter(target: int, setter: Setter) -> list[int]:
    """Target, selector, words, mask of parameters written, a byte for the source of each word, constants."""
    sources = [CONSTANT if argument.parameter is None else argument.parameter for argument in setter.arguments]
    constants = [argument.number for argument in setter.arguments] + [0] * (SETTER_WORDS - len(sources))
    return [
        target,
        int.from_bytes(setter.selector.ljust(32, b"\0")),
        len(sources),
        sum(1 << index for index in setter.written),
        sum(source << (8 * position) for position, source in enumerate(sources)),
        *constants,
    ]
