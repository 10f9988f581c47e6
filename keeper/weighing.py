"""Judge whether a step is worth its cost: by the objective, unless the cover of the published margin asks for it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from keeper.objective import NOTHING, Terms, objective_of
from keeper.targets import floor_ratios, outside_dead_band, ratio_of, target_ratios, units_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from fractions import Fraction

    from config.protocol import Protocol
    from config.schema import ProposeSettings
    from keeper.messages import Assessment, Change
    from keeper.objective import Objective
    from models.market import ParameterState


@dataclass(frozen=True, slots=True)
class Weighing:
    """What a step of some parameters, by id, costs and brings, in shares of notional over one margin period."""

    ids: tuple[int, ...]
    before: Terms
    after: Terms
    change: float

    @property
    def gain(self) -> float:
        """What the objective falls by, less the cost of change: above zero the step is worth it."""
        return self.before.total - self.after.total - self.change

    @property
    def sentence(self) -> str:
        """Say for an operator why a step is not worth its cost."""
        fall = (self.before.total - self.after.total) * 1e4
        cost = self.change * 1e4
        return f"is not worth its cost: it brings {fall:.3g} bps of notional a margin period and costs {cost:.3g} once"


@dataclass(frozen=True)
class Scales:
    """The judge of one decision's steps, whose `targets` are in on-chain units by parameter id."""

    assessment: Assessment
    protocol: Protocol
    settings: ProposeSettings
    targets: Mapping[int, int]

    @cached_property
    def floors(self) -> Mapping[int, int]:
        """What covers the published margin, in on-chain units by parameter id."""
        if self.settings.shortfall_weight is None:
            return self.targets
        return units_of(floor_ratios(self.assessment, self.settings), self.protocol)

    @cached_property
    def objective(self) -> Objective | None:
        """The objective that changes are judged by, None where the assessment has no tail."""
        ratios = target_ratios(self.assessment, self.settings)
        return objective_of(self.assessment, self.settings, max(ratios["spot_shock_up"], ratios["spot_shock_down"]))

    def required(self, parameters: Sequence[ParameterState], origins: Sequence[Fraction | int]) -> bool:
        """Say whether a value lies below what covers the published margin, and outside the dead band."""
        return any(
            (self.floors[p.id] > p.value) == p.tightening_up
            and outside_dead_band(p, self.floors[p.id], self.settings.dead_band, origins)
            for p in parameters
            if p.id in self.floors
        )

    def weigh(self, parameters: Sequence[ParameterState], step: Sequence[Change]) -> Weighing | None:
        """Return what a step costs and brings, None where there is no objective to judge it by."""
        if self.objective is None:
            return None
        before, after, change = NOTHING, NOTHING, 0.0
        for parameter, moved in zip(parameters, step, strict=True):
            role = self.protocol.parameters[parameter.id].role
            if role is not None:
                ratios = self.ratio(parameter.id, parameter.value), self.ratio(parameter.id, moved.value)
                before += self.objective.terms(role, ratios[0])
                after += self.objective.terms(role, ratios[1])
                change += self.objective.change(role, *ratios)
        return Weighing(tuple(parameter.id for parameter in parameters), before, after, change)

    def terms(self, index: int, value: int) -> Terms | None:
        """Return what a parameter costs at a value, None for one without a role or without an objective."""
        role = self.protocol.parameters[index].role
        if role is None or self.objective is None:
            return None
        return self.objective.terms(role, self.ratio(index, value))

    def ratio(self, index: int, value: int) -> float:
        """Return the ratio that a value of a parameter stands for."""
        row = self.protocol.parameters[index]
        return ratio_of(value, row.scale, row.origin, up=row.tightening == "up")
