"""Gather what the decisions of one simulated market obey."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, get_args

import numpy as np

from config.errors import ConfigError
from config.load import load_policies, load_protocol
from config.protocol import Role

if TYPE_CHECKING:
    from collections.abc import Sequence
    from fractions import Fraction
    from pathlib import Path

    import numpy.typing as npt

    from config.deployment import Policies
    from config.protocol import Protocol
    from config.schema import FeedSettings, MarketSettings, Settings

ROLES: tuple[Role, ...] = get_args(Role)

ANY_PRICE = {"minimum": 1e-12, "maximum": 1e15}
"""Bounds of a spot feed whose own are another underlying's."""


@dataclass(frozen=True)
class Rules:
    """Settings, binding and on-chain limits of one market.

    `exact` says whether the settings have a market of this underlying; if not, those of their first market are used,
    without the spot feed's minimum and maximum.
    """

    market: str
    settings: Settings
    names: MarketSettings
    feeds: dict[str, FeedSettings]
    protocol: Protocol
    policies: Policies
    exact: bool

    @cached_property
    def role_ids(self) -> tuple[int, ...]:
        """Parameter ids in the order of `ROLES`."""
        by_role = {parameter.role: index for index, parameter in enumerate(self.protocol.parameters)}
        return tuple(by_role[role] for role in ROLES)

    @cached_property
    def axes(self) -> tuple[tuple[int, int | Fraction, int, int], ...]:
        """Id, origin, sign and scale by which a value becomes a ratio, in the order of `ROLES`."""
        rows = [(index, self.protocol.parameters[index]) for index in self.role_ids]
        return tuple(
            (
                index,
                row.origin.numerator if row.origin.denominator == 1 else row.origin,
                1 if row.tightening == "up" else -1,
                row.scale,
            )
            for index, row in rows
        )

    @property
    def penalty(self) -> float:
        """The largest discount of an auction as a ratio, where the binding has such a parameter; else 0."""
        for parameter in self.protocol.parameters:
            if parameter.name == "liquidation_penalty":
                return (self.policies.limits[parameter.name].initial or 0) / parameter.scale
        return 0.0


def ratios(rules: Rules, values: Sequence[int]) -> npt.NDArray[np.float64]:
    """Return values in id order as the ratios that the model decides, in the order of `ROLES`."""
    return np.array([(values[index] - origin) * sign / scale for index, origin, sign, scale in rules.axes], dtype=float)


def rules_of(asset: str, settings: Settings, config: Path, policies: Path | None = None) -> Rules:
    """Return the rules for a recording of `asset`. Raises ConfigError where the binding cannot be simulated."""
    own = (m for m in settings.markets if settings.feeds[m.spot_feed].underlying.casefold() == asset.casefold())
    names = next(own, None)
    exact = names is not None
    names = names or settings.markets[0]
    protocol = load_protocol(names.protocol, config)
    missing = [role for role in ROLES if role not in {parameter.role for parameter in protocol.parameters}]
    if missing:
        raise ConfigError(
            f"market {names.name}: binding {protocol.name} has no parameter of role {', '.join(missing)}: "
            "the simulated option book is margined by all five"
        )
    feeds = {name: settings.feeds[name] for name in (names.spot_feed, names.vol_feed)}
    if not exact:
        feeds[names.spot_feed] = feeds[names.spot_feed].model_copy(update=ANY_PRICE)
    return Rules(asset, settings, names, feeds, protocol, load_policies(protocol, policies), exact)
