"""Break one thing at a time in a set-up that is whole, and see that the check names it with its remedy."""

from __future__ import annotations

import json
import re

import pytest
from checks import SIGNERS, notes_of, only_failure, put_policy
from eth_abi import encode
from eth_utils import to_checksum_address
from processes import closed_port
from setups import ADDRESSES, STRANGER, ascending, settings_file
from trials import MARKET

from chain.anvil import KEYS
from chain.rollout import DEFAULT_ADMIN_ROLE, GUARDIAN_ROLE
from chain.rpc import Rpc, head
from chain.runtime import IMPLEMENTATION_SLOT, resolve
from keeper.terminal import EXIT_FAILED
from keeper.trial import write_deployment

pytestmark = pytest.mark.integration
pytest_plugins = ["chains", "bare_chains", "check_chains"]

KEY = KEYS[1]


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
    assert {finding["verdict"] for finding in document["findings"]} == {"ok", "note"}
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


def test_examine__second_admin__fails_and_names_both(deployed, as_timelock, world, checked):
    as_timelock(world["steward"], "grantRole", DEFAULT_ADMIN_ROLE, STRANGER)
    failure = only_failure(checked())
    assert failure.check == "the timelock alone governs"
    assert STRANGER in failure.detail
    assert deployed.timelock in failure.detail
    assert failure.remedy == "have every other holder revoke its own with revokeRole"


def test_examine__steward_that_nobody_governs__says_that_no_one_can_mend_it(deployed, as_timelock, world, checked):
    as_timelock(world["steward"], "revokeRole", DEFAULT_ADMIN_ROLE, deployed.timelock)
    failure = only_failure(checked())
    assert (failure.check, failure.detail[-9:]) == ("the timelock alone governs", "by nobody")
    assert "nobody can grant it any more" in failure.remedy
    assert "put up a new steward" in failure.remedy


def test_examine__steward_governed_by_another__is_given_back_before_that_one_gives_up(
    deployed, as_timelock, world, checked
):
    as_timelock(world["steward"], "grantRole", DEFAULT_ADMIN_ROLE, STRANGER)
    as_timelock(world["steward"], "revokeRole", DEFAULT_ADMIN_ROLE, deployed.timelock)
    assert only_failure(checked()).remedy.startswith(f"have a holder grant it to {deployed.timelock} with grantRole")


def test_examine__admin_beside_the_timelock_over_the_timelock__fails(as_timelock, world, checked):
    as_timelock(world["timelock"], "grantRole", DEFAULT_ADMIN_ROLE, STRANGER)
    assert only_failure(checked()).check == "it alone governs itself"


def test_examine__admin_that_gave_up__passes(as_timelock, world, checked):
    as_timelock(world["steward"], "grantRole", DEFAULT_ADMIN_ROLE, STRANGER)
    as_timelock(world["steward"], "revokeRole", DEFAULT_ADMIN_ROLE, STRANGER)
    assert checked().ok


def test_examine__no_delay__fails(as_timelock, world, checked):
    as_timelock(world["timelock"], "update_delay", 0)
    failure = only_failure(checked())
    assert (failure.detail, failure.subject) == ("a decision comes into force at once", "timelock")


def test_examine__guardian_or_proposer_changed__is_noted_and_passes(as_timelock, world, checked):
    as_timelock(world["steward"], "grantRole", GUARDIAN_ROLE, STRANGER)
    as_timelock(world["timelock"], "grantRole", world["timelock"].functions.PROPOSER_ROLE().call(), STRANGER)
    report = checked()
    assert report.ok
    changed = {"guardians are as recorded", "governance is as recorded"}
    assert {check for check, note in notes_of(report).items() if STRANGER in note.detail} == changed


def test_examine__signers_changed__fails_until_the_file_says_the_same(bare, deployed, world, as_timelock, checked):
    signers = ascending(ADDRESSES[1], ADDRESSES[3])
    put_policy(bare, deployed, world, as_timelock, quorum=(2, signers))
    failure = only_failure(checked(own=signers))
    assert (failure.check, failure.subject) == ("signers are as recorded", MARKET)
    keys = json.loads("{" + re.search(r"write (.*) into the deployment file", failure.remedy)[1] + "}")
    assert keys == {"signers": signers, "threshold": 2}
    assert checked(own=signers, **keys).ok


def test_examine__threshold_alone_changed__fails_as_well(bare, deployed, world, as_timelock, checked):
    put_policy(bare, deployed, world, as_timelock, quorum=(2, SIGNERS))
    failure = only_failure(checked(own=SIGNERS))
    assert failure.detail == f"2 of {', '.join(SIGNERS)} on chain, 1 of {', '.join(SIGNERS)} there"


def test_examine__signers_of_the_file_in_lower_case__are_the_same(deployed, checked):
    assert checked(signers=[signer.lower() for signer in deployed.signers]).ok


def test_examine__key_that_was_rotated_out__is_no_signer(bare, deployed, world, as_timelock, checked):
    put_policy(bare, deployed, world, as_timelock, quorum=(1, [ADDRESSES[3]]))
    failures = {one.check: one for one in checked(signers=[ADDRESSES[3]]).failures}
    assert set(failures) == {"own keys sign", "own keys are enough"}
    assert failures["own keys sign"].detail == f"{ADDRESSES[1]} is no signer"


def test_examine__fewer_keys_than_signatures__fails(bare, deployed, world, as_timelock, checked):
    put_policy(bare, deployed, world, as_timelock, quorum=(2, SIGNERS))
    failure = only_failure(checked(threshold=2))
    assert (failure.check, failure.detail) == ("own keys are enough", "1 of 2 signatures")
    assert failure.remedy == "configure the keys of 1 more signers"
