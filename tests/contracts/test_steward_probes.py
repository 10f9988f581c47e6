"""The accounts that a change may not make liquidatable, in every form in which a protocol tells their health."""

from dataclasses import replace

import boa
import pytest
from eth_abi import encode
from policies import HEALTH_ABOVE, HEALTH_BELOW, HEALTH_FALSE, HEALTH_NONE, HEALTH_TRUE, Health
from reverts import rule
from stewards import load_target

TIGHTER = {0: 110, 1: 100}
TOO_MANY = "risk_steward: too many liquidatable"
FAILED = "risk_steward: health view failed"
FORMS = {
    "boolean": ("is_liquidatable(address)", HEALTH_TRUE, 0),
    "opposite boolean": ("is_healthy(address)", HEALTH_FALSE, 0),
    "signed, low is bad": ("buffer(address)", HEALTH_BELOW, 0),
    "signed, high is bad": ("shortfall(address)", HEALTH_ABOVE, 0),
    "third word of a report": ("report(address)", HEALTH_TRUE, 2),
    "second word of a report": ("report(address)", HEALTH_BELOW, 1),
}
# An account with an equity of 110 is the poorest that the tightening to 110 leaves healthy.
THRESHOLDS = dict.fromkeys(FORMS, 0) | {"second word of a report": 110}


@pytest.fixture
def lender(guard):
    """A protocol whose accounts need the first knob as equity."""
    return load_target("lender", guard.knobs.address)


@pytest.fixture
def watching(guard, lender):
    """Put a policy with a health view into force."""

    def watch(signature, mode, word=0):
        guard.put(replace(guard.policy, health=Health(str(lender.address), signature, mode, word)))

    return watch


@pytest.fixture
def account(lender):
    """Make an account as rich as that; returns a probe of it."""

    def make(equity, threshold=0):
        address = boa.env.generate_address()
        lender.set_equity(address, equity)
        return encode(["address"], [address]), threshold

    return make


class TestForms:
    @pytest.mark.parametrize("form", FORMS)
    def test_apply__account_that_the_change_makes_liquidatable__reverts(self, watching, account, refused, form):
        watching(*FORMS[form])
        refused(TOO_MANY, TIGHTER, probes=(account(109, THRESHOLDS[form]),))

    @pytest.mark.parametrize("form", FORMS)
    def test_apply__account_that_just_stays_healthy__succeeds(self, guard, watching, account, form):
        watching(*FORMS[form])
        guard.apply(TIGHTER, probes=(account(110, THRESHOLDS[form]),))
        assert guard.knobs.knob(0) == 110

    @pytest.mark.parametrize(("form", "threshold"), [("signed, low is bad", -10), ("signed, high is bad", 10)])
    def test_apply__threshold__is_where_liquidation_begins(self, guard, watching, account, refused, form, threshold):
        watching(*FORMS[form])
        refused(TOO_MANY, TIGHTER, probes=(account(99, threshold),))
        guard.apply(TIGHTER, probes=(account(100, threshold),))

    def test_apply__each_probe__has_a_threshold_of_its_own(self, guard, watching, account, refused):
        watching(*FORMS["signed, low is bad"])
        poor, poorer = account(100, -10), account(90, -20)
        refused(TOO_MANY, TIGHTER, probes=(poor, (poorer[0], -10)))
        guard.apply(TIGHTER, probes=(poor, poorer))


class TestBound:
    @pytest.fixture(autouse=True)
    def _watching(self, watching):
        watching(*FORMS["boolean"])

    @pytest.mark.parametrize("bound", [0, 1, 2])
    def test_apply__more_liquidatable_than_the_bound__reverts(self, guard, account, refused, bound):
        healthy, doomed = [account(1_000) for _ in range(2)], [account(105) for _ in range(bound + 1)]
        refused(TOO_MANY, TIGHTER, probes=(*doomed, *healthy), max_liquidatable=bound)
        guard.apply(TIGHTER, probes=(*doomed, *healthy), max_liquidatable=bound + 1)

    def test_apply__account_that_was_liquidatable_before__counts_as_well(self, guard, account, refused):
        refused(TOO_MANY, {3: 650}, probes=(account(99),))
        guard.apply({3: 650}, probes=(account(99),), max_liquidatable=1)

    def test_apply__account_that_the_change_saves__does_not_count(self, guard, account):
        guard.apply({0: 95, 1: 100}, probes=(account(95),))

    def test_apply__eight_probes__are_all_made(self, guard, account, refused):
        probes = (*(account(1_000) for _ in range(7)), account(105))
        refused(TOO_MANY, TIGHTER, probes=probes)
        refused(TOO_MANY, TIGHTER, probes=probes[::-1])
        guard.apply(TIGHTER, probes=probes[:7])

    def test_apply__more_than_eight_probes__reverts(self, guard, account, refused):
        probes = tuple(account(1_000) for _ in range(9))
        refused(b"", TIGHTER, probes=probes)
        guard.apply(TIGHTER, probes=probes[:8])

    def test_apply__arguments_as_long_as_can_be__are_taken_and_longer_ones_revert(self, guard, account, refused):
        arguments, threshold = account(1_000)
        refused(b"", TIGHTER, probes=((arguments.ljust(289, b"\0"), threshold),))
        guard.apply(TIGHTER, probes=((arguments.ljust(288, b"\0"), threshold),))

    def test_apply__no_probes__are_no_obstacle(self, guard):
        guard.apply(TIGHTER)

    def test_rollback__account_that_it_makes_liquidatable__reverts(self, guard, account, refused):
        guard.apply({0: 90, 1: 100})
        refused(TOO_MANY, {0: 100}, "rollback", probes=(account(95),))
        guard.rollback({0: 100}, probes=(account(95),), max_liquidatable=1)

    def test_apply__values_not_in_place__is_said_before_any_probe(self, guard, account, refused):
        guard.knobs.set_ceiling(105)
        refused(rule(0, "value not in place"), TIGHTER, probes=(account(0),))


class TestFailure:
    @pytest.mark.parametrize(
        ("signature", "word"),
        [
            ("no_such_view(address)", 0),
            ("refuses(address)", 0),
            ("silent(address)", 0),
            ("is_liquidatable(address)", 1),
        ],
    )
    def test_apply__view_that_reverts_or_answers_too_little__reverts(self, watching, account, refused, signature, word):
        watching(signature, HEALTH_TRUE, word)
        refused(FAILED, TIGHTER, probes=(account(1_000),), max_liquidatable=16)

    def test_apply__probe_without_arguments__reverts(self, watching, refused):
        watching(*FORMS["boolean"])
        refused(FAILED, TIGHTER, probes=((b"", 0),), max_liquidatable=16)

    def test_apply__probes_where_the_policy_has_no_health_view__reverts(self, account, refused):
        refused(FAILED, TIGHTER, probes=(account(1_000),), max_liquidatable=16)

    def test_apply__probes_where_the_policy_does_not_say_what_the_view_means__reverts(self, watching, account, refused):
        watching("buffer(address)", HEALTH_NONE)
        refused("risk_steward: no health view", TIGHTER, probes=(account(1_000),), max_liquidatable=16)
