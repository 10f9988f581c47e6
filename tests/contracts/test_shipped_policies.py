"""The shipped policy numbers: a short opened at its initial margin is liquidated while it is still solvent."""

import tomllib
from bisect import bisect_left
from pathlib import Path

import boa
import pytest

DAY = 86_400
MONEY = 10**6
SIZE = 10**18
SPOT = 2_000
POLICIES = Path(__file__).resolve().parents[2] / "config" / "policies" / "options_market.toml"
PARAMETERS = (
    "spot_shock_up",
    "spot_shock_down",
    "shocked_vol",
    "maintenance_factor",
    "liquidation_threshold",
    "liquidation_penalty",
)
SERIES = [
    (strike, is_call, days)
    for strike, is_call in ((1_900, True), (2_000, True), (2_040, True), (1_960, False), (2_000, False), (2_100, False))
    for days in (7, 30, 180)
]


@pytest.fixture(scope="module")
def shipped():
    """The policy file."""
    return tomllib.loads(POLICIES.read_text())


@pytest.fixture
def shipped_world(world, deployers, shipped):
    """The world with a market that has the shipped parameters in full effect, and a rich liquidator."""
    initial = [shipped["limits"][name]["initial"] for name in PARAMETERS]
    ramp, age = shipped["ramp_seconds"], shipped["max_price_age_seconds"]
    with boa.env.prank(world.owner):
        market = deployers["options_market"].deploy("ETH", world.token.address, world.feed.address, initial, ramp, age)
    boa.env.time_travel(seconds=ramp)
    world = type(world)(**{name: getattr(world, name) for name in world.__slots__} | {"market": market})
    world.post(SPOT)
    world.fund(world.liquidator, 100_000)
    return world


def open_at_initial_margin(world, strike, is_call, days):
    """Sell one option with no more cash than its initial margin; returns the series."""
    series = world.list_series(strike, days=days, is_call=is_call)
    with boa.env.anchor():
        world.fund(world.seller, 10_000)
        world.trade(series)
        needed = world.market.health(world.seller).initial_margin
    world.fund(world.seller, needed / MONEY)
    world.trade(series)
    state = world.market.health(world.seller)
    assert state.equity == state.initial_margin == needed
    return series


def post_first_liquidatable_spot(world, is_call):
    """Move the spot against the seller to the first hundredth of a percent at which it is liquidatable."""

    def is_liquidatable(step):
        with boa.env.anchor():
            world.post(SPOT * (1 + (step if is_call else -step) / 10_000))
            return world.market.health(world.seller).liquidatable

    step = bisect_left(range(2_000), 1, key=is_liquidatable)
    world.post(SPOT * (1 + (step if is_call else -step) / 10_000))


def mark_value(world, series):
    """What a liquidator is paid for the whole short without a discount."""
    with boa.env.anchor():
        world.market.start_auction(world.seller)
        world.market.liquidate(world.seller, series, SIZE // 2, sender=world.liquidator)
        return 2 * world.market.get_logs()[0].mark


class TestShippedPolicies:
    """Every series opened at exactly its initial margin, the ramp over, the spot moving against it."""

    @pytest.mark.parametrize(("strike", "is_call", "days"), SERIES)
    def test_liquidation__short_at_its_initial_margin__comes_before_cash_is_below_the_mark(
        self, shipped_world, strike, is_call, days
    ):
        world = shipped_world
        series = open_at_initial_margin(world, strike, is_call, days)
        post_first_liquidatable_spot(world, is_call)
        state = world.market.health(world.seller)
        assert state.liquidatable
        assert state.equity > mark_value(world, series)

    @pytest.mark.parametrize(("strike", "is_call", "days"), SERIES)
    def test_liquidation__first_of_a_short_at_its_initial_margin__does_not_lower_its_health(
        self, shipped_world, strike, is_call, days
    ):
        world = shipped_world
        series = open_at_initial_margin(world, strike, is_call, days)
        post_first_liquidatable_spot(world, is_call)
        before = world.market.health(world.seller)
        world.market.start_auction(world.seller)
        world.market.liquidate(world.seller, series, SIZE // 2, sender=world.liquidator)
        after = world.market.health(world.seller)
        assert after.equity * before.liquidation_margin >= before.equity * after.liquidation_margin
        assert world.market.position(world.seller, series) == -SIZE // 2
