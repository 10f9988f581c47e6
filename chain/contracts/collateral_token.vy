# pragma version ~=0.4.3
# pragma optimize gas
# pragma evm-version cancun
# pragma nonreentrancy off
"""
@title Six-decimal ERC-20 collateral for trials and tests
@license AGPL-3.0-only
@notice Its owner mints. Not meant to hold value: a real deployment points the market at an existing
        stablecoin.
"""

from ethereum.ercs import IERC20
from ethereum.ercs import IERC20Detailed
from snekmate.auth import ownable
from snekmate.tokens import erc20

implements: IERC20
implements: IERC20Detailed

initializes: ownable
initializes: erc20[ownable := ownable]

exports: erc20.__interface__


@deploy
def __init__():
    """
    @notice The deployer becomes owner and minter.
    """
    ownable.__init__()
    erc20.__init__("Keeper Trial Dollar", "KTD", 6, "Keeper Trial Dollar", "1")
