"""What governance and the guardian may do and nobody else, and what neither can."""

import boa
import pytest
from eth_abi import encode
from reverts import all_storage, reverting
from stewards import INITIAL

OTHER = b"other".ljust(32)
NOBODY = "0x" + "00" * 20
MISSING = "access_control: account is missing role"
RANGE = "risk_steward: threshold out of range"
ORDER = "risk_steward: signers not strictly ascending"


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

    def test_apply__before_there_are_signers__reverts(self, guard, deployers):
        steward = deployers["risk_steward"].deploy(guard.governance, guard.registry.address)
        steward.set_policy(OTHER, guard.steward.policy_of(guard.market), sender=guard.governance)
        steward.activate(OTHER, sender=guard.governance)
        state = steward.market_state(OTHER)
        message = guard.message({3: 650}, market=OTHER, sequence=1, state_hash=state.state_hash)
        with pytest.raises(boa.BoaError):
            steward.apply(message.words(), [])
        assert steward.market_state(OTHER) == state


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
        steward.pause(sender=guard.guardian)
        before = all_storage()
        for function, arguments in (
            (steward.set_policy, (guard.market, stored)),
            (steward.set_quorum, (1, [guard.signers[0].address])),
            (steward.activate, (OTHER,)),
            (steward.rebase, (guard.market,)),
            (steward.retire, (guard.market,)),
            (steward.hand_on, (guard.knobs.address, b"")),
            (steward.unpause, ()),
            (steward.grantRole, (steward.GUARDIAN_ROLE(), senders[who])),
        ):
            with reverting(MISSING):
                function(*arguments, sender=senders[who])
        assert all_storage() == before

    @pytest.mark.parametrize("who", ["governance", "signer", "stranger"])
    def test_pause__anyone_but_the_guardian__reverts(self, guard, who):
        senders = {"governance": guard.governance, "signer": guard.signers[0].address}
        with reverting(MISSING):
            guard.steward.pause(sender=senders.get(who, boa.env.generate_address()))
        assert not guard.steward.paused()

    def test_pause__guardian__is_undone_by_governance_only(self, guard):
        guard.steward.pause(sender=guard.guardian)
        event = guard.steward.get_logs()[-1]
        assert (event.account, event.paused, guard.steward.paused()) == (guard.guardian, True, True)
        with reverting(MISSING):
            guard.steward.unpause(sender=guard.guardian)
        guard.steward.unpause(sender=guard.governance)
        assert not guard.steward.paused()

    def test_revoke_role__guardian__can_pause_no_more(self, guard):
        guard.steward.revokeRole(guard.steward.GUARDIAN_ROLE(), guard.guardian, sender=guard.governance)
        with reverting(MISSING):
            guard.steward.pause(sender=guard.guardian)

    def test_set_quorum__while_paused__stays_paused(self, guard):
        steward, signers = guard.steward, [signer.address for signer in guard.signers]
        steward.pause(sender=guard.guardian)
        steward.set_quorum(3, signers, sender=guard.governance)
        assert steward.paused()
        steward.unpause(sender=guard.governance)
        assert steward.quorum() == (3, signers)
        assert not steward.paused()


class TestQuorum:
    def test_set_quorum__signers__are_told_by_view_event_and_code(self, guard):
        signers = [signer.address for signer in guard.signers]
        guard.steward.set_quorum(3, signers, sender=guard.governance)
        event = guard.steward.get_logs()[-1]
        assert (event.threshold, event.signers) == guard.steward.quorum() == (3, signers)
        padded = [*signers, *[NOBODY] * 13]
        assert boa.env.get_code(guard.steward.quorum_code()) == b"\0" + encode(["uint256", "address[16]"], [3, padded])

    @pytest.mark.parametrize(("threshold", "count"), [(0, 3), (4, 3), (2**256 - 1, 3), (1, 0), (0, 0)])
    def test_set_quorum__threshold_that_cannot_be_met_or_means_nothing__reverts(self, guard, threshold, count):
        with reverting(RANGE):
            guard.steward.set_quorum(
                threshold, [signer.address for signer in guard.signers[:count]], sender=guard.governance
            )

    @pytest.mark.parametrize("order", [(1, 0), (0, 0), (0, 2, 1)])
    def test_set_quorum__signers_not_strictly_ascending__reverts(self, guard, order):
        with reverting(ORDER):
            guard.steward.set_quorum(1, [guard.signers[index].address for index in order], sender=guard.governance)

    def test_set_quorum__zero_address__reverts(self, guard):
        with reverting(ORDER):
            guard.steward.set_quorum(1, [NOBODY, guard.signers[0].address], sender=guard.governance)


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
        assert guard.steward.get_logs()[-1].market == guard.market
        assert (guard.state().status, guard.state(OTHER).status) == (2, 1)
        with reverting("risk_steward: market already activated"):
            guard.steward.activate(guard.market, sender=guard.governance)
        for function in (guard.steward.rebase, guard.steward.retire):
            with reverting("risk_steward: market not active"):
                function(guard.market, sender=guard.governance)
        with reverting("risk_steward: market not active"):
            guard.rollback({})
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

    def test_hand_on__own_entry_points__are_out_of_reach(self, guard):
        steward = guard.steward
        for data, reason in (
            (steward.set_quorum.prepare_calldata(1, [guard.signers[0].address]), "risk_steward: call failed"),
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
        stored = guard.registry.store(guard.policy.limit({3: {"max_step_up": 300}}).blob())
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
