"""Change what is in force on chain or who may set it, and see that the check names it with its remedy."""

from __future__ import annotations

import pytest
from aiohttp import ClientSession, web
from checks import BINDING, POLICIES, PROTOCOL, line_of, notes_of, only_failure, put_policy
from eth_abi import encode
from processes import http_server
from setups import ADDRESSES, STRANGER
from third_party import Package
from trials import MARKET
from web3.logs import DISCARD

from chain.rpc import Rpc
from chain.steward import market_id
from config.errors import ConfigError
from keeper.check import examine
from keeper.ground import Source

pytestmark = pytest.mark.integration
pytest_plugins = ["chains", "bare_chains", "check_chains"]

STEPS = "a rollback undoes at most 3 steps of a parameter"


# The policy in force


def test_examine__governance_set_other_limits__is_noted_and_passes(bare, deployed, world, as_timelock, checked):
    limits = {"shocked_vol": POLICIES.limits["shocked_vol"].model_copy(update={"maximum": 20_000})}
    stored = put_policy(bare, deployed, world, as_timelock, limits=limits)
    report = checked()
    assert report.ok
    assert stored in notes_of(report)["the policy in force is as recorded"].detail


def test_examine__cooldown_shorter_than_the_probation__is_noted_with_both_and_the_parameter(
    bare, deployed, world, as_timelock, checked
):
    assert STEPS not in notes_of(checked())
    limits = {"shocked_vol": POLICIES.limits["shocked_vol"].model_copy(update={"cooldown_seconds": 43_199})}
    put_policy(bare, deployed, world, as_timelock, limits=limits)
    report = checked()
    assert report.ok
    detail = notes_of(report)[STEPS].detail
    assert detail.startswith("probation is 43200 s, cooldown of shocked_vol 43199 s: more may follow")


def test_examine__group_with_a_parameter_that_cannot_be_set_back__is_noted_with_its_line(
    bare, deployed, world, as_timelock, checked
):
    old, new = 'name = "spot_shock_down"\n', 'name = "spot_shock_down"\nreversible = false\n'
    assert "a group is rolled back as a whole" not in notes_of(checked())
    binding = PROTOCOL.model_copy(
        update={
            "parameters": [
                one.model_copy(update={"reversible": one.name != "spot_shock_down"}) for one in PROTOCOL.parameters
            ]
        }
    )
    put_policy(bare, deployed, world, as_timelock, binding=binding)
    report = checked((old, new))
    assert report.ok, report.failures
    note = notes_of(report)["a group is rolled back as a whole"]
    assert note.detail.startswith("spot_shock_down cannot be set back, spot_shock_up could")
    assert note.where == f"binding.toml:{line_of(BINDING, old.strip()) + 1}"


def test_examine__live_value_outside_its_corridor__fails_with_both(bare, world, checked):
    bare.act(bare.deployer.address, world["market"], "set_parameter_setter", bare.deployer.address)
    values = world["market"].functions.parameters().call()
    bare.act(bare.deployer.address, world["market"], "set_parameters", [199, *values[1:]])
    bare.act(bare.deployer.address, world["market"], "set_parameter_setter", world["steward"].address)
    failure = only_failure(checked())
    assert failure.check == "live values keep the policy"
    assert failure.detail == "spot_shock_up is 199, its corridor 200..4000"


def test_examine__market_retired__fails(as_timelock, world, checked):
    as_timelock(world["steward"], "retire", market_id(MARKET))
    assert only_failure(checked()).detail == "the market was retired"


def test_examine__paused__is_noted_and_passes(bare, world, checked):
    bare.act(ADDRESSES[2], world["steward"], "pause", [market_id(MARKET)])
    report = checked()
    assert report.ok
    assert notes_of(report)["the steward takes changes"].detail.startswith("paused")


# Who may set


def test_examine__setter_role_elsewhere__fails_with_the_call_that_mends_it(bare, world, checked):
    owner, steward, market = bare.deployer.address, world["steward"].address, world["market"]
    bare.act(owner, market, "set_parameter_setter", STRANGER)
    failure = only_failure(checked())
    assert failure.check == f"the protocol takes settings from {steward}"
    assert f"its owner {owner} calls set_parameter_setter({steward}) on {market.address}: data 0x" in failure.remedy
    bare.send_as(owner, market.address, failure.remedy.split("data ")[1])
    assert checked().ok


def test_report__with_failures__cannot_be_required(bare, world, checked):
    checked().require()
    bare.act(bare.deployer.address, world["market"], "set_parameter_setter", STRANGER)
    with pytest.raises(ConfigError, match=r"SPX: the protocol takes settings from .* refuses its live values"):
        checked().require()


async def test_examine__endpoint_without_simulation__fails_and_still_tells_the_rest(deployed, bare, world):
    async def answer(request):
        body = await request.json()
        if isinstance(body, dict) and body["method"] == "eth_simulateV1":
            error = {"code": -32601, "message": "method not found"}
            return web.json_response({"jsonrpc": "2.0", "id": body["id"], "error": error})
        async with ClientSession() as session, session.post(bare.url, json=body) as answered:
            return web.json_response(await answered.json())

    async with http_server(answer) as url, Rpc(url) as rpc:
        report = await examine(rpc, deployed, {MARKET: Source(PROTOCOL)}, [ADDRESSES[1]])
    failure = only_failure(report)
    assert failure.check == f"the protocol takes settings from {world['steward'].address}"
    assert failure.remedy == "use an endpoint that serves eth_simulateV1"


# Through a Safe


@pytest.fixture
def safe(bare):
    """A Safe of one owner, account 3, from the published bytecode."""
    try:
        package = Package("safe-global-safe-contracts-1.4.1")
    except FileNotFoundError as error:
        pytest.skip(str(error))
    made = {}
    for name, path in (
        ("Safe", "Safe.sol/Safe"),
        ("SafeProxyFactory", "proxies/SafeProxyFactory.sol/SafeProxyFactory"),
    ):
        artefact = package.artefact(f"build/artifacts/contracts/{path}.json")
        made[name] = artefact["abi"], create(bare, artefact["bytecode"])
    abi, singleton = made["Safe"]
    factory = bare.deployer.web3.eth.contract(address=made["SafeProxyFactory"][1], abi=made["SafeProxyFactory"][0])
    nobody = "0x" + "00" * 20
    start = bare.deployer.web3.eth.contract(address=singleton, abi=abi).encode_abi(
        "setup", [[ADDRESSES[3]], 1, nobody, b"", nobody, nobody, 0, nobody]
    )
    receipt = bare.deployer.send(factory, "createProxyWithNonce", singleton, start, 0)
    proxy = factory.events.ProxyCreation().process_receipt(receipt, errors=DISCARD)[0]["args"]["proxy"]
    return bare.deployer.web3.eth.contract(address=proxy, abi=abi)


def create(bare, code):
    """Deploy creation code; return the address."""
    eth = bare.deployer.web3.eth
    tx_hash = eth.send_transaction({"from": bare.deployer.address, "data": code})
    return eth.wait_for_transaction_receipt(tx_hash, poll_latency=0.01)["contractAddress"]


def as_safe(bare, safe, data):
    """Let the Safe's owner have it call itself: the owner sends, so that no signature is needed beside the sender."""
    nobody = "0x" + "00" * 20
    approval = encode(["address", "uint256"], [ADDRESSES[3], 0]) + b"\x01"
    bare.act(ADDRESSES[3], safe, "execTransaction", safe.address, 0, data, 0, 0, 0, 0, nobody, nobody, approval)


def test_examine__calls_go_through_a_safe__needs_module_and_setter_role(
    bare, deployed, world, as_timelock, safe, checked
):
    put_policy(bare, deployed, world, as_timelock, executor=safe.address)
    market = deployed.markets[MARKET].model_copy(update={"executor": safe.address})
    steward = world["steward"].address
    failures = {one.check: one.remedy for one in checked(markets={MARKET: market}).failures}
    assert f"have the Safe's owners call enableModule({steward})" in failures["the Safe has the steward as a module"]
    assert f"calls set_parameter_setter({safe.address})" in failures[f"the protocol takes settings from {safe.address}"]
    as_safe(bare, safe, safe.encode_abi("enableModule", [steward]))
    bare.act(bare.deployer.address, world["market"], "set_parameter_setter", safe.address)
    report = checked(markets={MARKET: market})
    assert report.ok, report.failures


def test_examine__safe_in_the_file_alone__differs_from_the_policy(deployed, safe, checked):
    market = deployed.markets[MARKET].model_copy(update={"executor": safe.address})
    failures = checked(markets={MARKET: market}).failures
    assert any("calls go through 0x0000000000000000000000000000000000000000" in one.detail for one in failures)
