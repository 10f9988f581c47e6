"""Turn an assessment into the parameters the market should have, and the admissible step towards them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING

from keeper.limits import (
    broken_invariants,
    drift_left,
    drift_returns_at,
    largest_step,
    members,
    name_of,
    notice,
    values_after,
)
from keeper.messages import Change, NoChange, Proposal, ProposalKind, digest
from keeper.targets import outside_dead_band, parameter_targets, plain
from keeper.weighing import Scales

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from config.protocol import Protocol
    from config.schema import ProposeSettings
    from keeper.announcements import HeldOff
    from keeper.messages import Assessment
    from keeper.weighing import Weighing
    from models.market import MarketState, ParameterState


class Stay(StrEnum):
    """Why a parameter is not moved by a decision that was made: exactly one per parameter."""

    NOT_TUNED = "NOT_TUNED"
    WITHIN_DEAD_BAND = "WITHIN_DEAD_BAND"
    COOLING_DOWN = "COOLING_DOWN"
    DRIFT_EXHAUSTED = "DRIFT_EXHAUSTED"
    STEP_TOO_SMALL = "STEP_TOO_SMALL"
    HELD_OFF = "HELD_OFF"
    NOT_WORTH_ITS_COST = "NOT_WORTH_ITS_COST"
    INVARIANT_BROKEN = "INVARIANT_BROKEN"


@dataclass(frozen=True, slots=True)
class Plan:
    """The changes that may be proposed now, ascending, and why every other parameter stays, by id.

    `targets` are in on-chain units by id, of the parameters that have a role; `notes` say for an operator what is held
    back. `weighed` are the changes that were judged by the objective: those that no cover of the published margin asks
    for.
    """

    changes: tuple[Change, ...]
    targets: Mapping[int, int]
    stays: Mapping[int, Stay]
    notes: tuple[str, ...]
    weighed: tuple[Weighing, ...] = ()


def propose(
    assessment: Assessment,
    state: MarketState,
    protocol: Protocol,
    settings: ProposeSettings,
    now: int,
    held: Sequence[HeldOff] = (),
) -> Proposal | NoChange:
    """Return the change that brings the parameters as close to their targets as one step may, or why there is none.

    Coupled parameters move whole: all of a group by the same share of its way, the largest that every step limit and
    drift budget of it admits. A group whose step would break an invariant, or tighten what is `held` off, stays;
    so does one whose step costs more than it brings, unless a value of it is below what covers the published margin.
    Targets are never clamped: one outside its corridor stands in the proposal, for the guard to refuse.
    """
    return carry(plan(assessment, state, protocol, settings, now, held), assessment, state, protocol, settings, now)


def carry(
    found: Plan, assessment: Assessment, state: MarketState, protocol: Protocol, settings: ProposeSettings, now: int
) -> Proposal | NoChange:
    """Return a plan as the message that is bound to the state and the inputs it was made for."""
    changes, targets = found.changes, found.targets
    if not changes:
        reason = "; ".join(found.notes) or "every parameter is within its dead band"
        return NoChange(state.market, state.block, reason, digest(assessment))
    return Proposal(
        market=state.market,
        kind=ProposalKind.TUNE,
        policy=state.policy,
        sequence=state.sequence + 1,
        state_hash=state.state_hash,
        block=state.block,
        current=state.values,
        changes=changes,
        targets=tuple(Change(c.id, targets.get(c.id, c.value)) for c in changes),
        inputs=digest(assessment),
        model_id=assessment.model_id,
        deadline=now + notice(changes, state) + settings.deadline_seconds,
        because=_because(assessment, changes, state, protocol),
    )


def plan(
    assessment: Assessment,
    state: MarketState,
    protocol: Protocol,
    settings: ProposeSettings,
    now: int,
    held: Sequence[HeldOff] = (),
) -> Plan:
    """Return what `propose` proposes, and one reason for each parameter that stays."""
    targets = parameter_targets(assessment, protocol, settings)
    scales = Scales(assessment, protocol, settings, targets)
    origins = [plain(parameter.origin) for parameter in protocol.parameters]
    names = [parameter.name for parameter in protocol.parameters]
    steps: list[list[Change]] = []
    notes: list[str] = []
    weighed: list[Weighing] = []
    stays = {row.id: Stay.WITHIN_DEAD_BAND if row.id in targets else Stay.NOT_TUNED for row in state.parameters}
    for group in _groups(state):
        parameters = [state.parameters[index] for index in group]
        wanted = {p.id: targets.get(p.id, p.value) for p in parameters}
        if not any(outside_dead_band(p, wanted[p.id], settings.dead_band, origins) for p in parameters):
            continue
        step = _step(parameters, wanted, now)
        obstacle = _obstacle(parameters, step, wanted, now, names) or _forbidden(step, state, held)
        if obstacle is None and not scales.required(parameters, origins):
            weighing = scales.weigh(parameters, step)
            weighed += [] if weighing is None else [weighing]
            obstacle = None if weighing is None or weighing.gain > 0.0 else (Stay.NOT_WORTH_ITS_COST, weighing.sentence)
        if obstacle is None:
            steps.append(step)
            continue
        stays |= dict.fromkeys((index for index in group if index in targets), obstacle[0])
        notes.append(f"{'+'.join(name_of(index, names) for index in group)} {obstacle[1]}")
    kept = _keeping_invariants(steps, state, notes, names)
    for change in chain.from_iterable(step for step in steps if step not in kept):
        stays[change.id] = Stay.INVARIANT_BROKEN
    changes = tuple(sorted(chain.from_iterable(kept), key=lambda change: change.id))
    moved = {change.id for change in changes if change.value != state.parameters[change.id].value}
    staying = {index: why for index, why in stays.items() if index not in moved}
    return Plan(changes, targets, staying, tuple(notes), tuple(weighed))


def rollback(state: MarketState, because: str, inputs: str, now: int, deadline_seconds: int) -> Proposal:
    """Return the proposal that restores the last good version in full."""
    pairs = enumerate(zip(state.values, state.last_good, strict=True))
    changes = tuple(Change(index, good) for index, (live, good) in pairs if live != good)
    return Proposal(
        market=state.market,
        kind=ProposalKind.ROLLBACK,
        policy=state.policy,
        sequence=state.sequence + 1,
        state_hash=state.state_hash,
        block=state.block,
        current=state.values,
        changes=changes,
        targets=changes,
        inputs=inputs,
        model_id="",
        deadline=now + deadline_seconds,
        because=because,
    )


def _groups(state: MarketState) -> tuple[tuple[int, ...], ...]:
    """Return the sets of parameters that must be named together, those without a coupling alone, by lowest id."""
    return _joined(tuple((row.id, row.coupled) for row in state.parameters))


@lru_cache
def _joined(rows: tuple[tuple[int, int], ...]) -> tuple[tuple[int, ...], ...]:
    """Return the same for rows of id and coupling: a policy is asked at every tick."""
    groups: list[set[int]] = []
    for index, coupled in rows:
        linked = {index, *members(coupled)}
        for group in [group for group in groups if group & linked]:
            groups.remove(group)
            linked |= group
        groups.append(linked)
    return tuple(sorted(tuple(sorted(group)) for group in groups))


def _step(parameters: Sequence[ParameterState], wanted: Mapping[int, int], now: int) -> list[Change]:
    """Move all by the largest common share of their way that no step limit and no drift budget forbids."""
    share = min(_share(parameter, wanted[parameter.id], now) for parameter in parameters)
    return [Change(p.id, p.value + int(share * (wanted[p.id] - p.value))) for p in parameters]


def _share(parameter: ParameterState, target: int, now: int) -> Fraction:
    """Return the exact share, since on-chain units may need more digits than a float has."""
    way = abs(target - parameter.value)
    limit = largest_step(parameter, up=target > parameter.value)
    left = drift_left(parameter, now)
    limit = limit if left is None else min(limit, left)
    return Fraction(1) if way <= limit else Fraction(limit, way)


def _obstacle(
    parameters: Sequence[ParameterState],
    step: Sequence[Change],
    wanted: Mapping[int, int],
    now: int,
    names: Sequence[str],
) -> tuple[Stay, str] | None:
    """Say why a group cannot move now, None if it can."""
    waiting = max((p.changed_at + p.cooldown for p in parameters if p.changed_at), default=0)
    if waiting > now:
        return Stay.COOLING_DOWN, f"cools down for another {waiting - now} s"
    if any(change.value != p.value for change, p in zip(step, parameters, strict=True)):
        return None
    for parameter in parameters:
        if wanted[parameter.id] != parameter.value and drift_left(parameter, now) == 0:
            returns_at = drift_returns_at(parameter, now)
            until = "allows no move" if returns_at is None else f"is spent for another {returns_at - now} s"
            text = f"cannot move: the drift budget of {name_of(parameter.id, names)} {until}"
            return Stay.DRIFT_EXHAUSTED, text
    return Stay.STEP_TOO_SMALL, "cannot move: its step limits and drift budgets leave less than one unit"


def _forbidden(step: Sequence[Change], state: MarketState, held: Sequence[HeldOff]) -> tuple[Stay, str] | None:
    """Say why a step may not be proposed for now, None if it may."""
    return next(((Stay.HELD_OFF, hold.because) for hold in held if hold.forbids(step, state)), None)


def _keeping_invariants(
    steps: Sequence[list[Change]], state: MarketState, notes: list[str], names: Sequence[str]
) -> list[list[Change]]:
    """Return the steps of all groups but those whose step breaks an invariant; notes say which and why."""
    kept = list(steps)
    while kept and (broken := broken_invariants(values_after(chain.from_iterable(kept), state), state)):
        rule = state.invariants[broken[0]]
        # Nothing can be applied while untouched parameters break an invariant: then no group is kept.
        touching = [step for step in kept if {rule.a, rule.b} & {change.id for change in step}] or kept
        kept = [step for step in kept if step not in touching]
        moved = "+".join(name_of(change.id, names) for step in touching for change in step)
        notes.append(f"{moved} cannot move: {name_of(rule.a, names)} would exceed what {name_of(rule.b, names)} allows")
    return kept


def _because(assessment: Assessment, changes: Sequence[Change], state: MarketState, protocol: Protocol) -> str:
    moves = ", ".join(
        f"{protocol.parameters[change.id].name} {state.values[change.id]} -> {change.value}" for change in changes
    )
    lower, upper = assessment.published
    return (
        f"{moves} {protocol.parameters[changes[0].id].unit}: the model's daily 1 % and 99 % moves are "
        f"{math.expm1(lower):+.2%} and {math.expm1(upper):+.2%}, implied volatility is {assessment.vol.value:.1%}"
    )
