"""Fixtures of a development chain with Lyra v1 on it, given back unchanged after every test.

Test modules load them with `pytest_plugins = ["lyra_chains"]`.
"""

from __future__ import annotations

import pytest
from lyra import put_up

from chain.anvil import anvil
from config.load import DEFAULT_SETTINGS, load_protocol

GENESIS = 1_900_000_000


@pytest.fixture(scope="session")
def lyra_chain():
    """One chain for the session, with Lyra and its traders on it."""
    with anvil(timestamp=GENESIS) as running:
        yield put_up(running.url)


@pytest.fixture
def lyra(lyra_chain):
    """The session's chain, as it was before the test once the test is over."""
    snapshot = lyra_chain.ask("evm_snapshot")
    yield lyra_chain
    assert lyra_chain.ask("evm_revert", snapshot)


@pytest.fixture(scope="session")
def protocol():
    """The shipped binding."""
    return load_protocol("lyra_v1", DEFAULT_SETTINGS)
