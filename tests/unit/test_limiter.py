import statistics
from itertools import pairwise

import pytest
from walks import MONDAY, bars_from, restless_returns

from models.baselines import EwmaFhs
from models.forecaster import Tail
from models.limiter import CONFORMAL_BOUND, FLOOR_SHARE, PublishedMargin, TrailingMedian, bound_step
from models.market import Bar
from models.steps import Steps


def tail(size: float) -> Tail:
    shape = (-4.0, -3.0, -2.0, 2.0, 3.0, 4.0)
    return Tail(tuple(size * value for value in shape), -2.5 * size, 2.5 * size)


def test_bound_step__calm_bar__rises_and_falls_at_most_fourfold():
    assert bound_step(tail(1.0), tail(100.0), shock=1.0) == tail(4.0)
    assert bound_step(tail(1.0), tail(0.001), shock=1.0) == tail(0.25)
    assert bound_step(tail(1.0), tail(2.0), shock=1.0) == tail(2.0)


def test_bound_step__shock__rises_with_its_size():
    assert bound_step(tail(1.0), tail(100.0), shock=20.0) == tail(15.0)


def test_bound_step__first_bar__is_free():
    assert bound_step(None, tail(100.0), shock=0.0) == tail(100.0)


class Published:
    """A margin fed with a chosen model size on daily bars that each move by a chosen log-return."""

    def __init__(self, seconds: int = 86_400) -> None:
        self._seconds, self._steps, self._margin = seconds, Steps(seconds), PublishedMargin(seconds)
        self._at, self._price = MONDAY, 100.0

    def day(self, size: float, *, factor: float = 1.001, warm: bool = True) -> tuple[float, float]:
        low, high = sorted((self._price, self._price * factor))
        bar = Bar("x", self._at, self._seconds, self._price, high, low, self._price * factor)
        self._at, self._price = self._at + self._seconds, bar.close
        return self._margin.update(self._steps.take(bar), tail(size), warm=warm)


def test_published__model_jumps__rises_ten_percent_a_day():
    margin = Published()
    first = margin.day(0.01)
    second = margin.day(1.0)
    assert first == (-0.02, 0.02)
    assert second == pytest.approx((-0.022, 0.022))


def test_published__model_collapses__falls_three_percent_a_day():
    margin = Published()
    margin.day(0.01)
    values = [margin.day(1e-6)[1] for _ in range(20)]
    assert values[0] == pytest.approx(0.02 * 0.97)
    assert all(after >= before * 0.97 * (1 - 1e-12) for before, after in pairwise(values))


def test_published__model_collapses_for_months__stops_at_a_share_of_its_median():
    margin = Published()
    values = [margin.day(0.01)[1] for _ in range(600)]
    values += [margin.day(1e-6)[1] for _ in range(100)]
    assert values[-1] == pytest.approx(FLOOR_SHARE * statistics.median(values[-501:-1]))


def test_published__hourly_bars__move_a_twenty_fourth_of_a_day_each():
    margin = Published(3_600)
    first = margin.day(0.01)[1]
    assert margin.day(1.0)[1] == pytest.approx(first * 1.1 ** (1 / 24))


def test_published__while_young__may_follow_by_a_fifth_a_bar():
    margin = Published()
    margin.day(0.01, warm=False)
    assert margin.day(1.0, warm=False)[1] == pytest.approx(0.024)


def test_published__breached_every_day__widens_that_side_until_its_bound():
    margin = Published()
    for _ in range(400):
        lower, upper = margin.day(0.001, factor=0.5)
    assert -lower > 1.5 * upper
    assert -lower <= 0.002 * 2.0138 + 1e-9
    assert CONFORMAL_BOUND == 0.7


def test_published__breached_while_it_climbs_from_its_prior__is_not_widened_for_it():
    def climbing(factor: float) -> list[tuple[float, float]]:
        margin = Published()
        margin.day(0.001, warm=False)
        return [margin.day(0.01, factor=factor) for _ in range(40)]

    assert climbing(0.99)[:24] == climbing(1.0001)[:24]
    assert climbing(0.99)[-1] == pytest.approx((-0.02, 0.02), rel=0.01)


def test_published__of_a_real_model__moves_at_most_a_quarter_a_bar():
    model, bars = EwmaFhs(), bars_from([*restless_returns(300), 0.8, -1.5, *restless_returns(100)])
    model.reset("x", 86_400)
    published = [model.update(bar).published for bar in bars]
    for side in (0, 1):
        ratios = [after[side] / before[side] for before, after in pairwise(published)]
        assert 0.75 <= min(ratios) <= max(ratios) <= 1.25


def test_trailing_median__more_values_than_it_holds__forgets_the_oldest():
    median = TrailingMedian(3)
    assert median.value == 0.0
    for value in (100.0, 1.0, 2.0, 3.0):
        median.add(value)
    assert median.value == 2.0
