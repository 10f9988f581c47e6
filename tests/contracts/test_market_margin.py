"""The margin formula against an independent computation."""

from fractions import Fraction
from math import erf, isqrt, log, sqrt
from pathlib import Path

import boa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

DAY = 86_400
MONEY = 10**6
PRICE = 10**8
SIZE = 10**18
UP, DOWN, VOL, FACTOR, THRESHOLD = range(5)
RAMP = 3_600
EXAMPLES = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def exact_value(spot, strike, is_call, size, seconds, shock, vol):
    """Value in collateral units before rounding; spot and strike in price units, parameters in basis points."""
    multiplier = Fraction(10_000 + shock, 10_000) if is_call else Fraction(10_000 - shock, 10_000)
    shocked = Fraction(spot, PRICE) * multiplier
    intrinsic = shocked - Fraction(strike, PRICE) if is_call else Fraction(strike, PRICE) - shocked
    root = Fraction(isqrt(seconds * 10**60 // (365 * DAY)), 10**30)
    time_value = Fraction(4, 10) * shocked * Fraction(vol, 10_000) * root
    return Fraction(size, SIZE) * (max(intrinsic, 0) + time_value) * MONEY


def exact_margin(spot, strike, is_call, size, seconds, shock, vol):
    """Initial margin and mark value, likewise."""
    mark = exact_value(spot, strike, is_call, size, seconds, 0, vol)
    return max(exact_value(spot, strike, is_call, size, seconds, shock, vol), mark), mark


def black_scholes(spot, strike, is_call, years, vol):
    """Value at zero rates."""
    spread = vol * sqrt(years)
    upper = log(spot / strike) / spread + spread / 2
    normal = lambda x: (1 + erf(x / sqrt(2))) / 2  # noqa: E731
    call = spot * normal(upper) - strike * normal(upper - spread)
    return call if is_call else call - spot + strike


@EXAMPLES
@given(
    spot=st.integers(PRICE // 100, 10**6 * PRICE),
    moneyness=st.integers(50, 200),
    is_call=st.booleans(),
    size=st.integers(1, 10**6 * SIZE),
    seconds=st.integers(1, 365 * DAY),
    up=st.integers(0, 30_000),
    down=st.integers(0, 9_999),
    vol=st.integers(0, 50_000),
)
def test_margins__any_short__are_the_formula_rounded_up(world, spot, moneyness, is_call, size, seconds, up, down, vol):
    with boa.env.anchor():
        strike = max(spot * moneyness // 100, 1)
        world.tune({UP: up, DOWN: down, VOL: vol})
        boa.env.time_travel(seconds=RAMP)
        world.feed.post(spot, boa.env.timestamp, sender=world.owner)
        world.fund(world.seller, 10**14)
        series = world.market.create_series(boa.env.timestamp + seconds, strike, is_call)
        world.market.buy(world.market.write(series, size, 0, sender=world.seller), size, sender=world.buyer)
        state = world.market.health(world.seller)
        exact, mark = exact_margin(spot, strike, is_call, size, seconds, up if is_call else down, vol)
        # The unit value is rounded up at 1e-12 of the quote currency, the amount at one collateral unit.
        slack = Fraction(size, SIZE) * Fraction(2, 10**12) * MONEY + exact / 10**17 + 1
        assert exact <= state.initial_margin <= exact + slack
        for margin, share in ((state.maintenance_margin, 8_000), (state.liquidation_margin, 7_000)):
            expected = mark + (exact - mark) * share / 10_000
            assert expected - 1 - slack * share / 10_000 <= margin <= expected + 2 * slack
        # The two margins lie on one line from the mark to the initial margin, each rounded down.
        drop = state.initial_margin - state.maintenance_margin
        assert abs(2 * (state.initial_margin - state.liquidation_margin) - 3 * drop) <= 3


@EXAMPLES
@given(
    strikes=st.lists(st.tuples(st.integers(500, 8_000), st.booleans(), st.integers(1, 365)), min_size=1, max_size=4),
    shocks=st.tuples(st.integers(0, 20_000), st.integers(0, 9_999), st.integers(0, 30_000)),
    shares=st.tuples(st.integers(0, 10_000), st.integers(0, 10_000)),
    elapsed=st.integers(0, RAMP),
)
def test_margins__any_shorts_and_ramps__are_ordered_down_to_the_mark(world, strikes, shocks, shares, elapsed):
    with boa.env.anchor():
        world.fund(world.seller, 10**9)
        marks = []
        for strike, is_call, days in strikes:
            if world.market.series_id_of(boa.env.timestamp + days * DAY, strike * PRICE, is_call) == 0:
                world.trade(world.list_series(strike, days=days, is_call=is_call))
                marks.append((strike * PRICE, is_call, boa.env.timestamp + days * DAY))
        world.tune(dict(enumerate((*shocks, max(shares), min(shares)))))
        boa.env.time_travel(seconds=elapsed)
        vol = world.market.effective_parameters()[VOL]
        mark = sum(
            exact_value(2_000 * PRICE, strike, is_call, SIZE, expiry - boa.env.timestamp, 0, vol)
            for strike, is_call, expiry in marks
        )
        state = world.market.health(world.seller)
        assert state.initial_margin >= state.maintenance_margin >= state.liquidation_margin >= mark


def test_margins__put_far_out_of_the_money__are_its_mark_without_a_cushion(world):
    world.short(5_000, strike=500, days=365, is_call=False)
    state = world.market.health(world.seller)
    # .4 · 2,000 · .8 · 1 at the spot as it is; only three quarters of that at the shocked one.
    assert state.initial_margin == state.maintenance_margin == state.liquidation_margin == 640 * MONEY


def test_margins__priced_short_beside_a_live_one__adds_what_it_owes_and_no_cushion(world):
    world.fund(world.seller, 10_000)
    expired, live = world.list_series(2_000, days=1), world.list_series(2_200, days=365)
    world.trade(expired)
    world.trade(live)
    alone = world.market.health(world.seller)
    world.expire(expired, 2_000)
    world.post(2_000)
    settled = world.market.health(world.seller)
    world.market.settle(world.seller, expired)
    assert tuple(settled)[1:5] == tuple(world.market.health(world.seller))[1:5]
    assert settled.liquidation_margin < alone.liquidation_margin


def test_margins__priced_short__counts_what_it_owes_in_every_margin(world):
    world.expire(world.short(5_000, days=1), 2_300)
    assert tuple(world.market.health(world.seller))[2:6] == (300 * MONEY, 300 * MONEY, 300 * MONEY, False)


@EXAMPLES
@given(
    moneyness=st.floats(0.5, 2),
    is_call=st.booleans(),
    days=st.integers(1, 365),
    shocked_vol=st.integers(500, 30_000),
)
def test_initial_margin__without_spot_shock__covers_the_black_scholes_value(
    world, moneyness, is_call, days, shocked_vol
):
    with boa.env.anchor():
        world.tune({UP: 0, DOWN: 0, VOL: shocked_vol})
        world.fund(world.seller, 100_000)
        strike = 2_000 * moneyness
        world.trade(world.list_series(strike, days=days, is_call=is_call))
        value = black_scholes(2_000, strike, is_call, days / 365, shocked_vol / 10_000)
        assert world.market.health(world.seller).initial_margin >= value * MONEY


def test_initial_margin__several_shorts__adds_up_and_longs_count_nothing(world):
    call, put = world.list_series(2_000), world.list_series(2_000, is_call=False)
    margins = []
    for series in (call, put):
        with boa.env.anchor():
            world.fund(world.seller, 10_000)
            world.trade(series)
            margins.append(world.market.health(world.seller).initial_margin)
    world.fund(world.seller, 10_000)
    world.trade(call)
    world.trade(put)
    world.fund(world.buyer, 10_000)
    world.trade(world.list_series(1_500), seller=world.buyer, buyer=world.seller)
    assert world.market.health(world.seller).initial_margin == sum(margins)


def test_health__exact_numbers_at_the_initial_parameters__match_a_hand_computation(world):
    world.short(5_000, strike=2_200, days=365)
    state = world.market.health(world.seller)
    # 2,000 · 1.3 - 2,200 = 400 of intrinsic value; .4 · 2,600 · .8 · 1 = 832 of time value.
    assert state.initial_margin == 1_232 * MONEY
    # The mark is .4 · 2,000 · .8 · 1 = 640 of time value; .8 and .7 of the cushion of 592.
    assert state.maintenance_margin == 1_113_600_000
    assert state.liquidation_margin == 1_054_400_000
    assert (state.equity, state.liquidatable, state.auction_started_at) == (5_000 * MONEY, False, 0)


def test_health__short_at_expiry__keeps_only_intrinsic_value(world):
    world.short(5_000, strike=2_200, days=1)
    boa.env.time_travel(seconds=DAY)
    assert world.market.health(world.seller).initial_margin == 400 * MONEY


def test_health__no_positions__requires_nothing(world):
    state = world.market.health(world.seller)
    assert tuple(state) == (world.seller, 0, 0, 0, 0, False, 0)


def test_health__rounding_up__leaves_no_short_free(world):
    world.fund(world.seller, 1)
    series = world.list_series(2_000)
    world.market.buy(world.market.write(series, 1, 0, sender=world.seller), 1, sender=world.buyer)
    assert world.market.health(world.seller).initial_margin == 1


@pytest.mark.usefixtures("deployers")
def test_root_time__any_duration__is_the_square_root_rounded_up():
    probe = boa.loads(
        """
from . import option_value

@external
@view
def root_time(expiry: uint256) -> uint256:
    return option_value._root_time(expiry)
""",
        filename=str(Path(__file__).resolve().parents[2] / "chain" / "contracts" / "probe.vy"),
    )
    for seconds in (1, 7, 3_600, 365 * DAY // 4, 365 * DAY):
        years = -(-seconds * 10**36 // (365 * DAY))
        assert probe.root_time(boa.env.timestamp + seconds) == isqrt(years - 1) + 1
    assert probe.root_time(boa.env.timestamp) == 0


def test_health__running_ramp__binds_new_positions_at_once_and_open_ones_later(world):
    world.short(3_000, strike=2_200, days=365)
    world.tune({UP: 5_000})
    at_once = world.market.health(world.seller)
    assert at_once.initial_margin == (3_000 - 2_200 + 960) * MONEY
    assert at_once.maintenance_margin == 1_113_600_000
    boa.env.time_travel(seconds=RAMP)
    later = world.market.health(world.seller)
    assert later.initial_margin > 1_700 * MONEY > at_once.maintenance_margin
    mark = exact_value(2_000 * PRICE, 2_200 * PRICE, True, SIZE, 365 * DAY - RAMP, 0, 8_000)
    assert later.maintenance_margin == pytest.approx(float(mark + (later.initial_margin - mark) * 8 / 10), abs=2)


def test_health__ramping_shares__holds_those_in_effect(world):
    world.short(5_000, strike=2_200, days=365)
    world.tune({FACTOR: 9_000, THRESHOLD: 8_400})
    at_once = world.market.health(world.seller)
    assert (at_once.maintenance_margin, at_once.liquidation_margin) == (1_113_600_000, 1_054_400_000)
    boa.env.time_travel(seconds=RAMP // 2)
    midway = world.market.health(world.seller)
    mark = exact_value(2_000 * PRICE, 2_200 * PRICE, True, SIZE, 365 * DAY - RAMP // 2, 0, 8_000)
    for margin, share in ((midway.maintenance_margin, 8_500), (midway.liquidation_margin, 7_700)):
        assert margin == pytest.approx(float(mark + (midway.initial_margin - mark) * share / 10_000), abs=2)


def liquidation_margin_at(world, deployers, targets, elapsed, **terms):
    """Of one short in a market that has had the targets from its start, some seconds after the sale."""
    with boa.env.anchor():
        market = deployers["options_market"].deploy("X", world.token.address, world.feed.address, targets, 0, DAY)
        twin = type(world)(**{name: getattr(world, name) for name in world.__slots__} | {"market": market})
        twin.short(10_000, **terms)
        boa.env.time_travel(seconds=elapsed)
        return market.health(world.seller).liquidation_margin


@pytest.mark.parametrize("is_call", [True, False])
@pytest.mark.parametrize("elapsed", [0, RAMP // 2])
def test_liquidatable_after_ramp__tightening__is_decided_by_the_targets_to_the_unit(world, deployers, is_call, elapsed):
    targets, terms = [6_000, 4_900, 16_000, 9_500, 9_000, 1_000], {"is_call": is_call, "days": 365}
    needed = liquidation_margin_at(world, deployers, targets, elapsed, **terms)
    for cash, liquidatable in ((needed, False), (needed - 1, True)):
        with boa.env.anchor():
            world.short(cash / MONEY, **terms)
            assert world.market.cash(world.seller) == cash
            world.tune(dict(enumerate(targets)))
            boa.env.time_travel(seconds=elapsed)
            assert world.market.liquidatable_after_ramp(world.seller) is liquidatable
            assert not world.market.health(world.seller).liquidatable


@pytest.mark.parametrize(("spot", "liquidatable"), [(2_000, False), (2_400, True)])
def test_liquidatable_after_ramp__no_ramp_running__agrees_with_health(world, spot, liquidatable):
    world.short(1_300, strike=2_200, days=365)
    world.post(spot)
    assert world.market.health(world.seller).liquidatable is liquidatable
    assert world.market.liquidatable_after_ramp(world.seller) is liquidatable


def test_liquidatable_after_ramp__stale_price__answers_at_that_price(world):
    world.short(1_300, strike=2_200, days=365)
    world.post(2_400)
    boa.env.time_travel(seconds=world.market.max_price_age() + 1)
    assert world.market.liquidatable_after_ramp(world.seller)


def test_liquidatable_after_ramp__only_an_expired_short__is_false(world):
    series = world.short(1_300, strike=2_200, days=365)
    world.post(2_400)
    assert world.market.liquidatable_after_ramp(world.seller)
    boa.env.timestamp = world.market.series(series).expiry
    world.post(3_500)
    assert not world.market.liquidatable_after_ramp(world.seller)


def test_liquidatable_after_ramp__no_positions__is_false(world):
    assert not world.market.liquidatable_after_ramp(world.seller)
