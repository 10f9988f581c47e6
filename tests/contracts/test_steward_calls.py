"""Which calls a change makes, and why the steward believes only what the getters say after them."""

from dataclasses import replace

import boa
import pytest
from policies import Parameter, Setter, Value, selector
from reverts import all_storage, reverting, rule
from stewards import INITIAL, SINGLE, TURN, WIDE, load_target

CHANGE = {3: 650}
ONE = b"one".ljust(32)
OTHER = "other(uint256,uint256)"
OTHERS = "risk_steward: other calls than signed"
GETTER = rule(0, "getter failed")
CALL = rule(3, "call failed")
NOT_IN_PLACE = rule(3, "value not in place")


def turning(guard, *arguments):
    return Setter(str(guard.knobs.address), TURN, arguments)


class TestMade:
    """The steward makes the calls itself, from the policy's setters and the values."""

    def test_apply__setter_of_one_parameter__takes_its_constant_and_the_value(self, guard):
        guard.apply(CHANGE)
        assert guard.made() == [guard.call(3, 650)]

    def test_apply__several_setters__are_called_in_the_policy_s_order(self, guard):
        ahead = guard.policy.setters
        for setters in (ahead, ahead[::-1], (ahead[2], ahead[0], ahead[3], ahead[1])):
            with boa.env.anchor():
                guard.put(replace(guard.policy, setters=setters))
                guard.apply({0: 110, 1: 95, 2: 510, 3: 650})
                after = {0: 110, 1: 95, 2: 510, 3: 650}
                assert guard.made() == [guard.call(item.arguments[0], after[item.arguments[0]]) for item in setters]

    def test_apply__parameters_named_but_kept__have_their_setter_left_alone(self, guard):
        guard.apply({0: 110, 1: 100, 2: 500, 3: 650})
        assert guard.made() == [guard.call(0, 110), guard.call(3, 650)]

    def test_apply__setter_of_several_parameters__takes_live_values_for_those_that_stay(self, guard):
        guard.put(replace(guard.policy, setters=(guard.all_at_once,)))
        guard.knobs.turn(1, 101)
        guard.apply({3: 650})
        assert guard.made() == [guard.all_at_once.call((100, 101, 500, 650))]
        guard.apply({0: 110, 1: 101, 2: 510})
        assert guard.made() == [guard.all_at_once.call((110, 101, 510, 650))]

    def test_apply__setter_that_writes_a_kept_and_a_changed_parameter__is_called_and_others_are_not(self, guard, wide):
        guard.apply({7: 110}, market=WIDE)
        assert guard.made() == [wide.setters[0].call([100] * 7 + [110])]
        guard.apply({8: 110}, market=WIDE)
        assert guard.made() == [wide.setters[1].call([100] * 8 + [110] + [100] * 7)]

    def test_apply__one_parameter_in_several_words__stands_in_all_of_them(self, guard, wide):
        arguments = (3, Value(3), 2, Value(2), Value(3), 2**256 - 1, Value(2), 0, 7, Value(3), 0, 5)
        twice = Setter(wide.reads[0][0], "turn_two(uint256,uint256,uint256,uint256,uint256[8])", arguments)
        policy = replace(wide, parameters=wide.parameters[:4], positions=wide.positions[:4])
        two = (Setter(wide.reads[0][0], TURN, (0, Value(0))), Setter(wide.reads[0][0], TURN, (1, Value(1))))
        guard.activate(ONE, replace(policy, setters=(*two, twice)))
        guard.apply({2: 120, 3: 130}, market=ONE)
        words = (3, 130, 2, 120, 130, 2**256 - 1, 120, 0, 7, 130, 0, 5)
        data = b"".join(word.to_bytes(32, "big") for word in words)
        assert guard.made() == [(twice.target, selector(twice.signature) + data)]
        assert guard.state(ONE).values == [100, 100, 120, 130]

    def test_apply__constants__are_pinned(self, guard):
        """As where an argument names a market of the protocol, and another one is as large as can be."""
        pinned = Setter(str(guard.knobs.address), "turn_all(uint256[4])", (100, 100, 500, Value(3)))
        others = guard.policy.setters[:3]
        guard.put(replace(guard.policy, setters=(*others, pinned)))
        guard.apply(CHANGE)
        assert guard.made() == [pinned.call((0, 0, 0, 650))]

    def test_apply__last_of_eight_setters__is_called(self, guard, wide):
        target = wide.reads[0][0]
        setters = tuple(Setter(target, TURN, (index, Value(index))) for index in range(8))
        parameters = {"parameters": wide.parameters[:8], "positions": wide.positions[:8]}
        guard.activate(ONE, replace(wide, setters=setters, **parameters))
        guard.apply({0: 90, 7: 110}, market=ONE)
        assert guard.made() == [setters[0].call([90]), setters[7].call([0] * 7 + [110])]

    def test_rollback__calls__are_those_of_the_parameters_that_go_back(self, guard):
        guard.apply({0: 110, 1: 100, 3: 650})
        guard.rollback({0: 100, 2: 500, 3: 600})
        assert guard.made() == [guard.call(0, 100), guard.call(3, 600)]

    def test_announce__makes_no_call(self, guard):
        guard.limit({3: {"notice": 10}})
        guard.send("announce", guard.message(CHANGE, deadline=boa.env.timestamp + 10))
        assert guard.made() == []


class TestSigned:
    """What was signed must be the calls that the steward makes, to the byte."""

    @pytest.mark.parametrize("kind", ["apply", "rollback"])
    def test_any__foreign_selector_or_argument_or_target_was_signed__reverts(self, guard, refused, kind):
        guard.apply({3: 550})
        change = CHANGE if kind == "apply" else {3: 600}
        guard.limit({3: {"cooldown": 0}})
        (call,) = guard.message(change).calls
        twin = load_target("knobs", INITIAL)
        for foreign in (
            guard.call(3, change[3], OTHER),
            guard.call(2, change[3]),
            guard.call(3, change[3] + 1),
            (str(twin.address), call[1]),
            (call[0], call[1] + b"\0"),
            (call[0], call[1][:-1]),
            (call[0], b""),
        ):
            refused(OTHERS, change, kind, calls=(foreign,))
        guard.send(kind, guard.message(change))

    def test_apply__call_missing_or_one_too_many_was_signed__reverts(self, guard, refused):
        change = {2: 510, 3: 650}
        calls = guard.message(change).calls
        for signed in ((), calls[:1], calls[1:], (*calls, guard.call(0, 100)), (*calls, calls[1]), (calls[0], *calls)):
            refused(OTHERS, change, calls=signed)
        guard.apply(change)

    def test_apply__other_order_was_signed__reverts(self, guard, refused):
        change = {2: 510, 3: 650}
        refused(OTHERS, change, calls=guard.message(change).calls[::-1])
        ahead = guard.policy.setters
        guard.put(replace(guard.policy, setters=(*ahead[:2], ahead[3], ahead[2])))
        refused(OTHERS, change, calls=(guard.call(2, 510), guard.call(3, 650)))
        guard.apply(change, calls=(guard.call(3, 650), guard.call(2, 510)))

    def test_apply__call_of_a_kept_parameter_was_signed__reverts(self, guard, refused):
        change = {2: 500, 3: 650}
        refused(OTHERS, change, calls=(guard.call(2, 500), guard.call(3, 650)))
        guard.apply(change)

    def test_apply__policy_with_another_setter_since__reverts(self, guard):
        message = guard.message(CHANGE)
        guard.put(replace(guard.policy, setters=(guard.all_at_once,)))
        with reverting("risk_steward: unknown signer"):
            guard.send("apply", message)
        with reverting(OTHERS):
            guard.apply(CHANGE, calls=message.calls)
        guard.apply(CHANGE)

    def test_apply__calls_of_another_market_were_signed__reverts(self, guard, refused):
        guard.activate(ONE, replace(guard.policy, setters=(guard.all_at_once,)))
        refused(OTHERS, CHANGE, market=ONE, calls=(guard.call(3, 650),))
        guard.apply(CHANGE, market=ONE)

    def test_announce__calls_are_judged_when_they_are_made(self, guard):
        guard.limit({3: {"notice": 10}})
        message = guard.message(CHANGE, calls=(), deadline=boa.env.timestamp + 10)
        guard.send("announce", message)
        boa.env.time_travel(seconds=10)
        with reverting(OTHERS):
            guard.send("apply", message)


class TestReadBack:
    def test_apply__setter_of_the_policy_moves_another_parameter__reverts(self, guard, refused):
        first, second, third, _ = guard.policy.setters
        guard.put(replace(guard.policy, setters=(first, second, third, turning(guard, 0, Value(3)))))
        refused(rule(0, "moved untouched"), CHANGE)

    def test_apply__setters_that_are_mixed_up__revert(self, guard, refused):
        first, second, third, _ = guard.policy.setters
        guard.put(replace(guard.policy, setters=(first, second, third, turning(guard, 2, Value(3)))))
        refused(rule(2, "value not in place"), {2: 510, 3: 650})

    @pytest.mark.parametrize("arguments", [(3, 600, Value(3)), (3, 651, Value(3))])
    def test_apply__setter_takes_a_constant_for_the_value__reverts(self, guard, refused, arguments):
        constant = Setter(str(guard.knobs.address), TURN, arguments)
        guard.put(replace(guard.policy, setters=(*guard.policy.setters[:3], constant)))
        refused(NOT_IN_PLACE, CHANGE)

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

    def test_apply__setter_moves_a_parameter_named_to_be_kept__reverts(self, guard, refused):
        guard.knobs.set_side_effect(1)
        refused(rule(3, "moved untouched"), {2: 510, 3: 600})

    def test_apply__untouched_parameter_moved_and_moved_back__is_allowed(self, guard):
        for to in (101, 100):
            guard.knobs.reenter(guard.knobs.address, guard.call(0, to)[1])
        guard.apply(CHANGE)
        assert [guard.knobs.outcomes(index).success for index in range(2)] == [True, True]
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
        policy = replace(
            guard.policy,
            parameters=(Parameter(reversible=False),),
            positions=((0, 0),),
            reads=((address, selector("latest()")),),
            setters=(Setter(address, "append(uint256)", (Value(0),)),),
            invariants=(),
        )
        guard.activate(ONE, policy)
        guard.apply({0: 110}, market=ONE)
        with reverting("append_only: not above the latest"):
            guard.apply({0: 105}, market=ONE)
        assert target.latest() == 110


class TestOrder:
    """A protocol that itself keeps parameters below others: in which order their setters may go depends."""

    @pytest.fixture
    def ordered(self, guard):
        """Activate a market of two pairs, each of 100 and 110 in this order, the lower one's setter first."""
        targets = [load_target("ordered", 100, 110) for _ in range(2)]
        addresses = [str(target.address) for target in targets]
        policy = replace(
            guard.policy,
            parameters=(SINGLE,) * 4,
            positions=((0, 0), (0, 1), (1, 0), (1, 1)),
            reads=tuple((address, selector("both()")) for address in addresses),
            setters=tuple(
                Setter(address, f"set_{name}(uint256)", (Value(2 * pair + place),))
                for pair, address in enumerate(addresses)
                for place, name in enumerate(("low", "high"))
            ),
            invariants=((0, 1, 1, 1), (2, 1, 3, 1)),
        )
        guard.activate(ONE, policy)
        return lambda: [value for target in targets for value in target.both()]

    @staticmethod
    def send(guard, kind, values, order=(), **overrides):
        """Send a message for values by id, with its calls in an order of the four setters."""
        message = guard.message(values, market=ONE)
        live = guard.state(ONE).values
        after = [values.get(id_, value) for id_, value in enumerate(live)]
        calls = [guard.stored[guard.state(ONE).policy].setters[index].call(after) for index in order]
        made = tuple(call for call in calls if call in message.calls) if order else message.calls
        guard.send(kind, replace(message, calls=made, **overrides), order=order)

    def test_apply__both_down__goes_in_the_policy_s_order(self, guard, ordered):
        self.send(guard, "apply", {0: 80, 1: 90})
        assert ordered() == [80, 90, 100, 110]

    def test_apply__both_up__goes_the_other_way_round_only(self, guard, ordered):
        with reverting("ordered: above the high one"):
            self.send(guard, "apply", {0: 120, 1: 130})
        self.send(guard, "apply", {0: 120, 1: 130}, (1, 0, 2, 3))
        assert ordered() == [120, 130, 100, 110]
        assert [data[:4] for _, data in guard.made()] == [selector("set_high(uint256)"), selector("set_low(uint256)")]

    @pytest.mark.parametrize(
        ("order", "reason"),
        [
            ((), "ordered: above the high one"),
            ((3, 2, 1, 0), "ordered: below the low one"),
            ((1, 0, 2, 3), None),
            ((2, 3, 1, 0), None),
            ((1, 2, 0, 3), None),
        ],
    )
    def test_apply__one_pair_up_and_one_down__goes_in_some_orders_of_many(self, guard, ordered, order, reason):
        values = {0: 120, 1: 130, 2: 80, 3: 90}
        if reason is None:
            self.send(guard, "apply", values, order)
            assert ordered() == list(values.values())
        else:
            with reverting(reason):
                self.send(guard, "apply", values, order)
            assert ordered() == [100, 110] * 2

    def test_rollback__one_pair_went_up_and_one_down__goes_back_in_an_order_of_its_own(self, guard, ordered):
        self.send(guard, "apply", {0: 120, 1: 130, 2: 80, 3: 90}, (1, 0, 2, 3))
        good = {0: 100, 1: 110, 2: 100, 3: 110}
        for order, reason in (((), "above the high"), ((3, 2, 1, 0), "below the low"), ((1, 0, 2, 3), "below the low")):
            with reverting(f"ordered: {reason} one"):
                self.send(guard, "rollback", good, order)
        self.send(guard, "rollback", good, (0, 1, 3, 2))
        assert ordered() == [100, 110] * 2

    def test_apply__setters_that_write_nothing__are_passed_over(self, guard, ordered):
        self.send(guard, "apply", {3: 120}, (2, 3, 1, 0))
        assert ordered() == [100, 110, 100, 120]
        assert len(guard.made()) == 1

    @pytest.mark.parametrize(
        "order", [(1, 1, 2, 3), (1, 0, 2), (1, 0, 2, 2), (1, 0, 4, 3), (15, 0, 2, 3), (0, 0, 0, 0, 1), (0,) * 62 + (8,)]
    )
    def test_apply__order_that_does_not_name_each_setter_once__reverts(self, guard, ordered, order):
        """Three places of four leave a zero in the last, which names the first setter again."""
        message = guard.message({0: 95, 1: 105}, market=ONE)
        with reverting("risk_steward: bad order"):
            guard.send("apply", message, order=order)
        assert ordered() == [100, 110] * 2

    @pytest.mark.parametrize("order", [(), (1, 0, 2, 3)])
    def test_apply__calls_signed_in_another_order__reverts(self, guard, ordered, order):
        message = guard.message({0: 95, 1: 105}, market=ONE)
        calls = message.calls if order else message.calls[::-1]
        with reverting(OTHERS):
            guard.send("apply", replace(message, calls=calls), order=order)
        assert ordered() == [100, 110] * 2


class TestFailure:
    def test_apply__setter_reverts__passes_its_reason_on_and_undoes_earlier_calls(self, guard, refused):
        refused("knobs: refused", {2: 510, 3: 666})
        assert guard.knobs.all_knobs() == list(INITIAL)

    def test_apply__setter_reverts_without_reason__says_so(self, guard, refused):
        guard.knobs.set_mute(True, False)
        refused(CALL, CHANGE)

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

    def test_apply__setter_that_does_not_exist__reverts(self, guard, refused):
        missing = Setter(str(guard.knobs.address), "no_such_setter(uint256)", (Value(3),))
        guard.put(replace(guard.policy, setters=(*guard.policy.setters[:3], missing)))
        refused(CALL, CHANGE)

    def test_apply__setter_at_the_steward_itself__reverts(self, guard, refused):
        """A policy can not have the steward call its own entry points: they are locked while it works."""
        own = Setter(str(guard.steward.address), "pause(bytes32[])", (32, Value(3)))
        guard.put(replace(guard.policy, setters=(*guard.policy.setters[:3], own)))
        refused(CALL, CHANGE)

    def test_apply__getter_reverts__reverts(self, guard, refused):
        message = guard.message({2: 510})
        guard.knobs.set_broken(True, False)
        refused(GETTER, {2: 510}, sequence=message.sequence, state_hash=message.state_hash)

    def test_apply__setter_breaks_the_getter__reverts(self, guard, refused):
        guard.knobs.set_broken(False, True)
        refused(GETTER, {2: 510})


class TestAnswer:
    """What a getter may answer, both where parameters are its words in order and where they are not."""

    @pytest.fixture
    def read(self, guard):
        """Activate a market with parameters that are words of one getter of the knobs."""

        def activate(signature, *words):
            address, positions = str(guard.knobs.address), tuple((0, word) for word in words)
            setters = (Setter(address, TURN, tuple(Value(id_) for id_ in range(len(words)))),)
            reads = {"positions": positions, "reads": ((address, selector(signature)),), "setters": setters}
            guard.activate(ONE, replace(guard.policy, parameters=(Parameter(),) * len(words), invariants=(), **reads))
            return guard.state(ONE).values

        return activate

    @pytest.mark.parametrize("words", [(0,), (0, 0)])
    def test_activate__answer_one_byte_too_short__reverts(self, read, words):
        with reverting(GETTER):
            read("one_byte_short()", *words)

    @pytest.mark.parametrize(("words", "first"), [((4,), 0), ((3, 4), 1), ((0, 1, 2, 3, 4), 4), ((0, 9, 2), 1)])
    def test_activate__word_beyond_the_answer__reverts_and_names_the_parameter(self, read, words, first):
        with reverting(rule(first, "getter failed")):
            read("all_knobs()", *words)

    @pytest.mark.parametrize(
        ("words", "values"),
        [
            ((0,), [100]),
            ((3,), [600]),
            ((0, 1, 2), [100, 100, 500]),
            ((0, 1, 2, 3), [100, 100, 500, 600]),
            ((3, 2, 1, 0), [600, 500, 100, 100]),
            ((0, 1, 3, 2), [100, 100, 600, 500]),
            ((0, 0), [100, 100]),
            ((2, 3), [500, 600]),
            ((0, 1, 2, 3, 0, 1, 2, 3), [100, 100, 500, 600] * 2),
        ],
    )
    def test_activate__words_in_order_or_not__are_read_alike(self, read, words, values):
        assert read("all_knobs()", *words) == values

    @pytest.mark.parametrize(("words", "values"), [((0,), [100]), ((0, 1), [100, 0]), ((1, 0), [0, 100])])
    def test_activate__answer_longer_than_can_be_read__gives_its_first_words(self, read, words, values):
        assert read("many_words()", *words) == values

    @pytest.mark.parametrize("words", [(0,), (1,)])
    def test_activate__getter_reverts_with_a_reason_as_long_as_an_answer__reverts(self, guard, read, words):
        guard.knobs.set_broken(True, False)
        with reverting(GETTER):
            read("all_knobs()", *words)

    @pytest.mark.parametrize("words", [(0,), (1,)])
    def test_activate__no_such_getter__reverts(self, read, words):
        with reverting(GETTER):
            read("no_such_getter()", *words)

    @pytest.mark.parametrize("count", range(1, 17))
    def test_apply__any_number_of_parameters_in_order__reads_what_single_reads_tell(self, guard, wide, count):
        """The layout in order takes a way of its own; the same parameters in two reads do not."""
        target = wide.reads[0][0]
        half = Setter(target, "turn_half(uint256,uint256[8])", (0, *(Value(min(id_, count - 1)) for id_ in range(8))))
        rest = Setter(
            target, "turn_half(uint256,uint256[8])", (8, *(Value(min(8 + id_, count - 1)) for id_ in range(8)))
        )
        setters = (half,) if count <= 8 else (half, rest)
        policy = replace(wide, parameters=wide.parameters[:count], positions=wide.positions[:count], setters=setters)
        two_reads = (*((0, word) for word in range(count - 1)), (1, count - 1))
        split = replace(policy, reads=policy.reads * 2, positions=two_reads)
        guard.activate(ONE, policy)
        after = {id_: 101 + id_ for id_ in range(count)}
        guard.apply(after, market=ONE)
        assert guard.state(ONE).values == list(after.values())
        in_order = guard.state(ONE).state_hash
        guard.steward.pause([ONE], sender=guard.guardian)
        guard.put(split, ONE)
        assert guard.state(ONE).values == list(after.values())
        assert guard.state(ONE).state_hash == in_order


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
        calls = [guard.steward.submit.prepare_calldata(*guard.submission("apply", item)) for item in (inside, after)]
        assert reenter(*((guard.steward.address, data) for data in calls)) == [(False, b"")] * 2
        assert (guard.state().sequence, guard.knobs.all_knobs()) == (1, [100, 100, 510, 600])

    def test_apply__setter_rolls_back_or_announces__has_no_effect(self, guard, reenter):
        guard.apply(CHANGE)
        guard.limit({2: {"notice": 0}, 3: {"notice": 10}})
        back = guard.message({3: 600})
        ahead = guard.message({3: 700}, deadline=2**256 - 1)
        calls = (
            guard.steward.submit.prepare_calldata(*guard.submission("rollback", back)),
            guard.steward.submit.prepare_calldata(*guard.submission("announce", ahead)),
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
            (steward.address, steward.pause.prepare_calldata([guard.market])),
            (steward.address, steward.set_policy.prepare_calldata(guard.market, stored)),
            (steward.address, steward.rebase.prepare_calldata(guard.market)),
            (steward.address, steward.retire.prepare_calldata(guard.market)),
        )
        assert outcomes == [(False, b"")] * 4
        assert (guard.state().status, steward.policy_of(guard.market), guard.state().sequence) == (1, before, 1)

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
