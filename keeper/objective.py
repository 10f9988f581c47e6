"""State what parameters cost: the margin they tie up, the losses expected beyond it, and changing them.

All amounts are shares of the notional of a short option, over one margin period of risk. A loss is the share of spot
that the underlying moves against the writer, or the change of the option's time value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from config.protocol import Role
    from config.schema import ProposeSettings
    from keeper.messages import Assessment
    from models.forecaster import Tail

YEAR_DAYS = 365.0
CHANCES = (0.01, 0.005, 0.001)
"""How likely the three sizes of a `Curve` are exceeded."""

VEGA = 0.4 * math.sqrt(30.0 / YEAR_DAYS)
"""Time value of an option at the money, 30 days left, a unit of volatility: 0.4 x sqrt(T) (Brenner, Subrahmanyam)."""

MULTIPLES = (0.0, 0.5, 0.75, 0.9, 1.0, 1.1, 1.25, 1.5)
"""Classes of equity over requirement. An account counts as its class begins; what it holds beyond the last, and may
withdraw at any time, does not count."""

JUST_MET = ((1.0, 1.0),)
"""A book nobody can read: every account just meets its requirement."""

LARGEST_EXPONENT = 200.0
"""Of any loss: a longer one is beyond every margin too, and its exponential, in units of a chain, beyond a float."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What parameters cost before the cost of changing them: money tied up, and the weighed loss beyond it."""

    margin: float
    shortfall: float

    @property
    def total(self) -> float:
        """The objective."""
        return self.margin + self.shortfall

    def __add__(self, other: Terms) -> Terms:
        return Terms(self.margin + other.margin, self.shortfall + other.shortfall)


NOTHING = Terms(0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Curve:
    """How likely losses exceed a size: `sizes` are exceeded with the `CHANCES`, and the chance is log-linear between.

    Below the first it goes on as between the first two, up to 1. Beyond the last it falls by e each `beyond`.
    """

    sizes: tuple[float, float, float]
    beyond: float

    def excess(self, cover: float) -> float:
        """Return the expected loss beyond `cover`: the integral of the chance from there on."""
        first, second, last = self.sizes
        if cover >= last:
            return CHANCES[2] * self.beyond * math.exp((last - cover) / self.beyond) if self.beyond else 0.0
        total = CHANCES[2] * self.beyond + _between(max(cover, second), second, last, CHANCES[1], CHANCES[2])
        if cover < second:
            total += _between(max(cover, first), first, second, CHANCES[0], CHANCES[1])
        return total + self._below(cover) if cover < first else total

    def _below(self, cover: float) -> float:
        """Return the part of the integral between `cover` and the first size."""
        first = self.sizes[0]
        width = _width(first, self.sizes[1], CHANCES[0], CHANCES[1])
        certain = first + width * math.log(CHANCES[0])
        chance = CHANCES[0] * math.exp((first - cover) / width) if cover > certain else 1.0
        return width * (chance - CHANCES[0]) + max(certain - cover, 0.0)

    def exceeded_with(self, chance: float) -> float:
        """Return the size that is exceeded with a chance below the first of the `CHANCES`."""
        first, second, last = self.sizes
        if chance >= CHANCES[1]:
            return first + _width(first, second, CHANCES[0], CHANCES[1]) * math.log(CHANCES[0] / chance)
        if chance >= CHANCES[2]:
            return second + _width(second, last, CHANCES[1], CHANCES[2]) * math.log(CHANCES[1] / chance)
        return last + self.beyond * math.log(CHANCES[2] / chance)


def curve(sizes: tuple[float, float, float], shortfall: float | None = None) -> Curve:
    """Return the curve through three ascending sizes.

    Beyond the last it is as long as `shortfall`, the mean loss beyond the first size, leaves to it, and no shorter than
    the stretch between the last two goes on.
    """
    first, second, last = sizes
    beyond = _width(second, last, CHANCES[1], CHANCES[2])
    if shortfall is not None:
        inner = _between(first, first, second, CHANCES[0], CHANCES[1])
        inner += _between(second, second, last, CHANCES[1], CHANCES[2])
        beyond = max(beyond, (CHANCES[0] * (shortfall - first) - inner) / CHANCES[2])
    return Curve(sizes, beyond)


@dataclass(frozen=True, slots=True)
class Stake:
    """What one role has at stake: a ratio ties up `keeps` of itself, and covers losses up to a size of the `curve`.

    A size is worth `worth` of the notional. Where `depth` is given the ratio is a share of a margin that covers a fall
    of so many log-units, used up as `propose.target_ratios` reckons; equity above the requirement does not count there.
    """

    keeps: float
    curve: Curve | None
    worth: float = 1.0
    depth: float | None = None

    def terms(self, ratio: float, rates: Rates, holdings: Sequence[tuple[float, float]]) -> Terms:
        """Return the cost of a ratio to accounts that hold multiples of it, as (multiple, share of the book)."""
        if self.depth is not None:
            holdings = JUST_MET
        multiple = sum(held * share for held, share in holdings)
        margin = rates.margin * self.keeps * ratio * multiple
        if self.curve is None:
            return Terms(margin, 0.0)
        cover = self._cover(ratio)
        excess = sum(share * self.curve.excess(held * cover) for held, share in holdings)
        return Terms(margin, rates.shortfall * self.worth * excess)

    def _cover(self, ratio: float) -> float:
        if self.depth is None:
            return ratio
        if ratio >= 1.0:
            return 1.0
        return -math.expm1(min(self.depth * math.log1p(-ratio), LARGEST_EXPONENT))


@dataclass(frozen=True, slots=True)
class Rates:
    """What a unit of each costs over one margin period: margin tied up, expected shortfall, and margin changed."""

    margin: float
    shortfall: float
    change: float

    @classmethod
    def of(cls, settings: ProposeSettings) -> Rates:
        """Return the rates that settings give; without a weight the margin that 1 % of losses pass is the best one."""
        margin = settings.margin_cost * settings.margin_period_days / YEAR_DAYS
        weight = settings.shortfall_weight
        return cls(margin, margin / CHANCES[0] if weight is None else weight, settings.change_cost)


@dataclass(frozen=True, slots=True)
class Objective:
    """The cost of a market's parameters, for the book and the tail of one assessment."""

    rates: Rates
    stakes: Mapping[Role, Stake]
    holdings: Sequence[tuple[float, float]]

    def terms(self, role: Role, ratio: float) -> Terms:
        """Return what a role's ratio costs."""
        return self.stakes[role].terms(ratio, self.rates, self.holdings)

    def change(self, role: Role, before: float, after: float) -> float:
        """Return what changing a role's ratio costs: `change_cost` of the margin that is called or set free."""
        return self.rates.change * self.stakes[role].keeps * abs(after - before)


def objective_of(assessment: Assessment, settings: ProposeSettings, margin: float) -> Objective | None:
    """Return the objective that changes are judged by, None where the assessment has no tail.

    The tail is the larger, on each side, of the unlimited forecast and the published margin: what is published may
    still be catching up. `margin` is the larger spot shock that the model asks for, of which the thresholds are shares.
    """
    tail = assessment.tail
    if tail is None:
        return None
    lower, upper = assessment.published
    period = math.sqrt(settings.margin_period_days)
    down, up = _sides(tail, max(-lower, -assessment.raw[0]), max(upper, assessment.raw[1]))
    worst = max((side for side in (down, up) if side is not None), default=None, key=lambda side: side[0][0])
    threshold = None if worst is None else _falls(worst, math.sqrt(settings.liquidation_days))
    depth = max(-lower, upper) * period
    stakes: dict[Role, Stake] = {
        "spot_shock_up": Stake(1.0, None if up is None else _rises(up, period)),
        "spot_shock_down": Stake(1.0, None if down is None else _falls(down, period)),
        "shocked_vol": Stake(VEGA, _vols(assessment, steady=False), worth=VEGA),
        "liquidation_threshold": Stake(margin, threshold, depth=depth),
        # Liquidation has a loss of its own, maintenance keeps its distance from that and costs what it ties up.
        "maintenance_factor": Stake(margin, None, depth=depth),
    }
    return Objective(Rates.of(settings), stakes, assessment.holdings or JUST_MET)


def optimal_ratios(assessment: Assessment, settings: ProposeSettings) -> dict[Role, float]:
    """Return the ratios at which the objective is least, where a shortfall weighs enough to ask for more than 1 %.

    They are reckoned at the published margin, the tail keeping its shape, for an account that just meets its
    requirement: as steady as what is published, and the same whatever the book holds. Empty where the published margin
    is enough.
    """
    tail = assessment.tail
    if tail is None or settings.shortfall_weight is None:
        return {}
    rates = Rates.of(settings)
    if rates.margin >= rates.shortfall * CHANCES[0]:
        return {}
    chance = rates.margin / rates.shortfall
    lower, upper = assessment.published
    period = math.sqrt(settings.margin_period_days)
    down, up = _sides(tail, -lower, upper)
    found: dict[Role, Curve | None] = {
        "spot_shock_up": None if up is None else _rises(up, period),
        "spot_shock_down": None if down is None else _falls(down, period),
        "shocked_vol": _vols(assessment, steady=True),
    }
    return {role: one.exceeded_with(chance) for role, one in found.items() if one is not None}


def holdings(accounts: Iterable[tuple[float, float]]) -> tuple[tuple[float, float], ...] | None:
    """Return how a book is covered, as (multiple of the requirement, share of all requirements), by ascending multiple.

    `accounts` are equity and requirement in one unit; one that owes nothing is left out. None without any other.
    """
    rows = [(equity, required) for equity, required in accounts if required > 0]
    if not rows:
        return None
    total = sum(required for _, required in rows)
    shares = dict.fromkeys(MULTIPLES, 0.0)
    for equity, required in rows:
        # Integers of a chain may be larger than a float is exact, but not than it is long.
        shares[max((m for m in MULTIPLES if equity >= m * required), default=0.0)] += required / total
    return tuple((multiple, share) for multiple, share in shares.items() if share)


Side = tuple[tuple[float, float, float], float]
"""Daily log-moves exceeded with the `CHANCES`, as positive numbers, and the mean beyond the first."""


def _sides(tail: Tail, fall: float, rise: float) -> tuple[Side | None, Side | None]:
    """Return both sides of a daily tail, their first sizes put to `fall` and `rise`."""
    third, second, first, *rises = tail.quantiles
    down = _stretched((-first, -second, -third), -tail.es_lower, fall)
    return down, _stretched((rises[0], rises[1], rises[2]), tail.es_upper, rise)


def _stretched(sizes: tuple[float, float, float], shortfall: float, level: float) -> Side | None:
    """Return a side whose first size is `level`, its shape kept; None where that has none."""
    if sizes[0] <= 0.0 or level <= 0.0:
        return None
    factor = level / sizes[0]
    return (level, factor * sizes[1], factor * sizes[2]), max(factor * shortfall, level)


def _rises(side: Side, root: float) -> Curve:
    first, second, last = (math.expm1(min(size * root, LARGEST_EXPONENT)) for size in side[0])
    return curve((first, second, last), math.expm1(min(side[1] * root, LARGEST_EXPONENT)))


def _falls(side: Side, root: float) -> Curve:
    first, second, last = (-math.expm1(-size * root) for size in side[0])
    return curve((first, second, last), -math.expm1(-side[1] * root))


def _vols(assessment: Assessment, *, steady: bool) -> Curve | None:
    """Return the tail of implied volatility after a day, at the level that targets follow or at the larger one."""
    quantiles, level = assessment.vol_tail, assessment.vol_rise
    if quantiles is None or level is None:
        return None
    level = level if steady else max(level, quantiles[3])
    exponents = [min(level + quantile - quantiles[3], LARGEST_EXPONENT) for quantile in quantiles[3:]]
    first, second, last = (assessment.vol.value * math.exp(exponent) for exponent in exponents)
    return curve((first, second, last))


def _width(start: float, end: float, chance: float, last: float) -> float:
    """Return how far the chance takes to fall by e where it falls log-linearly between two sizes."""
    return (end - start) / math.log(chance / last)


def _between(cover: float, start: float, end: float, chance: float, last: float) -> float:
    """Return the integral of the chance from `cover` to `end`, both between two sizes."""
    width = _width(start, end, chance, last)
    return width * (chance * math.exp((start - cover) / width) - last) if width else 0.0
