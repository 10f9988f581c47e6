"""The steward holding the setter role of the reference market, which takes almost anything."""

import boa
import pytest
from eth_abi import encode
from policies import HEALTH_TRUE, Health, Parameter, Policy, selector
from reverts import reverting
from stewards import TURN

MARKET = b"ETH".ljust(32)
INITIAL = (3_000, 2_500, 8_000, 8_000, 7_000, 1_000)
SET = selector("set_parameters(uint256[6])")
LIMITS = {"maximum": 10_000, "max_step_up": 2_000, "max_step_down": 2_000}
COUPLED = (0b000_111, 0b000_111, 0b000_111, 0b011_000, 0b011_000, 0)


@pytest.fixture
def market(world, guard):
    """The reference market, with its six parameters active at the steward."""
    address = str(world.market.address)
    policy = Policy(
        parameters=tuple(Parameter(**LIMITS, coupled=coupled) for coupled in COUPLED),
        positions=tuple((0, word) for word in range(6)),
        reads=((address, selector("parameters()")),),
        calls=((address, SET), (address, selector("end_auction(address)"))),
        invariants=((4, 1, 3, 1),),
        probation=3_600,
        health=Health(address, "liquidatable_after_ramp(address)", HEALTH_TRUE),
    )
    guard.activate(MARKET, policy)
    world.market.set_parameter_setter(guard.steward.address, sender=world.owner)
    return world.market


@pytest.fixture
def change(guard, market):
    """Apply (or `rollback`) values by id, with one call that sets all six parameters."""

    def send(kind, changes, calls=(), **overrides):
        values = [changes.get(id_, value) for id_, value in enumerate(market.parameters())]
        setter = (str(market.address), SET + encode(["uint256[6]"], [values]))
        guard.send(kind, guard.message(changes, market=MARKET, calls=(setter, *calls), **overrides))

    return send


def probe(account):
    return encode(["address"], [account]), 0


def test_apply__all_six_parameters__reach_the_market_in_one_call(guard, market, change):
    after = (4_000, 3_000, 9_000, 8_500, 7_500, 1_100)
    change("apply", dict(enumerate(after)))
    assert tuple(market.parameters()) == after
    assert guard.state(MARKET).values == list(after)


def test_apply__hundredfold_shock_that_the_market_would_take__reverts(guard, market, refused):
    values = (300_000, *INITIAL[1:])
    calls = ((str(market.address), SET + encode(["uint256[6]"], [values])),)
    changes = dict(enumerate(values[:3]))
    refused("risk_steward: parameter 0: above corridor", changes, market=MARKET, calls=calls)
    with boa.env.prank(guard.steward.address):
        market.set_parameters(values)


@pytest.mark.usefixtures("market")
def test_apply__threshold_above_the_factor__reverts(refused):
    refused("risk_steward: invariant 0 broken", {3: 8_000, 4: 8_001}, market=MARKET, calls=())


def test_apply__market_refuses__passes_its_reason_on(market, refused):
    calls = ((str(market.address), SET + encode(["uint256[6]"], [(4_000, 10_000, *INITIAL[2:])])),)
    changes = {0: 4_000, 1: 2_500, 2: 8_000}
    refused("options_market: down shock not below 100 %", changes, market=MARKET, calls=calls)


def test_apply__setter_of_a_protocol_it_does_not_own__passes_the_reason_on(world, market, refused):
    world.market.set_parameter_setter(world.setter, sender=world.owner)
    calls = ((str(market.address), SET + encode(["uint256[6]"], [(3_100, *INITIAL[1:])])),)
    changes = {0: 3_100, 1: 2_500, 2: 8_000}
    refused("options_market: caller is not the parameter setter", changes, market=MARKET, calls=calls)


def test_apply__tightening_that_dooms_an_account__reverts_though_the_ramp_has_not_begun(world, change, market):
    """The ramp would hide it: the account is liquidatable only hours later."""
    world.short(1_300, strike=2_200, days=365)
    tighter = {0: 5_000, 1: 2_500, 2: 10_000}
    with reverting("risk_steward: too many liquidatable"):
        change("apply", tighter, probes=(probe(world.seller),))
    change("apply", tighter, probes=(probe(world.buyer),))
    assert not market.health(world.seller).liquidatable
    assert market.liquidatable_after_ramp(world.seller)


def test_rollback__wrong_tightening__restores_and_ends_its_auction_in_one_transaction(world, change, market):
    world.short(1_300, strike=2_200, days=365)
    change("apply", {0: 5_000, 1: 2_500, 2: 10_000})
    boa.env.time_travel(seconds=3_599)
    world.post(2_000)
    market.start_auction(world.seller)
    end = (str(market.address), market.end_auction.prepare_calldata(world.seller))
    change("rollback", {0: 3_000, 2: 8_000}, calls=(end,), probes=(probe(world.seller),))
    state = market.health(world.seller)
    assert (state.liquidatable, state.auction_started_at) == (False, 0)
    assert tuple(market.parameters()) == INITIAL


def test_rollback__auction_of_an_account_that_stays_doomed__can_not_be_ended(world, change, market):
    world.short(1_300, strike=2_200, days=365)
    change("apply", {0: 5_000, 1: 2_500, 2: 10_000})
    boa.env.time_travel(seconds=3_599)
    world.post(3_500)
    market.start_auction(world.seller)
    end = (str(market.address), market.end_auction.prepare_calldata(world.seller))
    with reverting("options_market: account has not recovered"):
        change("rollback", {0: 3_000, 2: 8_000}, calls=(end,))
    assert tuple(market.parameters()) == (5_000, 2_500, 10_000, *INITIAL[3:])


def test_apply__call_of_another_setter_of_the_market__reverts(guard, market, refused):
    calls = ((str(market.address), selector("set_parameter_setter(address)") + encode(["address"], [guard.guardian])),)
    refused("risk_steward: call not allowed", {5: 1_100}, market=MARKET, calls=calls)
    refused("risk_steward: call not allowed", {5: 1_100}, market=MARKET, calls=((str(market.address), TURN),))
