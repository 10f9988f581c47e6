# pragma version ~=0.4.3
# pragma optimize gas
# pragma evm-version cancun
# pragma nonreentrancy on
"""
@title Margin requirements of accounts
@license AGPL-3.0-only
@notice Every short is margined at a shocked spot and a shocked volatility; longs carry no margin credit. Its
        mark is its value at the spot as it is; what the initial margin holds beyond that is the cushion.
        Maintenance and liquidation margin are the mark and a share of the cushion, so that an account is
        liquidatable before its equity falls below its mark.
"""

from ethereum.ercs import IERC20Detailed

from . import ledger
from . import margin_parameters
from . import option_value
from . import price_source

uses: ledger
uses: margin_parameters
uses: price_source


struct AccountState:
    account: address
    equity: int256
    initial_margin: uint256
    maintenance_margin: uint256
    liquidation_margin: uint256
    liquidatable: bool
    auction_started_at: uint256


struct Scenario:
    price: uint256
    targets: uint256[margin_parameters.COUNT]  # what new positions obey
    effective: uint256[margin_parameters.COUNT]  # what open positions obey


struct Requirement:
    initial: uint256  # at the target parameters; everything else at those in effect
    maintenance: uint256
    liquidation: uint256
    mark: uint256
    live: bool  # some short has not expired
    unpriced: bool  # some short has expired without a settlement price


struct Terms:
    strike: uint256
    is_call: bool
    root_time: uint256


BPS: constant(uint256) = 10_000
MAX_PAGE: constant(uint256) = 256
MAX_DECIMALS: constant(uint256) = 18

# @notice When the account's liquidation auction started, Unix seconds; 0 when none runs.
auction_started_at: public(HashMap[address, uint256])

# One collateral unit in the scale of size × unit value: 10**(18 + 4 + price decimals - collateral decimals).
AMOUNT_SCALE: immutable(uint256)


@deploy
def __init__(collateral: address):
    """
    @notice Margin in units of `collateral`.
    @param collateral ERC-20 with at most 18 decimals.
    """
    decimals: uint256 = convert(staticcall IERC20Detailed(collateral).decimals(), uint256)
    assert decimals <= MAX_DECIMALS, "options_market: too many collateral decimals"
    price_decimals: uint256 = convert(price_source.price_decimals, uint256)
    AMOUNT_SCALE = pow_mod256(10, 18 + 4 + price_decimals - decimals)


@external
@view
def accounts(start: uint256, count: uint256) -> DynArray[AccountState, MAX_PAGE]:
    """
    @notice States of the accounts from index `start`, in order of first appearance; fewer at the end.
    @param count At most 256.
    """
    assert count <= MAX_PAGE, "options_market: page too large"
    scenario: Scenario = self._scenario(price_source._price()[0])
    page: DynArray[AccountState, MAX_PAGE] = []
    for offset: uint256 in range(count, bound=MAX_PAGE):
        if start + offset >= ledger.account_count:
            break
        page.append(self._state(ledger.account_at[start + offset], scenario))
    return page


@external
@view
def health(account: address) -> AccountState:
    """
    @notice One account's equity and requirements at the oracle's newest price, fresh or not.
    """
    return self._state(account, self._scenario(price_source._price()[0]))


@external
@view
def liquidatable_after_ramp(account: address) -> bool:
    """
    @notice Whether the account would be liquidatable at the oracle's newest price if every ramp had ended: the
            targets in full effect.
    """
    targets: uint256[margin_parameters.COUNT] = margin_parameters._targets()
    scenario: Scenario = Scenario(price=price_source._price()[0], targets=targets, effective=targets)
    return self._is_liquidatable(account, self._requirement(account, scenario))


@internal
@view
def _check_initial_margin(account: address, scenario: Scenario):
    """
    @dev An expired short without its price could owe more than today's price shows: nothing leaves before it.
    """
    requirement: Requirement = self._requirement(account, scenario)
    assert not requirement.unpriced, "options_market: expired short awaits its price"
    assert ledger.cash[account] >= requirement.initial, "options_market: below initial margin"


@internal
@view
def _check_reduction(account: address, scenario: Scenario, cash_before: uint256, initial_before: uint256):
    """
    @dev What an account that has bought back a short must meet: its initial margin, or no lower a ratio of
            cash to initial margin than before, so that an account in need can still close its risk.
    """
    requirement: Requirement = self._requirement(account, scenario)
    assert not requirement.unpriced, "options_market: expired short awaits its price"
    cash: uint256 = ledger.cash[account]
    health_kept: bool = cash * initial_before >= cash_before * requirement.initial
    assert health_kept or cash >= requirement.initial, "options_market: below initial margin"


@internal
@view
def _scenario(price: uint256) -> Scenario:
    """
    @dev Everything that the margin of every account depends on, read once a call.
    """
    return Scenario(
        price=price, targets=margin_parameters._targets(), effective=margin_parameters._effective()
    )


@internal
@view
def _state(account: address, scenario: Scenario) -> AccountState:
    """
    @dev What the views tell of an account.
    """
    requirement: Requirement = self._requirement(account, scenario)
    return AccountState(
        account=account,
        equity=convert(ledger.cash[account], int256),
        initial_margin=requirement.initial,
        maintenance_margin=requirement.maintenance,
        liquidation_margin=requirement.liquidation,
        liquidatable=self._is_liquidatable(account, requirement),
        auction_started_at=self.auction_started_at[account],
    )


@internal
@view
def _is_liquidatable(account: address, requirement: Requirement) -> bool:
    """
    @dev Only a live short can be liquidated.
    """
    return requirement.live and ledger.cash[account] < requirement.liquidation


@internal
@view
def _requirement(account: address, scenario: Scenario) -> Requirement:
    """
    @dev Sum over an account's shorts; a priced short requires exactly what it owes.
    """
    total: Requirement = empty(Requirement)
    cushion: uint256 = 0
    for series_id: uint256 in ledger._open_series[account]:
        size: int256 = ledger.position[account][series_id]
        if size > 0:
            continue
        short: uint256 = convert(-size, uint256)
        if ledger._series[series_id].settlement_price != 0:
            owed: uint256 = self._owed(series_id, short)
            total.initial += owed
            total.mark += owed
            continue
        if block.timestamp < ledger._series[series_id].expiry:
            total.live = True
        else:
            total.unpriced = True
        terms: Terms = self._terms(series_id)
        mark: uint256 = self._mark(terms, short, scenario)
        total.initial += self._short_margin(terms, short, scenario.price, scenario.targets)
        total.mark += mark
        cushion += self._short_margin(terms, short, scenario.price, scenario.effective) - mark
    total.maintenance = (
        total.mark + cushion * scenario.effective[margin_parameters.MAINTENANCE_FACTOR] // BPS
    )
    total.liquidation = (
        total.mark + cushion * scenario.effective[margin_parameters.LIQUIDATION_THRESHOLD] // BPS
    )
    return total


@internal
@view
def _terms(series_id: uint256) -> Terms:
    """
    @dev What the value of a position depends on besides price and parameters, read once a short.
    """
    return Terms(
        strike=ledger._series[series_id].strike,
        is_call=ledger._series[series_id].is_call,
        root_time=option_value._root_time(ledger._series[series_id].expiry),
    )


@internal
@view
def _short_margin(
    terms: Terms, size: uint256, price: uint256, parameters: uint256[margin_parameters.COUNT]
) -> uint256:
    """
    @dev Value of a short at the shocked spot, at least its value at `price` itself: the time value of a put
            far out of the money shrinks with the spot.
    """
    vol: uint256 = parameters[margin_parameters.SHOCKED_VOL]
    multiplier: uint256 = BPS - parameters[margin_parameters.SPOT_SHOCK_DOWN]
    if terms.is_call:
        multiplier = BPS + parameters[margin_parameters.SPOT_SHOCK_UP]
    return max(
        self._value(terms, size, price, multiplier, vol), self._value(terms, size, price, BPS, vol)
    )


@internal
@view
def _mark(terms: Terms, size: uint256, scenario: Scenario) -> uint256:
    """
    @dev Value of a position at the current spot and the effective volatility.
    """
    return self._value(terms, size, scenario.price, BPS, scenario.effective[margin_parameters.SHOCKED_VOL])


@internal
@view
def _value(terms: Terms, size: uint256, price: uint256, multiplier: uint256, vol: uint256) -> uint256:
    """
    @dev Value of a position that has no settlement price yet, the spot at price × multiplier.
    """
    return self._amount(
        size,
        option_value._unit_value(price, terms.strike, terms.is_call, multiplier, vol, terms.root_time),
    )


@internal
@view
def _owed(series_id: uint256, size: uint256) -> uint256:
    """
    @dev Intrinsic value of a position at the settlement price.
    """
    return self._amount(
        size,
        option_value._unit_value(
            ledger._series[series_id].settlement_price,
            ledger._series[series_id].strike,
            ledger._series[series_id].is_call,
            BPS,
            0,
            0,
        ),
    )


@internal
@view
def _amount(size: uint256, unit_value: uint256) -> uint256:
    """
    @dev Collateral units for `size` options worth `unit_value` each, rounded up.
    """
    return option_value._ceil_div(size * unit_value, AMOUNT_SCALE)
