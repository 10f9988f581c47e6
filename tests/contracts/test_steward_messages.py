"""What a message is bound to: an active market, its sequence, its live state, a deadline; and what a change records."""

import boa
import pytest
from eth_abi import encode
from eth_utils import keccak
from reverts import reverting, rule
from stewards import ACTIVE, INITIAL, PAUSED, memory

CHANGE = {3: 650}
OTHER = b"other".ljust(32)
IS_PAUSED = "risk_steward: paused"
IS_INACTIVE = "risk_steward: market not active"


class TestMoment:
    def test_apply__paused__reverts_until_unpaused(self, guard, refused):
        guard.steward.pause([guard.market], sender=guard.guardian)
        refused(IS_PAUSED, CHANGE)
        guard.steward.unpause([guard.market], sender=guard.governance)
        guard.apply(CHANGE)

    def test_apply__another_market_paused__is_no_obstacle(self, guard, refused):
        guard.activate(OTHER, guard.policy)
        guard.steward.pause([OTHER], sender=guard.guardian)
        guard.apply(CHANGE)
        refused(IS_PAUSED, {2: 510}, market=OTHER)

    @pytest.mark.parametrize("action", [3, 4, 8, 15, 17, 2**256 - 1])
    def test_submit__unknown_action__reverts(self, guard, action):
        _, message, signatures = guard.submission("apply", guard.message(CHANGE))
        with reverting("risk_steward: unknown action"):
            guard.steward.submit(action, message, signatures)

    @pytest.mark.parametrize("kind", ["apply", "announce", "rollback"])
    def test_any__unknown_market__reverts(self, refused, kind):
        refused(IS_INACTIVE, CHANGE, kind, market=OTHER, sequence=1, state_hash=b"\0" * 32)

    def test_apply__market_with_a_policy_but_not_activated__reverts(self, guard, refused):
        guard.put(guard.policy, OTHER)
        refused(IS_INACTIVE, CHANGE, market=OTHER)
        guard.steward.activate(OTHER, sender=guard.governance)
        guard.apply(CHANGE, market=OTHER)

    def test_apply__retired_market__reverts(self, guard, refused):
        guard.steward.retire(guard.market, sender=guard.governance)
        refused(IS_INACTIVE, CHANGE)

    @pytest.mark.parametrize("kind", ["apply", "announce", "rollback"])
    def test_any__after_its_deadline__reverts(self, refused, kind):
        refused("risk_steward: deadline passed", CHANGE, kind, deadline=boa.env.timestamp - 1)

    def test_apply__in_the_second_of_its_deadline__succeeds(self, guard):
        message = guard.message(CHANGE, deadline=boa.env.timestamp + 100)
        boa.env.time_travel(seconds=100)
        guard.send("apply", message)

    @pytest.mark.parametrize("kind", ["apply", "announce", "rollback"])
    @pytest.mark.parametrize("sequence", [0, 1, 3, 2**256 - 1])
    def test_any__wrong_sequence__reverts(self, guard, refused, kind, sequence):
        guard.apply(CHANGE)
        refused("risk_steward: wrong sequence", {3: 600}, kind, sequence=sequence)

    def test_apply__each_market__has_a_sequence_of_its_own(self, guard):
        guard.activate(OTHER, guard.policy)
        guard.apply({3: 610})
        guard.apply({3: 620}, market=OTHER)
        assert (guard.state().sequence, guard.state(OTHER).sequence) == (1, 1)


class TestState:
    def test_state_hash__is_of_steward_chain_market_and_live_values(self, guard):
        parts = (guard.steward.address, boa.env.evm.patch.chain_id, guard.market, INITIAL)
        expected = keccak(encode(["address", "uint256", "bytes32", "uint256[]"], parts))
        assert guard.state().state_hash == guard.state().version_hash == expected

    @pytest.mark.parametrize("kind", ["apply", "announce", "rollback"])
    def test_any__protocol_changed_since__reverts(self, guard, refused, kind):
        computed_for = guard.state().state_hash
        guard.knobs.turn(2, 501)
        refused("risk_steward: state has changed", CHANGE, kind, state_hash=computed_for)

    def test_apply__protocol_changed_and_a_new_message_for_it__succeeds(self, guard):
        guard.knobs.turn(2, 501)
        guard.apply(CHANGE)
        assert guard.state().values == [100, 100, 501, 650]

    def test_apply__changed_behind_the_steward__makes_the_foreign_value_part_of_the_version(self, guard):
        guard.knobs.turn(2, 501)
        assert guard.state().version_hash != guard.state().state_hash
        guard.apply(CHANGE)
        assert guard.state().version_hash == guard.state().state_hash


class TestRecord:
    def test_apply__event__names_market_sequence_input_root_and_all_values(self, guard):
        guard.apply(CHANGE)
        (event,) = guard.steward.get_logs()
        assert type(event).__name__ == "Applied"
        assert (event.market, event.sequence, event.input_root) == (guard.market, 1, b"\x07" * 32)
        assert event.values == [100, 100, 500, 650]

    def test_market_state__after_a_change__tells_everything_in_one_call(self, guard):
        before = guard.state()
        boa.env.time_travel(seconds=10)
        guard.apply(CHANGE)
        applied_at = boa.env.timestamp
        boa.env.time_travel(seconds=60)
        state = guard.state()
        assert (state.status, state.sequence, state.applied_at) == (ACTIVE, 1, applied_at)
        assert (state.values, state.version_hash) == ([100, 100, 500, 650], state.state_hash)
        assert (state.good_hash, state.good_at) == (before.state_hash, applied_at - 10)
        assert state.policy == guard.steward.policy_of(guard.market)
        assert memory(state.states)[3] == (applied_at // 60 + 1, 0, 0)
        guard.steward.pause([guard.market], sender=guard.guardian)
        assert guard.state() == state._replace(status=PAUSED)

    def test_market_state__no_policy__reverts(self, guard):
        with reverting("risk_steward: no policy"):
            guard.state(OTHER)


def test_apply__everything_wrong_with_a_message__is_reported_in_order(guard):
    """A keeper's own guard names the same first reason."""
    guard.steward.pause([guard.market], sender=guard.guardian)
    wrong = {"deadline": 0, "sequence": 9, "values": (0,), "state_hash": b"\x01" * 32}

    def expect(reason, signatures=()):
        message = guard.message({0: 0, 1: 105}, **wrong)
        with reverting(reason):
            guard.send("apply", message, list(signatures) or guard.sign(message)[:1])

    expect(IS_PAUSED)
    guard.steward.unpause([guard.market], sender=guard.governance)
    for field, reason in (
        ("deadline", "risk_steward: deadline passed"),
        ("sequence", "risk_steward: wrong sequence"),
        ("values", "risk_steward: lengths differ"),
    ):
        expect(reason)
        del wrong[field]
    expect("risk_steward: too few signatures")
    expect("risk_steward: state has changed", guard.sign(guard.message({0: 0, 1: 105}, **wrong)))
    del wrong["state_hash"]
    expect(rule(0, "below corridor"), guard.sign(guard.message({0: 0, 1: 105})))
