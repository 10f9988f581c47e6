"""Hold a book of short options and margin it as the reference market does; auctions, settlements and bad debt.

Amounts are in the quote currency, volatilities annualised decimals, times Unix seconds. The formulas are those of
`chain/contracts/margin.vy` in floating point: a short requires its value at the shocked spot, its mark is the value at
the spot as it is, and maintenance and liquidation margin keep a share of what lies between.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from keeper.backtest.feed import YEAR
from models.forecaster import DAY

if TYPE_CHECKING:
    import numpy.typing as npt

    from keeper.backtest.shapes import Shape

    Array = npt.NDArray[np.float64]
    Times = npt.NDArray[np.int64]

UP, DOWN, VOL, MAINTENANCE, LIQUIDATION = range(5)
"""Columns of parameters as ratios, in the order of `rules.ROLES`."""

ACCOUNTS = 24
SHORTS = 2
"""Series that an account is short of at any time."""

NOTIONAL = 100_000.0
WEEK = 7 * DAY
FRIDAY_8H = DAY + 8 * 3_600
"""Expiries are Fridays at 08:00 UTC; the epoch began on a Thursday."""

AUCTION_SECONDS = 3_600
"""When an auction's discount is largest; the simulated liquidator bids then, at the first price from then on."""

LEAST_COVER, MEAN_EXTRA_COVER = 1.05, 0.6
"""An account opens with 1.05 times its initial margin and an exponentially distributed share more."""

CHUNK = 64


Moment = tuple["Times", "Array", "Array", "Array"]
"""One time, price, row of ratios in effect and of targets."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """What accounts must hold; rows are times, columns accounts."""

    initial: Array
    maintenance: Array
    liquidation: Array
    mark: Array


@dataclass(slots=True)
class Losses:
    """What happened to the book so far. `caused` counts liquidations that the parameters of a day before had not begun.

    `bad_debt` is what accounts owed beyond their collateral, when liquidated or settled; `penalties` what liquidated
    accounts paid above the mark.
    """

    liquidations: int = 0
    caused: int = 0
    settled: int = 0
    bad_debt: float = 0.0
    penalties: float = 0.0


@dataclass(slots=True)
class Totals:
    """Sums over the book at each time it was brought to."""

    locked: list[float] = field(default_factory=list)
    initial: list[float] = field(default_factory=list)
    mark: list[float] = field(default_factory=list)
    notional: list[float] = field(default_factory=list)
    liquidations: list[int] = field(default_factory=list)
    bad_debt: list[float] = field(default_factory=list)


class Book:
    """Accounts that stay short: each settles at expiry, or is liquidated, and opens anew at once."""

    def __init__(self, shape: Shape, seed: int, penalty: float) -> None:
        """Start empty; `penalty` is the largest discount of an auction, as a ratio."""
        self._shape, self._seed, self._penalty = shape, seed, penalty
        self._strike = np.ones((ACCOUNTS, SHORTS))
        self._size = np.zeros((ACCOUNTS, SHORTS))
        self._is_call = np.zeros((ACCOUNTS, SHORTS), dtype=bool)
        self._expiry = np.zeros(ACCOUNTS, dtype=np.int64)
        self._cash = np.zeros(ACCOUNTS)
        self._auction = np.zeros(ACCOUNTS, dtype=np.int64)
        self._cycle = [0] * ACCOUNTS
        self.losses = Losses()
        self.totals = Totals()

    def advance(
        self, times: Times, prices: Array, vols: Array, effective: Array, targets: Array, before: Array
    ) -> None:
        """Bring the book through some times; parameters are ratios, a row a time, `before` those of a day earlier."""
        at = 0
        while at < len(times):
            self._settle(int(times[at]), float(prices[at]), float(vols[at]), targets[at])
            due = int(np.searchsorted(times, self._expiry.min()))
            end = min(max(due, at + 1), at + CHUNK, len(times))
            rows = slice(at, end)
            need = self._requirement(times[rows], prices[rows], effective[rows], targets[rows])
            event = self._first_event(need)
            for offset in range(event):
                self._record(need, offset, float(prices[at + offset]))
            at += event
            if at < end:
                one = slice(at, at + 1)
                row = (times[one], prices[one], effective[one], targets[one])
                if self._liquidate(need, event, row, float(vols[at]), before[one]):
                    need, event = self._requirement(*row), 0
                self._record(need, event, float(prices[at]))
                at += 1

    def newly_liquidatable(self, now: int, price: float, live: Array, after: Array) -> tuple[str, ...]:
        """Return the accounts that are liquidatable where `after` is in full effect, and are not where `live` is."""
        both = np.stack([live, after])
        need = self._requirement(np.array([now, now]), np.array([price, price]), both, both)
        hit = (self._cash < need.liquidation[1]) & (self._cash >= need.liquidation[0])
        return tuple(f"account {index}" for index in np.flatnonzero(hit))

    def covers(self, now: int, price: float, live: Array) -> list[tuple[float, float]]:
        """Return each account's collateral and initial margin where the parameters `live` are in effect."""
        row = live[None]
        need = self._requirement(np.array([now]), np.array([price]), row, row)
        return list(zip(self._cash.tolist(), need.initial[0].tolist(), strict=True))

    def _first_event(self, need: Requirement) -> int:
        """Return the first row at which an auction begins or runs; the number of rows without one."""
        if self._auction.any():
            return 0
        rows = np.flatnonzero((self._cash < need.liquidation).any(axis=1))
        return int(rows[0]) if len(rows) else len(need.mark)

    def _liquidate(self, need: Requirement, row: int, at: Moment, vol: float, before: Array) -> bool:
        """Begin, end and fill the auctions of one row; return whether an account opened anew."""
        times, prices, _, targets = at
        now, opened = int(times[0]), False
        for index in np.flatnonzero((self._auction > 0) | (self._cash < need.liquidation[row])):
            cash, mark = float(self._cash[index]), float(need.mark[row, index])
            if not self._auction[index]:
                self._auction[index] = now
                old = self._requirement(times, prices, before, targets)
                self.losses.caused += int(cash >= old.liquidation[0, index])
            elif cash >= need.maintenance[row, index]:
                self._auction[index] = 0
            elif now - self._auction[index] >= AUCTION_SECONDS:
                paid = min(mark * (1.0 + self._penalty), cash)
                self.losses.liquidations += 1
                self.losses.penalties += max(paid - mark, 0.0)
                self.losses.bad_debt += max(mark - cash, 0.0)
                self._open(int(index), now, float(prices[0]), vol, targets[0])
                opened = True
        return opened

    def _settle(self, now: int, price: float, vol: float, targets: Array) -> None:
        for index in np.flatnonzero(self._expiry <= now):
            if not self._cycle[index]:
                self._open(int(index), now, price, vol, targets)
                continue
            inside = np.where(self._is_call[index], price - self._strike[index], self._strike[index] - price)
            owed = float((np.maximum(inside, 0.0) * self._size[index]).sum())
            self.losses.settled += 1
            self.losses.bad_debt += max(owed - float(self._cash[index]), 0.0)
            self._open(int(index), now, price, vol, targets)

    def _open(self, index: int, now: int, price: float, vol: float, targets: Array) -> None:
        """Write new shorts for an account and give it the margin they need; drawn from seed, account and cycle."""
        self._cycle[index] += 1
        rng = np.random.default_rng([self._seed, 1 + index, self._cycle[index]])
        chosen = rng.choice(len(self._shape.weight), SHORTS, p=self._shape.weight)
        tenor = float(self._shape.tenor[chosen].max())
        weeks = -(-(now + round(tenor * DAY) - FRIDAY_8H) // WEEK)
        self._expiry[index] = weeks * WEEK + FRIDAY_8H
        deviation = vol * np.sqrt((self._expiry[index] - now) / YEAR)
        self._strike[index] = price * np.exp(self._shape.distance[chosen] * deviation)
        self._is_call[index] = self._shape.is_call[chosen]
        self._size[index] = NOTIONAL * rng.lognormal(0.0, 0.8) * rng.dirichlet(np.ones(SHORTS)) / price
        cover = LEAST_COVER + rng.exponential(MEAN_EXTRA_COVER)
        self._auction[index] = 0
        row = targets[None]
        need = self._requirement(np.array([now]), np.array([price]), row, row)
        self._cash[index] = cover * need.initial[0, index]

    def _record(self, need: Requirement, row: int, price: float) -> None:
        totals = self.totals
        totals.locked.append(float(self._cash.sum()))
        totals.initial.append(float(need.initial[row].sum()))
        totals.mark.append(float(need.mark[row].sum()))
        totals.notional.append(float(self._size.sum()) * price)
        totals.liquidations.append(self.losses.liquidations)
        totals.bad_debt.append(self.losses.bad_debt)

    def _requirement(self, times: Times, prices: Array, effective: Array, targets: Array) -> Requirement:
        left = np.maximum(self._expiry[None, :] - times[:, None], 0) / YEAR
        root = np.sqrt(left)[:, :, None]
        spot = prices[:, None, None]
        mark = self._value(spot, effective[:, VOL, None, None], root)
        held = np.maximum(mark, self._value(self._shocked(spot, effective), effective[:, VOL, None, None], root))
        initial = held
        if not np.array_equal(effective, targets):
            plain = self._value(spot, targets[:, VOL, None, None], root)
            initial = np.maximum(plain, self._value(self._shocked(spot, targets), targets[:, VOL, None, None], root))
        marks = mark.sum(axis=2)
        cushion = held.sum(axis=2) - marks
        return Requirement(
            initial=initial.sum(axis=2),
            maintenance=marks + cushion * effective[:, MAINTENANCE, None],
            liquidation=marks + cushion * effective[:, LIQUIDATION, None],
            mark=marks,
        )

    def _shocked(self, spot: Array, parameters: Array) -> Array:
        up, down = 1.0 + parameters[:, UP, None, None], 1.0 - parameters[:, DOWN, None, None]
        return spot * np.where(self._is_call, up, down)

    def _value(self, spot: Array, vol: Array, root: Array) -> Array:
        """Return intrinsic value plus 0.4 x spot x vol x sqrt(T), which bounds the time value at the money."""
        inside = np.where(self._is_call, spot - self._strike, self._strike - spot)
        return (np.maximum(inside, 0.0) + 0.4 * spot * vol * root) * self._size
