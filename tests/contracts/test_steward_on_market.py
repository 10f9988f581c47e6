"""The steward holding the setter role of the reference market, which takes almost anything."""

import boa
import pytest
from eth_abi import encode
from policies import HEALTH_TRUE, Health, Parameter, Policy, Setter, Value, selector
from reverts import reverting

MARKET = b"ETH".ljust(32)
INITIAL = (3_000, 2_500, 8_000, 8_000, 7_000, 1_000)
SET = "set_parameters(uint256[6])"
OTHERS = "risk_steward: other calls than signed"
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
        setters=(Setter(address, SET, tuple(Value(id_) for id_ in range(6))),),
        quorum=guard.quorum,
        invariants=((4, 1, 3, 1),),
        probation=3_600,
        health=Health(address, "liquidatable_after_ramp(address)", HEALTH_TRUE),
    )
    guard.activate(MARKET, policy)
    world.market.set_parameter_setter(guard.steward.address, sender=world.owner)
    return world.market


@pytest.fixture
def change(guard, market):
    """Apply (or `rollback`) values by id, with the one call that sets all six parameters."""

    def send(kind, changes, **overrides):
        guard.send(kind, guard.message(changes, market=MARKET, **overrides))
        values = market.parameters()
        assert guard.made() == [(str(market.address), market.set_parameters.prepare_calldata(values))]

    return send


def probe(account):
    return encode(["address"], [account]), 0


def test_apply__all_six_parameters__reach_the_market_in_one_call(guard, market, change):
    after = (4_000, 3_000, 9_000, 8_500, 7_500, 1_100)
    change("apply", dict(enumerate(after)))
    assert tuple(market.parameters()) == after
    assert guard.state(MARKET).values == list(after)


def test_apply__twentyfold_shock_that_the_market_would_take__reverts(guard, market, refused):
    values = (60_000, *INITIAL[1:])
    changes = dict(enumerate(values[:3]))
    refused("risk_steward: parameter 0: above corridor", changes, market=MARKET)
    with boa.env.prank(guard.steward.address):
        market.set_parameters(values)


@pytest.mark.usefixtures("market")
def test_apply__threshold_above_the_factor__reverts(refused):
    refused("risk_steward: invariant 0 broken", {3: 8_000, 4: 8_001}, market=MARKET)


def test_apply__market_refuses__passes_its_reason_on(guard, market, refused):
    guard.put(guard.stored[guard.state(MARKET).policy].limit({1: {"max_step_up": 10_000}}), MARKET)
    refused("options_market: down shock not below 100 %", {0: 3_000, 1: 10_000, 2: 8_000}, market=MARKET)
    guard.apply({0: 3_000, 1: 9_999, 2: 8_000}, market=MARKET)
    assert market.parameters()[1] == 9_999


@pytest.mark.usefixtures("market")
def test_apply__setter_of_a_protocol_it_does_not_own__passes_the_reason_on(world, refused):
    world.market.set_parameter_setter(world.setter, sender=world.owner)
    changes = {0: 3_100, 1: 2_500, 2: 8_000}
    refused("options_market: caller is not the parameter setter", changes, market=MARKET)


def test_apply__tightening_that_dooms_an_account__reverts_though_the_ramp_has_not_begun(world, change, market):
    """The ramp would hide it: the account is liquidatable only hours later."""
    world.short(1_300, strike=2_200, days=365)
    tighter = {0: 5_000, 1: 2_500, 2: 10_000}
    with reverting("risk_steward: too many liquidatable"):
        change("apply", tighter, probes=(probe(world.seller),))
    change("apply", tighter, probes=(probe(world.buyer),))
    assert not market.health(world.seller).liquidatable
    assert market.liquidatable_after_ramp(world.seller)


def test_rollback__wrong_tightening__restores_so_that_its_auction_can_be_ended(world, change, market):
    world.short(1_300, strike=2_200, days=365)
    change("apply", {0: 5_000, 1: 2_500, 2: 10_000})
    boa.env.time_travel(seconds=3_599)
    world.post(2_000)
    market.start_auction(world.seller)
    change("rollback", {0: 3_000, 2: 8_000}, probes=(probe(world.seller),))
    market.end_auction(world.seller)
    state = market.health(world.seller)
    assert (state.liquidatable, state.auction_started_at) == (False, 0)
    assert tuple(market.parameters()) == INITIAL


def test_rollback__account_that_stays_doomed__keeps_its_auction(world, change, market):
    world.short(1_300, strike=2_200, days=365)
    change("apply", {0: 5_000, 1: 2_500, 2: 10_000})
    boa.env.time_travel(seconds=3_599)
    world.post(3_500)
    market.start_auction(world.seller)
    change("rollback", {0: 3_000, 2: 8_000})
    with reverting("options_market: account has not recovered"):
        market.end_auction(world.seller)
    assert tuple(market.parameters()) == INITIAL


def test_apply__call_of_another_function_of_the_market_was_signed__reverts(guard, market, refused):
    """Whatever signers sign, the steward makes no other call than the policy's setter with all six values."""
    address, change = str(market.address), {5: 1_100}
    setter = market.set_parameter_setter.prepare_calldata(guard.guardian)
    end = market.end_auction.prepare_calldata(guard.guardian)
    (honest,) = guard.message(change, market=MARKET).calls
    for calls in (((address, setter),), (honest, (address, setter)), (honest, (address, end)), ()):
        refused(OTHERS, change, market=MARKET, calls=calls)
    guard.apply(change, market=MARKET)


@pytest.mark.parametrize("id_", range(6))
def test_apply__largest_value_that_the_market_takes__is_read_back(guard, market, id_):
    largest = (65_535, 9_999, 65_535, 10_000, 8_000, 65_535)[id_]
    limits = {"maximum": 2**128 - 1, "max_step_up": 2**128 - 1, "coupled": 0}
    guard.put(guard.stored[guard.state(MARKET).policy].limit({id_: limits}), MARKET)
    guard.apply({id_: largest}, market=MARKET)
    assert tuple(market.parameters()) == (*INITIAL[:id_], largest, *INITIAL[id_ + 1 :])


@pytest.mark.parametrize("id_", [0, 2, 5])
@pytest.mark.usefixtures("market")
def test_apply__value_with_more_bits_than_the_market_has__reverts(guard, refused, id_):
    limits = {"maximum": 2**128 - 1, "max_step_up": 2**128 - 1, "coupled": 0}
    guard.put(guard.stored[guard.state(MARKET).policy].limit({id_: limits}), MARKET)
    for value in (65_536, 2**32 + INITIAL[id_], 2**128 - 1):
        refused("options_market: parameter too large", {id_: value}, market=MARKET)
