"""What a policy says as the machine's model holds it, and how it calls its protocol."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from eth_utils import keccak
from machine_messages import word, words

if TYPE_CHECKING:
    from models.market import Invariant

NUMBERS = 16
"""Numbers of a protocol; a policy tunes the first few, some, or all."""

INITIAL = (500, 520, 400, 600, 1_000, 10**24, 300, 450, 700, 800, 450, 600, 350, 650, 10**30, 550)
NO_HEALTH, HEALTH_TRUE, HEALTH_FALSE, HEALTH_BELOW, HEALTH_ABOVE = range(5)


@cache
def selector(signature: str) -> bytes:
    """First four bytes of a function's hash."""
    return keccak(text=signature)[:4]


SET_SIX, SET_TEN = selector("set_six(uint256[6])"), selector("set_ten(uint256,uint256[10])")
SET_ONE, SET_TWO = selector("set_one(uint256,uint256)"), selector("set_two(uint256,uint256,uint256,uint256)")
GET_ALL, GET_ONE = selector("all()"), selector("one(uint256)")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a policy says of one parameter."""

    minimum: int
    maximum: int
    max_step_up: int
    max_step_down: int
    relative: bool = False
    cooldown: int = 0
    drift_budget: int = 0
    drift_window: int = 0
    tightening_up: bool = True
    notice: int = 0
    reversible: bool = True
    coupled: int = 0

    def words(self) -> list[int]:
        """The record's three words."""
        times = self.drift_window << 96 | self.cooldown << 64 | self.notice << 32
        flags = self.relative << 18 | self.tightening_up << 17 | self.reversible << 16
        return [
            self.minimum << 128 | self.maximum,
            self.max_step_up << 128 | self.max_step_down,
            self.drift_budget << 128 | times | flags | self.coupled,
        ]


class Argument(NamedTuple):
    """A word of a setter's arguments: the value of a parameter, or the same number always."""

    parameter: int | None
    number: int = 0


@dataclass(frozen=True, slots=True)
class Setter:
    """A function of the protocol's that the steward calls."""

    selector: bytes
    arguments: tuple[Argument, ...]

    @property
    def written(self) -> set[int]:
        """Which parameters it sets."""
        return {argument.parameter for argument in self.arguments if argument.parameter is not None}

    def calldata(self, values: tuple[int, ...]) -> bytes:
        """Selector and arguments."""
        numbers = (number if index is None else values[index] for index, number in self.arguments)
        return self.selector + b"".join(map(word, numbers))


def by_many(order: tuple[int, ...]) -> tuple[Setter, ...]:
    """Set the first six numbers with one call and the other ten with another, what is not tuned to what it was."""
    arguments = [Argument(order.index(place) if place in order else None, INITIAL[place]) for place in range(NUMBERS)]
    six, ten = Setter(SET_SIX, tuple(arguments[:6])), Setter(SET_TEN, (Argument(None, 6), *arguments[6:]))
    return tuple(setter for setter in (six, ten) if setter.written)


def by_twos(order: tuple[int, ...]) -> tuple[Setter, ...]:
    """Set two parameters with each call, an odd last one alone."""
    return tuple(_setter(order, range(first, min(first + 2, len(order)))) for first in range(0, len(order), 2))


def by_one(order: tuple[int, ...]) -> tuple[Setter, ...]:
    """Set each parameter with a call of its own, the last one first."""
    return tuple(_setter(order, (index,)) for index in reversed(range(len(order))))


def _setter(order: tuple[int, ...], indices: tuple[int, ...] | range) -> Setter:
    arguments = [argument for index in indices for argument in (Argument(None, order[index]), Argument(index))]
    return Setter(SET_ONE if len(arguments) == 2 else SET_TWO, tuple(arguments))


@dataclass(frozen=True, slots=True)
class Policy:
    """What governance puts into force for a market."""

    protocol: int
    order: tuple[int, ...]
    """Which of the protocol's numbers each parameter is."""

    limits: tuple[Limits, ...]
    setters: tuple[Setter, ...]
    signers: tuple[int, ...]
    """By their position among everyone who ever signs."""

    threshold: int = 1
    invariants: tuple[Invariant, ...] = ()
    alone: tuple[int, ...] = ()
    """Parameters that have a getter of their own; all others share one."""

    health: int = NO_HEALTH
    health_word: int = 0
    probation: int = 7_200
    through_safe: bool = False
    """Whether a Safe makes the calls, where there is one."""

    def reads(self) -> list[bytes]:
        """Calldata of each getter."""
        shared = [GET_ALL] if len(self.alone) < len(self.order) else []
        return [*shared, *(GET_ONE + words((self.order[index],)) for index in self.alone)]

    def positions(self) -> list[int]:
        """Where each parameter is read: the getter's number in the high byte, a word of its answer in the low one."""
        first = len(self.order) > len(self.alone)
        return [
            (self.alone.index(index) + first) << 8 if index in self.alone else place
            for index, place in enumerate(self.order)
        ]

    @property
    def access(self) -> tuple[list[bytes], list[int]]:
        """How its parameters are read."""
        return self.reads(), self.positions()

    def calldata(self, before: tuple[int, ...], after: tuple[int, ...], order: tuple[int, ...] = ()) -> list[bytes]:
        """Calls that turn some values into others, by setters in their order or in another."""
        changed = {index for index, value in enumerate(before) if value != after[index]}
        return [setter.calldata(after) for setter in self._turns(order) if setter.written & changed]

    def first_ids(self, before: tuple[int, ...], after: tuple[int, ...], order: tuple[int, ...] = ()) -> list[int]:
        """Of each of those calls the lowest parameter that it changes."""
        changed = {index for index, value in enumerate(before) if value != after[index]}
        return [min(setter.written & changed) for setter in self._turns(order) if setter.written & changed]

    def _turns(self, order: tuple[int, ...]) -> list[Setter]:
        return [self.setters[index] for index in order or range(len(self.setters))]
