"""Follow a decision of governance from the command line through the timelock into force."""

from __future__ import annotations

import re

import pytest
from governing import DELAY, OTHER, pass_time, statuses
from setups import ADDRESSES, STRANGER, trial_of
from trials import MARKET

from chain.anvil import KEYS
from chain.rollout import GUARDIAN_ROLE
from chain.steward import ACTIVE, RETIRED
from keeper.terminal import EXIT_FAILED, EXIT_USAGE

pytestmark = pytest.mark.integration
pytest_plugins = ["chains", "bare_chains", "govern_chains"]


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


def test_govern__not_sent__shows_calls_that_others_can_make(bare, governed, steward, govern):
    shown = govern("grantRole", "guardian", STRANGER, key=None)
    schedule, execute = re.findall(rf"(?:schedule|execute): to {governed.timelock} data (0x\w+)", shown.out)
    bare.send_as(ADDRESSES[3], governed.timelock, schedule)
    assert f"cancel: to {governed.timelock} data 0x" in govern("grantRole", "guardian", STRANGER, key=None).out
    pass_time(bare, DELAY)
    bare.send_as(ADDRESSES[3], governed.timelock, execute)
    assert steward.functions.hasRole(GUARDIAN_ROLE, STRANGER).call()


def test_govern__cancelled__is_not_scheduled_any_more(bare, governed, govern):
    govern("rebase", MARKET, "--send")
    cancel = re.search(r"cancel: to \w+ data (0x\w+)", govern("rebase", MARKET).out)[1]
    bare.send_as(ADDRESSES[3], governed.timelock, cancel)
    assert ": not scheduled" in govern("rebase", MARKET).out


def test_govern__the_same_decision_with_another_salt__is_another_operation(govern):
    govern("rebase", MARKET, "--send")
    assert ": not scheduled" in govern("rebase", MARKET, "--salt", 1).out
    assert ": not scheduled" in govern("rebase", OTHER).out


def test_govern__setter_role_handed_on__leaves_the_steward(bare, governed, govern):
    market = trial_of(bare, governed)["market"]
    bare.act(bare.deployer.address, market, "transfer_ownership", governed.steward)
    decision = ("hand_on", market.address, market.encode_abi("transfer_ownership", [STRANGER]), "--send")
    govern(*decision)
    pass_time(bare, DELAY)
    govern(*decision)
    assert market.functions.owner().call() == STRANGER


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
