"""Store a policy from the command line, bring it into force, and see whose signatures count from then on."""

from __future__ import annotations

import json
import re

import pytest
from governing import OTHER, change
from setups import ADDRESSES, ascending
from trials import MARKET

from chain.anvil import KEYS
from chain.deploy import DeployError
from chain.policy import Policy
from chain.steward import market_id
from keeper.terminal import EXIT_USAGE
from keeper.trial import write_deployment

pytestmark = pytest.mark.integration
pytest_plugins = ["chains", "bare_chains", "govern_chains"]


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
    bare, governed, put, in_force, steward
):
    asked = ("--signer", ADDRESSES[2], "--signer", ADDRESSES[3].lower(), "--threshold", 2)
    said = put(*asked)
    signers = ascending(ADDRESSES[2], ADDRESSES[3])
    assert f"a change needs 2 of {', '.join(signers)}" in said
    assert (in_force().threshold, list(in_force().signers)) == (2, signers)
    assert list(in_force(OTHER).signers) == [ADDRESSES[1]]
    with pytest.raises(DeployError, match="risk_steward: too few signatures"):
        change(bare, governed, "apply", KEYS[1])
    with pytest.raises(DeployError, match="risk_steward: unknown signer"):
        change(bare, governed, "apply", KEYS[1], KEYS[3])
    change(bare, governed, "apply", KEYS[2], KEYS[3])
    change(bare, governed, "apply", KEYS[1], market=OTHER)
    assert [steward.functions.market_state(market_id(name)).call()[2] for name in (MARKET, OTHER)] == [1, 1]


def test_policy__other_signers__says_what_to_write_into_the_deployment_file(put, tmp_path, governed):
    said = put("--signer", ADDRESSES[2], "--signer", ADDRESSES[3], "--threshold", 2)
    keys = json.loads("{" + re.search(r"in force write (.*)", said)[1] + "}")
    assert keys == {"signers": ascending(ADDRESSES[2], ADDRESSES[3]), "threshold": 2}
    assert f"into {tmp_path / 'deployment.json'}" in said
    write_deployment(tmp_path / "deployment.json", governed.model_copy(update=keys))
    assert f"a change needs 2 of {', '.join(keys['signers'])}" in put(cooldown_seconds=120)


@pytest.mark.parametrize("given", [(), ("--signer", ADDRESSES[3]), ("--threshold", 1)])
def test_policy__file_still_has_the_signers_that_were_replaced__is_not_stored(put, place, command, bare, given):
    put("--signer", ADDRESSES[2], "--threshold", 1)
    before = bare.transactions()
    ended = command("policy", "-c", place, "--market", MARKET, *given, key=KEYS[0])
    assert ended.code == EXIT_USAGE, ended
    assert f"another quorum than the one in force for {MARKET}: write" in ended.err
    assert f'"signers": ["{ADDRESSES[2]}"], "threshold": 1 into it' in ended.err
    assert bare.transactions() == before


POLICY_REFUSED = {
    "market": (("--market", "DAX"), "--market DAX: must be one of SPX"),
    "signer": (("--market", MARKET, "--signer", "alice"), "--signer alice: must be an address"),
    "signer twice": (
        ("--market", MARKET, "--signer", ADDRESSES[1], "--signer", ADDRESSES[1].lower()),
        f"--signer {ADDRESSES[1]}: is given twice",
    ),
    "signer without 0x": (("--market", MARKET, "--signer", ADDRESSES[1][2:]), "must be an address, 0x and 40 hex"),
    "threshold": (("--market", MARKET, "--threshold", 2), "--threshold 2: must be in 1..1, the number of signers"),
    "no threshold": (("--market", MARKET, "--threshold", 0), "--threshold 0: must be in 1..1, the number of signers"),
    "too many": (
        ("--market", MARKET, *(part for n in range(1, 18) for part in ("--signer", "0x" + f"{n:02x}" * 20))),
        "--signer: 17 addresses, the steward takes 16",
    ),
}


@pytest.mark.parametrize("case", POLICY_REFUSED)
def test_policy__argument_is_wrong__exits_2_before_anything_is_sent(place, command, bare, case):
    arguments, words = POLICY_REFUSED[case]
    before = bare.transactions()
    ended = command("policy", "-c", place, *arguments, key=KEYS[0])
    assert ended.code == EXIT_USAGE, ended
    assert words in ended.err
    assert bare.transactions() == before


def test_policy__market_that_the_deployment_file_lacks__exits_2(place, command, governed, tmp_path):
    others = {OTHER: governed.markets[OTHER]}
    write_deployment(tmp_path / "deployment.json", governed.model_copy(update={"markets": others}))
    ended = command("policy", "-c", place, "--market", MARKET, key=KEYS[0])
    assert (ended.code, "SPX: must be a market of the deployment file: NDX" in ended.err) == (EXIT_USAGE, True)
