"""Follow a decision of governance from the command line through the timelock into force."""

from __future__ import annotations

import re

import pytest
from aiohttp import ClientSession, web
from governing import DELAY, OTHER, pass_time, statuses
from processes import http_server
from setups import ADDRESSES, STRANGER, trial_of
from trials import MARKET

from chain.anvil import KEYS
from chain.remedies import REMEDIES
from chain.roles import CANCELLER_ROLE, EXECUTOR_ROLE, PROPOSER_ROLE
from chain.rollout import GUARDIAN_ROLE
from chain.steward import ACTIVE, RETIRED, market_id
from config.errors import ConfigError
from config.load import Secrets, load_settings
from keeper.govern import govern as bring_on
from keeper.govern import operation_of
from keeper.terminal import EXIT_FAILED, EXIT_USAGE

pytestmark = pytest.mark.integration
ZERO = "0x" + "00" * 20
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


# Who governs


def enact(bare, govern, *decision):
    """Schedule a decision, wait for the timelock, and execute it."""
    assert "scheduled in 0x" in govern(*decision, "--send").out
    pass_time(bare, DELAY)
    ended = govern(*decision, "--send")
    assert "executed in 0x" in ended.out, ended


def holds(bare, governed, role, account):
    timelock = trial_of(bare, governed)["timelock"].functions
    return timelock.hasRole(bytes.fromhex(role[2:]), account).call()


@pytest.mark.parametrize(
    ("name", "role"), [("proposer", PROPOSER_ROLE), ("canceller", CANCELLER_ROLE), ("executor", EXECUTOR_ROLE)]
)
def test_govern__role_of_the_timelock__is_granted_and_revoked_there(bare, governed, govern, name, role):
    enact(bare, govern, "grantRole", name, ADDRESSES[1])
    assert holds(bare, governed, role, ADDRESSES[1])
    enact(bare, govern, "revokeRole", name, ADDRESSES[1])
    assert not holds(bare, governed, role, ADDRESSES[1])


def test_govern__new_proposer__schedules_what_the_old_one_cannot_any_more(bare, govern):
    for decision in (("grantRole", "proposer", ADDRESSES[1]), ("revokeRole", "proposer", ADDRESSES[3])):
        enact(bare, govern, *decision)
    refused = govern("rebase", MARKET, "--send")
    assert (refused.code, "account is missing role" in refused.err) == (EXIT_FAILED, True)
    assert "scheduled in 0x" in govern("rebase", MARKET, "--send", key=KEYS[1]).out


@pytest.mark.parametrize("name", ["proposer", "executor"])
def test_govern__last_holder_of_a_role_that_governance_needs__is_not_revoked(bare, governed, govern, name):
    timelock = trial_of(bare, governed)["timelock"]
    ended = govern("revokeRole", name, ADDRESSES[3].lower(), "--send")
    assert ended.code == EXIT_USAGE, ended
    assert f"is the last {name}" in ended.err
    assert timelock.functions.hasRole(bytes.fromhex(PROPOSER_ROLE[2:]), ADDRESSES[3]).call()


async def test_govern__role_is_revoked_and_the_endpoint_serves_no_logs__says_that_the_last_holder_is_not_known(
    bare, governed, place
):
    async def answer(request):
        body = await request.json()
        asked = body if isinstance(body, list) else [body]
        if any(one["method"] == "eth_getLogs" for one in asked):
            refused = [{"jsonrpc": "2.0", "id": one["id"], "error": {"code": 1, "message": "no logs"}} for one in asked]
            return web.json_response(refused if isinstance(body, list) else refused[0])
        async with ClientSession() as session, session.post(bare.url, json=body) as answered:
            return web.json_response(await answered.json())

    operation = operation_of(governed, "revokeRole", ("proposer", ADDRESSES[3]), 0)
    async with http_server(answer) as url:
        settings = load_settings(place, {"KEEPER_RPC_URL": url})
        lines = await bring_on(settings, Secrets(), governed, operation, send=False, force=False)
    assert lines[1].startswith(
        f"it is not known whether {ADDRESSES[3].lower()} is the last proposer: the endpoint serves no logs (no logs)"
    )
    settings = load_settings(place, {})
    with pytest.raises(ConfigError, match="is the last proposer"):
        await bring_on(settings, Secrets(), governed, operation, send=False, force=False)


def test_govern__delay__is_changed_by_the_timelock_itself(bare, governed, govern):
    enact(bare, govern, "update_delay", "86400")
    assert trial_of(bare, governed)["timelock"].functions.get_minimum_delay().call() == 86_400


def test_govern__timelocks_own_role__is_never_revoked(governed, govern):
    for timelock in (governed.timelock, governed.timelock.lower()):
        ended = govern("revokeRole", "admin", timelock, "--send")
        assert ended.code == EXIT_USAGE, ended
        assert f"revokeRole admin {timelock}: is the timelock" in ended.err


def test_govern__second_admin__is_revoked(bare, governed, steward, govern):
    bare.act(governed.timelock, steward, "grantRole", b"\0" * 32, STRANGER)
    enact(bare, govern, "revokeRole", "admin", STRANGER)
    assert not steward.functions.hasRole(b"\0" * 32, STRANGER).call()


# What cannot succeed


IMPOSSIBLE = {
    "set_policy": (("set_policy", MARKET, STRANGER), "risk_steward: policy not stored"),
    "activate": (("activate", MARKET), "risk_steward: market already activated"),
    "unpause": (("unpause", MARKET), "risk_steward: market not in that status"),
    "hand_on": (("hand_on", STRANGER, "0x"), "risk_steward: target is no contract"),
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_govern__would_be_refused_if_executed_now__is_not_scheduled(bare, govern, case):
    decision, words = IMPOSSIBLE[case]
    before = bare.deployer.web3.eth.block_number
    ended = govern(*decision, "--send")
    assert ended.code == EXIT_FAILED, ended
    assert f"executed now it would be refused: {words}; --force" in ended.err
    assert f"what to do: {REMEDIES[words]}" in ended.err
    assert bare.deployer.web3.eth.block_number == before
    shown = govern(*decision, key=None)
    assert shown.code == 0
    assert f"executed now it would be refused: {words}\nwhat to do: {REMEDIES[words]}\n" in shown.out


def test_govern__would_be_refused_now_and_force__is_scheduled_for_what_comes(bare, steward, govern):
    """A market that is paused while the decision waits."""
    assert "scheduled in 0x" in govern("unpause", MARKET, "--send", "--force").out
    bare.act(ADDRESSES[2], steward, "pause", [market_id(MARKET)])
    pass_time(bare, DELAY)
    assert "executed in 0x" in govern("unpause", MARKET, "--send").out
    assert statuses(steward) == [ACTIVE, ACTIVE]


# What is refused


REFUSED = {
    "function": (("apply",), "apply: governance calls one of activate, grantRole"),
    "number": (("retire",), "retire takes 1 arguments, not 0"),
    "market": (("retire", "DAX"), "DAX: must be a market of the deployment file: SPX, NDX"),
    "role for a market": (("retire", "guardian"), "guardian: must be a market of the deployment file: SPX, NDX"),
    "market for a role": (("grantRole", MARKET, STRANGER), "SPX: must be a role: admin, guardian, canceller"),
    "role that is two": (("grantRole", "governance", STRANGER), "governance: must be a role: admin, guardian"),
    "admin beside the timelock": (
        ("grantRole", "admin", STRANGER),
        f"grantRole admin {STRANGER}: must be the timelock",
    ),
    "address": (("set_policy", MARKET, "0x12"), "0x12: must be an address"),
    "address without 0x": (("set_policy", MARKET, "77" * 20), f"{'77' * 20}: must be an address, 0x and 40 hex"),
    "address with 0X": (("set_policy", MARKET, "0X" + "77" * 20), "must be an address, 0x and 40 hex digits"),
    "checksum": (("grantRole", "guardian", ADDRESSES[1].swapcase().replace("X", "x")), "its checksum right"),
    "zero policy": (("set_policy", MARKET, ZERO), f"{ZERO}: must not be the zero address"),
    "zero guardian": (("grantRole", "guardian", ZERO), "must not be the zero address"),
    "no delay": (("update_delay", "0"), "0: must be seconds, a whole number in 1..31622400"),
    "longest delay": (("update_delay", "31622401"), "31622401: must be seconds"),
    "delay in days": (("update_delay", "2d"), "2d: must be seconds"),
    "salt": (("unpause", MARKET, "--salt", 2**256), f"--salt {2**256}: must be in 0..2^256 - 1"),
    "negative salt": (("unpause", MARKET, "--salt", -1), "--salt -1: must be in 0..2^256 - 1"),
    "long call": (("hand_on", STRANGER, "0x" + "00" * 1024), "hand_on: a call of 1124 bytes, the timelock takes 1024"),
    "data without 0x": (("hand_on", STRANGER, "79ba5097"), "79ba5097: must be hex: 0x and two digits a byte"),
    "data with spaces": (("hand_on", STRANGER, "0xab ab"), "0xab ab: must be hex"),
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
    ended = govern("rebase", MARKET, "--send", key=None)
    assert (ended.code, "KEEPER_PRIVATE_KEY: needed to send" in ended.err) == (EXIT_USAGE, True)


def test_govern__key_that_is_no_proposer__exits_1_with_the_timelocks_reason(govern):
    ended = govern("rebase", MARKET, "--send", key=KEYS[1])
    assert ended.code == EXIT_FAILED
    assert "schedule: " in ended.err
    assert "access_control: account is missing role" in ended.err
