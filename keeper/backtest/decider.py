"""Decide as a tick of the live keeper does, with the same functions in the same order, on a simulated market."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from keeper import announcements, guard, limits
from keeper.announcements import Announcement
from keeper.assess import assess
from keeper.backtest.rules import ratios
from keeper.backtest.track import BLOCK_SECONDS, Done, Move
from keeper.messages import Announced, Approved, Preflight, Proposal, ProposalKind, Reason, Rejected
from keeper.objective import holdings
from keeper.propose import Stay, carry, plan, rollback
from keeper.watch import inspect
from models.forecaster import DAY
from models.market import BlockStamp, Snapshot

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from keeper.backtest.book import Book
    from keeper.backtest.rules import Rules
    from keeper.backtest.stages import Stages
    from keeper.backtest.steward import SimulatedSteward
    from keeper.backtest.track import Code, Track
    from keeper.watch import Realised
    from models.forecaster import Forecast
    from models.market import MarketState, Quote

GAS = 109_500
"""Of a change or an announcement, whatever its size: `keeper bench gas`, six parameters and one signature."""

CONFIRM_SECONDS = 3_600
"""An operator is taken to have confirmed a quote that has been refused as a jump for so long."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What a tick has in hand; `now` is Unix seconds, `bars` how many the forecast was made from.

    `breaches` counts those of the whole run, `realised` holds the newest bars.
    """

    now: int
    spot: Quote
    vol: Quote | None
    forecast: Forecast | None
    model_id: str
    bars: int
    realised: Collection[Realised]
    breaches: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """The end of a tick: a code and a target for every parameter in id order, and a sentence for an operator."""

    codes: tuple[Code, ...]
    targets: tuple[int | None, ...]
    detail: str


class Decider:
    """One market's decisions, and what later ones need of earlier ones."""

    def __init__(self, rules: Rules, steward: SimulatedSteward, book: Book, track: Track, stages: Stages) -> None:
        self._stages = stages
        self._rules, self._steward, self._book, self._track = rules, steward, book, track
        self._names = [parameter.name for parameter in rules.protocol.parameters]
        self._used: dict[str, Quote] = {}
        self._jumped_at: int | None = None
        self._calm_since: int | None = None  # breaches with which nothing was wrong: only one more can change that
        self._once_applied = {steward.values}
        self._pending: Announcement | None = None
        self._given_up: list[Announcement] = []
        self._reviewed: tuple[Forecast | None, Rejected | None] | None = None
        self._unsynced: list[tuple[int, float, float]] = []

    @property
    def values(self) -> tuple[int, ...]:
        """What new positions obey, in id order."""
        return self._steward.values

    @property
    def due(self) -> int | None:
        """When the notice of an announced change is over, Unix seconds; None without one."""
        return None if self._pending is None else self._pending.announced.applicable_at

    def believable(self, quote: Quote) -> bool:
        """Say whether a spot quote may shape a bar."""
        return guard.implausible(quote, self._used.get(quote.feed), self._rules.feeds[quote.feed]) is None

    def decide(self, sight: Sight, volatility: float) -> Verdict:
        """Make one decision and carry it out. `volatility` prices new options where no vol quote does."""
        self._unsynced.append((sight.now, sight.spot.value, volatility))
        state = self._state(sight.now, sight.spot.value)
        snapshot = Snapshot(state, sight.spot, sight.vol)
        grave = self._grave(state, sight)
        if grave is not None:
            seconds = self._rules.settings.propose.deadline_seconds
            return self._carry_out(rollback(state, grave, state.state_hash, sight.now, seconds), snapshot, {}, ())
        refused = self._inputs(snapshot, sight.now)
        if refused is not None:
            return self._refusal(refused)
        if self._pending is not None:
            return self._take_up(self._pending, snapshot, sight.now)
        refused = self._unfit(sight, state)
        return self._tune(snapshot, sight) if refused is None else self._refusal(refused)

    def keep_still(self, sight: Sight, volatility: float) -> Verdict:
        """Leave the parameters alone."""
        self._unsynced.append((sight.now, sight.spot.value, volatility))
        return Verdict((Done.STATIC,) * len(self._names), (None,) * len(self._names), "")

    def bring_book(self) -> None:
        """Bring the option book to the newest tick, under the parameters that stood meanwhile."""
        if not self._unsynced:
            return
        ticks, self._unsynced = self._unsynced, []
        times = np.array([at for at, _, _ in ticks], dtype=np.int64)
        effective, before = self._in_effect(times), self._in_effect(times - DAY)
        self._track.shocks.extend((float(row[0]), float(row[1])) for row in effective)
        targets = np.tile(ratios(self._rules, self._steward.values), (len(times), 1))
        prices, vols = (np.array([tick[column] for tick in ticks]) for column in (1, 2))
        with self._stages.measured("book"):
            self._book.advance(times, prices, vols, effective, targets, before)

    def _in_effect(self, times: np.typing.NDArray[np.int64]) -> np.typing.NDArray[np.float64]:
        """Return the ratios that open positions obeyed, a row a time."""
        if self._steward.settled_at <= times[0]:
            return np.tile(ratios(self._rules, self._steward.values), (len(times), 1))
        return np.array([ratios(self._rules, self._steward.effective(int(now))) for now in times])

    def _state(self, now: int, price: float) -> MarketState:
        return self._steward.state(BlockStamp(now // BLOCK_SECONDS, "", now), price)

    def _grave(self, state: MarketState, sight: Sight) -> str | None:
        """Return why the last good version must be restored. The oracle is the feed: they never stand apart."""
        if self._calm_since == sight.breaches:
            return None
        found = inspect(
            state,
            None,
            None,
            sight.realised,
            self._rules.protocol,
            self._rules.settings.guard,
            self._rules.settings.watch,
        )
        self._calm_since = None if found else sight.breaches
        return next((incident.detail for incident in found if incident.demands_rollback), None)

    def _inputs(self, snapshot: Snapshot, now: int) -> Rejected | None:
        rules = self._rules
        refused = guard.review_inputs(snapshot, self._used, rules.feeds, rules.settings.guard, now)
        if refused is None or refused.reason is not Reason.FEED_JUMPED:
            self._jumped_at = None
            return refused
        if self._jumped_at is None:
            self._jumped_at = now
        if now - self._jumped_at < CONFIRM_SECONDS:
            return refused
        self._track.confirmed += 1
        self._use(snapshot)
        return self._inputs(snapshot, now)

    def _unfit(self, sight: Sight, state: MarketState) -> Rejected | None:
        if self._reviewed is None or self._reviewed[0] is not sight.forecast:
            least = self._rules.settings.model.min_bars
            self._reviewed = sight.forecast, guard.review_forecast(sight.forecast, state, sight.bars, least)
        return self._reviewed[1]

    def _tune(self, snapshot: Snapshot, sight: Sight) -> Verdict:
        state, protocol, settings = snapshot.state, self._rules.protocol, self._rules.settings.propose
        held = announcements.held_off(self._given_up, state, 0, sight.now)
        assessment = assess(snapshot, sight.forecast, sight.model_id, sight.bars)
        # These are `propose`: where the plan moves nothing, the digests of its message make no difference, and where it
        # weighs nothing, the book makes none.
        found = plan(assessment, state, protocol, settings, sight.now, held)
        if found.weighed:
            assessment = replace(assessment, holdings=self._holdings(state))
            found = plan(assessment, state, protocol, settings, sight.now, held)
        targets = tuple(map(found.targets.get, range(len(self._names))))
        if not found.changes:
            self._use(snapshot)
            return Verdict(
                tuple(found.stays[index] for index in range(len(self._names))), targets, "; ".join(found.notes)
            )
        proposal = carry(found, assessment, state, protocol, settings, sight.now)
        assert isinstance(proposal, Proposal)
        return self._carry_out(proposal, snapshot, found.stays, targets)

    def _carry_out(
        self, proposal: Proposal, snapshot: Snapshot, stays: Mapping[int, Code], targets: tuple[int | None, ...]
    ) -> Verdict:
        state = snapshot.state
        now = state.block.timestamp
        refused = guard.review(proposal, state, self._names, self._once_applied, now, None)
        announce = refused is not None and refused.reason is Reason.NOT_ANNOUNCED
        if announce:
            refused = guard.review_announcement(proposal, state, self._names, now)
        if refused is not None:
            return self._of(proposal, refused.reason, stays, targets, refused.detail)
        verdict = guard.review_impact(proposal, self._preflight(proposal, state), self._rules.settings.guard)
        if isinstance(verdict, Rejected):
            return self._of(proposal, verdict.reason, stays, targets, verdict.detail)
        if proposal.kind is ProposalKind.TUNE:
            self._use(snapshot)
        if announce:
            return self._announce(verdict, state, stays, targets)
        return self._execute(verdict, snapshot, None, stays, targets)

    def _announce(
        self, approved: Approved, state: MarketState, stays: Mapping[int, Code], targets: tuple[int | None, ...]
    ) -> Verdict:
        proposal = approved.proposal
        mined = state.block.timestamp + BLOCK_SECONDS
        over = mined + limits.notice(proposal.changes, state)
        told = Announced(proposal.market, proposal.digest, proposal.digest, over, "", state.block, GAS)
        self._pending = Announcement(approved, told, since=mined)
        self._track.moves.append(Move(mined, "announced", state.values, state.values, GAS, 0, proposal.because))
        return self._of(proposal, Done.ANNOUNCED, stays, targets, proposal.because)

    def _take_up(self, pending: Announcement, snapshot: Snapshot, now: int) -> Verdict:
        """Make an announced change once its notice is over, judged again; until then nothing else is proposed."""
        proposal, nothing = pending.proposal, (None,) * len(self._names)
        refused = guard.review(proposal, snapshot.state, self._names, self._once_applied, now, pending.since)
        if refused is not None and refused.reason is Reason.NOTICE_RUNNING:
            self._use(snapshot)
            return self._refusal(refused)
        self._pending = None
        preflight = self._preflight(proposal, snapshot.state)
        verdict = refused or guard.review_impact(proposal, preflight, self._rules.settings.guard)
        if isinstance(verdict, Rejected):
            self._given_up.append(replace(pending, given_up=verdict.reason))
            return self._refusal(verdict)
        stays = dict.fromkeys(range(len(self._names)), Stay.WITHIN_DEAD_BAND)
        return self._execute(verdict, snapshot, pending.since, stays, nothing)

    def _execute(
        self,
        approved: Approved,
        snapshot: Snapshot,
        announced_at: int | None,
        stays: Mapping[int, Code],
        targets: tuple[int | None, ...],
    ) -> Verdict:
        """Have the change mined in the next block, where the steward's own verdict counts."""
        proposal, state = approved.proposal, snapshot.state
        mined = self._state(state.block.timestamp + BLOCK_SECONDS, state.oracle_price)
        finding = self._steward.execute(proposal, mined, announced_at)
        if finding is not None:
            return self._of(proposal, finding[0], stays, targets, finding[1])
        self._once_applied.add(proposal.values)
        hit = len(approved.preflight.newly_liquidatable)
        self._track.moves.append(
            Move(mined.block.timestamp, proposal.kind, state.values, proposal.values, GAS, hit, proposal.because)
        )
        done = Done.APPLIED if proposal.kind is ProposalKind.TUNE else Done.ROLLED_BACK
        return self._of(proposal, done, stays, targets, proposal.because)

    def _holdings(self, state: MarketState) -> tuple[tuple[float, float], ...] | None:
        self.bring_book()
        now = state.block.timestamp
        return holdings(self._book.covers(now, state.oracle_price, ratios(self._rules, self._steward.effective(now))))

    def _preflight(self, proposal: Proposal, state: MarketState) -> Preflight:
        """Return what the change does to the book at today's price: at once, and when its ramp has ended."""
        self.bring_book()
        now = state.block.timestamp
        live = ratios(self._rules, self._steward.effective(now))
        hit = self._book.newly_liquidatable(now, state.oracle_price, live, ratios(self._rules, proposal.values))
        return Preflight(state.block, "", "", GAS, proposal.values, hit)

    def _use(self, snapshot: Snapshot) -> None:
        self._used = {quote.feed: quote for quote in (snapshot.spot, snapshot.vol) if quote is not None}

    def _refusal(self, refused: Rejected) -> Verdict:
        return Verdict((refused.reason,) * len(self._names), (None,) * len(self._names), refused.detail)

    def _of(
        self,
        proposal: Proposal,
        code: Code,
        stays: Mapping[int, Code],
        targets: tuple[int | None, ...],
        detail: str,
    ) -> Verdict:
        """Return the code for what a proposal changes; the rest keep the reason they stay for."""
        moved = {change.id for change in proposal.changes if change.value != proposal.current[change.id]}
        ids = range(len(self._names))
        codes = tuple(code if index in moved else stays.get(index, Reason.NO_EFFECT) for index in ids)
        return Verdict(codes, targets or (None,) * len(self._names), detail)
