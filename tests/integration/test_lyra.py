"""Tell the steward's whole story on a protocol that it was not written for: Lyra v1, from its published bytecode."""

from __future__ import annotations

import lyra_defaults as defaults
import pytest
from builders import guard_settings
from lyra import Position
from lyra_defaults import MIN_COLLATERAL
from lyra_steward import NAMES, SIGNER, change, decide, done, keeper_of, message, published, unsigned
from setups import ADDRESSES
from web3.exceptions import ContractCustomError

from chain.market import SimulationReverted
from chain.rpc import Rpc, head
from keeper import guard
from keeper.messages import Announced, Applied, Preflight, Reason
from keeper.propose import rollback

pytestmark = pytest.mark.integration
pytest_plugins = ["lyra_chains"]

LIVE = tuple(MIN_COLLATERAL.values())
NOTICE = 21_600
MILD = {"call_spot_price_shock": defaults.decimal("1.205"), "put_spot_price_shock": defaults.decimal("0.79")}
"""A tightening that every account survives."""
HARSH = {"call_spot_price_shock": defaults.decimal("1.25")}
"""A tightening within every limit that the call at 103 % does not survive."""
LOOSE = {"shock_vol_a": defaults.decimal("2.4"), "shock_vol_b": defaults.decimal("1.75")}
"""A loosening, which needs no notice."""


@pytest.fixture
async def rpc(guarded):
    """A connection to the chain."""
    async with Rpc(guarded.lyra.url) as connection:
        yield connection


@pytest.fixture
def market(guarded, rpc):
    """The market as the keeper reads it."""
    return guarded.market(rpc)


async def at_head(market):
    return await market.state(await head(market.rpc))


def review(market, state, proposal, announced_at=None):
    """Return the guard's refusal of a proposal, None if it has none."""
    names = [parameter.name for parameter in market.protocol.binding.parameters]
    return guard.review(proposal, state, names, {state.last_good}, state.block.timestamp, announced_at)


async def reason(market, calldata):
    """Return why the steward refuses signed calldata at the head."""
    with pytest.raises(SimulationReverted) as refused:
        await market.rehearse(calldata, ADDRESSES[2], await head(market.rpc))
    return str(refused.value)


# Deployed


def test_keeper_check__lyra_handed_over__finds_nothing_wrong(guarded):
    said = done(guarded.keeper("check", key=SIGNER))
    assert "FAILED" not in said
    assert guarded.lyra["OptionGreekCache"].functions.owner().call() == guarded.deployment.steward


def test_lyra__handed_over__obeys_its_former_owner_no_more(guarded):
    with pytest.raises(ContractCustomError):
        guarded.lyra.send(guarded.lyra["OptionGreekCache"].functions.setMinCollateralParameters(MIN_COLLATERAL))


async def test_state__lyra_handed_over__is_its_eight_numbers_and_its_open_positions(market):
    state = await at_head(market)
    assert (state.values, state.last_good, state.sequence, state.paused) == (LIVE, LIVE, 0, False)
    assert state.oracle_price == pytest.approx(1742.01337)
    active = [str(int(position)) for position in Position if position is not Position.CLOSED_PUT]
    assert [account.address for account in state.accounts] == active
    assert not any(account.liquidatable for account in state.accounts)


# A change that passes


async def test_simulate__tightening_with_its_notice__shows_the_values_and_liquidates_nobody(guarded, market):
    state = await at_head(market)
    proposal = change(market.protocol.binding, state, **MILD)
    refused = review(market, state, proposal)
    assert refused.reason is Reason.NOT_ANNOUNCED
    shown = await market.simulate(unsigned(market, state, proposal), ADDRESSES[1], state, notice=NOTICE)
    assert shown.values == proposal.values
    assert shown.liquidatable == frozenset()
    assert guarded.held() == LIVE


async def test_apply__tightening_after_its_notice__is_read_back_from_lyra_and_rolled_back_whole(guarded, market):
    state = await at_head(market)
    proposal = change(market.protocol.binding, state, **MILD)
    signed = message(market, state, proposal)
    guarded.send(signed, "announce")
    assert await reason(market, guarded.signed(signed, "apply")) == "risk_steward: notice not over"
    guarded.pass_time(NOTICE)
    now = await at_head(market)
    at = await market.announced_at(signed.digest("apply", market.steward, market.chain_id), now.block)
    assert review(market, now, proposal, at) is None
    guarded.send(signed, "apply")
    assert guarded.held() == proposal.values
    assert proposal.values == (*LIVE[:6], *MILD.values())

    after = await at_head(market)
    assert (after.values, after.last_good, after.sequence) == (proposal.values, LIVE, 1)
    back = rollback(after, "a test says so", "0x" + "02" * 32, after.block.timestamp, 600)
    assert review(market, after, back) is None
    assert (await market.simulate(unsigned(market, after, back), ADDRESSES[1], after)).values == LIVE
    guarded.send(message(market, after, back), "rollback")
    assert guarded.held() == LIVE
    restored = await at_head(market)
    assert (restored.values, restored.last_good, restored.sequence) == (LIVE, LIVE, 2)


async def test_apply__loosening__needs_no_notice_and_a_second_one_waits_for_its_cooldown(guarded, market):
    state = await at_head(market)
    proposal = change(market.protocol.binding, state, **LOOSE)
    assert review(market, state, proposal) is None
    guarded.send(message(market, state, proposal), "apply")
    assert guarded.held() == proposal.values
    after = await at_head(market)
    again = change(market.protocol.binding, after, shock_vol_a=defaults.decimal("2.3"))
    assert review(market, after, again).reason is Reason.COOLING_DOWN
    signed = guarded.signed(message(market, after, again), "apply")
    assert await reason(market, signed) == "risk_steward: parameter 2: cooldown not over"


# What Lyra itself takes without a word

REFUSED = {
    "no static collateral": "parameter 0: below corridor",
    "near-zero vol": "parameter 2: below corridor",
    "hundred-fold shock": "parameter 6: above corridor",
    "puts priced at nothing": "parameter 7: below corridor",
}
"""The first rule that each disaster breaks, as the steward says it."""


@pytest.mark.parametrize("action", ["apply", "announce"])
@pytest.mark.parametrize("disaster", defaults.DISASTERS)
async def test_disaster__that_lyra_takes__is_refused_by_guard_and_steward_alike(guarded, market, disaster, action):
    state = await at_head(market)
    values = {NAMES[field]: value for field, value in defaults.DISASTERS[disaster].items()}
    proposal = change(market.protocol.binding, state, **values)
    refused = review(market, state, proposal)
    assert refused.reason is Reason.OUTSIDE_CORRIDOR
    assert next(iter(values)) in refused.detail
    signed = message(market, state, proposal)
    assert await reason(market, guarded.signed(signed, action)) == f"risk_steward: {REFUSED[disaster]}"
    assert not guarded.try_to_send(signed, action)
    assert guarded.held() == LIVE


async def test_harm__call_at_103_percent__is_seen_by_the_guard_in_a_simulation_without_probes(market):
    state = await at_head(market)
    proposal = change(market.protocol.binding, state, **HARSH)
    assert review(market, state, proposal).reason is Reason.NOT_ANNOUNCED
    calldata = unsigned(market, state, proposal, probed=0)
    shown = await market.simulate(calldata, ADDRESSES[1], state, notice=NOTICE)
    assert shown.liquidatable == {str(int(Position.RISKY_CALL))}
    digest = message(market, state, proposal).digest("apply", market.steward, market.chain_id)
    preflight = Preflight(state.block, calldata, digest, shown.gas, shown.values, tuple(sorted(shown.liquidatable)))
    refused = guard.review_impact(proposal, preflight, guard_settings())
    assert (refused.reason, refused.detail) == (Reason.IMPACT_TOO_LARGE, "1 accounts, bound 0: 1")


async def test_harm__call_at_103_percent__is_refused_by_the_steward_and_lyra_left_as_it_was(guarded, market):
    state = await at_head(market)
    proposal = change(market.protocol.binding, state, **HARSH)
    with pytest.raises(SimulationReverted, match=r"^risk_steward: too many liquidatable$"):
        await market.simulate(unsigned(market, state, proposal), ADDRESSES[1], state, notice=NOTICE)
    signed = message(market, state, proposal)
    guarded.send(signed, "announce")
    guarded.pass_time(NOTICE)
    assert await reason(market, guarded.signed(signed, "apply")) == "risk_steward: too many liquidatable"
    assert not guarded.try_to_send(signed, "apply")
    assert guarded.held() == LIVE
    assert not guarded.lyra.can_liquidate(Position.RISKY_CALL)


# The keeper's own decisions


async def test_tick__model_that_asks_for_a_little_more__is_announced_made_after_its_notice_and_undone_at_a_word(
    guarded, tmp_path
):
    async with keeper_of(guarded, tmp_path, published(up=0.205, down=0.21)) as keeper:
        announced = await decide(keeper, guarded)
        assert isinstance(announced, Announced), announced
        assert guarded.held() == LIVE
        guarded.pass_time(NOTICE)
        applied = await decide(keeper, guarded)
        assert isinstance(applied, Applied), applied
        call, put = MILD.values()
        assert applied.values == guarded.held() == (*LIVE[:6], pytest.approx(call), pytest.approx(put))
        undone = await keeper.pipelines[0].roll_back("a test says so")
        assert isinstance(undone, Applied), undone
        assert guarded.held() == LIVE


async def test_tick__model_that_asks_for_less__is_made_at_once_as_far_as_a_step_goes(guarded, tmp_path):
    async with keeper_of(guarded, tmp_path, published(up=0.17, down=0.17)) as keeper:
        applied = await decide(keeper, guarded)
    assert isinstance(applied, Applied), applied
    call, put = defaults.decimal("1.18"), defaults.decimal("0.82")
    assert applied.values == guarded.held() == (*LIVE[:6], pytest.approx(call), pytest.approx(put))


async def test_tick__model_that_asks_for_what_would_liquidate_an_account__is_refused_and_names_it(guarded, tmp_path):
    async with keeper_of(guarded, tmp_path, published(up=0.25, down=0.21)) as keeper:
        refused = await decide(keeper, guarded)
    assert (refused.reason, refused.detail) == (Reason.IMPACT_TOO_LARGE, "1 accounts, bound 0: 1")
    assert guarded.held() == LIVE
