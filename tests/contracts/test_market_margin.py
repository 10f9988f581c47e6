"""The margin formula against an independent computation, and the ramp of tightened parameters."""

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
UP, DOWN, VOL, FACTOR, THRESHOLD, PENALTY = range(6)
INITIAL = (3_000, 2_500, 8_000, 8_000, 7_000, 1_000)
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
        world.market.set_shocks(up, down, vol, sender=world.setter)
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
        world.market.set_shocks(*shocks, sender=world.setter)
        world.market.set_liquidation(max(shares), min(shares), sender=world.setter)
        boa.env.time_travel(seconds=elapsed)
        vol = world.market.effective_parameter(VOL)
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
        world.market.set_shocks(0, 0, shocked_vol, sender=world.setter)
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


def test_setters__parameter_setter__sets_all_targets(world):
    market = world.market
    market.set_shocks(3_100, 2_600, 8_100, sender=world.setter)
    market.set_liquidation(8_200, 7_300, sender=world.setter)
    market.set_liquidation_penalty(1_400, sender=world.setter)
    assert [market.parameter(index) for index in range(6)] == [3_100, 2_600, 8_100, 8_200, 7_300, 1_400]


def test_setters__owner_or_stranger__revert(world):
    market = world.market
    for sender in (world.owner, world.seller):
        for setter, values in (
            (market.set_shocks, (1, 1, 1)),
            (market.set_liquidation, (1, 1)),
            (market.set_liquidation_penalty, (1,)),
        ):
            with boa.reverts("options_market: caller is not the parameter setter"):
                setter(*values, sender=sender)


def test_set_parameter_setter__owner__hands_the_right_over(world):
    world.market.set_parameter_setter(world.buyer, sender=world.owner)
    world.market.set_liquidation_penalty(1, sender=world.buyer)
    with boa.reverts("options_market: caller is not the parameter setter"):
        world.market.set_liquidation_penalty(1, sender=world.setter)


def test_set_parameter_setter__anyone_else__reverts(world):
    with boa.reverts("ownable: caller is not the owner"):
        world.market.set_parameter_setter(world.setter, sender=world.setter)


@pytest.mark.parametrize(
    ("setter", "values", "reason"),
    [
        ("set_shocks", (10**9 + 1, 0, 0), "parameter too large"),
        ("set_shocks", (0, 0, 10**9 + 1), "parameter too large"),
        ("set_shocks", (0, 10_000, 0), "down shock not below 100 %"),
        ("set_liquidation", (10_001, 1), "maintenance factor above 100 %"),
        ("set_liquidation", (8_000, 8_001), "threshold above maintenance factor"),
        ("set_liquidation_penalty", (10**9 + 1,), "parameter too large"),
    ],
)
def test_setters__impossible_value__revert(world, setter, values, reason):
    with boa.reverts(f"options_market: {reason}"):
        getattr(world.market, setter)(*values, sender=world.setter)


@pytest.mark.parametrize("initial", [(0, 10_000, 0, 1, 1, 0), (0, 0, 0, 1, 2, 0), (0, 0, 0, 1, 1, 10**9 + 1)])
def test_deploy__impossible_parameters__reverts(world, deployers, initial):
    with boa.reverts():
        deployers["options_market"].deploy("X", world.token.address, world.feed.address, initial, 0, 60)


def test_setters__reckless_but_possible_value__is_taken(world):
    world.market.set_shocks(1_000_000, 9_999, 10**9, sender=world.setter)
    boa.env.time_travel(seconds=RAMP)
    world.post(2_000)
    world.fund(world.seller, 10**12)
    world.trade(world.list_series(2_000))
    assert world.market.health(world.seller).initial_margin > 10**9 * MONEY


@pytest.mark.parametrize("view", ["parameter", "effective_parameter"])
def test_parameter__unknown__reverts(world, view):
    with boa.reverts("options_market: unknown parameter"):
        getattr(world.market, view)(6)


def effective(world, index=UP):
    return world.market.effective_parameter(index)


def test_ramp__tightening__reaches_open_positions_linearly(world):
    world.market.set_shocks(4_000, 2_500, 8_000, sender=world.setter)
    assert (world.market.parameter(UP), effective(world)) == (4_000, 3_000)
    for elapsed, value in (
        (900, 3_250),
        (1_800, 3_500),
        (1_801, 3_500),
        (3_599, 3_999),
        (3_600, 4_000),
        (9_000, 4_000),
    ):
        with boa.env.anchor():
            boa.env.time_travel(seconds=elapsed)
            assert effective(world) == value


def test_ramp__loosening__is_immediate(world):
    world.market.set_shocks(2_000, 2_000, 5_000, sender=world.setter)
    world.market.set_liquidation(6_000, 5_000, sender=world.setter)
    assert [effective(world, index) for index in range(5)] == [2_000, 2_000, 5_000, 6_000, 5_000]


def test_ramp__penalty__is_immediate_both_ways(world):
    for penalty in (2_000, 500):
        world.market.set_liquidation_penalty(penalty, sender=world.setter)
        assert effective(world, PENALTY) == penalty


def test_ramp__tightened_again_midway__starts_from_the_value_in_effect(world):
    world.market.set_shocks(4_000, 2_500, 8_000, sender=world.setter)
    boa.env.time_travel(seconds=1_800)
    world.market.set_shocks(5_500, 2_500, 8_000, sender=world.setter)
    assert effective(world) == 3_500
    boa.env.time_travel(seconds=1_800)
    assert effective(world) == 4_500


def test_ramp__loosened_midway_but_above_the_value_in_effect__still_ramps(world):
    world.market.set_shocks(4_000, 2_500, 8_000, sender=world.setter)
    boa.env.time_travel(seconds=1_800)
    world.market.set_shocks(3_900, 2_500, 8_000, sender=world.setter)
    assert effective(world) == 3_500
    boa.env.time_travel(seconds=1_800)
    assert effective(world) == 3_700


def test_ramp__loosened_midway_below_the_value_in_effect__is_immediate(world):
    world.market.set_shocks(4_000, 2_500, 8_000, sender=world.setter)
    boa.env.time_travel(seconds=1_800)
    world.market.set_shocks(3_400, 2_500, 8_000, sender=world.setter)
    assert effective(world) == 3_400


def test_ramp__same_target_again__goes_on_undisturbed(world):
    world.market.set_shocks(4_000, 2_500, 8_000, sender=world.setter)
    boa.env.time_travel(seconds=1_800)
    world.market.set_shocks(4_000, 2_600, 8_000, sender=world.setter)
    boa.env.time_travel(seconds=1_800)
    assert effective(world) == 4_000


def test_ramp__crossing_ramps__keep_threshold_within_factor(world):
    world.market.set_liquidation(6_000, 6_000, sender=world.setter)
    world.market.set_liquidation(9_000, 9_000, sender=world.setter)
    boa.env.time_travel(seconds=3_240)
    world.market.set_liquidation(10_000, 9_000, sender=world.setter)
    boa.env.time_travel(seconds=360)
    assert effective(world, THRESHOLD) == effective(world, FACTOR) == 8_830


def test_ramp__tightening__binds_new_positions_at_once_and_open_ones_later(world):
    world.short(3_000, strike=2_200, days=365)
    world.market.set_shocks(5_000, 2_500, 8_000, sender=world.setter)
    at_once = world.market.health(world.seller)
    assert at_once.initial_margin == (3_000 - 2_200 + 960) * MONEY
    assert at_once.maintenance_margin == 1_113_600_000
    boa.env.time_travel(seconds=RAMP)
    later = world.market.health(world.seller)
    assert later.initial_margin > 1_700 * MONEY > at_once.maintenance_margin
    mark = exact_value(2_000 * PRICE, 2_200 * PRICE, True, SIZE, 365 * DAY - RAMP, 0, 8_000)
    assert later.maintenance_margin == pytest.approx(float(mark + (later.initial_margin - mark) * 8 / 10), abs=2)


def test_ramp__no_duration__takes_effect_at_once(world, deployers):
    market = deployers["options_market"].deploy("X", world.token.address, world.feed.address, INITIAL, 0, 60)
    market.set_parameter_setter(world.setter)
    market.set_shocks(4_000, 2_500, 8_000, sender=world.setter)
    assert (market.effective_parameter(UP), market.ramp_duration()) == (4_000, 0)


def test_parameter_set__event__tells_target_and_start(world):
    world.market.set_shocks(4_000, 2_000, 8_000, sender=world.setter)
    events = [tuple(event)[-4:] for event in world.market.get_logs()]
    assert events == [(UP, 3_000, 4_000, 3_000), (DOWN, 2_500, 2_000, 2_000)]
