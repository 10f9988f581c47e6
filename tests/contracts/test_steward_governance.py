"""What governance and the guardian may do and nobody else, and what neither can."""

from dataclasses import replace

import boa
import pytest
from policies import Setter, Value
from reverts import all_storage, reverting, rule
from stewards import ACTIVE, COOLDOWN, INITIAL, PAUSED, RETIRED, TURN, load_target, memory

OTHER, THIRD = b"other".ljust(32), b"third".ljust(32)
NOBODY = "0x" + "00" * 20
MISSING = "access_control: account is missing role"
NOT_THAT_STATUS = "risk_steward: market not in that status"
MANY = "risk_steward: line is full"


def statuses(guard, *markets):
    return [guard.state(market).status for market in markets]


def set_sequence(guard, sequence):
    """Pretend that the market has had so many versions; returns the slot of its word."""
    steward = str(guard.steward.address)
    policy = int(guard.steward.policy_of(guard.market), 16)
    written = ((slot, word) for (address, slot), word in all_storage().items() if address == steward)
    ((slot, word),) = ((slot, word) for slot, word in written if word % 2**160 == policy)
    boa.env.set_storage(guard.steward.address, slot, word | sequence << 160)
    return slot


class TestDeploy:
    def test_deploy__governance__is_the_only_admin(self, guard):
        admin = guard.steward.DEFAULT_ADMIN_ROLE()
        assert guard.steward.hasRole(admin, guard.governance)
        assert not guard.steward.hasRole(admin, boa.env.eoa)

    def test_deploy__by_governance_itself__keeps_its_role(self, guard, deployers):
        steward = deployers["risk_steward"].deploy(boa.env.eoa, guard.registry.address)
        assert steward.hasRole(steward.DEFAULT_ADMIN_ROLE(), boa.env.eoa)

    def test_deploy__zero_governance__reverts(self, guard, deployers):
        with reverting("risk_steward: zero governance"):
            deployers["risk_steward"].deploy(NOBODY, guard.registry.address)

    def test_deploy__registry_without_code__reverts(self, guard, deployers):
        with reverting("risk_steward: no registry"):
            deployers["risk_steward"].deploy(guard.governance, boa.env.generate_address())


class TestRoles:
    @pytest.mark.parametrize("who", ["guardian", "signer", "stranger"])
    def test_governance_functions__anyone_else__revert(self, guard, who):
        senders = {
            "guardian": guard.guardian,
            "signer": guard.signers[0].address,
            "stranger": boa.env.generate_address(),
        }
        steward, stored = guard.steward, guard.steward.policy_of(guard.market)
        guard.put(guard.policy, OTHER)
        steward.pause([guard.market], sender=guard.guardian)
        before = all_storage()
        for function, arguments in (
            (steward.set_policy, (guard.market, stored)),
            (steward.activate, (OTHER,)),
            (steward.rebase, (guard.market,)),
            (steward.retire, (guard.market,)),
            (steward.hand_on, (guard.knobs.address, b"")),
            (steward.unpause, ([guard.market],)),
            (steward.unpause, ([],)),
            (steward.grantRole, (steward.GUARDIAN_ROLE(), senders[who])),
        ):
            with reverting(MISSING):
                function(*arguments, sender=senders[who])
        assert all_storage() == before

    @pytest.mark.parametrize("who", ["governance", "signer", "stranger"])
    def test_pause__anyone_but_the_guardian__reverts(self, guard, who):
        senders = {"governance": guard.governance, "signer": guard.signers[0].address}
        with reverting(MISSING):
            guard.steward.pause([guard.market], sender=senders.get(who, boa.env.generate_address()))
        assert statuses(guard, guard.market) == [ACTIVE]

    def test_pause__guardian__is_undone_by_governance_only(self, guard):
        guard.steward.pause([guard.market], sender=guard.guardian)
        assert statuses(guard, guard.market) == [PAUSED]
        with reverting(MISSING):
            guard.steward.unpause([guard.market], sender=guard.guardian)
        guard.steward.unpause([guard.market], sender=guard.governance)
        assert statuses(guard, guard.market) == [ACTIVE]

    def test_revoke_role__guardian__can_pause_no_more(self, guard):
        guard.steward.revokeRole(guard.steward.GUARDIAN_ROLE(), guard.guardian, sender=guard.governance)
        with reverting(MISSING):
            guard.steward.pause([guard.market], sender=guard.guardian)


class TestPause:
    def test_pause__several_markets__leaves_all_others_alone(self, guard):
        for market in (OTHER, THIRD):
            guard.activate(market, guard.policy)
        guard.steward.pause([guard.market, THIRD], sender=guard.guardian)
        events = [(event.market, event.status, event.account) for event in guard.steward.get_logs()]
        assert events == [(market, PAUSED, guard.guardian) for market in (guard.market, THIRD)]
        assert statuses(guard, guard.market, OTHER, THIRD) == [PAUSED, ACTIVE, PAUSED]
        guard.steward.unpause([THIRD], sender=guard.governance)
        (event,) = guard.steward.get_logs()
        assert (event.market, event.status, event.account) == (THIRD, ACTIVE, guard.governance)
        assert statuses(guard, guard.market, OTHER, THIRD) == [PAUSED, ACTIVE, ACTIVE]

    def test_pause__markets_paused_or_retired_before__keep_no_other_from_pausing(self, guard):
        """In an emergency nobody should have to find out which of a list another guardian has paused just now."""
        for market in (THIRD, OTHER):
            guard.activate(market, guard.policy)
        guard.steward.retire(OTHER, sender=guard.governance)
        guard.steward.pause([OTHER, THIRD, THIRD, guard.market], sender=guard.guardian)
        assert [event.market for event in guard.steward.get_logs()] == [THIRD, guard.market]
        assert statuses(guard, THIRD, guard.market, OTHER) == [PAUSED, PAUSED, RETIRED]
        guard.steward.pause([guard.market], sender=guard.guardian)
        assert guard.steward.get_logs() == []

    def test_pause__market_that_never_was_active__reverts_for_all_that_are_named(self, guard):
        """A guardian who mistook the name must not believe that it is paused."""
        guard.put(guard.policy, OTHER)
        for other in (OTHER, b"unknown".ljust(32)):
            with reverting("risk_steward: market not active"):
                guard.steward.pause([guard.market, other], sender=guard.guardian)
        assert statuses(guard, guard.market) == [ACTIVE]

    def test_unpause__market_not_paused__reverts_for_all_that_are_named(self, guard):
        guard.put(guard.policy, OTHER)
        guard.activate(THIRD, guard.policy)
        guard.steward.pause([guard.market], sender=guard.guardian)
        for other in (OTHER, THIRD, guard.market):
            with reverting(NOT_THAT_STATUS):
                guard.steward.unpause([guard.market, other], sender=guard.governance)
        assert statuses(guard, guard.market) == [PAUSED]

    def test_pause__retired_market__stays_retired(self, guard):
        guard.steward.retire(guard.market, sender=guard.governance)
        guard.steward.pause([guard.market], sender=guard.guardian)
        assert statuses(guard, guard.market) == [RETIRED]
        with reverting(NOT_THAT_STATUS):
            guard.steward.unpause([guard.market], sender=guard.governance)

    def test_retire__paused_market__is_over_for_ever(self, guard):
        guard.steward.pause([guard.market], sender=guard.guardian)
        guard.steward.retire(guard.market, sender=guard.governance)
        with reverting(NOT_THAT_STATUS):
            guard.steward.unpause([guard.market], sender=guard.governance)

    def test_pause__more_markets_than_it_takes__reverts_before_it_looks_at_any(self, guard):
        markets = [bytes([index]) * 32 for index in range(33)]
        with reverting(b""):
            guard.steward.pause(markets, sender=guard.guardian)
        guard.steward.pause([guard.market] * 32, sender=guard.guardian)
        assert statuses(guard, guard.market) == [PAUSED]

    def test_rebase__paused_market__stays_paused(self, guard):
        guard.steward.pause([guard.market], sender=guard.guardian)
        guard.steward.rebase(guard.market, sender=guard.governance)
        assert (guard.state().status, guard.state().sequence) == (PAUSED, 1)

    def test_set_policy__paused_market__stays_paused(self, guard):
        guard.steward.pause([guard.market], sender=guard.guardian)
        guard.limit({3: {"max_step_up": 200}})
        assert (guard.state().status, guard.state().sequence) == (PAUSED, 0)

    def test_set_policy__paused_market_whose_getters_are_dead__is_read_by_others_and_starts_from_there(self, guard):
        guard.steward.pause([guard.market], sender=guard.guardian)
        guard.knobs.set_broken(True, False)
        heir = load_target("knobs", (90, 100, 500, 700))
        policy = replace(guard, knobs=heir).policy
        guard.put(policy)
        event = guard.steward.get_logs()[-1]
        assert (event.market, event.sequence, event.values) == (guard.market, 1, [90, 100, 500, 700])
        state = guard.state()
        assert (state.status, state.sequence, state.values) == (PAUSED, 1, [90, 100, 500, 700])
        assert state.good_hash == state.version_hash == state.state_hash == event.state_hash
        guard.steward.unpause([guard.market], sender=guard.governance)
        boa.env.time_travel(seconds=COOLDOWN)
        guard.apply({3: 710})
        assert heir.knob(3) == 710

    def test_set_policy__paused_market_read_otherwise__counts_everything_as_moved_and_its_budget_as_used(
        self, guard, refused
    ):
        """Another policy may mean another setting by the same id: what an id may still do says nothing of it."""
        drift = {"drift_budget": 100, "drift_window": 7_200, "cooldown": 60}
        guard.limit({2: drift, 3: drift})
        guard.steward.pause([guard.market], sender=guard.guardian)
        knobs = str(guard.knobs.address)
        swapped = (Setter(knobs, TURN, (3, Value(2))), Setter(knobs, TURN, (2, Value(3))))
        turned = replace(
            guard.policy.limit({2: drift, 3: drift}),
            positions=((0, 0), (1, 0), (2, 3), (2, 2)),
            setters=(*guard.policy.setters[:2], *swapped),
            invariants=((3, 1, 2, 1),),
        )
        boa.env.time_travel(seconds=30)
        guard.put(turned)
        minute = -(-boa.env.timestamp // 60)
        assert memory(guard.state().states) == [(minute, 240, 0)] * 16
        guard.steward.unpause([guard.market], sender=guard.governance)
        refused(rule(2, "cooldown not over"), {2: 610})
        boa.env.timestamp = 60 * minute + 60
        refused(rule(2, "drift budget spent"), {2: 610})
        boa.env.timestamp = 60 * minute + 2 * 7_200
        guard.apply({2: 610})
        assert guard.knobs.all_knobs() == [100, 100, 500, 610]

    def test_set_policy__paused_market_read_as_before__forgets_nothing_and_charges_nothing(self, guard):
        guard.apply({3: 650})
        guard.steward.pause([guard.market], sender=guard.guardian)
        before = memory(guard.state().states)
        guard.limit({3: {"max_step_up": 200}})
        assert memory(guard.state().states) == before

    def test_set_policy__paused_market_read_as_before__makes_no_version_of_what_others_changed(self, guard):
        guard.apply({3: 650})
        guard.steward.pause([guard.market], sender=guard.guardian)
        guard.knobs.turn(2, 510)
        guard.limit({3: {"max_step_up": 200}})
        state = guard.state()
        assert (state.sequence, state.values) == (1, [100, 100, 510, 650])
        assert state.version_hash != state.state_hash

    def test_set_policy__paused_market_outside_the_corridor__reverts(self, guard):
        guard.steward.pause([guard.market], sender=guard.guardian)
        guard.knobs.turn(3, 50_000)
        with reverting(rule(3, "above corridor")):
            guard.limit({3: {"maximum": 49_999}})


class TestWord:
    """A market's status, versions and policy are one word of storage."""

    TOP = 2**27 - 1

    def test_market_state__largest_sequence_and_time__spill_into_nothing_else(self, guard):
        word = set_sequence(guard, self.TOP - 1)
        boa.env.timestamp = 2**32 - 1
        guard.steward.rebase(guard.market, sender=guard.governance)
        state = guard.state()
        assert (state.status, state.sequence, state.applied_at) == (ACTIVE, self.TOP, 2**32 - 1)
        assert state.policy == guard.steward.policy_of(guard.market)
        assert state.good_hash == state.version_hash == state.state_hash
        assert boa.env.get_storage(guard.steward.address, word) >> 254 == ACTIVE

    def test_any__version_after_the_last_that_fits__reverts(self, guard, refused):
        set_sequence(guard, self.TOP - 1)
        guard.apply({3: 650})
        refused(MANY, {3: 600}, "rollback")
        refused(MANY, {2: 510})
        with reverting(MANY):
            guard.steward.rebase(guard.market, sender=guard.governance)

    def test_rebase__time_after_the_last_that_fits__reverts(self, guard):
        boa.env.timestamp = 2**32
        with reverting(MANY):
            guard.steward.rebase(guard.market, sender=guard.governance)


class TestMarkets:
    def test_activate__live_values__become_version_zero(self, guard):
        guard.activate(OTHER, guard.policy)
        event = guard.steward.get_logs()[-1]
        state = guard.state(OTHER)
        assert (event.market, event.values, event.state_hash) == (OTHER, list(INITIAL), state.state_hash)
        assert (state.status, state.sequence, state.applied_at) == (1, 0, boa.env.timestamp)

    def test_activate__twice__reverts(self, guard):
        with reverting("risk_steward: market already activated"):
            guard.steward.activate(guard.market, sender=guard.governance)

    def test_activate__no_policy__reverts(self, guard):
        with reverting("risk_steward: no policy"):
            guard.steward.activate(OTHER, sender=guard.governance)

    def test_activate__live_values_beyond_a_limit_since__reverts(self, guard):
        guard.put(guard.policy, OTHER)
        guard.knobs.turn(3, 1_001)
        with reverting("risk_steward: parameter 3: above corridor"):
            guard.steward.activate(OTHER, sender=guard.governance)
        guard.knobs.turn(3, 499)
        with reverting("risk_steward: invariant 0 broken"):
            guard.steward.activate(OTHER, sender=guard.governance)

    def test_rebase__market_not_active__reverts(self, guard):
        guard.put(guard.policy, OTHER)
        with reverting("risk_steward: market not active"):
            guard.steward.rebase(OTHER, sender=guard.governance)

    @pytest.mark.parametrize(("to", "reason"), [(1_001, "parameter 3: above corridor"), (499, "invariant 0 broken")])
    def test_rebase__live_values_beyond_a_limit__reverts(self, guard, to, reason):
        guard.knobs.turn(3, to)
        with reverting(f"risk_steward: {reason}"):
            guard.steward.rebase(guard.market, sender=guard.governance)

    def test_retire__market__is_over_for_ever(self, guard):
        guard.activate(OTHER, guard.policy)
        guard.steward.retire(guard.market, sender=guard.governance)
        (event,) = guard.steward.get_logs()
        assert (event.market, event.status, event.account) == (guard.market, RETIRED, guard.governance)
        assert statuses(guard, guard.market, OTHER) == [RETIRED, ACTIVE]
        with reverting("risk_steward: market already activated"):
            guard.steward.activate(guard.market, sender=guard.governance)
        for function in (guard.steward.rebase, guard.steward.retire):
            with reverting("risk_steward: market not active"):
                function(guard.market, sender=guard.governance)
        for kind in ("apply", "announce", "rollback"):
            with reverting("risk_steward: market not active"):
                guard.send(kind, guard.message({3: 650}))
        guard.apply({3: 650}, market=OTHER)

    def test_retire__market_not_active__reverts(self, guard):
        with reverting("risk_steward: market not active"):
            guard.steward.retire(OTHER, sender=guard.governance)


class TestHandOn:
    def test_hand_on__setter_role__goes_to_the_new_owner(self, guard):
        """Many protocols know nothing but an owner: what the steward holds, it must be able to give back."""
        heir = boa.env.generate_address()
        guard.knobs.set_owner(guard.steward.address)
        data = guard.knobs.set_owner.prepare_calldata(heir)
        guard.steward.hand_on(guard.knobs.address, data, sender=guard.governance)
        event = guard.steward.get_logs()[-1]
        assert (event.target, event.data) == (guard.knobs.address, data)
        assert guard.knobs.owner() == heir
        with reverting("knobs: not the owner"):
            guard.apply({3: 650})

    def test_hand_on__target_refuses__passes_its_reason_on(self, guard):
        guard.knobs.set_owner(boa.env.generate_address())
        data = guard.knobs.set_owner.prepare_calldata(guard.governance)
        with reverting("knobs: not the owner"):
            guard.steward.hand_on(guard.knobs.address, data, sender=guard.governance)

    def test_hand_on__target_without_code__reverts(self, guard):
        """A call to nobody would succeed, and look as if something had been handed on."""
        for target in (boa.env.generate_address(), NOBODY):
            with reverting("risk_steward: target is no contract"):
                guard.steward.hand_on(target, b"", sender=guard.governance)

    def test_hand_on__own_entry_points__are_out_of_reach(self, guard):
        steward = guard.steward
        for data, reason in (
            (steward.rebase.prepare_calldata(guard.market), "risk_steward: call failed"),
            (steward.pause.prepare_calldata([guard.market]), "risk_steward: call failed"),
            (steward.grantRole.prepare_calldata(steward.GUARDIAN_ROLE(), guard.governance), MISSING),
        ):
            with reverting(reason):
                steward.hand_on(steward.address, data, sender=guard.governance)


class TestTimelock:
    DELAY = 86_400

    @pytest.fixture
    def timelock(self, guard, deployers):
        """The steward governed by a timelock alone: governance proposes, everybody executes."""
        timelock = deployers["timelock"].deploy(self.DELAY, [guard.governance], [NOBODY])
        admin = guard.steward.DEFAULT_ADMIN_ROLE()
        guard.steward.grantRole(admin, timelock.address, sender=guard.governance)
        guard.steward.revokeRole(admin, guard.governance, sender=guard.governance)
        return timelock

    @pytest.fixture
    def change(self, guard):
        """A call that would let the last knob go further, as the timelock takes it."""
        stored = guard.store(guard.policy.limit({3: {"max_step_up": 300}}))
        data = guard.steward.set_policy.prepare_calldata(guard.market, stored)
        return stored, (guard.steward.address, 0, data, b"\0" * 32, b"\0" * 32)

    @pytest.mark.usefixtures("timelock")
    def test_set_policy__by_who_was_governance__reverts(self, guard, change):
        with reverting(MISSING):
            guard.steward.set_policy(guard.market, change[0], sender=guard.governance)

    def test_execute__before_the_delay_is_over__reverts_and_after_it_succeeds(self, guard, timelock, change):
        stored, call = change
        timelock.schedule(*call, self.DELAY, sender=guard.governance)
        boa.env.time_travel(seconds=self.DELAY - 1)
        with reverting("timelock_controller: operation is not ready"):
            timelock.execute(*call)
        boa.env.time_travel(seconds=1)
        timelock.execute(*call)
        assert guard.steward.policy_of(guard.market) == stored
        guard.apply({3: 900})

    def test_execute__cancelled__reverts(self, guard, timelock, change):
        _, call = change
        timelock.schedule(*call, self.DELAY, sender=guard.governance)
        timelock.cancel(timelock.hash_operation(*call), sender=guard.governance)
        boa.env.time_travel(seconds=self.DELAY)
        with reverting("timelock_controller: operation is not ready"):
            timelock.execute(*call)

    def test_schedule__shorter_delay_or_someone_else__reverts(self, guard, timelock, change):
        _, call = change
        with reverting("timelock_controller: insufficient delay"):
            timelock.schedule(*call, self.DELAY - 1, sender=guard.governance)
        with reverting(MISSING):
            timelock.schedule(*call, self.DELAY, sender=guard.guardian)

    def test_deploy__timelock__has_no_administrator_beside_itself(self, timelock):
        admin = timelock.DEFAULT_ADMIN_ROLE()
        assert timelock.hasRole(admin, timelock.address)
        assert not timelock.hasRole(admin, boa.env.eoa)
        assert not timelock.hasRole(admin, NOBODY)

    @pytest.mark.usefixtures("timelock")
    def test_rollback__does_not_wait_for_the_timelock(self, guard):
        guard.apply({3: 650})
        guard.rollback({3: 600})
        assert guard.knobs.all_knobs() == list(INITIAL)
