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
    targets: uint256  # 16 bits a parameter, id 0 lowest


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
# What fits 16 bits, 655 %; no judgement of what is sensible.
MAX_VALUE: constant(uint256) = 65_535

TIME: constant(uint256) = 2**32 - 1
TARGETS: constant(uint256) = 2**96 - 1

# @notice Seconds a tightening takes to reach open positions in full.
ramp_duration: public(immutable(uint256))

# Six targets of 16 bits, id 0 lowest, below the only account that may change them.
_targets_word: uint256
# Five starts of 16 bits, below five start times of 32 bits: Unix seconds until 2106.
_ramps_word: uint256


@deploy
def __init__(initial: uint256[COUNT], duration: uint256):
    """
    @notice Start with `initial` in full effect.
    @param initial Values by id, in basis points.
    @param duration Ramp duration in seconds; 0 lets every change take effect at once.
    """
    ramp_duration = duration
    self._check(initial)
    targets: uint256 = self._pack(initial)
    self._targets_word = targets
    self._ramps_word = self._begun(0, targets, initial, initial)
    log ParametersSet(targets=targets)


@external
def set_parameter_setter(setter: address):
    """
    @notice Hand the right to change parameters to `setter`. Owner only.
    """
    ownable._check_owner()
    self._targets_word = (self._targets_word & TARGETS) | convert(setter, uint256) << 96
    log ParameterSetterSet(setter=setter)


@external
def set_parameters(values: uint256[COUNT]):
    """
    @notice Set every target; a value that equals the present target leaves its running ramp alone.
    @param values By id, in basis points: down shock below 10_000, threshold ≤ factor ≤ 10_000, the others at
            most 65_535.
    """
    word: uint256 = self._targets_word
    assert convert(msg.sender, uint256) == word >> 96, "options_market: caller is not the parameter setter"
    self._check(values)
    targets: uint256 = self._pack(values)
    if targets == word & TARGETS:
        return
    ramps: uint256 = self._ramps_word
    old: uint256[COUNT] = self._unpack(word)
    self._ramps_word = self._begun(ramps, targets ^ (word & TARGETS), values, self._ramped(old, ramps))
    self._targets_word = (word ^ (word & TARGETS)) | targets
    log ParametersSet(targets=targets)


@external
@view
def parameter_setter() -> address:
    """
    @notice The only account that may change parameters; the owner itself may not.
    """
    return convert(self._targets_word >> 96, address)


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
    return self._ramped(self._targets(), self._ramps_word)


@internal
@view
def _ramped(targets: uint256[COUNT], ramps: uint256) -> uint256[COUNT]:
    """
    @dev Linear between start and target, rounded down: in the account's favour. Ramps begun at different times
            may cross; the threshold in effect never exceeds the factor in effect.
    """
    values: uint256[COUNT] = targets
    for id: uint256 in range(RAMPED):
        elapsed: uint256 = unsafe_sub(block.timestamp, (ramps >> unsafe_add(80, unsafe_mul(32, id))) & TIME)
        if elapsed < ramp_duration:
            # Never above the target: `set_parameters` takes the smaller of the two.
            start: uint256 = (ramps >> (16 * id)) & MAX_VALUE
            values[id] = start + (values[id] - start) * elapsed // ramp_duration
    values[LIQUIDATION_THRESHOLD] = min(values[LIQUIDATION_THRESHOLD], values[MAINTENANCE_FACTOR])
    return values


@internal
@view
def _begun(ramps: uint256, changed: uint256, values: uint256[COUNT], effective: uint256[COUNT]) -> uint256:
    """
    @dev The word of ramps with those of changed parameters begun anew, from the value in effect or, where that is
            lower, the target itself. `changed` has the parameter's 16 bits not all zero.
    """
    assert block.timestamp <= TIME, "options_market: time out of range"
    begun: uint256 = ramps
    for id: uint256 in range(RAMPED):
        low: uint256 = unsafe_mul(16, id)
        if (changed >> low) & MAX_VALUE != 0:
            high: uint256 = unsafe_add(80, unsafe_mul(32, id))
            begun &= ~(MAX_VALUE << low | TIME << high)
            begun |= min(values[id], effective[id]) << low | block.timestamp << high
    return begun


@internal
@pure
def _pack(values: uint256[COUNT]) -> uint256:
    """
    @dev Checked values, id 0 lowest.
    """
    return (
        values[0] | values[1] << 16 | values[2] << 32 | values[3] << 48 | values[4] << 64 | values[5] << 80
    )


@internal
@pure
def _unpack(packed: uint256) -> uint256[COUNT]:
    """
    @dev Inverse of `_pack`; ignores what lies above.
    """
    return [
        packed & MAX_VALUE,
        (packed >> 16) & MAX_VALUE,
        (packed >> 32) & MAX_VALUE,
        (packed >> 48) & MAX_VALUE,
        (packed >> 64) & MAX_VALUE,
        (packed >> 80) & MAX_VALUE,
    ]


@internal
@pure
def _check(values: uint256[COUNT]):
    """
    @dev Throws unless every value is possible: a fall of 100 % would leave no spot to price at, and liquidation
            margin ≤ maintenance margin ≤ initial margin. What passes fits 16 bits.
    """
    assert values[SPOT_SHOCK_UP] <= MAX_VALUE, "options_market: parameter too large"
    assert values[SPOT_SHOCK_DOWN] < BPS, "options_market: down shock not below 100 %"
    assert values[SHOCKED_VOL] <= MAX_VALUE, "options_market: parameter too large"
    assert values[MAINTENANCE_FACTOR] <= BPS, "options_market: maintenance factor above 100 %"
    assert (
        values[LIQUIDATION_THRESHOLD] <= values[MAINTENANCE_FACTOR]
    ), "options_market: threshold above maintenance factor"
    assert values[LIQUIDATION_PENALTY] <= MAX_VALUE, "options_market: parameter too large"
