"""Drift budget: how far a value may move, to and fro, in any window of time; and how little is remembered of it."""

from functools import partial

import boa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from policies import PROBATION
from reverts import refusal, revert_data, rule
from stewards import INITIAL, MINUTE, WIDE, memory

WINDOW = 96_000
SPENT = rule(3, "drift budget spent")
# Far away, and the minute with which an epoch begins.
START = 20_000 * WINDOW
# Times are minutes rounded up: a minute begins a second after the one before is full.
FIRST, LAST = -MINUTE + 1, -MINUTE
FULL = 240
# A divisor of the shares: a unit is three of them.
BUDGET = 80
NEVER = (0, 0, 0)


def budget(guard, size=BUDGET, **limits):
    guard.limit({3: {"cooldown": 0, "drift_budget": size, "drift_window": WINDOW} | limits})
    boa.env.timestamp = START


class TestBudget:
    def test_apply__movement_to_and_fro__is_added_up_and_held_to_the_budget(self, guard, refused):
        budget(guard)
        guard.apply({3: 648})
        refused(SPENT, {3: 681})
        refused(SPENT, {3: 615})
        guard.apply({3: 616})
        refused(SPENT, {3: 617})

    def test_apply__one_move__may_take_the_whole_budget_and_no_more(self, guard, refused):
        budget(guard, 70)
        refused(SPENT, {3: 671})
        refused(SPENT, {3: 529})
        guard.apply({3: 670})

    @pytest.mark.parametrize("parts", [2, 3, 4, 5, 6, 8, 10])
    def test_apply__equal_fractions_of_the_budget__use_up_all_of_it_and_no_more(self, guard, refused, parts):
        budget(guard, 7 * parts, max_step_up=1_000)
        for part in range(1, parts + 1):
            guard.apply({3: 600 + 7 * part})
        assert memory(guard.state().states)[3] == (START // MINUTE, FULL, 0)
        refused(SPENT, {3: 601 + 7 * parts})

    def test_apply__small_moves__are_rounded_up_so_that_they_never_exceed_the_budget(self, guard, refused):
        """A seventh of 240 shares is no whole number."""
        budget(guard, 7)
        for value in range(601, 607):
            guard.apply({3: value})
        refused(SPENT, {3: 607})

    @pytest.mark.parametrize(("by", "shares"), [(1, 1), (4, 1), (5, 2), (8, 2), (9, 3), (99, 24), (100, 24)])
    def test_apply__budget_with_more_units_than_shares__rounds_each_move_up(self, guard, by, shares):
        budget(guard, 1_000)
        guard.apply({3: 600 + by})
        assert memory(guard.state().states)[3] == (START // MINUTE, shares, 0)

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
        guard.apply({2: 550, 3: 680})
        refused(SPENT, {2: 560, 3: 681})
        guard.apply({2: 580, 3: 680})

    def test_apply__value_changed_behind_the_steward__costs_nothing(self, guard):
        budget(guard)
        guard.knobs.turn(3, 700)
        guard.apply({3: 780})


class TestEpochs:
    @pytest.mark.parametrize("at", [START + FIRST, START, START + 1, START + WINDOW + LAST])
    def test_apply__move_anywhere_in_an_epoch__counts_until_the_end_of_the_next(self, guard, refused, at):
        budget(guard)
        boa.env.timestamp = at
        guard.apply({3: 680})
        for later in (START + WINDOW + FIRST, START + 2 * WINDOW + LAST):
            boa.env.timestamp = later
            refused(SPENT, {3: 681})
        boa.env.timestamp = START + 2 * WINDOW + FIRST
        guard.apply({3: 760})

    def test_apply__move_as_an_epoch_begins__is_none_of_the_one_before(self, guard, refused):
        """It counts until the end of the next as well, and so an epoch longer than one a second earlier."""
        budget(guard)
        boa.env.timestamp = START + WINDOW + FIRST
        guard.apply({3: 680})
        boa.env.timestamp = START + 3 * WINDOW + LAST
        refused(SPENT, {3: 681})
        boa.env.timestamp += 1
        guard.apply({3: 760})

    def test_apply__what_was_used_in_the_epoch_before__is_remembered_beside_this_one(self, guard, refused):
        budget(guard)
        guard.apply({3: 648})
        boa.env.timestamp += WINDOW
        refused(SPENT, {3: 681})
        guard.apply({3: 680})
        boa.env.timestamp += WINDOW
        refused(SPENT, {3: 729})
        guard.apply({3: 728})

    def test_apply__two_moves_of_the_epoch_before__are_both_remembered(self, guard, refused):
        budget(guard)
        guard.apply({3: 630})
        guard.apply({3: 648})
        boa.env.timestamp += WINDOW
        guard.apply({3: 668})
        refused(SPENT, {3: 681})
        guard.apply({3: 680})

    def test_apply__two_epochs_later__the_whole_budget_is_back(self, guard):
        budget(guard)
        guard.apply({3: 648})
        boa.env.timestamp += WINDOW
        guard.apply({3: 680})
        boa.env.timestamp += 2 * WINDOW
        guard.apply({3: 760})


class TestMemory:
    """42 bits a parameter, six parameters a word."""

    def test_market_state__after_moves__tells_minute_and_shares_of_each_parameter(self, guard):
        budget(guard, 100)
        assert memory(guard.state().states) == [NEVER] * 16
        guard.apply({3: 620})
        boa.env.timestamp += WINDOW + 1
        guard.apply({2: 510, 3: 630})
        minute = boa.env.timestamp // MINUTE + 1
        expected = [NEVER, NEVER, (minute, 0, 0), (minute, 24, 48)]
        assert memory(guard.state().states) == expected + [NEVER] * 12

    @pytest.mark.parametrize("count", [6, 7, 12, 13, 16])
    def test_market_state__many_parameters_at_once__go_on_from_word_to_word(self, guard, wide, count):
        limits = {id_: {"cooldown": 0, "drift_budget": 240, "drift_window": WINDOW} for id_ in range(16)}
        guard.put(wide.limit(limits), WIDE)
        boa.env.timestamp = START
        guard.apply({id_: 101 + id_ for id_ in range(count)}, market=WIDE)
        first = START // MINUTE
        assert memory(guard.state(WIDE).states) == [(first, 1 + id_, 0) for id_ in range(count)] + [NEVER] * (
            16 - count
        )
        boa.env.timestamp += WINDOW
        guard.apply({id_: 102 + id_ for id_ in range(count)}, market=WIDE)
        second = first + WINDOW // MINUTE
        remembered = [(second, 1, 1 + id_) for id_ in range(count)]
        assert memory(guard.state(WIDE).states) == remembered + [NEVER] * (16 - count)

    @pytest.mark.parametrize("ids", [(5,), (6,), (0, 6), (5, 12), (1, 7, 13), (0, 15)])
    def test_market_state__some_parameters_changed__leave_the_memory_of_all_others_as_it_was(self, guard, wide, ids):
        limits = {id_: {"cooldown": 0, "drift_budget": 80, "drift_window": WINDOW} for id_ in range(16)}
        guard.put(wide.limit(limits), WIDE)
        boa.env.timestamp = START
        guard.apply(dict.fromkeys(range(16), 179), market=WIDE)
        before = memory(guard.state(WIDE).states)
        assert before == [(START // MINUTE, 237, 0)] * 16
        boa.env.timestamp += 2 * WINDOW
        guard.apply(dict.fromkeys(ids, 100), market=WIDE)
        changed = ((START + 2 * WINDOW) // MINUTE, 237, 0)
        assert memory(guard.state(WIDE).states) == [changed if id_ in ids else before[id_] for id_ in range(16)]

    def test_apply__kept_values_named_as_well__are_not_remembered(self, guard):
        guard.apply({0: 110, 1: 100, 2: 500, 3: 650})
        minute = boa.env.timestamp // MINUTE
        assert memory(guard.state().states)[:4] == [(minute, 0, 0), NEVER, NEVER, (minute, 0, 0)]

    def test_apply__largest_minute_there_is__fits_beside_full_shares(self, guard, refused):
        top = 2**26 - 1
        guard.limit({2: {"cooldown": 0}, 3: {"cooldown": 0, "drift_budget": 100, "drift_window": WINDOW}})
        boa.env.timestamp = top * MINUTE
        guard.apply({2: 510, 3: 700})
        assert memory(guard.state().states) == [NEVER, NEVER, (top, 0, 0), (top, FULL, 0)] + [NEVER] * 12
        boa.env.time_travel(seconds=1)
        refused("risk_steward: time out of range", {2: 520})

    def test_set_policy__window_given_up_and_taken_back__finds_what_was_used(self, guard, refused):
        """Without a window nothing is charged, and nothing is forgotten."""
        budget(guard)
        guard.apply({3: 600 + BUDGET // 2})
        guard.limit({3: {"cooldown": 0}})
        guard.apply({3: 730})
        budget(guard)
        refused(rule(3, "drift budget spent"), {3: 731 + BUDGET // 2})
        guard.apply({3: 730 + BUDGET // 2})


class TestRollback:
    def test_rollback__costs_nothing_and_gives_nothing_back(self, guard, refused):
        budget(guard)
        guard.apply({3: 648})
        before = guard.state().states
        guard.rollback({3: 600})
        assert guard.state().states == before
        refused(SPENT, {3: 633})
        guard.apply({3: 632})

    def test_rollback__with_the_budget_spent__is_allowed(self, guard, refused):
        budget(guard)
        guard.apply({3: 680})
        refused(SPENT, {3: 650})
        guard.rollback({3: 600})
        assert guard.knobs.all_knobs() == list(INITIAL)

    def test_rollback__in_the_next_epoch__leaves_what_was_used_before(self, guard, refused):
        budget(guard)
        boa.env.timestamp = START + WINDOW + LAST
        guard.apply({3: 648})
        before = guard.state().states
        boa.env.time_travel(seconds=PROBATION - 1)
        guard.rollback({3: 600})
        assert guard.state().states == before
        refused(SPENT, {3: 633})
        guard.apply({3: 632})
        boa.env.timestamp = START + 2 * WINDOW + FIRST
        refused(SPENT, {3: 681})
        guard.apply({3: 680})


@pytest.fixture(params=[BUDGET, 77])
def roaming(guard, request):
    """The guard, with a knob that has room on both sides and a budget that a few moves exhaust; and the budget."""
    guard.knobs.turn(3, 50_000)
    budget(guard, request.param, maximum=100_000)
    return guard, request.param


# Now and then a window to the second, or a minute: where epochs and minutes have their edges.
WAITS = st.integers(0, WINDOW) | st.sampled_from([0, 1, MINUTE - 1, MINUTE, WINDOW - 1, WINDOW])
MOVES = st.lists(st.tuples(WAITS, st.integers(-60, 60).filter(bool)), min_size=6, max_size=12)


def minute(at):
    return -(-at // MINUTE)


# Each example goes back to the fixture's state.
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(MOVES)
def test_apply__moves_at_any_time__never_exceed_the_budget_in_any_window(roaming, moves):
    """And none is refused but those whose shares, each rounded up, are too many in this epoch and the one before."""
    (guard, size), made = roaming, []
    with boa.env.anchor():
        for wait, by in moves:
            boa.env.time_travel(seconds=wait)
            now = boa.env.timestamp
            epoch = minute(now) // (WINDOW // MINUTE)
            charged = [abs(by)] + [moved for at, moved in made if minute(at) // (WINDOW // MINUTE) >= epoch - 1]
            shares = sum(-(-moved * FULL // size) for moved in charged)
            refused = refusal(partial(guard.send, "apply", guard.message({3: guard.knobs.knob(3) + by})))
            if made and now < minute(made[-1][0]) * MINUTE:
                assert refused == revert_data(rule(3, "cooldown not over"))
            elif shares > FULL:
                assert refused == revert_data(SPENT)
            else:
                assert refused is None
                made.append((now, abs(by)))
                assert sum(moved for at, moved in made if at >= now - WINDOW) <= size
