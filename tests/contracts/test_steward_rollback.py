"""Rollback: which version it restores, what it waives and what it does not, and that it remembers nothing."""

from dataclasses import dataclass, replace
from math import inf

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

    def test_activate__storage_of_later_versions__is_paid_for_at_once(self, guard):
        """No change on probation pays for a slot that was empty, but for the memory of its parameters."""

        def used():
            return sum(address == str(guard.steward.address) for address, _ in all_storage())

        before = used()
        guard.apply(CHANGE)
        boa.env.time_travel(seconds=60)
        guard.apply({2: 510})
        assert used() == before + 1

    def test_market_state__version_on_probation__the_one_before_is_good_and_then_the_version(self, guard):
        before = current(guard)
        boa.env.time_travel(seconds=36)
        guard.apply(CHANGE)
        boa.env.time_travel(seconds=PROBATION - 1)
        assert good(guard) == before
        boa.env.time_travel(seconds=1)
        assert good(guard) == current(guard) != before

    def test_market_state__parameters_that_change_in_turn__are_proven_all_the_same(self, guard):
        """However often they do, what is good is never older than two probations and the time between two changes."""
        live, made = {**dict(enumerate(INITIAL))}, {current(guard): dict(enumerate(INITIAL))}
        for step in range(30):
            boa.env.time_travel(seconds=PROBATION // 3)
            change = ({3: live[3] + 1}, {2: live[2] + 1}, {0: live[0] + 1, 1: live[1]})[step % 3]
            guard.apply(change)
            live |= change
            made[current(guard)] = dict(live)
            assert boa.env.timestamp - good(guard)[1] <= 2 * PROBATION + PROBATION // 3
            assert good(guard) in made
        values = made[good(guard)]
        assert 0 < values[3] - 600 < 10
        guard.rollback({id_: value for id_, value in values.items() if value != live[id_]})

    def test_rollback__candidate_that_outlived_its_probation__is_restored(self, guard):
        guard.apply({3: 650})
        candidate = current(guard)
        boa.env.time_travel(seconds=PROBATION - 1)
        guard.apply({2: 510})
        before = good(guard)
        assert before[1] < candidate[1] or before != candidate
        boa.env.time_travel(seconds=1)
        assert good(guard) == candidate
        guard.rollback({2: 500})
        assert good(guard) == current(guard) == (candidate[0], boa.env.timestamp)

    def test_rollback__candidates_after_the_restored_version__are_never_good_again(self, guard):
        for change in ({3: 650}, {2: 510}):
            guard.apply(change)
            boa.env.time_travel(seconds=60)
        guard.rollback({2: 500, 3: 600})
        restored = current(guard)
        guard.apply({0: 110, 1: 100})
        boa.env.time_travel(seconds=PROBATION - 60)
        guard.apply({3: 620})
        assert good(guard) == restored
        boa.env.time_travel(seconds=60)
        guard.rollback({3: 600})
        assert guard.knobs.all_knobs() == [110, 100, 500, 600]

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


class TestCorrected:
    """A change on probation that the next one corrects, without a rollback, is never what a later rollback restores."""

    @pytest.fixture(autouse=True)
    def _quick(self, guard):
        """Let the fourth parameter change at any time."""
        guard.limit({3: {"cooldown": 0}})

    def test_market_state__version_corrected_within_its_probation__is_never_good(self, guard):
        before = good(guard)
        guard.apply({3: 650})
        boa.env.time_travel(seconds=PROBATION - 60)
        guard.apply({3: 610})
        boa.env.time_travel(seconds=PROBATION - 60)
        assert good(guard) == before
        guard.rollback({3: 600})

    def test_market_state__version_changed_again_when_its_probation_is_over__is_good(self, guard):
        guard.apply({3: 650})
        boa.env.time_travel(seconds=PROBATION)
        before = current(guard)
        guard.apply({3: 610})
        assert good(guard) == before

    def test_market_state__candidate_with_a_change_that_a_third_one_corrects__is_never_good(self, guard):
        before = good(guard)
        guard.apply({3: 650})
        boa.env.time_travel(seconds=60)
        guard.apply({2: 510})
        boa.env.time_travel(seconds=60)
        guard.apply({3: 610})
        boa.env.time_travel(seconds=PROBATION - 60)
        assert good(guard) == before
        boa.env.time_travel(seconds=60)
        assert good(guard) == current(guard)

    def test_market_state__version_between_a_change_and_its_correction__is_never_good(self, guard):
        """It still held the value that was wrong."""
        guard.apply({0: 101, 1: 100})
        boa.env.time_travel(seconds=PROBATION)
        before = current(guard)
        guard.apply({3: 650})
        boa.env.time_travel(seconds=PROBATION - 120)
        guard.apply({2: 510})
        boa.env.time_travel(seconds=60)
        guard.apply({3: 610})
        boa.env.time_travel(seconds=PROBATION - 60)
        assert good(guard) == before
        guard.rollback({2: 500, 3: 600})

    def test_market_state__candidate_older_than_what_was_corrected__is_good_in_time(self, guard):
        guard.apply({2: 510})
        candidate = current(guard)
        boa.env.time_travel(seconds=60)
        guard.apply({3: 650})
        boa.env.time_travel(seconds=60)
        guard.apply({3: 610})
        boa.env.time_travel(seconds=PROBATION - 120)
        assert good(guard) == candidate
        guard.rollback({3: 600})

    def test_market_state__corrected_in_the_same_minute_as_the_candidate_was_made__is_on_the_safe_side(self, guard):
        """The limits remember minutes: what was made in the minute of a change that is corrected may have held it."""
        before = good(guard)
        boa.env.time_travel(seconds=10)
        guard.apply({2: 510})
        boa.env.time_travel(seconds=10)
        guard.apply({3: 650})
        boa.env.time_travel(seconds=60)
        guard.apply({3: 610})
        boa.env.time_travel(seconds=PROBATION - 70)
        assert good(guard) == before


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


WAITS = st.sampled_from([60, 600, COOLDOWN, PROBATION - 60, PROBATION])
MOVED = {"third": (2,), "fourth": (3,), "both": (2, 3)}
ACTS = st.lists(
    st.tuples(WAITS, st.sampled_from([*MOVED, "third", "fourth", "rollback", "rebase"])), min_size=4, max_size=12
)


@dataclass(frozen=True, slots=True)
class Past:
    """One version as the definition needs it; `until` is when a rollback undid it or a correction reached it."""

    hash: bytes
    values: tuple[int, ...]
    at: int
    proven: bool
    until: float = inf

    def outlived(self, now):
        """Whether nothing was rolled back and nothing in it corrected for a probation after it was made."""
        return self.proven or (now - self.at >= PROBATION and self.until - self.at >= PROBATION)


def moves_in(guard, moved, number):
    """Values that the parameters have at no other time of a history."""
    live = guard.knobs.all_knobs()
    return {id_: live[id_] + (number if number % 2 else -number) for id_ in moved}


# Each example goes back to the fixture's state.
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ACTS)
def test_market_state__any_history__tells_a_version_that_outlived_its_probation(guard, acts):
    """By the definition: the whole history is gone through again after every act."""
    with boa.env.anchor():
        guard.limit({2: {"cooldown": 0}, 3: {"cooldown": 0}})
        versions = [Past(good(guard)[0], INITIAL, boa.env.timestamp, proven=True)]
        changed, corrections, gap = {}, 0, 0
        for number, (wait, act) in enumerate(acts, start=1):
            boa.env.time_travel(seconds=wait)
            now, before = boa.env.timestamp, guard.state()
            gap = max(gap, now - versions[-1].at)
            if act in MOVED:
                guard.apply(moves_in(guard, MOVED[act], number))
                for id_ in MOVED[act]:
                    since = changed.get(id_, -inf)
                    if now - since < PROBATION:
                        corrections += 1
                        versions = [replace(v, until=min(v.until, now)) if v.at >= since else v for v in versions]
                    changed[id_] = now
            elif act == "rebase":
                guard.steward.rebase(guard.market, sender=guard.governance)
            elif before.good_hash != before.version_hash:
                values = next(v.values for v in versions if v.hash == before.good_hash)
                pairs = enumerate(zip(values, before.values, strict=True))
                guard.rollback({id_: good_ for id_, (good_, live) in pairs if good_ != live})
                versions = [replace(v, until=min(v.until, now)) if v.at > before.good_at else v for v in versions]
            else:
                continue
            after = guard.state()
            versions.append(Past(after.version_hash, tuple(after.values), now, proven=act not in MOVED))
            for later in (0, PROBATION - 60, PROBATION):
                with boa.env.anchor():
                    boa.env.time_travel(seconds=later)
                    told = good(guard)
                    assert told in [(v.hash, v.at) for v in versions if v.outlived(boa.env.timestamp)]
                    if not corrections:
                        assert boa.env.timestamp - told[1] <= 2 * PROBATION + max(gap, later)
