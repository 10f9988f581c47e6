"""What owns real protocols: a Safe, from its published bytecode, that has the steward as a module."""

from dataclasses import replace

import boa
import pytest
from eth_abi import decode
from policies import PROBATION, Setter, Value
from reverts import reverting, rule
from safe import deploy_safe
from stewards import INITIAL

CHANGE, BACK = {3: 650}, {3: 600}


@pytest.fixture
def safe(guard):
    """The owner of the knobs, with the steward as a module that the policy names as executor."""
    safe = deploy_safe(boa.env.generate_address())
    guard.knobs.set_owner(safe.address)
    safe.enable_module(guard.steward.address)
    guard.put(replace(guard.policy, executor=str(safe.address)))
    return safe


@pytest.mark.usefixtures("safe")
class TestThroughTheSafe:
    def test_apply__owner_is_the_safe__reaches_the_protocol(self, guard):
        guard.apply({0: 110, 1: 100, 3: 650})
        assert guard.knobs.all_knobs() == [110, 100, 500, 650]
        assert guard.state().sequence == 1

    def test_apply__each_call__is_made_by_the_safe_and_is_what_was_signed(self, guard, safe):
        """As without a Safe: neither who makes a call nor how is part of its hash."""
        message = guard.message({2: 510, 3: 650})
        guard.send("apply", message)
        assert message.calls == (guard.call(2, 510), guard.call(3, 650))
        assert [to for to, _ in guard.made()] == [str(safe.address)] * 2
        executed = [decode(["address", "uint256", "bytes", "uint8"], data[4:]) for _, data in guard.made()]
        assert executed == [(target.lower(), 0, data, 0) for target, data in message.calls]

    def test_apply__setter_of_several_parameters__goes_through_the_safe(self, guard, safe):
        policy = replace(guard.policy, executor=str(safe.address), setters=(guard.all_at_once,))
        guard.put(policy)
        guard.apply({2: 510, 3: 650})
        assert guard.knobs.all_knobs() == [100, 100, 510, 650]

    def test_rollback__owner_is_the_safe__restores(self, guard):
        guard.apply(CHANGE)
        boa.env.time_travel(seconds=PROBATION - 1)
        guard.rollback(BACK)
        assert guard.knobs.all_knobs() == list(INITIAL)

    def test_apply__protocol_refuses__passes_its_reason_through_the_safe(self, refused):
        refused("knobs: refused", {3: 666})

    def test_apply__protocol_refuses_without_reason__says_so(self, guard, refused):
        guard.knobs.set_mute(True, False)
        refused(rule(3, "call failed"), CHANGE)

    def test_apply__protocol_refuses_with_a_very_long_reason__passes_the_beginning_on(self, guard, refused):
        guard.knobs.set_mute(False, True)
        refused(bytes(512), CHANGE)

    def test_apply__setter_that_returns_more_than_anyone_reads__succeeds(self, guard, safe):
        turn = Setter(str(guard.knobs.address), "turn_at_length(uint256,uint256)", (3, Value(3)))
        guard.put(replace(guard.policy, executor=str(safe.address), setters=(*guard.policy.setters[:3], turn)))
        guard.apply(CHANGE)
        assert guard.knobs.knob(3) == 650

    def test_apply__setter_clamps__reverts(self, guard, refused):
        guard.knobs.set_ceiling(620)
        refused(rule(3, "value not in place"), CHANGE)

    def test_apply__other_calls_than_signed__reverts(self, guard, refused):
        foreign = guard.call(3, 650, "other(uint256,uint256)")
        refused("risk_steward: other calls than signed", CHANGE, calls=(foreign,))

    def test_apply__setter_calls_back__has_no_effect(self, guard):
        inside = guard.message(CHANGE)
        data = guard.steward.submit.prepare_calldata(*guard.submission("apply", inside))
        guard.knobs.reenter(guard.steward.address, data)
        guard.apply({2: 510})
        assert tuple(guard.knobs.outcomes(0)) == (False, b"")
        assert guard.knobs.all_knobs() == [100, 100, 510, 600]


def test_apply__module_disabled__reverts_with_the_safe_s_reason_until_it_is_enabled_again(guard, safe, refused):
    safe.disable_module(guard.steward.address)
    refused("GS104", CHANGE)
    safe.enable_module(guard.steward.address)
    guard.apply(CHANGE)


@pytest.mark.usefixtures("safe")
def test_apply__policy_without_executor__is_refused_by_the_protocol(guard, refused):
    guard.put(guard.policy)
    refused("knobs: not the owner", CHANGE)


def test_store__setter_at_the_safe_itself__reverts(guard, safe):
    own = Setter(str(safe.address), "enableModule(address)", (Value(3),))
    setters = (*guard.policy.setters[:3], own)
    policy = replace(guard.policy, executor=str(safe.address), setters=setters)
    with reverting("policy_registry: target is the executor"):
        guard.registry.store(policy.blob())


def test_execute__owner_takes_the_protocol_back__without_the_steward(guard, safe):
    """The steward is a guest in the Safe: its owners need nobody's leave."""
    heir = boa.env.generate_address()
    safe.execute(guard.knobs.address, guard.knobs.set_owner.prepare_calldata(heir))
    assert guard.knobs.owner() == heir
