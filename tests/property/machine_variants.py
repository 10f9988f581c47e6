"""Other policies for a market: sound ones that tune it differently, and ones that must not come into force."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from machine_markets import DAY, HOUR
from machine_messages import KEYS
from machine_policies import Limits, Policy, by_many, by_one, by_twos

from models.market import Invariant

if TYPE_CHECKING:
    from random import Random

    from machine_protocol import Values

Variant = Callable[["Random", Policy, "Values"], Policy]
LARGEST = 2**128 - 1
MOST_SETTERS, MOST_SIGNATURES = 8, 4
WINDOWS = (0, 60, 600, 1_020, HOUR, DAY)


def unchanged(_random: Random, policy: Policy, _live: Values) -> Policy:
    """Put the same into force again."""
    return policy


def wider(random: Random, policy: Policy, _live: Values) -> Policy:
    """Let every parameter go further and faster."""
    factor = random.randint(2, 4)
    return _each(
        policy,
        lambda row: replace(
            row,
            minimum=row.minimum // factor,
            maximum=min(row.maximum * factor, LARGEST),
            max_step_up=min(row.max_step_up * factor, 10_000),
            max_step_down=min(row.max_step_down * factor, 10_000),
        ),
    )


def narrower(random: Random, policy: Policy, live: Values) -> Policy:
    """Leave every parameter little room around what is live."""
    limits = []
    for row, value in zip(policy.limits, live, strict=True):
        near = min(value, LARGEST - 100)
        corridor = {"minimum": max(0, near - random.randint(0, 60)), "maximum": near + random.randint(0, 60)}
        steps = {"max_step_up": max(1, row.max_step_up // 2), "max_step_down": max(1, row.max_step_down // 2)}
        limits.append(replace(row, **corridor, **steps))
    return replace(policy, limits=tuple(limits))


def budget(random: Random, policy: Policy, _live: Values) -> Policy:
    """Change what may move in a window."""
    halves = (0, 1, 2, 4)
    return _each(
        policy,
        lambda row: replace(row, drift_budget=min(row.drift_budget * random.choice(halves) // 2, LARGEST)),
    )


def window(random: Random, policy: Policy, _live: Values) -> Policy:
    """Change how long the windows are."""
    size = random.randint(1, 300)
    return _each(
        policy,
        lambda row: replace(row, drift_window=random.choice(WINDOWS), drift_budget=row.drift_budget or size),
    )


def pace(random: Random, policy: Policy, _live: Values) -> Policy:
    """Change cooldowns and how steps are measured."""
    relative, step = random.random() < 0.5, random.randint(0, 1_500)
    cooldown = random.choice((0, 1, 60, 900, HOUR))
    return _one(random, policy, relative=relative, max_step_up=step, max_step_down=step, cooldown=cooldown)


def notice(random: Random, policy: Policy, _live: Values) -> Policy:
    """Change the notice that is due and in which direction."""
    return _one(random, policy, notice=random.choice((0, 1, 60, 900)), tightening_up=random.random() < 0.5)


def probation(random: Random, policy: Policy, _live: Values) -> Policy:
    """Change how long a version must have been live."""
    return replace(policy, probation=random.choice((1, 600, HOUR, DAY)))


def ties(random: Random, policy: Policy, _live: Values) -> Policy:
    """Change what can be set back and what must be named together."""
    return _one(random, policy, reversible=random.random() < 0.5, coupled=random.getrandbits(len(policy.limits)))


def access(random: Random, policy: Policy, _live: Values) -> Policy:
    """Read through other getters and set through other calls."""
    number = len(policy.order)
    alone = random.choice(((), tuple(range(number)), tuple(sorted(random.sample(range(number), number // 2)))))
    ways = (by_many, by_twos, by_one) if number <= MOST_SETTERS else (by_many, by_twos)
    return replace(policy, alone=alone, setters=random.choice(ways)(policy.order))


def quorum(random: Random, policy: Policy, _live: Values) -> Policy:
    """Name other signers, and how many of them have to sign."""
    signers = tuple(sorted(random.sample(range(len(KEYS)), random.randint(1, len(KEYS) - 1))))
    return replace(policy, signers=signers, threshold=random.randint(1, min(len(signers), MOST_SIGNATURES)))


def excluding(random: Random, policy: Policy, live: Values) -> Policy:
    """Put a corridor past what is live."""
    index = random.randrange(len(live))
    if live[index] >= LARGEST or (live[index] and random.random() < 0.5):
        return _change(policy, index, minimum=0, maximum=min(live[index] - 1, LARGEST))
    return _change(policy, index, minimum=live[index] + 1, maximum=min(live[index] + 100, LARGEST))


def disordered(_random: Random, policy: Policy, live: Values) -> Policy:
    """Demand an order that the live values do not keep."""
    low, high = (chosen(range(len(live)), key=lambda index: live[index]) for chosen in (min, max))
    return replace(policy, invariants=(*policy.invariants, Invariant(high, 2, low, 1)))


def permuted(random: Random, policy: Policy, _live: Values) -> Policy:
    """Take one parameter's number for another's."""
    order, (first, second) = list(policy.order), random.sample(range(len(policy.limits)), 2)
    order[first], order[second] = order[second], order[first]
    return replace(wider(random, policy, ()), order=tuple(order), invariants=(), setters=by_many(tuple(order)))


def fewer(_random: Random, policy: Policy, _live: Values) -> Policy:
    """Forget the last parameter, unless there are but two."""
    left = max(2, len(policy.order) - 1)
    order, limits = policy.order[:left], policy.limits[:left]
    alone = tuple(index for index in policy.alone if index < len(order))
    short = replace(policy, order=order, limits=limits, alone=alone, setters=by_many(order), invariants=())
    return _each(short, lambda row: replace(row, coupled=0))


VARIANTS = (wider, narrower, budget, window, pace, notice, probation, ties, quorum, quorum)
"""Policies that come into force as long as the live values fit them."""

TRAPS = (excluding, disordered, permuted, fewer, access)
"""Policies that may be stored, but must not come into force on an active market."""


def _each(policy: Policy, change: object) -> Policy:
    return replace(policy, limits=tuple(map(change, policy.limits)))


def _one(random: Random, policy: Policy, **changes: object) -> Policy:
    return _change(policy, random.randrange(len(policy.limits)), **changes)


def _change(policy: Policy, index: int, **changes: object) -> Policy:
    rows: list[Limits] = list(policy.limits)
    rows[index] = replace(rows[index], **changes)
    return replace(policy, limits=tuple(rows))
