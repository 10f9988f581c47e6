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
def turn_half(first: uint256, to: uint256[8]):
    """
    @notice Set eight neighbours.
    """
    for index: uint256 in range(8):
        self.values[first + index] = to[index]


@external
def turn_two(first: uint256, a: uint256, second: uint256, b: uint256, more: uint256[8]):
    """
    @notice Set two, with as many words as a setter can have.
    """
    self.values[first] = a
    self.values[second] = b
