"""Break one thing at a time in a set-up that is whole, and see that the check names it with its remedy and line."""

from __future__ import annotations

import asyncio
import json
import re

import pytest
from aiohttp import ClientSession, web
from eth_abi import encode
from eth_utils import to_checksum_address
from setups import ADDRESSES, STRANGER, ascending, settings_file, trial_of
from third_party import Package
from trials import MARKET, closed_port, http_server
from web3.logs import DISCARD

from chain.anvil import KEYS
from chain.policy import Policy
from chain.rollout import DEFAULT_ADMIN_ROLE, GUARDIAN_ROLE, Charge, Roles
from chain.rpc import Rpc, head
from chain.runtime import IMPLEMENTATION_SLOT, resolve
from chain.steward import market_id
from config.errors import ConfigError
from config.load import DEFAULT_SETTINGS, PACKAGE, load_policies, load_protocol
from keeper.check import examine
from keeper.findings import Verdict
from keeper.ground import Source
from keeper.terminal import EXIT_FAILED
from keeper.trial import deploy_on, write_deployment

pytestmark = pytest.mark.integration
pytest_plugins = ["chains", "bare_chains"]

BINDING = (PACKAGE / "protocols" / "options_market.toml").read_text()
PROTOCOL = load_protocol("options_market", DEFAULT_SETTINGS)
POLICIES = load_policies(PROTOCOL)
SIGNERS = tuple(ascending(*ADDRESSES[1:3]))
ROLES = Roles(SIGNERS, 1, (ADDRESSES[2],), (ADDRESSES[3],), POLICIES.timelock_delay_seconds)
KEY = KEYS[1]


@pytest.fixture(scope="module")
def deployed(fresh_chain):
    """A trial market and its steward, every role with a key of its own."""
    return deploy_on(fresh_chain.deployer, {MARKET: PROTOCOL}, {MARKET: POLICIES}, 1_000.0, ROLES)


@pytest.fixture
def world(deployed, bare):
    """The contracts by name, on a chain that is given back unchanged."""
    return trial_of(bare, deployed)


@pytest.fixture
def govern(deployed, bare):
    """Make a call that only governance may, as the timelock would after its delay."""
    return lambda contract, function, *arguments: bare.act(deployed.timelock, contract, function, *arguments)


@pytest.fixture
def checked(deployed, bare, tmp_path):
    """Check with a binding changed by replacements, or a deployment changed by fields; return the report."""

    def run(*replacements, own=(ADDRESSES[1],), **changes):
        text = BINDING
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new, 1)
        path = tmp_path / "binding.toml"
        path.write_text(text)
        source = Source(load_protocol("binding.toml", tmp_path / "keeper.toml"), "binding.toml", text)

        async def go():
            async with Rpc(bare.url) as rpc:
                return await examine(rpc, deployed.model_copy(update=changes), {MARKET: source}, own)

        return asyncio.run(go())

    return run


def only_failure(report):
    """Return the one finding that failed."""
    (failure,) = report.failures
    return failure


def line_of(text, piece, nth=0):
    """Return the 1-based line of the `nth` occurrence of a piece of text."""
    return [number for number, line in enumerate(text.split("\n"), start=1) if piece in line][nth]


# The command


@pytest.fixture
def config(deployed, bare, tmp_path):
    """Settings of the deployment."""
    write_deployment(tmp_path / "deployment.json", deployed)
    return settings_file(tmp_path, bare.url)


def test_check__everything_fits__exits_0_and_shows_every_check(command, config):
    ended = command("check", "-c", config, key=KEY)
    assert ended.code == 0, ended
    assert "all checks passed" in ended.out
    assert KEY[2:] not in ended.out + ended.err


def test_check__as_json__tells_every_finding(command, config):
    document = json.loads(command("check", "-c", config, "--json", key=KEY).out)
    assert document["ok"] is True
    assert {"subject", "check", "verdict", "detail", "remedy", "where"} == set(document["findings"][0])
    assert {finding["verdict"] for finding in document["findings"]} == {"ok"}
    assert len(document["findings"]) > 18


def test_check__something_is_wrong__exits_1_with_all_failures_and_remedies_together(command, config, bare, world):
    bare.act(bare.deployer.address, world["market"], "set_parameter_setter", STRANGER)
    ended = command("check", "-c", config, key=KEYS[3])
    assert ended.code == EXIT_FAILED
    assert "3 of" in ended.out
    assert f"{ADDRESSES[3]} is no signer; configure a signer's key" in ended.out
    assert "0 of 1 signatures; configure the keys of 1 more signers" in ended.out
    assert f"calls set_parameter_setter({world['steward'].address}) on {world['market'].address}" in ended.out


def test_check__without_a_key__is_a_dry_run_and_passes(command, config):
    ended = command("check", "-c", config, "--json")
    assert ended.code == 0
    assert "a dry run" in ended.out


def test_check__endpoint_down__is_a_failure_without_its_credentials(command, config):
    url = f"http://u:hunter2@127.0.0.1:{closed_port()}/apikey-1234"
    ended = command("check", "-c", config, key=KEY, KEEPER_RPC_URL=url)
    assert ended.code == EXIT_FAILED
    assert "gave no answer" in ended.out
    assert not any(secret in ended.out + ended.err for secret in ("hunter2", "apikey-1234"))


@pytest.mark.parametrize(
    ("chain_id", "words"),
    [("5", "serves chain 31337, chain.chain_id is 5"), ("31337", "the deployment file is of chain 1")],
)
def test_check__another_chain__is_a_failure(command, deployed, bare, tmp_path, chain_id, words):
    write_deployment(tmp_path / "deployment.json", deployed.model_copy(update={"chain_id": 1}))
    ended = command("check", "-c", settings_file(tmp_path, bare.url, chain_id=chain_id), "--json", key=KEY)
    assert ended.code == EXIT_FAILED
    (failure,) = [one for one in json.loads(ended.out)["findings"] if one["verdict"] == "failed"]
    assert words in failure["detail"]


# Code


@pytest.mark.parametrize(
    ("name", "source"), [("steward", "risk_steward"), ("timelock", "timelock"), ("registry", "policy_registry")]
)
def test_examine__our_code_changed_by_a_byte__fails_and_believes_no_answer_of_it(bare, world, checked, name, source):
    bare.set_byte(world[name].address, 100)
    report = checked()
    failure = only_failure(report)
    assert (failure.subject, failure.check) == (name, f"code is that of {source}.vy")
    assert failure.detail.endswith("the code differs from byte 100 on")
    believed = {"signers are as recorded", "own keys sign", "the steward takes changes", "decisions of governance wait"}
    assert not believed & {finding.check for finding in report.findings}


def test_examine__steward_with_another_registry_in_its_code__fails(bare, world, checked):
    bare.set_byte(world["steward"].address, -1)
    failure = only_failure(checked())
    assert failure.detail.endswith("its immutables are not those of this deployment")


def test_examine__no_code_at_all__fails(checked):
    failure = only_failure(checked(timelock=STRANGER))
    assert (failure.subject, failure.detail) == ("timelock", f"{STRANGER}: no code stands there")


def test_examine__target_upgraded__fails_by_source_and_by_recorded_hash(bare, world, checked):
    bare.set_byte(world["market"].address, 22_000)
    failures = {failure.check: failure for failure in checked().failures}
    assert set(failures) == {f"code of {MARKET}.market is as recorded", "code is that of options_market.vy"}
    assert "at deployment" in failures[f"code of {MARKET}.market is as recorded"].detail


def test_examine__immutables_of_the_target_changed__fails_by_the_recorded_hash_alone(bare, world, checked):
    bare.set_byte(world["market"].address, -1)
    assert only_failure(checked()).check == f"code of {MARKET}.market is as recorded"


def test_examine__contract_is_not_there__names_the_key_of_the_file(deployed, checked):
    market = deployed.markets[MARKET].model_copy(update={"contracts": {"market": STRANGER}})
    failures = checked(markets={MARKET: market}).failures
    assert failures[0].detail == f"no code at {STRANGER}"
    assert f"mend markets.{MARKET}.contracts.market in the deployment file" in failures[0].remedy


def test_examine__market_missing_from_the_file__fails(deployed, checked):
    failure = only_failure(checked(markets={"other": deployed.markets[MARKET]}))
    assert (failure.subject, failure.detail) == (MARKET, "the deployment file has only other")


def test_examine__binding_asks_for_another_contract__fails(checked):
    failure = only_failure(checked(('contracts = ["market"', 'contracts = ["market", "vault"')))
    assert "binding options_market needs contracts.vault" in failure.detail


# Proxies


async def behind(bare, address):
    async with Rpc(bare.url) as rpc:
        return [at for at, _ in await resolve(rpc, address, await head(rpc))]


async def test_resolve__contract_that_is_no_proxy__is_itself(bare, world):
    assert await behind(bare, world["market"].address) == [world["market"].address]


async def test_resolve__minimal_proxy__is_followed(bare, world):
    code = "363d3d373d3d3d363d73" + world["market"].address[2:] + "5af43d82803e903d91602b57fd5bf3"
    bare.ask("anvil_setCode", STRANGER, "0x" + code)
    assert await behind(bare, STRANGER) == [STRANGER, world["market"].address]


async def test_resolve__proxy_that_keeps_its_implementation_in_a_slot__is_followed_to_the_end(bare, world):
    first, second = to_checksum_address("0x" + "51" * 20), to_checksum_address("0x" + "52" * 20)
    for proxy, target in ((first, second), (second, world["market"].address)):
        bare.ask("anvil_setCode", proxy, "0x00")
        bare.ask("anvil_setStorageAt", proxy, hex(IMPLEMENTATION_SLOT), "0x" + encode(["address"], [target]).hex())
    assert await behind(bare, first) == [first, second, world["market"].address]


async def test_resolve__proxy_of_itself__ends(bare):
    loop = to_checksum_address("0x" + "53" * 20)
    bare.ask("anvil_setCode", loop, "0x00")
    bare.ask("anvil_setStorageAt", loop, hex(IMPLEMENTATION_SLOT), "0x" + encode(["address"], [loop]).hex())
    assert await behind(bare, loop) == [loop]


# Governance and keys


def test_examine__second_admin__fails_and_names_both(deployed, govern, world, checked):
    govern(world["steward"], "grantRole", DEFAULT_ADMIN_ROLE, STRANGER)
    failure = only_failure(checked())
    assert failure.check == "the timelock alone governs"
    assert STRANGER in failure.detail
    assert deployed.timelock in failure.detail


def test_examine__admin_beside_the_timelock_over_the_timelock__fails(govern, world, checked):
    govern(world["timelock"], "grantRole", DEFAULT_ADMIN_ROLE, STRANGER)
    assert only_failure(checked()).check == "it alone governs itself"


def test_examine__admin_that_gave_up__passes(govern, world, checked):
    govern(world["steward"], "grantRole", DEFAULT_ADMIN_ROLE, STRANGER)
    govern(world["steward"], "revokeRole", DEFAULT_ADMIN_ROLE, STRANGER)
    assert checked().ok


def test_examine__no_delay__fails(govern, world, checked):
    govern(world["timelock"], "update_delay", 0)
    failure = only_failure(checked())
    assert (failure.detail, failure.subject) == ("a decision comes into force at once", "timelock")


def test_examine__guardian_or_proposer_changed__is_noted_and_passes(govern, world, checked):
    govern(world["steward"], "grantRole", GUARDIAN_ROLE, STRANGER)
    govern(world["timelock"], "grantRole", world["timelock"].functions.PROPOSER_ROLE().call(), STRANGER)
    report = checked()
    assert report.ok
    notes = {finding.check: finding.detail for finding in report.findings if finding.verdict is Verdict.NOTE}
    assert set(notes) == {"guardians are as recorded", "governance is as recorded"}
    assert all(STRANGER in detail for detail in notes.values())


def test_examine__signers_changed__fails_until_the_file_says_the_same(bare, deployed, world, govern, checked):
    signers = ascending(ADDRESSES[1], ADDRESSES[3])
    put_policy(bare, deployed, world, govern, quorum=(2, signers))
    failure = only_failure(checked(own=signers))
    assert (failure.check, failure.subject) == ("signers are as recorded", MARKET)
    keys = json.loads("{" + re.search(r"write (.*) into the deployment file", failure.remedy)[1] + "}")
    assert keys == {"signers": signers, "threshold": 2}
    assert checked(own=signers, **keys).ok


def test_examine__threshold_alone_changed__fails_as_well(bare, deployed, world, govern, checked):
    put_policy(bare, deployed, world, govern, quorum=(2, SIGNERS))
    failure = only_failure(checked(own=SIGNERS))
    assert failure.detail == f"2 of {', '.join(SIGNERS)} on chain, 1 of {', '.join(SIGNERS)} there"


def test_examine__signers_of_the_file_in_lower_case__are_the_same(deployed, checked):
    assert checked(signers=[signer.lower() for signer in deployed.signers]).ok


def test_examine__key_that_was_rotated_out__is_no_signer(bare, deployed, world, govern, checked):
    put_policy(bare, deployed, world, govern, quorum=(1, [ADDRESSES[3]]))
    failures = {one.check: one for one in checked(signers=[ADDRESSES[3]]).failures}
    assert set(failures) == {"own keys sign", "own keys are enough"}
    assert failures["own keys sign"].detail == f"{ADDRESSES[1]} is no signer"


def test_examine__fewer_keys_than_signatures__fails(bare, deployed, world, govern, checked):
    put_policy(bare, deployed, world, govern, quorum=(2, SIGNERS))
    failure = only_failure(checked(threshold=2))
    assert (failure.check, failure.detail) == ("own keys are enough", "1 of 2 signatures")
    assert failure.remedy == "configure the keys of 1 more signers"


# Binding against contracts


def test_examine__setter_that_does_not_exist__names_file_and_line(checked):
    report = checked(("set_parameters(uint256[6])", "set_all_parameters(uint256[6])"))
    failure = next(one for one in report.failures if one.check == "the functions exist")
    assert failure.detail == "market has no set_all_parameters(uint256[6])"
    assert failure.where == f"binding.toml:{line_of(BINDING, '[[setters]]')}"


def test_examine__getter_that_does_not_exist__is_named_with_its_parameter(checked):
    report = checked(
        ('getter = { function = "parameters()", word = 2', 'getter = { function = "parameter()", word = 2')
    )
    found = {failure.check: failure for failure in report.failures}
    line = f"binding.toml:{line_of(BINDING, 'word = 2')}"
    assert found["the functions exist"].where == found["the views answer"].where == line
    assert "shocked_vol.getter: parameter() is refused" in found["the views answer"].detail


def test_examine__word_past_the_answer__is_named_with_its_line(checked):
    report = checked(
        ('getter = { function = "parameters()", word = 5', 'getter = { function = "parameters()", word = 6')
    )
    failure = next(one for one in report.failures if one.check == "the views answer")
    assert "liquidation_penalty" in failure.detail
    assert failure.where == f"binding.toml:{line_of(BINDING, 'word = 5')}"


def test_examine__limits_of_the_protocol__are_read_and_shown(checked):
    report = checked(("[price]", '[[limits]]\nname = "ramp"\nfunction = "ramp_duration()"\n\n[price]'))
    shown = next(one for one in report.findings if one.check == "limit ramp")
    assert (shown.verdict, shown.detail) == (Verdict.OK, str(POLICIES.ramp_seconds))


# Binding against the stored policy


def test_examine__words_of_two_parameters_exchanged__both_differ_from_the_policy(checked):
    getter = 'getter = {{ function = "parameters()", word = {} }}'
    report = checked(*((getter.format(old), getter.format(new)) for old, new in ((5, 9), (4, 5), (9, 4))))
    found = [one for one in report.failures if one.check == "the stored policy is the binding's"]
    names = ("liquidation_threshold", "liquidation_penalty")
    assert [one.detail.split(" is read from ")[0] for one in found] == list(names)
    assert [one.where for one in found] == [f"binding.toml:{line_of(BINDING, getter.format(word))}" for word in (4, 5)]


BINDING_DIFFERS = {
    "group": ('group = "liquidation"', 'group = "shocks"', "group is stored as"),
    "tightening": (
        'tightening = "up"\ngetter = { function = "parameters()", word = 5',
        'tightening = "down"\ngetter = { function = "parameters()", word = 5',
        "liquidation_penalty: tightening is stored as up, not down",
    ),
    "reversible": (
        'unit = "bps"',
        'unit = "bps"\nreversible = false',
        "spot_shock_up: reversible is stored as True, not False",
    ),
    "invariant": (
        "liquidation_threshold <= maintenance_factor",
        "liquidation_threshold * 2 <= maintenance_factor",
        "does not hold",
    ),
    "health": ("liquidatable_after_ramp(address)", "health(address)", "health is probed by"),
    "setter": ("set_parameters(uint256[6])", "set_all(uint256[6])", "which the binding does not"),
    "arguments": (
        '[[\n  "$spot_shock_up",\n  "$spot_shock_down"',
        '[[\n  "$spot_shock_down",\n  "$spot_shock_up"',
        "($1, $0, $2",
    ),
}


@pytest.mark.parametrize("case", BINDING_DIFFERS)
def test_examine__binding_is_not_the_policys__names_the_difference_and_the_line(checked, case):
    old, new, words = BINDING_DIFFERS[case]
    found = [one for one in checked((old, new)).failures if one.check == "the stored policy is the binding's"]
    assert any(words in one.detail for one in found), found
    assert all(one.where.startswith("binding.toml:") for one in found)


def put_policy(bare, deployed, world, govern, **changes):
    """Store another policy and let governance put it into force."""
    charge = Charge(MARKET, deployed.markets[MARKET], PROTOCOL, POLICIES)
    limits = dict(POLICIES.limits) | changes.get("limits", {})
    policies = POLICIES.model_copy(update={"limits": limits})
    policy = Policy.of(charge.bound, policies, *changes.get("quorum", (1, SIGNERS)), changes.get("executor"))
    receipt = bare.deployer.send(world["registry"], "store", policy.blob())
    stored = world["registry"].events.PolicyStored().process_receipt(receipt)[0]["args"]["policy"]
    govern(world["steward"], "set_policy", market_id(MARKET), stored)
    return stored


def test_examine__governance_set_other_limits__is_noted_and_passes(bare, deployed, world, govern, checked):
    limits = {"shocked_vol": POLICIES.limits["shocked_vol"].model_copy(update={"maximum": 20_000})}
    stored = put_policy(bare, deployed, world, govern, limits=limits)
    report = checked()
    assert report.ok
    note = next(one for one in report.findings if one.verdict is Verdict.NOTE)
    assert (note.check, stored in note.detail) == ("the policy in force is as recorded", True)


def test_examine__live_value_outside_its_corridor__fails_with_both(bare, world, checked):
    bare.act(bare.deployer.address, world["market"], "set_parameter_setter", bare.deployer.address)
    values = world["market"].functions.parameters().call()
    bare.act(bare.deployer.address, world["market"], "set_parameters", [199, *values[1:]])
    bare.act(bare.deployer.address, world["market"], "set_parameter_setter", world["steward"].address)
    failure = only_failure(checked())
    assert failure.check == "live values keep the policy"
    assert failure.detail == "spot_shock_up is 199, its corridor 200..4000"


def test_examine__market_retired__fails(govern, world, checked):
    govern(world["steward"], "retire", market_id(MARKET))
    assert only_failure(checked()).detail == "the market was retired"


def test_examine__paused__is_noted_and_passes(bare, world, checked):
    bare.act(ADDRESSES[2], world["steward"], "pause", [market_id(MARKET)])
    report = checked()
    assert report.ok
    assert next(one for one in report.findings if one.verdict is Verdict.NOTE).detail.startswith("paused")


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


def test_examine__calls_go_through_a_safe__needs_module_and_setter_role(bare, deployed, world, govern, safe, checked):
    put_policy(bare, deployed, world, govern, executor=safe.address)
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
