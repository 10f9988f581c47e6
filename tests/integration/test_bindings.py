"""Bindings of protocols unlike the reference one are read, written and judged on a real chain."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from builders import tune
from pydantic import SecretStr
from vyper.compiler import compile_code
from web3 import HTTPProvider, Web3

import chain.accounts
from chain.accounts import AccountUnreadable, health_calls, liquidatable, read_accounts
from chain.anvil import CHAIN_ID, KEYS, anvil
from chain.attestation import attach, order_of
from chain.deploy import Deployer, Steps
from chain.market import bind as bind_market
from chain.progress import Progress
from chain.protocol import BindingError, BoundProtocol
from chain.rollout import Charge, Roles, put_up_steward
from chain.rpc import Refused, Rpc, RpcError, head, read
from chain.signer import LocalSigner
from config.deployment import Limits, MarketContracts, Policies
from config.load import load_protocol
from config.schema import GuardSettings
from keeper.messages import Change
from keeper.preflight import preflight_of
from keeper.propose import rollback
from keeper.submit import message_of

pytestmark = pytest.mark.integration

TARGETS = Path(__file__).parent / "targets"
SIGNER = LocalSigner(SecretStr(KEYS[0]))
ASSET = "0x" + "a5" * 32
RAY, WAD, DOLLAR = 10**27, 10**18, 10**6
MARKET_KEYS = {"vaults": {"asset": ASSET, "is_put": True}, "positions": {"board": 7}}


@dataclass(frozen=True)
class World:
    """A chain with both protocols on it, and what it takes to use them."""

    url: str
    web3: Web3
    vaults: Any
    positions: Any

    def send(self, function, sender=0):
        sender = self.web3.eth.accounts[sender]
        receipt = self.web3.eth.wait_for_transaction_receipt(function.transact({"from": sender}), poll_latency=0.01)
        assert receipt["status"] == 1

    def send_calls(self, calls):
        for target, data in calls:
            tx_hash = self.web3.eth.send_transaction({"from": self.web3.eth.accounts[0], "to": target, "data": data})
            assert self.web3.eth.wait_for_transaction_receipt(tx_hash, poll_latency=0.01)["status"] == 1

    def ask(self, method, *params):
        return self.web3.provider.make_request(method, list(params))["result"]


class CountingRpc(Rpc):
    """An endpoint that counts its round trips."""

    trips = 0

    async def batch(self, requests):
        self.trips += 1
        return await super().batch(requests)


def deployed(web3, name, *arguments):
    output = compile_code((TARGETS / f"{name}.vy").read_text(), output_formats=["abi", "bytecode"])
    factory = web3.eth.contract(abi=output["abi"], bytecode=output["bytecode"])
    tx_hash = factory.constructor(*arguments).transact({"from": web3.eth.accounts[0]})
    receipt = web3.eth.wait_for_transaction_receipt(tx_hash, poll_latency=0.01)
    return web3.eth.contract(address=receipt["contractAddress"], abi=output["abi"])


@pytest.fixture(scope="module")
def chain_with_protocols():
    with anvil() as running:
        web3 = Web3(HTTPProvider(running.url))
        yield World(running.url, web3, deployed(web3, "vaults"), deployed(web3, "positions", [100, 20, 30]))


@pytest.fixture
def world(chain_with_protocols):
    snapshot = chain_with_protocols.ask("evm_snapshot")
    yield chain_with_protocols
    assert chain_with_protocols.ask("evm_revert", snapshot)


@pytest.fixture
async def rpc(world):
    async with CountingRpc(world.url) as connection:
        yield connection


@pytest.fixture
def bind(world, tmp_path):
    """Bind one of the protocols, its file changed piece by piece."""

    def bind(name, *replacements):
        text = (TARGETS / f"{name}.toml").read_text()
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new, 1)
        (tmp_path / "mine.toml").write_text(text)
        contracts = {"vaults": {"pool": world.vaults.address, "controller": world.positions.address}}
        contracts["positions"] = {"market": world.positions.address}
        return BoundProtocol(load_protocol("mine.toml", tmp_path / "keeper.toml"), contracts[name], MARKET_KEYS[name])

    return bind


async def live(bound, rpc):
    return bound.values(await read(rpc, bound.reads(), await head(rpc)))


# Parameters


async def test_binding__struct_under_a_hashed_key__is_written_and_read_back(world, rpc, bind):
    vaults = bind("vaults")
    world.send_calls(vaults.setter_calls((RAY * 3 // 4, 2 * WAD), [0]))
    assert await live(vaults, rpc) == (RAY * 3 // 4, 2 * WAD)
    product = Web3.keccak(bytes.fromhex(ASSET[2:]) + (1).to_bytes(32))
    assert world.vaults.functions.shocks(product).call() == (RAY * 3 // 4, 2 * WAD)
    puts = BoundProtocol(vaults.binding, vaults.contracts, vaults.keys | {"is_put": False})
    assert await live(puts, rpc) == (0, 0)


async def test_binding__setter_of_one_of_many__writes_that_one_alone(world, rpc, bind):
    positions = bind("positions")
    assert await live(positions, rpc) == (100, 20, 30)
    world.send_calls(positions.setter_calls((100, 21, 30), [1]))
    assert await live(positions, rpc) == (100, 21, 30)


async def test_binding__list_of_values__is_read_in_one_call(rpc, bind):
    positions = bind("positions")
    assert len(positions.reads()) == 1
    assert await live(positions, rpc) == (100, 20, 30)
    assert rpc.trips == 2


async def test_binding__word_past_the_answer__is_a_binding_error(rpc, bind):
    with pytest.raises(BindingError, match="third: the answer has 160 bytes, word 5 was asked for"):
        await live(bind("positions", ("word = 4", "word = 5")), rpc)


@pytest.mark.parametrize(("name", "values"), [("vaults", (RAY * 3 // 4, 2 * WAD)), ("positions", (7, 8, 9))])
async def test_binding__setter_words_filled_with_values__are_calls_that_the_protocol_obeys(
    world, rpc, bind, name, values
):
    bound = bind(name)
    for target, selector, words in bound.setter_words():
        filled = [number if index is None else values[index] for index, number in words]
        data = selector + b"".join(number.to_bytes(32) for number in filled)
        world.send_calls([(target, "0x" + data.hex())])
    assert await live(bound, rpc) == values


@pytest.fixture
def guard(world, bind):
    """Put a steward over the positions, the first two of whose parameters move together."""
    grouped = [(f'name = "{name}"', f'name = "{name}"\ngroup = "pair"') for name in ("growth", "second")]
    bound = bind("positions", *grouped)
    limits = Limits(minimum=1, maximum=1_000, max_step_up=9, max_step_down=9, cooldown_seconds=0)
    names = [parameter.name for parameter in bound.binding.parameters]
    policies = Policies(probation_seconds=60, limits=dict.fromkeys(names, limits))
    deployer = Deployer.connect(world.url, SecretStr(KEYS[0]), CHAIN_ID, lambda _: None)
    charge = Charge("P", MarketContracts(contracts=bound.contracts, keys=bound.keys), bound.binding, policies)
    roles = Roles.held_by(deployer.address, {"P": policies})
    return put_up_steward(Steps(deployer, Progress()), [charge], roles, trial=False), bound.binding


def proposed(state, changes):
    """Return the proposal that changes values of a state, by id."""
    pairs = tuple(Change(index, value) for index, value in changes.items())
    bound_to = {"policy": state.policy, "state_hash": state.state_hash, "current": state.values}
    fields = {"market": "P", "sequence": 1, **bound_to}
    return replace(tune(), **fields, changes=pairs, deadline=state.block.timestamp + 600)


@pytest.mark.parametrize("changes", [{0: 105, 1: 21}, {0: 105, 1: 20}, {0: 100, 1: 21}, {2: 31}])
async def test_steward__parameters_with_a_setter_each__makes_the_calls_that_the_keeper_signs(
    world, rpc, guard, changes
):
    deployment, binding = guard
    market = bind_market("P", deployment, binding, rpc)
    state = await market.state(await head(rpc))
    proposal = proposed(state, changes)
    signed = message_of(proposal, market, (), 0)
    digest = signed.digest("apply", market.steward, CHAIN_ID)
    data = attach(signed.calldata("apply"), [SIGNER.attest(digest)])
    world.send_calls([(market.steward, data)])
    assert await live(market.protocol, rpc) == proposal.values


@pytest.mark.parametrize(
    ("second", "third", "order"), [(28, 38, ()), (12, 22, (2, 1, 0))], ids=["both up", "both down"]
)
async def test_preflight__protocol_that_takes_two_setters_in_one_order_only__finds_it(
    world, rpc, guard, second, third, order
):
    deployment, binding = guard
    world.send(world.positions.functions.keep_within(12))
    market = bind_market("P", deployment, binding, rpc)
    state = await market.state(await head(rpc))
    proposal = proposed(state, {0: 100, 1: second, 2: third})
    sender = world.web3.eth.accounts[1]
    shown = await preflight_of(proposal, market, state, GuardSettings(), sender, announce=False)
    assert (shown.error, shown.values) == (None, proposal.values)
    called = [setter for setter in order_of(shown.calldata, 3) if setter]
    assert called == [setter for setter in order if setter]
    world.send_calls([(market.steward, attach(shown.calldata, [SIGNER.attest(shown.attestation)]))])
    assert await live(market.protocol, rpc) == proposal.values


async def test_preflight__protocol_that_takes_three_setters_in_orders_of_its_own__finds_them_there_and_back(
    world, rpc, guard
):
    """Up the second goes first, down it goes last: neither the policy's order nor its reverse will do."""
    deployment, binding = guard
    world.send(world.positions.functions.keep_within(12))
    world.send(world.positions.functions.keep_below(82))
    market = bind_market("P", deployment, binding, rpc)
    sender = world.web3.eth.accounts[1]
    before = await market.state(await head(rpc))
    for name, place in (("there", 0), ("back", 2)):
        state = await market.state(await head(rpc))
        change = proposed(state, {0: 108, 1: 28, 2: 38})
        proposal = change if name == "there" else rollback(state, "tried", "0x" + "11" * 32, state.block.timestamp, 600)
        shown = await preflight_of(proposal, market, state, GuardSettings(), sender, announce=False)
        assert (shown.error, shown.values) == (None, proposal.values)
        assert order_of(shown.calldata, 3)[place] == 1
        world.send_calls([(market.steward, attach(shown.calldata, [SIGNER.attest(shown.attestation)]))])
    assert await live(market.protocol, rpc) == before.values


async def test_preflight__protocol_that_takes_two_setters_in_no_order__says_why(world, rpc, guard):
    deployment, binding = guard
    world.send(world.positions.functions.keep_within(12))
    market = bind_market("P", deployment, binding, rpc)
    state = await market.state(await head(rpc))
    proposal = proposed(state, {0: 100, 1: 19, 2: 32})
    shown = await preflight_of(proposal, market, state, GuardSettings(), market.steward, announce=False)
    assert (shown.error, shown.calldata[10:74]) == ("positions: too wide", "0" * 64)


async def test_binding__price_and_limit__are_read_from_the_chain(rpc, bind):
    positions = bind("positions")
    ((name, call, word),) = positions.limits()
    price, largest = await read(rpc, [positions.price_call(), call], await head(rpc))
    assert positions.price(price) == (42.0, None)
    assert (name, int.from_bytes(largest[32 * word : 32 * (word + 1)])) == ("largest", 1_000)


async def test_binding__auction__is_found_by_its_log_and_ended_by_its_id(world, rpc, bind):
    positions = bind("positions")
    world.send(world.positions.functions.start_auction(ASSET, 3))
    (log,) = await rpc.call("eth_getLogs", {**positions.auction_filter(), "fromBlock": "0x0", "toBlock": "latest"})
    account, auction = positions.auction_of(log)
    assert (account, auction) == ("3", ASSET)
    world.send_calls(positions.end_auction_calls([auction]))
    assert "0x" + world.positions.functions.ended().call().hex() == ASSET


# Running ids


@pytest.fixture
def book(world):
    """Four positions: two sound, one closed, one whose debt is above its limit."""
    for series, debt, limit in ((1, 50, 60), (1, 60, 60), (2, 99, 1), (3, -5, -6)):
        world.send(world.positions.functions.open_position(series, debt, limit))
    world.send(world.positions.functions.close_position(3))


@pytest.mark.usefixtures("book")
async def test_accounts__running_ids__are_described_and_judged_and_closed_ones_left_out(world, rpc, bind):
    accounts = await read_accounts(bind("positions"), rpc, await head(rpc), 0)
    assert [(one.address, one.liquidatable) for one in accounts] == [("1", False), ("2", False), ("4", True)]
    owner = world.web3.eth.accounts[0]
    assert accounts[2].fields == (("state", 1), ("owner", owner), ("series", 3), ("debt", -5), ("limit", -6))
    assert accounts[0].equity is None


@pytest.mark.usefixtures("book")
async def test_accounts__running_ids__take_one_round_trip_a_stage(rpc, bind):
    block = await head(rpc)
    before = rpc.trips
    await read_accounts(bind("positions"), rpc, block, 0)
    assert rpc.trips - before == 4  # where the ids end, two lookups, health


async def test_accounts__none_yet__are_none(rpc, bind):
    assert await read_accounts(bind("positions"), rpc, await head(rpc), 0) == ()
    assert await read_accounts(bind("vaults"), rpc, await head(rpc), 0) == ()


@pytest.mark.usefixtures("book")
async def test_accounts__struct_as_argument_and_inverted_boolean__are_judged_alike(rpc, bind):
    text = (TARGETS / "positions.toml").read_text()
    asked = text[text.index('function = "debt_of') : text.index("\n[price]")]
    fields = ", ".join(f'"$account.{name}"' for name in ("state", "owner", "series", "debt"))
    struct = f'function = "healthy((uint8,address,uint256,int256))"\nargs = [[{fields}]]\nliquidatable = "false"\n'
    accounts = await read_accounts(bind("positions", (asked, struct)), rpc, await head(rpc), 0)
    assert [one.liquidatable for one in accounts] == [False, False, True]


@pytest.mark.usefixtures("book")
async def test_accounts__lookup_that_reverts__is_refused_and_not_passed_over(rpc, bind):
    said = r"^accounts\.lookups\.1: series_limit\(uint256\) of account 1 is refused: positions: no series$"
    with pytest.raises(AccountUnreadable, match=said):
        await read_accounts(bind("positions", ('args = ["$account.series"]', "args = [9]")), rpc, await head(rpc), 0)


class Sick(Rpc):
    """An endpoint that refuses the calls whose data are given."""

    sick = ()

    async def batch(self, requests):
        for method, params in requests:
            if method == "eth_call" and params[0]["data"] in self.sick:
                raise Refused(method, 3, "execution reverted", None)
        return await super().batch(requests)


@pytest.fixture
async def sick(world):
    async with Sick(world.url) as connection:
        yield connection


@pytest.mark.usefixtures("book")
@pytest.mark.parametrize("place", [0, 1, 2])
async def test_accounts__health_view_of_one_reverts__names_the_account_and_the_view(sick, bind, place):
    positions = bind("positions")
    block = await head(sick)
    accounts = await read_accounts(positions, sick, block, 0)
    sick.sick = (health_calls(positions, accounts)[place][1],)
    with pytest.raises(AccountUnreadable) as caught:
        await read_accounts(positions, sick, block, 0)
    view = positions.binding.health.function
    assert str(caught.value) == f"health: {view} of account {accounts[place].address} is refused: execution reverted"


@pytest.mark.usefixtures("book")
async def test_accounts__endpoint_refuses_everything_meanwhile__accuses_no_account(sick, bind):
    positions = bind("positions")
    block = await head(sick)
    accounts = await read_accounts(positions, sick, block, 0)
    sick.sick = (health_calls(positions, accounts)[1][1], positions.price_call()[1])
    with pytest.raises(Refused):
        await read_accounts(positions, sick, block, 0)


@pytest.mark.usefixtures("book")
async def test_accounts__later_changes__are_not_seen_at_the_earlier_block(world, rpc, bind):
    positions = bind("positions")
    block = await head(rpc)
    world.send(world.positions.functions.close_position(1))
    world.send_calls(positions.setter_calls((200, 20, 30), [0]))
    assert [one.address for one in await read_accounts(positions, rpc, block, 0)] == ["1", "2", "4"]
    now = await read_accounts(positions, rpc, await head(rpc), 0)
    assert [(one.address, one.liquidatable) for one in now] == [("2", True), ("4", False)]


@pytest.mark.usefixtures("book")
async def test_accounts__block_that_is_no_longer_canonical__is_refused(world, rpc, bind):
    world.ask("evm_mine")
    block = await head(rpc)
    world.ask("anvil_reorg", 1, [])
    for name in ("positions", "vaults"):
        with pytest.raises(RpcError):
            await read_accounts(bind(name), rpc, block, 0)


@pytest.mark.usefixtures("book")
async def test_health__inside_one_simulation__foretells_what_a_change_does(world, rpc, bind):
    positions = bind("positions")
    block = await head(rpc)
    accounts = await read_accounts(positions, rpc, block, 0)
    calls = [*positions.setter_calls((120, 20, 30), [0]), *health_calls(positions, accounts)]
    asked = {"blockStateCalls": [{"calls": [{"to": target, "data": data} for target, data in calls]}]}
    (shown,) = await rpc.call("eth_simulateV1", asked, hex(block.number))
    answers = [bytes.fromhex(call["returnData"][2:]) for call in shown["calls"]][1:]
    foretold = liquidatable(positions, accounts, answers)
    assert foretold == (False, True, False)
    assert [one.liquidatable for one in accounts] == [False, False, True]
    world.send_calls(positions.setter_calls((120, 20, 30), [0]))
    after = await read_accounts(positions, rpc, await head(rpc), 0)
    assert tuple(one.liquidatable for one in after) == foretold


# A paged view

PAGED = """\
[accounts.view]
function = "page(uint256,uint256)"
count = { function = "next_id()" }
page = 2
returns = ["uint256 account", "int256", "bool liquidatable"]
"""


@pytest.mark.usefixtures("book")
async def test_accounts__paged_view_with_its_own_verdict__needs_no_other_stage(rpc, bind):
    text = (TARGETS / "positions.toml").read_text()
    ids = text[text.index("[accounts.ids]") : text.index("[health]")]
    paged = bind("positions", (ids, PAGED), ('threshold = "$account.limit"', "threshold = 60"))
    block = await head(rpc)
    before = rpc.trips
    accounts = await read_accounts(paged, rpc, block, 0)
    assert rpc.trips - before == 2
    assert [(one.address, one.liquidatable) for one in accounts] == [
        ("1", False),
        ("2", False),
        ("3", True),
        ("4", True),
    ]


# Events and oracle rounds


@pytest.fixture
def vaults(world):
    """Owner 1 has vaults 1 and 2, owner 2 has vault 1, and a closed one; the price has been 100, 130 and 100."""
    contract = world.vaults.functions
    product = Web3.keccak(bytes.fromhex(ASSET[2:]) + (1).to_bytes(32))
    world.send(contract.set_shocks(product, (RAY, 2 * WAD)))
    world.send(contract.post(ASSET, 100 * DOLLAR))
    world.send(contract.open_vault(1, 120 * DOLLAR, ASSET), 1)
    world.send(contract.post(ASSET, 130 * DOLLAR))
    world.send(contract.post(ASSET, 100 * DOLLAR))
    world.send(contract.open_vault(1, 100 * DOLLAR, ASSET), 2)
    world.send(contract.open_vault(2, 105 * DOLLAR, ASSET), 1)
    world.send(contract.open_vault(3, 105 * DOLLAR, ASSET), 2)
    world.send(contract.close_vault(3), 2)
    world.send(contract.open_vault(2, 110 * DOLLAR, ASSET), 1)


@pytest.mark.usefixtures("vaults")
async def test_accounts__known_by_events__are_each_there_once_and_judged_in_every_round(world, rpc, bind):
    one, two = world.web3.eth.accounts[1:3]
    accounts = await read_accounts(bind("vaults"), rpc, await head(rpc), 0)
    assert [(found.address, found.rounds, found.liquidatable) for found in accounts] == [
        (f"{one}/1", (1, 2, 3), True),
        (f"{two}/1", (3,), False),
        (f"{one}/2", (3,), False),
    ]


@pytest.mark.usefixtures("vaults")
async def test_accounts__old_bad_round_beyond_the_newest_few__is_no_longer_checked(rpc, bind):
    accounts = await read_accounts(bind("vaults", ("max = 3", "max = 1")), rpc, await head(rpc), 0)
    assert [(found.rounds, found.liquidatable) for found in accounts] == [((3,), False)] * 3


@pytest.mark.parametrize("chunk", [1, 2, 7, 5_000])
@pytest.mark.usefixtures("vaults")
async def test_accounts__events_over_many_spans__are_all_found(rpc, bind, monkeypatch, chunk):
    monkeypatch.setattr(chain.accounts, "CHUNK", chunk)
    block = await head(rpc)
    before = rpc.trips
    assert len(await read_accounts(bind("vaults"), rpc, block, 0)) == 3
    assert rpc.trips - before == 4  # logs, one lookup, rounds, health


@pytest.mark.usefixtures("vaults")
async def test_accounts__events_before_the_first_block_asked_for__are_not_read(rpc, bind):
    block = await head(rpc)
    assert [one.address[-1] for one in await read_accounts(bind("vaults"), rpc, block, block.number)] == ["2"]


@pytest.mark.usefixtures("vaults")
async def test_accounts__lower_shock_on_a_protocol_where_that_is_tighter__makes_more_of_them_liquidatable(
    world, rpc, bind
):
    bound = bind("vaults")
    world.send_calls(bound.setter_calls((RAY * 98 // 100, 2 * WAD), [0]))
    accounts = await read_accounts(bound, rpc, await head(rpc), 0)
    assert [one.liquidatable for one in accounts] == [True, True, False]
