"""Which policies can be stored, and which of those governance can put into force."""

from dataclasses import replace

import boa
import pytest
from policies import HEALTH_ABOVE, HEALTH_NONE, HEALTH_TRUE, Health, Parameter, Policy, selector
from reverts import reverting
from stewards import TURN, load_target

OTHER = b"other".ljust(32)
YEAR = 366 * 86_400
MONTH = 30 * 86_400
TOP = 2**128 - 1
SIZE = "policy_registry: wrong size"


def registry_rule(id_, broken):
    return f"policy_registry: parameter {id_}: {broken}"


@pytest.fixture
def largest():
    """A policy with as many records as there can be, each as long as it can be."""
    target = str(load_target("wide", 100).address)
    reads = [(target, selector("all_values()").ljust(100, b"\0"))] * 16
    calls = [(target, TURN + bytes(64 - index) + bytes([index]) * index) for index in range(8)]
    return Policy(
        parameters=(Parameter(),) * 16,
        positions=tuple((index, index) for index in range(16)),
        reads=tuple(reads),
        calls=tuple(calls),
        invariants=((14, 1, 15, 1),) * 16,
        health=Health(target, "values(uint256)", HEALTH_ABOVE, 31),
    )


class TestStored:
    def test_store__policy__stands_as_code_that_cannot_run(self, guard):
        stored = guard.registry.store(guard.policy.blob())
        assert boa.env.get_code(stored) == b"\0" + guard.policy.blob()
        assert guard.registry.is_stored(stored)

    def test_store__by_anyone__changes_nothing_at_the_steward(self, guard):
        before = guard.steward.policy_of(guard.market)
        with boa.env.prank(boa.env.generate_address()):
            stored = guard.registry.store(guard.policy.blob())
            event = guard.registry.get_logs()[-1]
            assert (event.policy, event.author) == (stored, boa.env.eoa)
        assert guard.steward.policy_of(guard.market) == before

    def test_views__stored_policy__answer_its_records(self, guard):
        policy = replace(guard.policy, health=Health(str(guard.knobs.address), "knob(uint256)", HEALTH_TRUE, 3))
        stored, registry = guard.registry.store(policy.blob()), guard.registry
        assert tuple(registry.header(stored)) == policy.header()
        assert [tuple(registry.parameter(stored, id_)) for id_ in range(4)] == [p.words() for p in policy.parameters]
        assert [tuple(registry.read(stored, index)) for index in range(3)] == list(policy.reads)
        assert [tuple(registry.allowed_call(stored, index)) for index in range(2)] == list(policy.calls)
        assert tuple(registry.invariant(stored, 0)) == policy.invariants[0]

    @pytest.mark.parametrize(("view", "count"), [("parameter", 4), ("read", 3), ("allowed_call", 2), ("invariant", 1)])
    def test_views__beyond_the_last_record__revert(self, guard, view, count):
        stored = guard.steward.policy_of(guard.market)
        getattr(guard.registry, view)(stored, count - 1)
        name = {"allowed_call": "call"}.get(view, view)
        with reverting(f"policy_registry: unknown {name}"):
            getattr(guard.registry, view)(stored, count)

    def test_views__address_that_is_not_stored__revert(self, guard):
        for address in (guard.knobs.address, boa.env.generate_address()):
            with reverting("policy_registry: not stored here"):
                guard.registry.header(address)

    def test_set_policy__largest_policy__works(self, guard, largest, refused):
        guard.activate(OTHER, largest)
        target = largest.reads[0][0]
        call = (target, TURN + (7).to_bytes(32, "big") + (110).to_bytes(32, "big"))
        allowed = replace(largest, calls=((target, TURN),) * 8)
        guard.put(allowed, OTHER)
        guard.apply({7: 110}, market=OTHER, calls=(call,))
        refused("risk_steward: invariant 0 broken", {14: 101}, market=OTHER, calls=())


class TestRefused:
    @pytest.mark.parametrize("cut", [slice(0, 0), slice(0, 319), slice(0, 320), slice(0, -1), slice(0, -128)])
    def test_store__shorter_than_its_records__reverts(self, guard, cut):
        with reverting(SIZE):
            guard.registry.store(guard.policy.blob()[cut])

    def test_store__longer_than_its_records__reverts(self, guard):
        with reverting(SIZE):
            guard.registry.store(guard.policy.blob() + b"\0")

    @pytest.mark.parametrize(
        ("counts", "reason"),
        [
            ((0, 1, 1, 1), "no parameters"),
            ((17, 1, 1, 1), "too many parameters"),
            ((1, 17, 1, 1), "too many reads"),
            ((1, 1, 9, 1), "too many calls"),
            ((1, 1, 1, 17), "too many invariants"),
            ((2**255, 1, 1, 1), "too many parameters"),
        ],
    )
    def test_store__counts_out_of_bounds__reverts(self, guard, counts, reason):
        blob = guard.policy.blob()
        words = b"".join(count.to_bytes(32, "big") for count in counts)
        with reverting(f"policy_registry: {reason}"):
            guard.registry.store(blob[:96] + words + blob[224:])

    @pytest.mark.parametrize("probation", [0, MONTH + 1, 2**256 - 1])
    def test_store__probation_out_of_range__reverts(self, guard, probation):
        with reverting("policy_registry: probation out of range"):
            guard.registry.store(replace(guard.policy, probation=probation).blob())

    @pytest.mark.parametrize("probation", [1, MONTH])
    def test_store__probation_at_its_bounds__succeeds(self, guard, probation):
        guard.registry.store(replace(guard.policy, probation=probation).blob())

    @pytest.mark.parametrize(("mode", "word"), [(HEALTH_ABOVE + 1, 0), (255, 0), (HEALTH_TRUE, 32), (HEALTH_NONE, 32)])
    def test_store__health_rule_that_does_not_exist__reverts(self, guard, mode, word):
        health = Health(str(guard.knobs.address), "knob(uint256)", mode, word)
        with reverting("policy_registry: bad health rule"):
            guard.registry.store(replace(guard.policy, health=health).blob())

    def test_store__health_view_without_code__reverts(self, guard):
        health = Health(str(boa.env.generate_address()), "knob(uint256)", HEALTH_TRUE)
        with reverting("policy_registry: bad health rule"):
            guard.registry.store(replace(guard.policy, health=health).blob())

    def test_store__executor_without_code__reverts(self, guard):
        with reverting("policy_registry: bad executor"):
            guard.registry.store(replace(guard.policy, executor=str(boa.env.generate_address())).blob())

    @pytest.mark.parametrize(("field", "broken"), [("reads", "read"), ("calls", "call")])
    def test_store__read_or_call_that_cannot_be_made__reverts(self, guard, field, broken):
        first, *others = getattr(guard.policy, field)
        for bad in ((str(boa.env.generate_address()), first[1]), (first[0], first[1][:3]), (first[0], b"")):
            with reverting(f"policy_registry: bad {broken}"):
                guard.registry.store(replace(guard.policy, **{field: (*others, bad)}).blob())

    def test_store__call_to_the_executor_itself__reverts(self, guard):
        """A module that may call its Safe could appoint modules and owners."""
        with reverting("policy_registry: target is the executor"):
            guard.registry.store(replace(guard.policy, executor=str(guard.knobs.address)).blob())

    @pytest.mark.parametrize(
        ("invariant", "reason"),
        [
            ((4, 1, 0, 1), "invariant of unknown parameter"),
            ((0, 1, 4, 1), "invariant of unknown parameter"),
            ((0, 0, 1, 1), "invariant factor is zero"),
            ((0, 1, 1, 0), "invariant factor is zero"),
            ((0, 2**127 + 1, 1, 1), "invariant factor too large"),
            ((0, 1, 1, 2**127 + 1), "invariant factor too large"),
        ],
    )
    def test_store__invariant_that_makes_no_sense__reverts(self, guard, invariant, reason):
        with reverting(f"policy_registry: {reason}"):
            guard.registry.store(replace(guard.policy, invariants=((2, 1, 3, 1), invariant)).blob())

    @pytest.mark.parametrize(
        ("limits", "broken"),
        [
            ({"minimum": 2, "maximum": 1}, "bad corridor"),
            ({"maximum": TOP + 1}, "bad corridor"),
            ({"max_step_up": TOP + 1}, "step limit too large"),
            ({"max_step_down": TOP + 1}, "step limit too large"),
            ({"drift_budget": TOP + 1}, "drift budget too large"),
            ({"cooldown": YEAR + 1}, "longer than a year"),
            ({"drift_window": YEAR + 1}, "longer than a year"),
            ({"notice": YEAR + 1}, "longer than a year"),
            ({"coupled": 0b1_0000}, "unknown coupling"),
            ({"coupled": 2**255}, "unknown coupling"),
        ],
    )
    def test_store__limit_out_of_bounds__reverts_naming_parameter_and_rule(self, guard, limits, broken):
        with reverting(registry_rule(2, broken)):
            guard.registry.store(guard.policy.limit({2: limits}).blob())

    def test_store__limits_at_their_bounds__succeeds(self, guard):
        sizes = dict.fromkeys(("maximum", "max_step_up", "max_step_down", "drift_budget"), TOP)
        seconds = dict.fromkeys(("cooldown", "drift_window", "notice"), YEAR)
        guard.registry.store(guard.policy.limit({2: sizes | seconds | {"minimum": TOP, "coupled": 0b1111}}).blob())

    @pytest.mark.parametrize("position", [(3, 0), (255, 0), (2, 32), (2, 255)])
    def test_store__position_that_does_not_exist__reverts(self, guard, position):
        positions = (*guard.policy.positions[:3], position)
        with reverting(registry_rule(3, "unknown read")):
            guard.registry.store(replace(guard.policy, positions=positions).blob())

    def test_store__boolean_that_is_none__reverts(self, guard):
        blob = bytearray(guard.policy.blob())
        blob[320 + 4 * 32 + 31] = 2
        with reverting(b""):
            guard.registry.store(bytes(blob))


class TestInForce:
    def test_set_policy__event_and_view__name_it(self, guard):
        stored = guard.registry.store(guard.policy.limit({3: {"maximum": 700}}).blob())
        guard.steward.set_policy(guard.market, stored, sender=guard.governance)
        event = guard.steward.get_logs()[-1]
        assert (event.market, event.policy) == (guard.market, stored)
        assert guard.steward.policy_of(guard.market) == stored == guard.state().policy

    def test_set_policy__not_stored_at_the_registry__reverts(self, guard, deployers):
        elsewhere = deployers["policy_registry"].deploy().store(guard.policy.blob())
        for address in (elsewhere, guard.knobs.address, "0x" + "00" * 20):
            with reverting("risk_steward: policy not stored"):
                guard.steward.set_policy(guard.market, address, sender=guard.governance)

    @pytest.mark.parametrize(
        ("limits", "broken"), [({"minimum": 601}, "below corridor"), ({"maximum": 599}, "above corridor")]
    )
    def test_set_policy__corridor_past_the_live_value__reverts(self, guard, limits, broken):
        """It would let nothing through any more, not even a rollback."""
        with reverting(f"risk_steward: parameter 3: {broken}"):
            guard.limit({3: limits})
        guard.limit({3: {"minimum": 600, "maximum": 600}})

    def test_set_policy__invariant_that_live_values_break__reverts(self, guard):
        with reverting("risk_steward: invariant 0 broken"):
            guard.limit({}, invariants=((3, 1, 2, 1),))

    def test_set_policy__active_market_with_fewer_parameters__reverts(self, guard):
        fewer = replace(guard.policy, parameters=guard.policy.parameters[:3], positions=guard.policy.positions[:3])
        with reverting("risk_steward: reads other values"):
            guard.put(replace(fewer, invariants=()))

    def test_set_policy__active_market_read_by_getters_that_answer_otherwise__reverts(self, guard):
        with reverting("risk_steward: reads other values"):
            guard.limit({}, positions=((0, 0), (1, 0), (2, 2), (2, 2)))

    def test_set_policy__active_market_read_by_other_getters_with_the_same_answers__succeeds(self, guard):
        guard.limit({}, positions=((2, 0), (2, 1), (2, 2), (2, 3)))
        guard.apply({0: 110, 1: 100, 3: 650})
        assert guard.state().values == [110, 100, 500, 650]

    def test_set_policy__market_that_is_not_active__may_change_everything(self, guard):
        guard.put(guard.policy, OTHER)
        one = replace(guard.policy, parameters=(Parameter(),), positions=((2, 3),), invariants=())
        guard.activate(OTHER, one)
        assert guard.state(OTHER).values == [600]

    def test_set_policy__cooldowns_and_budgets_used__are_not_forgotten(self, guard, refused):
        guard.apply({3: 650})
        guard.limit({3: {"max_step_up": 300}})
        refused("risk_steward: parameter 3: cooldown not over", {3: 660})

    def test_set_policy__longer_probation__holds_for_the_current_version(self, guard):
        guard.apply({3: 650})
        boa.env.time_travel(seconds=7_200)
        guard.limit({}, probation=7_201)
        assert guard.state().good_sequence == 0
        guard.rollback({3: 600})

    def test_set_policy__retired_market__reverts(self, guard):
        guard.steward.retire(guard.market, sender=guard.governance)
        with reverting("risk_steward: market retired"):
            guard.put(guard.policy)
