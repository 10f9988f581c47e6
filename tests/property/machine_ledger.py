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
    from machine_policies import Limits, Policy

INACTIVE, ACTIVE, RETIRED, PAUSED = range(4)
FULL, MINUTE, SLOTS = 240, 60, 18
"""Shares of a drift budget; what time is counted in; parameters that a market's memory has room for."""


@dataclass(slots=True)
class Version:
    """Values that the steward left behind or was told to start from."""

    sequence: int
    values: Values
    at: int
    proven: bool = False
    """Whether it was made for proven, or is known to have outlived its probation."""

    def is_good(self, now: int, probation: int) -> bool:
        """Whether a rollback may restore it, were it followed by another version now."""
        return self.proven or now - self.at >= probation


@dataclass(frozen=True, slots=True)
class Move:
    """One parameter's part in a change."""

    at: int
    distance: int
    budget: int
    window: int
    era: int
    """How often the window was changed before."""

    used: int
    before: int
    """Shares of the budget that are gone after it: of its own epoch, and of the one before."""


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
    candidate: Version | None = None
    """The oldest version since the newest proven one that nothing has undone: the next to be proven."""

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

    @property
    def runs(self) -> bool:
        """Whether it is active, paused or not."""
        return self.status in {ACTIVE, PAUSED}

    def hash(self, values: Values) -> bytes:
        """What binds values to this steward, chain and market."""
        return _state_hash(self.address, self.market, values)

    def last_good(self, now: int) -> Version:
        """Search the versions for the newest that a rollback may restore."""
        waiting = [version for version in (self.candidate, self.current) if version is not None]
        ripe = [version for version in waiting if version.is_good(now, self.policy.probation)]
        return [*(version for version in self.versions if version.proven), *ripe][-1]

    def corrected_by(self, indices: list[int], now: int) -> int | None:
        """Return the minute of the earliest change on probation that one of these parameters would move again."""
        minutes = [_minute(self.moves[index][-1].at) for index in indices if self.moves.get(index)]
        return min((minute for minute in minutes if now < MINUTE * minute + self.policy.probation), default=None)

    def advance(self, values: Values, now: int, *, proven: bool = False, corrected: int | None = None) -> None:
        """Add a version to those before, which go on to be on probation but for those made since the minute given."""
        if self.versions:
            for version in (self.candidate, self.current):
                if version is not None and version.is_good(now, self.policy.probation):
                    version.proven, self.candidate = True, None
            if not self.current.proven:
                self.candidate = self.candidate or self.current
            if self.candidate and corrected is not None and _minute(self.candidate.at) >= corrected:
                self.candidate = None
        self.versions.append(Version(self.sequence + 1 if self.versions else 0, values, now, proven))

    def restore(self, now: int) -> None:
        """Add the last good version once more; those after it are not to be restored any more."""
        good = self.last_good(now)
        self.candidate = None
        self.versions.append(Version(self.sequence + 1, good.values, now, proven=True))

    def put(self, policy: Policy, stored: str, now: int) -> None:
        """Put a policy into force; what is proven under the one before stays so."""
        for version in (self.candidate, self.current if self.versions else None):
            if version is not None and version.is_good(now, self.policy.probation):
                version.proven, self.candidate = True, None
        for index, (old, new) in enumerate(zip(self.policy.limits, policy.limits, strict=False)):
            if old.drift_window != new.drift_window:
                self.eras[index] = self.eras.get(index, 0) + 1
        self.policy, self.stored = policy, stored

    def exhaust(self, now: int) -> None:
        """Note that every parameter was moved, and has no budget left, whatever it is from now on."""
        for index in range(SLOTS):
            self.eras[index] = self.eras.get(index, 0) + 1
            self.moves.setdefault(index, []).append(Move(now, 0, 1, 0, self.eras[index], FULL, 0))

    def move(self, index: int, distance: int, now: int) -> None:
        """Note that a parameter was moved."""
        limits = self.policy.limits[index]
        used, before = self._shares(index, now)
        if limits.drift_window:
            used += _shares(distance, limits.drift_budget)
        moves, era = self.moves.setdefault(index, []), self.eras.get(index, 0)
        moves.append(Move(now, distance, limits.drift_budget, limits.drift_window, era, used, before))

    def memory(self) -> tuple[int, ...]:
        """What the steward has to remember: 42 bits a parameter, six parameters a word."""
        found = [0, 0, 0]
        for index, moves in self.moves.items():
            state = _minute(moves[-1].at) << 16 | moves[-1].used << 8 | moves[-1].before
            found[index // 6] |= state << (42 * (index % 6))
        return tuple(found)

    def rests_until(self, index: int) -> int:
        """When a parameter may be moved again as far as its cooldown goes, counted from the end of a minute."""
        moves = self.moves.get(index)
        return MINUTE * _minute(moves[-1].at) + self.policy.limits[index].cooldown if moves else 0

    def room(self, index: int, live: int, now: int) -> tuple[int, int]:
        """Return the lowest and the highest value that step, cooldown and budget leave a parameter."""
        limits = self.policy.limits[index]
        if now < self.rests_until(index):
            return live, live
        down, up = steps(limits, live)
        if limits.drift_window:
            left = FULL - sum(self._shares(index, now))
            most = max(0, left) * limits.drift_budget // FULL
            down, up = min(down, most), min(up, most)
        return max(0, live - down), live + up

    def check_move(self, index: int, live: int, proposed: int, now: int) -> None:
        """Refuse a move that step, cooldown or budget forbid. Raises Refused."""
        limits, distance = self.policy.limits[index], abs(proposed - live)
        down, up = steps(limits, live)
        require(distance <= (up if proposed > live else down), f"parameter {index}: step too large")
        require(now >= self.rests_until(index), f"parameter {index}: cooldown not over")
        if limits.drift_window:
            used = sum(self._shares(index, now))
            fits = distance <= limits.drift_budget and used + _shares(distance, limits.drift_budget) <= FULL
            require(fits, f"parameter {index}: drift budget spent")

    def moved_in_window(self, index: int) -> Fraction:
        """Add up the window that ends with the last move, in budgets, as far back as windows were as long as now."""
        moves = self.moves[index]
        last = moves[-1]
        window = [move for move in moves if move.era == last.era and move.at >= last.at - last.window]
        return sum((Fraction(move.distance, move.budget) for move in window), Fraction())

    def _shares(self, index: int, now: int) -> tuple[int, int]:
        """Shares that are gone: of the epoch that holds `now`, and of the one before."""
        window, moves = self.policy.limits[index].drift_window // MINUTE, self.moves.get(index)
        if not moves:
            return 0, 0
        last = moves[-1]
        if not window:
            return last.used, last.before
        epochs = _minute(now) // window - _minute(last.at) // window
        return (last.used, last.before) if epochs == 0 else (0, last.used) if epochs == 1 else (0, 0)


def epoch_end(window: int, now: int) -> int:
    """Return the last second that counts to the same epoch of a window as now."""
    minutes = window // MINUTE
    return MINUTE * (_minute(now) // minutes * minutes + minutes - 1)


def steps(limits: Limits, live: int) -> tuple[int, int]:
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
        for side in (rule.a, rule.b):
            require(values[side] < 2**128, f"parameter {side}: too large")
        require(values[rule.a] * rule.factor_a <= values[rule.b] * rule.factor_b, f"invariant {index} broken")


def check_within(policy: Policy, values: Values) -> None:
    """Refuse values outside corridors or orders. Raises Refused."""
    for index in range(len(policy.limits)):
        check_corridor(policy, index, values[index])
    check_invariants(policy, values)


@lru_cache(maxsize=4_096)
def _state_hash(address: str, market: bytes, values: Values) -> bytes:
    return keccak(words((int(address, 16), CHAIN)) + market + words((128, len(values), *values)))


def _minute(seconds: int) -> int:
    """The minute that a moment is counted to: the one that ends next, or just now."""
    return -(-seconds // MINUTE)


def _shares(distance: int, budget: int) -> int:
    return -(-distance * FULL // budget)
