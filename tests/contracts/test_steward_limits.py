"""Limits on the values of a change: corridor, step, cooldown, group, invariant; each refusal beside its twin."""

import boa
import pytest
from reverts import rule
from stewards import COOLDOWN, MINUTE, WIDE

NARROW = {2: {"minimum": 450, "maximum": 550, "cooldown": 0}}


class TestCorridor:
    def test_apply__corridor_edges__are_allowed_and_beyond_refused(self, guard, refused):
        guard.limit(NARROW)
        refused(rule(2, "below corridor"), {2: 449})
        refused(rule(2, "above corridor"), {2: 551})
        guard.apply({2: 450})
        guard.apply({2: 550})
        assert guard.knobs.all_knobs() == [100, 100, 550, 600]

    def test_apply__named_but_kept_value_outside_corridor__reverts(self, guard, refused):
        guard.limit(NARROW)
        guard.knobs.turn(2, 551)
        refused(rule(2, "above corridor"), {2: 551, 3: 650})

    def test_apply__value_outside_corridor_that_the_batch_leaves_alone__is_allowed(self, guard):
        guard.limit(NARROW)
        guard.knobs.turn(2, 551)
        guard.apply({3: 650})
        assert guard.knobs.all_knobs() == [100, 100, 551, 650]

    def test_apply__step_back_from_outside_that_ends_outside__reverts(self, guard, refused):
        guard.limit(NARROW)
        guard.knobs.turn(2, 560)
        refused(rule(2, "above corridor"), {2: 555})
        guard.apply({2: 550})

    @pytest.mark.parametrize("value", [1_001, 2**128, 2**256 - 1])
    def test_apply__any_value_above__reverts(self, refused, value):
        refused(rule(3, "above corridor"), {3: value}, calls=())


class TestStep:
    def test_apply__absolute_step_edges__are_allowed_and_beyond_refused_up_and_down(self, guard, refused):
        refused(rule(0, "step too large"), {0: 121, 1: 100})
        refused(rule(1, "step too large"), {0: 100, 1: 89})
        guard.apply({0: 120, 1: 90})
        assert guard.knobs.all_knobs() == [120, 90, 500, 600]

    def test_apply__relative_step_edges__are_rounded_down_and_beyond_refused(self, guard, refused):
        guard.limit({2: {"relative": True, "max_step_up": 333, "max_step_down": 250, "cooldown": 0}})
        refused(rule(2, "step too large"), {2: 517})  # 500 * 3.33 % = 16.65
        refused(rule(2, "step too large"), {2: 487})  # 500 * 2.50 % = 12.5
        guard.apply({2: 516})
        refused(rule(2, "step too large"), {2: 503})  # 516 * 2.50 % = 12.9
        guard.apply({2: 504})
        guard.apply({2: 492})

    def test_apply__relative_step_of_zero__lets_nothing_through(self, guard, refused):
        guard.limit({2: {"relative": True, "max_step_up": 10_000, "cooldown": 0}})
        guard.knobs.turn(2, 0)
        refused(rule(2, "step too large"), {2: 1})

    def test_apply__relative_step_of_the_largest_number_there_is__does_not_overflow(self, guard, refused):
        guard.limit({3: {"relative": True, "max_step_down": 10_000, "cooldown": 0}})
        guard.knobs.turn(3, 2**256 - 1)
        refused(rule(3, "step too large"), {3: 1_000})

    def test_apply__relative_step_of_one_parameter__is_absolute_for_another(self, guard, refused):
        guard.limit({2: {"relative": True, "max_step_up": 200}})
        refused(rule(2, "step too large"), {2: 511, 3: 700})
        guard.apply({2: 510, 3: 700})

    def test_apply__step__is_measured_from_the_live_value_not_the_last_version(self, guard, refused):
        guard.knobs.turn(2, 400)
        refused(rule(2, "step too large"), {2: 501})
        guard.apply({2: 500})

    def test_apply__no_step_at_all__lets_nothing_through(self, guard, refused):
        guard.limit({3: {"max_step_up": 0, "max_step_down": 0}})
        refused(rule(3, "step too large"), {3: 601})
        refused(rule(3, "step too large"), {3: 599})


class TestCooldown:
    def test_apply__within_cooldown__reverts_and_succeeds_when_over(self, guard, refused):
        guard.apply({3: 650})
        boa.env.time_travel(seconds=COOLDOWN - 1)
        refused(rule(3, "cooldown not over"), {3: 700})
        boa.env.time_travel(seconds=1)
        guard.apply({3: 700})

    def test_apply__within_cooldown__other_parameters_and_kept_values_are_free(self, guard, refused):
        guard.apply({0: 110, 1: 100})
        guard.apply({3: 650})
        guard.apply({0: 110, 1: 105})
        refused(rule(1, "cooldown not over"), {0: 110, 1: 106})
        assert guard.knobs.all_knobs() == [110, 105, 500, 650]

    def test_apply__value_changed_behind_the_steward__starts_no_cooldown(self, guard):
        guard.knobs.turn(3, 610)
        guard.apply({3: 620})

    def test_apply__first_change_of_a_parameter__needs_no_cooldown_even_at_the_dawn_of_time(self, guard):
        boa.env.timestamp = COOLDOWN - 1
        guard.apply({3: 650})
        assert guard.knobs.knob(3) == 650

    def test_apply__longer_cooldown_set_since__counts_from_the_last_change(self, guard, refused):
        guard.apply({3: 650})
        guard.limit({3: {"cooldown": 2 * COOLDOWN}})
        boa.env.time_travel(seconds=2 * COOLDOWN - 1)
        refused(rule(3, "cooldown not over"), {3: 700})
        boa.env.time_travel(seconds=1)
        guard.apply({3: 700})

    @pytest.mark.usefixtures("wide")
    def test_apply__each_of_sixteen_parameters__has_a_cooldown_of_its_own(self, guard, refused):
        for index in range(16):
            guard.apply({index: 110}, market=WIDE)
            boa.env.time_travel(seconds=MINUTE)
        for index in range(16):
            refused(rule(index, "cooldown not over"), {index: 120}, market=WIDE)
        boa.env.time_travel(seconds=COOLDOWN - 16 * MINUTE)
        for index in range(16):
            if index < 15:
                refused(rule(index + 1, "cooldown not over"), {index + 1: 120}, market=WIDE)
            guard.apply({index: 120}, market=WIDE)
            boa.env.time_travel(seconds=MINUTE)
        assert guard.state(WIDE).values == [120] * 16

    @pytest.mark.usefixtures("wide")
    def test_apply__all_sixteen_parameters_at_once__takes_one_message(self, guard):
        guard.apply(dict.fromkeys(range(16), 110), market=WIDE)
        assert guard.state(WIDE).values == [110] * 16


class TestMinutes:
    """What is remembered of a change is the minute that it ends in: a cooldown may last up to a minute longer."""

    @pytest.mark.parametrize(("second", "over"), [(0, 0), (1, MINUTE), (2, MINUTE), (59, MINUTE), (60, MINUTE)])
    def test_apply__changed_within_a_minute__cools_down_from_its_end(self, guard, refused, second, over):
        start = boa.env.timestamp
        boa.env.timestamp = start + second
        guard.apply({3: 650})
        boa.env.timestamp = start + over + COOLDOWN - 1
        refused(rule(3, "cooldown not over"), {3: 700})
        boa.env.timestamp += 1
        guard.apply({3: 700})

    def test_apply__no_cooldown__waits_for_the_end_of_the_minute_all_the_same(self, guard, refused):
        guard.limit({3: {"cooldown": 0}})
        boa.env.time_travel(seconds=1)
        guard.apply({3: 650})
        refused(rule(3, "cooldown not over"), {3: 700})
        boa.env.time_travel(seconds=MINUTE - 2)
        refused(rule(3, "cooldown not over"), {3: 700})
        boa.env.time_travel(seconds=1)
        guard.apply({3: 700})

    def test_apply__longest_cooldown__ends(self, guard, refused):
        longest = 366 * 86_400
        guard.limit({3: {"cooldown": longest}})
        guard.apply({3: 650})
        boa.env.time_travel(seconds=longest - 1)
        refused(rule(3, "cooldown not over"), {3: 700})
        boa.env.time_travel(seconds=1)
        guard.apply({3: 700})


class TestIds:
    @pytest.mark.parametrize("id_", [4, 255, 2**256 - 1])
    def test_apply__unknown_id__reverts(self, refused, id_):
        refused(rule(id_, "unknown"), [(id_, 1)])

    @pytest.mark.parametrize("changes", [[(3, 610), (3, 700)], [(3, 610), (2, 510)], [(0, 105), (3, 610), (1, 105)]])
    def test_apply__ids_not_strictly_ascending__reverts(self, refused, changes):
        refused(rule(changes[-1][0], "id not ascending"), changes)

    @pytest.mark.parametrize("values", [(), (650, 650)])
    def test_apply__ids_and_values_of_different_length__reverts(self, refused, values):
        refused("risk_steward: lengths differ", {3: 650}, values=values)

    @pytest.mark.parametrize("changes", [{}, {2: 500}, {0: 100, 1: 100}])
    def test_apply__nothing_changes__reverts(self, refused, changes):
        refused("risk_steward: nothing changes", changes)


class TestGroup:
    def test_apply__part_of_a_group__reverts_naming_what_is_missing(self, refused):
        refused(rule(1, "group incomplete"), {0: 110})
        refused(rule(0, "group incomplete"), {1: 110, 2: 510})

    def test_apply__part_of_a_group_named_but_kept__reverts_as_well(self, refused):
        refused(rule(1, "group incomplete"), {0: 100, 3: 650})

    def test_apply__whole_group_with_one_value_kept__succeeds(self, guard):
        guard.apply({0: 110, 1: 100})
        assert guard.knobs.all_knobs() == [110, 100, 500, 600]

    def test_apply__coupling_in_one_direction__binds_in_that_direction_only(self, guard, refused):
        guard.limit({2: {"coupled": 0b1000, "cooldown": 0}, 3: {"cooldown": 0}})
        refused(rule(3, "group incomplete"), {2: 510})
        guard.apply({2: 510, 3: 600})
        guard.apply({3: 650})


class TestInvariant:
    def test_apply__invariant_edge__is_allowed_and_beyond_refused(self, guard, refused):
        refused("risk_steward: invariant 0 broken", {2: 561, 3: 560})
        guard.apply({2: 560, 3: 560})

    def test_apply__value_named_alone__is_held_against_the_live_ones(self, guard, refused):
        guard.limit({2: {"max_step_up": 101, "cooldown": 0}})
        refused("risk_steward: invariant 0 broken", {2: 601})
        guard.apply({2: 600})

    def test_apply__factors__weigh_both_sides(self, guard, refused):
        guard.limit({2: {"cooldown": 0}, 3: {"cooldown": 0}}, invariants=((2, 6, 3, 5),))
        refused("risk_steward: invariant 0 broken", {2: 501})
        refused("risk_steward: invariant 0 broken", {3: 599})
        guard.apply({2: 505, 3: 606})
        refused("risk_steward: invariant 0 broken", {2: 506})

    def test_apply__second_invariant_broken__is_named(self, guard, refused):
        guard.limit({}, invariants=((2, 1, 3, 1), (0, 1, 1, 1)))
        refused("risk_steward: invariant 1 broken", {0: 110, 1: 109})
        guard.apply({0: 110, 1: 110})

    def test_apply__largest_values_and_factors__do_not_overflow(self, guard, refused):
        top, factor = 2**128 - 1, 2**127
        unlimited = {"maximum": top, "max_step_up": top, "max_step_down": top, "cooldown": 0}
        guard.limit({2: unlimited, 3: unlimited}, invariants=((2, factor, 3, factor),))
        guard.apply({2: top, 3: top})
        refused("risk_steward: invariant 0 broken", {3: top - 1})
        guard.apply({2: top - 1})

    @pytest.mark.parametrize(("low", "high", "beyond"), [(2**128, 2**127, 2), (500, 2**128, 3)])
    def test_apply__side_that_others_set_beyond_any_corridor__reverts_though_the_order_is_kept(
        self, guard, refused, low, high, beyond
    ):
        guard.limit({}, invariants=((2, 1, 3, 2),))
        guard.knobs.turn(2, low)
        guard.knobs.turn(3, high)
        refused(rule(beyond, "too large"), {0: 110, 1: 110})
        guard.knobs.turn(beyond, 2**128 - 1)
        guard.apply({0: 110, 1: 110})


def test_apply__within_every_limit__changes_values_and_makes_a_version(guard):
    guard.apply({0: 110, 1: 95, 3: 650})
    state = guard.state()
    assert guard.knobs.all_knobs() == state.values == [110, 95, 500, 650]
    assert (state.sequence, state.applied_at) == (1, boa.env.timestamp)
    assert state.version_hash == state.state_hash


def test_apply__several_rules_broken__reports_them_in_their_order(guard, refused):
    """Each value alone first, in the order given, then the batch as a whole."""
    guard.apply({2: 550, 3: 550})
    guard.limit({2: {"cooldown": COOLDOWN, "max_step_down": 10}})
    refused(rule(2, "step too large"), {2: 560 - 21, 3: 2_000})
    refused(rule(2, "cooldown not over"), {2: 549, 3: 2_000})
    refused(rule(0, "below corridor"), [(0, 49), (0, 100)])
    refused(rule(1, "group incomplete"), {0: 101, 3: 550})
    boa.env.time_travel(seconds=COOLDOWN)
    refused(rule(1, "group incomplete"), {0: 101, 3: 500})
    refused("risk_steward: invariant 0 broken", {0: 101, 1: 100, 3: 500})
