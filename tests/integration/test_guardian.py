"""Pause markets and veto announced changes from the command line, with a guardian's key."""

from __future__ import annotations

import pytest
import typer
from governing import DELAY, GUARDIAN, OTHER, change, pass_time, statuses
from setups import ADDRESSES, STRANGER
from trials import MARKET
from typer.testing import CliRunner

from chain.anvil import KEYS
from chain.attestation import attach
from chain.deploy import DeployError
from chain.steward import ACTIVE, PAUSED, market_id
from config.errors import ConfigError
from keeper.setup_commands import pause, veto
from keeper.trial import write_deployment

pytestmark = pytest.mark.integration
pytest_plugins = ["chains", "bare_chains", "govern_chains"]


@pytest.fixture
def guard(place):
    """Act as guardian: what the commands say, or the fault that ends them."""
    app = typer.Typer()
    app.command()(pause)
    app.command()(veto)

    def run(*arguments, key=GUARDIAN):
        words = [str(argument) for argument in (*arguments, "-c", place)]
        ended = CliRunner().invoke(app, words, env={"KEEPER_PRIVATE_KEY": key}, catch_exceptions=False)
        assert ended.exit_code == 0, ended
        return ended.output

    return run


def test_pause__guardian__stops_changes_at_once_until_governance_lifts_it(bare, governed, steward, govern, guard):
    said = guard("pause", MARKET, OTHER)
    assert f"{MARKET}, {OTHER}: paused in 0x" in said
    assert statuses(steward) == [PAUSED, PAUSED]
    with pytest.raises(DeployError, match="risk_steward: paused"):
        change(bare, governed, "apply", KEYS[1])
    decision = ("unpause", f"{MARKET},{OTHER}", "--send")
    govern(*decision)
    pass_time(bare, DELAY)
    assert "executed in 0x" in govern(*decision).out
    assert statuses(steward) == [ACTIVE, ACTIVE]
    change(bare, governed, "apply", KEYS[1])


def test_pause__one_market__leaves_the_other_alone(bare, governed, steward, guard):
    guard("pause", OTHER)
    assert statuses(steward) == [ACTIVE, PAUSED]
    change(bare, governed, "apply", KEYS[1])


def test_pause__market_that_is_paused_or_retired__does_not_keep_the_other_from_it(governed, bare, steward, guard):
    guard("pause", OTHER)
    said = guard("pause", OTHER, MARKET)
    assert f"{OTHER}: paused, left alone" in said
    assert f"{MARKET}: paused in 0x" in said
    bare.act(governed.timelock, steward, "retire", market_id(OTHER))
    before = bare.deployer.web3.eth.get_transaction_count(ADDRESSES[2])
    said = guard("pause", MARKET, OTHER)
    assert said.splitlines() == [f"{MARKET}: paused, left alone", f"{OTHER}: retired, left alone"]
    assert bare.deployer.web3.eth.get_transaction_count(ADDRESSES[2]) == before


def test_pause__key_that_is_no_guardian__is_refused_with_the_stewards_reason(steward, guard):
    with pytest.raises(
        DeployError, match=r"pause: .*access_control: account is missing role\nwhat to do: .* a guardian pauses"
    ):
        guard("pause", MARKET, key=KEYS[1])
    assert statuses(steward) == [ACTIVE, ACTIVE]


def test_pause__one_name_is_wrong__pauses_nothing_and_says_so_with_the_name_that_was_meant(bare, steward, guard):
    before = bare.deployer.web3.eth.get_transaction_count(ADDRESSES[2])
    known = r"must be a market of the deployment file: SPX, NDX"
    with pytest.raises(ConfigError, match=rf"nothing was paused: ETH, ndx: {known} \(did you mean NDX\?\)"):
        guard("pause", MARKET, "ETH", "ndx")
    assert statuses(steward) == [ACTIVE, ACTIVE]
    assert bare.deployer.web3.eth.get_transaction_count(ADDRESSES[2]) == before


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("DAX",), "nothing was paused: DAX: must be a market of the deployment file: SPX, NDX"),
        ((MARKET, MARKET), "nothing was paused: SPX,SPX: a market is given twice"),
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
    guard, governed, tmp_path, update, words, act
):
    write_deployment(tmp_path / "deployment.json", governed.model_copy(update=update))
    with pytest.raises(ConfigError, match=words):
        guard(*act)


def test_veto__announced_change__can_never_be_made(bare, governed, put, guard):
    put(cooldown_seconds="60\nnotice_seconds = 3_600")
    message, digest, signers = change(bare, governed, "announce", KEYS[1], seconds=7_200)
    assert "vetoed in 0x" in guard("veto", digest)
    pass_time(bare, 3_700)
    data = attach(message.calldata("apply"), [signer.attest(digest) for signer in signers])
    with pytest.raises(DeployError, match="risk_steward: vetoed"):
        bare.deployer.send_raw("apply", governed.steward, data)


def test_veto__announced_change_that_is_not_vetoed__is_made_after_its_notice(bare, governed, put, steward):
    put(cooldown_seconds="60\nnotice_seconds = 3_600")
    message, digest, signers = change(bare, governed, "announce", KEYS[1], seconds=7_200)
    pass_time(bare, 3_700)
    data = attach(message.calldata("apply"), [signer.attest(digest) for signer in signers])
    bare.deployer.send_raw("apply", governed.steward, data)
    assert steward.functions.market_state(market_id(MARKET)).call()[2] == 1


def test_veto__what_was_never_announced__is_refused_with_the_stewards_reason(guard):
    with pytest.raises(DeployError, match=r"veto: .*risk_steward: not announced\nwhat to do: a digest is what"):
        guard("veto", "0x" + "12" * 32)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0xzz", "must be hex"),
        ("0x1234", "must be a digest, 0x and 64 hex"),
        ("12" * 32, "must be hex: 0x and two digits a byte"),
        ("0X" + "12" * 32, "must be hex: 0x and two digits a byte"),
        ("0x" + "12 " * 32, "must be hex: 0x and two digits a byte"),
    ],
)
def test_veto__no_digest__is_refused(guard, text, words):
    with pytest.raises(ConfigError, match=f"{text}: {words}"):
        guard("veto", text)
