"""Check that what could only fail later is refused at the start, with the exit code of a usage error."""

from __future__ import annotations

import pytest
from eth_account import Account
from trials import write_settings

from chain.anvil import KEYS
from keeper.cli import EXIT_USAGE

pytestmark = pytest.mark.integration
pytest_plugins = ["chains"]

KEY = KEYS[1]
STRANGER = KEYS[2]
SECP256K1_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def refused(ended, *words):
    """Say whether a command ended as a usage error that holds these words, in plain sentences."""
    return ended.code == EXIT_USAGE and "Traceback" not in ended.err and all(word in ended.err for word in words)


BAD_ADDRESSES = {
    "KEEPER_RPC_URL": ("ws://u:hunter2@node/apikey-1234", "chain.rpc_url: must begin with http:// or https://"),
    "KEEPER_MQTT_URL": ("mqtt://u:hunter2@broker:apikey-1234", "mqtt.url: must name a host"),
    "KEEPER_JOURNAL_URL": (
        "mysql://u:hunter2@host/apikey-1234",
        "journal.url: must begin with sqlite:/// or postgresql",
    ),
}


@pytest.mark.parametrize("variable", BAD_ADDRESSES)
@pytest.mark.parametrize("name", ["once", "status", "verify", "publish"])
def test_any_command__address_of_the_wrong_kind__exits_2_without_showing_it(command, config, name, variable):
    address, words = BAD_ADDRESSES[variable]
    ended = command(name, "-c", config, **{variable: address})
    assert refused(ended, words), ended
    assert not any(secret in ended.out + ended.err for secret in ("hunter2", "apikey-1234"))


def test_once__feeds_of_two_underlyings__exits_2(command, config):
    config.write_text(
        config.read_text().replace('underlying = "SPX"\nkind = "vol"', 'underlying = "NDX"\nkind = "vol"')
    )
    assert refused(command("once", "-c", config), "keeper.toml", "the feeds of market SPX have underlyings NDX and SPX")


def test_once__key_in_both_variables__exits_2(command, config, tmp_path):
    (tmp_path / "key").write_text(KEY)
    ended = command("once", "-c", config, key=KEY, KEEPER_PRIVATE_KEY_FILE=str(tmp_path / "key"))
    assert refused(ended, "KEEPER_PRIVATE_KEY and KEEPER_PRIVATE_KEY_FILE")
    assert KEY[2:] not in ended.out + ended.err


@pytest.mark.parametrize("number", [0, SECP256K1_ORDER], ids=["zero", "too large"])
def test_once__number_that_is_no_key__exits_2_without_showing_it(command, config, number):
    ended = command("once", "-c", config, key=f"{number:#066x}")
    assert refused(ended, "KEEPER_PRIVATE_KEY: is no private key")
    assert f"{number:064x}" not in ended.out + ended.err


@pytest.mark.parametrize("name", ["once", "run", "rollback"])
def test_any_command__key_that_is_no_signer__exits_2_and_sends_nothing(command, config, trial, name):
    ended = command(name, "-c", config, key=STRANGER)
    assert refused(ended, f"{Account.from_key(STRANGER).address} is no signer", "set a policy that names this one"), (
        ended
    )
    assert trial.sequence() == 0


def test_once__without_a_key__needs_no_signer(command, config):
    assert command("once", "-c", config).code == 0


@pytest.mark.parametrize("key", ["model", "warmup"])
@pytest.mark.parametrize("value", ["nowhere", "nowhere.json", "nowhere.csv"])
def test_once__no_such_model_or_recording__exits_2_naming_the_key(command, trial, tmp_path, key, value):
    config = write_settings(tmp_path, trial, **{key: f'"{value}"'})
    ended = command("once", "-c", config, "--wait-seconds", 0)
    assert refused(ended, f"model.{key}: ", "nowhere"), ended


def test_train__out_into_a_folder_that_is_missing__exits_2_before_it_reads_anything(command, tmp_path):
    ended = command("train", "--data", tmp_path / "none.csv", "--out", tmp_path / "absent" / "model.json")
    assert refused(ended, "--out", "absent is no folder")
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize("speed", ["nan", "-1"])
def test_publish__speed_that_is_none__exits_2(command, config, speed):
    assert refused(command("publish", "-c", config, "--speed", speed), "speed must be above 0")


def test_publish__no_bar_in_the_range__exits_2(command, config):
    days = ("--start", "2018-01-17", "--end", "2018-01-17")
    assert refused(command("publish", "-c", config, "--speed", 0, *days), "no bar that opens in")
