# pragma version ~=0.4.3
# pragma optimize gas
# pragma evm-version cancun
# pragma nonreentrancy on
"""
@title Settlement of expired series
@license AGPL-3.0-only
@notice Shorts pay into their series' pool and longs share it, so that a loss stays inside its series.
"""

from snekmate.auth import ownable

from . import ledger
from . import margin
from . import price_source

uses: ledger
uses: margin
uses: ownable
uses: price_source


event SeriesPriced:
    series_id: indexed(uint256)
    round_id: uint80
    price: uint256


event SeriesPricedByOwner:
    series_id: indexed(uint256)
    owner: indexed(address)
    price: uint256


event Settled:
    account: indexed(address)
    series_id: indexed(uint256)
    size: int256
    paid: uint256
    shortfall: uint256


# @notice Seconds after expiry from which the owner may fix a price that nobody could take from the oracle.
SETTLEMENT_GRACE: public(constant(uint256)) = 3 * 86_400


@external
def settle_price(series_id: uint256, round_id: uint80):
    """
    @notice Fix the settlement price of an expired series: the oracle's first round at or after expiry; anyone
            may.
    @param series_id An expired series without a price.
    @param round_id That round; the round before it must exist and be older than the expiry.
    """
    expiry: uint256 = self._check_unpriced(series_id)
    assert block.timestamp >= expiry, "options_market: series not expired"
    assert round_id > 0, "options_market: no such round"
    before: uint256 = price_source._round(round_id - 1)[1]
    price: uint256 = 0
    updated_at: uint256 = 0
    price, updated_at = price_source._round(round_id)
    assert before < expiry and expiry <= updated_at, "options_market: not the first round after expiry"
    assert price > 0, "options_market: invalid price"
    self._fix_price(series_id, price)
    log SeriesPriced(series_id=series_id, round_id=round_id, price=price)


@external
def settle_price_by_owner(series_id: uint256, price: uint256):
    """
    @notice Fix the settlement price of a series that has none 3 days after its expiry, so that a gap in the
            oracle's rounds locks up no cash. Owner only.
    @param series_id A series whose expiry is SETTLEMENT_GRACE past, without a price.
    @param price In the oracle's decimals, above 0.
    """
    ownable._check_owner()
    expiry: uint256 = self._check_unpriced(series_id)
    assert block.timestamp >= expiry + SETTLEMENT_GRACE, "options_market: settlement grace not over"
    assert price > 0, "options_market: invalid price"
    assert price <= ledger.MAX_SIZE, "options_market: price too large"
    self._fix_price(series_id, price)
    log SeriesPricedByOwner(series_id=series_id, owner=msg.sender, price=price)


@external
def settle(account: address, series_id: uint256):
    """
    @notice Settle one position of a priced series; anyone may. A short pays what it owes as far as its cash
            goes; a long is paid its share of what the shorts have paid, once every short has settled.
    """
    assert ledger._series[series_id].settlement_price != 0, "options_market: no settlement price"
    size: int256 = ledger.position[account][series_id]
    assert size != 0, "options_market: no position"
    ledger.position[account][series_id] = 0
    ledger._remove_series(account, series_id)
    if size < 0:
        self._settle_short(account, series_id, convert(-size, uint256))
    else:
        self._settle_long(account, series_id, convert(size, uint256))


@internal
@view
def _check_unpriced(series_id: uint256) -> uint256:
    """
    @dev Throws unless the series exists and has no settlement price; returns its expiry.
    """
    expiry: uint256 = ledger._series[series_id].expiry
    assert expiry != 0, "options_market: unknown series"
    assert ledger._series[series_id].settlement_price == 0, "options_market: price already fixed"
    return expiry


@internal
def _fix_price(series_id: uint256, price: uint256):
    """
    @dev From here on the series can be settled.
    """
    ledger._series[series_id].settlement_price = price
    ledger._series[series_id].unsettled_short = ledger._series[series_id].open_interest


@internal
def _settle_short(account: address, series_id: uint256, size: uint256):
    """
    @dev Pay into the pool; what is missing becomes bad debt.
    """
    owed: uint256 = margin._owed(series_id, size)
    paid: uint256 = min(owed, ledger.cash[account])
    ledger.cash[account] -= paid
    ledger._series[series_id].pool += paid
    ledger._series[series_id].shortfall += owed - paid
    ledger._series[series_id].unsettled_short -= size
    ledger.bad_debt += owed - paid
    log Settled(
        account=account, series_id=series_id, size=-convert(size, int256), paid=paid, shortfall=owed - paid
    )


@internal
def _settle_long(account: address, series_id: uint256, size: uint256):
    """
    @dev Pay the long's share of the pool. All shorts together equal all longs, so shares add up to the pool
            at most.
    """
    assert ledger._series[series_id].unsettled_short == 0, "options_market: shorts not settled"
    paid: uint256 = ledger._series[series_id].pool * size // ledger._series[series_id].open_interest
    ledger._series[series_id].paid += paid
    ledger.cash[account] += paid
    log Settled(account=account, series_id=series_id, size=convert(size, int256), paid=paid, shortfall=0)
