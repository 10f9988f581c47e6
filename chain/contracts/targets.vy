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


MAX_PARAMETERS: constant(uint256) = policy.MAX_PARAMETERS
MAX_SETTERS: constant(uint256) = policy.MAX_SETTERS
MAX_ANSWER: constant(uint256) = 32 * policy.MAX_WORDS
MAX_REASON: constant(uint256) = 512
MAX_SAFE_ANSWER: constant(uint256) = MAX_REASON + 96

# The layout of parameters that are the words of one getter's answer, in their order.
IN_ORDER: constant(uint256) = (
    26_503_083_416_277_070_190_274_937_426_090_193_213_258_760_153_527_542_211_303_703_917_556_203_520
)

_EXECUTE: constant(bytes4) = method_id(
    "execTransactionFromModuleReturnData(address,uint256,bytes,uint8)", output_type=bytes4
)
_CALL: constant(uint256) = 0  # Safe's Enum.Operation


@internal
@view
def _read_all(stored: address, layout: uint256, count: uint256) -> DynArray[uint256, MAX_PARAMETERS]:
    """
    @dev Live values in id order. Neighbours that share a getter are read with one call.
    """
    if layout == IN_ORDER & (max_value(uint256) >> (256 - 16 * count)):
        return self._words(self._answer(stored, 0, 0), count)
    live: DynArray[uint256, MAX_PARAMETERS] = []
    answer: Bytes[MAX_ANSWER] = b""
    last: uint256 = max_value(uint256)
    positions: uint256 = layout
    for id: uint256 in range(count, bound=MAX_PARAMETERS):
        index: uint256 = (positions >> 8) & 255
        if index != last:
            answer = self._answer(stored, index, id)
            last = index
        start: uint256 = unsafe_mul(32, positions & 255)
        if len(answer) < unsafe_add(start, 32):
            policy._refuse(id, "getter failed")
        live.append(extract32(answer, start, output_type=uint256))
        positions >>= 16
    return live


@internal
@pure
def _words(answer: Bytes[MAX_ANSWER], count: uint256) -> DynArray[uint256, MAX_PARAMETERS]:
    """
    @dev The first words of an answer, all at once.
    """
    if len(answer) < 32 * count:
        policy._refuse(len(answer) // 32, "getter failed")
    words: Bytes[32 * MAX_PARAMETERS] = convert(slice(answer, 0, 32 * count), Bytes[32 * MAX_PARAMETERS])
    encoded: Bytes[32 * MAX_PARAMETERS + 64] = concat(convert(32, bytes32), convert(count, bytes32), words)
    return abi_decode(encoded, DynArray[uint256, MAX_PARAMETERS])


@internal
@view
def _answer(stored: address, index: uint256, id: uint256) -> Bytes[MAX_ANSWER]:
    """
    @dev What a getter of the policy answers, asked first for a parameter.
    """
    getter: policy.Read = policy._read(stored, index)
    success: bool = False
    answer: Bytes[MAX_ANSWER] = b""
    success, answer = raw_call(
        getter.target, getter.data, max_outsize=MAX_ANSWER, is_static_call=True, revert_on_failure=False
    )
    if not success:
        policy._refuse(id, "getter failed")
    return answer


@internal
def _write(
    stored: address,
    executor: address,
    reads: uint256,
    setters: uint256,
    changed: uint256,
    values: DynArray[uint256, MAX_PARAMETERS],
    order: uint256,
) -> bytes32:
    """
    @dev Call every setter that writes a changed parameter, in the policy's order or in another, with arguments made of
            `values` and the policy's constants alone. Returns the hash of the calls: from zero on, for each of them,
            keccak256(abi.encode(hash before, target, keccak256(data))). An order has 4 bits a setter, the first
            lowest; zero is the policy's.
    """
    hash: bytes32 = empty(bytes32)
    seen: uint256 = 0  # bit i: setter i had its turn
    for place: uint256 in range(setters, bound=MAX_SETTERS):
        index: uint256 = place
        if order != 0:
            index = (order >> (4 * place)) & 15
            assert index < setters and (seen >> index) & 1 == 0, "risk_steward: bad order"
            seen |= 1 << index
        setter: policy.Setter = policy._setter(stored, reads, index)
        written: uint256 = setter.writes & changed
        if written != 0:
            arguments: uint256[policy.MAX_ARGUMENT_WORDS] = setter.constants
            for word: uint256 in range(setter.words, bound=policy.MAX_ARGUMENT_WORDS):
                id: uint256 = (setter.sources >> (8 * word)) & 255
                if id != policy.FIXED:
                    arguments[word] = values[id]
            data: Bytes[policy.MAX_CALL_DATA] = slice(
                concat(setter.selector, abi_encode(arguments)), 0, 4 + 32 * setter.words
            )
            if not self._call(executor, setter.target, data):
                policy._refuse_first(written, "call failed")
            hash = keccak256(abi_encode(hash, setter.target, keccak256(data)))
    return hash


@internal
def _call(executor: address, target: address, data: Bytes[policy.MAX_CALL_DATA]) -> bool:
    """
    @dev Make one call, from here or through the Safe. Throws with the target's reason where it gives one; returns
            False where it fails without.
    """
    success: bool = False
    reason: Bytes[MAX_REASON] = b""
    if executor == empty(address):
        success, reason = raw_call(target, data, max_outsize=MAX_REASON, revert_on_failure=False)
    else:
        success, reason = self._call_through(executor, target, data)
    if not success and len(reason) > 0:
        raw_revert(reason)
    return success


@internal
def _call_through(
    safe: address, target: address, data: Bytes[policy.MAX_CALL_DATA]
) -> (bool, Bytes[MAX_REASON]):
    """
    @dev Make one call through a Safe. The answer is taken apart here: what a target returns has no bound.
    """
    answer: Bytes[MAX_SAFE_ANSWER] = raw_call(
        safe,
        abi_encode(target, empty(uint256), data, _CALL, method_id=_EXECUTE),
        max_outsize=MAX_SAFE_ANSWER,
    )
    size: uint256 = min(extract32(answer, 64, output_type=uint256), len(answer) - 96)
    reason: Bytes[MAX_REASON] = convert(slice(answer, 96, size), Bytes[MAX_REASON])
    return extract32(answer, 0, output_type=uint256) != 0, reason


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
