"""Compare what was promised with what is observed, and say when that is an anomaly.

A broken promise about the values themselves, or accounts liquidated that the simulation did not foresee, demand a
rollback. Doubts about the inputs or the margin demand one only where it makes margins tighter: loosening them while
the market runs would add harm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from scipy.special import bdtrc

from keeper.guard import diverges
from keeper.messages import Incident, IncidentKind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from chain.steward import StewardEvent
    from config.protocol import Protocol
    from config.schema import GuardSettings, WatchSettings
    from keeper.messages import Preflight, Undone
    from models.market import Account, MarketState, Quote


MAKERS = {"tune": "another keeper", "rollback": "another keeper", "rebase": "governance"}


@dataclass(frozen=True, slots=True)
class Promise:
    """One version: the values that were decided, and those the chain showed when it was mined (id order)."""

    sequence: int
    decided: tuple[int, ...]
    shown: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Realised:
    """One bar's log-return beside the margin (lower 1 %, upper 99 %) that was published before the bar."""

    move: float
    lower: float
    upper: float

    @property
    def breached(self) -> bool:
        """Say whether the move left the margin."""
        return not self.lower <= self.move <= self.upper


def inspect(
    state: MarketState,
    promise: Promise | None,
    spot: Quote | None,
    realised: Collection[Realised],
    protocol: Protocol,
    guard: GuardSettings,
    watch: WatchSettings,
    doubts: int = 0,
) -> tuple[Incident, ...]:
    """Return the anomalies in a market at one block, the gravest first.

    `spot` is a quote that may be believed, None without one; `doubts` counts the ticks before this one at which it
    stood apart from the oracle: one message alone never moves a parameter.
    """
    return (
        *_broken_promise(state, promise),
        *_oracle(state, spot, protocol, guard, doubted=doubts + 1 >= watch.persistence_ticks),
        *_breaches(state, realised, protocol, watch),
    )


def inspect_history(
    state: MarketState, foreign: Sequence[StewardEvent], undone: Sequence[Undone]
) -> tuple[Incident, ...]:
    """Return an incident for each change that another keeper made, and for our own that a reorganisation took back."""
    return tuple(_reorged(state, gone) for gone in undone) + tuple(
        Incident(
            state.market,
            IncidentKind.FOREIGN_CHANGE,
            f"version {change.sequence} was made by {MAKERS[change.kind]} in {change.tx_hash}",
            state.block,
            demands_rollback=False,
            observed=change.values,
        )
        for change in foreign
    )


def inspect_liquidations(
    before: Sequence[Account], after: MarketState, preflight: Preflight, guard: GuardSettings
) -> tuple[Incident, ...]:
    """Return an incident when a mined change made more accounts liquidatable than its simulation showed."""
    already = {account.address for account in before if account.liquidatable}
    hit = {account.address for account in after.accounts if account.liquidatable} - already
    surprises = sorted(hit - set(preflight.newly_liquidatable))
    if len(surprises) <= guard.max_newly_liquidatable:
        return ()
    detail = (
        f"{len(surprises)} accounts became liquidatable that the simulation did not show: {', '.join(surprises[:5])}"
    )
    return (_incident(after, IncidentKind.UNEXPECTED_LIQUIDATIONS, detail, demands_rollback=True),)


def _reorged(state: MarketState, undone: Undone) -> Incident:
    detail = f"version {undone.sequence} in {undone.tx_hash} is no longer on chain: it is broadcast again"
    return Incident(state.market, IncidentKind.REORGED, detail, state.block, demands_rollback=False)


def _incident(
    state: MarketState, kind: IncidentKind, detail: str, promised: tuple[int, ...] = (), *, demands_rollback: bool
) -> Incident:
    observed = state.values if promised else ()
    return Incident(state.market, kind, detail, state.block, demands_rollback, promised, observed)


def _broken_promise(state: MarketState, promise: Promise | None) -> Iterator[Incident]:
    if promise is None or state.sequence != promise.sequence:
        return
    if state.values == promise.shown != promise.decided:
        detail = f"version {promise.sequence} was decided as {promise.decided}, the chain shows {state.values}"
        yield _incident(state, IncidentKind.READBACK_MISMATCH, detail, promise.decided, demands_rollback=True)
    elif state.values != promise.shown:
        detail = f"{promise.shown} became {state.values} without a new version: changed behind the steward"
        yield _incident(state, IncidentKind.FOREIGN_CHANGE, detail, promise.shown, demands_rollback=False)


def _oracle(
    state: MarketState, spot: Quote | None, protocol: Protocol, guard: GuardSettings, *, doubted: bool
) -> Iterator[Incident]:
    if spot is not None and diverges(spot.value, state.oracle_price, guard.max_oracle_deviation):
        detail = f"feed {spot.feed} says {spot.value:g}, the oracle {state.oracle_price:g}"
        tighter = doubted and _last_good_is_tighter(state, protocol)
        yield _incident(state, IncidentKind.ORACLE_DIVERGED, detail, demands_rollback=tighter)


def _breaches(
    state: MarketState, realised: Collection[Realised], protocol: Protocol, watch: WatchSettings
) -> Iterator[Incident]:
    breaches = sum(bar.breached for bar in realised)
    chance = float(bdtrc(breaches - 1, len(realised), watch.breach_rate)) if breaches else 1.0
    if chance < watch.breach_significance:
        detail = f"{breaches} of {len(realised)} bars left the published margin, by chance {chance:.2g}"
        tighter = _last_good_is_tighter(state, protocol)
        yield _incident(state, IncidentKind.MARGIN_BREACHED, detail, demands_rollback=tighter)


def _last_good_is_tighter(state: MarketState, protocol: Protocol) -> bool:
    """Say whether restoring the last good version would tighten something and loosen nothing."""
    if state.last_good == state.values:
        return False
    moves = zip(protocol.parameters, state.values, state.last_good, strict=True)
    return all((good - live) * (1 if p.tightening == "up" else -1) >= 0 for p, live, good in moves)
