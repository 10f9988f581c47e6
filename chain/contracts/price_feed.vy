# pragma version ~=0.4.3
# pragma optimize gas
# pragma evm-version cancun
# pragma nonreentrancy off
"""
@title AggregatorV3 price feed whose owner posts the rounds
@license AGPL-3.0-only
@notice For trials and tests. It takes any answer, a wrong one too: judging prices is its readers' duty.
"""

from snekmate.auth import ownable

from .interfaces import IAggregatorV3

implements: IAggregatorV3

initializes: ownable

exports: (ownable.owner, ownable.transfer_ownership)


event AnswerUpdated:
    current: indexed(int256)
    round_id: indexed(uint256)
    updated_at: uint256


struct Round:
    answer: int256
    updated_at: uint256


# @notice Decimal places of every answer.
decimals: public(constant(uint8)) = 8

# @notice What the feed prices.
description: public(String[32])

_rounds: HashMap[uint80, Round]
_latest: uint80


@deploy
def __init__(description: String[32]):
    """
    @notice The deployer becomes the owner. There is no round before the first post.
    @param description What the feed prices, for example "ETH / USD".
    """
    ownable.__init__()
    self.description = description


@external
def post(answer: int256, updated_at: uint256) -> uint80:
    """
    @notice Append a round.
    @param answer Price scaled by 1e8.
    @param updated_at Unix seconds, not before the last round's and not in the future.
    @return The new round's id; ids are sequential from 1.
    """
    ownable._check_owner()
    assert updated_at <= block.timestamp, "price_feed: update in the future"
    assert updated_at >= self._rounds[self._latest].updated_at, "price_feed: update before the last round"
    assert updated_at > 0, "price_feed: update at time zero"
    self._latest += 1
    self._rounds[self._latest] = Round(answer=answer, updated_at=updated_at)
    log AnswerUpdated(current=answer, round_id=convert(self._latest, uint256), updated_at=updated_at)
    return self._latest


@external
@view
def getRoundData(round_id: uint80) -> (uint80, int256, uint256, uint256, uint80):
    """
    @notice One past round.
    @return round id, answer, started at, updated at (Unix seconds), answered in round.
    """
    return self._round(round_id)


@external
@view
def latestRoundData() -> (uint80, int256, uint256, uint256, uint80):
    """
    @notice The newest round.
    @return round id, answer, started at, updated at (Unix seconds), answered in round.
    """
    return self._round(self._latest)


@internal
@view
def _round(round_id: uint80) -> (uint80, int256, uint256, uint256, uint80):
    """
    @dev Reverts where Chainlink's aggregators do: no such round.
    """
    item: Round = self._rounds[round_id]
    assert item.updated_at > 0, "price_feed: no data present"
    return round_id, item.answer, item.updated_at, item.updated_at, round_id
