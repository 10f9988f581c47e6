import math
import random
from dataclasses import replace

import pytest
from walks import MONDAY, bars_from, restless_returns

from models.features import CLIP, FEATURES, Features
from models.market import Bar
from models.steps import Pending, Steps


def fed(bars: list[Bar]) -> tuple[Features, int]:
    steps, features = Steps(bars[0].seconds), Features(bars[0].seconds)
    for bar in bars:
        step = steps.take(bar)
        features.update(step)
    return features, bars[-1].end


@pytest.mark.parametrize("seconds", [3_600, 86_400])
def test_vector__returns_multiplied_by_a_constant__stays_the_same(seconds):
    returns = restless_returns(400)
    features, end = fed(bars_from(returns, seconds=seconds))
    smaller, _ = fed(bars_from(returns, seconds=seconds, scale=0.1))
    assert smaller.vector(86_400, end) == pytest.approx(features.vector(86_400, end), abs=1e-9)
    assert len(FEATURES) == len(features.vector(86_400, end))


def test_base_sd__steady_daily_returns_of_which_only_closes_are_known__is_their_sd():
    draw = random.Random(3)
    bars = [
        replace(bar, high=max(bar.open, bar.close), low=min(bar.open, bar.close))
        for bar in bars_from([draw.gauss(0, 0.01) for _ in range(2_000)])
    ]
    features, end = fed(bars)
    assert features.base_sd(86_400, end) == pytest.approx(0.01, rel=0.15)


def test_vector__only_closes_are_known__its_ranges_say_what_its_returns_say():
    walk = bars_from(restless_returns(400))
    for last_bits in (1.0, 1.0 + 1e-12):
        closes = [replace(bar, open=bar.close, high=bar.close * last_bits, low=bar.close) for bar in walk]
        features, end = fed(closes)
        vector = dict(zip(FEATURES, features.vector(86_400, end), strict=True))
        assert vector["range_sd_2"] == vector["return_sd_2"] != 0.0


def test_vector__volatility_doubles__fast_sd_rises_above_slow_one():
    calm = [0.01, -0.01] * 200
    features, end = fed(bars_from(calm + [0.02, -0.02] * 3))
    vector = dict(zip(FEATURES, features.vector(86_400, end), strict=True))
    assert vector["return_sd_0"] > vector["return_sd_3"] > vector["return_sd_6"]


def test_vector__only_falls__downside_share_is_its_largest():
    features, end = fed(bars_from([-0.01] * 100))
    assert dict(zip(FEATURES, features.vector(86_400, end), strict=True))["downside_share_5"] == 0.5


def test_vector__a_crash_of_a_thousand_sds__is_clipped():
    features, end = fed(bars_from([0.001, -0.001] * 100 + [-1.0]))
    assert all(abs(value) <= CLIP for value in features.vector(86_400, end))


def test_season__one_hour_of_the_day_is_wild__its_forecast_is_wider():
    returns = [(0.03 if hour % 24 == 15 else 0.005) * (-1) ** hour for hour in range(24 * 7 * 12)]
    features, end = fed(bars_from(returns, seconds=3_600))
    assert features.base_sd(3_600, end + 15 * 3_600) > 2 * features.base_sd(3_600, end + 3 * 3_600)


def test_update__a_bar_that_stood_still__teaches_nothing():
    bars = bars_from([0.01, -0.01] * 50)
    features, end = fed(bars)
    last = bars[-1]
    still = [Bar("x", last.end + i * 86_400, 86_400, *[last.close] * 4) for i in range(50)]
    after, _ = fed(bars + still)
    assert after.base_sd(86_400, end) == features.base_sd(86_400, end)
    assert after.vector(86_400, end) == features.vector(86_400, end)


def test_steps__weekend_between_daily_bars__is_no_gap_but_a_fortnight_is():
    steps = Steps(86_400)
    opens = [MONDAY, MONDAY + 3 * 86_400, MONDAY + 17 * 86_400]
    assert [steps.take(Bar("x", start, 86_400, 1, 1, 1, 1)).elapsed for start in opens] == [1, 1, 14]


def test_pending__intraday_gap_over_the_target__drops_the_forecast():
    steps, pending = Steps(3_600), Pending(7_200, 3_600)
    bars = [Bar("x", MONDAY + hour * 3_600, 3_600, *[10.0 + hour] * 4) for hour in (0, 1, 3, 4)]
    taken = [steps.take(bar) for bar in bars]
    due = []
    for step, name in zip(taken, "abcd", strict=True):
        due.append(pending.due(step))
        pending.push(step, name)
    assert due[:3] == [None, None, (pytest.approx(math.log(13 / 11)), "b")]
    assert due[3] is None
