# pragma version ~=0.4.3
# pragma optimize codesize
# pragma evm-version cancun
"""
@title Policy: what may change in a market, how far, how fast and through which calls
@license AGPL-3.0-only
@notice A policy is stored as the code of a contract that cannot run: a STOP byte, then records of fixed size. It
        can never change, it can be read in full before it comes into force, and one cold account read brings all
        of it at every later use. Each record is the ABI encoding of its struct, padded with zeros to its size:
        header, then parameters, reads, allowed calls and invariants, as many as the header says.
"""


struct Header:
    executor: address  # a Safe that has the steward as a module and makes the calls; zero: the steward itself
    probation: uint256  # seconds a version must have been live before a rollback may restore it
    layout: uint256  # 16 bits a parameter, id 0 lowest: index of its read, then word of the answer
    parameters: uint256
    reads: uint256
    calls: uint256
    invariants: uint256
    health_target: address
    health_rule: uint256  # word of the answer, then mode in the lowest 8 bits
    health_selector: bytes4


struct Parameter:
    minimum: uint256
    maximum: uint256
    max_step_up: uint256
    max_step_down: uint256
    relative: bool  # steps are basis points of the live value, else absolute
    cooldown: uint256  # seconds
    drift_budget: uint256  # most movement in any window, absolute
    drift_window: uint256  # seconds; 0 = no budget
    tightening_up: bool
    notice: uint256  # seconds that a tightening must have been announced; 0 = none
    reversible: bool
    coupled: uint256  # bit i: a batch that names this parameter must name parameter i


struct Read:
    target: address
    data: Bytes[MAX_GETTER_DATA]


struct AllowedCall:
    target: address
    prefix: Bytes[MAX_PREFIX]  # selector, and leading arguments that are pinned


struct Invariant:
    a: uint256
    factor_a: uint256
    b: uint256
    factor_b: uint256


MAX_PARAMETERS: constant(uint256) = 16
MAX_READS: constant(uint256) = 16
MAX_ALLOWED_CALLS: constant(uint256) = 8
MAX_INVARIANTS: constant(uint256) = 16
MAX_GETTER_DATA: constant(uint256) = 100
MAX_PREFIX: constant(uint256) = 68
MAX_WORDS: constant(uint256) = 32

HEADER_SIZE: constant(uint256) = 320
PARAMETER_SIZE: constant(uint256) = 384
READ_SIZE: constant(uint256) = 256
CALL_SIZE: constant(uint256) = 224
INVARIANT_SIZE: constant(uint256) = 128

# Values above are not tuned: products with factors and shares stay far below 2**256.
MAX_VALUE: constant(uint256) = 2**128 - 1

# How a health answer is read.
HEALTH_NONE: constant(uint256) = 0
HEALTH_ABOVE: constant(uint256) = 4


@internal
@view
def _header(policy: address) -> Header:
    """
    @dev The header record.
    """
    return abi_decode(slice(policy.code, 1, HEADER_SIZE), Header)


@internal
@view
def _parameter(policy: address, id: uint256) -> Parameter:
    """
    @dev One parameter's record.
    """
    return abi_decode(slice(policy.code, 1 + HEADER_SIZE + id * PARAMETER_SIZE, PARAMETER_SIZE), Parameter)


@internal
@view
def _read(policy: address, header: Header, index: uint256) -> Read:
    """
    @dev One getter's record.
    """
    start: uint256 = 1 + HEADER_SIZE + header.parameters * PARAMETER_SIZE + index * READ_SIZE
    return abi_decode(slice(policy.code, start, READ_SIZE), Read)


@internal
@view
def _allowed_call(policy: address, header: Header, index: uint256) -> AllowedCall:
    """
    @dev One allowed call's record.
    """
    start: uint256 = 1 + HEADER_SIZE + header.parameters * PARAMETER_SIZE + header.reads * READ_SIZE + index * CALL_SIZE
    return abi_decode(slice(policy.code, start, CALL_SIZE), AllowedCall)


@internal
@view
def _invariant(policy: address, header: Header, index: uint256) -> Invariant:
    """
    @dev One invariant's record.
    """
    start: uint256 = (
        1
        + HEADER_SIZE
        + header.parameters * PARAMETER_SIZE
        + header.reads * READ_SIZE
        + header.calls * CALL_SIZE
        + index * INVARIANT_SIZE
    )
    return abi_decode(slice(policy.code, start, INVARIANT_SIZE), Invariant)


@internal
@pure
def _refuse(id: uint256, rule: String[24]):
    """
    @dev Throws, naming parameter and rule.
    """
    raise concat("risk_steward: parameter ", uint2str(id), ": ", rule)
