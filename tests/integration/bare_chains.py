"""Fixtures of a bare development chain, given back unchanged after every test.

Test modules load them with `pytest_plugins = ["chains", "bare_chains"]`.
"""

from __future__ import annotations

import pytest
from setups import Bare

from chain.anvil import anvil


@pytest.fixture(scope="module")
def fresh_chain():
    """A development chain for the module, with nothing on it."""
    with anvil() as running:
        yield Bare.at(running.url)


@pytest.fixture
def bare(fresh_chain):
    """The module's chain, as it was before the test once the test is over."""
    snapshot = fresh_chain.ask("evm_snapshot")
    yield fresh_chain
    fresh_chain.ask("evm_setAutomine", True)
    assert fresh_chain.ask("evm_revert", snapshot)
