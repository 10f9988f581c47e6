"""Follow a decision of governance from the command line through the timelock into force."""

from __future__ import annotations

import re

import pytest
from setups import ADDRESSES, STRANGER, settings_file, trial_of
from trials import MARKET

from chain.anvil import KEYS
from chain.policy import Policy
from chain.rollout import GUARDIAN_ROLE, Roles
from chain.steward import market_id
from config.load import DEFAULT_SETTINGS, PACKAGE, load_policies, load_protocol
from keeper.terminal import EXIT_FAILED, EXIT_USAGE
from keeper.trial import deploy_on, write_deployment

pytestmark = pytest.mark.integration
pytest_plugins = ["chains", "bare_chains"]

PROTOCOL = load_protocol("options_market", DEFAULT_SETTINGS)
POLICIES = load_policies(PROTOCOL)
DELAY = POLICIES.timelock_delay_seconds
GOVERNANCE = KEYS[3]


@pytest.fixture(scope="module")
def deployed(fresh_chain):
    """A trial market whose governance is account 3, guardian account 2, signer account 1."""
    roles = Roles((ADDRESSES[1],), 1, (ADDRESSES[2],), (ADDRESSES[3],), DELAY)
    return deploy_on(fresh_chain.deployer, {MARKET: PROTOCOL}, {MARKET: POLICIES}, 1_000.0, roles)


@pytest.fixture
def steward(deployed, bare):
    """The steward, on a chain that is given back unchanged."""
    return trial_of(bare, deployed)["steward"]


@pytest.fixture
def config(deployed, bare, tmp_path):
    """Settings of the deployment."""
    write_deployment(tmp_path / "deployment.json", deployed)
    return settings_file(tmp_path, bare.url)


@pytest.fixture
def govern(config, command):
    """Run `keeper govern`."""
    return lambda *arguments, key=GOVERNANCE: command("govern", "-c", config, *arguments, key=key)


def pass_time(bare, seconds):
    bare.ask("evm_increaseTime", seconds)
    bare.ask("evm_mine")


def test_govern__sent_before_and_after_the_delay__comes_into_force_after_it(bare, steward, govern):
    decision = ("set_quorum", 2, f"{ADDRESSES[2]},{ADDRESSES[1]}", "--send")
    assert "scheduled in 0x" in govern(*decision).out
    waiting = govern(*decision)
    assert ": waiting, ready at " in waiting.out
    assert "executed in" not in waiting.out
    assert steward.functions.quorum().call() == [1, [ADDRESSES[1]]]
    pass_time(bare, DELAY)
    assert "executed in 0x" in govern(*decision).out
    assert steward.functions.quorum().call() == [2, sorted(ADDRESSES[1:3], key=lambda one: int(one, 16))]
    assert ": done" in govern(*decision).out


def test_govern__not_sent__shows_calls_that_others_can_make(bare, deployed, steward, govern):
    shown = govern("grantRole", "guardian", STRANGER, key=None)
    schedule, execute = re.findall(rf"(?:schedule|execute): to {deployed.timelock} data (0x\w+)", shown.out)
    bare.send_as(ADDRESSES[3], deployed.timelock, schedule)
    assert f"cancel: to {deployed.timelock} data 0x" in govern("grantRole", "guardian", STRANGER, key=None).out
    pass_time(bare, DELAY)
    bare.send_as(ADDRESSES[3], deployed.timelock, execute)
    assert steward.functions.hasRole(GUARDIAN_ROLE, STRANGER).call()


def test_govern__cancelled__is_not_scheduled_any_more(bare, deployed, govern):
    govern("unpause", "--send")
    cancel = re.search(r"cancel: to \w+ data (0x\w+)", govern("unpause").out)[1]
    bare.send_as(ADDRESSES[3], deployed.timelock, cancel)
    assert ": not scheduled" in govern("unpause").out


def test_govern__the_same_decision_with_another_salt__is_another_operation(govern):
    govern("unpause", "--send")
    assert ": not scheduled" in govern("unpause", "--salt", 1).out


def test_govern__setter_role_handed_on__leaves_the_steward(bare, deployed, govern):
    market = trial_of(bare, deployed)["market"]
    bare.act(bare.deployer.address, market, "transfer_ownership", deployed.steward)
    decision = ("hand_on", market.address, market.encode_abi("transfer_ownership", [STRANGER]), "--send")
    govern(*decision)
    pass_time(bare, DELAY)
    govern(*decision)
    assert market.functions.owner().call() == STRANGER


def test_policy__other_limits__are_stored_and_come_into_force_by_governance(
    bare, steward, config, govern, command, tmp_path
):
    text = (PACKAGE / "policies" / "options_market.toml").read_text()
    limits = tmp_path / "limits.toml"
    limits.write_text(text.replace("maximum = 25_000", "maximum = 20_000"))
    stored = command("policy", "-c", config, "--market", MARKET, "--policies", limits, key=KEYS[0])
    next_step = re.search(rf"next: keeper govern (set_policy {MARKET} (0x\w+))", stored.out)
    govern(*next_step[1].split(), "--send")
    pass_time(bare, DELAY)
    govern(*next_step[1].split(), "--send")
    assert steward.functions.policy_of(market_id(MARKET)).call() == next_step[2]
    assert Policy.read(bytes(bare.deployer.web3.eth.get_code(next_step[2]))).parameters[2].maximum == 20_000


REFUSED = {
    "function": (("apply",), "apply: governance calls one of activate, grantRole"),
    "number": (("retire",), "retire takes 1 arguments, not 0"),
    "market": (("retire", "DAX"), "DAX: must be a market of the deployment file or a role: SPX, guardian, governance"),
    "address": (("set_policy", MARKET, "0x12"), "0x12: must be an address"),
    "signers": (("set_quorum", 1, f"{STRANGER},alice"), "alice: must be an address"),
    "threshold": (("set_quorum", "two", STRANGER), "two: must be a whole number"),
    "negative": (("set_quorum", "--", "-1", STRANGER), "set_quorum -1"),
    "data": (("hand_on", STRANGER, "0xzz"), "0xzz: must be hex"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_govern__argument_is_wrong__exits_2_and_says_what_is_allowed(govern, case):
    arguments, words = REFUSED[case]
    ended = govern(*arguments)
    assert ended.code == EXIT_USAGE, ended
    assert words in ended.err


def test_govern__send_without_a_key__exits_2(govern):
    ended = govern("unpause", "--send", key=None)
    assert (ended.code, "KEEPER_PRIVATE_KEY: needed to send" in ended.err) == (EXIT_USAGE, True)


def test_govern__key_that_is_no_proposer__exits_1_with_the_timelocks_reason(govern):
    ended = govern("unpause", "--send", key=KEYS[1])
    assert ended.code == EXIT_FAILED
    assert "schedule: " in ended.err
    assert "access_control: account is missing role" in ended.err


def test_policy__market_of_no_settings__exits_2(config, command):
    ended = command("policy", "-c", config, "--market", "DAX", key=KEYS[0])
    assert (ended.code, "--market DAX: must be one of SPX" in ended.err) == (EXIT_USAGE, True)
