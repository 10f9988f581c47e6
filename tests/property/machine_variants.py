"""Other policies for a market: sound ones that tune it differently, and ones that must not come into force."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from machine_messages import word
from machine_policies import DAY, HOUR, SET_ALL, SET_ONE, Policy

from models.market import Invariant

if TYPE_CHECKING:
    from random import Random

    from machine_protocol import Values
    from steward_evm import Limits

Variant = Callable[["Random", Policy, "Values"], Policy]
LARGEST = 2**128 - 1
WINDOWS = (0, 600, 1_000, HOUR, DAY)


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
            maximum=min(row.maximum * factor, 10_000),
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
    return _each(policy, lambda row: replace(row, drift_budget=row.drift_budget * random.choice((0, 1, 2, 4)) // 2))


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
    pinned = tuple(SET_ONE + word(index) for index in random.sample(range(6), 3))
    prefixes = random.choice(((SET_ALL, SET_ONE), (SET_ALL, *pinned), (SET_ONE,)))
    return replace(policy, one_by_one=not policy.one_by_one, prefixes=prefixes)


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
    return replace(wider(random, policy, ()), order=tuple(order), invariants=())


def fewer(_random: Random, policy: Policy, _live: Values) -> Policy:
    """Forget the last parameter."""
    short = replace(policy, limits=policy.limits[:-1], invariants=())
    return _each(short, lambda row: replace(row, coupled=0))


def malformed(random: Random, policy: Policy, _live: Values) -> Policy:
    """Draw a corridor that nothing fits in."""
    return _one(random, policy, minimum=101, maximum=100)


VARIANTS = (wider, narrower, budget, window, pace, notice, probation, ties, access)
"""Policies that come into force as long as the live values fit them."""

TRAPS = (excluding, disordered, permuted, fewer)
"""Policies that may be stored, but must not come into force on an active market."""


def _each(policy: Policy, change: object) -> Policy:
    return replace(policy, limits=tuple(map(change, policy.limits)))


def _one(random: Random, policy: Policy, **changes: object) -> Policy:
    return _change(policy, random.randrange(len(policy.limits)), **changes)


def _change(policy: Policy, index: int, **changes: object) -> Policy:
    rows: list[Limits] = list(policy.limits)
    rows[index] = replace(rows[index], **changes)
    return replace(policy, limits=tuple(rows))
