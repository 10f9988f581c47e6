# pragma version ~=0.4.3
"""
@title Two parameters, each with a setter of its own that keeps the first from exceeding the second
@license AGPL-3.0-only
"""

low: public(uint256)
high: public(uint256)


@deploy
def __init__(low: uint256, high: uint256):
    self.low = low
    self.high = high


@external
def set_low(low: uint256):
    """
    @notice Set the lower one.
    """
    assert low <= self.high, "ordered: above the high one"
    self.low = low


@external
def set_high(high: uint256):
    """
    @notice Set the higher one.
    """
    assert high >= self.low, "ordered: below the low one"
    self.high = high


@external
@view
def both() -> (uint256, uint256):
    """
    @notice Both.
    """
    return self.low, self.high
