# pragma version ~=0.4.3
"""
@title Accounts whose health depends on the first knob of another contract, told in every form there is
@license AGPL-3.0-only
@notice An account is liquidatable when its equity is below the first knob.
"""

interface Knobs:
    def knob(index: uint256) -> uint256: view


knobs: immutable(Knobs)
equity: public(HashMap[address, int256])


@deploy
def __init__(knobs_: Knobs):
    knobs = knobs_


@external
def set_equity(account: address, equity: int256):
    """
    @notice Make an account as rich as that.
    """
    self.equity[account] = equity


@external
@view
def is_liquidatable(account: address) -> bool:
    """
    @notice Health as a boolean.
    """
    return self._buffer(account) < 0


@external
@view
def is_healthy(account: address) -> bool:
    """
    @notice Health as the opposite boolean.
    """
    return self._buffer(account) >= 0


@external
@view
def buffer(account: address) -> int256:
    """
    @notice What the account has beyond what it needs.
    """
    return self._buffer(account)


@external
@view
def shortfall(account: address) -> int256:
    """
    @notice What the account lacks.
    """
    return -self._buffer(account)


@external
@view
def report(account: address) -> (uint256, int256, bool):
    """
    @notice The requirement, the equity and whether it is liquidatable.
    """
    return staticcall knobs.knob(0), self.equity[account], self._buffer(account) < 0


@external
@view
def silent(account: address):
    """
    @notice A health view that answers nothing.
    """
    pass


@external
@view
def refuses(account: address) -> bool:
    """
    @notice A health view that gives its reason for not answering, which is longer than an answer.
    """
    raise "lender: no"


@internal
@view
def _buffer(account: address) -> int256:
    return self.equity[account] - convert(staticcall knobs.knob(0), int256)
