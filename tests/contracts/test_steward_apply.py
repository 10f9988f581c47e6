"""Each rule of `apply`: the change that it lets through beside the one that it refuses."""

import boa
import pytest
from eth_abi import encode
from eth_utils import keccak

COOLDOWN = 3_600
LIVE = [100, 100, 500, 600]


@pytest.fixture
def refused(guard):
    """Assert that a change is refused for a reason and leaves nothing behind."""

    def check(reason, changes, **overrides):
        before = guard.steward.market_state(guard.market)
        with boa.reverts(f"risk_steward: {reason}"):
            guard.apply(changes, **overrides)
        assert guard.steward.market_state(guard.market) == before

    return check


def test_apply__within_every_limit__changes_values_and_makes_a_version(guard):
    guard.apply({0: 110, 1: 95, 3: 650})
    steward, market = guard.steward, guard.market
    assert steward.values(market) == guard.knobs.all_knobs() == [110, 95, 500, 650]
    assert steward.sequence(market) == 1
    assert tuple(steward.version(market, 1)) == ([110, 95, 500, 650], boa.env.timestamp)
    assert [steward.last_changed(market, index) for index in range(4)] == [boa.env.timestamp] * 2 + [
        0,
        boa.env.timestamp,
    ]


def test_apply__event__names_market_sequence_context_values_and_new_hash(guard):
    guard.apply({3: 650})
    event = guard.steward.get_logs()[-1]
    assert (event.market, event.sequence, event.context) == (guard.market, 1, b"\x07" * 32)
    assert (event.values, event.state_hash) == ([100, 100, 500, 650], guard.steward.state_hash(guard.market))


def test_state_hash__live_values__are_bound_to_steward_chain_and_market(guard):
    types = ["address", "uint256", "bytes32", "uint256[]"]
    chain = boa.env.evm.patch.chain_id
    assert guard.steward.state_hash(guard.market) == keccak(
        encode(types, [guard.steward.address, chain, guard.market, LIVE])
    )


@pytest.mark.parametrize("who", ["governance", "guardian", "stranger"])
def test_apply__anyone_but_the_keeper__reverts(guard, who):
    sender = boa.env.generate_address() if who == "stranger" else getattr(guard, who)
    with boa.reverts("access_control: account is missing role"):
        guard.apply({3: 650}, sender=sender)


def test_apply__paused__reverts(guard):
    guard.steward.pause(sender=guard.guardian)
    with boa.reverts("pausable: contract is paused"):
        guard.apply({3: 650})
    guard.steward.unpause(sender=guard.governance)
    guard.apply({3: 650})


def test_apply__market_not_active__reverts(guard):
    other = keccak(b"other")
    guard.register(other)
    with boa.reverts("risk_steward: market not active"):
        guard.apply({3: 650}, market=other)


def test_apply__deadline_passed__reverts(guard, refused):
    refused("deadline passed", {3: 650}, deadline=boa.env.timestamp - 1)
    guard.apply({3: 650}, deadline=boa.env.timestamp)


@pytest.mark.parametrize("sequence", [0, 2])
def test_apply__wrong_sequence__reverts(refused, sequence):
    refused("wrong sequence", {3: 650}, sequence=sequence)


def test_apply__same_call_twice__reverts(guard):
    arguments = guard.arguments({3: 650})
    guard.steward.apply(*arguments, sender=guard.keeper)
    with boa.reverts("risk_steward: wrong sequence"):
        guard.steward.apply(*arguments, sender=guard.keeper)


def test_apply__protocol_changed_since__reverts(guard, refused):
    computed_for = guard.steward.state_hash(guard.market)
    guard.knobs.turn(2, 501)
    refused("state has changed", {3: 650}, state_hash=computed_for)
    guard.apply({3: 650})


@pytest.mark.parametrize("changes", [[(3, 610), (3, 700)], [(3, 610), (2, 510)]])
def test_apply__ids_not_strictly_ascending__reverts(refused, changes):
    refused("ids not strictly ascending", changes)


def test_apply__unknown_id__reverts(refused):
    refused("unknown parameter", {4: 1}, calls=[])


def test_apply__corridor_edges__are_allowed_and_beyond_refused(guard, refused):
    guard.steward.set_limits(guard.market, 2, (450, 550, 100, 100, 0), sender=guard.governance)
    refused("value below corridor", {2: 449})
    refused("value above corridor", {2: 551})
    guard.apply({2: 450})
    guard.apply({2: 550})


def test_apply__unchanged_value_outside_corridor__reverts(guard, refused):
    guard.knobs.turn(2, 1_001)
    guard.knobs.turn(3, 1_001)
    refused("value above corridor", {2: 1_001, 3: 1_000})


def test_apply__step_edges__are_allowed_and_beyond_refused(guard, refused):
    refused("step too large", {0: 121, 1: 100})
    refused("step too large", {0: 100, 1: 89})
    guard.apply({0: 120, 1: 90})


def test_apply__step_is_measured_from_the_live_value__not_the_last_version(guard, refused):
    guard.knobs.turn(2, 400)
    refused("step too large", {2: 501})
    guard.apply({2: 500})


def test_apply__within_cooldown__reverts_and_succeeds_when_over(guard, refused):
    guard.apply({3: 650})
    boa.env.time_travel(seconds=COOLDOWN - 1)
    refused("cooldown not over", {3: 700})
    boa.env.time_travel(seconds=1)
    guard.apply({3: 700})


def test_apply__within_cooldown__other_parameters_and_unchanged_values_are_free(guard):
    guard.apply({0: 110, 1: 100})
    guard.apply({3: 650})
    guard.apply({0: 110, 1: 105})
    assert guard.steward.values(guard.market) == [110, 105, 500, 650]


def test_apply__part_of_a_group__reverts(refused):
    refused("group incomplete", {0: 110})
    refused("group incomplete", {1: 110, 2: 510})


def test_apply__whole_group_with_one_value_kept__succeeds(guard):
    guard.apply({0: 110, 1: 100})
    assert guard.steward.values(guard.market)[:2] == [110, 100]


@pytest.mark.parametrize("changes", [{}, {2: 500}, {0: 100, 1: 100}])
def test_apply__nothing_changes__reverts(refused, changes):
    refused("nothing changes", changes)


def test_apply__invariant_edge__is_allowed_and_beyond_refused(guard, refused):
    refused("invariant broken", {2: 561, 3: 560})
    guard.apply({2: 560, 3: 560})


def test_apply__call_not_whitelisted__reverts(guard, refused):
    refused("call not allowed", {3: 650}, calls=[guard.call(3, 650, "other")])
    refused("call not allowed", {3: 650}, calls=[(guard.steward.address, guard.call(3, 650)[1])])


def test_apply__call_whitelisted_for_another_market__reverts(guard, refused):
    allow = guard.steward.allow_call
    allow(keccak(b"other"), guard.knobs.address, guard.selector("other"), True, sender=guard.governance)
    refused("call not allowed", {3: 650}, calls=[guard.call(3, 650, "other")])


def test_apply__call_no_longer_allowed__reverts(guard, refused):
    guard.steward.allow_call(guard.market, guard.knobs.address, guard.selector(), False, sender=guard.governance)
    refused("call not allowed", {3: 650})


@pytest.mark.parametrize("length", [0, 3])
def test_apply__call_shorter_than_a_selector__reverts(guard, refused, length):
    refused("call without selector", {3: 650}, calls=[(guard.knobs.address, guard.selector()[:length])])


def test_apply__no_call_made__reverts(refused):
    refused("value not in place", {3: 650}, calls=[])


def test_apply__call_sets_another_value__reverts(guard, refused):
    refused("value not in place", {3: 650}, calls=[guard.call(3, 651)])


def test_apply__setter_clamps__reverts(guard, refused):
    guard.knobs.set_ceiling(520)
    refused("value not in place", {2: 530})
    guard.apply({2: 520})


def test_apply__one_of_two_clamped__reverts_both(guard, refused):
    guard.knobs.set_ceiling(110)
    refused("value not in place", {0: 105, 1: 115})
    assert guard.knobs.all_knobs() == LIVE


def test_apply__setter_moves_an_untouched_parameter__reverts(guard, refused):
    guard.knobs.set_side_effect(1)
    refused("untouched parameter moved", {2: 510})


def test_apply__setter_moves_a_named_but_kept_parameter__reverts(guard, refused):
    refused("untouched parameter moved", {0: 110, 1: 100}, calls=[guard.call(0, 110), guard.call(1, 101)])


def test_apply__setter_reverts__passes_its_reason_on_and_undoes_earlier_calls(guard):
    calls = [guard.call(2, 510), guard.call(3, 666)]
    with boa.reverts(vm_error="knobs: refused"):
        guard.apply({2: 510, 3: 666}, calls=calls)
    assert guard.knobs.all_knobs() == LIVE
    assert guard.steward.sequence(guard.market) == 0


def test_apply__setter_reverts_without_reason__says_so(guard, refused):
    guard.knobs.set_mute(True)
    refused("call failed", {3: 650})


def test_apply__getter_reverts__reverts(guard):
    arguments = guard.arguments({2: 510})
    guard.knobs.set_broken(True)
    with boa.reverts("risk_steward: getter failed"):
        guard.steward.apply(*arguments, sender=guard.keeper)


def test_apply__setter_breaks_its_getter__reverts(guard):
    saboteur = boa.loads(
        """
knob: uint256
broken: bool

@external
@view
def get() -> uint256:
    if self.broken:
        raw_revert(b"")
    return self.knob

@external
def turn(index: uint256, to: uint256):
    self.knob = to
    self.broken = True
"""
    )
    market = activate_one(guard, saboteur, "get()")
    with boa.reverts("risk_steward: getter failed"):
        guard.apply({0: 1}, market=market, calls=[(saboteur.address, guard.call(0, 1)[1])])


def test_apply__getter_lies_about_the_new_value__reverts(guard):
    liar = boa.loads(
        """
knob: public(uint256)

@external
@view
def get() -> uint256:
    return 0

@external
def turn(index: uint256, to: uint256):
    self.knob = to
"""
    )
    market = activate_one(guard, liar, "get()")
    with boa.reverts("risk_steward: value not in place"):
        guard.apply({0: 1}, market=market, calls=[(liar.address, guard.call(0, 1)[1])])
    assert liar.knob() == 0


def test_apply__setter_calls_apply_again__has_no_effect(guard):
    """The lock makes the inner call fail; without it one change would count as two versions."""
    steward = guard.steward
    steward.grantRole(steward.KEEPER_ROLE(), guard.knobs.address, sender=guard.governance)
    arguments = guard.arguments({3: 650})
    guard.knobs.set_reentry(steward.address, steward.apply.prepare_calldata(*arguments))
    steward.apply(*arguments, sender=guard.keeper)
    assert steward.sequence(guard.market) == 1


def test_apply__setter_calls_rollback__has_no_effect(guard):
    steward = guard.steward
    steward.grantRole(steward.KEEPER_ROLE(), guard.knobs.address, sender=guard.governance)
    guard.apply({2: 510})
    inner = guard.arguments({}, state_hash=guard.steward.state_hash(guard.market), calls=[guard.call(2, 500)])
    data = steward.rollback.prepare_calldata(*inner[:3], *inner[4:])
    boa.env.time_travel(seconds=COOLDOWN)
    guard.knobs.set_reentry(steward.address, data)
    guard.apply({3: 650})
    assert (steward.sequence(guard.market), guard.knobs.all_knobs()) == (2, [100, 100, 510, 650])


def activate_one(guard, target, getter):
    """A market with one parameter, read from `target` and set by its `turn`."""
    market, steward = keccak(getter.encode() + target.address.canonical_address), guard.steward
    policy = (target.address, keccak(text=getter)[:4], 0, 0, 10, 10, 10, 0, True, 0)
    with boa.env.prank(guard.governance):
        steward.add_parameter(market, policy)
        steward.allow_call(market, target.address, guard.selector(), True)
        steward.activate(market, 1)
    return market
