"""Check what the simulation of exact calldata shows: values, gas, and accounts now and when the ramp has ended."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydantic import SecretStr
from trials import MARKET, RISKY_PRICE, SPOT, TIGHT, at_head, decide, keeper_of

from chain.anvil import KEYS
from chain.attestation import attach
from chain.market import SimulationReverted
from chain.policy import Policy
from chain.rpc import Rpc, RpcError, head
from chain.signer import LocalSigner
from keeper.journal import EntryKind
from keeper.messages import Applied, Change, Proposal, ProposalKind, Reason, Rejected
from keeper.submit import action_of, message_of

pytestmark = pytest.mark.integration
pytest_plugins = ["chains"]

TIGHTER = (400, 450, 1_800, 5_425, 3_900, 500)
"""Deployed values with both groups tightened as `TIGHT` asks for, by less than a step."""


def proposal_to(values, state, **others):
    changes = tuple(Change(i, new) for i, (new, old) in enumerate(zip(values, state.values, strict=True)) if new != old)
    fields = {
        "market": MARKET,
        "kind": ProposalKind.TUNE,
        "policy": state.policy,
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


def calldata(proposal, market):
    """Return the message that carries a proposal out, without signatures and without probes."""
    return message_of(proposal, market, (), 0).calldata(action_of(proposal))


async def simulated(trial, rpc, values, **others):
    state = await at_head(rpc, trial)
    market = trial.bound(rpc)
    data = calldata(proposal_to(values, state, **others), market)
    return await market.simulate(data, trial.keeper, state)


def liquidatable(accounts):
    return [account.address for account in accounts if account.liquidatable]


async def test_simulate__admissible_change__shows_the_values_and_changes_nothing(trial, rpc):
    before = trial.parameters()
    shown = await simulated(trial, rpc, TIGHTER)
    assert shown.values == TIGHTER
    assert trial.parameters() == before
    assert trial.sequence() == 0


async def test_rehearse__signed_change__foretells_the_gas_that_is_used(trial, rpc, tmp_path):
    trial.pass_time(60)  # a ramp that begins in the second of the deployment writes one slot less
    before = trial.ask("evm_snapshot")
    async with keeper_of(trial, tmp_path, TIGHT) as keeper:
        applied = await decide(keeper, trial)
        approved = (await keeper.journal.last(EntryKind.APPROVED)).message()
    assert isinstance(applied, Applied)
    assert applied.values == approved.preflight.values
    sent = trial.ask("eth_getTransactionByHash", applied.tx_hash)["input"]
    trial.ask("evm_revert", before)
    assert await trial.bound(rpc).rehearse(sent, trial.keeper, await head(rpc)) == applied.gas_used
    assert approved.preflight.gas < applied.gas_used


@pytest.mark.parametrize("price", [SPOT, RISKY_PRICE], ids=["calm", "risky"])
async def test_simulate__after_the_ramp__shows_what_the_chain_then_says(trial, tmp_path, rpc, price):
    trial.post_price(price)
    assert liquidatable((await at_head(rpc, trial)).accounts) == []
    async with keeper_of(trial, tmp_path, TIGHT, max_newly_liquidatable=1) as keeper:
        shown = await simulated(trial, rpc, TIGHTER)
        applied = await decide(keeper, trial, price)
    assert applied.values == shown.values
    assert liquidatable((await at_head(rpc, trial)).accounts) == []
    trial.pass_time(trial.market.functions.ramp_duration().call() + 1)
    later = liquidatable((await at_head(rpc, trial)).accounts)
    assert later == sorted(shown.liquidatable) == ([trial.risky] if price == RISKY_PRICE else [])


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


async def test_simulate__market_without_accounts__shows_the_values_and_nobody(trial, rpc):
    state, market = await at_head(rpc, trial), trial.bound(rpc)
    empty = replace(state, accounts=())
    shown = await market.simulate(calldata(proposal_to(TIGHTER, state), market), trial.keeper, empty)
    assert (shown.values, shown.liquidatable) == (TIGHTER, frozenset())


REVERTS = {
    "step": ((501, 450, 1_800, 5_000, 3_300, 500), {}, "parameter 0: step too large"),
    "corridor": ((300, 350, 1_800, 9_600, 3_900, 500), {}, "parameter 3: above corridor"),
    "group": ((350, 350, 1_800, 5_000, 3_300, 500), {}, "parameter 1: group incomplete"),
    "sequence": (TIGHTER, {"sequence": 3}, "wrong sequence"),
    "state": (TIGHTER, {"state_hash": "0x" + "22" * 32}, "state has changed"),
    "deadline": (TIGHTER, {"deadline": 1}, "deadline passed"),
}


@pytest.mark.parametrize("case", REVERTS)
async def test_simulate__change_the_steward_refuses__gives_its_own_reason(trial, rpc, case):
    values, others, words = REVERTS[case]
    with pytest.raises(SimulationReverted, match=words):
        await simulated(trial, rpc, values, **others)


def signed_with(key, proposal, market):
    """Return a proposal's calldata with the signature of one key."""
    message, action = message_of(proposal, market, (), 0), action_of(proposal)
    digest = message.digest(action, market.steward, market.chain_id)
    return attach(message.calldata(action), [LocalSigner(SecretStr(key)).attest(digest)])


async def test_rehearse__signature_of_a_signer__passes_whoever_sends_it(trial, rpc):
    state, market = await at_head(rpc, trial), trial.bound(rpc)
    data = signed_with(KEYS[1], proposal_to(TIGHTER, state), market)
    assert await market.rehearse(data, trial.deployer.address, state.block) > 0


async def test_rehearse__signature_of_a_key_that_is_no_signer__gives_the_contracts_reason(trial, rpc):
    state, market = await at_head(rpc, trial), trial.bound(rpc)
    data = signed_with(KEYS[2], proposal_to(TIGHTER, state), market)
    with pytest.raises(SimulationReverted, match="risk_steward: unknown signer"):
        await market.rehearse(data, trial.keeper, state.block)


async def test_tick__key_no_longer_a_signer_while_it_runs__is_not_attested_with_the_reason(trial, tmp_path):
    async with keeper_of(trial, tmp_path, TIGHT) as keeper:
        trial.signed_by(1, trial.deployer.address)
        refused = await decide(keeper, trial)
        attempts = await keeper.journal.find(kind=EntryKind.ATTEMPT)
    assert isinstance(refused, Rejected)
    assert refused.reason is Reason.NOT_ATTESTED
    assert "risk_steward: unknown signer" in refused.detail
    assert attempts == []


async def test_simulate__two_signatures_demanded__asks_for_none_and_rehearse_for_both(trial, rpc):
    trial.signed_by(2, trial.keeper, trial.deployer.address)
    state, market = await at_head(rpc, trial), trial.bound(rpc)
    proposal = proposal_to(TIGHTER, state)
    shown = await market.simulate(calldata(proposal, market), trial.keeper, state)
    assert shown.values == TIGHTER
    for data in (calldata(proposal, market), signed_with(KEYS[1], proposal, market)):
        with pytest.raises(SimulationReverted, match="risk_steward: too few signatures"):
            await market.rehearse(data, trial.keeper, state.block)


async def test_simulate__copy_of_the_chain__has_the_policy_in_force_but_for_its_quorum(trial):
    class Noting(Rpc):
        overrides = None

        async def batch(self, requests):
            if requests[0][0] == "eth_simulateV1":
                self.overrides = requests[0][1][0]["blockStateCalls"][0]["stateOverrides"]
            return await super().batch(requests)

    in_force = trial.policy()
    async with Noting(trial.url) as rpc:
        state = await at_head(rpc, trial)
        await simulated(trial, rpc, TIGHTER)
        ((address, override),) = rpc.overrides.items()
    copied = Policy.read(bytes.fromhex(override["code"][2:]))
    assert (address, list(override)) == (state.policy, ["code"])
    assert (copied.threshold, copied.signers) == (0, ())
    assert replace(copied, threshold=in_force.threshold, signers=in_force.signers) == in_force
    assert trial.policy() == in_force


OTHER_CALLS = {
    "none": lambda _: (),
    "twice": lambda calls: calls * 2,
    "to another contract": lambda calls: tuple(("0x" + "12" * 20, data) for _, data in calls),
    "with another argument": lambda calls: tuple((target, data[:-1] + "f") for target, data in calls),
    "of another setter": lambda calls: tuple((target, "0x12345678" + data[10:]) for target, data in calls),
}


@pytest.mark.parametrize("case", OTHER_CALLS)
async def test_simulate__message_signed_for_other_calls_than_the_policys__is_refused(trial, rpc, case):
    state, market = await at_head(rpc, trial), trial.bound(rpc)
    message = message_of(proposal_to(TIGHTER, state), market, (), 0)
    other = replace(message, calls=OTHER_CALLS[case](message.calls))
    assert other.calls != message.calls
    with pytest.raises(SimulationReverted, match="risk_steward: other calls than signed"):
        await market.simulate(other.calldata("apply"), trial.keeper, state)


async def test_simulate__block_of_the_decision_reorged_away__is_a_known_fault(trial, rpc):
    trial.ask("evm_mine")
    state, market = await at_head(rpc, trial), trial.bound(rpc)
    trial.reorganise()
    data = calldata(proposal_to(TIGHTER, state), market)
    with pytest.raises(RpcError):
        await market.simulate(data, trial.keeper, state)


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
