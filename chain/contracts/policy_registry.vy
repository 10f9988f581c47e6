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


MAX_BLOB: constant(uint256) = 11_904
MAX_FACTOR: constant(uint256) = 2**127
MAX_PROBATION: constant(uint256) = 30 * 86_400
MAX_SECONDS: constant(uint256) = 366 * 86_400

ADDRESS_MASK: constant(uint256) = 2**160 - 1

# The bits of a rule's third word that mean nothing.
UNUSED: constant(uint256) = 2**32 - 2**19

# Copies what follows it into the code of a new contract, behind a STOP byte.
_CREATE: constant(Bytes[12]) = x"600B5981380380925939F300"

# @notice Whether an address holds a policy that was stored here, and so can never change.
is_stored: public(HashMap[address, bool])


@external
def store(blob: Bytes[MAX_BLOB]) -> address:
    """
    @notice Store a policy. Throws unless every record makes sense on its own. Its address follows from its content, on
            every fork of the chain; storing it again changes nothing.
    @param blob The records, see policy.vy.
    @return Where it stands.
    """
    creation: Bytes[MAX_BLOB + 12] = concat(_CREATE, blob)
    digest: bytes32 = keccak256(concat(0xff, convert(self, bytes20), empty(bytes32), keccak256(creation)))
    stored: address = convert(convert(digest, uint256) & ADDRESS_MASK, address)
    if not self.is_stored[stored]:
        assert raw_create(creation, salt=empty(bytes32)) == stored, "policy_registry: wrong address"
        self._check(stored)
        self.is_stored[stored] = True
    log PolicyStored(policy=stored, author=msg.sender)
    return stored


@external
@view
def policy_at(stored: address) -> policy.Policy:
    """
    @notice A stored policy but for reads, setters and invariants.
    """
    return self._load(stored)


@external
@view
def parameter(stored: address, id: uint256) -> policy.Parameter:
    """
    @notice The limits that a stored policy sets a parameter.
    """
    loaded: policy.Policy = self._load(stored)
    assert id < loaded.parameters, "policy_registry: unknown parameter"
    return self._parameter(loaded.rules, id)


@external
@view
def read(stored: address, index: uint256) -> policy.Read:
    """
    @notice A getter of a stored policy.
    """
    loaded: policy.Policy = self._load(stored)
    assert index < loaded.reads, "policy_registry: unknown read"
    return policy._read(stored, index)


@external
@view
def setter(stored: address, index: uint256) -> policy.Setter:
    """
    @notice A setter of a stored policy.
    """
    loaded: policy.Policy = self._load(stored)
    assert index < loaded.setters, "policy_registry: unknown setter"
    return policy._setter(stored, loaded.reads, index)


@external
@view
def invariant(stored: address, index: uint256) -> policy.Invariant:
    """
    @notice An ordering that a stored policy demands.
    """
    loaded: policy.Policy = self._load(stored)
    assert index < loaded.invariants, "policy_registry: unknown invariant"
    return policy._invariant(stored, loaded.reads, loaded.setters, index)


@external
@view
def reads_alike(one: address, other: address) -> bool:
    """
    @notice Whether two stored policies read the same parameters in the same way.
    """
    a: policy.Policy = self._load(one)
    b: policy.Policy = self._load(other)
    if a.layout != b.layout or a.parameters != b.parameters or a.reads != b.reads:
        return False
    for index: uint256 in range(a.reads, bound=policy.MAX_READS):
        if keccak256(abi_encode(policy._read(one, index))) != keccak256(abi_encode(policy._read(other, index))):
            return False
    return True


@external
@view
def quorum(stored: address) -> (uint256, DynArray[address, policy.MAX_SIGNERS]):
    """
    @notice How many signatures a change needs under a stored policy, and of whom.
    """
    assert self.is_stored[stored], "policy_registry: not stored here"
    words: uint256[policy.QUORUM_WORDS] = policy._load(stored).quorum
    signers: DynArray[address, policy.MAX_SIGNERS] = []
    for index: uint256 in range(1, policy.QUORUM_WORDS):
        if words[index] != 0:
            signers.append(convert(words[index], address))
    return words[0], signers


@internal
@view
def _load(stored: address) -> policy.Policy:
    """
    @dev A stored policy. Throws for any other address.
    """
    assert self.is_stored[stored], "policy_registry: not stored here"
    return policy._load(stored)


@internal
@pure
def _parameter(rules: uint256[policy.RULE_WORDS], id: uint256) -> policy.Parameter:
    """
    @dev A parameter's rules, unpacked.
    """
    corridor: uint256 = rules[3 * id]
    steps: uint256 = rules[3 * id + 1]
    rest: uint256 = rules[3 * id + 2]
    return policy.Parameter(
        minimum=corridor >> 128,
        maximum=corridor & policy.MAX_VALUE,
        max_step_up=steps >> 128,
        max_step_down=steps & policy.MAX_VALUE,
        drift_budget=rest >> 128,
        drift_window=(rest >> 96) & policy.MASK_32,
        cooldown=(rest >> 64) & policy.MASK_32,
        notice=(rest >> 32) & policy.MASK_32,
        relative=rest & policy.RELATIVE != 0,
        tightening_up=rest & policy.TIGHTENING_UP != 0,
        reversible=rest & policy.REVERSIBLE != 0,
        coupled=rest & policy.MASK_16,
    )


@internal
@view
def _check(stored: address):
    """
    @dev Throws unless every record makes sense on its own.
    """
    assert stored.codesize > policy.POLICY_SIZE, "policy_registry: wrong size"
    loaded: policy.Policy = policy._load(stored)
    self._check_frame(stored, loaded)
    self._check_quorum(loaded.quorum)
    for word: uint256 in range(policy.RULE_WORDS):
        rule: uint256 = loaded.rules[word]
        id: uint256 = word // 3
        if id >= loaded.parameters:
            assert rule == 0, "policy_registry: rules beyond the last parameter"
        elif word % 3 == 2 and rule & UNUSED != 0:
            self._refuse(id, "unused bits set")
    for id: uint256 in range(loaded.parameters, bound=policy.MAX_PARAMETERS):
        self._check_parameter(loaded, id, self._parameter(loaded.rules, id))
    for index: uint256 in range(loaded.reads, bound=policy.MAX_READS):
        getter: policy.Read = policy._read(stored, index)
        assert getter.target.is_contract and len(getter.data) >= 4, "policy_registry: bad read"
    written: uint256 = 0  # bit i: parameter i has a setter
    for index: uint256 in range(loaded.setters, bound=policy.MAX_SETTERS):
        setter: policy.Setter = policy._setter(stored, loaded.reads, index)
        self._check_setter(loaded, setter)
        assert written & setter.writes == 0, "policy_registry: parameter with two setters"
        written |= setter.writes
    assert written == (1 << loaded.parameters) - 1, "policy_registry: parameter without setter"
    for index: uint256 in range(loaded.invariants, bound=policy.MAX_INVARIANTS):
        self._check_invariant(loaded, policy._invariant(stored, loaded.reads, loaded.setters, index))


@internal
@view
def _check_frame(stored: address, loaded: policy.Policy):
    """
    @dev Counts within bounds and true to the size, a probation that ends, a health rule that exists.
    """
    assert loaded.parameters > 0, "policy_registry: no parameters"
    assert loaded.parameters <= policy.MAX_PARAMETERS, "policy_registry: too many parameters"
    assert loaded.reads <= policy.MAX_READS, "policy_registry: too many reads"
    assert loaded.setters <= policy.MAX_SETTERS, "policy_registry: too many setters"
    assert loaded.invariants <= policy.MAX_INVARIANTS, "policy_registry: too many invariants"
    size: uint256 = (
        1
        + policy.POLICY_SIZE
        + loaded.reads * policy.READ_SIZE
        + loaded.setters * policy.SETTER_SIZE
        + loaded.invariants * policy.INVARIANT_SIZE
    )
    assert stored.codesize == size, "policy_registry: wrong size"
    assert loaded.probation > 0 and loaded.probation <= MAX_PROBATION, "policy_registry: probation out of range"
    mode: uint256 = loaded.health_rule & 255
    assert mode <= policy.HEALTH_ABOVE, "policy_registry: bad health rule"
    assert loaded.health_rule >> 8 < policy.MAX_WORDS, "policy_registry: bad health rule"
    if mode != policy.HEALTH_NONE:
        assert loaded.health_target.is_contract, "policy_registry: bad health rule"
    if loaded.executor != empty(address):
        assert loaded.executor.is_contract, "policy_registry: bad executor"


@internal
@pure
def _check_quorum(words: uint256[policy.QUORUM_WORDS]):
    """
    @dev Signers strictly ascending, at least as many as the threshold, that at least one.
    """
    count: uint256 = 0
    last: uint256 = 0
    for index: uint256 in range(1, policy.QUORUM_WORDS):
        signer: uint256 = words[index]
        if signer != 0:
            assert signer < 2**160, "policy_registry: signer is no address"
            assert index == count + 1 and signer > last, "policy_registry: signers not strictly ascending"
            count += 1
            last = signer
    assert words[0] > 0 and words[0] <= count, "policy_registry: threshold out of range"


@internal
@pure
def _check_parameter(loaded: policy.Policy, id: uint256, parameter: policy.Parameter):
    """
    @dev A corridor that is not empty, times that make sense, a position and couplings that exist.
    """
    position: uint256 = loaded.layout >> (16 * id)
    if (position >> 8) & 255 >= loaded.reads or position & 255 >= policy.MAX_WORDS:
        self._refuse(id, "unknown read")
    if parameter.minimum > parameter.maximum:
        self._refuse(id, "bad corridor")
    if max(max(parameter.cooldown, parameter.drift_window), parameter.notice) > MAX_SECONDS:
        self._refuse(id, "longer than a year")
    if parameter.drift_window % 60 != 0:
        self._refuse(id, "window not in minutes")
    if parameter.coupled >> loaded.parameters != 0:
        self._refuse(id, "unknown coupling")


@internal
@view
def _check_setter(loaded: policy.Policy, setter: policy.Setter):
    """
    @dev On a contract that is not the executor; arguments of known parameters, exactly those that it says it writes.
    """
    assert setter.target.is_contract, "policy_registry: bad setter"
    assert setter.target != loaded.executor, "policy_registry: target is the executor"
    assert setter.words <= policy.MAX_ARGUMENT_WORDS, "policy_registry: bad setter"
    named: uint256 = 0
    for word: uint256 in range(setter.words, bound=policy.MAX_ARGUMENT_WORDS):
        id: uint256 = (setter.sources >> (8 * word)) & 255
        if id != policy.FIXED:
            assert id < loaded.parameters, "policy_registry: setter of unknown parameter"
            named |= 1 << id
    assert named == setter.writes, "policy_registry: setter does not write what it says"


@internal
@pure
def _check_invariant(loaded: policy.Policy, item: policy.Invariant):
    """
    @dev Between known parameters, with factors that the arithmetic holds.
    """
    assert max(item.a, item.b) < loaded.parameters, "policy_registry: invariant of unknown parameter"
    assert min(item.factor_a, item.factor_b) > 0, "policy_registry: invariant factor is zero"
    assert max(item.factor_a, item.factor_b) <= MAX_FACTOR, "policy_registry: invariant factor too large"


@internal
@pure
def _refuse(id: uint256, rule: String[24]):
    """
    @dev Throws, naming parameter and rule.
    """
    raise concat("policy_registry: parameter ", uint2str(id), ": ", rule)
