"""Turn an assessment into the parameters the market should have, and the admissible step towards them."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING

from keeper.messages import Change, NoChange, Proposal, ProposalKind, digest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from config.protocol import Protocol, Role
    from config.schema import ProposeSettings
    from keeper.messages import Assessment
    from models.market import MarketState, ParameterState


def target_ratios(assessment: Assessment, settings: ProposeSettings) -> dict[Role, float]:
    """Return the value each role should have, as plain ratios (1.0 is 100 %).

    Shocks cover the published daily tail over the margin period of risk (square root of time). The liquidation
    threshold is the share of that margin which a liquidation of `liquidation_days` uses up at the unlimited forecast,
    so that it answers at once while the published margin still catches up; it saturates at the whole margin.
    """
    lower, upper = assessment.published
    period = math.sqrt(settings.margin_period_days)
    down, up = -math.expm1(lower * period), math.expm1(upper * period)
    at_once = max(-assessment.raw[0], assessment.raw[1]) * math.sqrt(settings.liquidation_days)
    threshold = -math.expm1(-at_once / (max(-lower, upper) * period))
    return {
        "spot_shock_up": up,
        "spot_shock_down": down,
        "shocked_vol": settings.vol_multiple * assessment.vol.value * math.exp(assessment.vol_rise or 0.0),
        "liquidation_threshold": threshold,
        "maintenance_factor": threshold + settings.maintenance_gap * (1.0 - threshold),
    }


def propose(
    assessment: Assessment, state: MarketState, protocol: Protocol, settings: ProposeSettings, now: int
) -> Proposal | NoChange:
    """Return the change that brings the parameters as close to their targets as one step may, or why there is none.

    Groups move whole: all of a group by the same share of its way, so that their relation holds at every step.
    Targets are never clamped: one outside its corridor stands in the proposal, for the guard to refuse.
    """
    targets = parameter_targets(assessment, protocol, settings)
    changes: list[Change] = []
    notes: list[str] = []
    for group in _groups(protocol):
        wanted = {index: targets[index] for index in group if index in targets}
        names = "+".join(protocol.parameters[index].name for index in group)
        parameters = [state.parameters[index] for index in wanted]
        if not any(_outside_dead_band(p, wanted[p.id], settings.dead_band) for p in parameters):
            continue
        waiting = max((p.changed_at + p.cooldown for p in parameters if p.changed_at), default=0)
        if waiting > now:
            notes.append(f"{names} cools down for another {waiting - now} s")
            continue
        step = _step(parameters, wanted)
        if all(change.value == state.values[change.id] for change in step):
            notes.append(f"{names} cannot move: its step limits leave less than one unit")
            continue
        changes += step
    if not changes:
        reason = "; ".join(notes) or "every parameter is within its dead band"
        return NoChange(state.market, state.block, reason, digest(assessment))
    changes.sort(key=lambda change: change.id)
    return Proposal(
        market=state.market,
        kind=ProposalKind.TUNE,
        sequence=state.sequence + 1,
        state_hash=state.state_hash,
        block=state.block,
        current=state.values,
        changes=tuple(changes),
        targets=tuple(Change(change.id, targets[change.id]) for change in changes),
        inputs=digest(assessment),
        model_id=assessment.model_id,
        deadline=now + settings.deadline_seconds,
        because=_because(assessment, changes, state, protocol),
    )


def rollback(state: MarketState, because: str, inputs: str, now: int, deadline_seconds: int) -> Proposal:
    """Return the proposal that restores the last good version in full."""
    pairs = enumerate(zip(state.values, state.last_good, strict=True))
    changes = tuple(Change(index, good) for index, (live, good) in pairs if live != good)
    return Proposal(
        market=state.market,
        kind=ProposalKind.ROLLBACK,
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


def parameter_targets(assessment: Assessment, protocol: Protocol, settings: ProposeSettings) -> dict[int, int]:
    """Return targets in on-chain units by parameter id, rounded to the tighter side."""
    ratios = target_ratios(assessment, settings)
    targets = {}
    for index, parameter in enumerate(protocol.parameters):
        if parameter.role is not None:
            exact = ratios[parameter.role] * parameter.scale
            targets[index] = math.ceil(exact) if parameter.tightening == "up" else math.floor(exact)
    return targets


def _groups(protocol: Protocol) -> list[tuple[int, ...]]:
    """Return every set of coupled parameters once, those without a group alone."""
    return list(dict.fromkeys(protocol.group_of(index) for index in range(len(protocol.parameters))))


def _outside_dead_band(parameter: ParameterState, target: int, dead_band: float) -> bool:
    return abs(target - parameter.value) > dead_band * parameter.value


def _step(parameters: Sequence[ParameterState], wanted: Mapping[int, int]) -> list[Change]:
    """Move all by the largest common share of their way that no step limit forbids."""
    share = min(_share(parameter, wanted[parameter.id]) for parameter in parameters)
    return [Change(p.id, p.value + int(share * (wanted[p.id] - p.value))) for p in parameters]


def _share(parameter: ParameterState, target: int) -> Fraction:
    """Return the exact share, since on-chain units may need more digits than a float has."""
    way = target - parameter.value
    limit = parameter.max_step_up if way > 0 else parameter.max_step_down
    return Fraction(1) if abs(way) <= limit else Fraction(limit, abs(way))


def _because(assessment: Assessment, changes: Sequence[Change], state: MarketState, protocol: Protocol) -> str:
    moves = ", ".join(
        f"{protocol.parameters[change.id].name} {state.values[change.id]} -> {change.value}" for change in changes
    )
    lower, upper = assessment.published
    return (
        f"{moves} {protocol.parameters[changes[0].id].unit}: the model's daily 1 % and 99 % moves are "
        f"{math.expm1(lower):+.2%} and {math.expm1(upper):+.2%}, implied volatility is {assessment.vol.value:.1%}"
    )
