"""Name the facts of a market: quotes, bars, accounts and the state read at one block."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class QuoteKind(StrEnum):
    """What a feed message measures."""

    SPOT = "spot"
    VOL = "vol"


@dataclass(frozen=True, slots=True)
class Quote:
    """One accepted feed message.

    `value` is a price in the quote currency (spot) or an annualised decimal volatility (vol, .2 is 20 %).
    `timestamp_ms` is the producer's Unix time in milliseconds; `sequence` grows with every message of a feed.
    """

    feed: str
    underlying: str
    kind: QuoteKind
    value: float
    timestamp_ms: int
    sequence: int


@dataclass(frozen=True, slots=True)
class Bar:
    """One closed bar. `start` is Unix seconds at the open; `iv` is annualised decimal volatility at the close."""

    asset: str
    start: int
    seconds: int
    open: float
    high: float
    low: float
    close: float
    volume: float | None = None
    iv: float | None = None

    @property
    def end(self) -> int:
        """Unix seconds at the close."""
        return self.start + self.seconds


@dataclass(frozen=True, slots=True)
class BlockStamp:
    """The block that every read of one decision is pinned to. `timestamp` is Unix seconds."""

    number: int
    hash: str
    timestamp: int


@dataclass(frozen=True, slots=True)
class Account:
    """One margin account as the protocol computes it, in units of its collateral token.

    `equity` is signed. The requirements are amounts the equity must reach: `initial_margin` to open or withdraw,
    `maintenance_margin` to be left alone by partial liquidation, `liquidation_margin` to stay out of liquidation.
    """

    address: str
    equity: int
    initial_margin: int
    maintenance_margin: int
    liquidation_margin: int
    liquidatable: bool


@dataclass(frozen=True, slots=True)
class Auction:
    """An account whose liquidation began, as the protocol logged it."""

    market: str
    account: str
    block_number: int
    tx_hash: str


@dataclass(frozen=True, slots=True)
class ParameterState:
    """One tunable parameter as it stands on chain, with the limits that hold there (all in on-chain units).

    `value` is what new positions obey, `effective` what open positions obey while a tightening ramps.
    `changed_at` is Unix seconds of the last change through the steward, 0 when there was none.
    """

    id: int
    value: int
    effective: int
    minimum: int
    maximum: int
    max_step_up: int
    max_step_down: int
    cooldown: int
    changed_at: int


@dataclass(frozen=True, slots=True)
class MarketState:
    """Everything a decision reads from the chain for one market, at one block."""

    market: str
    block: BlockStamp
    sequence: int
    state_hash: str
    paused: bool
    parameters: tuple[ParameterState, ...]
    last_good: tuple[int, ...]
    oracle_price: float
    oracle_updated_at: int
    accounts: tuple[Account, ...]

    @property
    def values(self) -> tuple[int, ...]:
        """Live parameter values in id order."""
        return tuple(parameter.value for parameter in self.parameters)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The market's on-chain state together with the newest quotes: the sole input of a decision."""

    state: MarketState
    spot: Quote | None
    vol: Quote | None
