"""Build the values that decisions are made of; each builder gives a calm market, changed where a test says so."""

from dataclasses import replace
from functools import cache
from typing import Any

from config.load import DEFAULT_SETTINGS, load_protocol
from config.protocol import Protocol
from config.schema import FeedSettings, GuardSettings
from keeper.messages import Applied, Assessment, Change, Preflight, Proposal, ProposalKind
from models.forecaster import DAY, Forecast, Tail
from models.market import Account, BlockStamp, Invariant, MarketState, ParameterState, Quote, QuoteKind, Snapshot

NOW = 1_700_000_000
"""Unix seconds at which every built decision is made."""

MARKET = "SPX"
POLICY = "0x" + "0f" * 20
HASH = "0x" + "ab" * 32
BLOCK = BlockStamp(7, "0x" + "cd" * 32, NOW - 2)

CALM_VALUES = (400, 500, 1_800, 6_000, 4_500, 500)
"""Live values in id order: shock up, shock down, shocked vol, maintenance, liquidation threshold, penalty."""

QUANTILES = (-0.05, -0.035, -0.025, 0.02, 0.03, 0.04)


LIMITS = (
    (200, 4_000, 200, 50),
    (200, 4_000, 200, 50),
    (800, 15_000, 2_000, 400),
    (4_000, 9_500, 1_000, 300),
    (2_500, 9_000, 1_000, 300),
    (100, 1_000, 100, 100),
)
"""Minimum, maximum, largest step up and down of each parameter, in id order."""


@cache
def binding() -> Protocol:
    """The reference protocol's binding, with all three shocks in one group, as COUPLED has it on chain."""
    shipped = load_protocol("options_market", DEFAULT_SETTINGS)
    groups = ("shocks", "shocks", "shocks", "liquidation", "liquidation", None)
    rows = [row.model_copy(update={"group": group}) for row, group in zip(shipped.parameters, groups, strict=True)]
    return shipped.model_copy(update={"parameters": rows})


COUPLED = (0b000111, 0b000111, 0b000111, 0b011000, 0b011000, 0)
"""Bit masks of the ids that a change of each parameter must name, in id order: three shocks, liquidation, none."""

UNLIMITED = {
    "relative": False,
    "drift_budget": 0,
    "drift_window": 0,
    "tightening_up": True,
    "notice": 0,
    "reversible": True,
    "drift_used": 0,
    "drift_before": 0,
}
"""A parameter with absolute steps, no drift budget and no notice, which can be set back."""


def parameters(values: tuple[int, ...] = CALM_VALUES, **changes: Any) -> tuple[ParameterState, ...]:
    """The reference parameters under LIMITS, with half a day of cooldown and never changed so far."""
    rows = enumerate(zip(values, LIMITS, COUPLED, strict=True))
    return tuple(
        replace(ParameterState(index, value, value, *limits, 43_200, 0, coupled=coupled, **UNLIMITED), **changes)
        for index, (value, limits, coupled) in rows
    )


def market_state(values: tuple[int, ...] = CALM_VALUES, **changes: Any) -> MarketState:
    """A live market at version 3 whose last good values are the live ones, as the steward left it."""
    state = MarketState(
        market=MARKET,
        block=BLOCK,
        sequence=3,
        state_hash=HASH,
        paused=False,
        parameters=parameters(values),
        last_good=values,
        oracle_price=4_000.0,
        oracle_updated_at=NOW - 60,
        accounts=(),
        invariants=(Invariant(4, 1, 3, 1),),
        policy=POLICY,
        version_hash=changes.get("state_hash", HASH),
    )
    return replace(state, **changes)


def with_parameter(state: MarketState, index: int, **changes: Any) -> MarketState:
    """The state with one parameter changed."""
    rows = [replace(row, **changes) if row.id == index else row for row in state.parameters]
    return replace(state, parameters=tuple(rows))


def account(address: str, *, liquidatable: bool = False) -> Account:
    """A margin account."""
    return Account(address, 1_000, 900, 800, 700, liquidatable)


def spot(value: float = 4_000.0, *, age: float = 60, **changes: Any) -> Quote:
    """A quote of feed spx, `age` seconds before NOW."""
    return replace(Quote("spx", "SPX", QuoteKind.SPOT, value, int((NOW - age) * 1000), 11), **changes)


def vol(value: float = 0.18, *, age: float = 60, **changes: Any) -> Quote:
    """A quote of feed vix, `age` seconds before NOW."""
    return replace(Quote("vix", "SPX", QuoteKind.VOL, value, int((NOW - age) * 1000), 12), **changes)


def feeds() -> dict[str, FeedSettings]:
    """Settings of the two feeds."""
    price = FeedSettings(
        underlying="SPX", kind="spot", unit="USD", max_age_seconds=600, minimum=100.0, maximum=10_000.0, max_jump=1.5
    )
    implied = FeedSettings(
        underlying="SPX", kind="vol", unit="decimal", max_age_seconds=600, minimum=0.05, maximum=3.0, max_jump=2.0
    )
    return {"spx": price, "vix": implied}


def snapshot(state: MarketState | None = None, **quotes: Quote | None) -> Snapshot:
    """What a tick sees: the calm market with a fresh quote of each feed."""
    return Snapshot(state or market_state(), quotes.get("spot", spot()), quotes.get("vol", vol()))


def guard_settings(**changes: Any) -> GuardSettings:
    """The guard's own limits."""
    return GuardSettings(**{"max_oracle_deviation": 0.05, "max_oracle_age_seconds": 3_600, **changes})


def forecast(**changes: Any) -> Forecast:
    """A forecast whose daily tail is about 2 %."""
    tail = Tail(QUANTILES, es_lower=-0.03, es_upper=0.025)
    answer = Forecast(MARKET, NOW, {DAY: tail, 5 * DAY: tail}, {DAY: QUANTILES}, (-0.025, 0.02))
    return replace(answer, **changes)


def assessment(**changes: Any) -> Assessment:
    """An assessment of the calm market; its targets are all within the dead band of CALM_VALUES."""
    calm = Assessment(
        market=MARKET,
        block=BLOCK,
        sequence=3,
        state_hash=HASH,
        values=CALM_VALUES,
        spot=spot(),
        vol=vol(0.144),
        oracle_price=4_000.0,
        accounts=0,
        liquidatable=(),
        model_id="ewma-fhs",
        bars=500,
        published=(-0.02294, 0.01754),
        raw=(-0.0316, 0.0170),
        vol_rise=None,
    )
    return replace(calm, **changes)


def tune(*changes: tuple[int, int], **fields: Any) -> Proposal:
    """A proposal of (id, value) pairs for the calm market; its targets are its values."""
    moves = tuple(Change(index, value) for index, value in changes)
    proposal = Proposal(
        market=MARKET,
        kind=ProposalKind.TUNE,
        policy=POLICY,
        sequence=4,
        state_hash=HASH,
        block=BLOCK,
        current=CALM_VALUES,
        changes=moves,
        targets=moves,
        inputs="0x" + "01" * 32,
        model_id="ewma-fhs",
        deadline=NOW + 600,
        because="a test says so",
    )
    return replace(proposal, **fields)


def preflight(proposal: Proposal, **changes: Any) -> Preflight:
    """A simulation that shows exactly what was proposed and liquidates nobody."""
    shown = Preflight(
        block=BLOCK,
        calldata="0x12",
        attestation="0x" + "ae" * 32,
        gas=90_000,
        values=proposal.values,
        newly_liquidatable=(),
    )
    return replace(shown, **changes)


def applied(proposal: Proposal, **changes: Any) -> Applied:
    """A mined change that did what was proposed."""
    mined = Applied(
        market=proposal.market,
        digest=proposal.digest,
        kind=proposal.kind,
        sequence=proposal.sequence,
        values=proposal.values,
        tx_hash="0xfeed",
        block=BLOCK,
        gas_used=88_000,
    )
    return replace(mined, **changes)
