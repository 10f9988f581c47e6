"""Fixtures of two trial markets under governance, given back unchanged after every test, and of its commands.

Test modules load them with `pytest_plugins = ["chains", "bare_chains", "govern_chains"]`.
"""

from __future__ import annotations

import re

import pytest
from governing import DELAY, GOVERNANCE, OTHER, POLICIES, PROTOCOL, pass_time
from setups import ADDRESSES, settings_file, trial_of
from trials import MARKET

from chain.anvil import KEYS
from chain.rollout import Roles
from config.load import PACKAGE
from keeper.trial import deploy_on, write_deployment


@pytest.fixture(scope="module")
def governed(fresh_chain):
    """Two trial markets whose governance is account 3, guardian account 2, signer account 1."""
    roles = Roles((ADDRESSES[1],), 1, (ADDRESSES[2],), (ADDRESSES[3],), DELAY)
    markets = (MARKET, OTHER)
    return deploy_on(
        fresh_chain.deployer, dict.fromkeys(markets, PROTOCOL), dict.fromkeys(markets, POLICIES), 1_000.0, roles
    )


@pytest.fixture
def steward(governed, bare):
    """The steward, on a chain that is given back unchanged."""
    return trial_of(bare, governed)["steward"]


@pytest.fixture
def place(governed, bare, tmp_path):
    """Settings of the deployment."""
    write_deployment(tmp_path / "deployment.json", governed)
    return settings_file(tmp_path, bare.url)


@pytest.fixture
def govern(place, command):
    """Run `keeper govern`."""
    return lambda *arguments, key=GOVERNANCE: command("govern", "-c", place, *arguments, key=key)


@pytest.fixture
def put(govern, place, command, bare, tmp_path):
    """Store a policy with `keeper policy`, bring it into force, and return what the command said."""

    def run(*arguments, market=MARKET, **limits):
        path = tmp_path / "limits.toml"
        text = (PACKAGE / "policies" / "options_market.toml").read_text()
        for old, new in limits.items():
            text = re.sub(rf"(?m)^{old} = .*$", f"{old} = {new}", text)
        path.write_text(text)
        ended = command("policy", "-c", place, "--market", market, "--policies", path, *arguments, key=KEYS[0])
        assert ended.code == 0, ended
        decision = re.search(rf"next: keeper govern (set_policy {market} 0x\w+)", ended.out)[1].split()
        govern(*decision, "--send")
        pass_time(bare, DELAY)
        govern(*decision, "--send")
        return ended.out

    return run
