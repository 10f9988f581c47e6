"""Drift budget: how far a value may move, to and fro, in any window of time."""

from functools import partial

import boa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from policies import PROBATION
from reverts import refusal, revert_data, rule
from stewards import INITIAL

WINDOW = 100_000
SPENT = rule(3, "drift budget spent")
# Far away, and where an epoch begins.
START = 20_000 * WINDOW
# A divisor of 65,535: its shares are whole numbers.
BUDGET = 85


def budget(guard, size=BUDGET, **limits):
    guard.limit({3: {"cooldown": 0, "drift_budget": size, "drift_window": WINDOW} | limits})
    boa.env.timestamp = START


class TestBudget:
    def test_apply__movement_to_and_fro__is_added_up_and_held_to_the_budget(self, guard, refused):
        budget(guard)
        guard.apply({3: 651})
        refused(SPENT, {3: 686})
        refused(SPENT, {3: 616})
        guard.apply({3: 617})
        refused(SPENT, {3: 618})

    def test_apply__one_move__may_take_the_whole_budget_and_no_more(self, guard, refused):
        budget(guard, 70)
        refused(SPENT, {3: 671})
        refused(SPENT, {3: 529})
        guard.apply({3: 670})

    def test_apply__small_moves__are_rounded_up_so_that_they_never_exceed_the_budget(self, guard, refused):
        """A seventh of 65,535 shares is no whole number."""
        budget(guard, 7)
        for value in range(601, 607):
            guard.apply({3: value})
        refused(SPENT, {3: 607})

    def test_apply__budget_of_nothing__lets_nothing_through(self, guard, refused):
        budget(guard, 0)
        refused(SPENT, {3: 601})

    def test_apply__no_window__has_no_budget(self, guard):
        guard.limit({3: {"cooldown": 0, "drift_budget": 0, "drift_window": 0}})
        for value in (700, 600, 700):
            guard.apply({3: value})

    def test_apply__largest_budget__does_not_overflow(self, guard, refused):
        top = 2**128 - 1
        budget(guard, top, maximum=top, max_step_up=top, max_step_down=top)
        guard.apply({3: top})
        refused(SPENT, {3: 600})

    def test_apply__budget_of_one_parameter__is_no_other_ones(self, guard, refused):
        limits = {"cooldown": 0, "drift_budget": BUDGET, "drift_window": WINDOW}
        guard.limit({2: limits, 3: limits})
        guard.apply({2: 550, 3: 685})
        refused(SPENT, {2: 560, 3: 686})
        guard.apply({2: 585, 3: 685})

    def test_apply__value_changed_behind_the_steward__costs_nothing(self, guard):
        budget(guard)
        guard.knobs.turn(3, 700)
        guard.apply({3: 785})


class TestEpochs:
    def test_apply__move_at_the_end_of_an_epoch__counts_until_the_end_of_the_next(self, guard, refused):
        budget(guard)
        boa.env.timestamp = START + WINDOW - 1
        guard.apply({3: 685})
        for at in (START + WINDOW, START + 2 * WINDOW - 1):
            boa.env.timestamp = at
            refused(SPENT, {3: 686})
        boa.env.timestamp = START + 2 * WINDOW
        guard.apply({3: 770})

    def test_apply__what_was_used_in_the_epoch_before__is_remembered_beside_this_one(self, guard, refused):
        budget(guard)
        guard.apply({3: 651})
        boa.env.timestamp += WINDOW
        refused(SPENT, {3: 686})
        guard.apply({3: 685})
        boa.env.timestamp += WINDOW
        refused(SPENT, {3: 737})
        guard.apply({3: 736})

    def test_apply__two_moves_of_the_epoch_before__are_both_remembered(self, guard, refused):
        budget(guard)
        guard.apply({3: 630})
        guard.apply({3: 651})
        boa.env.timestamp += WINDOW
        guard.apply({3: 671})
        refused(SPENT, {3: 686})
        guard.apply({3: 685})

    def test_apply__two_epochs_later__the_whole_budget_is_back(self, guard):
        budget(guard)
        guard.apply({3: 651})
        boa.env.timestamp += WINDOW
        guard.apply({3: 685})
        boa.env.timestamp += 2 * WINDOW
        guard.apply({3: 770})

    def test_market_state__after_moves__tells_time_and_shares_of_each_parameter(self, guard):
        budget(guard, 100)
        guard.apply({3: 620})
        boa.env.timestamp += WINDOW
        guard.apply({2: 510, 3: 630})
        words = guard.state().states
        assert words[1:] == [0, 0, 0]
        parts = [(words[0] >> (64 * id_)) & (2**64 - 1) for id_ in range(4)]
        unpacked = [(part >> 32, (part >> 16) & 0xFFFF, part & 0xFFFF) for part in parts]
        now = boa.env.timestamp
        assert unpacked == [(0, 0, 0), (0, 0, 0), (now, 0, 0), (now, 6_554, 13_107)]


class TestRollback:
    def test_rollback__costs_nothing_and_gives_nothing_back(self, guard, refused):
        budget(guard)
        guard.apply({3: 651})
        guard.rollback({3: 600})
        refused(SPENT, {3: 635})
        guard.apply({3: 634})

    def test_rollback__with_the_budget_spent__is_allowed(self, guard, refused):
        budget(guard)
        guard.apply({3: 685})
        refused(SPENT, {3: 650})
        guard.rollback({3: 600})
        assert guard.knobs.all_knobs() == list(INITIAL)

    def test_rollback__in_the_next_epoch__remembers_what_was_used_before(self, guard, refused):
        budget(guard)
        boa.env.timestamp = START + WINDOW - 1
        guard.apply({3: 651})
        boa.env.time_travel(seconds=PROBATION - 1)
        guard.rollback({3: 600})
        refused(SPENT, {3: 635})
        guard.apply({3: 634})
        boa.env.timestamp = START + 2 * WINDOW
        refused(SPENT, {3: 686})
        guard.apply({3: 685})


@pytest.fixture
def roaming(guard):
    """The guard, with a knob that has room on both sides and a budget that a few moves exhaust."""
    guard.knobs.turn(3, 50_000)
    budget(guard, maximum=100_000)
    return guard


MOVES = st.lists(st.tuples(st.integers(0, WINDOW), st.integers(-60, 60).filter(bool)), min_size=6, max_size=12)


# Each example goes back to the fixture's state.
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(MOVES)
def test_apply__moves_at_any_time__never_exceed_the_budget_in_any_window(roaming, moves):
    """And none is refused that the budget would have held even for two windows."""
    guard, made = roaming, []
    with boa.env.anchor():
        for wait, by in moves:
            boa.env.time_travel(seconds=wait)
            now = boa.env.timestamp
            message = guard.message({3: guard.knobs.knob(3) + by})
            refused = refusal(partial(guard.send, "apply", message))
            if refused is None:
                made.append((now, abs(by)))
                assert sum(size for at, size in made if at > now - WINDOW) <= BUDGET
            else:
                assert refused == revert_data(SPENT)
                assert sum(size for at, size in made if at > now - 2 * WINDOW) + abs(by) > BUDGET
