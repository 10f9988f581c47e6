# pragma version ~=0.4.3
# pragma optimize gas
# pragma evm-version cancun
# pragma nonreentrancy on
"""
@title Liquidation auctions
@license AGPL-3.0-only
@notice Whoever takes over a short is paid its mark value plus a discount that grows from zero. An auction
        starts below the liquidation margin and goes on until the account is back at its maintenance margin.
"""

from . import ledger
from . import margin
from . import margin_parameters
from . import option_value
from . import price_source

uses: ledger
uses: margin
uses: margin_parameters
uses: price_source


event AuctionStarted:
    account: indexed(address)
    equity: int256
    liquidation_margin: uint256


event AuctionEnded:
    account: indexed(address)


event Liquidated:
    account: indexed(address)
    liquidator: indexed(address)
    series_id: indexed(uint256)
    size: uint256
    mark: uint256
    paid: uint256


BPS: constant(uint256) = 10_000

# @notice Seconds from an auction's start until the discount is largest.
AUCTION_DURATION: public(constant(uint256)) = 3_600

# @notice Seconds after which an auction is over. An account that recovered unnoticed and falls again is sold
#         from a discount of zero, not from the old auction's largest.
AUCTION_LIFETIME: public(constant(uint256)) = 2 * AUCTION_DURATION

# @notice A short no larger than this may be liquidated whole.
DUST_SIZE: public(constant(uint256)) = 10**16


@external
def start_auction(account: address):
    """
    @notice Start the liquidation auction of an account below its liquidation margin, or start it again when
            its lifetime is over; anyone may.
    """
    assert not self._is_running(margin.auction_started_at[account]), "options_market: auction already running"
    state: margin.AccountState = margin._state(account, margin._scenario(price_source._fresh_price()))
    assert state.liquidatable, "options_market: account not liquidatable"
    margin.auction_started_at[account] = block.timestamp
    log AuctionStarted(account=account, equity=state.equity, liquidation_margin=state.liquidation_margin)


@external
def end_auction(account: address):
    """
    @notice End the auction of an account that is back at its maintenance margin or has no live short; anyone
            may.
    """
    assert margin.auction_started_at[account] != 0, "options_market: no auction"
    scenario: margin.Scenario = margin._scenario(price_source._price()[0])
    requirement: margin.Requirement = margin._requirement(account, scenario)
    assert not self._is_below_maintenance(account, requirement), "options_market: account has not recovered"
    self._end_auction(account)


@external
def liquidate(account: address, series_id: uint256, size: uint256):
    """
    @notice Take over part of the short of an account below its maintenance margin for its mark value plus the
            auction's discount, at most what the account has and what leaves its health as it was. Half the
            short may be taken while equity is at least half the liquidation margin, all of it below that or
            when the short is dust. An account that has lost more than its margin, equity below the mark, pays
            whatever the auction asks. The caller must meet its own initial margin afterwards.
    @param account An account with a running auction, not the caller.
    @param series_id A series that has not expired.
    @param size Options to take over, scaled by 1e18.
    """
    assert account != msg.sender, "options_market: own account"
    started_at: uint256 = margin.auction_started_at[account]
    assert started_at != 0, "options_market: no auction"
    ledger._check_live(series_id)
    scenario: margin.Scenario = margin._scenario(price_source._fresh_price())
    assert self._is_running(started_at), "options_market: auction is over, start it again"
    before: margin.Requirement = margin._requirement(account, scenario)
    assert self._is_below_maintenance(account, before), "options_market: account has recovered"
    cash: uint256 = ledger.cash[account]
    self._check_close_factor(cash, before.liquidation, ledger.position[account][series_id], size)
    mark: uint256 = margin._mark(margin._terms(series_id), size, scenario)
    paid: uint256 = min(mark * (BPS + self._discount(started_at)) // BPS, cash)
    ledger._move(account, series_id, convert(size, int256))
    ledger._move(msg.sender, series_id, -convert(size, int256))
    after: margin.Requirement = margin._requirement(account, scenario)
    if cash >= before.mark and before.liquidation != 0:
        # The discount ends where it would eat into what the account's other shorts need; a unit is rounding.
        kept: uint256 = option_value._ceil_div(cash * after.liquidation, before.liquidation)
        neutral: uint256 = cash - min(kept, cash)
        assert neutral + 1 >= mark, "options_market: liquidation worsens health"
        paid = min(paid, neutral)
    ledger.cash[account] -= paid
    ledger.cash[msg.sender] += paid
    margin._check_initial_margin(msg.sender, scenario)
    log Liquidated(
        account=account, liquidator=msg.sender, series_id=series_id, size=size, mark=mark, paid=paid
    )
    if not self._is_below_maintenance(account, after):
        self._end_auction(account)


@external
@view
def discount(account: address) -> uint256:
    """
    @notice The running auction's discount in basis points; 0 when none runs.
    """
    started_at: uint256 = margin.auction_started_at[account]
    return 0 if started_at == 0 else self._discount(started_at)


@internal
def _end_auction(account: address):
    """
    @dev Forget the auction's start.
    """
    margin.auction_started_at[account] = 0
    log AuctionEnded(account=account)


@internal
@pure
def _check_close_factor(equity: uint256, liquidation_margin: uint256, position: int256, size: uint256):
    """
    @dev Half the short, rounded up, per call; all of it when the account is deep under water or the short is
            dust.
    """
    assert position < 0, "options_market: no short to liquidate"
    short: uint256 = convert(-position, uint256)
    assert size > 0 and size <= short, "options_market: size out of range"
    if 2 * equity >= liquidation_margin and short > DUST_SIZE:
        assert size <= (short + 1) // 2, "options_market: close factor exceeded"


@internal
@view
def _is_below_maintenance(account: address, requirement: margin.Requirement) -> bool:
    """
    @dev Whether a running auction goes on: there is a live short, and equity is below the maintenance margin.
    """
    return requirement.live and ledger.cash[account] < requirement.maintenance


@internal
@view
def _is_running(started_at: uint256) -> bool:
    """
    @dev Whether an auction that started then may still be bid in; 0 is none.
    """
    return started_at != 0 and block.timestamp - started_at <= AUCTION_LIFETIME


@internal
@view
def _discount(started_at: uint256) -> uint256:
    """
    @dev Linear from 0 at the start to the liquidation penalty after AUCTION_DURATION.
    """
    elapsed: uint256 = min(block.timestamp - started_at, AUCTION_DURATION)
    penalty: uint256 = margin_parameters._targets()[margin_parameters.LIQUIDATION_PENALTY]
    return penalty * elapsed // AUCTION_DURATION
