"""No sequence of what anyone may do brings a steward to break its word: 20,000 random operations on its bytecode."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test
from machine_checks import Tally
from machine_rules import Machine

RUNS, BATCHES, EXAMPLES, STEPS = 4, 9, 10, 60
"""Batches are small because the engine mutates earlier examples from the eleventh on, and then mostly repeats itself."""

OPERATIONS = 5_000
"""Of each run, at least."""

SETTINGS = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.timeout(600)  # for what it takes to shrink a failure
@pytest.mark.parametrize("run", range(RUNS))
def test_machine__thousands_of_operations__end_as_the_books_say(run):
    tally: Tally = Counter()
    for batch in range(BATCHES):
        run_state_machine_as_test(seed(BATCHES * run + batch)(lambda: Machine(tally)), settings=SETTINGS)
    for k, v in sorted(tally.items()):
        print(v, k)
    assert tally.total() >= OPERATIONS
