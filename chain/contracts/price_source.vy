# pragma version ~=0.4.3
# pragma optimize gas
# pragma evm-version cancun
# pragma nonreentrancy on
"""
@title Prices from a Chainlink AggregatorV3 feed
@license AGPL-3.0-only
@notice Prices are the feed's answers in its own decimals; strikes share them.
"""

from .interfaces import IAggregatorV3


MAX_DECIMALS: constant(uint8) = 18

# @notice The AggregatorV3 price feed.
oracle: public(immutable(address))

# @notice Decimal places of prices and strikes.
price_decimals: public(immutable(uint8))

# @notice Seconds after which a price no longer serves to open, withdraw or liquidate.
max_price_age: public(immutable(uint256))


@deploy
def __init__(feed: address, max_age: uint256):
    """
    @notice Read prices from `feed`.
    @param feed AggregatorV3 feed with at most 18 decimals.
    @param max_age Seconds a price stays fresh.
    """
    oracle = feed
    max_price_age = max_age
    price_decimals = staticcall IAggregatorV3(feed).decimals()
    assert price_decimals <= MAX_DECIMALS, "options_market: too many price decimals"


@external
@view
def price() -> (uint256, uint256):
    """
    @notice The oracle's newest price, scaled by 10**price_decimals, and when it was updated, Unix seconds.
    """
    return self._price()


@internal
@view
def _price() -> (uint256, uint256):
    """
    @dev Newest answer and its time. Throws on a price that is not positive.
    """
    round_id: uint80 = 0
    answer: int256 = 0
    started_at: uint256 = 0
    updated_at: uint256 = 0
    answered_in: uint80 = 0
    round_id, answer, started_at, updated_at, answered_in = staticcall IAggregatorV3(oracle).latestRoundData()
    assert answer > 0, "options_market: invalid price"
    return convert(answer, uint256), updated_at


@internal
@view
def _fresh_price() -> uint256:
    """
    @dev Newest price. Throws when it is older than max_price_age.
    """
    price: uint256 = 0
    updated_at: uint256 = 0
    price, updated_at = self._price()
    assert updated_at + max_price_age >= block.timestamp, "options_market: stale price"
    return price


@internal
@view
def _round(round_id: uint80) -> (uint256, uint256):
    """
    @dev A past round's answer, 0 when it is not positive, and its time. Throws when there is no such round.
    """
    id: uint80 = 0
    answer: int256 = 0
    started_at: uint256 = 0
    updated_at: uint256 = 0
    answered_in: uint80 = 0
    id, answer, started_at, updated_at, answered_in = staticcall IAggregatorV3(oracle).getRoundData(round_id)
    assert updated_at > 0, "options_market: no such round"
    return convert(max(answer, 0), uint256), updated_at
