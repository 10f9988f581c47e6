"""Turn an assessment into the value that each parameter should have, as a ratio and in on-chain units."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING

from keeper.objective import optimal_ratios

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from config.protocol import Protocol, Role
    from config.schema import ProposeSettings
    from keeper.messages import Assessment
    from models.market import ParameterState


def target_ratios(assessment: Assessment, settings: ProposeSettings) -> dict[Role, float]:
    """Return the value each role should have, as plain ratios (1.0 is 100 %): where the objective is least.

    That is the cover of the published margin, or more where a shortfall weighs so much (`propose.shortfall_weight`).
    """
    floors = floor_ratios(assessment, settings)
    best = optimal_ratios(assessment, settings)
    return floors | {role: max(floors[role], ratio) for role, ratio in best.items()} if best else floors


def floor_ratios(assessment: Assessment, settings: ProposeSettings) -> dict[Role, float]:
    """Return the least that each role may be set to, whatever it costs: what covers the published margin.

    Shocks cover the published daily tail over the margin period of risk (square root of time). The liquidation
    threshold is the share of that margin which a liquidation of `liquidation_days` uses up at the unlimited forecast,
    so that it answers at once while the published margin still catches up, and at the published one when that is the
    larger, so that it does not follow every calm day down; it saturates at the whole margin.
    """
    lower, upper = assessment.published
    period = math.sqrt(settings.margin_period_days)
    down, up = -math.expm1(lower * period), math.expm1(upper * period)
    at_once = max(-assessment.raw[0], assessment.raw[1], -lower, upper) * math.sqrt(settings.liquidation_days)
    threshold = -math.expm1(-at_once / (max(-lower, upper) * period))
    return {
        "spot_shock_up": up,
        "spot_shock_down": down,
        "shocked_vol": settings.vol_multiple * assessment.vol.value * math.exp(assessment.vol_rise or 0.0),
        "liquidation_threshold": threshold,
        "maintenance_factor": threshold + settings.maintenance_gap * (1.0 - threshold),
    }


def parameter_targets(assessment: Assessment, protocol: Protocol, settings: ProposeSettings) -> dict[int, int]:
    """Return targets in on-chain units by parameter id, rounded to the tighter side.

    A role's ratio is added to the parameter's offset, or taken from it where lower is tighter.
    """
    return units_of(target_ratios(assessment, settings), protocol)


def units_of(ratios: Mapping[Role, float], protocol: Protocol) -> dict[int, int]:
    """Return ratios by role in on-chain units by parameter id, rounded to the tighter side."""
    found = {}
    for index, parameter in enumerate(protocol.parameters):
        if parameter.role is not None:
            up = parameter.tightening == "up"
            found[index] = in_units(ratios[parameter.role], parameter.scale, parameter.origin, up=up)
    return found


def in_units(ratio: float, scale: int, origin: Fraction, *, up: bool) -> int:
    """Return a ratio in on-chain units, rounded to the tighter side; `up` says whether higher is tighter."""
    distance = ratio * scale
    if origin.denominator == 1:  # then rounding the sum is rounding the distance, and floats do that exactly
        whole = math.ceil(distance)
        return origin.numerator + (whole if up else -whole)
    return math.ceil(origin + Fraction(distance)) if up else math.floor(origin - Fraction(distance))


def ratio_of(value: int, scale: int, origin: Fraction | int, *, up: bool) -> float:
    """Return the ratio that a value in on-chain units stands for."""
    return float((value - origin) / scale) if up else float((origin - value) / scale)


def plain(origin: Fraction) -> Fraction | int:
    """Return a whole number as such: it reckons faster."""
    return origin.numerator if origin.denominator == 1 else origin


def outside_dead_band(
    parameter: ParameterState, target: int, dead_band: float, origins: Sequence[Fraction | int]
) -> bool:
    """Say whether a target is worth a change. The band is relative to what the model decides: value without offset."""
    return abs(target - parameter.value) > dead_band * float(abs(parameter.value - origins[parameter.id]))
