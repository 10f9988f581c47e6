"""Who may register, limit, activate and pause, and what a keeper can read."""

import boa
import pytest
from eth_utils import keccak

OTHER = keccak(b"other")
SINGLE = {"minimum": 0, "maximum": 1_000, "max_step_up": 100, "max_step_down": 100, "group": 0}


def test_deploy__governance__is_the_only_admin(guard):
    admin = guard.steward.DEFAULT_ADMIN_ROLE()
    assert guard.steward.hasRole(admin, guard.governance)
    assert not guard.steward.hasRole(admin, boa.env.eoa)


def test_deploy__by_governance_itself__keeps_its_role(deployers):
    steward = deployers["risk_steward"].deploy(boa.env.eoa)
    assert steward.hasRole(steward.DEFAULT_ADMIN_ROLE(), boa.env.eoa)


def test_deploy__zero_governance__reverts(deployers):
    with boa.reverts("risk_steward: zero governance"):
        deployers["risk_steward"].deploy("0x" + "00" * 20)


@pytest.mark.parametrize("who", ["keeper", "guardian"])
def test_governance_functions__anyone_else__revert(guard, who):
    steward, market, target = guard.steward, guard.market, guard.knobs.address
    with boa.env.prank(getattr(guard, who)):
        for function, arguments in (
            (steward.add_parameter, (OTHER, guard.policy(0, **SINGLE))),
            (steward.set_limits, (market, 3, (0, 1_000, 1, 1, 1))),
            (steward.allow_call, (market, target, b"abcd", True)),
            (steward.add_invariant, (market, 2, 3)),
            (steward.activate, (OTHER, 1)),
            (steward.rebase, (market,)),
            (steward.unpause, ()),
        ):
            with boa.reverts("access_control: account is missing role"):
                function(*arguments)


def test_unpause__guardian_of_a_paused_steward__reverts(guard):
    guard.steward.pause(sender=guard.guardian)
    with boa.reverts("access_control: account is missing role"):
        guard.steward.unpause(sender=guard.guardian)
    guard.steward.unpause(sender=guard.governance)
    assert not guard.steward.paused()


@pytest.mark.parametrize("who", ["keeper", "governance"])
def test_pause__anyone_but_the_guardian__reverts(guard, who):
    with boa.reverts("access_control: account is missing role"):
        guard.steward.pause(sender=getattr(guard, who))


def test_add_parameter__before_activation__numbers_from_zero(guard):
    with boa.env.prank(guard.governance):
        ids = [guard.steward.add_parameter(OTHER, guard.policy(index, **SINGLE)) for index in (0, 1)]
    assert ids == [0, 1]
    assert guard.steward.parameter_count(OTHER) == 2
    assert tuple(guard.steward.policy(OTHER, 1)) == guard.policy(1, **SINGLE)


def test_add_parameter__after_activation__reverts(guard):
    with boa.reverts("risk_steward: market already active"):
        guard.steward.add_parameter(guard.market, guard.policy(0, **SINGLE), sender=guard.governance)


def test_add_parameter__empty_corridor__reverts(guard):
    with boa.reverts("risk_steward: empty corridor"):
        guard.steward.add_parameter(OTHER, guard.policy(0, **{**SINGLE, "minimum": 1_001}), sender=guard.governance)


def test_add_parameter__word_out_of_range__reverts(guard):
    policy = list(guard.policy(0, **SINGLE))
    policy[2] = 32
    with boa.reverts("risk_steward: word out of range"):
        guard.steward.add_parameter(OTHER, policy, sender=guard.governance)


def test_add_parameter__seventeenth__reverts(guard):
    with boa.env.prank(guard.governance):
        for _ in range(16):
            guard.steward.add_parameter(OTHER, guard.policy(0, **SINGLE))
        with boa.reverts("risk_steward: too many parameters"):
            guard.steward.add_parameter(OTHER, guard.policy(0, **SINGLE))


def test_activate__live_values__become_version_zero(guard):
    guard.register(OTHER)
    guard.steward.activate(OTHER, 60, sender=guard.governance)
    assert tuple(guard.steward.version(OTHER, 0)) == ([100, 100, 500, 600], boa.env.timestamp)
    assert (guard.steward.probation(OTHER), guard.steward.is_active(OTHER)) == (60, True)


def test_activate__twice__reverts(guard):
    with boa.reverts("risk_steward: market already active"):
        guard.steward.activate(guard.market, 60, sender=guard.governance)


@pytest.mark.parametrize("probation", [1, 30 * 86_400])
def test_activate__probation_at_its_bounds__succeeds(guard, probation):
    guard.register(OTHER)
    guard.steward.activate(OTHER, probation, sender=guard.governance)
    assert guard.steward.probation(OTHER) == probation


@pytest.mark.parametrize("probation", [0, 30 * 86_400 + 1, 2**256 - 1])
def test_activate__probation_beyond_its_bounds__reverts(guard, probation):
    guard.register(OTHER)
    with boa.reverts("risk_steward: probation out of range"):
        guard.steward.activate(OTHER, probation, sender=guard.governance)


def test_activate__no_parameters__reverts(guard):
    with boa.reverts("risk_steward: no parameters"):
        guard.steward.activate(OTHER, 60, sender=guard.governance)


def test_activate__live_value_outside_corridor__reverts(guard):
    guard.register(OTHER)
    guard.knobs.turn(3, 1_001)
    with boa.reverts("risk_steward: value above corridor"):
        guard.steward.activate(OTHER, 60, sender=guard.governance)


def test_activate__live_values_break_an_invariant__reverts(guard):
    guard.register(OTHER)
    guard.knobs.turn(3, 499)
    with boa.reverts("risk_steward: invariant broken"):
        guard.steward.activate(OTHER, 60, sender=guard.governance)


def test_activate__getter_answers_too_few_words__reverts(guard):
    policy = list(guard.policy(1, **SINGLE))
    policy[2] = 4
    guard.steward.add_parameter(OTHER, policy, sender=guard.governance)
    with boa.reverts("risk_steward: getter failed"):
        guard.steward.activate(OTHER, 60, sender=guard.governance)


def test_activate__target_without_code__reverts(guard):
    policy = (boa.env.generate_address(), *guard.policy(0, **SINGLE)[1:])
    guard.steward.add_parameter(OTHER, policy, sender=guard.governance)
    with boa.reverts("risk_steward: getter failed"):
        guard.steward.activate(OTHER, 60, sender=guard.governance)


def test_set_limits__live_value_inside__replaces_them(guard):
    guard.steward.set_limits(guard.market, 3, (600, 600, 1, 2, 3), sender=guard.governance)
    assert tuple(guard.steward.policy(guard.market, 3))[3:8] == (600, 600, 1, 2, 3)


@pytest.mark.parametrize(("minimum", "maximum"), [(601, 700), (0, 599), (700, 500)])
def test_set_limits__live_value_outside__reverts(guard, minimum, maximum):
    with boa.reverts("risk_steward: live value outside corridor"):
        guard.steward.set_limits(guard.market, 3, (minimum, maximum, 1, 1, 1), sender=guard.governance)


def test_set_limits__unknown_parameter__reverts(guard):
    with boa.reverts("risk_steward: unknown parameter"):
        guard.steward.set_limits(guard.market, 4, (0, 1, 1, 1, 1), sender=guard.governance)


def test_allow_call__own_address__reverts(guard):
    with boa.reverts("risk_steward: target is the steward"):
        guard.steward.allow_call(OTHER, guard.steward.address, b"abcd", True, sender=guard.governance)


def test_allow_call__address_without_code__reverts(guard):
    with boa.reverts("risk_steward: target is no contract"):
        guard.steward.allow_call(OTHER, boa.env.generate_address(), b"abcd", True, sender=guard.governance)


def test_allow_call__one_selector__leaves_others_and_other_markets_forbidden(guard):
    target = guard.knobs.address
    guard.steward.allow_call(OTHER, target, b"abcd", True, sender=guard.governance)
    allowed = guard.steward.is_call_allowed
    assert allowed(OTHER, target, b"abcd")
    assert not allowed(OTHER, target, b"abce")
    assert not allowed(guard.market, target, b"abcd")


@pytest.mark.parametrize(("a", "b"), [(4, 3), (2, 4)])
def test_add_invariant__unknown_parameter__reverts(guard, a, b):
    with boa.reverts("risk_steward: unknown parameter"):
        guard.steward.add_invariant(guard.market, a, b, sender=guard.governance)


def test_add_invariant__broken_by_live_values__reverts(guard):
    with boa.reverts("risk_steward: invariant broken"):
        guard.steward.add_invariant(guard.market, 3, 2, sender=guard.governance)


def test_add_invariant__seventeenth__reverts(guard):
    with boa.env.prank(guard.governance):
        for _ in range(15):
            guard.steward.add_invariant(guard.market, 2, 3)
        with boa.reverts("risk_steward: too many invariants"):
            guard.steward.add_invariant(guard.market, 2, 3)
    assert [tuple(item) for item in guard.steward.invariants(guard.market)] == [(2, 3)] * 16


def test_policy__unknown__reverts(guard):
    with boa.reverts("risk_steward: unknown parameter"):
        guard.steward.policy(guard.market, 4)


def test_version__not_yet_made__reverts(guard):
    with boa.reverts("risk_steward: unknown version"):
        guard.steward.version(guard.market, 1)
    with boa.reverts("risk_steward: market not active"):
        guard.steward.version(OTHER, 0)


def test_market_state__one_call__agrees_with_every_view(guard):
    guard.apply({0: 110, 1: 110})
    guard.steward.pause(sender=guard.guardian)
    steward, market = guard.steward, guard.market
    state = steward.market_state(market)
    policies = [steward.policy(market, index) for index in range(4)]
    assert (state.sequence, state.paused) == (1, True)
    assert state.state_hash == steward.state_hash(market)
    assert state.values == steward.values(market) == [110, 110, 500, 600]
    assert state.last_good == steward.last_good(market)[1] == [100, 100, 500, 600]
    assert state.last_changed == [steward.last_changed(market, index) for index in range(4)]
    for field in ("minimum", "maximum", "max_step_up", "max_step_down", "cooldown", "group", "tightening_up"):
        assert getattr(state, field) == [getattr(policy, field) for policy in policies]
