"""Replay one recording bar by bar: a fold over what had closed, that never sees a bar to come."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from keeper.assess import LOWER, UPPER, assess
from keeper.backtest.book import Book
from keeper.backtest.decider import Decider, Sight
from keeper.backtest.feed import Merger, StandInVol
from keeper.backtest.stages import Stages
from keeper.backtest.steward import SimulatedSteward
from keeper.backtest.track import BLOCK_SECONDS, Decision, Published, Track
from keeper.guard import forecast_fault
from keeper.targets import parameter_targets
from keeper.watch import Realised
from models.forecaster import DAY
from models.market import Bar, BlockStamp, MarketState, Quote, QuoteKind, Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from keeper.backtest.feed import Gap
    from keeper.backtest.rules import Rules
    from keeper.backtest.shapes import Shape
    from models.forecaster import Forecast, Forecaster


TELL_EVERY = 500


@dataclass(frozen=True, slots=True)
class Start:
    """How a run begins: when, Unix seconds, and with which values (id order), None for those the model asks for.

    `recorded_vol` says whether the recording's own implied volatility is the vol feed, or the stand-in is.
    """

    at: int
    recorded_vol: bool
    seed: int
    initial: tuple[int, ...] | None = None


class Simulation:
    """One recording under one forecaster. Call `run` once."""

    def __init__(
        self,
        rules: Rules,
        forecaster: Forecaster,
        shape: Shape,
        start: Start,
        name: str,
        *,
        gaps: tuple[Gap, ...] = (),
        keep_still: bool = False,
        stages: Stages | None = None,
    ) -> None:
        """`name` says who decides; with `keep_still` nobody does, and no model is asked."""
        self._rules, self._start, self._keep_still = rules, start, keep_still
        self._forecaster = forecaster
        self._stages = stages or Stages()
        self._book = Book(shape, start.seed, rules.penalty)
        self._merger = Merger(rules.settings.model.bar_seconds)
        self._stand_in = StandInVol()
        self._realised: deque[Realised] = deque(maxlen=rules.settings.watch.breach_window)
        self._forecast: Forecast | None = None
        self._close: float | None = None
        self._bars = 0
        self._breaches = 0
        self._quotes: dict[str, Quote] = {}
        self._decider: Decider | None = None
        names = tuple(parameter.name for parameter in rules.protocol.parameters)
        losses, totals = self._book.losses, self._book.totals
        self.track = Track(rules.market, name, forecaster.model_id, names, gaps, losses, totals)

    def run(self, bars: Iterable[Bar], on_bars: Callable[[int], None] = lambda _: None) -> Track:
        """Replay bars in time order and return what came of it; `on_bars` is told now and then how many more were."""
        self._forecaster.reset(self._rules.market, self._rules.settings.model.bar_seconds)
        told = 0
        for number, bar in enumerate(bars, start=1):
            if self._decider is not None:
                self._meanwhile(self._decider, bar.end)
            self._see(bar)
            if bar.end >= self._start.at:
                self._decide(bar.end)
            if number - told == TELL_EVERY:
                on_bars(number - told)
                told = number
        on_bars(number - told)
        if self._decider is not None:
            self._decider.bring_book()
        return self.track

    def _meanwhile(self, decider: Decider, until: int) -> None:
        """Make the decisions between the last bar and this one: a notice that is over, a feed that goes stale."""
        moments = [] if decider.due is None else [decider.due]
        for feed, quote in self._quotes.items():
            moments.append(quote.timestamp_ms // 1000 + self._rules.feeds[feed].max_age_seconds + 1)
        for moment in sorted(set(moments)):
            if self.track.decisions[-1].at < moment < until:
                self._decide(moment)

    def _see(self, bar: Bar) -> None:
        """Take in what the feeds say at a bar's close, and the bars that the model learns from."""
        names = self._rules.names
        stand_in = self._stand_in.update(bar)
        iv = bar.iv if self._start.recorded_vol else stand_in
        spot = Quote(names.spot_feed, self._rules.market, QuoteKind.SPOT, bar.close, bar.end * 1000, bar.end)
        self._quotes[spot.feed] = spot
        if iv is not None:
            self._quotes[names.vol_feed] = Quote(
                names.vol_feed, self._rules.market, QuoteKind.VOL, iv, bar.end * 1000, bar.end
            )
        if not self._keep_still and (self._decider is None or self._decider.believable(spot)):
            told = Bar(
                self._rules.market, bar.start, bar.seconds, bar.open, bar.high, bar.low, bar.close, bar.volume, iv
            )
            for closed in self._merger.add(told):
                self._learn(closed)

    def _learn(self, bar: Bar) -> None:
        said, live = self._forecast, bar.end >= self._start.at
        if self._close is not None and said is not None and forecast_fault(said) is None:
            realised = Realised(math.log(bar.close / self._close), *said.published)
            self._realised.append(realised)
            self._breaches += realised.breached
        with self._stages.measured("model"):
            self._forecast = forecast = self._forecaster.update(bar)
        self._bars += 1
        self._close = bar.close if live else None
        if live:
            raw = forecast.horizons[DAY].quantiles
            self.track.published.append(Published(bar.end, bar.close, *forecast.published, raw[LOWER], raw[UPPER]))

    def _decide(self, now: int) -> None:
        names = self._rules.names
        spot, vol = self._quotes[names.spot_feed], self._quotes.get(names.vol_feed)
        sight = Sight(
            now, spot, vol, self._forecast, self._forecaster.model_id, self._bars, self._realised, self._breaches
        )
        decider = self._decider
        if decider is None:
            steward = SimulatedSteward(self._rules, self._start.initial or starting_values(self._rules, sight), now)
            decider = self._decider = Decider(self._rules, steward, self._book, self.track, self._stages)
            self.track.initial = steward.values
        act = decider.keep_still if self._keep_still else decider.decide
        with self._stages.measured("decide"):
            verdict = act(sight, math.sqrt(self._stand_in.variance) if vol is None else vol.value)
        self.track.decisions.append(
            Decision(
                at=now,
                block=now // BLOCK_SECONDS,
                price=spot.value,
                vol=None if vol is None else vol.value,
                codes=verdict.codes,
                values=decider.values,
                targets=verdict.targets,
                detail=verdict.detail,
            )
        )


def starting_values(rules: Rules, sight: Sight) -> tuple[int, ...]:
    """Return what the model asks for at the start, kept inside the corridors; the limits' own where it has no say."""
    state = _nothing_yet(rules.market, sight)
    targets: dict[int, int] = {}
    if sight.vol is not None and sight.forecast is not None and forecast_fault(sight.forecast) is None:
        assessment = assess(Snapshot(state, sight.spot, sight.vol), sight.forecast, sight.model_id, sight.bars)
        targets = parameter_targets(assessment, rules.protocol, rules.settings.propose)
    values = []
    for index, parameter in enumerate(rules.protocol.parameters):
        limit = rules.policies.limits[parameter.name]
        wanted = targets.get(index, limit.minimum if limit.initial is None else limit.initial)
        values.append(min(max(wanted, limit.minimum), limit.maximum))
    return tuple(values)


def _nothing_yet(market: str, sight: Sight) -> MarketState:
    """Return a market before its first version."""
    return MarketState(
        market=market,
        block=BlockStamp(sight.now // BLOCK_SECONDS, "", sight.now),
        sequence=0,
        state_hash="",
        paused=False,
        parameters=(),
        last_good=(),
        oracle_price=sight.spot.value,
        oracle_updated_at=sight.now,
        accounts=(),
        invariants=(),
        policy="",
        version_hash="",
    )
