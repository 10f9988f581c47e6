"""Deposits, series, offers and the initial margin that trades and withdrawals must leave."""

import boa
import pytest

DAY = 86_400
YEAR = 365 * DAY
MONEY = 10**6
PRICE = 10**8
SIZE = 10**18
UP, DOWN, VOL = range(3)


def test_deposit__first_time__credits_and_enumerates_the_account(world):
    world.fund(world.seller, 500)
    assert world.market.cash(world.seller) == 500 * MONEY
    assert world.token.balanceOf(world.market.address) == 500 * MONEY
    assert [state.account for state in world.market.accounts(0, 256)] == [world.seller]


def test_deposit__second_time__enumerates_the_account_once(world):
    world.fund(world.seller, 500)
    world.fund(world.seller, 1)
    assert world.market.account_count() == 1


def test_deposit__nothing__reverts(world):
    with boa.reverts("options_market: zero amount"):
        world.market.deposit(0, sender=world.seller)


def test_deposit__without_allowance__reverts(world):
    world.token.mint(world.seller, MONEY, sender=world.owner)
    with boa.reverts():
        world.market.deposit(MONEY, sender=world.seller)
    assert world.market.account_count() == 0


def test_deposit__token_returns_false__reverts(world, deployers):
    liar = boa.loads(
        """
@external
@view
def decimals() -> uint8:
    return 6

@external
def transferFrom(owner: address, to: address, amount: uint256) -> bool:
    return False

@external
def transfer(to: address, amount: uint256) -> bool:
    return False
"""
    )
    market = deployers["options_market"].deploy("X", liar.address, world.feed.address, [1, 1, 1, 1, 1, 1], 0, 60)
    with boa.reverts("options_market: transfer failed"):
        market.deposit(1, sender=world.seller)
    with boa.reverts("options_market: transfer failed"):
        market.withdraw(0, sender=world.seller)


def test_deposit_for__other_account__credits_it_and_charges_the_caller(world):
    world.token.mint(world.buyer, MONEY, sender=world.owner)
    world.token.approve(world.market.address, MONEY, sender=world.buyer)
    world.market.deposit_for(world.seller, MONEY, sender=world.buyer)
    assert (world.market.cash(world.seller), world.token.balanceOf(world.buyer)) == (MONEY, 0)


def test_deposit_for__zero_account__reverts(world):
    with boa.reverts("options_market: zero account"):
        world.market.deposit_for("0x" + "00" * 20, 1, sender=world.buyer)


def test_withdraw__free_cash__returns_tokens(world):
    world.fund(world.seller, 500)
    world.market.withdraw(200 * MONEY, sender=world.seller)
    assert world.token.balanceOf(world.seller) == 200 * MONEY
    assert world.market.cash(world.seller) == 300 * MONEY


def test_withdraw__more_than_cash__reverts(world):
    world.fund(world.seller, 500)
    with boa.reverts("options_market: not enough cash"):
        world.market.withdraw(500 * MONEY + 1, sender=world.seller)


def test_withdraw__down_to_initial_margin__succeeds_and_one_unit_more_reverts(world):
    world.short(5_000)
    free = world.market.cash(world.seller) - world.market.health(world.seller).initial_margin
    with boa.reverts("options_market: below initial margin"):
        world.market.withdraw(free + 1, sender=world.seller)
    world.market.withdraw(free, sender=world.seller)
    assert world.market.cash(world.seller) == world.market.health(world.seller).initial_margin


def test_withdraw__stale_price__reverts_with_a_short_and_succeeds_without(world):
    world.short(5_000)
    world.fund(world.buyer, 1)
    boa.env.time_travel(seconds=world.market.max_price_age() + 1)
    with boa.reverts("options_market: stale price"):
        world.market.withdraw(1, sender=world.seller)
    world.market.withdraw(1, sender=world.buyer)


def test_create_series__valid__numbers_from_one(world):
    assert [world.list_series(strike) for strike in (2_000, 2_100)] == [1, 2]
    series = world.market.series(2)
    assert (series.strike, series.is_call) == (2_100 * PRICE, True)
    assert world.market.series_id_of(series.expiry, series.strike, True) == 2


@pytest.mark.parametrize(
    ("ahead", "strike", "reason"),
    [
        (0, 1, "expiry not in the future"),
        (YEAR + 1, 1, "expiry beyond one year"),
        (DAY, 0, "zero strike"),
        (DAY, 10**27 + 1, "strike too large"),
    ],
)
def test_create_series__out_of_bounds__reverts(world, ahead, strike, reason):
    with boa.reverts(f"options_market: {reason}"):
        world.market.create_series(boa.env.timestamp + ahead, strike, True)


def test_create_series__at_the_bounds__succeeds(world):
    world.market.create_series(boa.env.timestamp + 1, 1, True)
    world.market.create_series(boa.env.timestamp + YEAR, 10**27, False)
    assert world.market.series_count() == 2


def test_create_series__same_terms__reverts(world):
    world.list_series(2_000)
    with boa.reverts("options_market: series exists"):
        world.list_series(2_000)


@pytest.mark.parametrize("series_id", [0, 1])
def test_series__unknown__reverts(world, series_id):
    with boa.reverts("options_market: unknown series"):
        world.market.series(series_id)


def test_buy__offer__moves_premium_and_positions(world):
    world.fund(world.seller, 5_000)
    world.fund(world.buyer, 100)
    series = world.list_series(2_000)
    world.trade(series, size=0.5, premium=90)
    assert world.market.cash(world.seller) == 5_045 * MONEY
    assert world.market.cash(world.buyer) == 55 * MONEY
    assert [tuple(p) for p in world.market.positions_of(world.seller)] == [(series, -SIZE // 2)]
    assert [tuple(p) for p in world.market.positions_of(world.buyer)] == [(series, SIZE // 2)]
    assert world.market.series(series).open_interest == SIZE // 2


def test_buy__premium_with_a_fraction__is_rounded_up(world):
    world.fund(world.seller, 5_000)
    world.fund(world.buyer, 1)
    offer = world.market.write(world.list_series(2_000), SIZE, 1, sender=world.seller)
    world.market.buy(offer, 1, sender=world.buyer)
    assert world.market.cash(world.buyer) == MONEY - 1


def test_buy__part_of_an_offer__leaves_the_rest(world):
    world.fund(world.seller, 5_000)
    offer = world.market.write(world.list_series(2_000), SIZE, 0, sender=world.seller)
    world.market.buy(offer, SIZE // 4, sender=world.buyer)
    assert world.market.offers(offer).size == 3 * SIZE // 4
    with boa.reverts("options_market: size not on offer"):
        world.market.buy(offer, SIZE, sender=world.buyer)


@pytest.mark.parametrize("size", [0, SIZE + 1])
def test_buy__size_not_on_offer__reverts(world, size):
    world.fund(world.seller, 5_000)
    offer = world.market.write(world.list_series(2_000), SIZE, 0, sender=world.seller)
    with boa.reverts("options_market: size not on offer"):
        world.market.buy(offer, size, sender=world.buyer)


def test_buy__own_offer__reverts(world):
    offer = world.market.write(world.list_series(2_000), SIZE, 0, sender=world.seller)
    with boa.reverts("options_market: own offer"):
        world.market.buy(offer, 1, sender=world.seller)


def test_buy__buyer_cannot_pay__reverts(world):
    world.fund(world.seller, 5_000)
    world.fund(world.buyer, 10)
    with boa.reverts("options_market: not enough cash"):
        world.trade(world.list_series(2_000), premium=11)


def test_buy__seller_below_initial_margin__reverts_and_changes_nothing(world):
    world.fund(world.seller, 100)
    series = world.list_series(2_000)
    with boa.reverts("options_market: below initial margin"):
        world.trade(series)
    assert world.market.positions_of(world.seller) == []
    assert world.market.series(series).open_interest == 0


def test_buy__premium_lifts_seller_to_initial_margin__succeeds(world):
    world.fund(world.buyer, 2_000)
    series = world.list_series(2_000)
    world.trade(series, premium=2_000)
    state = world.market.health(world.seller)
    assert state.initial_margin <= state.equity == 2_000 * MONEY


def test_buy__buyer_with_a_short_left_below_initial_margin__reverts(world):
    series = world.short(1_000)
    world.fund(world.buyer, 5_000)
    other = world.list_series(2_500)
    world.post(2_400)
    with boa.reverts("options_market: below initial margin"):
        world.trade(other, seller=world.buyer, buyer=world.seller)
    world.trade(series, seller=world.buyer, buyer=world.seller)
    assert world.market.positions_of(world.seller) == []


def test_buy__part_of_a_short_back_below_initial_margin__succeeds_when_health_does_not_fall(world):
    series = world.short(1_000)
    world.fund(world.buyer, 5_000)
    world.post(2_400)
    before = world.market.health(world.seller)
    assert before.equity < before.initial_margin
    world.trade(series, size=0.5, premium=1_000, seller=world.buyer, buyer=world.seller)
    after = world.market.health(world.seller)
    assert (after.equity, world.market.position(world.seller, series)) == (500 * MONEY, -SIZE // 2)
    assert after.equity < after.initial_margin
    assert after.equity * before.initial_margin >= before.equity * after.initial_margin


def test_buy__part_of_a_short_back_below_initial_margin__reverts_when_health_falls(world):
    series = world.short(1_000)
    world.fund(world.buyer, 5_000)
    world.post(2_400)
    with boa.reverts("options_market: below initial margin"):
        world.trade(series, size=0.5, premium=1_001, seller=world.buyer, buyer=world.seller)


def test_buy__short_back_from_above_to_below_initial_margin__reverts(world):
    series = world.short(5_000)
    world.fund(world.buyer, 5_000)
    with boa.reverts("options_market: below initial margin"):
        world.trade(series, size=0.5, premium=9_900, seller=world.buyer, buyer=world.seller)
    world.trade(series, size=0.5, premium=5_000, seller=world.buyer, buyer=world.seller)


def test_buy__one_of_two_shorts_back_below_initial_margin__succeeds(world):
    world.fund(world.seller, 2_500)
    first, second = world.list_series(2_000), world.list_series(2_100)
    for series in (first, second):
        world.trade(series)
    world.fund(world.buyer, 5_000)
    world.post(2_500)
    world.trade(first, premium=600, seller=world.buyer, buyer=world.seller)
    state = world.market.health(world.seller)
    assert state.equity >= state.initial_margin > 0


def test_buy__short_back_beside_an_expired_one_without_price__reverts(world):
    world.fund(world.seller, 5_000)
    expired, live = world.list_series(2_000, days=1), world.list_series(2_000)
    for series in (expired, live):
        world.trade(series)
    boa.env.time_travel(seconds=DAY)
    world.post(2_000)
    with boa.reverts("options_market: expired short awaits its price"):
        world.trade(live, seller=world.buyer, buyer=world.seller)


def test_buy__back_a_short__closes_it_and_frees_the_margin(world):
    series = world.short(5_000)
    world.trade(series, seller=world.buyer, buyer=world.seller)
    assert world.market.health(world.seller).initial_margin == 0
    assert world.market.series(series).open_interest == 0
    assert world.market.positions_of(world.buyer) == []


def test_buy__long_sells_more_than_it_has__ends_short(world):
    series = world.short(5_000)
    world.fund(world.buyer, 5_000)
    world.trade(series, size=3, seller=world.buyer, buyer=world.liquidator)
    assert world.market.position(world.buyer, series) == -2 * SIZE
    assert world.market.series(series).open_interest == 3 * SIZE


def test_buy__stale_price__reverts(world):
    world.fund(world.seller, 5_000)
    series = world.list_series(2_000)
    boa.env.time_travel(seconds=world.market.max_price_age())
    world.trade(series)
    boa.env.time_travel(seconds=1)
    with boa.reverts("options_market: stale price"):
        world.trade(series)


@pytest.mark.parametrize("price", [0, -1])
def test_buy__price_not_positive__reverts(world, price):
    world.fund(world.seller, 5_000)
    series = world.list_series(2_000)
    world.post(price)
    with boa.reverts("options_market: invalid price"):
        world.trade(series)


def test_buy__expired_series__reverts(world):
    world.fund(world.seller, 5_000)
    offer = world.market.write(world.list_series(2_000, days=1), SIZE, 0, sender=world.seller)
    boa.env.time_travel(seconds=DAY)
    world.post(2_000)
    with boa.reverts("options_market: series expired"):
        world.market.buy(offer, SIZE, sender=world.buyer)


def test_buy__sixteen_series__succeeds_and_a_seventeenth_reverts(world):
    world.fund(world.seller, 50_000)
    for strike in range(3_000, 3_016):
        world.trade(world.list_series(strike), size=0.01)
    assert len(world.market.positions_of(world.seller)) == 16
    with boa.reverts("options_market: too many positions"):
        world.trade(world.list_series(4_000), size=0.01)


def test_buy__position_too_large__reverts(world):
    offer = world.market.write(world.list_series(2_000), 10**27, 0, sender=world.seller)
    other = world.market.write(1, 10**27, 0, sender=world.liquidator)
    world.tune({UP: 0, DOWN: 9_999, VOL: 0})
    world.post(0.00000001)
    world.market.buy(offer, 10**27, sender=world.buyer)
    with boa.reverts("options_market: position too large"):
        world.market.buy(other, 1, sender=world.buyer)


def test_positions_of__middle_one_closed__keeps_the_others(world):
    world.fund(world.seller, 50_000)
    first, second, third = (world.list_series(strike) for strike in (3_000, 3_100, 3_200))
    for series in (first, second, third):
        world.trade(series)
    world.trade(first, seller=world.buyer, buyer=world.seller)
    assert {p.series_id for p in world.market.positions_of(world.seller)} == {second, third}
    world.trade(second, seller=world.buyer, buyer=world.seller)
    assert [p.series_id for p in world.market.positions_of(world.seller)] == [third]


@pytest.mark.parametrize(
    ("size", "premium", "reason"),
    [
        (0, 0, "size out of range"),
        (10**27 + 1, 0, "size out of range"),
        (1, 10**27 + 1, "premium too large"),
    ],
)
def test_write__out_of_bounds__reverts(world, size, premium, reason):
    series = world.list_series(2_000)
    with boa.reverts(f"options_market: {reason}"):
        world.market.write(series, size, premium, sender=world.seller)


def test_write__unknown_series__reverts(world):
    with boa.reverts("options_market: unknown series"):
        world.market.write(1, SIZE, 0, sender=world.seller)


def test_cancel__own_offer__takes_it_off(world):
    offer = world.market.write(world.list_series(2_000), SIZE, 0, sender=world.seller)
    world.market.cancel(offer, sender=world.seller)
    with boa.reverts("options_market: size not on offer"):
        world.market.buy(offer, 1, sender=world.buyer)


def test_cancel__offer_of_another__reverts(world):
    offer = world.market.write(world.list_series(2_000), SIZE, 0, sender=world.seller)
    with boa.reverts("options_market: not the seller"):
        world.market.cancel(offer, sender=world.buyer)


def test_accounts__pages__cover_everyone_once(world):
    people = [boa.env.generate_address() for _ in range(5)]
    for account in people:
        world.fund(account, 1)
    pages = [world.market.accounts(start, 2) for start in (0, 2, 4, 6)]
    assert [state.account for page in pages for state in page] == people
    assert [len(page) for page in pages] == [2, 2, 1, 0]


def test_accounts__page_too_large__reverts(world):
    with boa.reverts("options_market: page too large"):
        world.market.accounts(0, 257)


def test_accounts__buyer_without_deposit__is_enumerated(world):
    world.short(5_000)
    assert [state.account for state in world.market.accounts(0, 10)] == [world.seller, world.buyer]


def test_accounts__agrees_with_health(world):
    world.short(5_000)
    assert tuple(world.market.accounts(0, 1)[0]) == tuple(world.market.health(world.seller))


def test_price__stale__is_still_shown_with_its_time(world):
    posted_at = boa.env.timestamp
    boa.env.time_travel(seconds=10 * DAY)
    assert world.market.price() == (2_000 * PRICE, posted_at)
    assert world.market.price_decimals() == 8


def test_deploy__feed_or_token_with_too_many_decimals__reverts(world, deployers):
    odd = boa.loads("decimals: public(constant(uint8)) = 19")
    deploy, initial = deployers["options_market"].deploy, [1, 1, 1, 1, 1, 1]
    with boa.reverts("options_market: too many price decimals"):
        deploy("X", world.token.address, odd.address, initial, 0, 60)
    with boa.reverts("options_market: too many collateral decimals"):
        deploy("X", odd.address, world.feed.address, initial, 0, 60)


def test_withdraw__token_calls_back__reverts(world, deployers):
    thief = boa.loads(
        """
interface Market:
    def create_series(expiry: uint256, strike: uint256, is_call: bool) -> uint256: nonpayable

armed: public(bool)

@external
@view
def decimals() -> uint8:
    return 6

@external
def arm():
    self.armed = True

@external
def transfer(to: address, amount: uint256) -> bool:
    if self.armed:
        extcall Market(msg.sender).create_series(block.timestamp + 1, 1, True)
    return True
"""
    )
    market = deployers["options_market"].deploy("X", thief.address, world.feed.address, [1, 1, 1, 1, 1, 1], 0, 60)
    market.withdraw(0, sender=world.seller)
    thief.arm()
    with boa.reverts():
        market.withdraw(0, sender=world.seller)
