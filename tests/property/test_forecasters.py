"""What every forecaster owes, whatever the market does."""

import math
import statistics
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from learned import small_bundle

from models.ensemble import EnsembleForecaster
from models.forecaster import Forecast, Forecaster
from models.market import Bar
from models.registry import load_forecaster

START = 1_600_041_600
MODELS = ("ewma-fhs", "default", "ensemble")
MANY = settings(max_examples=50, deadline=None)


@dataclass(frozen=True)
class Move:
    """One bar: its log-return, the bars missing before it, its implied volatility."""

    log_return: float
    missing: int
    iv: float | None


usual = st.floats(-0.05, 0.05)
violent = st.one_of(st.just(0.0), st.floats(-3, 3), st.sampled_from([-0.5, 0.5, 1e-9, -14.0, 14.0]))
moves = st.builds(
    Move,
    st.one_of(usual, usual, usual, violent),
    st.sampled_from([0] * 9 + [1, 3, 30, 500]),
    st.one_of(st.none(), st.floats(0.01, 5)),
)
streams = st.tuples(st.sampled_from([300, 3_600, 14_400, 86_400]), st.lists(moves, min_size=1, max_size=150))


def forecaster_named(model: str) -> Forecaster:
    return EnsembleForecaster("small", small_bundle().members) if model == "ensemble" else load_forecaster(model)


def replay(model: str, seconds: int, path: list[Move], price: float = 100.0) -> tuple[list[Bar], list[Forecast]]:
    forecaster = forecaster_named(model)
    forecaster.reset("x", seconds)
    bars, at, level = [], START, math.log(price)
    for move in path:
        at += move.missing * seconds
        after = min(max(level + move.log_return, -200.0), 200.0)
        opened, closed = math.exp(level), math.exp(after)
        bars.append(Bar("x", at, seconds, opened, max(opened, closed), min(opened, closed), closed, iv=move.iv))
        at, level = at + seconds, after
    return bars, [forecaster.update(bar) for bar in bars]


def figures(forecast: Forecast) -> list[tuple[float, ...]]:
    """Each set of figures that must ascend, the lower half below zero and the upper half above."""
    tails = forecast.horizons.values()
    return [
        *(tail.quantiles for tail in tails),
        *((tail.es_lower, tail.quantiles[2], tail.quantiles[3], tail.es_upper) for tail in tails),
        *(forecast.iv_horizons or {}).values(),
        forecast.published,
    ]


@pytest.mark.parametrize("model", MODELS)
@given(streams)
@MANY
def test_forecast__any_market__is_finite_monotone_and_on_its_side_of_zero(model, stream):
    _, forecasts = replay(model, *stream)
    for forecast in forecasts:
        for ascending in figures(forecast):
            half = len(ascending) // 2
            assert all(map(math.isfinite, ascending))
            assert list(ascending) == sorted(ascending)
            assert max(ascending[:half]) < 0 < min(ascending[half:])


@pytest.mark.parametrize("model", MODELS)
@given(streams)
@MANY
def test_forecast__any_market__moves_by_bounded_steps(model, stream):
    bars, forecasts = replay(model, *stream)
    returns = [math.log(bars[0].close / bars[0].open)]
    returns += [math.log(after.close / before.close) for before, after in pairwise(bars)]
    for place in range(1, len(bars)):
        trailing = max(statistics.pstdev([*returns[:place], 0.0]), 1e-12)
        most = max(8.0, 1.5 * abs(returns[place]) / trailing)
        before, after = forecasts[place - 1], forecasts[place]
        for old, new in zip(figures(before)[:-1], figures(after)[:-1], strict=False):
            if len(old) == len(new):
                assert all(1 / 8 <= new[i] / old[i] <= most for i in range(len(old)))
        for old, new in zip(before.published, after.published, strict=True):
            assert 0.75 <= new / old <= 1.25


@pytest.mark.parametrize("model", MODELS)
@given(streams, st.integers(0, 150), st.lists(moves, max_size=20))
@MANY
def test_forecast__whatever_follows__a_prefix_answers_bit_for_bit(model, stream, cut, other):
    seconds, path = stream
    whole = replay(model, seconds, path)[1]
    prefix = path[:cut]
    assert replay(model, seconds, prefix + other)[1][: len(prefix)] == whole[: len(prefix)]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("price", [1e-6, 1e6])
@given(st.lists(usual, min_size=5, max_size=120))
@MANY
def test_forecast__other_price_unit__is_the_same(model, price, path):
    steps = [Move(log_return, 0, None) for log_return in path if abs(log_return) > 1e-6]
    plain = replay(model, 3_600, steps)[1]
    scaled = replay(model, 3_600, steps, price=100.0 * price)[1]
    for ours, theirs in zip(plain, scaled, strict=True):
        for left, right in zip(figures(ours), figures(theirs), strict=True):
            assert left == pytest.approx(right, rel=1e-6)


def calm(count: int, seed: int) -> list[Move]:
    wave = [math.sin(seed + 1.7 * i) * math.cos(0.31 * i * i) for i in range(count)]
    return [Move(0.01 * value if abs(value) > 1e-3 else 0.01, 0, None) for value in wave]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("seconds", [3_600, 86_400])
@pytest.mark.parametrize("constant", [0.02, 0.5, 3.0])
def test_forecast__returns_multiplied_by_a_constant__scales_with_it(model, seconds, constant):
    path = calm(900, seed=2)
    plain = replay(model, seconds, path)[1][-1]
    scaled = replay(model, seconds, [Move(constant * m.log_return, 0, None) for m in path])[1][-1]
    for ours, theirs in zip(figures(plain), figures(scaled), strict=True):
        assert [constant * value for value in ours] == pytest.approx(theirs, rel=0.02)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("seconds", [3_600, 86_400])
def test_forecast__line_goes_flat_for_long__stays_where_it_was(model, seconds):
    path = calm(700, seed=1)
    forecasts = replay(model, seconds, path + [Move(0.0, 0, None)] * 1_000)[1]
    before, after = forecasts[699].horizons[86_400], forecasts[-1].horizons[86_400]
    assert after.quantiles == pytest.approx(before.quantiles, rel=0.5)
    assert after.quantiles[3] > 0.005


@pytest.mark.parametrize("model", MODELS)
def test_forecast__ten_sd_jump__widens_and_recovers(model):
    jump = Move(-0.07, 0, None)
    forecasts = replay(model, 3_600, [*calm(400, seed=1), jump, *calm(200, seed=3)])[1]
    lower = [forecast.horizons[3_600].quantiles[2] for forecast in forecasts]
    assert lower[400] < 1.1 * lower[399]
    assert lower[-1] > 0.8 * lower[400]
