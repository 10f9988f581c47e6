"""Write down how a decision came about: for each parameter the reason, the target, and what it costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from keeper.messages import digest
from keeper.objective import Terms
from keeper.weighing import Scales, Weighing
from models.market import BlockStamp

if TYPE_CHECKING:
    from config.protocol import Parameter, Protocol
    from config.schema import ProposeSettings
    from keeper.messages import Assessment
    from keeper.propose import Plan
    from models.market import MarketState

PROPOSED = "PROPOSED"
"""The code of a parameter that a proposal moves; every other has the reason for which it stays."""


@dataclass(frozen=True, slots=True)
class Considered:
    """One parameter at one decision. `value`, `floor`, `target` and `proposed` are in on-chain units.

    A value is `origin` (an exact fraction as text) plus `scale` times its role's ratio, minus where `tightening` is
    "down". `floor` is what covers the published margin. `code` is `PROPOSED` or a `keeper.propose.Stay`. `before` and
    `after` are its terms of the objective at `value` and at `proposed`. Without a role there is no target; without a
    tail in the assessment there are no terms.
    """

    id: int
    name: str
    unit: str
    role: str | None
    scale: int
    tightening: str
    origin: str
    value: int
    floor: int | None
    target: int | None
    proposed: int
    code: str
    before: Terms | None
    after: Terms | None


@dataclass(frozen=True, slots=True)
class Deliberation:
    """What one decision weighed. `inputs` is the digest of its assessment, `settings` the section `propose` it went by.

    `weighed` are the changes that were judged by the objective, as they are not needed for the cover of the published
    margin; `notes` say what is held back.
    """

    market: str
    block: BlockStamp
    inputs: str
    parameters: tuple[Considered, ...]
    weighed: tuple[Weighing, ...]
    notes: tuple[str, ...]
    settings: dict[str, float | int | None]


def deliberation(
    found: Plan, assessment: Assessment, state: MarketState, protocol: Protocol, settings: ProposeSettings
) -> Deliberation:
    """Return what is written down of a plan."""
    scales = Scales(assessment, protocol, settings, found.targets)
    proposed = {change.id: change.value for change in found.changes}
    rows = zip(state.parameters, protocol.parameters, strict=True)
    return Deliberation(
        market=state.market,
        block=state.block,
        inputs=digest(assessment),
        parameters=tuple(
            _considered(live.id, live.value, proposed.get(live.id, live.value), row, found, scales)
            for live, row in rows
        ),
        weighed=found.weighed,
        notes=found.notes,
        settings=settings.model_dump(mode="json"),
    )


def _considered(index: int, value: int, proposed: int, row: Parameter, found: Plan, scales: Scales) -> Considered:
    return Considered(
        id=index,
        name=row.name,
        unit=row.unit,
        role=row.role,
        scale=row.scale,
        tightening=row.tightening,
        origin=str(row.origin),
        value=value,
        floor=scales.floors.get(index),
        target=found.targets.get(index),
        proposed=proposed,
        code=found.stays.get(index, PROPOSED),
        before=scales.terms(index, value),
        after=scales.terms(index, proposed),
    )
