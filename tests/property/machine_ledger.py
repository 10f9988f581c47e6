"""Keep the books of one market: every version and every move with its time, and what the limits leave of both."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING

from eth_utils import keccak
from machine_messages import words
from machine_protocol import Values, require
from steward_evm import CHAIN

if TYPE_CHECKING:
    from machine_policies import Policy

INACTIVE, ACTIVE, RETIRED = range(3)
FULL = 65_535
"""Shares of a drift budget."""


@dataclass(slots=True)
class Version:
    """Values that the steward left behind or was told to start from."""

    sequence: int
    values: Values
    at: int
    block: int
    proven: bool = False
    """Whether governance took it for proven, or it outlived its probation before the next came."""

    def is_good(self, now: int, probation: int) -> bool:
        """Whether a rollback may restore it, were it followed by another version now."""
        return self.proven or now - self.at >= probation


@dataclass(frozen=True, slots=True)
class Move:
    """One parameter's part in a change; a rollback moves it by nothing that counts."""

    at: int
    distance: int
    budget: int
    window: int
    era: int
    """How often the window was changed before."""


@dataclass(slots=True)
class Line:
    """A market under one steward."""

    steward: int
    address: str
    market: bytes
    policy: Policy
    stored: str
    status: int = INACTIVE
    versions: list[Version] = field(default_factory=list)
    moves: dict[int, list[Move]] = field(default_factory=dict)
    eras: dict[int, int] = field(default_factory=dict)

    @property
    def current(self) -> Version:
        """The newest version."""
        return self.versions[-1]

    @property
    def sequence(self) -> int:
        """Its number; zero before activation, as the steward says."""
        return self.current.sequence if self.versions else 0

    def hash(self, values: Values) -> bytes:
        """What binds values to this steward, chain and market."""
        return _state_hash(self.address, self.market, values)

    def last_good(self, now: int) -> Version:
        """Search the versions for the newest that a rollback may restore."""
        current = [self.current] if self.current.is_good(now, self.policy.probation) else []
        return [*(version for version in self.versions[:-1] if version.proven), *current][-1]

    def advance(self, values: Values, now: int, block: int, *, proven: bool = False) -> None:
        """Add a version; the one before has had its time."""
        number = 0
        if self.versions:
            number = self.sequence + 1
            self.current.proven = self.current.is_good(now, self.policy.probation)
        self.versions.append(Version(number, values, now, block, proven))

    def put(self, policy: Policy, stored: str) -> None:
        """Put a policy into force."""
        for index, (old, new) in enumerate(zip(self.policy.limits, policy.limits, strict=False)):
            if old.drift_window != new.drift_window:
                self.eras[index] = self.eras.get(index, 0) + 1
        self.policy, self.stored = policy, stored

    def move(self, index: int, distance: int, now: int) -> None:
        """Note that a parameter was moved, or set back for nothing."""
        limits = self.policy.limits[index]
        era = self.eras.get(index, 0)
        moves = self.moves.setdefault(index, [])
        moves.append(Move(now, distance, limits.drift_budget, limits.drift_window, era))

    def changed_at(self, index: int) -> int:
        """When a parameter was last moved, 0 for never."""
        moves = self.moves.get(index)
        return moves[-1].at if moves else 0

    def shares_used(self, index: int, now: int, window: int) -> int:
        """Shares of the budget that are gone: of the epoch that holds `now`, and of the one before."""
        used = before = last = 0
        for move in self.moves.get(index, []):
            used, before = _shifted(used, before, last, move.at, move.window)
            last = move.at
            if move.window and move.distance:
                used += _shares(move.distance, move.budget)
        return sum(_shifted(used, before, last, now, window))

    def room(self, index: int, live: int, now: int) -> tuple[int, int]:
        """Return the lowest and the highest value that step, cooldown and budget leave a parameter."""
        limits = self.policy.limits[index]
        if self.changed_at(index) and now < self.changed_at(index) + limits.cooldown:
            return live, live
        down, up = steps(limits, live)
        if limits.drift_window:
            left = FULL - self.shares_used(index, now, limits.drift_window)
            most = max(0, left) * limits.drift_budget // FULL
            down, up = min(down, most), min(up, most)
        return max(0, live - down), live + up

    def check_move(self, index: int, live: int, proposed: int, now: int) -> None:
        """Refuse a move that step, cooldown or budget forbid. Raises Refused."""
        limits, distance = self.policy.limits[index], abs(proposed - live)
        down, up = steps(limits, live)
        require(distance <= (up if proposed > live else down), f"parameter {index}: step too large")
        changed_at = self.changed_at(index)
        resting = changed_at and now < changed_at + limits.cooldown
        require(not resting, f"parameter {index}: cooldown not over")
        if limits.drift_window:
            used = self.shares_used(index, now, limits.drift_window)
            fits = distance <= limits.drift_budget and used + _shares(distance, limits.drift_budget) <= FULL
            require(fits, f"parameter {index}: drift budget spent")

    def moved_in_window(self, index: int) -> Fraction:
        """Add up the window that ends with the last move, in budgets, as far back as windows were as long as now."""
        moves = self.moves[index]
        last = moves[-1]
        window = [move for move in moves if move.era == last.era and move.at >= last.at - last.window]
        return sum((Fraction(move.distance, move.budget) for move in window if move.distance), Fraction())


def steps(limits: object, live: int) -> tuple[int, int]:
    """Return the largest step down and up."""
    if not limits.relative:
        return limits.max_step_down, limits.max_step_up
    base = min(live, 2**128 - 1)
    return base * limits.max_step_down // 10_000, base * limits.max_step_up // 10_000


def check_corridor(policy: Policy, index: int, value: int) -> None:
    """Refuse a value outside its corridor. Raises Refused."""
    limits = policy.limits[index]
    require(value >= limits.minimum, f"parameter {index}: below corridor")
    require(value <= limits.maximum, f"parameter {index}: above corridor")


def check_invariants(policy: Policy, values: Values) -> None:
    """Refuse values out of their order. Raises Refused."""
    for index, rule in enumerate(policy.invariants):
        require(values[rule.a] * rule.factor_a <= values[rule.b] * rule.factor_b, f"invariant {index} broken")


def check_within(policy: Policy, values: Values) -> None:
    """Refuse values outside corridors or orders. Raises Refused."""
    for index in range(len(policy.limits)):
        check_corridor(policy, index, values[index])
    check_invariants(policy, values)


@lru_cache(maxsize=4_096)
def _state_hash(address: str, market: bytes, values: Values) -> bytes:
    return keccak(words((int(address, 16), CHAIN)) + market + words((128, len(values), *values)))


def _shares(distance: int, budget: int) -> int:
    return -(-distance * FULL // budget)


def _shifted(used: int, before: int, last: int, now: int, window: int) -> tuple[int, int]:
    """What is left of an epoch's shares, and of those of the epoch before it, as time goes on."""
    epochs = now // window - last // window if window else 2
    return (used, before) if epochs == 0 else (0, used) if epochs == 1 else (0, 0)
