"""Check what a deployment puts up, and what it refuses."""

from __future__ import annotations

import json
import re

import pytest
from eth_utils.crypto import keccak
from processes import closed_port
from pydantic import SecretStr
from setups import ADDRESSES, OWNER, settings_file, trial_of
from trials import MARKET
from web3.exceptions import Web3Exception

from chain.anvil import CHAIN_ID, KEYS
from chain.deploy import Deployer, DeployError
from chain.policy import Policy
from chain.rollout import DEFAULT_ADMIN_ROLE, GUARDIAN_ROLE, Charge
from chain.steward import ACTIVE, PAUSED, market_id
from config.deployment import load_deployment
from config.load import DEFAULT_SETTINGS, PACKAGE, load_policies, load_protocol
from keeper.terminal import EXIT_FAILED, EXIT_USAGE
from keeper.trial import deploy_on

pytestmark = pytest.mark.integration
pytest_plugins = ["chains", "bare_chains"]

PROTOCOL = load_protocol("options_market", DEFAULT_SETTINGS)
POLICIES = load_policies(PROTOCOL)
SPLIT = ("--signer", ADDRESSES[1], "--guardian", ADDRESSES[2], "--governance", ADDRESSES[3])


@pytest.fixture
def config(bare, tmp_path):
    """Settings of a place where nothing is deployed yet."""
    return settings_file(tmp_path, bare.url)


@pytest.fixture
def target(tmp_path):
    """Where the deployment file goes."""
    return tmp_path / "deployment.json"


# What stands afterwards


def test_deploy__trial__writes_the_addresses_of_what_stands_there(command, config, bare, target):
    ended = command("deploy", "-c", config, "--price", 1234.5, *SPLIT, key=OWNER)
    assert ended.code == 0, ended
    assert OWNER[2:] not in ended.out + ended.err
    assert "several roles" not in ended.err
    found = load_deployment(target)
    assert (found.chain_id, found.signers, found.threshold) == (CHAIN_ID, [ADDRESSES[1]], 1)
    assert (found.guardians, found.governance) == ([ADDRESSES[2]], [ADDRESSES[3]])
    eth = bare.deployer.web3.eth
    assert found.code_hashes["risk_steward"] == "0x" + keccak(bytes(eth.get_code(found.steward))).hex()
    assert len(found.code_hashes) == 6
    contracts = trial_of(bare, found)
    assert contracts["market"].functions.price().call()[0] == 1234.5 * 10**8
    assert not target.with_name("deployment.json.progress").exists()


def quorum_in_force(bare, found):
    """Read whose signatures the trial market's policy asks for, from the registry."""
    contracts = trial_of(bare, found)
    stored = contracts["steward"].functions.policy_of(market_id(MARKET)).call()
    return contracts["registry"].functions.quorum(stored).call()


def test_deploy__trial__steward_holds_setter_role_policy_and_quorum(command, config, bare, target):
    assert command("deploy", "-c", config, *SPLIT, key=OWNER).code == 0
    found = load_deployment(target)
    contracts = trial_of(bare, found)
    steward = contracts["steward"].functions
    state = steward.market_state(market_id(MARKET)).call()
    initial = [POLICIES.limits[parameter.name].initial for parameter in PROTOCOL.parameters]
    assert (state[0], state[1], state[8]) == (ACTIVE, found.markets[MARKET].policy, initial)
    assert contracts["market"].functions.parameter_setter().call() == found.steward
    assert quorum_in_force(bare, found) == [1, [ADDRESSES[1]]]
    policy = Policy.read(bytes(bare.deployer.web3.eth.get_code(found.markets[MARKET].policy)))
    charge = Charge(MARKET, found.markets[MARKET], PROTOCOL, POLICIES)
    assert policy == charge.policy(1, [ADDRESSES[1]])


def test_deploy__trial__leaves_the_timelock_as_the_only_governance(command, config, bare, target):
    assert command("deploy", "-c", config, *SPLIT, key=OWNER).code == 0
    found = load_deployment(target)
    contracts = trial_of(bare, found)
    has_role, timelock = contracts["steward"].functions.hasRole, contracts["timelock"].functions
    assert has_role(DEFAULT_ADMIN_ROLE, found.timelock).call()
    assert not has_role(DEFAULT_ADMIN_ROLE, bare.deployer.address).call()
    assert [has_role(GUARDIAN_ROLE, one).call() for one in ADDRESSES[:4]] == [False, False, True, False]
    assert timelock.get_minimum_delay().call() == POLICIES.timelock_delay_seconds
    for role in (timelock.PROPOSER_ROLE().call(), timelock.CANCELLER_ROLE().call(), timelock.EXECUTOR_ROLE().call()):
        assert [timelock.hasRole(role, one).call() for one in ADDRESSES[:4]] == [False, False, False, True]
    assert not timelock.hasRole(DEFAULT_ADMIN_ROLE, bare.deployer.address).call()


def test_deploy__several_signers__are_kept_ascending_with_their_threshold(command, config, bare, target):
    arguments = [part for address in ADDRESSES for part in ("--signer", address.lower())]
    ended = command("deploy", "-c", config, *arguments, "--threshold", 3, key=OWNER)
    assert ended.code == 0, ended
    found = load_deployment(target)
    assert found.signers == sorted(ADDRESSES, key=lambda one: int(one, 16))
    assert quorum_in_force(bare, found) == [3, found.signers]


def test_deploy__no_roles_given__all_are_the_deployers_and_it_says_so(command, config, target):
    ended = command("deploy", "-c", config, key=OWNER)
    assert "one key holds several roles" in ended.err
    found = load_deployment(target)
    assert {*found.signers, *found.guardians, *found.governance} == {ADDRESSES[0]}


def test_deploy__governance__acts_through_the_timelock_after_its_delay_alone(command, config, bare, target):
    assert command("deploy", "-c", config, *SPLIT, key=OWNER).code == 0
    found = load_deployment(target)
    contracts = trial_of(bare, found)
    data = contracts["steward"].encode_abi("unpause", [[market_id(MARKET)]])
    operation = (found.steward, 0, data, b"\0" * 32, b"\0" * 32)
    state = contracts["steward"].functions.market_state(market_id(MARKET))
    bare.act(ADDRESSES[2], contracts["steward"], "pause", [market_id(MARKET)])
    assert state.call()[0] == PAUSED
    bare.act(ADDRESSES[3], contracts["timelock"], "schedule", *operation, POLICIES.timelock_delay_seconds)
    execute = contracts["timelock"].functions.execute(*operation)
    with pytest.raises(Web3Exception, match="operation is not ready"):
        execute.call({"from": ADDRESSES[3]})
    bare.ask("evm_increaseTime", POLICIES.timelock_delay_seconds)
    bare.ask("evm_mine")
    bare.act(ADDRESSES[3], contracts["timelock"], "execute", *operation)
    assert state.call()[0] == ACTIVE


# Protocols that stand


@pytest.fixture
def standing(bare, tmp_path):
    """A market that someone else put up and owns, and the file that says where it stands."""
    owner = Deployer.connect(bare.url, SecretStr(KEYS[3]), CHAIN_ID, lambda _: None)
    token = owner.create("collateral_token")
    feed = owner.create("price_feed", "SPX / USD")
    owner.send(feed, "post", 10**11, owner.head()[1])
    initial = [POLICIES.limits[parameter.name].initial for parameter in PROTOCOL.parameters]
    market = owner.create("options_market", "SPX", token.address, feed.address, initial, 60, 10**9)
    path = tmp_path / "markets.toml"
    path.write_text(f'[markets.{MARKET}.contracts]\nmarket = "{market.address}"\n')
    return path, market


def test_deploy__protocol_that_stands__prints_the_call_that_hands_it_over(command, config, bare, target, standing):
    path, market = standing
    ended = command("deploy", "-c", config, "--markets", path, *SPLIT, key=OWNER)
    assert ended.code == 0, ended
    found = load_deployment(target)
    assert found.markets[MARKET].contracts == {"market": market.address}
    assert set(found.code_hashes) == {"policy_registry", "risk_steward", "timelock", f"{MARKET}.market"}
    said = re.search(
        rf"its owner {ADDRESSES[3]} calls set_parameter_setter\({found.steward}\) on {market.address}: data (0x\w+)",
        ended.err,
    )
    assert said, ended.err
    bare.send_as(ADDRESSES[3], market.address, said[1])
    assert market.functions.parameter_setter().call() == found.steward


def test_deploy__protocol_that_stands_and_is_handed_over__says_nothing(command, config, bare, target, standing):
    path, market = standing
    command("deploy", "-c", config, "--markets", path, *SPLIT, key=OWNER)
    bare.act(ADDRESSES[3], market, "set_parameter_setter", load_deployment(target).steward)
    again = command("check", "-c", config, key=KEYS[1])
    assert again.code == 0, again


MARKETS_REFUSED = {
    "other market": (
        '[markets.X.contracts]\nmarket = "0x{a}"',
        "markets.SPX: missing, and the settings have this market",
    ),
    "too many": (
        '[markets.SPX.contracts]\nmarket = "0x{a}"\n[markets.X.contracts]\nmarket = "0x{a}"',
        "markets.X: is no market of the settings",
    ),
    "contract": (
        '[markets.SPX.contracts]\nother = "0x{a}"',
        "markets.SPX: binding options_market needs contracts.market",
    ),
    "no code": (
        '[markets.SPX.contracts]\nmarket = "0x{a}"',
        "markets.SPX.contracts.market = 0x{a}: no contract stands",
    ),
    "no Safe": (
        '[markets.SPX]\nexecutor = "0x{b}"\ncontracts.market = "{m}"',
        "markets.SPX.executor = 0x{b}: no contract",
    ),
    "executor is the market": (
        '[markets.SPX]\nexecutor = "{m}"\ncontracts.market = "{m}"',
        "markets.SPX.executor = {m}: is contracts.market itself, of which set_parameters(uint256[6]) is called",
    ),
    "other contract": (
        '[markets.SPX.contracts]\nmarket = "{f}"',
        "markets.SPX.contracts.market = {f}: its parameters() gives no spot_shock_up: ",
    ),
}


@pytest.mark.parametrize("case", MARKETS_REFUSED)
def test_deploy__markets_file_is_not_of_these_settings__is_refused_before_anything_is_sent(
    command, config, bare, standing, case
):
    path, market = standing
    feed = market.functions.oracle().call()
    places = {"a": "11" * 20, "b": "22" * 20, "m": market.address, "f": feed}
    text, words = (part.format(**places) for part in MARKETS_REFUSED[case])
    path.write_text(text)
    before = bare.transactions()
    ended = command("deploy", "-c", config, "--markets", path, key=OWNER)
    assert ended.code == EXIT_USAGE, ended
    assert words in ended.err
    assert bare.transactions() == before


# What is refused


def test_deploy__file_exists__is_refused_before_anything_is_sent(command, config, bare, target):
    target.write_text("precious")
    before = bare.transactions()
    ended = command("deploy", "-c", config, key=OWNER)
    assert ended.code == EXIT_USAGE
    assert "exists; --force replaces it" in ended.err
    assert target.read_text() == "precious"
    assert bare.transactions() == before


def test_deploy__file_exists_and_force__replaces_it(command, config, target):
    target.write_text("stale")
    assert command("deploy", "-c", config, "--force", key=OWNER).code == 0
    assert json.loads(target.read_text())["chain_id"] == CHAIN_ID


REFUSED = {
    "signer": (("--signer", "0x1234"), "--signer 0x1234: must be an address"),
    "zero signer": (("--signer", "0x" + "00" * 20), "must not be the zero address"),
    "signer twice": (
        ("--signer", ADDRESSES[1], "--signer", ADDRESSES[1].lower()),
        f"--signer {ADDRESSES[1]}: is given twice",
    ),
    "signer without 0x": (("--signer", ADDRESSES[1][2:]), f"--signer {ADDRESSES[1][2:]}: must be an address, 0x and"),
    "signer with 0X": (("--signer", "0X" + ADDRESSES[1][2:]), "must be an address, 0x and 40 hex digits"),
    "checksum": (("--guardian", "0x" + ADDRESSES[1][2:].swapcase()), "its checksum right"),
    "too many govern": (
        [part for number in range(1, 18) for part in ("--governance", f"0x{number:040x}")],
        "--governance: 17 addresses, the timelock takes 16",
    ),
    "guardian": (("--guardian", "alice"), "--guardian alice: must be an address"),
    "governance": (("--governance", ADDRESSES[1][:-1]), "must be an address"),
    "threshold": (("--threshold", 2), "--threshold 2: must be in 1..1, the number of signers"),
    "no threshold": (("--threshold", 0), "--threshold 0: must be in 1..1, the number of signers"),
    "price zero": (("--price", "0"), "--price 0: must be in 1e-08..1e+19"),
    "price nan": (("--price", "nan"), "--price nan: must be in 1e-08..1e+19"),
    "price below the feed's digits": (("--price", "1e-9"), "--price 1e-09: must be in 1e-08..1e+19"),
    "price above what settles": (("--price", "1e40"), "--price 1e+40: must be in 1e-08..1e+19"),
    "policies": (("--policies", "nowhere.toml"), "nowhere.toml: cannot be read"),
    "markets": (("--markets", "nowhere.toml"), "nowhere.toml: cannot be read"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_deploy__argument_is_wrong__is_refused_before_anything_is_sent(command, config, bare, target, case):
    arguments, words = REFUSED[case]
    before = bare.transactions()
    ended = command("deploy", "-c", config, *arguments, key=OWNER)
    assert ended.code == EXIT_USAGE, ended
    assert words in ended.err
    assert bare.transactions() == before
    assert not target.exists()


def test_deploy__policies_without_a_start__cannot_put_up_a_trial(command, config, bare, tmp_path):
    text = (PACKAGE / "policies" / "options_market.toml").read_text()
    path = tmp_path / "policies.toml"
    path.write_text(text.replace("ramp_seconds = 21_600\n", "").replace("initial = 500\n", ""))
    ended = command("deploy", "-c", config, "--policies", path, key=OWNER)
    assert ended.code == EXIT_USAGE
    assert "a trial market needs ramp_seconds, limits.liquidation_penalty.initial" in ended.err
    assert bare.transactions() == 0


TRIALS_REFUSED = {
    "ordering": (
        {"initial = 3_300": "initial = 5_500"},
        "limits.liquidation_threshold.initial = 5500, limits.maintenance_factor.initial = 5000: must keep",
    ),
    "age": ({"max_price_age_seconds = 90_000": f"max_price_age_seconds = {10**26}"}, "max_price_age_seconds"),
    "the market's own rule": (
        {"initial = 350\nminimum = 200\nmaximum = 4_000": "initial = 10_000\nminimum = 200\nmaximum = 10_000"},
        "a trial market cannot start at spot_shock_up 300, spot_shock_down 10000",
    ),
}


@pytest.mark.parametrize("case", TRIALS_REFUSED)
def test_deploy__trial_that_could_not_start__is_refused_before_anything_is_sent(command, config, bare, tmp_path, case):
    changes, words = TRIALS_REFUSED[case]
    text = (PACKAGE / "policies" / "options_market.toml").read_text()
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "policies.toml"
    path.write_text(text)
    before = bare.transactions()
    ended = command("deploy", "-c", config, "--policies", path, key=OWNER)
    assert ended.code == EXIT_USAGE, ended
    assert f"{path}:" in ended.err
    assert words in ended.err
    assert bare.transactions() == before


def test_deploy__trial_market_with_too_long_a_name__is_refused_before_anything_is_sent(command, bare, tmp_path):
    config = settings_file(tmp_path, bare.url, name='"SEVENTEENLETTERS1"')
    ended = command("deploy", "-c", config, key=OWNER)
    assert ended.code == EXIT_USAGE, ended
    assert "market SEVENTEENLETTERS1: a trial market's name has at most 16 bytes" in ended.err
    assert bare.transactions() == 0


def test_deploy__binding_of_another_protocol__puts_up_no_trial(command, bare, tmp_path):
    config = settings_file(tmp_path, bare.url, "lyra_v1")
    ended = command("deploy", "-c", config, key=OWNER)
    assert ended.code == EXIT_USAGE, ended
    assert "binding lyra_v1 needs contracts.option_greek_cache" in ended.err
    assert bare.transactions() == 0


def test_deploy__file_is_a_folder_and_force__is_refused_before_anything_is_sent(command, config, bare, target):
    target.mkdir()
    before = bare.transactions()
    ended = command("deploy", "-c", config, "--force", key=OWNER)
    assert ended.code == EXIT_USAGE, ended
    assert f"{target}: is a folder" in ended.err
    assert bare.transactions() == before


def test_deploy__folder_of_the_file_missing__is_refused_before_anything_is_sent(command, bare, tmp_path):
    config = settings_file(tmp_path, bare.url, deployment=f'"{tmp_path / "none" / "deployment.json"}"')
    before = bare.transactions()
    ended = command("deploy", "-c", config, key=OWNER)
    assert ended.code == EXIT_USAGE
    assert "cannot be written" in ended.err
    assert bare.transactions() == before


def test_deploy__without_a_key__exits_2(command, config):
    ended = command("deploy", "-c", config)
    assert ended.code == EXIT_USAGE
    assert "KEEPER_PRIVATE_KEY" in ended.err


def test_deploy__endpoint_of_another_chain__exits_1_and_names_both(command, bare, tmp_path):
    config = settings_file(tmp_path, bare.url, chain_id="5")
    ended = command("deploy", "-c", config, key=OWNER)
    assert ended.code == EXIT_FAILED
    assert f"serves chain {CHAIN_ID}, chain.chain_id is 5" in ended.err


def test_deploy__endpoint_down__exits_1_without_its_credentials(command, config):
    url = f"http://u:hunter2@127.0.0.1:{closed_port()}/apikey-1234"
    ended = command("deploy", "-c", config, key=OWNER, KEEPER_RPC_URL=url)
    assert ended.code == EXIT_FAILED
    assert "Traceback" not in ended.err
    assert not any(secret in ended.out + ended.err for secret in ("hunter2", "apikey-1234", OWNER[2:]))


def test_deploy__account_without_money__names_the_step_and_writes_no_file(command, config, bare, target):
    bare.ask("anvil_setBalance", bare.deployer.address, "0x0")
    ended = command("deploy", "-c", config, key=OWNER)
    assert ended.code == EXIT_FAILED
    assert re.fullmatch(r"error: SPX: deploy collateral_token: [A-Z][\w :]+ \(code -\d+\)\n", ended.err), ended.err
    assert not target.exists()


def test_deploy__corridor_that_excludes_a_live_value__is_refused_before_anything_is_sent(
    command, config, bare, tmp_path, standing
):
    text = (PACKAGE / "policies" / "options_market.toml").read_text()
    path = tmp_path / "policies.toml"
    path.write_text(text.replace("initial = 500\nminimum = 100", "minimum = 501"))
    before = bare.transactions()
    ended = command("deploy", "-c", config, "--policies", path, "--markets", standing[0], key=OWNER)
    assert ended.code == EXIT_USAGE
    rule = "SPX has 500 live, outside minimum..maximum 501..1000"
    assert f"{path}: limits.liquidation_penalty: {rule}" in ended.err
    assert bare.transactions() == before


def test_deploy__live_values_that_break_an_ordering__are_refused_before_anything_is_sent(
    command, bare, tmp_path, standing
):
    binding = (PACKAGE / "protocols" / "options_market.toml").read_text()
    line = "spot_shock_down * 2 <= spot_shock_up"
    stricter = binding.replace('invariants = ["', f'invariants = ["{line}", "').replace(
        'name = "options_', 'name = "my_', 1
    )
    (tmp_path / "mine.toml").write_text(stricter)
    limits = tmp_path / "limits.toml"
    limits.write_text((PACKAGE / "policies" / "options_market.toml").read_text())
    config = settings_file(tmp_path, bare.url, "mine.toml")
    before = bare.transactions()
    ended = command("deploy", "-c", config, "--policies", limits, "--markets", standing[0], key=OWNER)
    assert ended.code == EXIT_USAGE, ended
    found = "markets.SPX: spot_shock_down 350 and spot_shock_up 300 are live, which breaks"
    assert f"{standing[0]}: {found} '{line}' of binding my_market" in ended.err
    assert bare.transactions() == before


def test_deploy__endpoint_goes_away_midway__names_the_step_without_the_url(bare):
    steps = []

    def cut_the_line(step):
        steps.append(step)
        if step.endswith("deploy price_feed"):
            deployer.web3.provider.endpoint_uri = f"http://u:hunter2@127.0.0.1:{closed_port()}/apikey-1234"

    deployer = Deployer.connect(bare.url, SecretStr(OWNER), CHAIN_ID, cut_the_line)
    with pytest.raises(DeployError, match="SPX: deploy price_feed: ") as caught:
        deploy_on(deployer, {MARKET: PROTOCOL}, {MARKET: POLICIES}, 1_000.0)
    assert steps == ["SPX: deploy collateral_token", "SPX: deploy price_feed"]
    assert not any(secret in str(caught.value) for secret in ("hunter2", "apikey-1234"))
    assert caught.value.__cause__ is None
