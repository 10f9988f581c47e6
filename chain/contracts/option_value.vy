# pragma version ~=0.4.3
# pragma optimize gas
# pragma evm-version cancun
# pragma nonreentrancy off
"""
@title Values of European options in integers
@license AGPL-3.0-only
@notice The value of one whole option is its intrinsic value plus 0.4·S·vol·sqrt(T) at a shocked spot S. The
        second term bounds the Black-Scholes time value, which is largest at the money (Brenner and
        Subrahmanyam, 1988).
@dev Every result is rounded up.
"""

BPS: constant(uint256) = 10_000
WAD: constant(uint256) = 10**18
YEAR: constant(uint256) = 365 * 86_400


@internal
@pure
def _ceil_div(numerator: uint256, denominator: uint256) -> uint256:
    """
    @dev Quotient rounded up. Reverts on overflow of numerator + denominator.
    """
    return (numerator + denominator - 1) // denominator


@internal
@view
def _root_time(expiry: uint256) -> uint256:
    """
    @dev Square root of the years (of 365 days) until `expiry`, scaled by 1e18; 0 from expiry on.
    """
    if block.timestamp >= expiry:
        return 0
    years: uint256 = self._ceil_div((expiry - block.timestamp) * WAD * WAD, YEAR)
    root: uint256 = isqrt(years)
    return root if root * root == years else root + 1


@internal
@pure
def _unit_value(
    price: uint256, strike: uint256, is_call: bool, multiplier: uint256, vol: uint256, root_time: uint256
) -> uint256:
    """
    @dev Value of one whole option when the spot stands at price × multiplier.
    @param price Spot in the oracle's decimals; `strike` likewise.
    @param multiplier Shocked over current spot, in basis points.
    @param vol Annualised volatility in basis points.
    @param root_time Square root of the years to expiry, scaled by 1e18.
    @return Value in the oracle's decimals, scaled by 1e4.
    """
    spot: uint256 = price * multiplier
    struck: uint256 = strike * BPS
    intrinsic: uint256 = 0
    if is_call and spot > struck:
        intrinsic = spot - struck
    elif not is_call and struck > spot:
        intrinsic = struck - spot
    return intrinsic + self._ceil_div(4 * spot * vol * root_time, 10 * BPS * WAD)
