"""Check the binding of Lyra v1 against the whole of Lyra v1, put up from its published bytecode."""

from __future__ import annotations

import lyra_defaults as defaults
import pytest
from lyra import OptionType, Position
from lyra_defaults import MIN_COLLATERAL, UNIT
from web3.exceptions import ContractCustomError

pytestmark = pytest.mark.integration
pytest_plugins = ["lyra_chains"]

LIQUIDATED = 3
"""OptionToken.PositionState.LIQUIDATED."""

REFUSED = {
    "no quote": {"minStaticQuoteCollateral": 0},
    "no base": {"minStaticBaseCollateral": 0},
    "no vol": {"shockVolA": 0, "shockVolB": 0},
    "vols crossed": {"shockVolB": MIN_COLLATERAL["shockVolA"] + 1},
    "points crossed": {"shockVolPointA": MIN_COLLATERAL["shockVolPointB"] + 1},
    "calls priced below spot": {"callSpotPriceShock": UNIT - 1},
    "puts priced above spot": {"putSpotPriceShock": UNIT + 1},
    "puts priced at zero": {"putSpotPriceShock": 0},
}
"""All that OptionGreekCache refuses."""


def setting(lyra, **changed):
    return lyra["OptionGreekCache"].functions.setMinCollateralParameters(MIN_COLLATERAL | changed)


@pytest.mark.parametrize("changed", defaults.DISASTERS.values(), ids=defaults.DISASTERS)
def test_lyra__disaster_set_by_its_owner__takes_it(lyra, changed):
    lyra.send(setting(lyra, **changed))
    held = lyra["OptionGreekCache"].functions.getMinCollatParams().call()
    assert tuple(held) == tuple((MIN_COLLATERAL | changed).values())


@pytest.mark.parametrize("changed", REFUSED.values(), ids=REFUSED)
def test_lyra__value_past_its_own_limits__refuses(lyra, changed):
    with pytest.raises(ContractCustomError):
        lyra.send(setting(lyra, **changed))


def test_lyra__ownership_handed_over__obeys_the_new_owner_alone(lyra):
    old, new = lyra.web3.eth.accounts[0], lyra.web3.eth.accounts[7]
    lyra.hand_over(new)
    with pytest.raises(ContractCustomError):
        lyra.send(setting(lyra), old)
    lyra.send(setting(lyra), new)


def test_lyra__book_as_opened__liquidates_nobody(lyra):
    assert [position for position in Position if lyra.can_liquidate(position)] == []


def test_lyra__call_shock_raised__lets_anyone_liquidate_the_call_at_103_percent(lyra):
    market = lyra["OptionMarket"].functions
    with pytest.raises(ContractCustomError):
        lyra.send(market.liquidatePosition(Position.RISKY_CALL, lyra.web3.eth.accounts[9]), 9)
    lyra.send(setting(lyra, callSpotPriceShock=defaults.decimal("1.25")))
    assert [position for position in Position if lyra.can_liquidate(position)] == [Position.RISKY_CALL]
    lyra.send(market.liquidatePosition(Position.RISKY_CALL, lyra.web3.eth.accounts[9]), 9)
    assert lyra["OptionToken"].functions.getPositionState(Position.RISKY_CALL).call() == LIQUIDATED


def test_lyra__board_expired__still_answers_who_can_be_liquidated(lyra):
    lyra.ask("evm_increaseTime", defaults.BOARD_DURATION + 1)
    lyra.ask("evm_mine")
    assert isinstance(lyra.can_liquidate(Position.RISKY_CALL), bool)


def requirements(lyra):
    """Return what Lyra asks as collateral for shorts of every type, strike, maturity and size."""
    view, now, spot = lyra["OptionGreekCache"].functions.getMinCollateral, lyra.now(), lyra.spot()
    return [
        view(option_type, strike, now + days * defaults.DAY, spot, amount).call()
        for option_type in (OptionType.SHORT_CALL_BASE, OptionType.SHORT_CALL_QUOTE, OptionType.SHORT_PUT_QUOTE)
        for strike in defaults.BOARD_STRIKES
        for days in (7, 28, 70)
        for amount in (UNIT // 10, UNIT)
    ]


def test_binding__each_parameter_moved_its_tightening_way__asks_for_more_and_never_for_less(lyra, protocol):
    before = requirements(lyra)
    for parameter, (field, value) in zip(protocol.parameters, MIN_COLLATERAL.items(), strict=True):
        way = 1 if parameter.tightening == "up" else -1
        snapshot = lyra.ask("evm_snapshot")
        lyra.send(setting(lyra, **{field: value + way * value // 10}))
        after = requirements(lyra)
        assert lyra.ask("evm_revert", snapshot)
        assert all(new >= old for old, new in zip(before, after, strict=True)), parameter.name
        assert any(new > old for old, new in zip(before, after, strict=True)), parameter.name
