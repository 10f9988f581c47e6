"""The keeper is woken for the first notice that is over, and for none that already is."""

import pytest

from keeper.daemon import seconds_until


@pytest.mark.parametrize(
    ("times", "seconds"),
    [
        ([], None),
        ([None, None], None),
        ([1_000], None),
        ([999, None], None),
        ([1_001], 1.0),
        ([None, 1_060, 1_002, 999], 2.0),
    ],
)
def test_seconds_until__any_times__is_the_way_to_the_first_that_is_to_come(times, seconds):
    assert seconds_until(1_000_000, times) == seconds


def test_seconds_until__time_within_this_second__is_a_part_of_one():
    assert seconds_until(999_250, [1_000]) == 0.75
