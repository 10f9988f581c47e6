"""Liquidation auctions: who, when, how much, and at what discount."""

from math import isqrt

import boa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

DAY = 86_400
MONEY = 10**6
PRICE = 10**8
SIZE = 10**18
UP, _, VOL = range(3)


@pytest.fixture
def short(world):
    """A one-year call at 2,200 with 1,300 of cash: liquidatable from a spot of about 2,190."""
    world.fund(world.liquidator, 100_000)
    return world.short(1_300, strike=2_200, days=365)


@pytest.fixture
def auction(world, short):
    """The short's account under auction: 1,300 of cash, a mark of 968, a liquidation margin of about 1,633."""
    world.post(2_400)
    world.market.start_auction(world.seller)
    return short


def wait(world, seconds, price=2_400):
    boa.env.time_travel(seconds=seconds)
    world.post(price)


def liquidate(world, series, size=SIZE // 2, sender=None):
    world.market.liquidate(world.seller, series, size, sender=sender or world.liquidator)


@pytest.mark.usefixtures("short")
def test_start_auction__below_liquidation_margin__starts(world):
    world.post(2_400)
    world.market.start_auction(world.seller, sender=world.buyer)
    state = world.market.health(world.seller)
    assert (state.liquidatable, state.auction_started_at) == (True, boa.env.timestamp)


@pytest.mark.usefixtures("short")
def test_start_auction__healthy_account__reverts(world):
    with boa.reverts("options_market: account not liquidatable"):
        world.market.start_auction(world.seller)


@pytest.mark.usefixtures("short")
def test_start_auction__equity_at_liquidation_margin__is_healthy_and_a_unit_less_is_not(world):
    world.post(2_400)
    missing = world.market.health(world.seller).liquidation_margin - world.market.cash(world.seller)
    with boa.env.anchor():
        world.fund(world.seller, missing / MONEY)
        assert not world.market.health(world.seller).liquidatable
    world.fund(world.seller, (missing - 1) / MONEY)
    assert world.market.health(world.seller).liquidatable


@pytest.mark.usefixtures("auction")
def test_start_auction__already_running__reverts(world):
    with boa.reverts("options_market: auction already running"):
        world.market.start_auction(world.seller)


def test_liquidate__at_the_end_of_the_lifetime__succeeds_and_a_second_later_reverts(world, auction):
    wait(world, world.market.AUCTION_LIFETIME())
    with boa.env.anchor():
        liquidate(world, auction, SIZE // 4)
    wait(world, 1)
    with boa.reverts("options_market: auction is over, start it again"):
        liquidate(world, auction)


def test_start_auction__last_one_is_over__starts_again_from_no_discount(world, auction):
    wait(world, world.market.AUCTION_LIFETIME())
    with boa.reverts("options_market: auction already running"):
        world.market.start_auction(world.seller)
    wait(world, 1)
    world.market.start_auction(world.seller)
    assert world.market.discount(world.seller) == 0
    liquidate(world, auction)


@pytest.mark.usefixtures("short")
def test_start_auction__stale_price__reverts(world):
    world.post(2_400)
    boa.env.time_travel(seconds=world.market.max_price_age() + 1)
    with boa.reverts("options_market: stale price"):
        world.market.start_auction(world.seller)


def test_start_auction__only_an_expired_short__reverts(world, short):
    world.post(3_500)
    boa.env.timestamp = world.market.series(short).expiry
    world.post(3_500)
    assert world.market.health(world.seller).liquidation_margin > 1_300 * MONEY
    with boa.reverts("options_market: account not liquidatable"):
        world.market.start_auction(world.seller)


@pytest.mark.usefixtures("short")
def test_tightening__makes_a_healthy_account_liquidatable_only_as_it_ramps(world):
    world.tune({UP: 10_000})
    assert not world.market.health(world.seller).liquidatable
    wait(world, 3_600, price=2_000)
    assert world.market.health(world.seller).liquidatable


def test_liquidate__at_the_start__pays_mark_value_without_discount(world, auction):
    liquidate(world, auction)
    # Half of 200 of intrinsic value and .4 · 2,400 · .8 = 768 of time value.
    assert world.market.cash(world.seller) == 1_300 * MONEY - (100 + 384) * MONEY
    assert world.market.cash(world.liquidator) == (100_000 + 484) * MONEY
    assert world.market.position(world.seller, auction) == -SIZE // 2
    assert world.market.position(world.liquidator, auction) == -SIZE // 2
    assert world.market.series(auction).open_interest == SIZE


@pytest.mark.parametrize(("elapsed", "discount"), [(0, 0), (900, 250), (3_600, 1_000), (7_000, 1_000)])
def test_liquidate__later__discount_grows_to_the_penalty(world, auction, elapsed, discount):
    wait(world, elapsed)
    assert world.market.discount(world.seller) == discount
    liquidate(world, auction)
    event = world.market.get_logs()[0]
    assert event.paid == event.mark * (10_000 + discount) // 10_000
    assert world.market.cash(world.seller) == 1_300 * MONEY - event.paid


@pytest.mark.usefixtures("short")
def test_discount__no_auction__is_zero(world):
    assert world.market.discount(world.seller) == 0


def test_liquidate__mark_uses_the_volatility_in_effect(world, short):
    world.tune({VOL: 16_000})
    wait(world, 1_800)
    world.market.start_auction(world.seller)
    liquidate(world, short)
    # .4 · 2,400 · 1.2 instead of 1.6, half a ramp in; T is half an hour short of a year.
    assert world.market.get_logs()[0].mark == pytest.approx((100 + 576) * MONEY, rel=1e-4)


def test_liquidate__more_than_half_while_equity_is_above_half__reverts(world, auction):
    with boa.reverts("options_market: close factor exceeded"):
        liquidate(world, auction, SIZE // 2 + 1)


def test_liquidate__all_when_equity_is_below_half__succeeds(world, auction):
    world.post(4_000)
    state = world.market.health(world.seller)
    assert 2 * state.equity < state.liquidation_margin
    liquidate(world, auction, SIZE)
    assert world.market.position(world.seller, auction) == 0


def test_liquidate__dust__may_be_taken_whole_and_a_larger_short_not(world):
    world.fund(world.liquidator, 100_000)
    for size, whole in ((10**16, True), (10**16 + 2, False)):
        with boa.env.anchor():
            series = world.short(13.1, strike=2_200, days=365, size=size / SIZE)
            world.post(2_400)
            world.market.start_auction(world.seller)
            if whole:
                liquidate(world, series, size)
            else:
                with boa.reverts("options_market: close factor exceeded"):
                    liquidate(world, series, size)


def test_liquidate__mark_beyond_the_cash__pays_what_there_is(world, auction):
    world.post(10_000)
    liquidate(world, auction, SIZE)
    assert world.market.cash(world.seller) == 0
    assert world.market.cash(world.liquidator) == 101_300 * MONEY


def test_liquidate__no_auction__reverts(world, short):
    world.post(2_400)
    with boa.reverts("options_market: no auction"):
        liquidate(world, short)


def test_liquidate__recovered_account__reverts(world, auction):
    world.post(2_000)
    with boa.reverts("options_market: account has recovered"):
        liquidate(world, auction)


def to_equity(world, equity):
    """Fund the seller up to an equity in collateral units."""
    world.fund(world.seller, (equity - world.market.cash(world.seller)) / MONEY)


def test_liquidate__between_liquidation_and_maintenance_margin__goes_on_in_a_running_auction(world, auction):
    state = world.market.health(world.seller)
    to_equity(world, state.maintenance_margin - 1)
    assert not world.market.health(world.seller).liquidatable
    liquidate(world, auction, SIZE // 100)
    assert world.market.position(world.seller, auction) == -SIZE * 99 // 100


def test_liquidate__at_maintenance_margin__reverts(world, auction):
    to_equity(world, world.market.health(world.seller).maintenance_margin)
    with boa.reverts("options_market: account has recovered"):
        liquidate(world, auction, SIZE // 100)


@pytest.mark.usefixtures("short")
def test_start_auction__between_liquidation_and_maintenance_margin__reverts(world):
    world.post(2_400)
    to_equity(world, world.market.health(world.seller).maintenance_margin - 1)
    with boa.reverts("options_market: account not liquidatable"):
        world.market.start_auction(world.seller)


def test_liquidate__discount_would_eat_the_equity_above_the_mark__is_paid_what_keeps_health(world, auction):
    world.post(2_600)
    # 1,300 against a mark of 400 + 832 = 1,232; at the full discount the part taken is paid at 1.1 times its mark.
    with boa.env.anchor():
        liquidate(world, auction)
    wait(world, 3_600, 2_600)
    before, (mark, _) = world.market.health(world.seller), call_margins(2_600, 3_600, SIZE // 2)
    liquidate(world, auction)
    after = world.market.health(world.seller)
    assert mark < before.equity - after.equity < mark * 11 // 10
    assert after.equity * before.liquidation_margin >= before.equity * after.liquidation_margin
    assert (after.equity - 1) * before.liquidation_margin < before.equity * after.liquidation_margin


def test_liquidate__equity_below_the_mark__may_worsen_health(world, auction):
    wait(world, 3_600, 2_700)
    before = world.market.health(world.seller)
    liquidate(world, auction)
    after = world.market.health(world.seller)
    assert after.equity * before.liquidation_margin < before.equity * after.liquidation_margin


def test_liquidate__short_with_the_higher_mark_share__reverts_and_the_other_one_succeeds(world):
    world.fund(world.liquidator, 100_000)
    world.fund(world.seller, 5_000)
    deep, flat = world.list_series(500, days=365), world.list_series(2_000, days=365)
    world.trade(deep)
    world.trade(flat)
    # Marks of 2,320 and 820 of intrinsic value, each with 902.4 of time value, and equal cushions.
    world.post(2_820)
    world.market.start_auction(world.seller)
    assert 4_944_800_000 < world.market.cash(world.seller) == 5_000 * MONEY
    with boa.env.anchor(), boa.reverts("options_market: liquidation worsens health"):
        liquidate(world, deep)
    liquidate(world, flat)


def test_liquidate__own_account__reverts(world, auction):
    with boa.reverts("options_market: own account"):
        liquidate(world, auction, sender=world.seller)


def test_liquidate__stale_price__reverts(world, auction):
    boa.env.time_travel(seconds=world.market.max_price_age() + 1)
    with boa.reverts("options_market: stale price"):
        liquidate(world, auction)


def test_liquidate__expired_series__reverts(world, auction):
    boa.env.timestamp = world.market.series(auction).expiry
    world.post(2_400)
    with boa.reverts("options_market: series expired"):
        liquidate(world, auction)


@pytest.mark.parametrize("size", [0, SIZE + 1])
def test_liquidate__size_out_of_range__reverts(world, auction, size):
    world.post(4_000)
    with boa.reverts("options_market: size out of range"):
        liquidate(world, auction, size)


@pytest.mark.usefixtures("auction")
def test_liquidate__series_without_short__reverts(world):
    other = world.list_series(2_500)
    with boa.reverts("options_market: no short to liquidate"):
        liquidate(world, other)


@pytest.mark.usefixtures("auction")
def test_liquidate__long__reverts(world):
    other = world.list_series(9_000)
    world.fund(world.buyer, 10_000)
    world.fund(world.seller, 0.000001)
    with boa.env.anchor(), boa.reverts("options_market: no short to liquidate"):
        world.post(1_000)
        world.trade(other, seller=world.buyer, buyer=world.seller)
        world.post(2_400)
        liquidate(world, other)


def test_liquidate__liquidator_below_initial_margin__reverts(world, auction):
    with boa.reverts("options_market: below initial margin"):
        liquidate(world, auction, sender=boa.env.generate_address())


def test_liquidate__liquidator_with_the_long__nets(world, auction):
    liquidate(world, auction, sender=world.buyer)
    assert world.market.position(world.buyer, auction) == SIZE // 2
    assert world.market.series(auction).open_interest == SIZE // 2


def test_liquidate__account_healthy_afterwards__ends_the_auction(world, auction):
    world.post(2_300)
    liquidate(world, auction)
    assert world.market.health(world.seller).auction_started_at == 0


def test_liquidate__account_above_liquidation_but_below_maintenance_margin__keeps_the_auction(world, auction):
    world.post(2_390)
    liquidate(world, auction)
    state = world.market.health(world.seller)
    assert state.liquidation_margin <= state.equity < state.maintenance_margin
    assert state.auction_started_at != 0


def test_liquidate__account_still_under_water__keeps_the_auction(world, auction):
    liquidate(world, auction, SIZE // 100)
    assert world.market.health(world.seller).auction_started_at != 0


@pytest.mark.usefixtures("auction")
def test_end_auction__recovered_account__ends(world):
    world.post(2_000)
    world.market.end_auction(world.seller, sender=world.buyer)
    assert world.market.health(world.seller).auction_started_at == 0


@pytest.mark.usefixtures("auction")
def test_end_auction__at_maintenance_margin__ends_and_a_unit_less_reverts(world):
    to_equity(world, world.market.health(world.seller).maintenance_margin - 1)
    with boa.reverts("options_market: account has not recovered"):
        world.market.end_auction(world.seller)
    world.fund(world.seller, 1 / MONEY)
    world.market.end_auction(world.seller)
    assert world.market.health(world.seller).auction_started_at == 0


def test_end_auction__only_an_expired_short_left__ends(world, auction):
    boa.env.timestamp = world.market.series(auction).expiry
    world.post(4_000)
    assert world.market.health(world.seller).equity < world.market.health(world.seller).maintenance_margin
    world.market.end_auction(world.seller)
    assert world.market.health(world.seller).auction_started_at == 0


@pytest.mark.usefixtures("auction")
def test_end_auction__after_loosening__ends(world):
    world.tune({UP: 1_000})
    world.market.end_auction(world.seller)
    assert world.market.health(world.seller).auction_started_at == 0


@pytest.mark.usefixtures("auction")
def test_end_auction__still_liquidatable__reverts(world):
    with boa.reverts("options_market: account has not recovered"):
        world.market.end_auction(world.seller)


@pytest.mark.usefixtures("short")
def test_end_auction__none_running__reverts(world):
    with boa.reverts("options_market: no auction"):
        world.market.end_auction(world.seller)


def call_margins(spot, elapsed, size):
    """Mark value and liquidation margin of the fixture's call in collateral units, rounded as the contract does."""
    years = -(-(365 * DAY - elapsed) * 10**36 // (365 * DAY))
    root = isqrt(years - 1) + 1

    def value(multiplier):
        shocked = spot * PRICE * multiplier
        unit = max(shocked - 2_200 * PRICE * 10_000, 0) - (-4 * shocked * 8_000 * root // 10**23)
        return -(-size * unit // 10**24)

    return value(10_000), value(10_000) + (value(13_000) - value(10_000)) * 7_000 // 10_000


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(price=st.integers(2_400, 20_000), elapsed=st.integers(0, 7_000), share=st.integers(1, 100))
def test_liquidate__any_price_and_time__conserves_cash_and_positions(world, auction, price, elapsed, share):
    with boa.env.anchor():
        wait(world, elapsed, price)
        before = world.cash_and_pools()
        state, size = world.market.health(world.seller), SIZE // 2 * share // 100
        part, rest = call_margins(price, elapsed, size), call_margins(price, elapsed, SIZE - size)
        paid = min(part[0] * (10_000 + min(elapsed, 3_600) * 1_000 // 3_600) // 10_000, state.equity)
        assert state.liquidation_margin == call_margins(price, elapsed, SIZE)[1]
        if state.equity >= call_margins(price, elapsed, SIZE)[0]:
            paid = min(paid, state.equity + (-state.equity * rest[1] // state.liquidation_margin))
        liquidate(world, auction, size)
        event = world.market.get_logs()[0]
        assert (event.mark, event.paid) == (part[0], paid)
        assert world.market.cash(world.seller) == 1_300 * MONEY - event.paid
        assert world.cash_and_pools() == before == world.token.balanceOf(world.market.address)
        people = (world.seller, world.buyer, world.liquidator)
        assert sum(world.market.position(account, auction) for account in people) == 0
