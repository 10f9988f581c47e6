"""Check that the binding of Lyra v1 reads, writes, finds and judges what the real contracts hold."""

from __future__ import annotations

import lyra_defaults as defaults
import pytest
from eth_utils.address import to_checksum_address
from lyra import OptionType, Position
from lyra_defaults import MIN_COLLATERAL, UNIT

from chain.accounts import health_calls, liquidatable, read_accounts
from chain.protocol import BoundProtocol
from chain.rpc import Rpc, head, read
from config.load import load_policies

pytestmark = pytest.mark.integration
pytest_plugins = ["lyra_chains"]

LIQUIDATOR = 9
TIGHTER_CALLS = defaults.decimal("1.25")
"""A shock of calls, within one step, that the call at 103 % does not survive."""


@pytest.fixture
def bound(lyra, protocol):
    """The binding with the addresses of the chain's contracts."""
    contracts = {
        "option_greek_cache": lyra["OptionGreekCache"].address,
        "option_token": lyra["OptionToken"].address,
        "option_market": lyra["OptionMarket"].address,
        "synthetix_adapter": lyra["SynthetixAdapter"].address,
    }
    return BoundProtocol(protocol, contracts, {"reward_beneficiary": lyra.web3.eth.accounts[LIQUIDATOR]})


@pytest.fixture
async def rpc(lyra):
    """A connection to the chain."""
    async with Rpc(lyra.url) as connection:
        yield connection


async def live(bound, rpc):
    return bound.values(await read(rpc, bound.reads(), await head(rpc)))


async def accounts_of(bound, rpc):
    return await read_accounts(bound, rpc, await head(rpc), 0)


def write(lyra, bound, **changed):
    """Set parameters, by the binding's names, with the calls of the binding, as the owner."""
    named = dict(zip((p.name for p in bound.binding.parameters), MIN_COLLATERAL.values(), strict=True)) | changed
    calls = bound.setter_calls(tuple(named.values()), [bound.binding.id_of(name) for name in changed])
    for call in calls:
        send(lyra, call)
    return tuple(named.values()), calls


def send(lyra, call, sender=0):
    to, data = call
    lyra.confirm({"from": lyra.web3.eth.accounts[sender], "to": to_checksum_address(to), "data": data})


async def test_values__lyra_as_deployed__are_its_eight_numbers_from_one_read(bound, rpc):
    assert len(bound.reads()) == 1
    assert await live(bound, rpc) == tuple(MIN_COLLATERAL.values())


async def test_setter_calls__values_of_three_groups__are_one_call_that_getters_confirm(lyra, bound, rpc):
    values, calls = write(
        lyra, bound, min_static_base_collateral=UNIT // 4, shock_vol_b=2 * UNIT, put_spot_price_shock=UNIT // 2
    )
    assert len(calls) == 1
    assert await live(bound, rpc) == values


def test_setter_words__whole_binding__are_the_eight_numbers_of_the_one_setter(lyra, bound):
    cache = lyra["OptionGreekCache"]
    selector = cache.functions.setMinCollateralParameters(MIN_COLLATERAL).selector
    words = tuple((index, 0) for index in range(8))
    assert bound.setter_words() == ((cache.address, bytes.fromhex(selector[2:]), words),)


async def test_accounts__book_as_opened__are_the_active_positions_and_none_liquidatable(lyra, bound, rpc):
    accounts = await accounts_of(bound, rpc)
    active = [position for position in Position if position is not Position.CLOSED_PUT]
    assert [account.address for account in accounts] == [str(int(position)) for position in active]
    assert [account.liquidatable for account in accounts] == [False] * len(active)
    risky = dict(accounts[0].fields)
    assert (risky["option_type"], risky["amount"]) == (OptionType.SHORT_CALL_QUOTE, 2 * UNIT)
    assert (risky["strike"], risky["spot"]) == (defaults.BOARD_STRIKES[1], defaults.SPOT)
    assert risky["collateral"] * 100 // 103 == pytest.approx(lyra.min_collateral(Position.RISKY_CALL), rel=0.001)


async def test_health__after_calls_are_shocked_further__is_what_lyra_says_of_each_position(lyra, bound, rpc):
    before = await accounts_of(bound, rpc)
    write(lyra, bound, call_spot_price_shock=TIGHTER_CALLS)
    verdicts = liquidatable(bound, before, await read(rpc, health_calls(bound, before), await head(rpc)))
    assert verdicts == tuple(lyra.can_liquidate(int(account.address)) for account in before)
    assert [account.address for account in await accounts_of(bound, rpc) if account.liquidatable] == ["1"]


async def test_probe__position_at_103_percent__is_the_arguments_of_the_health_view(lyra, bound, rpc):
    account = (await accounts_of(bound, rpc))[0]
    token, market = lyra["OptionToken"], lyra["OptionMarket"]
    held = token.functions.getOptionPosition(Position.RISKY_CALL).call()
    strike, expiry = market.functions.getStrikeAndExpiry(held[1]).call()
    encoded = token.encode_abi("canLiquidate", [held, expiry, strike, lyra.spot()])
    target, selector, word, mode = bound.health_rule()
    assert (target, word, mode) == (token.address, 0, 1)
    assert (selector + bound.probe(account, None)[0]).hex() == encoded[2:]


async def test_liquidation_call__position_that_lyra_gives_up__liquidates_it(lyra, bound, rpc):
    write(lyra, bound, call_spot_price_shock=TIGHTER_CALLS)
    (account,) = [one for one in await accounts_of(bound, rpc) if one.liquidatable]
    send(lyra, bound.liquidation_call(account), LIQUIDATOR)
    assert account.address not in [one.address for one in await accounts_of(bound, rpc)]


async def test_price__lyra_as_deployed__is_the_spot_of_the_block(bound, rpc):
    (answer,) = await read(rpc, [bound.price_call()], await head(rpc))
    assert bound.price(answer) == (pytest.approx(1742.01337), None)


def test_policies__parameters_as_lyra_deploys_them__stand_in_the_corridor_and_may_move_both_ways(protocol):
    policies = load_policies(protocol)
    for parameter, value in zip(protocol.parameters, MIN_COLLATERAL.values(), strict=True):
        limits = policies.limits[parameter.name]
        assert limits.minimum < value < limits.maximum
        assert limits.max_step_up > 0
        assert limits.max_step_down > 0


def test_policies__disasters_that_lyra_takes__are_outside_the_corridor(protocol):
    policies = load_policies(protocol)
    names = {field: parameter.name for field, parameter in zip(MIN_COLLATERAL, protocol.parameters, strict=True)}
    for disaster in defaults.DISASTERS.values():
        for field, value in disaster.items():
            limits = policies.limits[names[field]]
            assert not limits.minimum <= value <= limits.maximum, field
