"""The markets of the machine: two stewards, four protocols, and the policy that each market starts with."""

from __future__ import annotations

from eth_utils import keccak
from machine_policies import (
    HEALTH_ABOVE,
    HEALTH_BELOW,
    HEALTH_FALSE,
    HEALTH_TRUE,
    Limits,
    Policy,
    by_many,
    by_one,
    by_twos,
)

from models.market import Invariant

HOUR, DAY = 3_600, 86_400
FIRST, MIDDLE, ALL = (0, 1, 2, 3), tuple(range(6, 15)), tuple(range(16))

ABSOLUTE = Policy(
    protocol=0,
    order=FIRST,
    limits=(
        Limits(100, 900, 40, 25, cooldown=600, coupled=0b0011),
        Limits(100, 900, 40, 25, cooldown=600, coupled=0b0011, drift_budget=70, drift_window=2 * HOUR),
        Limits(200, 700, 30, 60, drift_budget=61, drift_window=HOUR, tightening_up=False),
        Limits(300, 800, 50, 50, drift_budget=97, drift_window=1_020),
    ),
    setters=by_many(FIRST),
    signers=(0, 2, 4),
    threshold=2,
    invariants=(Invariant(2, 4, 3, 3), Invariant(0, 1, 1, 1)),
)
"""Absolute steps; a coupled pair; two numbers that stay in their order."""

RELATIVE = Policy(
    protocol=1,
    order=(0, 1, 2, 3, 4, 5),
    limits=(
        Limits(200, 2_000, 1_000, 500, relative=True),
        Limits(100, 900, 400, 1_200, relative=True, notice=900, drift_budget=133, drift_window=1_980),
        Limits(100, 900, 30, 30, notice=300, tightening_up=False, cooldown=300),
        Limits(300, 900, 333, 333, relative=True, reversible=False, drift_budget=149, drift_window=HOUR),
        Limits(500, 2_000, 100, 100, coupled=0b100000, drift_budget=250, drift_window=DAY),
        Limits(10**23, 10**25, 777, 777, relative=True, cooldown=60, drift_budget=10**23 + 7, drift_window=4_980),
    ),
    setters=by_one((0, 1, 2, 3, 4, 5)),
    signers=(0, 2, 4),
    threshold=2,
    alone=(0, 1, 2, 3, 4, 5),
    health=HEALTH_ABOVE,
    probation=DAY,
)
"""Steps by share; notice in either direction; a full word of memory; a getter each; a budget of many shares."""

THROUGH_SAFE = Policy(
    protocol=2,
    order=(0, 1, 2, 3, 4),
    limits=(
        Limits(100, 900, 60, 60, reversible=False, drift_budget=111, drift_window=HOUR),
        Limits(100, 900, 60, 60, notice=1_200, cooldown=300),
        Limits(100, 900, 50, 50, drift_budget=41, drift_window=600),
        Limits(100, 900, 40, 40, coupled=0b10000),
        Limits(100, 1_500, 40, 40, coupled=0b01000, notice=60),
    ),
    setters=by_many((0, 1, 2, 3, 4)),
    signers=(1, 3, 5, 16),
    threshold=3,
    invariants=(Invariant(2, 5, 3, 4), Invariant(1, 1, 4, 1)),
    health=HEALTH_BELOW,
    health_word=1,
    probation=HOUR,
    through_safe=True,
)
"""Calls through a Safe; a number that is never set back; weighed orders."""

SECOND_OPINION = Policy(
    protocol=0,
    order=FIRST,
    limits=(
        Limits(50, 1_000, 45, 45, drift_budget=53, drift_window=600),
        Limits(50, 1_000, 45, 45, coupled=0b0100),
        Limits(50, 1_000, 45, 45, cooldown=120),
        Limits(50, 1_000, 1_000, 1_000, relative=True, drift_budget=300, drift_window=DAY),
    ),
    setters=by_twos(FIRST),
    signers=(2,),
    alone=(2,),
    health=HEALTH_TRUE,
    probation=600,
)
"""What another steward does to the first protocol."""

SIXTEEN = Policy(
    protocol=3,
    order=ALL,
    limits=(
        *(Limits(50, 10**6, 200, 200, relative=True, drift_budget=90 + index, drift_window=HOUR) for index in range(5)),
        Limits(10**23, 10**25, 500, 500, relative=True, cooldown=90, drift_budget=10**24, drift_window=DAY),
        Limits(100, 900, 30, 30, cooldown=61, coupled=0b1 << 15),
        Limits(100, 900, 30, 30, drift_budget=45, drift_window=60),
        Limits(100, 2_000, 55, 55, notice=600, reversible=False),
        *(Limits(100, 2_000, 25, 35, drift_budget=80, drift_window=120, tightening_up=False) for _ in range(2)),
        Limits(100, 2_000, 40, 40, notice=1),
        *(Limits(100, 2_000, 33, 33, cooldown=1) for _ in range(2)),
        Limits(0, 2**128 - 1, 10_000, 10_000, relative=True, drift_budget=2**128 - 1, drift_window=366 * DAY),
        Limits(100, 900, 30, 30, cooldown=60, coupled=0b1 << 6, drift_budget=100, drift_window=660),
    ),
    setters=by_many(ALL),
    signers=tuple(range(16)),
    threshold=2,
    invariants=tuple(Invariant(index, 1, index + 1, 2) for index in range(15) if index not in {4, 5, 13, 14}),
    health=HEALTH_BELOW,
    probation=1_800,
)
"""As many parameters, and signers, as there can be: three words of memory, two calls."""

WIDE = Policy(
    protocol=2,
    order=MIDDLE,
    limits=(
        *(Limits(100, 2_000, 35, 35, drift_budget=75, drift_window=900) for _ in range(4)),
        Limits(100, 2_000, 30, 60, notice=120, cooldown=300, coupled=0b1 << 7),
        Limits(100, 2_000, 40, 40, cooldown=59, drift_budget=101, drift_window=HOUR),
        Limits(100, 2_000, 1_500, 1_500, relative=True, drift_budget=299, drift_window=DAY),
        Limits(100, 2_000, 45, 45, tightening_up=False, notice=30),
        Limits(10**29, 10**31, 900, 900, relative=True, drift_budget=10**29, drift_window=1_800),
    ),
    setters=by_many(MIDDLE),
    signers=(6, 7),
    threshold=2,
    alone=(3, 7),
    invariants=(Invariant(7, 1, 3, 2),),
    probation=300,
)
"""Numbers from the middle, some of them with a getter of their own: two words of memory, and no order to read in."""

LATECOMER = Policy(
    protocol=1,
    order=(0, 2),
    limits=(Limits(100, 1_100, 80, 80), Limits(100, 1_100, 80, 80, drift_budget=200, drift_window=HOUR)),
    setters=by_twos((0, 2)),
    signers=(0, 2, 4),
    threshold=1,
    health=HEALTH_FALSE,
    probation=60,
)
"""A second market of one steward over one protocol, activated late; all but the last number in the order to read in."""

MARKETS = tuple(keccak(text=f"market {index}") for index in range(5))
LINES = (
    (0, MARKETS[0], ABSOLUTE),
    (0, MARKETS[1], RELATIVE),
    (0, MARKETS[2], THROUGH_SAFE),
    (1, MARKETS[0], SECOND_OPINION),
    (0, MARKETS[3], SIXTEEN),
    (1, MARKETS[2], WIDE),
    (0, MARKETS[4], LATECOMER),
)
"""Steward, market and first policy. Two markets are both stewards'; the last is inactive."""
