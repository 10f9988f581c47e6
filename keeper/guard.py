"""Decide whether inputs may be used and whether a proposal may be sent: pure, and one reason per refusal.

Three reviews, in the order a tick makes them: the inputs, the proposal against every limit, the simulated effect.
Each returns None (or Approved, at the end) or the first rule that is broken.
"""

from __future__ import annotations

from itertools import pairwise, starmap
from typing import TYPE_CHECKING

from keeper.messages import Approved, Change, ProposalKind, Reason, Rejected

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from config.protocol import Protocol
    from config.schema import FeedSettings, GuardSettings
    from keeper.messages import Preflight, Proposal
    from models.forecaster import Forecast
    from models.market import MarketState, Quote, Snapshot

Finding = tuple[Reason, str]

LARGEST_MOVE = 10.0
"""Largest log-change in a forecast that is believed at all: a factor of 22,000. What is beyond could overflow."""


def review_inputs(
    snapshot: Snapshot, used: Mapping[str, Quote], feeds: Mapping[str, FeedSettings], guard: GuardSettings, now: int
) -> Rejected | None:
    """Refuse to decide on quotes or an oracle price that cannot be trusted.

    `used` holds the quotes of the last decision by feed, `now` is Unix seconds.
    """
    state = snapshot.state
    finding = _oracle(state, guard, now) or _quotes(snapshot, used, feeds, now) or _agreement(snapshot, guard)
    return None if finding is None else Rejected(state.market, finding[0], finding[1], state.block)


def trusted(
    snapshot: Snapshot, used: Mapping[str, Quote], feeds: Mapping[str, FeedSettings], guard: GuardSettings, now: int
) -> Quote | None:
    """Return the spot quote if it is fresh and plausible and the oracle is fresh: only then do they disagree."""
    spot = snapshot.spot
    if spot is None or _oracle(snapshot.state, guard, now) is not None:
        return None
    settings = feeds[spot.feed]
    doubt = _stale(spot, settings, now) or implausible(spot, used.get(spot.feed), settings)
    return spot if doubt is None else None


def implausible(quote: Quote, reference: Quote | None, settings: FeedSettings) -> Finding | None:
    """Say why a quote is not to be believed on its own, or None."""
    name = f"feed {quote.feed}"
    if not settings.minimum <= quote.value <= settings.maximum:
        return (
            Reason.FEED_OUT_OF_RANGE,
            f"{name}: {quote.value:g} is outside {settings.minimum:g}..{settings.maximum:g}",
        )
    if reference is not None:
        ratio = max(quote.value / reference.value, reference.value / quote.value)
        if ratio > settings.max_jump:
            text = f"{name}: {reference.value:g} to {quote.value:g} is x{ratio:.2f}, max_jump is {settings.max_jump:g}"
            return Reason.FEED_JUMPED, text
    return None


def diverges(value: float, oracle: float, limit: float) -> bool:
    """Say whether a price is further from the oracle's than the limit, relative to the oracle's."""
    return not abs(value - oracle) <= limit * oracle


def review_forecast(forecast: Forecast | None, state: MarketState, bars: int, min_bars: int) -> Rejected | None:
    """Refuse a forecast that is not finite, not ordered, on the wrong side of zero, or made from too little."""
    if forecast is None or bars < min_bars:
        return Rejected(state.market, Reason.MODEL_WARMING_UP, f"{bars} bars of {min_bars} needed", state.block)
    fault = forecast_fault(forecast)
    return None if fault is None else Rejected(state.market, Reason.MODEL_NOT_FINITE, fault, state.block)


def review(
    proposal: Proposal, state: MarketState, protocol: Protocol, once_applied: Collection[tuple[int, ...]], now: int
) -> Rejected | None:
    """Hold a proposal against the state it claims and every limit that holds on chain.

    A rollback may skip cooldown and step size, never corridor or invariants, and restores the last good version only.
    """
    rules = _rollback_rules if proposal.kind is ProposalKind.ROLLBACK else _tune_rules
    finding = next(_binding(proposal, state, now), None) or next(
        rules(proposal, state, protocol, once_applied, now), None
    )
    return None if finding is None else Rejected(state.market, finding[0], finding[1], state.block, proposal)


def review_impact(proposal: Proposal, preflight: Preflight, guard: GuardSettings) -> Approved | Rejected:
    """Judge what the exact calldata did on a copy of the chain."""
    finding = _impact(proposal, preflight, guard)
    if finding is None:
        return Approved(proposal, preflight)
    return Rejected(proposal.market, finding[0], finding[1], preflight.block, proposal)


def _oracle(state: MarketState, guard: GuardSettings, now: int) -> Finding | None:
    age = now - state.oracle_updated_at
    if state.oracle_price <= 0 or age > guard.max_oracle_age_seconds:
        limit = guard.max_oracle_age_seconds
        text = f"oracle price {state.oracle_price:g} is {age} s old, max_oracle_age_seconds is {limit}"
        return Reason.STALE_ORACLE, text
    return None


def _quotes(
    snapshot: Snapshot, used: Mapping[str, Quote], feeds: Mapping[str, FeedSettings], now: int
) -> Finding | None:
    for kind, quote in (("spot", snapshot.spot), ("vol", snapshot.vol)):
        if quote is None:
            return Reason.MISSING_FEED, f"no {kind} quote has been accepted yet"
        settings = feeds[quote.feed]
        finding = _stale(quote, settings, now) or implausible(quote, used.get(quote.feed), settings)
        if finding is not None:
            return finding
    return None


def _stale(quote: Quote, settings: FeedSettings, now: int) -> Finding | None:
    age = now - quote.timestamp_ms / 1000
    if age <= settings.max_age_seconds:
        return None
    return Reason.STALE_FEED, f"feed {quote.feed}: {age:.0f} s old, max_age_seconds is {settings.max_age_seconds}"


def _agreement(snapshot: Snapshot, guard: GuardSettings) -> Finding | None:
    spot, oracle = snapshot.spot, snapshot.state.oracle_price
    if spot is not None and diverges(spot.value, oracle, guard.max_oracle_deviation):
        text = (
            f"feed {spot.feed} says {spot.value:g}, the oracle {oracle:g}: over {guard.max_oracle_deviation:.1%} apart"
        )
        return Reason.FEED_DIVERGES, text
    return None


def forecast_fault(forecast: Forecast) -> str | None:
    """Return what is wrong with a forecast, None when nothing is."""
    lower, upper = forecast.published
    if not -LARGEST_MOVE <= lower < 0 < upper <= LARGEST_MOVE:
        return f"published margin {lower:g}, {upper:g} does not enclose zero within +-{LARGEST_MOVE:g}"
    rows = [(f"{horizon} s", tail.quantiles) for horizon, tail in forecast.horizons.items()]
    rows += [(f"iv {horizon} s", quantiles) for horizon, quantiles in (forecast.iv_horizons or {}).items()]
    for name, quantiles in rows:
        if not all(map(_believable, quantiles)):
            return f"a quantile at {name} is not within +-{LARGEST_MOVE:g}: {quantiles}"
        if any(low > high for low, high in pairwise(quantiles)):
            return f"the quantiles at {name} are not ascending: {quantiles}"
    for horizon, tail in forecast.horizons.items():
        if not (_believable(tail.es_lower) and _believable(tail.es_upper)):
            return f"the expected shortfall at {horizon} s is {tail.es_lower}, {tail.es_upper}"
    return None


def _believable(move: float) -> bool:
    return abs(move) <= LARGEST_MOVE  # NaN is not


def _binding(proposal: Proposal, state: MarketState, now: int) -> Iterator[Finding]:
    """Yield what ties a proposal to a moment and a state that no longer exist."""
    if now > proposal.deadline:
        yield Reason.EXPIRED, f"the deadline passed {now - proposal.deadline} s ago"
    if proposal.sequence != state.sequence + 1:
        yield Reason.SEQUENCE_TAKEN, f"sequence {proposal.sequence} does not follow {state.sequence}"
    if proposal.state_hash != state.state_hash or proposal.current != state.values:
        yield Reason.STATE_CHANGED, f"computed for {proposal.current}, live is {state.values}"


def _tune_rules(
    proposal: Proposal, state: MarketState, protocol: Protocol, _: Collection[tuple[int, ...]], now: int
) -> Iterator[Finding]:
    if state.paused:
        yield Reason.PAUSED, "the steward is paused"
    yield from _ids(proposal, state)
    yield from _groups(proposal, state, protocol)
    yield from _corridor(proposal.targets, state, protocol, "target")
    yield from _corridor(proposal.changes, state, protocol, "value")
    yield from _steps(proposal, state, protocol, now)
    yield from _invariants(proposal, protocol)


def _rollback_rules(
    proposal: Proposal, state: MarketState, protocol: Protocol, once_applied: Collection[tuple[int, ...]], _: int
) -> Iterator[Finding]:
    if not proposal.changes:
        yield Reason.NO_EFFECT, "the last good version is live"
    yield from _ids(proposal, state)
    if proposal.values != state.last_good:
        yield Reason.NOT_LAST_GOOD, f"{proposal.values} is not the last good version {state.last_good}"
    if proposal.values not in once_applied:
        yield Reason.NOT_LAST_GOOD, f"the journal never saw {proposal.values} applied"
    yield from _reversible(proposal, protocol)
    # All of them: the steward checks the whole version that it restores.
    yield from _corridor(tuple(starmap(Change, enumerate(proposal.values))), state, protocol, "value")
    yield from _invariants(proposal, protocol)


def _ids(proposal: Proposal, state: MarketState) -> Iterator[Finding]:
    ids = [change.id for change in proposal.changes]
    if any(low >= high for low, high in pairwise(ids)):
        yield Reason.NOT_ASCENDING, f"ids {ids}"
    for index in (*ids, *(target.id for target in proposal.targets)):
        if not 0 <= index < len(state.parameters):
            yield Reason.UNKNOWN_PARAMETER, f"id {index}, the steward knows {len(state.parameters)} parameters"


def _groups(proposal: Proposal, state: MarketState, protocol: Protocol) -> Iterator[Finding]:
    ids = [change.id for change in proposal.changes]
    if proposal.values == state.values:
        yield Reason.NO_EFFECT, "the proposed values are live"
    for index in ids:
        missing = [protocol.parameters[i].name for i in protocol.group_of(index) if i not in ids]
        if missing:
            yield Reason.GROUP_SPLIT, f"{protocol.parameters[index].name} moves without {', '.join(missing)}"


def _corridor(changes: tuple[Change, ...], state: MarketState, protocol: Protocol, what: str) -> Iterator[Finding]:
    for change in changes:
        limits = state.parameters[change.id]
        if not limits.minimum <= change.value <= limits.maximum:
            name = protocol.parameters[change.id].name
            corridor = f"{limits.minimum}..{limits.maximum}"
            yield Reason.OUTSIDE_CORRIDOR, f"{name}: {what} {change.value} is outside {corridor}"


def _steps(proposal: Proposal, state: MarketState, protocol: Protocol, now: int) -> Iterator[Finding]:
    for change in proposal.changes:
        limits, name = state.parameters[change.id], protocol.parameters[change.id].name
        step = change.value - limits.value
        if step > limits.max_step_up or -step > limits.max_step_down:
            allowed = f"+{limits.max_step_up}/-{limits.max_step_down}"
            yield Reason.STEP_TOO_LARGE, f"{name}: {limits.value} to {change.value}, allowed {allowed}"
        ready = limits.changed_at + limits.cooldown
        if step and limits.changed_at and now < ready:
            yield Reason.COOLING_DOWN, f"{name}: another {ready - now} s"


def _invariants(proposal: Proposal, protocol: Protocol) -> Iterator[Finding]:
    values = proposal.values
    for low, high in protocol.ordered_pairs():
        if values[low] > values[high]:
            names = protocol.parameters[low].name, protocol.parameters[high].name
            yield Reason.INVARIANT_BROKEN, f"{names[0]} {values[low]} must not exceed {names[1]} {values[high]}"


def _reversible(proposal: Proposal, protocol: Protocol) -> Iterator[Finding]:
    for change in proposal.changes:
        if not protocol.parameters[change.id].reversible:
            yield Reason.NOT_LAST_GOOD, f"{protocol.parameters[change.id].name} cannot be set back"


def _impact(proposal: Proposal, preflight: Preflight, guard: GuardSettings) -> Finding | None:
    if preflight.error is not None:
        return Reason.SIMULATION_FAILED, preflight.error
    if preflight.values != proposal.values:
        return Reason.SIMULATION_DISAGREES, f"simulated {preflight.values}, proposed {proposal.values}"
    hit = preflight.newly_liquidatable
    if len(hit) > guard.max_newly_liquidatable:
        shown = ", ".join(hit[:5]) + (", ..." if len(hit) > 5 else "")
        return Reason.IMPACT_TOO_LARGE, f"{len(hit)} accounts, bound {guard.max_newly_liquidatable}: {shown}"
    return None
