# pragma version ~=0.4.3
# pragma optimize gas
# pragma evm-version cancun
"""
@title Policy: what may change in a market, how far, how fast and through which calls
@license AGPL-3.0-only
@notice A policy is stored as the code of a contract that cannot run: a STOP byte, then records of fixed size. It
        can never change, it can be read in full before it comes into force, and one cold account read brings all
        of it at every later use. Each record is the ABI encoding of its struct, padded with zeros to its size:
        the policy itself, then reads, setters and invariants, as many as it says.
"""


struct Policy:
    executor: address  # a Safe that has the steward as a module and makes the calls; zero: the steward itself
    probation: uint256  # seconds a version must have been live before a rollback may restore it
    layout: uint256  # 16 bits a parameter, id 0 lowest: index of its read, then word of the answer
    parameters: uint256
    reads: uint256
    setters: uint256
    invariants: uint256
    health_target: address
    health_rule: uint256  # word of the answer, then mode in the lowest 8 bits
    health_selector: bytes4
    quorum: uint256[QUORUM_WORDS]  # how many signatures a change needs, then the signers, ascending, zeros after them
    rules: uint256[RULE_WORDS]  # of every parameter, see below, zeros after the last


struct Parameter:  # three words, packed in this order, highest bits first
    minimum: uint256  # 128 bits
    maximum: uint256  # 128 bits
    max_step_up: uint256  # 128 bits
    max_step_down: uint256  # 128 bits
    drift_budget: uint256  # 128 bits: most movement in any window, absolute
    drift_window: uint256  # 32 bits, seconds in whole minutes; 0 = no budget
    cooldown: uint256  # 32 bits, seconds
    notice: uint256  # 32 bits, seconds that a tightening must have been announced; 0 = none
    relative: bool  # 1 bit: steps are basis points of the live value, else absolute
    tightening_up: bool  # 1 bit
    reversible: bool  # 1 bit
    coupled: uint256  # 16 bits; bit i: a batch that names this parameter must name parameter i


struct Read:
    target: address
    data: Bytes[MAX_GETTER_DATA]


struct Setter:
    target: address
    selector: bytes4
    words: uint256  # of its arguments
    writes: uint256  # bit i: writes parameter i
    sources: uint256  # 8 bits a word, the first lowest: the parameter whose value stands there, 255 = the constant
    constants: uint256[MAX_ARGUMENT_WORDS]


struct Invariant:
    a: uint256
    factor_a: uint256
    b: uint256
    factor_b: uint256


MAX_PARAMETERS: constant(uint256) = 16
MAX_SIGNERS: constant(uint256) = 16
MAX_READS: constant(uint256) = 16
MAX_SETTERS: constant(uint256) = 8
MAX_INVARIANTS: constant(uint256) = 16
MAX_GETTER_DATA: constant(uint256) = 100
MAX_ARGUMENT_WORDS: constant(uint256) = 12
MAX_CALL_DATA: constant(uint256) = 388
FIXED: constant(uint256) = 255
MAX_WORDS: constant(uint256) = 32

QUORUM_WORDS: constant(uint256) = 17
RULE_WORDS: constant(uint256) = 48
POLICY_SIZE: constant(uint256) = 2_400
READ_SIZE: constant(uint256) = 192
SETTER_SIZE: constant(uint256) = 544
INVARIANT_SIZE: constant(uint256) = 128

RELATIVE: constant(uint256) = 2**18
TIGHTENING_UP: constant(uint256) = 2**17
REVERSIBLE: constant(uint256) = 2**16
MASK_16: constant(uint256) = 2**16 - 1
MASK_32: constant(uint256) = 2**32 - 1

# Values above are not tuned: products with factors and shares stay far below 2**256.
MAX_VALUE: constant(uint256) = 2**128 - 1

# How a health answer is read.
HEALTH_NONE: constant(uint256) = 0
HEALTH_ABOVE: constant(uint256) = 4


@internal
@view
def _load(stored: address) -> Policy:
    """
    @dev A policy but for reads, setters and invariants.
    """
    return abi_decode(slice(stored.code, 1, POLICY_SIZE), Policy)


@internal
@view
def _read(stored: address, index: uint256) -> Read:
    """
    @dev One getter's record.
    """
    record: Bytes[READ_SIZE] = slice(stored.code, 1 + POLICY_SIZE + index * READ_SIZE, READ_SIZE)
    size: uint256 = extract32(record, 32, output_type=uint256)
    return Read(
        target=extract32(record, 0, output_type=address),
        data=convert(slice(record, 64, size), Bytes[MAX_GETTER_DATA]),
    )


@internal
@view
def _setter(stored: address, reads: uint256, index: uint256) -> Setter:
    """
    @dev One setter's record; it stands behind the reads.
    """
    start: uint256 = 1 + POLICY_SIZE + reads * READ_SIZE + index * SETTER_SIZE
    return abi_decode(slice(stored.code, start, SETTER_SIZE), Setter)


@internal
@view
def _invariant(stored: address, reads: uint256, setters: uint256, index: uint256) -> Invariant:
    """
    @dev One invariant's record; it stands behind reads and setters.
    """
    start: uint256 = 1 + POLICY_SIZE + reads * READ_SIZE + setters * SETTER_SIZE + index * INVARIANT_SIZE
    return abi_decode(slice(stored.code, start, INVARIANT_SIZE), Invariant)


@internal
@pure
def _refuse(id: uint256, rule: String[24]):
    """
    @dev Throws, naming parameter and rule.
    """
    raise concat("risk_steward: parameter ", uint2str(id), ": ", rule)


@internal
@pure
def _refuse_first(ids: uint256, rule: String[24]):
    """
    @dev Throws, naming the lowest of some parameters, bit i for parameter i, and rule.
    """
    for id: uint256 in range(MAX_PARAMETERS):
        if (ids >> id) & 1 == 1:
            self._refuse(id, rule)
