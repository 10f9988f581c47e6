"""Check that the accounts nearest to liquidation are named in the message, and that the steward stops at them."""

from __future__ import annotations

import pytest
from eth_abi import decode, encode
from trials import RISKY_PRICE, TIGHT, at_head, decide, keeper_of, rows
from wires import wired

from chain.attestation import MESSAGE, SIGNATURES
from keeper.journal import EntryKind
from keeper.messages import Applied, Failed, Reason, Rejected

pytestmark = pytest.mark.integration
pytest_plugins = ["chains"]


def probed(calldata):
    """Return the accounts that a message names, and how many of them may be liquidatable."""
    _, message, _ = decode(["uint256", MESSAGE, SIGNATURES], bytes.fromhex(calldata[10:]))
    return [data for data, _ in message[8]], message[9]


def cushion(account):
    return (account.equity - account.liquidation_margin) / account.liquidation_margin


async def test_tick__change__names_the_healthy_accounts_nearest_to_liquidation_first(trial, rpc, tmp_path):
    accounts = [one for one in (await at_head(rpc, trial)).accounts if one.liquidation_margin]
    nearest = sorted(accounts, key=cushion)
    assert nearest[0].address == trial.risky
    async with keeper_of(trial, tmp_path, TIGHT, extra={"guard": "probed_accounts = 2"}) as keeper:
        applied = await decide(keeper, trial)
    assert isinstance(applied, Applied)
    sent = trial.ask("eth_getTransactionByHash", applied.tx_hash)["input"]
    assert probed(sent) == ([encode(["address"], [one.address]) for one in nearest[:2]], 0)


@pytest.mark.parametrize("number", [0, 1, 8])
async def test_tick__account_that_would_become_liquidatable__is_named_whether_it_is_probed_or_not(
    trial, tmp_path, number
):
    trial.post_price(RISKY_PRICE)
    async with keeper_of(trial, tmp_path, TIGHT, extra={"guard": f"probed_accounts = {number}"}) as keeper:
        refused = await decide(keeper, trial, RISKY_PRICE)
        assert await rows(keeper, EntryKind.ATTEMPT) == []
    assert (type(refused), refused.reason) == (Rejected, Reason.IMPACT_TOO_LARGE)
    assert refused.detail == f"1 accounts, bound 0: {trial.risky}"
    assert (trial.nonce(), trial.sequence()) == (0, 0)


async def test_tick__price_moves_between_simulation_and_mining__the_steward_reverts_and_the_attempt_is_failed(
    trial, tmp_path
):
    before = trial.parameters()
    async with wired(trial, tmp_path) as keeper:
        keeper.rpc.before = lambda _: trial.post_price(RISKY_PRICE)
        failed = await decide(keeper, trial)
        assert (type(failed), failed.detail) == (Failed, "reverted: risk_steward: too many liquidatable")
        assert [row.message() for row in await rows(keeper, EntryKind.FAILED)] == [failed]
        keeper.rpc.before = None
        refused = await decide(keeper, trial, RISKY_PRICE)
        assert refused.reason is Reason.IMPACT_TOO_LARGE
    assert (trial.parameters(), trial.sequence(), trial.nonce()) == (before, 0, 1)


async def test_tick__price_moves_just_the_same_but_nobody_is_probed__is_applied(trial, tmp_path):
    async with wired(trial, tmp_path, extra={"guard": "probed_accounts = 0"}) as keeper:
        keeper.rpc.before = lambda _: trial.post_price(RISKY_PRICE)
        assert isinstance(await decide(keeper, trial), Applied)


async def test_tick__price_moves_within_the_operators_bound__is_applied(trial, tmp_path):
    async with wired(trial, tmp_path, max_newly_liquidatable=1) as keeper:
        keeper.rpc.before = lambda _: trial.post_price(RISKY_PRICE)
        assert isinstance(await decide(keeper, trial), Applied)
