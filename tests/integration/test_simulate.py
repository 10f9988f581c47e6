"""Check what the simulation of exact calldata shows: values, gas, and accounts now and when the ramp has ended."""

from __future__ import annotations

import pytest
from trials import MARKET, RISKY_PRICE, TIGHT, at_head, decide, keeper_of

from chain.deploy import KEEPER_ROLE
from chain.market import SimulationReverted
from chain.rpc import Rpc, RpcError
from keeper.journal import EntryKind
from keeper.messages import Applied, Change, Proposal, ProposalKind, Reason, Rejected
from keeper.submit import calldata

pytestmark = pytest.mark.integration
pytest_plugins = ["chains"]

TIGHTER = (400, 450, 1_800, 5_425, 3_900, 500)
"""Deployed values with both groups tightened as `TIGHT` asks for, by less than a step."""


def proposal_to(values, state, **others):
    changes = tuple(Change(i, new) for i, (new, old) in enumerate(zip(values, state.values, strict=True)) if new != old)
    fields = {
        "market": MARKET,
        "kind": ProposalKind.TUNE,
        "sequence": state.sequence + 1,
        "state_hash": state.state_hash,
        "block": state.block,
        "current": state.values,
        "changes": changes,
        "targets": changes,
        "inputs": "0x" + "11" * 32,
        "model_id": "scripted",
        "deadline": state.block.timestamp + 600,
        "because": "a test asks for it",
    }
    return Proposal(**fields | others)


async def simulated(trial, rpc, values, **others):
    state = await at_head(rpc, trial)
    market = trial.bound(rpc)
    data = calldata(proposal_to(values, state, **others), market)
    return await market.simulate(data, trial.deployment.keeper, state)


def liquidatable(accounts):
    return [account.address for account in accounts if account.liquidatable]


async def test_simulate__admissible_change__shows_the_values_and_changes_nothing(trial, rpc):
    before = trial.parameters()
    shown = await simulated(trial, rpc, TIGHTER)
    assert shown.values == TIGHTER
    assert trial.parameters() == before
    assert trial.sequence() == 0


async def test_simulate__admissible_change__foretells_the_gas_that_is_used(trial, tmp_path):
    async with keeper_of(trial, tmp_path, TIGHT) as keeper:
        applied = await decide(keeper, trial)
        approved = (await keeper.journal.last(EntryKind.APPROVED)).message()
    assert isinstance(applied, Applied)
    assert applied.gas_used == approved.preflight.gas
    assert applied.values == approved.preflight.values


async def test_simulate__account_healthy_until_the_ramp_ends__is_liquidatable_only_afterwards(trial, rpc):
    trial.post_price(RISKY_PRICE)
    assert liquidatable((await at_head(rpc, trial)).accounts) == []
    shown = await simulated(trial, rpc, TIGHTER)
    assert liquidatable(shown.accounts) == []
    assert liquidatable(shown.accounts_after_ramp) == [trial.risky]


async def test_simulate__after_the_ramp__shows_what_the_chain_then_says(trial, tmp_path, rpc):
    async with keeper_of(trial, tmp_path, TIGHT) as keeper:
        state = await at_head(rpc, trial)
        shown = await simulated(trial, rpc, TIGHTER)
        applied = await decide(keeper, trial)
    assert applied.values == shown.values
    trial.pass_time(trial.market.functions.ramp_duration().call() + 1)
    later = await at_head(rpc, trial)
    margins = [(account.address, account.equity) for account in later.accounts]
    assert margins == [(account.address, account.equity) for account in shown.accounts_after_ramp]
    before = {account.address: account.liquidation_margin for account in state.accounts}
    after = {account.address: account.liquidation_margin for account in later.accounts}
    foretold = {account.address: account.liquidation_margin for account in shown.accounts_after_ramp}
    short = [address for address in after if after[address]]
    assert all(foretold[address] > before[address] for address in short)
    # Time value shrinks by the seconds between the two blocks.
    assert all(foretold[address] == pytest.approx(after[address], rel=1e-4) for address in short)


async def test_tick__tightening_would_liquidate_after_its_ramp__is_refused_and_nothing_is_sent(trial, tmp_path):
    trial.post_price(RISKY_PRICE)
    async with keeper_of(trial, tmp_path, TIGHT) as keeper:
        refused = await decide(keeper, trial, RISKY_PRICE)
        attempts = await keeper.journal.find(kind=EntryKind.ATTEMPT)
    assert isinstance(refused, Rejected)
    assert refused.reason is Reason.IMPACT_TOO_LARGE
    assert trial.risky in refused.detail
    assert attempts == []
    assert (trial.nonce(), trial.sequence()) == (0, 0)


async def test_tick__the_same_tightening_within_the_operators_bound__is_applied(trial, tmp_path):
    trial.post_price(RISKY_PRICE)
    async with keeper_of(trial, tmp_path, TIGHT, max_newly_liquidatable=1) as keeper:
        assert isinstance(await decide(keeper, trial, RISKY_PRICE), Applied)
        approved = (await keeper.journal.last(EntryKind.APPROVED)).message()
    assert approved.preflight.newly_liquidatable == (trial.risky,)


REVERTS = {
    "step": ((501, 450, 1_800, 5_000, 3_300, 500), {}, "step too large"),
    "corridor": ((300, 350, 1_800, 9_600, 3_900, 500), {}, "value above corridor"),
    "group": ((350, 350, 1_800, 5_000, 3_300, 500), {}, "group incomplete"),
    "sequence": (TIGHTER, {"sequence": 3}, "wrong sequence"),
    "state": (TIGHTER, {"state_hash": "0x" + "22" * 32}, "state has changed"),
    "deadline": (TIGHTER, {"deadline": 1}, "deadline passed"),
}


@pytest.mark.parametrize("case", REVERTS)
async def test_simulate__change_the_steward_refuses__gives_its_own_reason(trial, rpc, case):
    values, others, words = REVERTS[case]
    with pytest.raises(SimulationReverted, match=words):
        await simulated(trial, rpc, values, **others)


async def test_simulate__sender_without_the_keeper_role__gives_the_contracts_reason(trial, rpc):
    state, market = await at_head(rpc, trial), trial.bound(rpc)
    data = calldata(proposal_to(TIGHTER, state), market)
    with pytest.raises(SimulationReverted, match="access_control"):
        await market.simulate(data, trial.deployer.address, state)


async def test_tick__keeper_role_revoked_while_it_runs__is_simulation_failed_with_the_reason(trial, tmp_path):
    async with keeper_of(trial, tmp_path, TIGHT) as keeper:
        trial.deployer.send(trial.steward, "revokeRole", KEEPER_ROLE, trial.deployment.keeper)
        refused = await decide(keeper, trial)
        attempts = await keeper.journal.find(kind=EntryKind.ATTEMPT)
    assert isinstance(refused, Rejected)
    assert refused.reason is Reason.SIMULATION_FAILED
    assert "access_control" in refused.detail
    assert attempts == []


async def test_simulate__block_of_the_decision_reorged_away__is_a_known_fault(trial, rpc):
    trial.ask("evm_mine")
    state, market = await at_head(rpc, trial), trial.bound(rpc)
    trial.reorganise()
    data = calldata(proposal_to(TIGHTER, state), market)
    with pytest.raises(RpcError):
        await market.simulate(data, trial.deployment.keeper, state)


async def test_simulate__reorg_just_before_it__is_not_taken_for_the_decisions_block(trial):
    trial.ask("evm_mine")

    class Reorging(Rpc):
        async def batch(self, requests):
            if requests[0][0] == "eth_simulateV1":
                trial.reorganise()
            return await super().batch(requests)

    async with Reorging(trial.url) as rpc:
        with pytest.raises(SimulationReverted, match="no longer canonical"):
            await simulated(trial, rpc, TIGHTER)
