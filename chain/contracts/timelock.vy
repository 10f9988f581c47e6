# pragma version ~=0.4.3
# pragma optimize gas
# pragma evm-version cancun
"""
@title Timelock that governs a steward
@license AGPL-3.0-only
@notice snekmate's timelock controller as it is: a proposer schedules a call, everybody can read it for the delay,
        then an executor makes it; a canceller may stop it until then. It administers itself.
"""

from snekmate.auth import access_control
from snekmate.governance import timelock_controller

initializes: access_control
initializes: timelock_controller[access_control := access_control]

exports: timelock_controller.__interface__


@deploy
def __init__(delay: uint256, proposers: DynArray[address, 16], executors: DynArray[address, 16]):
    """
    @notice Without an administrator beside itself.
    @param delay Seconds between schedule and execution.
    @param proposers May schedule, and cancel.
    @param executors May execute; the zero address lets everybody.
    """
    access_control.__init__()
    timelock_controller.__init__(delay, proposers, executors, empty(address))
