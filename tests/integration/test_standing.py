"""Put the steward over protocols that stood before it: their past is seen, their setters are tried before a send."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from aiohttp import ClientSession, web
from checks import BINDING, SWAPPED
from processes import http_server
from pydantic import SecretStr
from setups import ADDRESSES, OWNER, STRANGER, settings_file
from trials import MARKET
from vyper.compiler import compile_code

import chain.accounts
from chain.accounts import SETTLED_BLOCKS, read_accounts
from chain.anvil import CHAIN_ID, KEYS
from chain.creation import created_in
from chain.deploy import Deployer
from chain.market import bind
from chain.rollout import Charge
from chain.rpc import Rpc, head
from config.deployment import load_deployment, load_markets
from config.errors import ConfigError
from config.load import DEFAULT_SETTINGS, load_policies, load_protocol
from keeper.standing import try_standing
from keeper.terminal import EXIT_USAGE

pytestmark = pytest.mark.integration
pytest_plugins = ["chains", "bare_chains"]

TARGETS = Path(__file__).parent / "targets"
ASSET = "0x" + "a5" * 32
SPLIT = ("--signer", ADDRESSES[1], "--guardian", ADDRESSES[2], "--governance", ADDRESSES[3])

POLICIES = """
probation_seconds = 3600

[limits.spot_shock]
minimum = 500_000_000_000_000_000_000_000_000
maximum = 2_000_000_000_000_000_000_000_000_000
max_step_up = 1_000_000
max_step_down = 1_000_000
cooldown_seconds = 3600

[limits.vol_shock]
minimum = 500_000_000_000_000_000
maximum = 2_000_000_000_000_000_000
max_step_up = 1_000_000
max_step_down = 1_000_000
cooldown_seconds = 3600
"""


@pytest.fixture
def vaults(bare):
    """A protocol of vaults with one vault in it, all of it a hundred blocks old; its contract, and its first block."""
    output = compile_code((TARGETS / "vaults.vy").read_text(), output_formats=["abi", "bytecode"])
    eth = bare.deployer.web3.eth
    bare.ask("anvil_mine", hex(100))
    tx_hash = (
        eth.contract(abi=output["abi"], bytecode=output["bytecode"])
        .constructor()
        .transact({"from": bare.deployer.address})
    )
    receipt = eth.wait_for_transaction_receipt(tx_hash, poll_latency=0.01)
    contract = eth.contract(address=receipt["contractAddress"], abi=output["abi"])
    product = bare.deployer.web3.keccak(bytes.fromhex(ASSET[2:]) + (1).to_bytes(32))
    bare.deployer.send(contract, "set_shocks", product, (10**27, 10**18))
    bare.deployer.send(contract, "post", ASSET, 100)
    bare.deployer.send(contract, "open_vault", 1, 120, ASSET)
    bare.ask("anvil_mine", hex(100))
    return contract, receipt["blockNumber"]


@pytest.fixture
def markets(vaults, tmp_path):
    """Write the vaults' binding and policies, and with given lines more the file that says where they stand."""
    (tmp_path / "mine.toml").write_text((TARGETS / "vaults.toml").read_text())
    (tmp_path / "limits.toml").write_text(POLICIES)
    address = vaults[0].address

    def write(lines=""):
        path = tmp_path / "markets.toml"
        keys = f'keys = {{ asset = "{ASSET}", is_put = true }}'
        contracts = f'contracts = {{ pool = "{address}", controller = "{address}" }}'
        path.write_text(f"[markets.{MARKET}]\n{lines}\n{keys}\n{contracts}\n")
        return "--markets", path, "--policies", tmp_path / "limits.toml"

    return write


# Where logs begin


@pytest.fixture
def charge(markets, tmp_path):
    """The vaults as a deployment takes charge of them, where their logs begin not known."""
    path, limits = markets()[1::2]
    binding = load_protocol("mine.toml", tmp_path / "keeper.toml")
    return Charge(MARKET, load_markets(path)[MARKET], binding, load_policies(binding, limits))


def accounts_of(deployment, config, url):
    """Return the accounts' keys as the keeper reads them."""

    async def go():
        async with Rpc(url) as rpc:
            state = await bind(MARKET, deployment, load_protocol("mine.toml", config), rpc).state(await head(rpc))
            return [account.address for account in state.accounts]

    return asyncio.run(go())


def test_deploy__accounts_older_than_the_steward__are_found_by_check_and_keeper(
    command, bare, vaults, markets, tmp_path
):
    config, target = settings_file(tmp_path, bare.url, "mine.toml"), tmp_path / "deployment.json"
    ended = command("deploy", "-c", config, *markets(), *SPLIT, key=OWNER)
    assert ended.code == 0, ended
    found = load_deployment(target)
    assert found.markets[MARKET].since_block == vaults[1] < found.block
    checked = command("check", "-c", config, "--json", key=KEYS[1])
    assert checked.code == 0, checked
    said = {finding["check"]: finding["detail"] for finding in json.loads(checked.out)["findings"]}
    assert said["accounts are found"] == "1 accounts"
    assert accounts_of(found, config, bare.url) == [f"{bare.deployer.address}/1"]
    market = found.markets[MARKET].model_copy(update={"since_block": None})
    with pytest.raises(ConfigError, match=r"markets\.SPX\.since_block: missing"):
        accounts_of(found.model_copy(update={"markets": {MARKET: market}}), config, bare.url)


def test_deploy__block_given_in_the_markets_file__is_kept(command, bare, vaults, markets, tmp_path):
    config = settings_file(tmp_path, bare.url, "mine.toml")
    ended = command("deploy", "-c", config, *markets(f"since_block = {vaults[1] - 7}"), *SPLIT, key=OWNER)
    assert ended.code == 0, ended
    assert load_deployment(tmp_path / "deployment.json").markets[MARKET].since_block == vaults[1] - 7


def test_deploy__block_that_is_still_to_come__is_refused_before_anything_is_sent(command, bare, markets, tmp_path):
    config, before = settings_file(tmp_path, bare.url, "mine.toml"), bare.transactions()
    ended = command("deploy", "-c", config, *markets("since_block = 10_000_000"), *SPLIT, key=OWNER)
    assert ended.code == EXIT_USAGE
    assert "markets.SPX.since_block = 10000000: must not be above the newest block" in ended.err
    assert bare.transactions() == before


async def test_try_standing__endpoint_keeps_no_old_state__asks_for_the_key(bare, charge):
    async def answer(request):
        body = await request.json()
        if isinstance(body, dict) and body["method"] == "eth_getCode" and body["params"][1] != "latest":
            return web.json_response({"jsonrpc": "2.0", "id": body["id"], "error": {"message": "missing trie node"}})
        async with ClientSession() as session, session.post(bare.url, json=body) as answered:
            return web.json_response(await answered.json())

    async with http_server(answer) as url:
        with pytest.raises(ConfigError) as caught:
            await try_standing(url, Path("markets.toml"), [charge])
    said = str(caught.value)
    assert said.startswith("markets.toml: markets.SPX.since_block: missing: give the block in which pool was created")
    assert "missing trie node" in said


async def test_created_in__block_of_every_creation__is_found(bare, vaults):
    async with Rpc(bare.url) as rpc:
        end = await head(rpc)
        assert await created_in(rpc, vaults[0].address, end) == vaults[1]
        bare.ask("anvil_setCode", STRANGER, "0x00")
        bare.ask("evm_mine")
        assert await created_in(rpc, STRANGER, await head(rpc)) in (end.number, end.number + 1)


class ListeningRpc(Rpc):
    """An endpoint that notes from which block on it was asked for logs."""

    def __init__(self, url):
        super().__init__(url)
        self.begins = []

    async def batch(self, requests):
        self.begins += [int(params[0]["fromBlock"], 16) for method, params in requests if method == "eth_getLogs"]
        return await super().batch(requests)


async def test_read_accounts__logs_kept__asks_again_for_those_alone_that_may_change(bare, vaults, charge, monkeypatch):
    monkeypatch.setattr(chain.accounts, "CHUNK", 10)
    kept = {}
    async with ListeningRpc(bare.url) as rpc:
        block = await head(rpc)
        first = await read_accounts(charge.bound, rpc, block, vaults[1], kept)
        assert rpc.begins == list(range(vaults[1], block.number + 1, 10))
        changing = [begin for begin in rpc.begins if begin + 10 > block.number - SETTLED_BLOCKS]
        rpc.begins.clear()
        bare.deployer.send(vaults[0], "open_vault", 2, 120, ASSET)
        block = await head(rpc)
        again = await read_accounts(charge.bound, rpc, block, vaults[1], kept)
        assert 0 < len(changing) < 11
        assert rpc.begins == changing
    assert [account.address[-2:] for account in first] == ["/1"]
    assert [account.address[-2:] for account in again] == ["/1", "/2"]


# What is refused before anything is sent


@pytest.fixture
def standing(bare):
    """A market of the reference protocol that account 3 put up and owns."""
    owner = Deployer.connect(bare.url, SecretStr(KEYS[3]), CHAIN_ID, lambda _: None)
    token, feed = owner.create("collateral_token"), owner.create("price_feed", "SPX / USD")
    owner.send(feed, "post", 10**11, owner.head()[1])
    protocol = load_protocol("options_market", DEFAULT_SETTINGS)
    limits = load_policies(protocol).limits
    initial = [limits[parameter.name].initial for parameter in protocol.parameters]
    return owner.create("options_market", "SPX", token.address, feed.address, initial, 60, 10**9)


def test_deploy__setter_that_writes_the_wrong_parameter__is_refused_before_anything_is_sent(
    command, bare, standing, tmp_path
):
    (tmp_path / "mine.toml").write_text(BINDING.replace(*SWAPPED))
    (tmp_path / "markets.toml").write_text(f'[markets.{MARKET}.contracts]\nmarket = "{standing.address}"\n')
    config, before = settings_file(tmp_path, bare.url, "mine.toml"), bare.transactions()
    ended = command("deploy", "-c", config, "--markets", tmp_path / "markets.toml", *SPLIT, key=OWNER)
    assert ended.code == EXIT_USAGE
    assert "markets.SPX: binding options_market: setters.0 (set_parameters(uint256[6])) does not write" in ended.err
    assert "spot_shock_" in ended.err
    assert bare.transactions() == before


def test_deploy__one_contract_under_two_names__is_refused_before_anything_is_sent(command, bare, standing, tmp_path):
    config = settings_file(tmp_path, bare.url)
    text = config.read_text()
    table = text[text.index("[[markets]]") :]
    end = table.find("\n[", 2)
    table = table if end < 0 else table[:end]
    config.write_text(text.replace(table, table + "\n" + table.replace(f'name = "{MARKET}"', 'name = "TWIN"') + "\n"))
    places = (f'[markets.{name}.contracts]\nmarket = "{standing.address}"\n' for name in (MARKET, "TWIN"))
    (tmp_path / "markets.toml").write_text("".join(places))
    before = bare.transactions()
    ended = command("deploy", "-c", config, "--markets", tmp_path / "markets.toml", *SPLIT, key=OWNER)
    assert ended.code == EXIT_USAGE
    assert f"markets.TWIN: its setter set_parameters(uint256[6]) of {standing.address} is that of markets.SPX too" in (
        ended.err
    )
    assert bare.transactions() == before
