# pragma version ~=0.4.3
"""
@title A parameter that is the end of a list: each change appends to it, and none can be undone
@license AGPL-3.0-only
"""

history: public(DynArray[uint256, 64])


@deploy
def __init__(initial: uint256):
    self.history.append(initial)


@external
def append(entry: uint256):
    """
    @notice Make another value the present one.
    """
    assert entry > self._latest(), "append_only: not above the latest"
    self.history.append(entry)


@external
@view
def latest() -> uint256:
    """
    @notice The present value.
    """
    return self._latest()


@internal
@view
def _latest() -> uint256:
    return self.history[len(self.history) - 1]
