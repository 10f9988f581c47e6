"""Fixtures of a development chain with Lyra v1 on it, bare or under the steward, as it was again after every test.

Test modules load them with `pytest_plugins = ["lyra_chains"]`.
"""

from __future__ import annotations

import pytest
from lyra import put_up
from lyra_steward import put_under

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


@pytest.fixture(scope="module")
def guarded_chain(lyra_chain, protocol, tmp_path_factory):
    """Lyra with the steward over it for the module, as an operator would put it up."""
    snapshot = lyra_chain.ask("evm_snapshot")
    yield put_under(lyra_chain, protocol, tmp_path_factory.mktemp("guarded"))
    assert lyra_chain.ask("evm_revert", snapshot)


@pytest.fixture
def guarded(guarded_chain):
    """The module's chain, as it was before the test once the test is over."""
    snapshot = guarded_chain.lyra.ask("evm_snapshot")
    yield guarded_chain
    assert guarded_chain.lyra.ask("evm_revert", snapshot)
