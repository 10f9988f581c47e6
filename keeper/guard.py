"""Decide whether inputs may be used and whether a proposal may be sent: pure, and one reason per refusal.

Three reviews, in the order a tick makes them: the inputs, the proposal against every limit, the simulated effect.
Each returns None (or Approved, at the end) or the first rule that is broken.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from keeper.limits import announcement, outside_corridor, unknown_id, verdict
from keeper.messages import Approved, ProposalKind, Reason, Rejected

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from config.schema import FeedSettings, GuardSettings
    from keeper.limits import Finding
    from keeper.messages import Preflight, Proposal
    from models.forecaster import Forecast
    from models.market import MarketState, Quote, Snapshot

NOTICE = frozenset({Reason.NOT_ANNOUNCED, Reason.NOTICE_RUNNING, Reason.VETOED})
"""What the steward says of a tightening that is sound but for its notice."""

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
    proposal: Proposal,
    state: MarketState,
    names: Sequence[str],
    once_applied: Collection[tuple[int, ...]],
    now: int,
    announced_at: int | None,
) -> Rejected | None:
    """Hold a proposal against the state it claims, every limit that holds on chain, and what the keeper asks besides.

    A proposal refused with a reason of `NOTICE` has no other fault. `names` are the parameters' in id order,
    `once_applied` the values of the versions that the journal saw in force, `announced_at` as in `limits.verdict`.
    """
    finding = verdict(proposal, state, now, announced_at, names)
    if finding is None or finding[0] in NOTICE:
        finding = next(_own_rules(proposal, state, names, once_applied), finding)
    return None if finding is None else Rejected(state.market, finding[0], finding[1], state.block, proposal)


def review_announcement(proposal: Proposal, state: MarketState, names: Sequence[str], now: int) -> Rejected | None:
    """Hold a change that lacks nothing but its notice against what the steward asks of an announcement."""
    finding = announcement(proposal, state, now, None, names)
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
    if forecast.vol_rise is not None and not _believable(forecast.vol_rise):
        return f"the rise of implied volatility is {forecast.vol_rise}"
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


def _own_rules(
    proposal: Proposal, state: MarketState, names: Sequence[str], once_applied: Collection[tuple[int, ...]]
) -> Iterator[Finding]:
    """Yield what the steward would let pass, or cannot know."""
    if proposal.policy != state.policy:
        yield Reason.POLICY_CHANGED, f"computed for the policy at {proposal.policy}, in force is {state.policy}"
    if proposal.current != state.values:
        yield Reason.STATE_CHANGED, f"computed for {proposal.current}, live is {state.values}"
    for target in proposal.targets:
        yield from unknown_id(target.id, state)
        yield from outside_corridor(target, state, names, "target")
    if proposal.kind is ProposalKind.ROLLBACK and proposal.values not in once_applied:
        yield Reason.NOT_LAST_GOOD, f"the journal never saw {proposal.values} applied"


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
