"""Simulate the steward and the market's parameters: its verdicts are those of `keeper.limits`, its memory the same."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING

from keeper import limits
from keeper.messages import ProposalKind
from models.market import Invariant, MarketState, ParameterState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keeper.backtest.rules import Rules
    from keeper.limits import Finding
    from keeper.messages import Proposal
    from models.market import BlockStamp

POLICY = "0x" + "00" * 19 + "01"
"""Stands for the address of the one policy that is in force throughout."""


@dataclass(frozen=True, slots=True)
class Version:
    """One version of the parameters: targets, and where the ramps of open positions began. Values in id order."""

    at: int
    values: tuple[int, ...]
    ramp_from: tuple[int, ...]
    ramp_at: tuple[int, ...]


class SimulatedSteward:
    """One market's steward with the parameters it sets; times are Unix seconds, values on-chain units."""

    def __init__(self, rules: Rules, initial: Sequence[int], now: int) -> None:
        protocol, policies = rules.protocol, rules.policies
        self._rules = rules
        self._names = [parameter.name for parameter in protocol.parameters]
        self._ramp = policies.ramp_seconds or 0
        self._ramped = [parameter.role is not None for parameter in protocol.parameters]
        self._invariants = tuple(Invariant(*one) for one in protocol.inequalities())
        self._rows = tuple(_row(rules, index, value) for index, value in enumerate(initial))
        self._sequence = 0
        self._good = tuple(initial)
        self._candidate: Version | None = None
        self._is_good = True
        self._state_hash = _hash(rules.market, self._good)
        self.versions = [Version(now, self._good, self._good, (0,) * len(self._good))]

    @property
    def values(self) -> tuple[int, ...]:
        """What new positions obey."""
        return self.versions[-1].values

    @property
    def settled_at(self) -> int:
        """When the last ramp ends: from then on open positions obey what new ones do."""
        return self.versions[-1].at + self._ramp

    def state(self, block: BlockStamp, price: float) -> MarketState:
        """Return what a keeper would read at a block, but for what no decision is made by.

        That is the accounts, which the option book has, and the parameters that open positions obey: see `effective`.
        """
        return MarketState(
            market=self._rules.market,
            block=block,
            sequence=self._sequence,
            state_hash=self._state_hash,
            paused=False,
            parameters=self._rows,
            last_good=self._last_good(block.timestamp),
            oracle_price=price,
            oracle_updated_at=block.timestamp,
            accounts=(),
            invariants=self._invariants,
            policy=POLICY,
            version_hash=self._state_hash,
        )

    def execute(self, proposal: Proposal, state: MarketState, announced_at: int | None) -> Finding | None:
        """Make a change in the block of `state`; return the rule that refuses it, None when it is made."""
        now = state.block.timestamp
        refusal = limits.verdict(proposal, state, now, announced_at, self._names)
        if refusal is None:
            self._is_good = self._leave(proposal, now)
            if proposal.kind is ProposalKind.TUNE:
                self._remember(proposal, now)
            self._begin(proposal.values, now)
            self._sequence += 1
            self._state_hash = _hash(self._rules.market, proposal.values)
        return refusal

    def effective(self, now: int) -> tuple[int, ...]:
        """Return what open positions obey at a time, by the version of then."""
        version = next((v for v in reversed(self.versions) if v.at <= now), self.versions[0])
        return self._in_effect(version, now)

    def _in_effect(self, version: Version, now: int) -> tuple[int, ...]:
        return tuple(
            map(self._one_in_effect, version.values, version.ramp_from, version.ramp_at, [now] * len(self._rows))
        )

    def _one_in_effect(self, target: int, start: int, began: int, now: int) -> int:
        elapsed = now - began
        if elapsed >= self._ramp:
            return target
        return start + (target - start) * elapsed // self._ramp

    def _begin(self, values: tuple[int, ...], now: int) -> None:
        """Start the ramps of what changed: a tightening from the value in effect, a loosening at its end."""
        last = self.versions[-1]
        effective = self._in_effect(last, now)
        starts, times = list(last.ramp_from), list(last.ramp_at)
        for row, value in zip(self._rows, values, strict=True):
            if value != last.values[row.id]:
                tighter = min if row.tightening_up else max
                starts[row.id] = tighter(value, effective[row.id]) if self._ramped[row.id] else value
                times[row.id] = now
        self.versions.append(Version(now, values, tuple(starts), tuple(times)))
        self._rows = tuple(
            replace(row, value=value, effective=value) for row, value in zip(self._rows, values, strict=True)
        )

    def _remember(self, proposal: Proposal, now: int) -> None:
        """Keep when a parameter moved and what it used of its drift budget, as the steward does."""
        minute = _minute(now)
        rows = list(self._rows)
        for change in proposal.changes:
            row = rows[change.id]
            if change.value != row.value:
                used, before = _charged(row, abs(change.value - row.value), now)
                rows[change.id] = replace(row, changed_at=minute, drift_used=used, drift_before=before)
        self._rows = tuple(rows)

    def _leave(self, proposal: Proposal, now: int) -> bool:
        """Keep the current version as `snapshots.vy` does when the next is made; return whether that is proven."""
        back = proposal.kind is ProposalKind.ROLLBACK
        if self._proven(now) and not back:
            self._good, self._candidate = self.values, None
            return False
        if self._matured(now) and self._candidate is not None:
            self._good, self._candidate = self._candidate.values, None
        if back:
            self._candidate = None
            return True
        self._candidate = self._candidate or self.versions[-1]
        if _minute(self._candidate.at) >= self._corrected_by(proposal, now):
            self._candidate = None
        return False

    def _corrected_by(self, proposal: Proposal, now: int) -> float:
        """Return the end of the minute of the earliest change on probation that is moved again, else infinity."""
        moved = [self._rows[change.id] for change in proposal.changes if change.value != self.values[change.id]]
        probation = self._rules.policies.probation_seconds
        times = [row.changed_at for row in moved if row.changed_at]
        return min((time for time in times if now < time + probation), default=inf)

    def _last_good(self, now: int) -> tuple[int, ...]:
        if self._proven(now):
            return self.values
        return self._candidate.values if self._candidate is not None and self._matured(now) else self._good

    def _matured(self, now: int) -> bool:
        return self._candidate is not None and now - self._candidate.at >= self._rules.policies.probation_seconds

    def _proven(self, now: int) -> bool:
        return self._is_good or now - self.versions[-1].at >= self._rules.policies.probation_seconds


def _minute(now: int) -> int:
    """Return the end of the minute that a moment is remembered as, in Unix seconds."""
    return limits.minute_of(now) * limits.MINUTE


def _charged(row: ParameterState, distance: int, now: int) -> tuple[int, int]:
    """Return the shares of the drift budget used in this epoch, this move included, and in the one before."""
    if row.drift_window == 0:
        return row.drift_used, row.drift_before
    window = row.drift_window // limits.MINUTE
    epochs = limits.minute_of(now) // window - limits.minute_of(row.changed_at) // window
    used = -(-distance * limits.FULL // row.drift_budget)
    if epochs == 0:
        return used + row.drift_used, row.drift_before
    return used, row.drift_used if epochs == 1 else 0


def _row(rules: Rules, index: int, value: int) -> ParameterState:
    parameter = rules.protocol.parameters[index]
    limit = rules.policies.limits[parameter.name]
    group = rules.protocol.group_of(index)
    return ParameterState(
        id=index,
        value=value,
        effective=value,
        minimum=limit.minimum,
        maximum=limit.maximum,
        max_step_up=limit.max_step_up,
        max_step_down=limit.max_step_down,
        cooldown=limit.cooldown_seconds,
        changed_at=0,
        relative=limit.relative,
        drift_budget=limit.drift_budget,
        drift_window=limit.drift_window_seconds,
        tightening_up=parameter.tightening == "up",
        notice=limit.notice_seconds,
        reversible=parameter.reversible,
        coupled=sum(1 << other for other in group) if len(group) > 1 else 0,
        drift_used=0,
        drift_before=0,
    )


def _hash(market: str, values: Sequence[int]) -> str:
    return "0x" + hashlib.sha256(f"{market}:{values}".encode()).hexdigest()
