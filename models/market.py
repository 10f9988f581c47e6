"""Name the facts of a market: quotes, bars, accounts and the state read at one block."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


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

    `address` is its key as text: an address, a number, 0x-prefixed hex, or several of them with a / between.
    `equity` is signed. The requirements are amounts the equity must reach: `initial_margin` to open or withdraw,
    `maintenance_margin` to be left alone by partial liquidation, `liquidation_margin` to stay out of liquidation.
    None is what the protocol does not show. `fields` are its other named values, and `rounds` the oracle rounds in
    each of which it has to be healthy, None where only the present counts.
    """

    address: str
    equity: int | None = None
    initial_margin: int | None = None
    maintenance_margin: int | None = None
    liquidation_margin: int | None = None
    liquidatable: bool = False
    fields: tuple[tuple[str, int | bool | str], ...] = ()
    rounds: tuple[int, ...] | None = None

    def named_values(self) -> Iterator[tuple[str, int | bool | str]]:
        """Yield name and value of everything that is known of the account."""
        for name in ("equity", "initial_margin", "maintenance_margin", "liquidation_margin", "liquidatable"):
            value = getattr(self, name)
            if value is not None:
                yield name, value
        yield from self.fields


@dataclass(frozen=True, slots=True)
class Auction:
    """An account whose liquidation began, as the protocol logged it; `id` is what the protocol calls the auction."""

    market: str
    account: str
    block_number: int
    tx_hash: str
    id: str = ""


@dataclass(frozen=True, slots=True)
class ParameterState:
    """One tunable parameter as it stands on chain, with the limits that hold there (all in on-chain units).

    `value` is what new positions obey, `effective` what open positions obey while a tightening ramps.
    `changed_at` is Unix seconds of the last change through the steward, rounded up to a whole minute, 0 when there was
    none. Steps are basis points of the live value if `relative`. In any `drift_window` seconds, whole minutes, the
    movement stays within `drift_budget`; a window of 0 means without limit. `drift_used` and `drift_before` are the
    shares of 240 of it that were used in the window-long epoch of `changed_at` and in the one before. A change towards
    tighter margins must have been announced `notice` seconds before. `coupled` has a bit for every parameter that a
    change naming this one must name as well.
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
    relative: bool
    drift_budget: int
    drift_window: int
    tightening_up: bool
    notice: int
    reversible: bool
    coupled: int
    drift_used: int
    drift_before: int


@dataclass(frozen=True, slots=True)
class Invariant:
    """An ordering of two parameters by id that every change must keep: value[a] * factor_a <= value[b] * factor_b."""

    a: int
    factor_a: int
    b: int
    factor_b: int


@dataclass(frozen=True, slots=True)
class MarketState:
    """Everything a decision reads from the chain for one market, at one block.

    `policy` is the address of the limits in force. `version_hash` is the hash of the values that the steward left;
    it differs from `state_hash`, the hash of the live ones, once someone else has changed the protocol.
    """

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
    invariants: tuple[Invariant, ...]
    policy: str
    version_hash: str

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
