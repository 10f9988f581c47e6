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


event ParametersSet:
    targets: uint256[COUNT]
    effective: uint256[COUNT]  # what open positions obey from this moment on, where the ramps go on from


# Three numbers of 32 bits a parameter, id 0 in the lowest.
struct Ramps:
    targets: uint256
    starts: uint256  # of the parameters that ramp, like `started_at`
    started_at: uint256  # Unix seconds


SPOT_SHOCK_UP: constant(uint256) = 0
SPOT_SHOCK_DOWN: constant(uint256) = 1
SHOCKED_VOL: constant(uint256) = 2
MAINTENANCE_FACTOR: constant(uint256) = 3
LIQUIDATION_THRESHOLD: constant(uint256) = 4
LIQUIDATION_PENALTY: constant(uint256) = 5
COUNT: constant(uint256) = 6
# The parameters before the penalty.
RAMPED: constant(uint256) = 5

BPS: constant(uint256) = 10_000
# Keeps every product of the margin formula below 2**256; no judgement of what is sensible.
MAX_VALUE: constant(uint256) = 10**9

LANE: constant(uint256) = 2**32 - 1
# One in each of the lanes of a ramped parameter.
EVERY_RAMP: constant(uint256) = 1 + 2**32 + 2**64 + 2**96 + 2**128

# @notice Seconds a tightening takes to reach open positions in full.
ramp_duration: public(immutable(uint256))

# @notice The only account that may change parameters; the owner itself may not.
parameter_setter: public(address)

# Six targets and two start times, so that reading the targets takes one slot.
_targets_word: uint256
# Five starts and the other three start times.
_starts_word: uint256


@deploy
def __init__(initial: uint256[COUNT], duration: uint256):
    """
    @notice Start with `initial` in full effect.
    @param initial Values by id, in basis points.
    @param duration Ramp duration in seconds; 0 lets every change take effect at once.
    """
    ramp_duration = duration
    self._check(initial)
    packed: uint256 = self._pack(initial)
    self._store(Ramps(targets=packed, starts=packed & (LANE * EVERY_RAMP), started_at=self._now()))
    log ParametersSet(targets=initial, effective=initial)


@external
def set_parameter_setter(setter: address):
    """
    @notice Hand the right to change parameters to `setter`. Owner only.
    """
    ownable._check_owner()
    self.parameter_setter = setter
    log ParameterSetterSet(setter=setter)


@external
def set_parameters(values: uint256[COUNT]):
    """
    @notice Set every target; a value that equals the present target leaves its running ramp alone.
    @param values By id, in basis points: down shock below 10_000, threshold ≤ factor ≤ 10_000, the others at
            most 1e9.
    """
    assert msg.sender == self.parameter_setter, "options_market: caller is not the parameter setter"
    self._check(values)
    ramps: Ramps = self._load()
    targets: uint256 = self._pack(values)
    changed: uint256 = targets ^ ramps.targets
    if changed == 0:
        return
    effective: uint256[COUNT] = self._ramped(ramps)
    effective[LIQUIDATION_PENALTY] = values[LIQUIDATION_PENALTY]
    renewed: uint256 = 0
    for id: uint256 in range(RAMPED):
        value: uint256 = values[id]
        if value < effective[id]:
            effective[id] = value
        lane: uint256 = LANE << unsafe_mul(32, id)
        if changed & lane != 0:
            renewed |= lane
    ramps.targets = targets
    ramps.starts = (ramps.starts & ~renewed) | (self._pack(effective) & renewed)
    ramps.started_at = (ramps.started_at & ~renewed) | (self._now() & renewed)
    self._store(ramps)
    log ParametersSet(targets=values, effective=effective)


@external
@view
def parameters() -> uint256[COUNT]:
    """
    @notice Targets by id: what new positions obey.
    """
    return self._targets()


@external
@view
def effective_parameters() -> uint256[COUNT]:
    """
    @notice Values by id that open positions obey now.
    """
    return self._effective()


@internal
@view
def _targets() -> uint256[COUNT]:
    """
    @dev What new positions obey.
    """
    return self._unpack(self._targets_word)


@internal
@view
def _effective() -> uint256[COUNT]:
    """
    @dev What open positions obey now.
    """
    return self._ramped(self._load())


@internal
@view
def _ramped(ramps: Ramps) -> uint256[COUNT]:
    """
    @dev Linear between start and target, rounded down: in the account's favour. Ramps begun at different times
            may cross; the threshold in effect never exceeds the factor in effect.
    """
    values: uint256[COUNT] = self._unpack(ramps.targets)
    for id: uint256 in range(RAMPED):
        offset: uint256 = unsafe_mul(32, id)
        elapsed: uint256 = block.timestamp - ((ramps.started_at >> offset) & LANE)
        if elapsed < ramp_duration:
            # Never above the target: `set_parameters` takes the smaller of the two.
            start: uint256 = (ramps.starts >> offset) & LANE
            values[id] = start + (values[id] - start) * elapsed // ramp_duration
    values[LIQUIDATION_THRESHOLD] = min(values[LIQUIDATION_THRESHOLD], values[MAINTENANCE_FACTOR])
    return values


@internal
@view
def _load() -> Ramps:
    """
    @dev Both words, taken apart.
    """
    low: uint256 = self._targets_word
    high: uint256 = self._starts_word
    return Ramps(
        targets=low & (2**192 - 1),
        starts=high & (2**160 - 1),
        started_at=(low >> 192) | ((high >> 160) << 64),
    )


@internal
def _store(ramps: Ramps):
    """
    @dev Inverse of `_load`.
    """
    self._targets_word = ramps.targets | (ramps.started_at << 192)
    self._starts_word = ramps.starts | ((ramps.started_at >> 64) << 160)


@internal
@view
def _now() -> uint256:
    """
    @dev This block's time in the lane of every ramped parameter. Lanes hold times until 2106.
    """
    assert block.timestamp <= LANE, "options_market: time out of range"
    return unsafe_mul(block.timestamp, EVERY_RAMP)


@internal
@pure
def _pack(values: uint256[COUNT]) -> uint256:
    """
    @dev Checked values, id 0 in the lowest lane.
    """
    return (
        values[0]
        | (values[1] << 32)
        | (values[2] << 64)
        | (values[3] << 96)
        | (values[4] << 128)
        | (values[5] << 160)
    )


@internal
@pure
def _unpack(packed: uint256) -> uint256[COUNT]:
    """
    @dev Inverse of `_pack`; ignores what lies above.
    """
    return [
        packed & LANE,
        (packed >> 32) & LANE,
        (packed >> 64) & LANE,
        (packed >> 96) & LANE,
        (packed >> 128) & LANE,
        (packed >> 160) & LANE,
    ]


@internal
@pure
def _check(values: uint256[COUNT]):
    """
    @dev Throws unless every value is possible: a fall of 100 % would leave no spot to price at, and liquidation
            margin ≤ maintenance margin ≤ initial margin. What passes fits its lane.
    """
    assert values[SPOT_SHOCK_UP] <= MAX_VALUE, "options_market: parameter too large"
    assert values[SPOT_SHOCK_DOWN] < BPS, "options_market: down shock not below 100 %"
    assert values[SHOCKED_VOL] <= MAX_VALUE, "options_market: parameter too large"
    assert values[MAINTENANCE_FACTOR] <= BPS, "options_market: maintenance factor above 100 %"
    assert (
        values[LIQUIDATION_THRESHOLD] <= values[MAINTENANCE_FACTOR]
    ), "options_market: threshold above maintenance factor"
    assert values[LIQUIDATION_PENALTY] <= MAX_VALUE, "options_market: parameter too large"
