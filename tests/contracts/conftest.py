"""Deploy the contracts in an in-process EVM; every test and every drawn example starts from the same state."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boa
import pytest
from eth_abi import encode
from eth_utils import keccak
from vyper.utils import method_id

ROOT = Path(__file__).resolve().parents[2]
PRICE = 10**8
MONEY = 10**6
SIZE = 10**18
DAY = 86_400
INITIAL = (3_000, 2_500, 8_000, 8_000, 7_000, 1_000)
RAMP = 3_600
MAX_PRICE_AGE = 7_200
SPOT = 2_000


@dataclass(frozen=True, slots=True)
class World:
    """A market with its token and feed, the spot at 2,000, and everyday acts on them by whole units."""

    token: Any
    feed: Any
    market: Any
    owner: str
    setter: str
    seller: str
    buyer: str
    liquidator: str

    def post(self, price: float) -> int:
        """Post a round now; returns its index."""
        return self.feed.post(int(price * PRICE), boa.env.timestamp, sender=self.owner)

    def fund(self, account: str, amount: float) -> None:
        """Mint and deposit."""
        units = int(amount * MONEY)
        self.token.mint(account, units, sender=self.owner)
        self.token.approve(self.market.address, units, sender=account)
        self.market.deposit(units, sender=account)

    def list_series(self, strike: float, *, days: float = 30, is_call: bool = True) -> int:
        """Create a series that expires after `days`."""
        return self.market.create_series(boa.env.timestamp + int(days * DAY), int(strike * PRICE), is_call)

    def trade(self, series: int, size: float = 1, premium: float = 0, **parties: str) -> None:
        """Write and buy one offer, between `seller` and `buyer` unless named otherwise."""
        seller, buyer = parties.get("seller", self.seller), parties.get("buyer", self.buyer)
        units = int(size * SIZE)
        offer = self.market.write(series, units, int(premium * MONEY), sender=seller)
        self.market.buy(offer, units, sender=buyer)

    def short(self, cash: float, strike: float = 2_000, **terms: Any) -> int:
        """Fund the seller, list a series and sell `size` of it to the buyer for nothing."""
        size = terms.pop("size", 1)
        self.fund(self.seller, cash)
        series = self.list_series(strike, **terms)
        self.trade(series, size)
        return series

    def expire(self, series: int, price: float) -> None:
        """Pass the expiry with one round just before it and one at it, and fix the settlement price."""
        expiry = self.market.series(series).expiry
        boa.env.timestamp = max(boa.env.timestamp, expiry - 1)
        self.post(price)
        boa.env.timestamp = expiry
        self.market.settle_price(series, self.post(price))

    def cash_and_pools(self) -> int:
        """All that the market owes anyone."""
        market = self.market
        cash = sum(market.cash(market.account_at(index)) for index in range(market.account_count()))
        series = [market.series(index) for index in range(1, market.series_count() + 1)]
        return cash + sum(item.pool - item.paid for item in series)


@pytest.fixture(autouse=True)
def _isolated() -> Iterator[None]:
    with boa.env.anchor():
        yield


@pytest.fixture(scope="session")
def deployers() -> dict[str, Any]:
    """Compiled contracts by name. Without its cache titanoboa has no source maps for this compiler."""
    boa.interpret.set_cache_dir(str(ROOT / ".cache" / "boa"))
    names = ("collateral_token", "options_market", "price_feed", "risk_steward")
    return {name: boa.load_partial(str(ROOT / "chain" / "contracts" / f"{name}.vy")) for name in names}


@pytest.fixture(scope="session")
def world(deployers: dict[str, Any]) -> World:
    """A market in its initial state."""
    owner, setter, seller, buyer, liquidator = (boa.env.generate_address() for _ in range(5))
    with boa.env.prank(owner):
        token = deployers["collateral_token"].deploy()
        feed = deployers["price_feed"].deploy("ETH / USD")
        market = deployers["options_market"].deploy("ETH", token.address, feed.address, INITIAL, RAMP, MAX_PRICE_AGE)
        market.set_parameter_setter(setter)
    world = World(token, feed, market, owner, setter, seller, buyer, liquidator)
    world.post(SPOT)
    return world


KNOBS = """
# A protocol with four parameters that can misbehave in every way a steward has to expect.
knobs: public(uint256[4])
ceiling: public(uint256)
side_effect: public(uint256)
broken: public(bool)
mute: public(bool)
reentrant_target: address
reentrant_data: Bytes[2048]

@deploy
def __init__(initial: uint256[4]):
    self.knobs = initial
    self.ceiling = max_value(uint256)

@external
@view
def all_knobs() -> uint256[4]:
    assert not self.broken, "knobs: broken"
    return self.knobs

@external
def set_ceiling(ceiling: uint256):
    self.ceiling = ceiling

@external
def set_side_effect(size: uint256):
    self.side_effect = size

@external
def set_broken(broken: bool):
    self.broken = broken

@external
def set_mute(mute: bool):
    self.mute = mute

@external
def set_reentry(target: address, data: Bytes[2048]):
    self.reentrant_target = target
    self.reentrant_data = data

@external
def turn(index: uint256, to: uint256):
    if self.mute:
        raw_revert(b"")
    assert to != 666, "knobs: refused"
    if self.reentrant_target != empty(address):
        target: address = self.reentrant_target
        self.reentrant_target = empty(address)
        success: bool = raw_call(target, self.reentrant_data, revert_on_failure=False)
    self.knobs[index] = min(to, self.ceiling)
    self.knobs[3] += self.side_effect

@external
def other(index: uint256, to: uint256):
    self.knobs[index] = to
"""
GROUPED = {"minimum": 50, "maximum": 200, "max_step_up": 20, "max_step_down": 10, "group": 1}
SINGLE = {"minimum": 0, "maximum": 1_000, "max_step_up": 100, "max_step_down": 100, "group": 0}
COOLDOWN = 3_600
PROBATION = 7_200


@dataclass(frozen=True, slots=True)
class Guard:
    """A steward over four knobs, 100, 100, 500 and 600: the first two one group, the third never above the fourth."""

    steward: Any
    knobs: Any
    governance: str
    keeper: str
    guardian: str
    market: bytes = keccak(b"knobs")

    def selector(self, name: str = "turn") -> bytes:
        """Selector of a setter."""
        return method_id(f"{name}(uint256,uint256)")

    def call(self, index: int, to: int, name: str = "turn") -> tuple[str, bytes]:
        """A call that turns one knob."""
        return self.knobs.address, self.selector(name) + encode(["uint256", "uint256"], [index, to])

    def arguments(self, changes: Any, **overrides: Any) -> tuple[Any, ...]:
        """Arguments of `apply` that are right for the present state, except for overrides by name."""
        pairs = list(changes.items()) if isinstance(changes, dict) else changes
        market = overrides.get("market", self.market)
        return (
            market,
            overrides.get("sequence", self.steward.sequence(market) + 1),
            overrides.get("state_hash") or self.steward.state_hash(market),
            pairs,
            overrides.get("calls", [self.call(index, to) for index, to in pairs]),
            overrides.get("context", b"\x07" * 32),
            overrides.get("deadline", boa.env.timestamp),
        )

    def apply(self, changes: Any, **overrides: Any) -> None:
        """Apply changes, a mapping or a list of pairs."""
        self.steward.apply(*self.arguments(changes, **overrides), sender=overrides.get("sender", self.keeper))

    def rollback(self, values: Any, **overrides: Any) -> None:
        """Roll back with calls that turn the knobs to `values`, a mapping or a list of pairs."""
        arguments = self.arguments(values, **overrides)
        self.steward.rollback(*arguments[:3], *arguments[4:], sender=overrides.get("sender", self.keeper))

    def policy(self, index: int, **limits: Any) -> tuple[Any, ...]:
        """A policy of knob `index`; odd indices read their word of the list of all knobs."""
        whole, part = method_id("all_knobs()"), method_id("knobs(uint256)") + encode(["uint256"], [index])
        return (
            self.knobs.address,
            whole if index % 2 else part,
            index if index % 2 else 0,
            limits["minimum"],
            limits["maximum"],
            limits["max_step_up"],
            limits["max_step_down"],
            COOLDOWN,
            True,
            limits["group"],
        )

    def register(self, market: bytes) -> None:
        """Register parameters, calls and the invariant of a market, without activating it."""
        with boa.env.prank(self.governance):
            for index, limits in enumerate((GROUPED, GROUPED, SINGLE, SINGLE)):
                self.steward.add_parameter(market, self.policy(index, **limits))
            self.steward.allow_call(market, self.knobs.address, self.selector(), True)
            self.steward.add_invariant(market, 2, 3)


@pytest.fixture(scope="session")
def guard(deployers: dict[str, Any]) -> Guard:
    """An active market of knobs."""
    governance, keeper, guardian = (boa.env.generate_address() for _ in range(3))
    steward = deployers["risk_steward"].deploy(governance)
    with boa.env.prank(governance):
        steward.grantRole(steward.KEEPER_ROLE(), keeper)
        steward.grantRole(steward.GUARDIAN_ROLE(), guardian)
    guard = Guard(steward, boa.loads(KNOBS, [100, 100, 500, 600]), governance, keeper, guardian)
    guard.register(guard.market)
    steward.activate(guard.market, PROBATION, sender=governance)
    return guard
