"""Whatever anyone does, in any order, a steward keeps its word: 20,000 random operations on its real bytecode."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import TYPE_CHECKING

import pytest
import steward_evm
from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test
from machine_author import Author
from machine_chain import Chain, the_chain
from machine_checks import ERRAND, TAKEN
from machine_rules import Machine

if TYPE_CHECKING:
    from machine_checks import Tally

RUNS, OPERATIONS = 4, 5_000
"""Runs, and what each of them does at least."""

BATCHES, EXAMPLES, STEPS = 9, 10, 60
"""Batches are small because the engine starts to mutate earlier examples after ten, and then mostly repeats itself."""

LEAST = 3
"""Times that every refusal and every success has to be seen in each run, so that nothing is left out unnoticed."""

SETTINGS = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

SUCCESSES = {
    "activate",
    "announce",
    "apply",
    "carry out",
    "hand on",
    "pause",
    "rebase",
    "reenter",
    "retire",
    "rollback",
    "rush",
    "set policy",
    "unpause",
    "upset",
    "veto",
}

REFUSALS = {
    "access_control: account is missing role",
    "already announced",
    "already at the last good version",
    "bad order",
    "changed behind the steward",
    "deadline passed",
    "ecdsa: invalid signature `s` value",
    "ecdsa: invalid signature",
    "health view failed",
    "invariant # broken",
    "lengths differ",
    "market already activated",
    "market not active",
    "market not in that status",
    "market retired",
    "not announced",
    "not the last good version",
    "nothing changes",
    "notice longer than deadline",
    "notice not over",
    "no notice due",
    "other calls than signed",
    "parameter #: above corridor",
    "parameter #: below corridor",
    "parameter #: call failed",
    "parameter #: cooldown not over",
    "parameter #: drift budget spent",
    "parameter #: getter failed",
    "parameter #: group incomplete",
    "parameter #: id not ascending",
    "parameter #: irreversible",
    "parameter #: moved untouched",
    "parameter #: step too large",
    "parameter #: unknown",
    "parameter #: value not in place",
    "paused",
    "policy not stored",
    "reads otherwise",
    "registry: bad executor",
    "registry: bad health rule",
    "registry: bad read",
    "registry: bad setter",
    "registry: invariant factor is zero",
    "registry: invariant factor too large",
    "registry: invariant of unknown parameter",
    "registry: no parameters",
    "registry: parameter #: bad corridor",
    "registry: parameter #: longer than a year",
    "registry: parameter #: unknown coupling",
    "registry: parameter #: unknown read",
    "registry: parameter #: unused bits set",
    "registry: parameter #: window not in minutes",
    "registry: parameter with two setters",
    "registry: parameter without setter",
    "registry: probation out of range",
    "registry: rules beyond the last parameter",
    "registry: setter does not write what it says",
    "registry: setter of unknown parameter",
    "registry: signer is no address",
    "registry: signers not strictly ascending",
    "registry: target is the executor",
    "registry: threshold out of range",
    "registry: too many invariants",
    "registry: too many parameters",
    "registry: too many reads",
    "registry: too many setters",
    "registry: wrong size",
    "signers not strictly ascending",
    "state has changed",
    "target is no contract",
    "target: refused",
    "too few signatures",
    "too many liquidatable",
    "unknown action",
    "unknown signer",
    "vetoed",
    "wrong sequence",
}


@pytest.mark.timeout(600)  # shrinking a failure takes minutes
@pytest.mark.parametrize("run", range(RUNS))
def test_machine__five_thousand_operations__end_as_the_books_say(run):
    tally: Tally = Counter()
    for batch in range(BATCHES):
        run_state_machine_as_test(seed(BATCHES * run + batch)(lambda: Machine(tally)), settings=SETTINGS)
    taken, refused, errands = Counter(), Counter(), Counter()
    for (operation, outcome), number in tally.items():
        if operation == ERRAND:
            errands[outcome] += number
        elif outcome == TAKEN:
            taken[operation] += number
        else:
            refused[outcome] += number
    assert taken.total() + refused.total() >= OPERATIONS
    assert {operation: taken[operation] for operation in SUCCESSES if taken[operation] < LEAST} == {}
    assert {reason: refused[reason] for reason in REFUSALS if refused[reason] < LEAST} == {}
    assert errands["apply"] >= LEAST


def test_apply__same_steward_on_another_chain__is_not_what_was_signed(monkeypatch):
    here = the_chain()
    model = here.begin()
    attempt = Author(model, Random(0)).draft("apply", model.lines[0]).signed()
    monkeypatch.setattr(steward_evm, "CHAIN", steward_evm.CHAIN + 1)
    there = Chain()
    assert there.stewards == here.stewards
    assert there.attempt(attempt) == "risk_steward: unknown signer"
    assert here.attempt(attempt) is None
