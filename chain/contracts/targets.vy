# pragma version ~=0.4.3
# pragma optimize codesize
# pragma evm-version cancun
"""
@title Targets: read, call and probe the protocol that a policy describes
@license AGPL-3.0-only
@notice Only getters say what is live. Calls go out from the steward, or through a Safe that has the steward as a
        module. A target's own reason for refusing is passed on.
"""

from . import attestation
from . import policy


interface ISafe:
    def execTransactionFromModuleReturnData(
        to: address, amount: uint256, data: Bytes[attestation.MAX_CALL_DATA], operation: uint256
    ) -> (bool, Bytes[MAX_REASON]): nonpayable


MAX_PARAMETERS: constant(uint256) = policy.MAX_PARAMETERS
MAX_ALLOWED_CALLS: constant(uint256) = policy.MAX_ALLOWED_CALLS
MAX_ANSWER: constant(uint256) = 32 * policy.MAX_WORDS
MAX_REASON: constant(uint256) = 512

_CALL: constant(uint256) = 0  # Safe's Enum.Operation


@internal
@view
def _read_all(stored: address, header: policy.Header) -> DynArray[uint256, MAX_PARAMETERS]:
    """
    @dev Live values in id order. Neighbours that share a getter are read with one call.
    """
    live: DynArray[uint256, MAX_PARAMETERS] = []
    answer: Bytes[MAX_ANSWER] = b""
    last: uint256 = max_value(uint256)
    for id: uint256 in range(header.parameters, bound=MAX_PARAMETERS):
        position: uint256 = header.layout >> (16 * id)
        index: uint256 = (position >> 8) & 255
        if index != last:
            getter: policy.Read = policy._read(stored, header, index)
            answer = self._get(getter.target, getter.data)
            last = index
        start: uint256 = 32 * (position & 255)
        assert len(answer) >= start + 32, "risk_steward: getter failed"
        live.append(extract32(answer, start, output_type=uint256))
    return live


@internal
@view
def _get(target: address, data: Bytes[policy.MAX_GETTER_DATA]) -> Bytes[MAX_ANSWER]:
    """
    @dev A getter's answer.
    """
    success: bool = False
    answer: Bytes[MAX_ANSWER] = b""
    success, answer = raw_call(target, data, max_outsize=MAX_ANSWER, is_static_call=True, revert_on_failure=False)
    assert success, "risk_steward: getter failed"
    return answer


@internal
@view
def _check_allowed(stored: address, header: policy.Header, call: attestation.Call):
    """
    @dev Throws unless the policy has the call's target with a prefix that its data begins with.
    """
    assert call.target != self, "risk_steward: call not allowed"
    for index: uint256 in range(header.calls, bound=MAX_ALLOWED_CALLS):
        allowed: policy.AllowedCall = policy._allowed_call(stored, header, index)
        size: uint256 = len(allowed.prefix)
        if call.target == allowed.target and len(call.data) >= size:
            if slice(call.data, 0, size) == allowed.prefix:
                return
    raise "risk_steward: call not allowed"


@internal
def _call(executor: address, call: attestation.Call):
    """
    @dev Make one call, from here or through the Safe.
    """
    success: bool = False
    reason: Bytes[MAX_REASON] = b""
    if executor == empty(address):
        success, reason = raw_call(call.target, call.data, max_outsize=MAX_REASON, revert_on_failure=False)
    else:
        success, reason = extcall ISafe(executor).execTransactionFromModuleReturnData(
            call.target, 0, call.data, _CALL
        )
    if not success and len(reason) > 0:
        raw_revert(reason)
    assert success, "risk_steward: call failed"


@internal
@view
def _is_liquidatable(header: policy.Header, probe: attestation.Probe) -> bool:
    """
    @dev What the protocol's own health view says of one account.
    """
    success: bool = False
    answer: Bytes[MAX_ANSWER] = b""
    success, answer = raw_call(
        header.health_target,
        concat(header.health_selector, probe.data),
        max_outsize=MAX_ANSWER,
        is_static_call=True,
        revert_on_failure=False,
    )
    start: uint256 = 32 * (header.health_rule >> 8)
    assert success and len(answer) >= start + 32, "risk_steward: health view failed"
    health: int256 = extract32(answer, start, output_type=int256)
    mode: uint256 = header.health_rule & 255
    if mode == 1:
        return health != 0
    if mode == 2:
        return health == 0
    if mode == 3:
        return health < probe.threshold
    assert mode == 4, "risk_steward: no health view"
    return health > probe.threshold
