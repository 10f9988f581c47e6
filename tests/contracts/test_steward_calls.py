"""Which calls a change may make, and why the steward believes only what the getters say after them."""

from dataclasses import replace

import boa
import pytest
from policies import Parameter, Policy, selector
from reverts import all_storage, reverting, rule
from stewards import INITIAL, TURN, load_target

CHANGE = {3: 650}
ONE = b"one".ljust(32)
FORBIDDEN = "risk_steward: call not allowed"
GETTER = "risk_steward: getter failed"
NOT_IN_PLACE = rule(3, "value not in place")


class TestAllowed:
    def test_apply__selector_that_the_policy_does_not_have__reverts(self, guard, refused):
        refused(FORBIDDEN, CHANGE, calls=(guard.call(3, 650, "other(uint256,uint256)"),))
        refused(FORBIDDEN, {2: 510, 3: 650}, calls=(guard.call(2, 510), guard.call(3, 650, "other(uint256,uint256)")))

    def test_apply__target_that_the_policy_does_not_have__reverts(self, guard, refused):
        twin = load_target("knobs", INITIAL)
        for target in (twin.address, guard.steward.address, guard.registry.address, boa.env.generate_address()):
            refused(FORBIDDEN, CHANGE, calls=((str(target), guard.call(3, 650)[1]),))

    @pytest.mark.parametrize("length", [0, 1, 3])
    def test_apply__data_shorter_than_a_selector__reverts(self, guard, refused, length):
        refused(FORBIDDEN, CHANGE, calls=((str(guard.knobs.address), TURN[:length]),))

    def test_apply__pinned_argument__lets_only_that_one_through(self, guard, refused):
        """As where the first argument names a market of the protocol."""
        pinned = (str(guard.knobs.address), TURN + (3).to_bytes(32, "big"))
        guard.put(replace(guard.policy, calls=(pinned,)))
        refused(FORBIDDEN, {2: 510})
        refused(FORBIDDEN, CHANGE, calls=((pinned[0], pinned[1][:-1]),))
        guard.apply(CHANGE)

    def test_apply__last_of_eight_allowed_calls__is_found(self, guard, refused):
        address = str(guard.knobs.address)
        others = tuple((address, bytes([index]) * 4) for index in range(7))
        guard.put(replace(guard.policy, calls=(*others, (address, TURN))))
        refused(FORBIDDEN, CHANGE, calls=(guard.call(3, 650, "other(uint256,uint256)"),))
        guard.apply(CHANGE)

    def test_apply__call_that_another_market_allows__reverts(self, guard, refused):
        other = (str(guard.knobs.address), selector("other(uint256,uint256)"))
        guard.activate(ONE, replace(guard.policy, calls=(other,)))
        refused(FORBIDDEN, CHANGE, calls=(guard.call(3, 650, "other(uint256,uint256)"),))
        guard.apply(CHANGE, market=ONE, calls=(guard.call(3, 650, "other(uint256,uint256)"),))

    def test_apply__policy_without_calls__lets_nothing_through(self, guard, refused):
        guard.put(replace(guard.policy, calls=()))
        refused(FORBIDDEN, CHANGE)

    def test_apply__eight_calls__are_made_in_their_order(self, guard):
        guard.apply(CHANGE, calls=tuple(guard.call(3, to) for to in (1, 2, 3, 4, 5, 6, 7, 650)))
        assert guard.knobs.knob(3) == 650


class TestReadBack:
    @pytest.mark.parametrize("to", [None, 600, 651])
    def test_apply__calls_do_not_bring_about_what_was_signed__revert(self, guard, refused, to):
        refused(NOT_IN_PLACE, CHANGE, calls=() if to is None else (guard.call(3, to),))

    def test_apply__setter_clamps__reverts(self, guard, refused):
        guard.knobs.set_ceiling(520)
        refused(rule(2, "value not in place"), {2: 530})
        guard.apply({2: 520})

    def test_apply__one_of_two_coupled_values_clamped__reverts_both(self, guard, refused):
        guard.knobs.set_ceiling(110)
        refused(rule(1, "value not in place"), {0: 105, 1: 115})
        assert guard.knobs.all_knobs() == list(INITIAL)

    def test_apply__setter_moves_an_untouched_parameter__reverts(self, guard, refused):
        guard.knobs.set_side_effect(1)
        refused(rule(3, "moved untouched"), {2: 510})

    def test_apply__calls_move_a_parameter_that_the_batch_does_not_name__revert(self, guard, refused):
        refused(rule(0, "moved untouched"), CHANGE, calls=(guard.call(3, 650), guard.call(0, 101)))

    def test_apply__calls_move_a_parameter_named_to_be_kept__revert(self, guard, refused):
        refused(rule(1, "moved untouched"), {0: 110, 1: 100}, calls=(guard.call(0, 110), guard.call(1, 101)))

    def test_apply__untouched_parameter_moved_and_moved_back__is_allowed(self, guard):
        guard.apply(CHANGE, calls=(guard.call(0, 101), guard.call(3, 650), guard.call(0, 100)))
        assert guard.knobs.all_knobs() == [100, 100, 500, 650]

    def test_apply__setter_that_does_nothing__reverts(self, guard, refused):
        guard.knobs.set_frozen(True, False)
        refused(NOT_IN_PLACE, CHANGE)

    def test_apply__getter_lies_as_long_as_the_transaction_lasts__is_found_out_afterwards(self, guard, refused):
        """Nothing on chain sees it at once; afterwards live state and version differ, and no rollback builds on it."""
        guard.knobs.set_frozen(True, True)
        guard.apply(CHANGE)
        boa.env.time_travel(seconds=1)
        state = guard.state()
        assert (state.sequence, state.values) == (1, list(INITIAL))
        assert state.version_hash != state.state_hash
        refused("risk_steward: changed behind the steward", {}, "rollback")
        signed_for = guard.message({3: 660}, state_hash=state.version_hash)
        with reverting("risk_steward: state has changed"):
            guard.send("apply", signed_for)

    def test_apply__append_only_setter__goes_forward(self, guard):
        target = load_target("append_only", 100)
        address = str(target.address)
        policy = Policy(
            parameters=(Parameter(reversible=False),),
            positions=((0, 0),),
            reads=((address, selector("latest()")),),
            calls=((address, selector("append(uint256)")),),
        )
        guard.activate(ONE, policy)
        guard.apply({0: 110}, market=ONE, calls=((address, target.append.prepare_calldata(110)),))
        with reverting("append_only: not above the latest"):
            guard.apply({0: 105}, market=ONE, calls=((address, target.append.prepare_calldata(105)),))
        assert target.latest() == 110


class TestFailure:
    def test_apply__setter_reverts__passes_its_reason_on_and_undoes_earlier_calls(self, guard, refused):
        refused("knobs: refused", {2: 510, 3: 666}, calls=(guard.call(2, 510), guard.call(3, 666)))
        assert guard.knobs.all_knobs() == list(INITIAL)

    def test_apply__setter_reverts_without_reason__says_so(self, guard, refused):
        guard.knobs.set_mute(True, False)
        refused("risk_steward: call failed", CHANGE)

    def test_apply__setter_reverts_with_a_very_long_reason__passes_the_beginning_on(self, guard, refused):
        guard.knobs.set_mute(False, True)
        refused(bytes(512), CHANGE)

    def test_apply__steward_is_not_the_owner__passes_the_reason_on(self, guard, refused):
        guard.knobs.set_owner(boa.env.generate_address())
        refused("knobs: not the owner", CHANGE)

    def test_apply__steward_is_the_owner__succeeds(self, guard):
        guard.knobs.set_owner(guard.steward.address)
        guard.apply(CHANGE)
        assert guard.knobs.knob(3) == 650

    def test_apply__getter_reverts__reverts(self, guard, refused):
        message = guard.message({2: 510})
        guard.knobs.set_broken(True, False)
        refused(GETTER, {2: 510}, sequence=message.sequence, state_hash=message.state_hash)

    def test_apply__setter_breaks_the_getter__reverts(self, guard, refused):
        guard.knobs.set_broken(False, True)
        refused(GETTER, {2: 510})


class TestAnswer:
    """What a getter may answer."""

    @pytest.fixture
    def read(self, guard):
        """Activate a market with one parameter, read by a getter of the knobs."""

        def activate(signature, word=0):
            read = (str(guard.knobs.address), selector(signature))
            guard.activate(
                ONE,
                replace(guard.policy, parameters=(Parameter(),), positions=((0, word),), reads=(read,), invariants=()),
            )

        return activate

    def test_activate__answer_one_byte_too_short__reverts(self, read):
        with reverting(GETTER):
            read("one_byte_short()")

    def test_activate__word_beyond_the_answer__reverts(self, read):
        with reverting(GETTER):
            read("all_knobs()", 4)

    def test_activate__last_word_of_the_answer__is_read(self, guard, read):
        read("all_knobs()", 3)
        assert guard.state(ONE).values == [600]

    def test_activate__answer_longer_than_can_be_read__gives_its_first_words(self, guard, read):
        read("many_words()")
        assert guard.state(ONE).values == [100]

    def test_activate__getter_reverts_with_a_reason_as_long_as_an_answer__reverts(self, guard, read):
        guard.knobs.set_broken(True, False)
        with reverting(GETTER):
            read("all_knobs()")

    def test_activate__no_such_getter__reverts(self, read):
        with reverting(GETTER):
            read("no_such_getter()")


class TestReentry:
    """A setter that calls the steward back achieves nothing, and does not stop the change that is under way."""

    @pytest.fixture
    def reenter(self, guard):
        """Apply a change during which the knobs make calls of their own; returns what these answered."""

        def apply(*calls):
            for target, data in calls:
                guard.knobs.reenter(target, data)
            guard.apply({2: 510})
            return [
                (item.success, item.answer) for item in (guard.knobs.outcomes(index) for index in range(len(calls)))
            ]

        return apply

    def test_apply__setter_applies_another_signed_change__has_no_effect(self, guard, reenter):
        """The lock: without it, one version could be made inside the making of another."""
        after = guard.message({2: 510, 3: 650}, sequence=2)
        inside = guard.message(CHANGE)
        calls = [guard.steward.apply.prepare_calldata(item.words(), guard.sign(item)) for item in (inside, after)]
        assert reenter(*((guard.steward.address, data) for data in calls)) == [(False, b"")] * 2
        assert (guard.state().sequence, guard.knobs.all_knobs()) == (1, [100, 100, 510, 600])

    def test_apply__setter_rolls_back_or_announces__has_no_effect(self, guard, reenter):
        guard.apply(CHANGE)
        guard.limit({2: {"notice": 0}, 3: {"notice": 10}})
        back = guard.message({3: 600})
        ahead = guard.message({3: 700}, deadline=2**256 - 1)
        calls = (
            guard.steward.rollback.prepare_calldata(back.words(), guard.sign(back, "Rollback")),
            guard.steward.announce.prepare_calldata(ahead.words(), guard.sign(ahead)),
        )
        assert reenter(*((guard.steward.address, data) for data in calls)) == [(False, b"")] * 2
        assert guard.steward.announced_at(guard.domain.digest(ahead)) == 0
        assert (guard.state().sequence, guard.knobs.all_knobs()) == (2, [100, 100, 510, 650])

    def test_apply__target_that_is_guardian_and_governance_pauses_or_sets_a_policy__has_no_effect(self, guard, reenter):
        steward = guard.steward
        with boa.env.prank(guard.governance):
            for role in (steward.GUARDIAN_ROLE(), steward.DEFAULT_ADMIN_ROLE()):
                steward.grantRole(role, guard.knobs.address)
        stored = guard.registry.store(guard.policy.limit({3: {"maximum": 2_000}}).blob())
        before = steward.policy_of(guard.market)
        outcomes = reenter(
            (steward.address, steward.pause.prepare_calldata()),
            (steward.address, steward.set_policy.prepare_calldata(guard.market, stored)),
            (steward.address, steward.rebase.prepare_calldata(guard.market)),
            (steward.address, steward.set_quorum.prepare_calldata(1, [guard.signers[0].address])),
        )
        assert outcomes == [(False, b"")] * 4
        assert (steward.paused(), steward.policy_of(guard.market)) == (False, before)
        assert guard.state().sequence == 1

    def test_apply__setter_turns_other_knobs_by_itself__reverts(self, guard, refused):
        guard.knobs.reenter(guard.knobs.address, guard.call(3, 601)[1])
        refused(rule(3, "moved untouched"), {2: 510})


def test_apply__refused_after_the_calls_were_made__leaves_all_storage_as_it_was(guard):
    guard.knobs.set_side_effect(1)
    message = guard.message({0: 110, 1: 110, 2: 510})
    before = all_storage()
    with reverting(rule(3, "moved untouched")):
        guard.send("apply", message)
    assert all_storage() == before
