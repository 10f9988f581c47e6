# pragma version ~=0.4.3
"""
@title As many parameters as a policy can have
@license AGPL-3.0-only
"""

values: public(uint256[16])


@deploy
def __init__(initial: uint256):
    for index: uint256 in range(16):
        self.values[index] = initial


@external
@view
def all_values() -> uint256[16]:
    """
    @notice All of them.
    """
    return self.values


@external
def turn(index: uint256, to: uint256):
    """
    @notice Set one.
    """
    self.values[index] = to


@external
def turn_up(by: uint256):
    """
    @notice Raise all.
    """
    for index: uint256 in range(16):
        self.values[index] += by
