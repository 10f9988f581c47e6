"""Say which inputs moved the targets between two decisions, and by how much: one at a time, with what is left over."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

from keeper.targets import in_units, target_ratios

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from config.schema import ProposeSettings
    from keeper.deliberation import Considered
    from keeper.messages import Assessment

Put = Callable[["Assessment", "Assessment"], "Assessment"]
"""Returns the first assessment with one input of the second."""


@dataclass(frozen=True, slots=True)
class Input:
    """One thing that targets are made of. `read` returns it as a plain number, None where there is none."""

    name: str
    read: Callable[[Assessment], float | None]
    put: Put


INPUTS = (
    Input(
        "published daily fall, 1 %",
        lambda seen: math.expm1(seen.published[0]),
        lambda old, new: replace(old, published=(new.published[0], old.published[1])),
    ),
    Input(
        "published daily rise, 99 %",
        lambda seen: math.expm1(seen.published[1]),
        lambda old, new: replace(old, published=(old.published[0], new.published[1])),
    ),
    Input(
        "forecast daily fall, 1 %",
        lambda seen: math.expm1(seen.raw[0]),
        lambda old, new: replace(old, raw=(new.raw[0], old.raw[1])),
    ),
    Input(
        "forecast daily rise, 99 %",
        lambda seen: math.expm1(seen.raw[1]),
        lambda old, new: replace(old, raw=(old.raw[0], new.raw[1])),
    ),
    Input("implied volatility", lambda seen: seen.vol.value, lambda old, new: replace(old, vol=new.vol)),
    Input(
        "its daily rise, 99 %",
        lambda seen: None if seen.vol_rise is None else math.expm1(seen.vol_rise),
        lambda old, new: replace(old, vol_rise=new.vol_rise),
    ),
    Input(
        "shape of the tail: expected shortfall over 1 %",
        lambda seen: None if seen.tail is None else seen.tail.es_lower / seen.tail.quantiles[2],
        lambda old, new: replace(old, tail=new.tail, vol_tail=new.vol_tail),
    ),
)
SETTINGS = "settings of propose"


@dataclass(frozen=True, slots=True)
class Influence:
    """One input then and now, and by how much it alone moves each target, in on-chain units by parameter id."""

    name: str
    before: float | None
    now: float | None
    moves: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Account:
    """What moved the targets: each input by itself, and the remainder that they move only together.

    By parameter id, on-chain units: `before` and `now` are the targets, and the influences' moves and the remainder add
    up to the difference.
    """

    before: Mapping[int, int]
    now: Mapping[int, int]
    influences: tuple[Influence, ...]
    remainder: Mapping[int, int]


def account_of(
    before: Assessment,
    now: Assessment,
    rows: Sequence[Considered],
    settings: ProposeSettings,
    settings_before: ProposeSettings | None = None,
) -> Account:
    """Return what moved the targets of the parameters `rows` from one assessment to a later one.

    `settings_before` are those of the earlier decision, None where they are not known to differ.
    """
    old_settings = settings_before or settings
    start, end = targets_of(before, rows, old_settings), targets_of(now, rows, settings)

    def moves(seen: Assessment, rules: ProposeSettings) -> dict[int, int]:
        return {index: target - start[index] for index, target in targets_of(seen, rows, rules).items()}

    influences = [
        Influence(one.name, one.read(before), one.read(now), moves(one.put(before, now), old_settings))
        for one in INPUTS
    ]
    if old_settings != settings:
        influences.append(Influence(SETTINGS, None, None, moves(before, settings)))
    alone = {index: sum(one.moves[index] for one in influences) for index in start}
    remainder = {index: end[index] - start[index] - alone[index] for index in start}
    return Account(start, end, tuple(influences), remainder)


def targets_of(seen: Assessment, rows: Sequence[Considered], settings: ProposeSettings) -> dict[int, int]:
    """Return the targets of an assessment, by id, for parameters as they were journalled."""
    ratios = target_ratios(seen, settings)
    return {
        row.id: in_units(ratio, row.scale, Fraction(row.origin), up=row.tightening == "up")
        for row in rows
        for role, ratio in ratios.items()
        if role == row.role
    }
