"""Fixtures of a development chain with the trial market on it, given back unchanged after every test.

Test modules load them with `pytest_plugins = ["chains"]`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading

import pytest
from processes import Ended
from pydantic import SecretStr
from trials import GENESIS, MARKET, PAGE, SPOT, Trial, open_book, publish, readings, write_settings

from chain.anvil import CHAIN_ID, KEYS, anvil
from chain.deploy import Deployer
from chain.rollout import Roles
from chain.rpc import Rpc
from config.load import DEFAULT_SETTINGS, load_policies, load_protocol, load_settings
from keeper.broker import local_broker
from keeper.cli import main
from keeper.journal import Journal
from keeper.trial import deploy_on


@pytest.fixture(scope="session")
def chain():
    """One chain for the session, with the trial market deployed."""
    protocol = load_protocol("options_market", DEFAULT_SETTINGS)
    policies = load_policies(protocol)
    with anvil(timestamp=GENESIS) as running:
        deployer = Deployer.connect(running.url, SecretStr(KEYS[0]), CHAIN_ID, lambda _: None)
        keeper, owner = deployer.web3.eth.account.from_key(KEYS[1]).address, (deployer.address,)
        roles = Roles((keeper,), 1, guardians=owner, governance=owner, delay_seconds=policies.timelock_delay_seconds)
        deployment = deploy_on(deployer, {MARKET: protocol}, {MARKET: policies}, SPOT, roles)
        addresses = deployment.markets[MARKET].contracts
        market = deployer.at("options_market", addresses["market"])
        token = deployer.at("collateral_token", addresses["collateral"])
        risky = open_book(deployer, market, token)
        view = protocol.accounts.view.model_copy(update={"page": PAGE})
        paged = protocol.model_copy(update={"accounts": protocol.accounts.model_copy(update={"view": view})})
        yield Trial(
            running.url,
            deployer,
            deployment,
            paged,
            market,
            deployer.at("price_feed", addresses["oracle"]),
            token,
            deployer.at("risk_steward", deployment.steward),
            deployer.at("policy_registry", deployment.registry),
            risky,
        )


@pytest.fixture
def trial(chain):
    """The session's chain, as it was before the test once the test is over."""
    snapshot = chain.ask("evm_snapshot")
    yield chain
    chain.ask("evm_setAutomine", True)
    assert chain.ask("evm_revert", snapshot)


@pytest.fixture
async def rpc(trial):
    """A connection to the chain."""
    async with Rpc(trial.url) as connection:
        yield connection


@pytest.fixture
async def journal(tmp_path):
    """An empty journal on disk, whose clock stands still."""
    opened = await Journal.open(f"sqlite:///{tmp_path / 'keeper.db'}", lambda: GENESIS * 1000)
    yield opened
    await opened.close()


@pytest.fixture
def folders(tmp_path):
    """A folder each for two keepers who know nothing of each other."""
    both = tmp_path / "ours", tmp_path / "theirs"
    for folder in both:
        folder.mkdir()
    return both


@pytest.fixture
def broker():
    """The URL of a broker with a thread of its own, for tests that run the command line in theirs.

    One a test: pytest-randomly seeds every test alike, and amqtt would name the clients of two tests the same.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    running = contextlib.AsyncExitStack()
    try:
        yield asyncio.run_coroutine_threadsafe(running.enter_async_context(local_broker()), loop).result(10)
        asyncio.run_coroutine_threadsafe(running.aclose(), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@pytest.fixture
def config(trial, broker, tmp_path, monkeypatch):
    """Settings of a keeper whose feeds have a fresh quote each."""
    monkeypatch.chdir(tmp_path)
    path = write_settings(tmp_path, trial, broker)
    asyncio.run(publish(load_settings(path, {}), *readings(trial)))
    return path


@pytest.fixture
def command(capsys, monkeypatch):
    """Run the command line in this process: `command("once", key=KEYS[1])` gives its exit code and output."""

    def run(*arguments, key=None, **environment):
        for name in [name for name in os.environ if name.startswith("KEEPER_")]:
            monkeypatch.delenv(name)
        for name, value in (({"KEEPER_PRIVATE_KEY": key} if key else {}) | environment).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["keeper", *(str(argument) for argument in arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return Ended(ended.value.code, said.out, said.err)

    return run
