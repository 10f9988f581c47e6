"""Follow a decision of governance from the command line through the timelock into force."""

from __future__ import annotations

import json
import re

import pytest
import typer
from pydantic import SecretStr
from setups import ADDRESSES, STRANGER, ascending, settings_file, trial_of
from trials import MARKET
from typer.testing import CliRunner

from chain.anvil import CHAIN_ID, KEYS
from chain.attestation import Message, attach
from chain.deploy import DeployError
from chain.policy import Policy
from chain.protocol import BoundProtocol
from chain.rollout import GUARDIAN_ROLE, Roles
from chain.signer import LocalSigner
from chain.steward import ACTIVE, PAUSED, RETIRED, market_id, parse_view, view_call
from config.errors import ConfigError
from config.load import DEFAULT_SETTINGS, PACKAGE, load_policies, load_protocol
from keeper.setup_commands import pause, veto
from keeper.terminal import EXIT_FAILED, EXIT_USAGE
from keeper.trial import deploy_on, write_deployment

pytestmark = pytest.mark.integration
pytest_plugins = ["chains", "bare_chains"]

PROTOCOL = load_protocol("options_market", DEFAULT_SETTINGS)
POLICIES = load_policies(PROTOCOL)
DELAY = POLICIES.timelock_delay_seconds
GUARDIAN, GOVERNANCE = KEYS[2], KEYS[3]
OTHER = "NDX"


@pytest.fixture(scope="module")
def deployed(fresh_chain):
    """Two trial markets whose governance is account 3, guardian account 2, signer account 1."""
    roles = Roles((ADDRESSES[1],), 1, (ADDRESSES[2],), (ADDRESSES[3],), DELAY)
    markets = (MARKET, OTHER)
    return deploy_on(
        fresh_chain.deployer, dict.fromkeys(markets, PROTOCOL), dict.fromkeys(markets, POLICIES), 1_000.0, roles
    )


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


def statuses(steward):
    return [steward.functions.market_state(market_id(name)).call()[0] for name in (MARKET, OTHER)]


def test_govern__sent_before_and_after_the_delay__comes_into_force_after_it(bare, steward, govern):
    decision = ("retire", MARKET, "--send")
    assert "scheduled in 0x" in govern(*decision).out
    waiting = govern(*decision)
    assert ": waiting, ready at " in waiting.out
    assert "executed in" not in waiting.out
    assert statuses(steward) == [ACTIVE, ACTIVE]
    pass_time(bare, DELAY)
    assert "executed in 0x" in govern(*decision).out
    assert statuses(steward) == [RETIRED, ACTIVE]
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
    govern("rebase", MARKET, "--send")
    cancel = re.search(r"cancel: to \w+ data (0x\w+)", govern("rebase", MARKET).out)[1]
    bare.send_as(ADDRESSES[3], deployed.timelock, cancel)
    assert ": not scheduled" in govern("rebase", MARKET).out


def test_govern__the_same_decision_with_another_salt__is_another_operation(govern):
    govern("rebase", MARKET, "--send")
    assert ": not scheduled" in govern("rebase", MARKET, "--salt", 1).out
    assert ": not scheduled" in govern("rebase", OTHER).out


def test_govern__setter_role_handed_on__leaves_the_steward(bare, deployed, govern):
    market = trial_of(bare, deployed)["market"]
    bare.act(bare.deployer.address, market, "transfer_ownership", deployed.steward)
    decision = ("hand_on", market.address, market.encode_abi("transfer_ownership", [STRANGER]), "--send")
    govern(*decision)
    pass_time(bare, DELAY)
    govern(*decision)
    assert market.functions.owner().call() == STRANGER


# Policies and signers


@pytest.fixture
def put(govern, config, command, bare, tmp_path):
    """Store a policy with `keeper policy`, bring it into force, and return what the command said."""

    def run(*arguments, market=MARKET, **limits):
        path = tmp_path / "limits.toml"
        text = (PACKAGE / "policies" / "options_market.toml").read_text()
        for old, new in limits.items():
            text = re.sub(rf"(?m)^{old} = .*$", f"{old} = {new}", text)
        path.write_text(text)
        ended = command("policy", "-c", config, "--market", market, "--policies", path, *arguments, key=KEYS[0])
        assert ended.code == 0, ended
        decision = re.search(rf"next: keeper govern (set_policy {market} 0x\w+)", ended.out)[1].split()
        govern(*decision, "--send")
        pass_time(bare, DELAY)
        govern(*decision, "--send")
        return ended.out

    return run


@pytest.fixture
def in_force(bare, steward):
    """Read a market's policy in force."""

    def read(market=MARKET):
        stored = steward.functions.policy_of(market_id(market)).call()
        return Policy.read(bytes(bare.deployer.web3.eth.get_code(stored)))

    return read


def test_policy__other_limits__are_stored_and_come_into_force_by_governance(put, in_force):
    before = in_force()
    said = put(cooldown_seconds=120)
    assert f"a change needs 1 of {ADDRESSES[1]}" in said
    assert "new" not in said
    after = in_force()
    assert {limits.cooldown for limits in after.parameters} == {120}
    assert (after.threshold, after.signers, after.setters) == (before.threshold, before.signers, before.setters)


def test_policy__other_signers__are_asked_for_in_that_market_alone_once_in_force(
    bare, deployed, put, in_force, steward
):
    asked = ("--signer", ADDRESSES[2], "--signer", ADDRESSES[3].lower(), "--threshold", 2)
    said = put(*asked)
    signers = ascending(ADDRESSES[2], ADDRESSES[3])
    assert f"a change needs 2 of {', '.join(signers)}" in said
    assert (in_force().threshold, list(in_force().signers)) == (2, signers)
    assert list(in_force(OTHER).signers) == [ADDRESSES[1]]
    with pytest.raises(DeployError, match="risk_steward: too few signatures"):
        change(bare, deployed, "apply", KEYS[1])
    with pytest.raises(DeployError, match="risk_steward: unknown signer"):
        change(bare, deployed, "apply", KEYS[1], KEYS[3])
    change(bare, deployed, "apply", KEYS[2], KEYS[3])
    change(bare, deployed, "apply", KEYS[1], market=OTHER)
    assert [steward.functions.market_state(market_id(name)).call()[2] for name in (MARKET, OTHER)] == [1, 1]


def test_policy__other_signers__says_what_to_write_into_the_deployment_file(put, tmp_path, deployed):
    said = put("--signer", ADDRESSES[2], "--signer", ADDRESSES[3], "--threshold", 2)
    keys = json.loads("{" + re.search(r"in force write (.*)", said)[1] + "}")
    assert keys == {"signers": ascending(ADDRESSES[2], ADDRESSES[3]), "threshold": 2}
    assert f"into {tmp_path / 'deployment.json'}" in said
    write_deployment(tmp_path / "deployment.json", deployed.model_copy(update=keys))
    assert f"a change needs 2 of {', '.join(keys['signers'])}" in put(cooldown_seconds=120)


@pytest.mark.parametrize("given", [(), ("--signer", ADDRESSES[3]), ("--threshold", 1)])
def test_policy__file_still_has_the_signers_that_were_replaced__is_not_stored(put, config, command, bare, given):
    put("--signer", ADDRESSES[2], "--threshold", 1)
    before = bare.transactions()
    ended = command("policy", "-c", config, "--market", MARKET, *given, key=KEYS[0])
    assert ended.code == EXIT_USAGE, ended
    assert f"another quorum than the one in force for {MARKET}: write" in ended.err
    assert f'"signers": ["{ADDRESSES[2]}"], "threshold": 1 into it' in ended.err
    assert bare.transactions() == before


POLICY_REFUSED = {
    "market": (("--market", "DAX"), "--market DAX: must be one of SPX"),
    "signer": (("--market", MARKET, "--signer", "alice"), "--signer alice: must be an address"),
    "signer twice": (
        ("--market", MARKET, "--signer", ADDRESSES[1], "--signer", ADDRESSES[1].lower()),
        "--signer: an address is given twice",
    ),
    "threshold": (("--market", MARKET, "--threshold", 2), "--threshold 2: must be in 1..1, the number of signers"),
    "no threshold": (("--market", MARKET, "--threshold", 0), "--threshold 0: must be in 1..1, the number of signers"),
    "too many": (
        ("--market", MARKET, *(part for n in range(1, 18) for part in ("--signer", "0x" + f"{n:02x}" * 20))),
        "--signer: 17 addresses, the steward takes 16",
    ),
}


@pytest.mark.parametrize("case", POLICY_REFUSED)
def test_policy__argument_is_wrong__exits_2_before_anything_is_sent(config, command, bare, case):
    arguments, words = POLICY_REFUSED[case]
    before = bare.transactions()
    ended = command("policy", "-c", config, *arguments, key=KEYS[0])
    assert ended.code == EXIT_USAGE, ended
    assert words in ended.err
    assert bare.transactions() == before


def test_policy__market_that_the_deployment_file_lacks__exits_2(config, command, deployed, tmp_path):
    others = {OTHER: deployed.markets[OTHER]}
    write_deployment(tmp_path / "deployment.json", deployed.model_copy(update={"markets": others}))
    ended = command("policy", "-c", config, "--market", MARKET, key=KEYS[0])
    assert (ended.code, "SPX: must be a market of the deployment file: NDX" in ended.err) == (EXIT_USAGE, True)


# The guardian


@pytest.fixture
def guard(config):
    """Act as guardian: what the commands say, or the fault that ends them."""
    app = typer.Typer()
    app.command()(pause)
    app.command()(veto)

    def run(*arguments, key=GUARDIAN):
        words = [str(argument) for argument in (*arguments, "-c", config)]
        ended = CliRunner().invoke(app, words, env={"KEEPER_PRIVATE_KEY": key}, catch_exceptions=False)
        assert ended.exit_code == 0, ended
        return ended.output

    return run


def change(bare, deployed, action, *keys, market=MARKET, seconds=600):
    """Sign a change that moves every parameter up by one and submit it; return its EIP-712 digest."""
    view = parse_view(bare.deployer.call_raw(*view_call(deployed.steward, market)))
    values = [value + 1 for value in view.values]
    bound = BoundProtocol(PROTOCOL, deployed.markets[market].contracts)
    message = Message(
        market=market,
        sequence=view.sequence + 1,
        state_hash=view.state_hash,
        changes=tuple(enumerate(values)),
        calls=bound.setter_calls(values, range(len(values))),
        model_hash="0x" + "01" * 32,
        input_root="0x" + "02" * 32,
        probes=(),
        max_liquidatable=0,
        deadline=bare.deployer.head()[1] + seconds,
    )
    digest = message.digest(action, deployed.steward, CHAIN_ID)
    signers = sorted((LocalSigner(SecretStr(key)) for key in keys), key=lambda one: int(one.address, 16))
    data = attach(message.calldata(action), [signer.attest(digest) for signer in signers])
    bare.deployer.send_raw(action, deployed.steward, data)
    return message, digest, signers


def test_pause__guardian__stops_changes_at_once_until_governance_lifts_it(bare, deployed, steward, govern, guard):
    said = guard("pause", MARKET, OTHER)
    assert f"{MARKET}, {OTHER}: paused in 0x" in said
    assert statuses(steward) == [PAUSED, PAUSED]
    with pytest.raises(DeployError, match="risk_steward: paused"):
        change(bare, deployed, "apply", KEYS[1])
    decision = ("unpause", f"{MARKET},{OTHER}", "--send")
    govern(*decision)
    pass_time(bare, DELAY)
    assert "executed in 0x" in govern(*decision).out
    assert statuses(steward) == [ACTIVE, ACTIVE]
    change(bare, deployed, "apply", KEYS[1])


def test_pause__one_market__leaves_the_other_alone(bare, deployed, steward, guard):
    guard("pause", OTHER)
    assert statuses(steward) == [ACTIVE, PAUSED]
    change(bare, deployed, "apply", KEYS[1])


def test_pause__market_that_is_paused_or_retired__does_not_keep_the_other_from_it(deployed, bare, steward, guard):
    guard("pause", OTHER)
    said = guard("pause", OTHER, MARKET)
    assert f"{OTHER}: paused, left alone" in said
    assert f"{MARKET}: paused in 0x" in said
    bare.act(deployed.timelock, steward, "retire", market_id(OTHER))
    before = bare.deployer.web3.eth.get_transaction_count(ADDRESSES[2])
    said = guard("pause", MARKET, OTHER)
    assert said.splitlines() == [f"{MARKET}: paused, left alone", f"{OTHER}: retired, left alone"]
    assert bare.deployer.web3.eth.get_transaction_count(ADDRESSES[2]) == before


def test_pause__key_that_is_no_guardian__is_refused_with_the_stewards_reason(steward, guard):
    with pytest.raises(DeployError, match=r"pause: .*access_control: account is missing role"):
        guard("pause", MARKET, key=KEYS[1])
    assert statuses(steward) == [ACTIVE, ACTIVE]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("DAX",), "DAX: must be a market of the deployment file: SPX, NDX"),
        ((MARKET, MARKET), "SPX,SPX: a market is given twice"),
        (tuple(map(str, range(33))), "33 markets: the steward takes 32 in one call"),
    ],
)
def test_pause__markets_that_cannot_be__are_refused(guard, names, words):
    with pytest.raises(ConfigError, match=words):
        guard("pause", *names)


def test_pause__without_a_key__is_refused(guard):
    with pytest.raises(ConfigError, match="KEEPER_PRIVATE_KEY: needed to send, and not set"):
        guard("pause", MARKET, key="")


@pytest.mark.parametrize(
    ("update", "words"),
    [
        ({"chain_id": 1}, "the deployment file is of chain 1, chain.chain_id is 31337"),
        ({"steward": STRANGER}, f"steward {STRANGER}: no contract stands there"),
    ],
)
@pytest.mark.parametrize("act", [("pause", MARKET), ("veto", "0x" + "12" * 32)], ids=["pause", "veto"])
def test_guardian__deployment_of_elsewhere__is_refused_and_not_sent_into_the_void(
    guard, deployed, tmp_path, update, words, act
):
    write_deployment(tmp_path / "deployment.json", deployed.model_copy(update=update))
    with pytest.raises(ConfigError, match=words):
        guard(*act)


def test_veto__announced_change__can_never_be_made(bare, deployed, put, guard):
    put(cooldown_seconds="60\nnotice_seconds = 3_600")
    message, digest, signers = change(bare, deployed, "announce", KEYS[1], seconds=7_200)
    assert "vetoed in 0x" in guard("veto", digest)
    pass_time(bare, 3_700)
    data = attach(message.calldata("apply"), [signer.attest(digest) for signer in signers])
    with pytest.raises(DeployError, match="risk_steward: vetoed"):
        bare.deployer.send_raw("apply", deployed.steward, data)


def test_veto__announced_change_that_is_not_vetoed__is_made_after_its_notice(bare, deployed, put, steward):
    put(cooldown_seconds="60\nnotice_seconds = 3_600")
    message, digest, signers = change(bare, deployed, "announce", KEYS[1], seconds=7_200)
    pass_time(bare, 3_700)
    data = attach(message.calldata("apply"), [signer.attest(digest) for signer in signers])
    bare.deployer.send_raw("apply", deployed.steward, data)
    assert steward.functions.market_state(market_id(MARKET)).call()[2] == 1


def test_veto__what_was_never_announced__is_refused_with_the_stewards_reason(guard):
    with pytest.raises(DeployError, match=r"veto: .*risk_steward: not announced"):
        guard("veto", "0x" + "12" * 32)


@pytest.mark.parametrize(("text", "words"), [("0xzz", "must be hex"), ("0x1234", "must be a digest, 0x and 64 hex")])
def test_veto__no_digest__is_refused(guard, text, words):
    with pytest.raises(ConfigError, match=f"{text}: {words}"):
        guard("veto", text)


# What is refused


REFUSED = {
    "function": (("apply",), "apply: governance calls one of activate, grantRole"),
    "number": (("retire",), "retire takes 1 arguments, not 0"),
    "market": (("retire", "DAX"), "DAX: must be a market of the deployment file: SPX, NDX"),
    "role for a market": (("retire", "guardian"), "guardian: must be a market of the deployment file: SPX, NDX"),
    "market for a role": (("grantRole", MARKET, STRANGER), "SPX: must be a role: guardian, governance"),
    "address": (("set_policy", MARKET, "0x12"), "0x12: must be an address"),
    "markets": (("unpause", "SPX,DAX"), "DAX: must be a market of the deployment file: SPX, NDX"),
    "market twice": (("unpause", "SPX,NDX,SPX"), "SPX,NDX,SPX: a market is given twice"),
    "no market": (("unpause", ""), ": must be a market of the deployment file: SPX, NDX"),
    "data": (("hand_on", STRANGER, "0xzz"), "0xzz: must be hex"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_govern__argument_is_wrong__exits_2_and_says_what_is_allowed(govern, case):
    arguments, words = REFUSED[case]
    ended = govern(*arguments)
    assert ended.code == EXIT_USAGE, ended
    assert words in ended.err


def test_govern__send_without_a_key__exits_2(govern):
    ended = govern("unpause", MARKET, "--send", key=None)
    assert (ended.code, "KEEPER_PRIVATE_KEY: needed to send" in ended.err) == (EXIT_USAGE, True)


def test_govern__key_that_is_no_proposer__exits_1_with_the_timelocks_reason(govern):
    ended = govern("unpause", MARKET, "--send", key=KEYS[1])
    assert ended.code == EXIT_FAILED
    assert "schedule: " in ended.err
    assert "access_control: account is missing role" in ended.err
