"""Rollback: which version it restores, what it waives and what it does not, and that it remembers nothing."""

import boa
import pytest
from eth_abi import encode
from eth_utils import keccak
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from policies import PROBATION
from reverts import all_storage, reverting, rule
from stewards import COOLDOWN, INITIAL, memory

CHANGE, BACK = {3: 650}, {3: 600}
AT_LAST_GOOD = "risk_steward: already at the last good version"
NOT_LAST_GOOD = "risk_steward: not the last good version"
BEHIND = "risk_steward: changed behind the steward"


def good(guard):
    """Hash and time of what a rollback would restore."""
    state = guard.state()
    return state.good_hash, state.good_at


def current(guard):
    """Hash and time of the current version."""
    state = guard.state()
    return state.version_hash, state.applied_at


class TestLastGood:
    def test_market_state__after_activation__version_zero_is_good_at_once(self, guard):
        assert guard.state().version_hash == guard.state().state_hash
        assert good(guard) == current(guard)

    def test_market_state__version_on_probation__the_one_before_is_good_and_then_the_version(self, guard):
        before = current(guard)
        boa.env.time_travel(seconds=36)
        guard.apply(CHANGE)
        boa.env.time_travel(seconds=PROBATION - 1)
        assert good(guard) == before
        boa.env.time_travel(seconds=1)
        assert good(guard) == current(guard) != before

    def test_market_state__versions_in_quick_succession__are_proven_all_the_same(self, guard):
        """However often parameters change in turn, what is good is never older than two probations and a change."""
        guard.limit({3: {"cooldown": 0}})
        made = [current(guard)]
        for step in range(1, 30):
            boa.env.time_travel(seconds=PROBATION // 4)
            guard.apply({3: 600 + step})
            made.append(current(guard))
            assert boa.env.timestamp - good(guard)[1] <= 2 * PROBATION + PROBATION // 4
            assert good(guard) in made
        assert len({good(guard), made[0]}) == 2
        guard.rollback({3: 600 + made.index(good(guard))})

    def test_rollback__candidate_that_outlived_its_probation__is_restored(self, guard):
        guard.limit({3: {"cooldown": 0}})
        guard.apply({3: 650})
        candidate = current(guard)
        boa.env.time_travel(seconds=PROBATION - 1)
        guard.apply({3: 700})
        before = good(guard)
        assert before[1] < candidate[1] or before != candidate
        boa.env.time_travel(seconds=1)
        assert good(guard) == candidate
        guard.rollback({3: 650})
        assert good(guard) == current(guard) == (candidate[0], boa.env.timestamp)

    def test_rollback__candidates_after_the_restored_version__are_never_good_again(self, guard):
        guard.limit({3: {"cooldown": 0}})
        for value in (650, 700):
            guard.apply({3: value})
            boa.env.time_travel(seconds=60)
        guard.rollback({3: 600})
        restored = current(guard)
        guard.apply({3: 610})
        boa.env.time_travel(seconds=PROBATION - 60)
        guard.apply({3: 620})
        assert good(guard) == restored
        boa.env.time_travel(seconds=60)
        guard.rollback({3: 610})

    def test_market_state__every_version_proven__the_last_one_is_good(self, guard):
        for value in (650, 700, 750):
            guard.apply({3: value})
            assert good(guard) != current(guard)
            boa.env.time_travel(seconds=PROBATION)
            assert good(guard) == current(guard)
        guard.apply({3: 800})
        guard.rollback({3: 750})

    def test_market_state__time_of_the_last_good_version__is_that_of_the_event_with_its_values(self, guard):
        """The steward keeps no values: a keeper finds them in the log of the block that has this time."""
        boa.env.time_travel(seconds=36)
        guard.apply({3: 650})
        applied = {boa.env.timestamp: guard.steward.get_logs()[-1].values}
        boa.env.time_travel(seconds=PROBATION)
        guard.apply({3: 700})
        state = guard.state()
        parts = (guard.steward.address, boa.env.evm.patch.chain_id, guard.market, applied[state.good_at])
        assert state.good_hash == keccak(encode(["address", "uint256", "bytes32", "uint256[]"], parts))


class TestRestore:
    def test_rollback__version_on_probation__restores_the_one_before_as_a_new_version(self, guard):
        guard.apply({0: 110, 1: 110, 3: 650})
        boa.env.time_travel(seconds=10)
        guard.rollback({0: 100, 1: 100, 3: 600})
        state = guard.state()
        assert state.values == list(INITIAL)
        assert (state.sequence, state.applied_at) == (2, boa.env.timestamp)
        assert state.version_hash == state.state_hash

    def test_rollback__new_version__is_proven_at_once(self, guard):
        """It has the values of the last good one."""
        before = good(guard)
        boa.env.time_travel(seconds=10)
        guard.apply(CHANGE)
        guard.rollback(BACK)
        assert good(guard) == current(guard) == (before[0], boa.env.timestamp)

    def test_rollback__event__names_market_sequence_input_root_and_all_values(self, guard):
        guard.apply(CHANGE)
        guard.rollback(BACK)
        (event,) = guard.steward.get_logs()
        assert type(event).__name__ == "RolledBack"
        assert (event.market, event.sequence, event.input_root) == (guard.market, 2, b"\x07" * 32)
        assert event.values == list(INITIAL)

    def test_rollback__again_and_again__goes_back_to_the_same_values(self, guard):
        """Each restored version takes the place of the last good one, and the next change that of the other."""
        for number in range(3):
            guard.apply({0: 110, 1: 100 + number})
            guard.apply({3: 650 + number})
            changed = current(guard)
            guard.rollback({0: 100, 1: 100, 3: 600})
            assert guard.knobs.all_knobs() == list(INITIAL)
            assert good(guard) == current(guard) != changed
            boa.env.time_travel(seconds=COOLDOWN)

    def test_rollback__after_a_proven_change__goes_back_to_that_one_and_no_further(self, guard):
        guard.apply(CHANGE)
        boa.env.time_travel(seconds=PROBATION)
        guard.apply({3: 700})
        guard.rollback({3: 650})
        guard.apply({2: 510})
        guard.rollback({2: 500})
        assert guard.knobs.all_knobs() == [100, 100, 500, 650]

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

    def test_rollback__starts_no_cooldown_and_ends_none(self, guard, refused):
        guard.apply(CHANGE)
        before = memory(guard.state().states)
        boa.env.time_travel(seconds=COOLDOWN - 1)
        guard.rollback(BACK)
        assert memory(guard.state().states) == before
        refused(rule(3, "cooldown not over"), CHANGE)
        boa.env.time_travel(seconds=1)
        guard.apply(CHANGE)

    def test_rollback__paused__is_allowed(self, guard):
        guard.apply(CHANGE)
        guard.steward.pause([guard.market], sender=guard.guardian)
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

    def test_rollback__other_calls_than_signed__reverts(self, guard, refused):
        guard.apply(CHANGE)
        refused("risk_steward: other calls than signed", BACK, "rollback", calls=(guard.call(3, 601),))
        refused("risk_steward: other calls than signed", BACK, "rollback", calls=())

    def test_rollback__calls_that_do_not_bring_it_about__revert(self, guard, refused):
        guard.apply(CHANGE)
        guard.knobs.set_ceiling(599)
        refused(rule(3, "value not in place"), BACK, "rollback")
        guard.knobs.set_ceiling(2**256 - 1)
        guard.knobs.reenter(guard.knobs.address, guard.call(0, 99)[1])
        refused(rule(0, "moved untouched"), BACK, "rollback")

    def test_rollback__refused_after_the_calls_were_made__leaves_all_storage_as_it_was(self, guard):
        guard.apply(CHANGE)
        guard.knobs.set_side_effect(1)
        message = guard.message(BACK)
        before = all_storage()
        with reverting(rule(3, "value not in place")):
            guard.send("rollback", message)
        assert all_storage() == before

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
        assert (state.sequence, state.good_at) == (2, boa.env.timestamp)
        refused(AT_LAST_GOOD, {}, "rollback")

    @pytest.mark.parametrize("proven", [True, False])
    def test_rollback__change_after_a_rebase__restores_the_rebased_version(self, guard, proven):
        guard.apply({0: 105, 1: 105})
        boa.env.time_travel(seconds=PROBATION if proven else 0)
        guard.knobs.turn(2, 400)
        guard.steward.rebase(guard.market, sender=guard.governance)
        rebased = current(guard)
        boa.env.time_travel(seconds=10)
        guard.apply(CHANGE)
        assert good(guard) == rebased
        guard.rollback(BACK)
        assert guard.knobs.all_knobs() == [105, 105, 400, 600]

    def test_apply__signed_before_a_rebase__reverts(self, guard):
        message = guard.message(CHANGE)
        guard.steward.rebase(guard.market, sender=guard.governance)
        with reverting("risk_steward: wrong sequence"):
            guard.send("apply", message)


WAITS = st.sampled_from([0, 60, COOLDOWN, PROBATION - 60, PROBATION])
ACTS = st.lists(st.tuples(WAITS, st.sampled_from(["apply", "apply", "rollback", "rebase"])), min_size=4, max_size=10)


# Each example goes back to the fixture's state.
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ACTS)
def test_market_state__any_history__tells_the_newest_version_that_was_proven(guard, acts):
    """Against a list of all versions: values, when they were made, whether they were good when they were made."""
    with boa.env.anchor():
        guard.limit({3: {"cooldown": 0}})
        versions = [(600, boa.env.timestamp, True)]
        proven, candidate = versions[0], None
        for number, (wait, act) in enumerate(acts, start=1):
            boa.env.time_travel(seconds=wait)
            now, (value, at, is_good) = boa.env.timestamp, versions[-1]
            if is_good or now - at >= PROBATION:
                proven, candidate = versions[-1], None
            elif candidate is not None and now - candidate[1] >= PROBATION:
                proven, candidate = candidate, None
            if act == "apply":
                guard.apply({3: 600 + number})
                candidate = candidate or (versions[-1] if versions[-1] != proven else None)
                versions.append((600 + number, now, False))
            elif act == "rebase":
                guard.steward.rebase(guard.market, sender=guard.governance)
                versions.append((value, now, True))
            elif act == "rollback" and proven != versions[-1]:
                guard.rollback({3: proven[0]})
                versions.append((proven[0], now, True))
            if versions[-1][2]:
                proven, candidate = versions[-1], None
            parts = (guard.steward.address, boa.env.evm.patch.chain_id, guard.market, (*INITIAL[:3], proven[0]))
            expected = keccak(encode(["address", "uint256", "bytes32", "uint256[]"], parts))
            assert good(guard) == (expected, proven[1])
            assert guard.state().sequence == len(versions) - 1
