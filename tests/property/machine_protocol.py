"""What machine_target.vy does, said a second time in Python: the moods of a protocol and what its getters answer."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import TYPE_CHECKING

from machine_policies import (
    HEALTH_ABOVE,
    HEALTH_BELOW,
    HEALTH_TRUE,
    INITIAL,
    NO_HEALTH,
    NUMBERS,
    SET_SIX,
    SET_TEN,
    Policy,
)

if TYPE_CHECKING:
    from machine_messages import Attempt, Probe

Values = tuple[int, ...]
WHOLE_WORDS = 3
"""Words that the getter of all numbers answers when it answers too little, and most of a fourth."""


class Mood(IntEnum):
    """As in the contract."""

    HONEST, CLAMPING, FROZEN, PRETENDING, LYING, MEDDLING, REFUSING, MUTE, SHORT, BREAKING, BROKEN = range(11)


class Refused(Exception):
    """What the model expects to be refused; the message is the contract's own reason."""


def require(condition: bool, reason: str) -> None:
    """Refuse for a reason of the steward's unless the condition holds. Raises Refused."""
    if not condition:
        raise Refused(f"risk_steward: {reason}")


@dataclass(frozen=True, slots=True)
class Protocol:
    """Sixteen numbers and a mood."""

    numbers: Values = INITIAL
    mood: Mood = Mood.HONEST
    pretence: Values = ()
    pretence_at: int = 0
    errand: Attempt | None = field(default=None, repr=False)

    def shown(self, now: int) -> Values:
        """What the getters answer, were they to answer."""
        shown = self.pretence if self.pretence_at == now else self.numbers
        return (shown[0] + 1, *shown[1:]) if self.mood is Mood.LYING else shown

    def read(self, policy: Policy, now: int) -> Values:
        """A policy's parameters. Raises Refused where a getter fails."""
        broken = self.mood is Mood.BROKEN
        for index, place in enumerate(policy.order):
            short = self.mood is Mood.SHORT and (index in policy.alone or place >= WHOLE_WORDS)
            require(not (broken or short), f"parameter {index}: getter failed")
        shown = self.shown(now)
        return tuple(shown[place] for place in policy.order)

    def set(self, index: int, number: int, now: int, first: int) -> Protocol:
        """The protocol after one number was set. Raises Refused as the protocol itself does.

        `first` is the first parameter of those that the steward sets with the same call.
        """
        if self.mood is Mood.REFUSING:
            raise Refused("target: refused")
        require(self.mood is not Mood.MUTE, f"parameter {first}: call failed")
        numbers, after = list(self.numbers), self
        if self.mood is Mood.PRETENDING:
            shown = list(self.pretence if self.pretence_at == now else self.numbers)
            shown[index] = number
            return replace(self, pretence=tuple(shown), pretence_at=now)
        if self.mood is Mood.CLAMPING:
            numbers[index] = min(number, numbers[index])
        elif self.mood is not Mood.FROZEN:
            numbers[index] = number
        if self.mood is Mood.MEDDLING:
            numbers[(index + 1) % NUMBERS] += 1
        if self.mood is Mood.BREAKING:
            after = replace(self, mood=Mood.BROKEN)
        return replace(after, numbers=tuple(numbers))

    def liquidatable(self, policy: Policy, probe: Probe) -> bool:
        """What the health view says of an account. Raises Refused where there is none."""
        require(policy.health != NO_HEALTH, "health view failed")
        account, threshold = probe
        health = self.numbers[policy.health_word] - account
        if policy.health == HEALTH_BELOW:
            return health < threshold
        if policy.health == HEALTH_ABOVE:
            return health > threshold
        return (health != 0) == (policy.health == HEALTH_TRUE)


def settings(data: bytes) -> list[tuple[int, int]]:
    """Which numbers a setter's calldata sets, in order."""
    numbers = [int.from_bytes(data[start : start + 32]) for start in range(4, len(data), 32)]
    if data[:4] == SET_SIX:
        return list(enumerate(numbers))
    if data[:4] == SET_TEN:
        return list(enumerate(numbers[1:], numbers[0]))
    return list(zip(numbers[::2], numbers[1::2], strict=True))
