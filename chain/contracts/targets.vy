# pragma version ~=0.4.3
# pragma optimize gas
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
        to: address, amount: uint256, data: Bytes[policy.MAX_CALL_DATA], operation: uint8
    ) -> (bool, Bytes[MAX_REASON]): nonpayable


MAX_PARAMETERS: constant(uint256) = policy.MAX_PARAMETERS
MAX_SETTERS: constant(uint256) = policy.MAX_SETTERS
MAX_ANSWER: constant(uint256) = 32 * policy.MAX_WORDS
MAX_REASON: constant(uint256) = 512

# The layout of parameters that are the words of one getter's answer, in their order.
IN_ORDER: constant(uint256) = (
    26_503_083_416_277_070_190_274_937_426_090_193_213_258_760_153_527_542_211_303_703_917_556_203_520
)

_CALL: constant(uint8) = 0  # Safe's Enum.Operation


@internal
@view
def _read_all(stored: address, layout: uint256, count: uint256) -> DynArray[uint256, MAX_PARAMETERS]:
    """
    @dev Live values in id order. Neighbours that share a getter are read with one call.
    """
    if layout == IN_ORDER & (max_value(uint256) >> (256 - 16 * count)):
        return self._words(self._answer(stored, 0), count)
    live: DynArray[uint256, MAX_PARAMETERS] = []
    answer: Bytes[MAX_ANSWER] = b""
    last: uint256 = max_value(uint256)
    positions: uint256 = layout
    for _: uint256 in range(count, bound=MAX_PARAMETERS):
        index: uint256 = (positions >> 8) & 255
        if index != last:
            answer = self._answer(stored, index)
            last = index
        start: uint256 = unsafe_mul(32, positions & 255)
        assert len(answer) >= unsafe_add(start, 32), "risk_steward: getter failed"
        live.append(extract32(answer, start, output_type=uint256))
        positions >>= 16
    return live


@internal
@pure
def _words(answer: Bytes[MAX_ANSWER], count: uint256) -> DynArray[uint256, MAX_PARAMETERS]:
    """
    @dev The first words of an answer, all at once.
    """
    assert len(answer) >= 32 * count, "risk_steward: getter failed"
    words: Bytes[32 * MAX_PARAMETERS] = convert(slice(answer, 0, 32 * count), Bytes[32 * MAX_PARAMETERS])
    encoded: Bytes[32 * MAX_PARAMETERS + 64] = concat(convert(32, bytes32), convert(count, bytes32), words)
    return abi_decode(encoded, DynArray[uint256, MAX_PARAMETERS])


@internal
@view
def _answer(stored: address, index: uint256) -> Bytes[MAX_ANSWER]:
    """
    @dev What a getter of the policy answers.
    """
    getter: policy.Read = policy._read(stored, index)
    success: bool = False
    answer: Bytes[MAX_ANSWER] = b""
    success, answer = raw_call(
        getter.target, getter.data, max_outsize=MAX_ANSWER, is_static_call=True, revert_on_failure=False
    )
    assert success, "risk_steward: getter failed"
    return answer


@internal
def _write(
    stored: address,
    executor: address,
    reads: uint256,
    setters: uint256,
    changed: uint256,
    values: DynArray[uint256, MAX_PARAMETERS],
) -> bytes32:
    """
    @dev Call every setter that writes a changed parameter, in the policy's order, with arguments made of `values` and
            the policy's constants alone. Returns the hash of the calls: from zero on, for each of them,
            keccak256(abi.encode(hash before, target, keccak256(data))).
    """
    hash: bytes32 = empty(bytes32)
    for index: uint256 in range(setters, bound=MAX_SETTERS):
        setter: policy.Setter = policy._setter(stored, reads, index)
        if setter.writes & changed != 0:
            arguments: uint256[policy.MAX_ARGUMENT_WORDS] = setter.constants
            for word: uint256 in range(setter.words, bound=policy.MAX_ARGUMENT_WORDS):
                id: uint256 = (setter.sources >> (8 * word)) & 255
                if id != policy.FIXED:
                    arguments[word] = values[id]
            data: Bytes[policy.MAX_CALL_DATA] = slice(
                concat(setter.selector, abi_encode(arguments)), 0, 4 + 32 * setter.words
            )
            self._call(executor, setter.target, data)
            hash = keccak256(abi_encode(hash, setter.target, keccak256(data)))
    return hash


@internal
def _call(executor: address, target: address, data: Bytes[policy.MAX_CALL_DATA]):
    """
    @dev Make one call, from here or through the Safe.
    """
    success: bool = False
    reason: Bytes[MAX_REASON] = b""
    if executor == empty(address):
        success, reason = raw_call(target, data, max_outsize=MAX_REASON, revert_on_failure=False)
    else:
        success, reason = extcall ISafe(executor).execTransactionFromModuleReturnData(target, 0, data, _CALL)
    if not success and len(reason) > 0:
        raw_revert(reason)
    assert success, "risk_steward: call failed"


@internal
@view
def _is_liquidatable(target: address, selector: bytes4, rule: uint256, probe: attestation.Probe) -> bool:
    """
    @dev What the protocol's own health view says of one account.
    """
    success: bool = False
    answer: Bytes[MAX_ANSWER] = b""
    success, answer = raw_call(
        target,
        concat(selector, probe.data),
        max_outsize=MAX_ANSWER,
        is_static_call=True,
        revert_on_failure=False,
    )
    start: uint256 = 32 * (rule >> 8)
    assert success and len(answer) >= start + 32, "risk_steward: health view failed"
    health: int256 = extract32(answer, start, output_type=int256)
    mode: uint256 = rule & 255
    if mode == 1:
        return health != 0
    if mode == 2:
        return health == 0
    if mode == 3:
        return health < probe.threshold
    assert mode == 4, "risk_steward: no health view"
    return health > probe.threshold
