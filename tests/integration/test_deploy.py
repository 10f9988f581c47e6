"""Check what a deployment puts up, and that it refuses before it sends what could only fail later."""

from __future__ import annotations

import json

import pytest
from eth_utils.crypto import keccak
from pydantic import SecretStr
from trials import MARKET, closed_port, write_settings

from chain.anvil import CHAIN_ID, KEYS
from chain.deploy import GUARDIAN_ROLE, KEEPER_ROLE, Deployer, DeployError
from config.deployment import load_deployment
from config.load import DEFAULT_SETTINGS, load_policies, load_protocol
from keeper.cli import EXIT_FAILED, EXIT_USAGE
from keeper.trial import deploy_on

pytestmark = pytest.mark.integration
pytest_plugins = ["chains"]

OWNER = KEYS[0]
MARKET_KEY = keccak(text=MARKET)


@pytest.fixture
def config(trial, tmp_path):
    """Settings of a place where nothing is deployed yet."""
    path = write_settings(tmp_path, trial)
    (tmp_path / "deployment.json").unlink()
    return path


def transactions(trial):
    return trial.deployer.web3.eth.get_transaction_count(trial.deployer.address)


def test_deploy__on_a_chain__writes_the_addresses_of_what_stands_there(command, config, trial, tmp_path):
    ended = command("deploy", "-c", config, "--price", 1234.5, "--keeper", trial.deployment.keeper, key=OWNER)
    assert ended.code == 0, ended
    assert OWNER[2:] not in ended.out + ended.err
    found = load_deployment(tmp_path / "deployment.json")
    assert (found.chain_id, found.keeper) == (CHAIN_ID, trial.deployment.keeper)
    code = trial.deployer.web3.eth.get_code
    assert found.code_hashes["risk_steward"] == "0x" + keccak(bytes(code(found.steward))).hex()
    market = trial.deployer.at("options_market", found.markets[MARKET].market)
    assert market.functions.price().call()[0] == 1234.5 * 10**8


def test_deploy__steward__holds_the_setter_role_the_limits_and_the_roles(trial):
    protocol = load_protocol("options_market", DEFAULT_SETTINGS)
    policies = load_policies(protocol)
    view = trial.steward.functions.market_state(MARKET_KEY).call()
    for name, column in (("minimum", 5), ("maximum", 6), ("max_step_up", 7), ("max_step_down", 8)):
        assert view[column] == [getattr(policies.limits[p.name], name) for p in protocol.parameters], name
    assert view[9] == [policies.limits[p.name].cooldown_seconds for p in protocol.parameters]
    assert view[11] == [1, 1, 0, 2, 2, 0]
    assert trial.steward.functions.probation(MARKET_KEY).call() == policies.probation_seconds
    assert trial.market.functions.parameter_setter().call() == trial.steward.address
    has_role = trial.steward.functions.hasRole
    assert has_role(KEEPER_ROLE, trial.deployment.keeper).call()
    assert not has_role(KEEPER_ROLE, trial.deployer.address).call()
    assert has_role(GUARDIAN_ROLE, trial.deployer.address).call()


def test_deploy__file_exists__is_refused_before_anything_is_sent(command, config, trial, tmp_path):
    target = tmp_path / "deployment.json"
    target.write_text("precious")
    before = transactions(trial)
    ended = command("deploy", "-c", config, key=OWNER)
    assert ended.code == EXIT_USAGE
    assert "exists; --force replaces it" in ended.err
    assert target.read_text() == "precious"
    assert transactions(trial) == before


def test_deploy__file_exists_and_force__replaces_it(command, config, tmp_path):
    target = tmp_path / "deployment.json"
    target.write_text("stale")
    assert command("deploy", "-c", config, "--force", key=OWNER).code == 0
    assert json.loads(target.read_text())["chain_id"] == CHAIN_ID


REFUSED = {
    "keeper": (("--keeper", "0x1234"), "--keeper 0x1234: must be an address"),
    "guardian": (("--guardian", "alice"), "--guardian alice: must be an address"),
    "price_zero": (("--price", "0"), "--price 0: must be above 0"),
    "price_nan": (("--price", "nan"), "--price nan: must be above 0"),
    "policies": (("--policies", "nowhere.toml"), "nowhere.toml: cannot be read"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_deploy__argument_is_wrong__is_refused_before_anything_is_sent(command, config, trial, tmp_path, case):
    arguments, words = REFUSED[case]
    before = transactions(trial)
    ended = command("deploy", "-c", config, *arguments, key=OWNER)
    assert ended.code == EXIT_USAGE, ended
    assert words in ended.err
    assert transactions(trial) == before
    assert not (tmp_path / "deployment.json").exists()


def test_deploy__folder_of_the_file_missing__is_refused_before_anything_is_sent(command, trial, tmp_path):
    config = write_settings(tmp_path, trial, deployment=f'"{tmp_path / "none" / "deployment.json"}"')
    before = transactions(trial)
    ended = command("deploy", "-c", config, key=OWNER)
    assert ended.code == EXIT_USAGE
    assert "cannot be written" in ended.err
    assert transactions(trial) == before


def test_deploy__without_a_key__exits_2(command, config):
    ended = command("deploy", "-c", config)
    assert ended.code == EXIT_USAGE
    assert "KEEPER_PRIVATE_KEY" in ended.err


def test_deploy__endpoint_of_another_chain__exits_1_and_names_both(command, trial, tmp_path):
    config = write_settings(tmp_path, trial, chain_id=5)
    ended = command("deploy", "-c", config, "--force", key=OWNER)
    assert ended.code == EXIT_FAILED
    assert f"serves chain {CHAIN_ID}, chain.chain_id is 5" in ended.err


def test_deploy__endpoint_down__exits_1_without_its_credentials(command, config):
    ended = command(
        "deploy", "-c", config, key=OWNER, KEEPER_RPC_URL=f"http://u:hunter2@127.0.0.1:{closed_port()}/apikey-1234"
    )
    assert ended.code == EXIT_FAILED
    assert "Traceback" not in ended.err
    assert not any(secret in ended.out + ended.err for secret in ("hunter2", "apikey-1234", OWNER[2:]))


def test_deploy__account_without_money__names_the_step_and_writes_no_file(command, config, trial, tmp_path):
    trial.ask("anvil_setBalance", trial.deployer.address, "0x0")
    ended = command("deploy", "-c", config, key=OWNER)
    assert ended.code == EXIT_FAILED
    assert "deploy collateral_token: " in ended.err
    assert not (tmp_path / "deployment.json").exists()


def test_deploy_on__start_value_outside_the_corridor__names_the_step(trial):
    protocol = load_protocol("options_market", DEFAULT_SETTINGS)
    policies = load_policies(protocol)
    limits = policies.limits["spot_shock_up"].model_copy(update={"initial": 5_000})
    wrong = policies.model_copy(update={"limits": policies.limits | {"spot_shock_up": limits}})
    deployer = Deployer.connect(trial.url, SecretStr(OWNER), CHAIN_ID, lambda _: None)
    with pytest.raises(DeployError, match="activate: "):
        deploy_on(deployer, {MARKET: protocol}, {MARKET: wrong}, 1_000.0)


def test_deploy_on__endpoint_goes_away_midway__names_the_step_without_the_url(trial):
    protocol = load_protocol("options_market", DEFAULT_SETTINGS)
    policies = load_policies(protocol)
    steps = []

    def cut_the_line(step):
        steps.append(step)
        if step == "deploy price_feed":
            deployer.web3.provider.endpoint_uri = f"http://u:hunter2@127.0.0.1:{closed_port()}/apikey-1234"

    deployer = Deployer.connect(trial.url, SecretStr(OWNER), CHAIN_ID, cut_the_line)
    with pytest.raises(DeployError, match="deploy price_feed: ") as caught:
        deploy_on(deployer, {MARKET: protocol}, {MARKET: policies}, 1_000.0)
    assert steps == ["deploy collateral_token", "deploy price_feed"]
    assert not any(secret in str(caught.value) for secret in ("hunter2", "apikey-1234"))
    assert caught.value.__cause__ is None
