"""Settlement at expiry: the price, solvent and insolvent series, and the conservation of cash."""

from fractions import Fraction
from math import ceil, floor

import boa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

DAY = 86_400
MONEY = 10**6
PRICE = 10**8
SIZE = 10**18


def test_settle_price__first_round_after_expiry__fixes_its_price(world):
    series = world.short(5_000, days=1)
    world.expire(series, 2_300)
    assert world.market.series(series).settlement_price == 2_300 * PRICE


def test_settle_price__later_round__reverts(world):
    series = world.list_series(2_000, days=1)
    boa.env.time_travel(seconds=DAY)
    world.post(2_100)
    second = world.post(2_200)
    with boa.reverts("options_market: not the first round after expiry"):
        world.market.settle_price(series, second)


def test_settle_price__round_before_expiry__reverts(world):
    series = world.list_series(2_000, days=1)
    boa.env.time_travel(seconds=DAY - 1)
    early = world.post(2_100)
    boa.env.time_travel(seconds=1)
    with boa.reverts("options_market: not the first round after expiry"):
        world.market.settle_price(series, early)


@pytest.mark.parametrize("round_id", [0, 1, 2])
def test_settle_price__round_or_its_predecessor_missing__reverts(world, round_id):
    series = world.list_series(2_000, days=1)
    boa.env.time_travel(seconds=DAY)
    with boa.reverts("options_market: no such round" if round_id == 0 else "price_feed: no data present"):
        world.market.settle_price(series, round_id)


def test_settle_price__feed_answers_missing_rounds_with_zeros__reverts(world, deployers):
    feed = boa.loads(
        """
decimals: public(constant(uint8)) = 8

@external
@view
def getRoundData(round_id: uint80) -> (uint80, int256, uint256, uint256, uint80):
    return round_id, 1, 0, block.timestamp if round_id == 9 else 0, round_id
"""
    )
    initial = [1, 1, 1, 1, 1, 1]
    market = deployers["options_market"].deploy("X", world.token.address, feed.address, initial, 0, 60)
    series = market.create_series(boa.env.timestamp + 1, 1, True)
    boa.env.time_travel(seconds=1)
    with boa.reverts("options_market: no such round"):
        market.settle_price(series, 9)


def test_settle_price__before_expiry__reverts(world):
    series = world.list_series(2_000, days=1)
    with boa.reverts("options_market: series not expired"):
        world.market.settle_price(series, 1)


def test_settle_price__unknown_series__reverts(world):
    with boa.reverts("options_market: unknown series"):
        world.market.settle_price(7, 1)


def test_settle_price__twice__reverts(world):
    series = world.short(5_000, days=1)
    world.expire(series, 2_300)
    with boa.reverts("options_market: price already fixed"):
        world.market.settle_price(series, 3)


@pytest.mark.parametrize("price", [0, -5])
def test_settle_price__price_not_positive__reverts(world, price):
    series = world.list_series(2_000, days=1)
    boa.env.time_travel(seconds=DAY)
    with boa.reverts("options_market: invalid price"):
        world.market.settle_price(series, world.post(price))


def test_settle_price_by_owner__grace_over__fixes_the_price_and_says_it_was_the_owner(world):
    series = world.short(5_000, days=1)
    boa.env.timestamp = world.market.series(series).expiry + world.market.SETTLEMENT_GRACE()
    world.market.settle_price_by_owner(series, 2_300 * PRICE, sender=world.owner)
    event = world.market.get_logs()[-1]
    assert type(event).__name__ == "SeriesPricedByOwner"
    assert (event.series_id, event.owner, event.price) == (series, world.owner, 2_300 * PRICE)
    for account in (world.seller, world.buyer):
        world.market.settle(account, series)
    assert (world.market.cash(world.seller), world.market.cash(world.buyer)) == (4_700 * MONEY, 300 * MONEY)


def test_settle_price_by_owner__a_second_before_the_grace_is_over__reverts(world):
    series = world.short(5_000, days=1)
    boa.env.timestamp = world.market.series(series).expiry + 3 * DAY - 1
    with boa.reverts("options_market: settlement grace not over"):
        world.market.settle_price_by_owner(series, 2_300 * PRICE, sender=world.owner)


def test_settle_price__grace_over_without_the_owner__still_takes_the_oracle_round(world):
    series = world.short(5_000, days=1)
    boa.env.time_travel(seconds=5 * DAY)
    world.market.settle_price(series, world.post(2_300))
    assert world.market.series(series).settlement_price == 2_300 * PRICE


@pytest.mark.parametrize("who", ["setter", "seller"])
def test_settle_price_by_owner__anyone_else__reverts(world, who):
    series = world.short(5_000, days=1)
    boa.env.time_travel(seconds=5 * DAY)
    with boa.reverts("ownable: caller is not the owner"):
        world.market.settle_price_by_owner(series, 2_300 * PRICE, sender=getattr(world, who))


@pytest.mark.parametrize(("price", "reason"), [(0, "invalid price"), (10**27 + 1, "price too large")])
def test_settle_price_by_owner__price_out_of_range__reverts(world, price, reason):
    series = world.short(5_000, days=1)
    boa.env.time_travel(seconds=5 * DAY)
    with boa.reverts(f"options_market: {reason}"):
        world.market.settle_price_by_owner(series, price, sender=world.owner)


def test_settle_price_by_owner__price_already_fixed_or_no_such_series__reverts(world):
    series = world.short(5_000, days=1)
    world.expire(series, 2_300)
    boa.env.time_travel(seconds=5 * DAY)
    for series_id, reason in ((series, "price already fixed"), (7, "unknown series")):
        with boa.reverts(f"options_market: {reason}"):
            world.market.settle_price_by_owner(series_id, PRICE, sender=world.owner)


@pytest.mark.parametrize(("is_call", "price", "payoff"), [(True, 2_300, 300), (False, 1_900, 100), (True, 2_000, 0)])
def test_settle__solvent_series__pays_the_payoff(world, is_call, price, payoff):
    series = world.short(5_000, days=1, is_call=is_call)
    world.expire(series, price)
    world.market.settle(world.seller, series)
    world.market.settle(world.buyer, series, sender=world.liquidator)
    assert world.market.cash(world.seller) == (5_000 - payoff) * MONEY
    assert world.market.cash(world.buyer) == payoff * MONEY
    assert world.market.positions_of(world.seller) == world.market.positions_of(world.buyer) == []
    assert world.market.bad_debt() == 0


def test_settle__insolvent_short__shares_the_pool_and_records_the_shortfall(world):
    rich, poor, third = (boa.env.generate_address() for _ in range(3))
    series = world.list_series(2_000, days=1)
    world.fund(rich, 10_000)
    world.fund(poor, 700)
    world.trade(series, 2, seller=rich)
    world.trade(series, 1, seller=poor, buyer=third)
    world.expire(series, 3_000)
    for account in (rich, poor):
        world.market.settle(account, series)
    for account in (world.buyer, third):
        world.market.settle(account, series)
    assert world.market.cash(poor) == 0
    assert world.market.series(series).shortfall == world.market.bad_debt() == 300 * MONEY
    assert world.market.cash(world.buyer) == 1_800 * MONEY
    assert world.market.cash(third) == 900 * MONEY
    assert world.cash_and_pools() == world.token.balanceOf(world.market.address)


def test_settle__loss_in_one_series__leaves_the_other_whole(world):
    poor, solvent = world.list_series(2_000, days=1), world.list_series(2_100, days=1)
    other = boa.env.generate_address()
    world.fund(world.seller, 700)
    world.fund(other, 10_000)
    world.trade(poor)
    world.trade(solvent, seller=other, buyer=world.liquidator)
    world.expire(poor, 3_000)
    world.market.settle_price(solvent, 3)
    for account, series in ((world.seller, poor), (other, solvent), (world.buyer, poor), (world.liquidator, solvent)):
        world.market.settle(account, series)
    assert world.market.cash(world.buyer) == 700 * MONEY
    assert world.market.cash(world.liquidator) == 900 * MONEY


def test_settle__long_before_the_last_short__reverts(world):
    series = world.short(5_000, days=1)
    world.expire(series, 2_300)
    with boa.reverts("options_market: shorts not settled"):
        world.market.settle(world.buyer, series)


def test_settle__without_price__reverts(world):
    series = world.short(5_000, days=1)
    boa.env.time_travel(seconds=DAY)
    with boa.reverts("options_market: no settlement price"):
        world.market.settle(world.seller, series)


def test_settle__twice__reverts(world):
    series = world.short(5_000, days=1)
    world.expire(series, 2_300)
    world.market.settle(world.seller, series)
    with boa.reverts("options_market: no position"):
        world.market.settle(world.seller, series)


def test_withdraw__expired_short_without_price__reverts_however_low_the_price_now(world):
    series = world.short(5_000, days=1)
    world.expire(series, 2_000)
    with boa.env.anchor():
        world.market.withdraw(5_000 * MONEY, sender=world.seller)
    second = world.list_series(2_000, days=1)
    world.market.settle(world.seller, series)
    world.trade(second)
    boa.env.time_travel(seconds=DAY)
    world.post(1)
    with boa.reverts("options_market: expired short awaits its price"):
        world.market.withdraw(1, sender=world.seller)


def test_withdraw__priced_short__keeps_exactly_what_is_owed(world):
    series = world.short(5_000, days=1)
    world.expire(series, 2_300)
    world.post(1)
    with boa.reverts("options_market: below initial margin"):
        world.market.withdraw(4_700 * MONEY + 1, sender=world.seller)
    world.market.withdraw(4_700 * MONEY, sender=world.seller)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    price=st.integers(1, 20_000 * PRICE),
    is_call=st.booleans(),
    trades=st.lists(st.tuples(st.integers(1, 3 * SIZE), st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=5),
)
def test_settle__any_trades_and_price__conserves_cash_and_never_overpays(world, price, is_call, trades):
    with boa.env.anchor():
        people = [boa.env.generate_address() for _ in range(3)]
        for account in people:
            world.fund(account, 20_000)
        series = world.list_series(2_000, days=1, is_call=is_call)
        for size, seller, step in trades:
            offer = world.market.write(series, size, 7 * MONEY, sender=people[seller])
            world.market.buy(offer, size, sender=people[(seller + 1 + step % 2) % 3])
        total = world.token.balanceOf(world.market.address)
        assert world.cash_and_pools() == total
        boa.env.time_travel(seconds=DAY)
        world.market.settle_price(series, world.feed.post(price, boa.env.timestamp, sender=world.owner))
        positions = {account: world.market.position(account, series) for account in people}
        payoff = max(price - 2_000 * PRICE if is_call else 2_000 * PRICE - price, 0)
        solvent = True
        for account in sorted((a for a in people if positions[a]), key=positions.get):
            before = world.market.cash(account)
            world.market.settle(account, series)
            assert world.cash_and_pools() == total
            exact = abs(Fraction(positions[account] * payoff * MONEY, SIZE * PRICE))
            change = world.market.cash(account) - before
            if positions[account] < 0:
                assert -change == min(before, ceil(exact))
                solvent = solvent and -change == ceil(exact)
            else:
                assert change <= exact + len(people)
                assert change >= floor(exact) or not solvent
        state = world.market.series(series)
        assert state.unsettled_short == 0
        assert state.paid <= state.pool
        assert state.pool - state.paid < len(people)
        assert (world.market.bad_debt() == 0) == solvent
