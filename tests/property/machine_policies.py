"""Policies of the machine's markets as the machine's model holds them, and as the registry stores them."""

from __future__ import annotations

from dataclasses import dataclass

from eth_abi import encode
from eth_utils import keccak
from machine_messages import word
from steward_evm import HEADER, LIMITS, NOBODY, Limits

from models.market import Invariant

NUMBERS = 6
"""Numbers of a protocol; a policy tunes the first few or all."""

INITIAL = (500, 520, 400, 600, 1_000, 1_050)
HOUR, DAY = 3_600, 86_400
NO_HEALTH, HEALTH_TRUE, HEALTH_FALSE, HEALTH_BELOW, HEALTH_ABOVE = range(5)


def selector(signature: str) -> bytes:
    """First four bytes of a function's hash."""
    return keccak(text=signature)[:4]


SET_ALL, SET_ONE = selector("set_all(uint256[6])"), selector("set_one(uint256,uint256)")
GET_ALL, GET_ONE = selector("all()"), selector("one(uint256)")
HEALTH = selector("health(uint256)")


@dataclass(frozen=True, slots=True)
class Policy:
    """What governance puts into force for a market."""

    protocol: int
    limits: tuple[Limits, ...]
    invariants: tuple[Invariant, ...] = ()
    order: tuple[int, ...] = tuple(range(NUMBERS))
    """Which of the protocol's numbers each parameter is."""

    one_by_one: bool = False
    """Whether every parameter has a getter of its own, or all share one."""

    prefixes: tuple[bytes, ...] = (SET_ALL, SET_ONE)
    health: int = NO_HEALTH
    probation: int = 2 * HOUR
    through_safe: bool = False
    """Whether a Safe makes the calls, where there is one."""

    def blob(self, protocol: str, executor: str) -> bytes:
        """The records in their order, each padded to its size."""
        number = len(self.limits)
        getters = [GET_ONE + word(self.order[index]) for index in range(number)] if self.one_by_one else [GET_ALL]
        places = [index << 8 if self.one_by_one else self.order[index] for index in range(number)]
        layout = sum(place << (16 * index) for index, place in enumerate(places))
        counts = (number, len(getters), len(self.prefixes), len(self.invariants))
        health = (protocol, self.health, HEALTH) if self.health else (NOBODY, 0, bytes(4))
        return b"".join(
            [
                encode([HEADER], [(executor, self.probation, layout, *counts, *health)]),
                *(encode([LIMITS], [row.words()]) for row in self.limits),
                *(encode(["(address,bytes)"], [(protocol, getter)]).ljust(256, b"\0") for getter in getters),
                *(encode(["(address,bytes)"], [(protocol, prefix)]).ljust(224, b"\0") for prefix in self.prefixes),
                *(encode(["uint256"] * 4, [rule.a, rule.factor_a, rule.b, rule.factor_b]) for rule in self.invariants),
            ]
        )


ABSOLUTE = Policy(
    protocol=0,
    limits=(
        Limits(100, 900, 40, 25, cooldown=600, coupled=0b0011),
        Limits(100, 900, 40, 25, cooldown=600, coupled=0b0011, drift_budget=70, drift_window=2 * HOUR),
        Limits(200, 700, 30, 60, drift_budget=61, drift_window=HOUR, tightening_up=False),
        Limits(300, 800, 50, 50, drift_budget=97, drift_window=1_000),
    ),
    invariants=(Invariant(2, 4, 3, 3), Invariant(0, 1, 1, 1)),
)
"""Absolute steps; a coupled pair; two numbers that stay in their order."""

RELATIVE = Policy(
    protocol=1,
    limits=(
        Limits(200, 2_000, 1_000, 500, relative=True),
        Limits(100, 900, 400, 1_200, relative=True, notice=900, drift_budget=133, drift_window=2_000),
        Limits(100, 900, 30, 30, notice=300, tightening_up=False, cooldown=300),
        Limits(300, 900, 333, 333, relative=True, reversible=False, drift_budget=149, drift_window=HOUR),
        Limits(500, 2_000, 100, 100, coupled=0b100000, drift_budget=250, drift_window=DAY),
        Limits(500, 2_000, 777, 777, relative=True, cooldown=60),
    ),
    one_by_one=True,
    prefixes=(SET_ALL, *(SET_ONE + word(index) for index in range(4))),
    health=HEALTH_ABOVE,
    probation=DAY,
)
"""Steps by share; notice in either direction; parameters that fill more than a word of memory; pinned arguments."""

THROUGH_SAFE = Policy(
    protocol=2,
    limits=(
        Limits(100, 900, 60, 60, reversible=False, drift_budget=111, drift_window=HOUR),
        Limits(100, 900, 60, 60, notice=1_200, cooldown=300),
        Limits(100, 900, 50, 50, drift_budget=41, drift_window=600),
        Limits(100, 900, 40, 40, coupled=0b10000),
        Limits(100, 1_500, 40, 40, coupled=0b01000, notice=60),
    ),
    invariants=(Invariant(2, 5, 3, 4), Invariant(1, 1, 4, 1)),
    health=HEALTH_BELOW,
    probation=HOUR,
    through_safe=True,
)
"""Calls through a Safe; a number that is never set back; weighed orders."""

SECOND_OPINION = Policy(
    protocol=0,
    limits=(
        Limits(50, 1_000, 45, 45, drift_budget=53, drift_window=600),
        Limits(50, 1_000, 45, 45, coupled=0b0100),
        Limits(50, 1_000, 45, 45, cooldown=120),
        Limits(50, 1_000, 1_000, 1_000, relative=True, drift_budget=300, drift_window=DAY),
    ),
    health=HEALTH_TRUE,
    probation=600,
)
"""What another steward does to the first protocol."""

LATECOMER = Policy(
    protocol=1,
    limits=(Limits(100, 1_100, 80, 80), Limits(100, 1_100, 80, 80, drift_budget=200, drift_window=HOUR)),
    health=HEALTH_FALSE,
    probation=60,
)
"""A second market of one steward over one protocol, activated late."""
