# pragma version ~=0.4.3
# pragma optimize gas
# pragma evm-version cancun
"""
@title Registry of stored policies
@license AGPL-3.0-only
@notice Stores a policy as contract code, see policy.vy, after every record was found to make sense on its own.
        Anyone may store one; it does nothing until governance puts it into force at a steward. There is no owner.
"""

from . import policy


event PolicyStored:
    policy: indexed(address)
    author: indexed(address)


MAX_BLOB: constant(uint256) = 14_336
MAX_FACTOR: constant(uint256) = 2**127
MAX_PROBATION: constant(uint256) = 30 * 86_400
MAX_SECONDS: constant(uint256) = 366 * 86_400

# Copies what follows it into the code of a new contract, behind a STOP byte.
_CREATE: constant(Bytes[12]) = x"600B5981380380925939F300"

# @notice Whether an address holds a policy that was stored here, and so can never change.
is_stored: public(HashMap[address, bool])


@external
def store(blob: Bytes[MAX_BLOB]) -> address:
    """
    @notice Store a policy. Throws unless every record makes sense on its own.
    @param blob The records, see policy.vy.
    @return Where it stands.
    """
    stored: address = raw_create(concat(_CREATE, blob))
    self._check(stored)
    self.is_stored[stored] = True
    log PolicyStored(policy=stored, author=msg.sender)
    return stored


@external
@view
def header(stored: address) -> policy.Header:
    """
    @notice A stored policy's header.
    """
    return self._header(stored)


@external
@view
def parameter(stored: address, id: uint256) -> policy.Parameter:
    """
    @notice The limits that a stored policy sets a parameter.
    """
    assert id < self._header(stored).parameters, "policy_registry: unknown parameter"
    return policy._parameter(stored, id)


@external
@view
def read(stored: address, index: uint256) -> policy.Read:
    """
    @notice A getter of a stored policy.
    """
    header: policy.Header = self._header(stored)
    assert index < header.reads, "policy_registry: unknown read"
    return policy._read(stored, header, index)


@external
@view
def allowed_call(stored: address, index: uint256) -> policy.AllowedCall:
    """
    @notice A call that a stored policy allows.
    """
    header: policy.Header = self._header(stored)
    assert index < header.calls, "policy_registry: unknown call"
    return policy._allowed_call(stored, header, index)


@external
@view
def invariant(stored: address, index: uint256) -> policy.Invariant:
    """
    @notice An ordering that a stored policy demands.
    """
    header: policy.Header = self._header(stored)
    assert index < header.invariants, "policy_registry: unknown invariant"
    return policy._invariant(stored, header, index)


@internal
@view
def _header(stored: address) -> policy.Header:
    """
    @dev A stored policy's header. Throws for any other address.
    """
    assert self.is_stored[stored], "policy_registry: not stored here"
    return policy._header(stored)


@internal
@view
def _check(stored: address):
    """
    @dev Throws unless every record makes sense on its own.
    """
    assert stored.codesize > policy.HEADER_SIZE, "policy_registry: wrong size"
    header: policy.Header = policy._header(stored)
    self._check_header(stored, header)
    for id: uint256 in range(header.parameters, bound=policy.MAX_PARAMETERS):
        self._check_parameter(header, id, policy._parameter(stored, id))
    for index: uint256 in range(header.reads, bound=policy.MAX_READS):
        getter: policy.Read = policy._read(stored, header, index)
        assert getter.target.is_contract and len(getter.data) >= 4, "policy_registry: bad read"
    for index: uint256 in range(header.calls, bound=policy.MAX_ALLOWED_CALLS):
        call: policy.AllowedCall = policy._allowed_call(stored, header, index)
        assert call.target.is_contract and len(call.prefix) >= 4, "policy_registry: bad call"
        assert call.target != header.executor, "policy_registry: target is the executor"
    for index: uint256 in range(header.invariants, bound=policy.MAX_INVARIANTS):
        self._check_invariant(header, policy._invariant(stored, header, index))


@internal
@view
def _check_header(stored: address, header: policy.Header):
    """
    @dev Counts within bounds and true to the size, a probation that ends, a health rule that exists.
    """
    assert header.parameters > 0, "policy_registry: no parameters"
    assert header.parameters <= policy.MAX_PARAMETERS, "policy_registry: too many parameters"
    assert header.reads <= policy.MAX_READS, "policy_registry: too many reads"
    assert header.calls <= policy.MAX_ALLOWED_CALLS, "policy_registry: too many calls"
    assert header.invariants <= policy.MAX_INVARIANTS, "policy_registry: too many invariants"
    size: uint256 = (
        1
        + policy.HEADER_SIZE
        + header.parameters * policy.PARAMETER_SIZE
        + header.reads * policy.READ_SIZE
        + header.calls * policy.CALL_SIZE
        + header.invariants * policy.INVARIANT_SIZE
    )
    assert stored.codesize == size, "policy_registry: wrong size"
    assert header.probation > 0 and header.probation <= MAX_PROBATION, "policy_registry: probation out of range"
    mode: uint256 = header.health_rule & 255
    assert mode <= policy.HEALTH_ABOVE, "policy_registry: bad health rule"
    assert header.health_rule >> 8 < policy.MAX_WORDS, "policy_registry: bad health rule"
    if mode != policy.HEALTH_NONE:
        assert header.health_target.is_contract, "policy_registry: bad health rule"
    if header.executor != empty(address):
        assert header.executor.is_contract, "policy_registry: bad executor"


@internal
@pure
def _check_parameter(header: policy.Header, id: uint256, parameter: policy.Parameter):
    """
    @dev A corridor that is not empty, limits that the arithmetic holds, positions and couplings that exist.
    """
    position: uint256 = header.layout >> (16 * id)
    if (position >> 8) & 255 >= header.reads or position & 255 >= policy.MAX_WORDS:
        self._refuse(id, "unknown read")
    if parameter.minimum > parameter.maximum or parameter.maximum > policy.MAX_VALUE:
        self._refuse(id, "bad corridor")
    if max(parameter.max_step_up, parameter.max_step_down) > policy.MAX_VALUE:
        self._refuse(id, "step limit too large")
    if parameter.drift_budget > policy.MAX_VALUE:
        self._refuse(id, "drift budget too large")
    if max(max(parameter.cooldown, parameter.drift_window), parameter.notice) > MAX_SECONDS:
        self._refuse(id, "longer than a year")
    if parameter.coupled >> header.parameters != 0:
        self._refuse(id, "unknown coupling")


@internal
@pure
def _check_invariant(header: policy.Header, item: policy.Invariant):
    """
    @dev Between known parameters, with factors that the arithmetic holds.
    """
    assert max(item.a, item.b) < header.parameters, "policy_registry: invariant of unknown parameter"
    assert min(item.factor_a, item.factor_b) > 0, "policy_registry: invariant factor is zero"
    assert max(item.factor_a, item.factor_b) <= MAX_FACTOR, "policy_registry: invariant factor too large"


@internal
@pure
def _refuse(id: uint256, rule: String[24]):
    """
    @dev Throws, naming parameter and rule.
    """
    raise concat("policy_registry: parameter ", uint2str(id), ": ", rule)
