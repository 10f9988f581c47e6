"""The steward holding the setter role of the reference market."""

import boa
import pytest
from eth_abi import encode
from eth_utils import keccak

MONEY = 10**6
SHOCKS, LIQUIDATION = 1, 2
MARKET = keccak(b"ETH")


def selector(signature):
    return keccak(text=signature)[:4]


def set_shocks(world, *values):
    return world.market.address, selector("set_shocks(uint256,uint256,uint256)") + encode(["uint256"] * 3, values)


def end_auction(world, account):
    return world.market.address, selector("end_auction(address)") + encode(["address"], [account])


@pytest.fixture
def steward(world, guard):
    """The guard's steward with the market's six parameters registered and active."""
    steward, target = guard.steward, world.market.address
    with boa.env.prank(guard.governance):
        for index, group in enumerate((SHOCKS, SHOCKS, SHOCKS, LIQUIDATION, LIQUIDATION, 0)):
            getter = selector("parameter(uint256)") + encode(["uint256"], [index])
            steward.add_parameter(MARKET, (target, getter, 0, 0, 10_000, 2_000, 2_000, 0, True, group))
        for signature in ("set_shocks(uint256,uint256,uint256)", "end_auction(address)"):
            steward.allow_call(MARKET, target, selector(signature), True)
        steward.add_invariant(MARKET, 4, 3)
        steward.activate(MARKET, 3_600)
    world.market.set_parameter_setter(steward.address, sender=world.owner)
    return steward


def bound(steward):
    return MARKET, steward.sequence(MARKET) + 1, steward.state_hash(MARKET)


def tighten(steward, world, guard, up, down, vol):
    changes = [(0, up), (1, down), (2, vol)]
    calls = [set_shocks(world, up, down, vol)]
    steward.apply(*bound(steward), changes, calls, b"\0" * 32, boa.env.timestamp, sender=guard.keeper)


def test_apply__coupled_shocks__reach_the_market_in_one_call(steward, world, guard):
    tighten(steward, world, guard, 4_000, 3_000, 9_000)
    assert [world.market.parameter(index) for index in range(3)] == [4_000, 3_000, 9_000]
    assert steward.values(MARKET) == [4_000, 3_000, 9_000, 8_000, 7_000, 1_000]


def test_apply__hundredfold_shock_that_the_market_would_take__reverts(steward, world, guard):
    with boa.reverts("risk_steward: value above corridor"):
        tighten(steward, world, guard, 300_000, 2_500, 8_000)


def test_apply__market_refuses__passes_its_reason_on(steward, world, guard):
    calls = [set_shocks(world, 4_000, 10_000, 8_000)]
    changes = [(0, 4_000), (1, 2_500), (2, 8_000)]
    with boa.reverts(vm_error="options_market: down shock not below 100 %"):
        steward.apply(*bound(steward), changes, calls, b"\0" * 32, boa.env.timestamp, sender=guard.keeper)


def test_rollback__wrong_tightening__restores_and_ends_its_auctions_in_one_transaction(steward, world, guard):
    world.short(1_300, strike=2_200, days=365)
    tighten(steward, world, guard, 5_000, 2_500, 10_000)
    boa.env.time_travel(seconds=3_599)
    world.post(2_000)
    world.market.start_auction(world.seller)
    calls = [set_shocks(world, 3_000, 2_500, 8_000), end_auction(world, world.seller)]
    steward.rollback(*bound(steward), calls, b"\0" * 32, boa.env.timestamp, sender=guard.keeper)
    state = world.market.health(world.seller)
    assert (state.liquidatable, state.auction_started_at) == (False, 0)
    assert state.liquidation_margin < 1_300 * MONEY
    assert [world.market.parameter(index) for index in range(3)] == [3_000, 2_500, 8_000]
