"""Which policies can be stored, and which of those governance can put into force."""

from dataclasses import replace

import boa
import pytest
from attestations import make_signers
from eth_utils import keccak
from policies import (
    FRAME_SIZE,
    HEALTH_ABOVE,
    HEALTH_NONE,
    HEALTH_TRUE,
    QUORUM_AT,
    RULES_AT,
    Health,
    Parameter,
    Policy,
    Setter,
    Value,
    overwrite,
    selector,
)
from reverts import reverting
from stewards import INITIAL, TURN, load_target

OTHERWISE = "risk_steward: reads otherwise"
OTHER = b"other".ljust(32)
YEAR = 366 * 86_400
MONTH = 30 * 86_400
TOP = 2**128 - 1
SIZE = "policy_registry: wrong size"
ORDER = "policy_registry: signers not strictly ascending"
RANGE = "policy_registry: threshold out of range"


def registry_rule(id_, broken):
    return f"policy_registry: parameter {id_}: {broken}"


def addresses(count):
    return tuple(signer.address for signer in make_signers(count))


@pytest.fixture
def largest():
    """A policy with as many records as there can be, each as long as it can be."""
    target = str(load_target("wide", 100).address)
    reads = [(target, selector("all_values()").ljust(100, b"\0"))] * 16
    two = "turn_two(uint256,uint256,uint256,uint256,uint256[8])"
    arguments = [(id_, Value(id_), id_ + 1, Value(id_ + 1), *[2**256 - 1] * 8) for id_ in range(0, 16, 2)]
    return Policy(
        parameters=(Parameter(),) * 16,
        positions=tuple((index, index) for index in range(16)),
        reads=tuple(reads),
        setters=tuple(Setter(target, two, words) for words in arguments),
        quorum=(16, addresses(16)),
        invariants=((14, 1, 15, 1),) * 16,
        health=Health(target, "values(uint256)", HEALTH_ABOVE, 31),
    )


class TestStored:
    def test_store__policy__stands_as_code_that_cannot_run(self, guard):
        stored = guard.registry.store(guard.policy.blob())
        assert boa.env.get_code(stored) == b"\0" + guard.policy.blob()
        assert guard.registry.is_stored(stored)

    def test_store__again__gives_the_same_address_and_other_content_another(self, guard):
        stored = guard.registry.store(guard.policy.blob())
        assert guard.registry.store(guard.policy.blob()) == stored
        other = guard.registry.store(guard.policy.limit({0: {"max_step_up": 299}}).blob())
        assert other != stored
        digest = keccak(bytes.fromhex("600b5981380380925939f300") + guard.policy.blob())
        expected = keccak(b"\xff" + bytes.fromhex(guard.registry.address[2:]) + bytes(32) + digest)[-20:]
        assert bytes.fromhex(stored[2:]) == expected

    def test_store__by_anyone__changes_nothing_at_the_steward(self, guard):
        before = guard.steward.policy_of(guard.market)
        with boa.env.prank(boa.env.generate_address()):
            stored = guard.registry.store(guard.policy.blob())
            event = guard.registry.get_logs()[-1]
            assert (event.policy, event.author) == (stored, boa.env.eoa)
        assert guard.steward.policy_of(guard.market) == before

    def test_views__stored_policy__answer_its_records(self, guard):
        health = Health(str(guard.knobs.address), "knob(uint256)", HEALTH_TRUE, 3)
        first, second, *_ = guard.policy.setters
        rest = Setter(first.target, "turn_two(uint256,uint256,uint256)", (Value(3), 2**256 - 1, Value(2)))
        policy = replace(guard.policy, health=health, setters=(first, second, rest))
        stored, registry = guard.registry.store(policy.blob()), guard.registry
        assert tuple(registry.policy_at(stored)) == policy.frame()
        assert [tuple(registry.parameter(stored, id_)) for id_ in range(4)] == [p.fields() for p in policy.parameters]
        assert [tuple(registry.read(stored, index)) for index in range(3)] == list(policy.reads)
        assert [tuple(registry.setter(stored, index)) for index in range(3)] == [s.fields() for s in policy.setters]
        assert tuple(registry.invariant(stored, 0)) == policy.invariants[0]
        assert registry.quorum(stored) == (2, list(policy.quorum[1]))

    @pytest.mark.parametrize(("view", "count"), [("parameter", 4), ("read", 3), ("setter", 4), ("invariant", 1)])
    def test_views__beyond_the_last_record__revert(self, guard, view, count):
        stored = guard.steward.policy_of(guard.market)
        getattr(guard.registry, view)(stored, count - 1)
        for index in (count, 2**256 - 1):
            with reverting(f"policy_registry: unknown {view}"):
                getattr(guard.registry, view)(stored, index)

    def test_views__address_that_is_not_stored__revert(self, guard):
        registry = guard.registry
        for address in (guard.knobs.address, boa.env.generate_address()):
            for view in (registry.policy_at, registry.quorum):
                with reverting("policy_registry: not stored here"):
                    view(address)
            for view in (registry.parameter, registry.read, registry.setter, registry.invariant):
                with reverting("policy_registry: not stored here"):
                    view(address, 0)

    def test_set_policy__largest_policy__works(self, guard, largest, refused):
        assert len(largest.blob()) == 11_872
        guard.activate(OTHER, largest)
        registry, stored = guard.registry, guard.steward.policy_of(OTHER)
        assert registry.quorum(stored) == (16, list(addresses(16)))
        assert tuple(registry.setter(stored, 7)) == largest.setters[7].fields()
        assert tuple(registry.invariant(stored, 15)) == largest.invariants[15]
        message = guard.message({1: 110, 6: 90}, market=OTHER)
        signers = make_signers(16)
        guard.send("apply", message, guard.domain.sign(message, signers))
        assert guard.made() == [largest.setters[0].call([100, 110]), largest.setters[3].call([100] * 6 + [90, 100])]
        assert guard.state(OTHER).values == [100, 110, *[100] * 4, 90, *[100] * 9]
        message = guard.message({14: 101}, market=OTHER)
        refused(
            "risk_steward: invariant 0 broken", {14: 101}, market=OTHER, signatures=guard.domain.sign(message, signers)
        )

    def test_store__longer_than_the_largest__reverts(self, guard, largest):
        with reverting(SIZE):
            guard.registry.store(largest.blob() + bytes(32))
        with reverting(b""):
            guard.registry.store(largest.blob() + bytes(64))


ONES = {
    "minimum": TOP,
    "maximum": TOP,
    "max_step_up": TOP,
    "max_step_down": TOP,
    "drift_budget": TOP,
    "drift_window": YEAR,
    "cooldown": YEAR,
    "notice": YEAR,
    "relative": True,
    "tightening_up": True,
    "reversible": True,
    "coupled": 0b1111,
}
ZEROS = dict.fromkeys(ONES, 0)


class TestRules:
    """Three words a parameter: each field has bits of its own, and so has each parameter."""

    def test_ones__fields__are_all_of_a_parameter(self):
        assert tuple(ONES) == Parameter.__slots__

    @pytest.mark.parametrize("field", [name for name in ONES if name != "minimum"])
    def test_parameter__one_field_at_its_largest_among_zeros__spills_into_no_other(self, guard, field):
        limits = ZEROS | {field: ONES[field]}
        stored = guard.registry.store(guard.policy.limit({2: limits}).blob())
        assert tuple(guard.registry.parameter(stored, 2)) == tuple(limits.values())

    @pytest.mark.parametrize("field", [name for name in ONES if name != "maximum"])
    def test_parameter__one_field_at_zero_among_the_largest__clears_no_other(self, guard, field):
        limits = ONES | {field: 0}
        stored = guard.registry.store(guard.policy.limit({2: limits}).blob())
        assert tuple(guard.registry.parameter(stored, 2)) == tuple(limits.values())

    @pytest.mark.parametrize(("other", "one"), [(ZEROS, ONES), (ONES, ZEROS)])
    @pytest.mark.parametrize("id_", [0, 1, 2, 3])
    def test_parameter__unlike_its_neighbours__touches_none_of_them(self, guard, id_, other, one):
        limits = dict.fromkeys(range(4), other) | {id_: one}
        stored = guard.registry.store(guard.policy.limit(limits).blob())
        found = [tuple(guard.registry.parameter(stored, index)) for index in range(4)]
        assert found == [tuple(limits[index].values()) for index in range(4)]

    @pytest.mark.parametrize("bit", [19, 20, 25, 30, 31])
    def test_store__bit_that_means_nothing__reverts_naming_the_parameter(self, guard, bit):
        for id_, at in ((0, RULES_AT + 2 * 32), (3, RULES_AT + 11 * 32)):
            word = guard.policy.parameters[id_].words()[2] | 1 << bit
            with reverting(registry_rule(id_, "unused bits set")):
                guard.registry.store(overwrite(guard.policy.blob(), at, word))

    @pytest.mark.parametrize("word", [12, 13, 14, 15, 47])
    def test_store__rules_of_a_parameter_that_is_not__reverts(self, guard, word):
        with reverting("policy_registry: rules beyond the last parameter"):
            guard.registry.store(overwrite(guard.policy.blob(), RULES_AT + word * 32, 1))


class TestQuorum:
    @pytest.mark.parametrize("count", [1, 2, 3, 15, 16])
    def test_quorum__signers__are_told_as_they_were_stored(self, guard, count):
        for threshold in {1, count}:
            stored = guard.registry.store(replace(guard.policy, quorum=(threshold, addresses(count))).blob())
            assert guard.registry.quorum(stored) == (threshold, list(addresses(count)))

    def test_store__largest_and_smallest_address__are_signers(self, guard):
        signers = ("0x" + "00" * 19 + "01", "0x" + "ff" * 20)
        stored = guard.registry.store(replace(guard.policy, quorum=(2, signers)).blob())
        assert [signer.lower() for signer in guard.registry.quorum(stored)[1]] == list(signers)

    @pytest.mark.parametrize(
        ("threshold", "count"), [(0, 3), (4, 3), (2**256 - 1, 3), (17, 16), (1, 0), (0, 0), (2**255 + 1, 3)]
    )
    def test_store__threshold_that_cannot_be_met_or_means_nothing__reverts(self, guard, threshold, count):
        with reverting(RANGE):
            guard.registry.store(replace(guard.policy, quorum=(threshold, addresses(count))).blob())

    @pytest.mark.parametrize("order", [(1, 0), (0, 0), (0, 2, 1), (0, 1, 1)])
    def test_store__signers_not_strictly_ascending__reverts(self, guard, order):
        signers = tuple(guard.quorum[1][index] for index in order)
        with reverting(ORDER):
            guard.registry.store(replace(guard.policy, quorum=(1, signers)).blob())

    @pytest.mark.parametrize("at", [0, 1])
    def test_store__gap_before_a_signer__reverts(self, guard, at):
        """Nobody, the zero address, can be no signer: a failed recovery must never meet it."""
        signers = [*guard.quorum[1]]
        signers.insert(at, "0x" + "00" * 20)
        with reverting(ORDER):
            guard.registry.store(replace(guard.policy, quorum=(1, tuple(signers))).blob())

    @pytest.mark.parametrize("word", [2**160, 2**255, 2**256 - 1])
    def test_store__signer_that_is_no_address__reverts(self, guard, word):
        with reverting("policy_registry: signer is no address"):
            guard.registry.store(overwrite(guard.policy.blob(), QUORUM_AT + 3 * 32, word))

    def test_set_policy__signers_replaced__sign_from_the_next_message_on(self, guard):
        message = guard.message({3: 650})
        guard.limit({}, quorum=(3, guard.quorum[1]))
        with reverting("risk_steward: too few signatures"):
            guard.send("apply", message)
        message = guard.message({3: 650})
        guard.send("apply", message, guard.domain.sign(message, guard.signers))


class TestSetters:
    @pytest.fixture
    def store(self, guard):
        """Store the policy with other setters, or with other words, by name, in the record of one."""

        def store(setters=None, index=3, **words):
            policy = replace(guard.policy, setters=tuple(setters or guard.policy.setters))
            blob = policy.blob()
            for name, word in words.items():
                at = ("target", "selector", "words", "writes", "sources").index(name)
                blob = overwrite(blob, policy.setter_at(index) + 32 * at, word)
            return guard.registry.store(blob)

        return store

    def test_store__setter_of_two_parameters__is_one_of_each(self, guard, store):
        first, second, *_ = guard.policy.setters
        both = Setter(first.target, TURN, (Value(2), Value(3)))
        for setters in ((first, second, both), (both, second, first), (guard.all_at_once,)):
            store(setters)

    @pytest.mark.parametrize("missing", [0, 1, 2, 3])
    def test_store__parameter_without_a_setter__reverts(self, guard, store, missing):
        setters = [item for index, item in enumerate(guard.policy.setters) if index != missing]
        with reverting("policy_registry: parameter without setter"):
            store(setters)

    def test_store__no_setters_at_all__reverts(self, guard):
        with reverting("policy_registry: parameter without setter"):
            guard.registry.store(replace(guard.policy, setters=()).blob())

    def test_store__parameter_with_two_setters__reverts(self, guard, store):
        setters = guard.policy.setters
        for more in (setters[0], guard.all_at_once, Setter(setters[0].target, "turn_up(uint256)", (Value(3),))):
            for both in ((*setters, more), (more, *setters)):
                with reverting("policy_registry: parameter with two setters"):
                    store(both)

    @pytest.mark.parametrize("id_", [4, 5, 15, 16, 254])
    def test_store__setter_of_unknown_parameter__reverts(self, store, id_):
        with reverting("policy_registry: setter of unknown parameter"):
            store(sources=255 | id_ << 8)

    @pytest.mark.parametrize("writes", [0, 0b100, 0b1100, 0b1_1000, 2**255 | 0b1000])
    def test_store__setter_that_does_not_write_what_it_says__reverts(self, store, writes):
        with reverting("policy_registry: setter does not write what it says"):
            store(writes=writes)

    def test_store__value_behind_the_last_word__is_not_written(self, store):
        with reverting("policy_registry: setter does not write what it says"):
            store(words=1)

    @pytest.mark.parametrize("words", [13, 2**255, 2**256 - 1])
    def test_store__more_words_than_a_call_has__reverts(self, store, words):
        with reverting("policy_registry: bad setter"):
            store(words=words)

    def test_store__twelve_words__are_as_many_as_there_can_be(self, guard, store):
        *others, last = guard.policy.setters
        store((*others, replace(last, arguments=(*[7] * 11, Value(3)))))

    def test_store__setter_without_code__reverts(self, store):
        with reverting("policy_registry: bad setter"):
            store(target=int(boa.env.generate_address(), 16))

    @pytest.mark.parametrize("words", [{"target": 2**160}, {"selector": 1}, {"selector": 2**223}])
    def test_store__address_or_selector_with_too_many_bits__reverts(self, store, words):
        with reverting(b""):
            store(**words)

    def test_store__setter_at_the_executor_itself__reverts(self, guard):
        """A module that may call its Safe could appoint modules and owners."""
        with reverting("policy_registry: target is the executor"):
            guard.registry.store(replace(guard.policy, executor=str(guard.knobs.address)).blob())


class TestRefused:
    @pytest.mark.parametrize("cut", [slice(0, 0), slice(0, 320), slice(0, FRAME_SIZE - 1), slice(0, FRAME_SIZE)])
    def test_store__shorter_than_a_policy_and_its_records__reverts(self, guard, cut):
        with reverting(SIZE):
            guard.registry.store(guard.policy.blob()[cut])

    @pytest.mark.parametrize("cut", [slice(0, -1), slice(0, -32), slice(0, -128)])
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
            ((1, 1, 9, 1), "too many setters"),
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

    def test_store__read_that_cannot_be_made__reverts(self, guard):
        first, *others = guard.policy.reads
        for bad in ((str(boa.env.generate_address()), first[1]), (first[0], first[1][:3]), (first[0], b"")):
            with reverting("policy_registry: bad read"):
                guard.registry.store(replace(guard.policy, reads=(*others, bad)).blob())

    @pytest.mark.parametrize("length", [101, 128, 129, 2**255])
    def test_store__read_with_more_data_than_it_has_room_for__reverts(self, guard, length):
        with reverting(b""):
            guard.registry.store(overwrite(guard.policy.blob(), FRAME_SIZE + 32, length))

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
            ({"minimum": TOP, "maximum": TOP - 1}, "bad corridor"),
            ({"cooldown": YEAR + 1}, "longer than a year"),
            ({"cooldown": 2**32 - 1}, "longer than a year"),
            ({"drift_window": YEAR + 60}, "longer than a year"),
            ({"notice": YEAR + 1}, "longer than a year"),
            ({"drift_window": 1}, "window not in minutes"),
            ({"drift_window": 59}, "window not in minutes"),
            ({"drift_window": YEAR - 1}, "window not in minutes"),
            ({"coupled": 0b1_0000}, "unknown coupling"),
            ({"coupled": 2**15}, "unknown coupling"),
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

    @pytest.mark.parametrize("field", [0, 7])
    def test_store__executor_or_health_target_that_is_no_address__reverts(self, guard, field):
        with reverting(b""):
            guard.registry.store(overwrite(guard.policy.blob(), 32 * field, 2**160))


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
        parts = {name: getattr(guard.policy, name)[:3] for name in ("parameters", "positions", "setters")}
        with reverting(OTHERWISE):
            guard.put(replace(guard.policy, invariants=(), **parts))

    def test_set_policy__active_market_read_otherwise__reverts_though_the_answers_are_the_same(self, guard):
        """A rollback would bring to one protocol, or to one parameter, what was proven at another."""
        twin = load_target("knobs", INITIAL)
        _, *others = guard.policy.reads
        for changes in (
            {"positions": ((2, 0), (2, 1), (2, 2), (2, 3))},
            {"positions": ((1, 0), (0, 0), (2, 2), (2, 3))},
            {"reads": ((str(twin.address), guard.policy.reads[0][1]), *others)},
            {"reads": ((guard.policy.reads[0][0], selector("all_knobs()")), *others)},
            {"reads": (*guard.policy.reads, guard.policy.reads[0])},
        ):
            with reverting(OTHERWISE):
                guard.limit({}, **changes)
        guard.steward.pause([guard.market], sender=guard.guardian)
        guard.limit({}, positions=((2, 0), (2, 1), (2, 2), (2, 3)))
        assert (guard.state().sequence, guard.state().values) == (1, list(INITIAL))

    def test_set_policy__market_that_is_not_active__may_change_everything(self, guard):
        guard.put(guard.policy, OTHER)
        setter = Setter(str(guard.knobs.address), TURN, (3, Value(0)))
        parts = {"parameters": (Parameter(),), "positions": ((2, 3),), "setters": (setter,)}
        one = replace(guard.policy, invariants=(), **parts)
        guard.activate(OTHER, one)
        assert guard.state(OTHER).values == [600]

    def test_set_policy__cooldowns_and_budgets_used__are_not_forgotten(self, guard, refused):
        guard.apply({3: 650})
        guard.limit({3: {"max_step_up": 300}})
        refused("risk_steward: parameter 3: cooldown not over", {3: 660})

    @pytest.mark.parametrize("proven", [True, False])
    def test_set_policy__longer_probation__holds_for_the_current_version_unless_that_is_proven(self, guard, proven):
        before = guard.state()
        boa.env.time_travel(seconds=1)
        guard.apply({3: 650})
        boa.env.time_travel(seconds=7_199 + proven)
        guard.limit({}, probation=7_202)
        state = guard.state()
        expected = (state.version_hash, state.applied_at) if proven else (before.good_hash, before.good_at)
        assert (state.good_hash, state.good_at) == expected
        boa.env.time_travel(seconds=1)
        assert guard.state().good_hash == expected[0]

    def test_set_policy__longer_probation__leaves_a_candidate_proven_that_was(self, guard):
        guard.apply({3: 650})
        candidate = guard.state().version_hash
        boa.env.time_travel(seconds=5_000)
        guard.apply({2: 510})
        boa.env.time_travel(seconds=2_200)
        assert guard.state().good_hash == candidate
        guard.limit({}, probation=14_400)
        assert guard.state().good_hash == candidate
        guard.apply({3: 660})
        guard.rollback({2: 500, 3: 650})
        assert guard.state().version_hash == candidate

    def test_set_policy__retired_market__reverts(self, guard):
        guard.steward.retire(guard.market, sender=guard.governance)
        with reverting("risk_steward: market retired"):
            guard.put(guard.policy)
