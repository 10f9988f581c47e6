"""Notice for tightening: announce, wait, apply; and the guardian's veto."""

import boa
import pytest
from reverts import all_storage, reverting, rule
from stewards import MINUTE

NOTICE = 1_000
TIGHTER, LOOSER = {3: 650}, {3: 550}
NOT_ANNOUNCED = "risk_steward: not announced"


@pytest.fixture
def noticed(guard):
    """The guard, with a notice on the last knob, which is tighter when higher."""
    guard.limit({3: {"notice": NOTICE}})
    return guard


@pytest.fixture
def tightening(noticed):
    """A tightening that is good for the notice and a bit longer."""
    return noticed.message(TIGHTER, deadline=boa.env.timestamp + NOTICE + 100)


@pytest.fixture
def announced(noticed, tightening):
    """The tightening, announced."""
    noticed.send("announce", tightening)
    return tightening


class TestDue:
    def test_apply__tightening_that_was_not_announced__reverts(self, noticed, tightening):
        with reverting(NOT_ANNOUNCED):
            noticed.send("apply", tightening)

    def test_apply__loosening__needs_no_notice(self, noticed):
        noticed.apply(LOOSER)

    def test_apply__lower_is_tighter__needs_notice_for_lower_only(self, guard, refused):
        guard.limit({3: {"notice": NOTICE, "tightening_up": False, "cooldown": 0}})
        refused(NOT_ANNOUNCED, LOOSER)
        guard.apply(TIGHTER)

    def test_apply__other_parameters_of_the_market__need_no_notice(self, noticed):
        noticed.apply({2: 510, 3: 600})

    def test_apply__tightening_and_loosening_in_one_batch__needs_the_notice_of_the_tightening(self, guard, refused):
        guard.limit({2: {"notice": 10 * NOTICE}, 3: {"notice": NOTICE}})
        refused(NOT_ANNOUNCED, {2: 490, 3: 650})
        message = guard.message({2: 490, 3: 650}, deadline=boa.env.timestamp + NOTICE)
        guard.send("announce", message)
        boa.env.time_travel(seconds=NOTICE)
        guard.send("apply", message)

    def test_apply__two_notices__the_longer_one_counts(self, guard):
        guard.limit({2: {"notice": NOTICE}, 3: {"notice": 2 * NOTICE}})
        message = guard.message({2: 510, 3: 650}, deadline=boa.env.timestamp + 2 * NOTICE)
        guard.send("announce", message)
        boa.env.time_travel(seconds=2 * NOTICE - 1)
        with reverting("risk_steward: notice not over"):
            guard.send("apply", message)
        boa.env.time_travel(seconds=1)
        guard.send("apply", message)


class TestWait:
    def test_apply__announced__waits_for_the_notice_and_then_succeeds(self, noticed, announced):
        boa.env.time_travel(seconds=NOTICE - 1)
        with reverting("risk_steward: notice not over"):
            noticed.send("apply", announced)
        boa.env.time_travel(seconds=1)
        noticed.send("apply", announced)
        assert noticed.knobs.knob(3) == 650

    def test_apply__announced_and_too_late__reverts(self, noticed, announced):
        boa.env.time_travel(seconds=NOTICE + 101)
        with reverting("risk_steward: deadline passed"):
            noticed.send("apply", announced)

    def test_apply__state_changed_during_the_notice__reverts(self, noticed, announced):
        boa.env.time_travel(seconds=NOTICE)
        noticed.knobs.turn(2, 501)
        with reverting("risk_steward: state has changed"):
            noticed.send("apply", announced)

    def test_apply__another_version_made_during_the_notice__reverts(self, noticed, announced):
        noticed.apply({2: 510})
        boa.env.time_travel(seconds=NOTICE)
        with reverting("risk_steward: wrong sequence"):
            noticed.send("apply", announced)

    def test_apply__another_message_with_the_same_values__was_not_announced(self, noticed, announced):
        boa.env.time_travel(seconds=NOTICE)
        with reverting(NOT_ANNOUNCED):
            noticed.apply(TIGHTER, deadline=announced.deadline + 1)

    @pytest.mark.parametrize("notice", [0, NOTICE - 1, NOTICE + 1])
    def test_apply__another_notice_set_since__has_to_be_announced_anew(self, noticed, announced, notice):
        noticed.limit({3: {"notice": notice}})
        boa.env.time_travel(seconds=NOTICE)
        with reverting("risk_steward: unknown signer"):
            noticed.send("apply", announced)
        message = noticed.message(TIGHTER, deadline=boa.env.timestamp + notice)
        if notice:
            with reverting(NOT_ANNOUNCED):
                noticed.send("apply", message)
            noticed.send("announce", message)
            boa.env.time_travel(seconds=notice)
        noticed.send("apply", message)

    def test_apply__signers_replaced_since__reverts(self, noticed, announced):
        signatures = noticed.sign(announced)
        noticed.limit({3: {"notice": NOTICE}}, quorum=(1, (noticed.signers[2].address,)))
        boa.env.time_travel(seconds=NOTICE)
        with reverting("risk_steward: unknown signer"):
            noticed.send("apply", announced, signatures)


class TestAnnounce:
    def test_announce__event__names_the_digest_and_when_it_may_be_applied(self, noticed, announced):
        event = noticed.steward.get_logs()[-1]
        digest = noticed.domain.digest(announced)
        assert (event.market, event.sequence, event.digest) == (noticed.market, 1, digest)
        assert (event.ids, event.values, event.applicable_at) == ([3], [650], boa.env.timestamp + NOTICE)
        assert noticed.steward.announced_at(digest) == boa.env.timestamp

    def test_announce__changes_no_value_and_no_version(self, noticed, tightening):
        before = noticed.state()
        noticed.send("announce", tightening)
        assert noticed.state() == before

    def test_announce__twice__reverts(self, noticed, announced):
        boa.env.time_travel(seconds=10)
        with reverting("risk_steward: already announced"):
            noticed.send("announce", announced)

    @pytest.mark.usefixtures("noticed")
    def test_announce__loosening__reverts(self, refused):
        refused("risk_steward: no notice due", LOOSER, "announce")

    def test_announce__deadline_before_the_notice_is_over__reverts(self, noticed, refused):
        deadline = boa.env.timestamp + NOTICE
        refused("risk_steward: notice longer than deadline", TIGHTER, "announce", deadline=deadline - 1)
        noticed.send("announce", noticed.message(TIGHTER, deadline=deadline))

    def test_announce__paused__reverts(self, noticed, refused):
        noticed.steward.pause([noticed.market], sender=noticed.guardian)
        refused("risk_steward: paused", TIGHTER, "announce", deadline=boa.env.timestamp + NOTICE)

    @pytest.mark.usefixtures("noticed")
    def test_announce__value_that_could_never_be_applied__reverts(self, refused):
        deadline = boa.env.timestamp + NOTICE
        refused(rule(3, "above corridor"), {3: 1_001}, "announce", deadline=deadline)
        refused(rule(3, "step too large"), {3: 701}, "announce", deadline=deadline)
        refused("risk_steward: nothing changes", {3: 600}, "announce", deadline=deadline)

    def test_announce__cooldown_that_ends_before_the_deadline__is_no_obstacle(self, noticed, refused):
        noticed.apply(LOOSER)
        over = boa.env.timestamp + 3_600
        refused(rule(3, "cooldown not over"), {3: 600}, "announce", deadline=over - 1)
        message = noticed.message({3: 600}, deadline=over)
        noticed.send("announce", message)
        boa.env.time_travel(seconds=3_599)
        with reverting(rule(3, "cooldown not over")):
            noticed.send("apply", message)
        boa.env.time_travel(seconds=1)
        noticed.send("apply", message)

    def test_announce__drift_budget_that_is_back_before_the_deadline__is_no_obstacle(self, guard, refused):
        window = 12_000
        guard.limit({3: {"notice": NOTICE, "cooldown": 0, "drift_budget": 50, "drift_window": window}})
        start = boa.env.timestamp = (boa.env.timestamp // window + 1) * window
        guard.apply(LOOSER)
        over = start + 2 * window - MINUTE + 1
        refused(rule(3, "drift budget spent"), {3: 600}, "announce", deadline=over - 1)
        guard.send("announce", guard.message({3: 600}, deadline=over))

    @pytest.mark.parametrize("deadline", [(2**26 - 1) * MINUTE, (2**26 - 1) * MINUTE + 1, 2**256 - 1])
    def test_announce__deadline_at_the_end_of_time__is_allowed(self, noticed, deadline):
        message = noticed.message(TIGHTER, deadline=deadline)
        noticed.send("announce", message)
        boa.env.time_travel(seconds=NOTICE)
        noticed.send("apply", message)


class TestVeto:
    def test_veto__announced_change__can_never_be_applied(self, noticed, announced):
        digest = noticed.domain.digest(announced)
        noticed.steward.veto(digest, sender=noticed.guardian)
        event = noticed.steward.get_logs()[-1]
        assert (type(event).__name__, event.digest) == ("Vetoed", digest)
        assert noticed.steward.announced_at(digest) == 2**256 - 1
        for wait in (0, NOTICE, 100):
            boa.env.time_travel(seconds=wait)
            with reverting("risk_steward: vetoed"):
                noticed.send("apply", announced)

    def test_veto__announced_change__can_not_be_announced_again(self, noticed, announced):
        noticed.steward.veto(noticed.domain.digest(announced), sender=noticed.guardian)
        with reverting("risk_steward: already announced"):
            noticed.send("announce", announced)

    def test_veto__no_notice_due_any_more__still_holds(self, noticed, announced):
        signatures = noticed.sign(announced)
        noticed.steward.veto(noticed.domain.digest(announced), sender=noticed.guardian)
        noticed.limit({3: {"notice": 0}})
        with reverting("risk_steward: unknown signer"):
            noticed.send("apply", announced, signatures)

    def test_veto__one_change__leaves_others_of_the_same_state_free(self, noticed, announced):
        noticed.steward.veto(noticed.domain.digest(announced), sender=noticed.guardian)
        noticed.apply(LOOSER)

    def test_veto__not_announced__reverts(self, noticed, tightening):
        with reverting(NOT_ANNOUNCED):
            noticed.steward.veto(noticed.domain.digest(tightening), sender=noticed.guardian)

    @pytest.mark.parametrize("who", ["governance", "stranger"])
    def test_veto__anyone_but_the_guardian__reverts(self, noticed, announced, who):
        sender = boa.env.generate_address() if who == "stranger" else getattr(noticed, who)
        before = all_storage()
        with reverting("access_control: account is missing role"):
            noticed.steward.veto(noticed.domain.digest(announced), sender=sender)
        assert all_storage() == before
