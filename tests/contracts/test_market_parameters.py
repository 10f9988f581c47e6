"""The parameters of the market: who may set which, how they share words with ramps and setter, what the event tells."""

import boa
import pytest
from eth_utils import to_checksum_address
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

MONEY = 10**6
UP, DOWN, VOL, FACTOR, THRESHOLD, PENALTY = range(6)
INITIAL = [3_000, 2_500, 8_000, 8_000, 7_000, 1_000]
TOP = 65_535
LARGEST = [TOP, 9_999, TOP, 10_000, 10_000, TOP]
RAMP = 3_600
LAST_TIME = 2**32 - 1
EXAMPLES = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def possible_values():
    """Draw six values that the market takes, some of them those of `INITIAL` or extreme."""
    draws = [
        st.sampled_from([0, start, most]) | st.integers(0, most) for start, most in zip(INITIAL, LARGEST, strict=True)
    ]
    return st.tuples(*draws).filter(lambda values: values[THRESHOLD] <= values[FACTOR]).map(list)


class Twin:
    """The ramp rule in plain Python: for each parameter its target, the value it started from and when."""

    def __init__(self, values):
        self.ramps = [(value, value, 0) for value in values]

    def targets(self):
        return [target for target, _, _ in self.ramps]

    def effective(self, now):
        values = []
        for target, start, started_at in self.ramps:
            elapsed = now - started_at
            rising = start < target and elapsed < RAMP
            values.append(start + (target - start) * elapsed // RAMP if rising else target)
        values[THRESHOLD] = min(values[THRESHOLD], values[FACTOR])
        return values

    def set(self, values, now):
        before = self.effective(now)
        for index, value in enumerate(values):
            if value != self.ramps[index][0]:
                start = value if index == PENALTY else min(before[index], value)
                self.ramps[index] = (value, start, now)


def effective(world, index=UP):
    return world.market.effective_parameters()[index]


def packed(values):
    """Sixteen bits a value, the first lowest."""
    return sum(value << (16 * index) for index, value in enumerate(values))


def test_set_parameters__parameter_setter__sets_all_targets(world):
    values = [3_100, 2_600, 8_100, 8_200, 7_300, 1_400]
    assert world.market.parameters() == INITIAL
    world.market.set_parameters(values, sender=world.setter)
    assert world.market.parameters() == values


def become(world, values):
    """Set all and wait until they are in full effect."""
    world.market.set_parameters(values, sender=world.setter)
    assert world.market.parameters() == values
    boa.env.time_travel(seconds=RAMP)
    return world.market.effective_parameters() == values


@pytest.mark.parametrize("index", range(6))
def test_set_parameters__one_at_its_largest_among_zeros__spills_into_no_other(world, index):
    values = [LARGEST[index] if other == index else 0 for other in range(6)]
    values[FACTOR] = max(values[FACTOR], values[THRESHOLD])
    assert become(world, [0] * 6)
    assert become(world, values)


@pytest.mark.parametrize("index", range(6))
def test_set_parameters__one_at_zero_among_the_largest__clears_no_other(world, index):
    values = [0 if other == index else LARGEST[other] for other in range(6)]
    values[THRESHOLD] = min(values[THRESHOLD], values[FACTOR])
    assert become(world, LARGEST)
    assert become(world, values)


def test_set_parameters__reckless_but_possible_value__is_taken(world):
    world.tune({UP: TOP, DOWN: 9_999, VOL: TOP})
    boa.env.time_travel(seconds=RAMP)
    world.post(2_000)
    world.fund(world.seller, 10**6)
    world.trade(world.list_series(2_000))
    assert world.market.health(world.seller).initial_margin > 6 * 2_000 * MONEY


def test_set_parameters__owner_or_stranger__reverts(world):
    for sender in (world.owner, world.seller):
        with boa.reverts("options_market: caller is not the parameter setter"):
            world.market.set_parameters(INITIAL, sender=sender)


IMPOSSIBLE = [
    ({UP: TOP + 1}, "parameter too large"),
    ({DOWN: 10_000}, "down shock not below 100 %"),
    ({VOL: TOP + 1}, "parameter too large"),
    ({FACTOR: 10_001}, "maintenance factor above 100 %"),
    ({THRESHOLD: 8_001}, "threshold above maintenance factor"),
    ({PENALTY: TOP + 1}, "parameter too large"),
    ({UP: 2**16 + 3_000}, "parameter too large"),
    ({PENALTY: 2**256 - 1}, "parameter too large"),
]


@pytest.mark.parametrize(("changes", "reason"), IMPOSSIBLE)
def test_set_parameters__impossible_value__reverts(world, changes, reason):
    with boa.reverts(f"options_market: {reason}"):
        world.tune(changes)


@pytest.mark.parametrize("changes", [changes for changes, _ in IMPOSSIBLE])
def test_deploy__impossible_parameters__reverts(world, deployers, changes):
    initial = [changes.get(index, value) for index, value in enumerate(INITIAL)]
    with boa.reverts():
        deployers["options_market"].deploy("X", world.token.address, world.feed.address, initial, 0, 60)


@pytest.mark.parametrize("ramp", [0, RAMP, 2**256 - 1])
def test_deploy__any_ramp__starts_in_full_effect(world, deployers, ramp):
    market = deployers["options_market"].deploy("X", world.token.address, world.feed.address, LARGEST, ramp, 60)
    assert market.get_logs()[-1].targets == packed(LARGEST)
    assert market.parameters() == market.effective_parameters() == LARGEST


def test_set_parameter_setter__owner__hands_the_right_over(world):
    world.market.set_parameter_setter(world.buyer, sender=world.owner)
    world.market.set_parameters([1] * 6, sender=world.buyer)
    with boa.reverts("options_market: caller is not the parameter setter"):
        world.market.set_parameters([2] * 6, sender=world.setter)


def test_set_parameter_setter__anyone_else__reverts(world):
    with boa.reverts("ownable: caller is not the owner"):
        world.market.set_parameter_setter(world.setter, sender=world.setter)


@pytest.mark.parametrize("setter", [2**160 - 1, 1, 2**159, 0x5555_0000_FFFF << 112])
def test_set_parameter_setter__any_address__leaves_targets_and_running_ramps_alone(world, setter):
    address = to_checksum_address(setter.to_bytes(20, "big"))
    world.tune(dict(enumerate(LARGEST)))
    boa.env.time_travel(seconds=RAMP // 2)
    before = world.market.effective_parameters()
    world.market.set_parameter_setter(address, sender=world.owner)
    assert world.market.parameter_setter() == address
    assert (world.market.parameters(), world.market.effective_parameters()) == (LARGEST, before)
    world.market.set_parameters([0] * 6, sender=address)
    assert (world.market.parameter_setter(), world.market.parameters()) == (address, [0] * 6)


def test_deploy__parameter_setter__is_nobody_as_yet(world, deployers):
    market = deployers["options_market"].deploy("X", world.token.address, world.feed.address, LARGEST, RAMP, 60)
    assert market.parameter_setter() == "0x" + "00" * 20
    with boa.reverts("options_market: caller is not the parameter setter"):
        market.set_parameters(INITIAL, sender=world.owner)


@pytest.mark.parametrize("index", range(5))
def test_ramp__one_tightening__reaches_open_positions_linearly_and_alone(world, index):
    target = INITIAL[index] + 1_000
    world.tune({index: target})
    assert world.market.parameters()[index] == target
    for elapsed, risen in (
        (0, 0),
        (900, 250),
        (1_800, 500),
        (1_801, 500),
        (3_599, 999),
        (3_600, 1_000),
        (9_000, 1_000),
    ):
        with boa.env.anchor():
            boa.env.time_travel(seconds=elapsed)
            expected = [*INITIAL]
            expected[index] += risen
            assert world.market.effective_parameters() == expected


def test_ramp__loosening__is_immediate(world):
    values = [2_000, 2_000, 5_000, 6_000, 5_000, 500]
    world.market.set_parameters(values, sender=world.setter)
    assert world.market.effective_parameters() == values


def test_ramp__penalty__is_immediate_both_ways(world):
    for penalty in (2_000, 500):
        world.tune({PENALTY: penalty})
        assert effective(world, PENALTY) == penalty


@pytest.mark.parametrize(("second", "at_once", "half_a_ramp_later"), [(5_500, 3_500, 4_500), (3_900, 3_500, 3_700)])
def test_ramp__set_again_midway_above_the_value_in_effect__starts_from_there(world, second, at_once, half_a_ramp_later):
    world.tune({UP: 4_000})
    boa.env.time_travel(seconds=1_800)
    world.tune({UP: second})
    assert effective(world) == at_once
    boa.env.time_travel(seconds=1_800)
    assert effective(world) == half_a_ramp_later


def test_ramp__loosened_midway_below_the_value_in_effect__is_immediate(world):
    world.tune({UP: 4_000})
    boa.env.time_travel(seconds=1_800)
    world.tune({UP: 3_400})
    assert effective(world) == 3_400


@pytest.mark.parametrize("index", range(5))
def test_ramp__same_target_again_beside_changes__goes_on_undisturbed(world, index):
    world.tune({index: INITIAL[index] + 1_000})
    boa.env.time_travel(seconds=1_800)
    others = [value + 10 for value in INITIAL]
    others[index] = INITIAL[index] + 1_000
    world.market.set_parameters(others, sender=world.setter)
    assert effective(world, index) == INITIAL[index] + 500
    boa.env.time_travel(seconds=1_800)
    assert effective(world, index) == INITIAL[index] + 1_000


def test_ramp__crossing_ramps__keep_threshold_within_factor(world):
    world.tune({FACTOR: 6_000, THRESHOLD: 6_000})
    world.tune({FACTOR: 9_000, THRESHOLD: 9_000})
    boa.env.time_travel(seconds=3_240)
    world.tune({FACTOR: 10_000})
    boa.env.time_travel(seconds=360)
    assert effective(world, THRESHOLD) == effective(world, FACTOR) == 8_830


def test_ramp__no_duration__takes_effect_at_once(world, deployers):
    market = deployers["options_market"].deploy("X", world.token.address, world.feed.address, INITIAL, 0, 60)
    market.set_parameter_setter(world.setter)
    values = [4_000, 2_600, 9_000, 9_000, 8_000, 2_000]
    market.set_parameters(values, sender=world.setter)
    assert (market.effective_parameters(), market.ramp_duration()) == (values, 0)


@EXAMPLES
@given(st.lists(st.tuples(possible_values(), st.integers(0, RAMP + 100)), min_size=1, max_size=6))
def test_ramps__any_changes_at_any_times__are_those_of_the_rule(world, changes):
    with boa.env.anchor():
        twin = Twin(INITIAL)
        for values, elapsed in changes:
            world.market.set_parameters(values, sender=world.setter)
            twin.set(values, boa.env.timestamp)
            boa.env.time_travel(seconds=elapsed)
            assert world.market.parameters() == twin.targets()
            assert world.market.effective_parameters() == twin.effective(boa.env.timestamp)


@EXAMPLES
@given(possible_values(), possible_values(), st.integers(0, RAMP))
def test_parameters_set__any_change__tells_all_targets_and_no_change_nothing(world, first, second, elapsed):
    with boa.env.anchor():
        world.market.set_parameters(first, sender=world.setter)
        boa.env.time_travel(seconds=elapsed)
        world.market.set_parameters(second, sender=world.setter)
        events = world.market.get_logs()
        assert len(events) == (first != second)
        assert [event.targets for event in events] == [packed(second)] * len(events)


def test_parameters_set__event__has_sixteen_bits_a_target(world):
    world.tune({UP: 4_000, DOWN: 2_000, PENALTY: 1_200})
    (event,) = world.market.get_logs()
    assert type(event).__name__ == "ParametersSet"
    assert event.targets == packed([4_000, 2_000, 8_000, 8_000, 7_000, 1_200])


def test_set_parameters__last_time_that_fits__ramps_on_beyond_it_and_a_second_later_reverts(world):
    boa.env.timestamp = LAST_TIME
    world.market.set_parameters([value + 1_000 for value in INITIAL], sender=world.setter)
    boa.env.time_travel(seconds=1)
    with boa.reverts("options_market: time out of range"):
        world.tune({UP: 1})
    boa.env.time_travel(seconds=RAMP // 2 - 1)
    assert world.market.effective_parameters() == [*(value + 500 for value in INITIAL[:PENALTY]), 2_000]
