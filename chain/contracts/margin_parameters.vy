# pragma version ~=0.4.3
# pragma optimize gas
# pragma evm-version cancun
# pragma nonreentrancy on
"""
@title The six tunable margin parameters and their ramps
@license AGPL-3.0-only
@notice All in basis points; a higher value is tighter, except the penalty, which is neither. New positions
        obey the target at once. For open positions a tightening ramps linearly over `ramp_duration` from the
        value in effect, and a loosening is immediate: the loan-to-value ramp rule of the Euler Vault Kit. Few
        values are refused here, as in protocols in the field: the setter is expected to be a guard.
"""

from snekmate.auth import ownable

uses: ownable


event ParameterSetterSet:
    setter: indexed(address)


event ParameterSet:
    id: indexed(uint256)
    previous: uint256
    target: uint256
    effective: uint256


struct Ramp:
    target: uint256
    start: uint256
    started_at: uint256


SPOT_SHOCK_UP: constant(uint256) = 0
SPOT_SHOCK_DOWN: constant(uint256) = 1
SHOCKED_VOL: constant(uint256) = 2
MAINTENANCE_FACTOR: constant(uint256) = 3
LIQUIDATION_THRESHOLD: constant(uint256) = 4
LIQUIDATION_PENALTY: constant(uint256) = 5
COUNT: constant(uint256) = 6

BPS: constant(uint256) = 10_000
# Keeps every product of the margin formula below 2**256; no judgement of what is sensible.
MAX_VALUE: constant(uint256) = 10**9

# @notice Seconds a tightening takes to reach open positions in full.
ramp_duration: public(immutable(uint256))

# @notice The only account that may change parameters; the owner itself may not.
parameter_setter: public(address)

_ramps: Ramp[COUNT]


@deploy
def __init__(initial: uint256[COUNT], duration: uint256):
    """
    @notice Start with `initial` in full effect.
    @param initial Values by id, in basis points.
    @param duration Ramp duration in seconds; 0 lets every change take effect at once.
    """
    ramp_duration = duration
    self._check_shocks(initial[SPOT_SHOCK_UP], initial[SPOT_SHOCK_DOWN], initial[SHOCKED_VOL])
    self._check_liquidation(initial[MAINTENANCE_FACTOR], initial[LIQUIDATION_THRESHOLD])
    self._check_penalty(initial[LIQUIDATION_PENALTY])
    for id: uint256 in range(COUNT):
        self._ramps[id] = Ramp(target=initial[id], start=initial[id], started_at=block.timestamp)
        log ParameterSet(id=id, previous=0, target=initial[id], effective=initial[id])


@external
def set_parameter_setter(setter: address):
    """
    @notice Hand the right to change parameters to `setter`. Owner only.
    """
    ownable._check_owner()
    self.parameter_setter = setter
    log ParameterSetterSet(setter=setter)


@external
def set_shocks(up: uint256, down: uint256, vol: uint256):
    """
    @notice Set the margin scenario.
    @param up Spot shock for short calls, basis points.
    @param down Spot shock for short puts, basis points, below 10_000.
    @param vol Annualised volatility at which time value is margined, basis points.
    """
    self._check_setter()
    self._check_shocks(up, down, vol)
    self._set(SPOT_SHOCK_UP, up)
    self._set(SPOT_SHOCK_DOWN, down)
    self._set(SHOCKED_VOL, vol)


@external
def set_liquidation(maintenance_factor: uint256, liquidation_threshold: uint256):
    """
    @notice Set the shares of the cushion that maintenance and liquidation margin hold above the mark, in
            basis points, threshold ≤ factor ≤ 10_000.
    """
    self._check_setter()
    self._check_liquidation(maintenance_factor, liquidation_threshold)
    self._set(MAINTENANCE_FACTOR, maintenance_factor)
    self._set(LIQUIDATION_THRESHOLD, liquidation_threshold)


@external
def set_liquidation_penalty(penalty: uint256):
    """
    @notice Set the liquidation auction's largest discount, in basis points.
    """
    self._check_setter()
    self._check_penalty(penalty)
    self._set(LIQUIDATION_PENALTY, penalty)


@external
@view
def parameter(id: uint256) -> uint256:
    """
    @notice The target: what new positions obey.
    """
    return self._target(id)


@external
@view
def effective_parameter(id: uint256) -> uint256:
    """
    @notice What open positions obey now.
    """
    return self._effective(id)


@internal
@view
def _target(id: uint256) -> uint256:
    """
    @dev Target value of a known parameter.
    """
    assert id < COUNT, "options_market: unknown parameter"
    return self._ramps[id].target


@internal
@view
def _effective(id: uint256) -> uint256:
    """
    @dev Ramps begun at different times may cross; the threshold in effect never exceeds the factor in effect.
    """
    if id == LIQUIDATION_THRESHOLD:
        return min(self._ramped(id), self._ramped(MAINTENANCE_FACTOR))
    return self._ramped(id)


@internal
@view
def _ramped(id: uint256) -> uint256:
    """
    @dev Linear between start and target, rounded down: in the account's favour.
    """
    target: uint256 = self._target(id)
    start: uint256 = self._ramps[id].start
    elapsed: uint256 = block.timestamp - self._ramps[id].started_at
    if start >= target or elapsed >= ramp_duration:
        return target
    return start + (target - start) * elapsed // ramp_duration


@internal
def _set(id: uint256, target: uint256):
    """
    @dev Setting the present target again leaves a running ramp alone.
    """
    previous: uint256 = self._ramps[id].target
    if target == previous:
        return
    start: uint256 = target if id == LIQUIDATION_PENALTY else min(self._effective(id), target)
    self._ramps[id] = Ramp(target=target, start=start, started_at=block.timestamp)
    log ParameterSet(id=id, previous=previous, target=target, effective=start)


@internal
@view
def _check_setter():
    """
    @dev Throws if the sender may not change parameters.
    """
    assert msg.sender == self.parameter_setter, "options_market: caller is not the parameter setter"


@internal
@pure
def _check_shocks(up: uint256, down: uint256, vol: uint256):
    """
    @dev A fall of 100 % would leave no spot to price at.
    """
    assert up <= MAX_VALUE and vol <= MAX_VALUE, "options_market: parameter too large"
    assert down < BPS, "options_market: down shock not below 100 %"


@internal
@pure
def _check_liquidation(maintenance_factor: uint256, liquidation_threshold: uint256):
    """
    @dev Liquidation margin ≤ maintenance margin ≤ initial margin.
    """
    assert maintenance_factor <= BPS, "options_market: maintenance factor above 100 %"
    assert liquidation_threshold <= maintenance_factor, "options_market: threshold above maintenance factor"


@internal
@pure
def _check_penalty(penalty: uint256):
    """
    @dev Arithmetic bound only.
    """
    assert penalty <= MAX_VALUE, "options_market: parameter too large"
