"""Rollback: which version it restores, what it waives and what it does not."""

import boa
import pytest
from policies import PROBATION
from reverts import reverting, rule
from stewards import COOLDOWN, INITIAL

CHANGE, BACK = {3: 650}, {3: 600}
AT_LAST_GOOD = "risk_steward: already at the last good version"
NOT_LAST_GOOD = "risk_steward: not the last good version"
BEHIND = "risk_steward: changed behind the steward"


def good(guard):
    return guard.state().good_sequence


class TestLastGood:
    def test_market_state__after_activation__version_zero_is_good_at_once(self, guard):
        state = guard.state()
        assert (state.good_sequence, state.good_hash) == (0, state.state_hash)

    def test_market_state__version_on_probation__the_one_before_is_good_and_then_the_version(self, guard):
        before = guard.state().state_hash
        boa.env.time_travel(blocks=3)
        guard.apply(CHANGE)
        made_in = boa.env.evm.patch.block_number
        boa.env.time_travel(seconds=PROBATION - 1)
        assert (good(guard), guard.state().good_hash) == (0, before)
        assert guard.state().good_in < made_in
        boa.env.time_travel(seconds=1)
        state = guard.state()
        assert (state.good_sequence, state.good_hash, state.good_in) == (1, state.state_hash, made_in)

    def test_market_state__versions_in_quick_succession__the_newest_that_outlived_probation_is_good(self, guard):
        boa.env.time_travel(blocks=3)
        guard.apply({3: 650})
        boa.env.time_travel(seconds=PROBATION)
        proven = guard.state()
        guard.apply({3: 700})
        boa.env.time_travel(seconds=COOLDOWN)
        guard.apply({3: 750})
        state = guard.state()
        assert (state.good_sequence, state.good_hash) == (1, proven.state_hash)
        assert state.good_in == proven.good_in
        guard.rollback({3: 650})

    def test_market_state__every_version_proven__the_last_one_is_good(self, guard):
        for sequence, value in enumerate((650, 700, 750), start=1):
            guard.apply({3: value})
            boa.env.time_travel(seconds=PROBATION)
            assert good(guard) == sequence
        guard.apply({3: 800})
        guard.rollback({3: 750})


class TestRestore:
    def test_rollback__version_on_probation__restores_the_one_before_as_a_new_version(self, guard):
        guard.apply({0: 110, 1: 110, 3: 650})
        guard.rollback({0: 100, 1: 100, 3: 600})
        state = guard.state()
        assert state.values == list(INITIAL)
        assert (state.sequence, state.applied_at, state.good_sequence) == (2, boa.env.timestamp, 0)
        assert state.version_hash == state.state_hash == state.good_hash

    def test_rollback__event__names_the_restored_version(self, guard):
        guard.apply(CHANGE)
        guard.rollback(BACK)
        event = guard.steward.get_logs()[-1]
        assert type(event).__name__ == "RolledBack"
        assert (event.market, event.sequence, event.input_root) == (guard.market, 2, b"\x07" * 32)
        assert (event.restored_sequence, event.values) == (0, list(INITIAL))
        assert event.state_hash == guard.state().state_hash

    def test_rollback__several_versions_back__restores_all_of_them_at_once(self, guard):
        guard.apply({0: 110, 1: 100})
        guard.apply({2: 510})
        guard.apply({3: 650})
        guard.rollback({0: 100, 2: 500, 3: 600})
        assert guard.knobs.all_knobs() == list(INITIAL)

    @pytest.mark.parametrize("changes", [{3: 601}, {3: 650}, {2: 501, 3: 600}, {2: 501}, {}])
    def test_rollback__to_anything_else__reverts(self, guard, refused, changes):
        guard.apply(CHANGE)
        refused(NOT_LAST_GOOD, changes, "rollback")

    def test_rollback__kept_values_named_as_well__is_the_same_version(self, guard):
        guard.apply(CHANGE)
        guard.rollback({0: 100, 2: 500, 3: 600})
        assert guard.knobs.all_knobs() == list(INITIAL)

    def test_rollback__nothing_to_undo__reverts(self, guard, refused):
        refused(AT_LAST_GOOD, {}, "rollback")
        guard.apply(CHANGE)
        boa.env.time_travel(seconds=PROBATION)
        refused(AT_LAST_GOOD, BACK, "rollback")

    def test_rollback__twice__reverts(self, guard, refused):
        guard.apply(CHANGE)
        guard.rollback(BACK)
        refused(AT_LAST_GOOD, BACK, "rollback")

    def test_rollback__changed_and_changed_back_by_the_steward__has_nothing_to_undo(self, guard, refused):
        guard.apply(CHANGE)
        boa.env.time_travel(seconds=COOLDOWN)
        guard.apply(BACK)
        refused(AT_LAST_GOOD, {}, "rollback")

    @pytest.mark.parametrize(("changes", "broken"), [([(4, 1)], "unknown"), ([(3, 600), (3, 600)], "id not ascending")])
    def test_rollback__ids_that_make_no_sense__revert(self, guard, refused, changes, broken):
        guard.apply(CHANGE)
        refused(rule(changes[-1][0], broken), changes, "rollback", calls=())

    def test_rollback__of_a_rollback_that_outlived_probation__starts_there(self, guard):
        guard.apply(CHANGE)
        guard.rollback(BACK)
        boa.env.time_travel(seconds=PROBATION)
        assert good(guard) == 2
        guard.apply(CHANGE)
        guard.rollback(BACK)
        assert guard.steward.get_logs()[-1].restored_sequence == 2


class TestWaived:
    def test_rollback__large_step_within_cooldown_and_notice__is_allowed(self, guard):
        guard.limit({3: {"max_step_down": 0, "notice": 10, "tightening_up": False}})
        guard.apply({3: 700})
        boa.env.time_travel(seconds=COOLDOWN - 1)
        guard.rollback(BACK)
        assert guard.knobs.all_knobs() == list(INITIAL)

    def test_rollback__part_of_a_group__is_allowed(self, guard):
        guard.apply({0: 110, 1: 100})
        guard.rollback({0: 100})
        assert guard.knobs.all_knobs() == list(INITIAL)

    def test_rollback__starts_the_cooldown_of_what_it_restored_only(self, guard, refused):
        guard.apply(CHANGE)
        boa.env.time_travel(seconds=COOLDOWN)
        guard.rollback(BACK)
        refused(rule(3, "cooldown not over"), CHANGE)
        guard.apply({2: 510})

    def test_rollback__paused__is_allowed(self, guard):
        guard.apply(CHANGE)
        guard.steward.pause(sender=guard.guardian)
        guard.rollback(BACK)
        assert guard.knobs.all_knobs() == list(INITIAL)


class TestHeld:
    def test_rollback__irreversible_parameter__reverts(self, guard, refused):
        guard.limit({2: {"reversible": False}})
        guard.apply({2: 510, 3: 650})
        refused(rule(2, "irreversible"), {2: 500, 3: 600}, "rollback")

    def test_rollback__irreversible_parameter_that_stays__is_no_obstacle(self, guard):
        guard.limit({2: {"reversible": False}})
        guard.apply(CHANGE)
        guard.rollback(BACK)
        assert guard.knobs.all_knobs() == list(INITIAL)

    def test_rollback__last_good_outside_a_new_corridor__reverts(self, guard, refused):
        guard.apply(CHANGE)
        guard.limit({3: {"minimum": 601}})
        refused(rule(3, "below corridor"), BACK, "rollback")
        guard.limit({3: {"minimum": 600}})
        guard.rollback(BACK)

    def test_rollback__last_good_breaks_a_new_invariant__reverts(self, guard, refused):
        guard.apply({2: 600})
        guard.limit({}, invariants=((2, 1, 3, 1), (3, 1, 2, 1)))
        refused("risk_steward: invariant 1 broken", {2: 500}, "rollback")

    def test_rollback__call_that_is_not_allowed__reverts(self, guard, refused):
        guard.apply(CHANGE)
        calls = (guard.call(3, 600, "other(uint256,uint256)"),)
        refused("risk_steward: call not allowed", BACK, "rollback", calls=calls)

    def test_rollback__calls_that_do_not_bring_it_about__revert(self, guard, refused):
        guard.apply(CHANGE)
        refused(rule(3, "value not in place"), BACK, "rollback", calls=(guard.call(3, 601),))
        refused(rule(0, "moved untouched"), BACK, "rollback", calls=(guard.call(3, 600), guard.call(0, 99)))

    def test_rollback__same_message_twice__reverts(self, guard):
        guard.apply(CHANGE)
        message = guard.message(BACK)
        signatures = guard.sign(message, "Rollback")
        guard.send("rollback", message, signatures)
        with reverting("risk_steward: wrong sequence"):
            guard.send("rollback", message, signatures)


class TestBehindTheSteward:
    @pytest.mark.parametrize("proven", [True, False])
    def test_rollback__protocol_changed_behind_a_version__reverts(self, guard, refused, proven):
        guard.apply(CHANGE)
        boa.env.time_travel(seconds=PROBATION if proven else 0)
        guard.knobs.turn(3, 999)
        for values in (CHANGE, BACK):
            refused(BEHIND, values, "rollback")

    def test_rollback__protocol_changed_behind_version_zero__reverts(self, guard, refused):
        guard.knobs.turn(2, 1)
        refused(BEHIND, {2: 500}, "rollback")

    def test_rollback__protocol_changed_and_changed_back__restores_the_last_good_version(self, guard):
        guard.apply(CHANGE)
        guard.knobs.turn(3, 999)
        guard.knobs.turn(3, 650)
        guard.rollback(BACK)
        assert guard.knobs.all_knobs() == list(INITIAL)

    def test_rebase__protocol_changed_behind_the_steward__makes_a_version_that_is_good_at_once(self, guard, refused):
        guard.apply(CHANGE)
        guard.knobs.turn(2, 400)
        guard.steward.rebase(guard.market, sender=guard.governance)
        event = guard.steward.get_logs()[-1]
        assert (event.market, event.sequence, event.values) == (guard.market, 2, [100, 100, 400, 650])
        state = guard.state()
        assert event.state_hash == state.state_hash == state.version_hash == state.good_hash
        assert (state.sequence, state.good_sequence) == (2, 2)
        refused(AT_LAST_GOOD, {}, "rollback")

    @pytest.mark.parametrize("proven", [True, False])
    def test_rollback__change_after_a_rebase__restores_the_rebased_version(self, guard, proven):
        guard.apply({0: 105, 1: 105})
        boa.env.time_travel(seconds=PROBATION if proven else 0)
        guard.knobs.turn(2, 400)
        guard.steward.rebase(guard.market, sender=guard.governance)
        guard.apply(CHANGE)
        guard.rollback(BACK)
        assert guard.steward.get_logs()[-1].restored_sequence == 2
        assert guard.knobs.all_knobs() == [105, 105, 400, 600]

    def test_apply__signed_before_a_rebase__reverts(self, guard):
        message = guard.message(CHANGE)
        guard.steward.rebase(guard.market, sender=guard.governance)
        with reverting("risk_steward: wrong sequence"):
            guard.send("apply", message)
