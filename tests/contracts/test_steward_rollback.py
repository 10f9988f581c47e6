"""Rollback: which version it restores, what it waives and what it does not."""

import boa
import pytest
from eth_utils import keccak

COOLDOWN = 3_600
PROBATION = 7_200
LIVE = [100, 100, 500, 600]


def last_good(guard):
    sequence, values = guard.steward.last_good(guard.market)
    return sequence, list(values)


def test_last_good__after_activation__is_version_zero_at_once(guard):
    assert last_good(guard) == (0, LIVE)


def test_last_good__version_on_probation__is_the_one_before_and_then_the_version(guard):
    guard.apply({3: 650})
    boa.env.time_travel(seconds=PROBATION - 1)
    assert last_good(guard) == (0, LIVE)
    boa.env.time_travel(seconds=1)
    assert last_good(guard) == (1, [100, 100, 500, 650])


def test_last_good__versions_in_quick_succession__is_the_newest_that_outlived_probation(guard):
    guard.apply({3: 650})
    boa.env.time_travel(seconds=PROBATION)
    guard.apply({3: 700})
    boa.env.time_travel(seconds=COOLDOWN)
    guard.apply({3: 750})
    assert last_good(guard) == (1, [100, 100, 500, 650])


def test_rollback__version_on_probation__restores_the_one_before_as_a_new_version(guard):
    guard.apply({0: 110, 1: 110, 3: 650})
    guard.rollback({0: 100, 1: 100, 3: 600})
    steward, market = guard.steward, guard.market
    assert steward.values(market) == LIVE
    assert steward.sequence(market) == 2
    assert tuple(steward.version(market, 2)) == (LIVE, boa.env.timestamp)
    assert last_good(guard) == (0, LIVE)


def test_rollback__event__names_the_restored_version(guard):
    guard.apply({3: 650})
    guard.rollback({3: 600})
    event = guard.steward.get_logs()[-1]
    assert (event.market, event.sequence, event.context) == (guard.market, 2, b"\x07" * 32)
    assert (event.restored_sequence, event.values) == (0, LIVE)
    assert event.state_hash == guard.steward.state_hash(guard.market)


@pytest.mark.parametrize("proven", [True, False])
def test_rollback__protocol_changed_behind_a_version__reverts(guard, proven):
    guard.apply({3: 650})
    boa.env.time_travel(seconds=PROBATION if proven else 0)
    guard.knobs.turn(3, 999)
    for values in ({3: 650}, {3: 600}):
        with boa.reverts("risk_steward: changed behind the steward"):
            guard.rollback(values)
    assert guard.steward.values(guard.market) == [100, 100, 500, 999]


def test_rollback__protocol_changed_and_changed_back__restores_the_last_good_version(guard):
    guard.apply({3: 650})
    guard.knobs.turn(3, 999)
    guard.knobs.turn(3, 650)
    guard.rollback({3: 600})
    assert guard.steward.values(guard.market) == LIVE


def test_rollback__protocol_changed_behind_version_zero__reverts(guard):
    guard.knobs.turn(2, 1)
    with boa.reverts("risk_steward: changed behind the steward"):
        guard.rollback({2: 500})


def test_rebase__protocol_changed_behind_the_steward__becomes_the_last_good_version_at_once(guard):
    guard.apply({3: 650})
    guard.knobs.turn(2, 400)
    steward, market = guard.steward, guard.market
    steward.rebase(market, sender=guard.governance)
    event = steward.get_logs()[-1]
    assert (event.market, event.sequence, event.values) == (market, 2, [100, 100, 400, 650])
    assert event.state_hash == steward.state_hash(market)
    assert tuple(steward.version(market, 2)) == ([100, 100, 400, 650], boa.env.timestamp)
    assert last_good(guard) == (2, [100, 100, 400, 650])
    with boa.reverts("risk_steward: already at the last good version"):
        guard.rollback({})


def test_rollback__change_after_a_rebase__restores_the_rebased_version(guard):
    guard.knobs.turn(2, 400)
    guard.steward.rebase(guard.market, sender=guard.governance)
    guard.apply({3: 650})
    guard.rollback({3: 600})
    assert guard.steward.get_logs()[-1].restored_sequence == 1
    assert guard.steward.values(guard.market) == [100, 100, 400, 600]


def test_rebase__change_computed_before_it__no_longer_applies(guard):
    arguments = guard.arguments({3: 650})
    guard.steward.rebase(guard.market, sender=guard.governance)
    with boa.reverts("risk_steward: wrong sequence"):
        guard.steward.apply(*arguments, sender=guard.keeper)


def test_apply__protocol_changed_behind_the_steward__stores_the_foreign_value_too(guard):
    guard.knobs.turn(2, 400)
    guard.apply({3: 650})
    assert guard.steward.version(guard.market, 1).values == [100, 100, 400, 650]


@pytest.mark.parametrize("who", ["keeper", "guardian"])
def test_rebase__anyone_but_governance__reverts(guard, who):
    with boa.reverts("access_control: account is missing role"):
        guard.steward.rebase(guard.market, sender=getattr(guard, who))


def test_rebase__market_not_active__reverts(guard):
    other = keccak(b"other")
    guard.register(other)
    with boa.reverts("risk_steward: market not active"):
        guard.steward.rebase(other, sender=guard.governance)


@pytest.mark.parametrize(("to", "reason"), [(1_001, "value above corridor"), (499, "invariant broken")])
def test_rebase__live_values_beyond_a_limit__reverts(guard, to, reason):
    guard.knobs.turn(3, to)
    with boa.reverts(f"risk_steward: {reason}"):
        guard.steward.rebase(guard.market, sender=guard.governance)


def test_rollback__nothing_to_undo__reverts(guard):
    with boa.reverts("risk_steward: already at the last good version"):
        guard.rollback({})
    guard.apply({3: 650})
    boa.env.time_travel(seconds=PROBATION)
    with boa.reverts("risk_steward: already at the last good version"):
        guard.rollback({})


def test_rollback__twice__reverts(guard):
    guard.apply({3: 650})
    guard.rollback({3: 600})
    with boa.reverts("risk_steward: already at the last good version"):
        guard.rollback({3: 600})


def test_rollback__large_step_within_cooldown__is_allowed(guard):
    guard.apply({3: 700})
    boa.env.time_travel(seconds=COOLDOWN - 1)
    guard.steward.set_limits(guard.market, 3, (0, 1_000, 1, 1, COOLDOWN), sender=guard.governance)
    guard.rollback({3: 600})
    assert guard.steward.values(guard.market) == LIVE


def test_rollback__starts_the_cooldown_of_what_it_restored(guard):
    guard.apply({3: 650})
    boa.env.time_travel(seconds=COOLDOWN)
    guard.rollback({3: 600})
    with boa.reverts("risk_steward: cooldown not over"):
        guard.apply({3: 650})
    guard.apply({2: 510})


def test_rollback__last_good_outside_a_new_corridor__reverts(guard):
    guard.apply({3: 650})
    guard.steward.set_limits(guard.market, 3, (601, 1_000, 100, 100, 0), sender=guard.governance)
    with boa.reverts("risk_steward: value below corridor"):
        guard.rollback({3: 600})


def test_rollback__last_good_breaks_a_new_invariant__reverts(guard):
    guard.apply({2: 600})
    guard.steward.add_invariant(guard.market, 3, 2, sender=guard.governance)
    with boa.reverts("risk_steward: invariant broken"):
        guard.rollback({2: 500})


def test_rollback__paused__is_allowed(guard):
    guard.apply({3: 650})
    guard.steward.pause(sender=guard.guardian)
    guard.rollback({3: 600})
    assert guard.steward.values(guard.market) == LIVE


@pytest.mark.parametrize("values", [{3: 601}, {3: 650}, {2: 500}])
def test_rollback__calls_restore_something_else__reverts(guard, values):
    guard.apply({3: 650})
    with boa.reverts("risk_steward: value not in place"):
        guard.rollback(values)


def test_rollback__calls_move_another_parameter__reverts(guard):
    guard.apply({3: 650})
    with boa.reverts("risk_steward: untouched parameter moved"):
        guard.rollback({2: 501, 3: 600})


@pytest.mark.parametrize("who", ["governance", "guardian"])
def test_rollback__anyone_but_the_keeper__reverts(guard, who):
    guard.apply({3: 650})
    with boa.reverts("access_control: account is missing role"):
        guard.rollback({3: 600}, sender=getattr(guard, who))


@pytest.mark.parametrize(
    ("reason", "override"),
    [
        ("wrong sequence", {"sequence": 1}),
        ("state has changed", {"state_hash": b"\x01" * 32}),
        ("deadline passed", {"deadline": 0}),
        ("market not active", {"market": keccak(b"other")}),
    ],
)
def test_rollback__not_bound_to_the_present_state__reverts(guard, reason, override):
    guard.apply({3: 650})
    with boa.reverts(f"risk_steward: {reason}"):
        guard.rollback({3: 600}, **override)


def test_rollback__call_not_whitelisted__reverts(guard):
    guard.apply({3: 650})
    with boa.reverts("risk_steward: call not allowed"):
        guard.rollback({3: 600}, calls=[guard.call(3, 600, "other")])
