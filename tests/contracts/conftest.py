"""Deploy the contracts in an in-process EVM; every test and every drawn example starts from the same state."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boa
import pytest
from attestations import make_signers
from boa.contracts.vyper import vyper_contract
from policies import Parameter, Policy, Setter, Value, selector
from reverts import all_storage, reverting
from stewards import COOLDOWN, WIDE, Guard, load_target, make_guard

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

    def tune(self, changes: dict[int, int]) -> None:
        """Set some parameters by id and leave the others at their targets."""
        values = self.market.parameters()
        self.market.set_parameters(
            [changes.get(index, value) for index, value in enumerate(values)], sender=self.setter
        )

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


@pytest.fixture(autouse=True, scope="session")
def maps_by_hash_in_reports() -> Iterator[None]:
    """Let titanoboa describe a failed call although a map's key is a hash, which it takes for a map of maps."""
    shown = vyper_contract.StorageVar.get

    def get(variable: Any, **options: Any) -> Any:
        try:
            return shown(variable, **options)
        except AttributeError:
            return "a map by hashes"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vyper_contract.StorageVar, "get", get)
        yield


@pytest.fixture(autouse=True)
def _isolated() -> Iterator[None]:
    with boa.env.anchor():
        yield


@pytest.fixture(scope="session")
def deployers() -> dict[str, Any]:
    """Compiled contracts by name. Without its cache titanoboa has no source maps for this compiler."""
    boa.interpret.set_cache_dir(str(ROOT / ".cache" / "boa"))
    deployed = ("collateral_token", "options_market", "policy_registry", "price_feed", "risk_steward", "timelock")
    names = ("attestation", *deployed)
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


# --- The steward: see stewards.py, policies.py, attestations.py and safe.py ---


@pytest.fixture(scope="session")
def guard(deployers: dict[str, Any]) -> Guard:
    """An active market of knobs under a steward with three signers."""
    return make_guard(deployers, make_signers(3), boa.env.generate_address())


@pytest.fixture
def refused(guard: Guard) -> Callable[..., None]:
    """Assert that a change (or `kind`) is refused for a reason and leaves nothing behind."""

    def check(reason: str | bytes, changes: Any, kind: str = "apply", **overrides: Any) -> None:
        signatures = overrides.pop("signatures", None)
        message = guard.message(changes, **overrides)
        before = all_storage()
        with reverting(reason):
            guard.send(kind, message, signatures)
        assert all_storage() == before

    return check


@pytest.fixture
def wide(guard: Guard) -> Policy:
    """An active market with sixteen parameters, all of them 100: words of one getter, set by eights."""
    target = str(load_target("wide", 100).address)
    half = "turn_half(uint256,uint256[8])"
    policy = Policy(
        parameters=(Parameter(cooldown=COOLDOWN),) * 16,
        positions=tuple((0, word) for word in range(16)),
        reads=((target, selector("all_values()")),),
        setters=tuple(Setter(target, half, (at, *(Value(at + id_) for id_ in range(8)))) for at in (0, 8)),
        quorum=guard.quorum,
    )
    guard.activate(WIDE, policy)
    return policy
