"""Fixtures of a whole set-up on a development chain, given back unchanged after every test, and of checking it.

Test modules load them with `pytest_plugins = ["chains", "bare_chains", "check_chains"]`.
"""

from __future__ import annotations

import asyncio

import pytest
from checks import BINDING, POLICIES, PROTOCOL, ROLES
from setups import ADDRESSES, trial_of
from trials import MARKET

from chain.rpc import Rpc
from config.load import load_protocol
from keeper.check import examine
from keeper.ground import Source
from keeper.trial import deploy_on


@pytest.fixture(scope="module")
def deployed(fresh_chain):
    """A trial market and its steward, every role with a key of its own."""
    return deploy_on(fresh_chain.deployer, {MARKET: PROTOCOL}, {MARKET: POLICIES}, 1_000.0, ROLES)


@pytest.fixture
def world(deployed, bare):
    """The contracts by name, on a chain that is given back unchanged."""
    return trial_of(bare, deployed)


@pytest.fixture
def as_timelock(deployed, bare):
    """Make a call that only governance may, as the timelock would after its delay."""
    return lambda contract, function, *arguments: bare.act(deployed.timelock, contract, function, *arguments)


@pytest.fixture
def checked(deployed, bare, tmp_path):
    """Check with a binding changed by replacements, or a deployment changed by fields; return the report."""

    def run(*replacements, own=(ADDRESSES[1],), names=(MARKET,), **changes):
        text = BINDING
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new, 1)
        path = tmp_path / "binding.toml"
        path.write_text(text)
        source = Source(load_protocol("binding.toml", tmp_path / "keeper.toml"), "binding.toml", text)

        async def go():
            async with Rpc(bare.url) as rpc:
                return await examine(rpc, deployed.model_copy(update=changes), dict.fromkeys(names, source), own)

        return asyncio.run(go())

    return run
