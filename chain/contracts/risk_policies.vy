# pragma version ~=0.4.3
# pragma optimize gas
# pragma evm-version cancun
# pragma nonreentrancy on
"""
@title Policies: what may change in a market, how far, how fast and through which calls
@license AGPL-3.0-only
@notice Each parameter of a market has a getter and limits. Governance sets them; live values are always read
        from the protocol itself.
"""

from snekmate.auth import access_control

uses: access_control


event ParameterAdded:
    market: indexed(bytes32)
    id: indexed(uint256)
    policy: Policy


event LimitsSet:
    market: indexed(bytes32)
    id: indexed(uint256)
    limits: Limits


event CallAllowed:
    market: indexed(bytes32)
    target: indexed(address)
    selector: bytes4
    allowed: bool


event InvariantAdded:
    market: indexed(bytes32)
    a: uint256
    b: uint256


struct Policy:
    target: address
    getter: Bytes[100]  # full calldata of the getter
    word: uint256  # which 32-byte word of the return data holds the value
    minimum: uint256
    maximum: uint256
    max_step_up: uint256  # absolute
    max_step_down: uint256  # absolute
    cooldown: uint256  # seconds
    tightening_up: bool
    group: uint256  # parameters of one group change together; 0 = none


struct Limits:
    minimum: uint256
    maximum: uint256
    max_step_up: uint256
    max_step_down: uint256
    cooldown: uint256


struct Invariant:
    a: uint256
    b: uint256


struct Change:
    id: uint256
    value: uint256


MAX_PARAMETERS: constant(uint256) = 16
MAX_INVARIANTS: constant(uint256) = 16
MAX_WORDS: constant(uint256) = 32
MAX_RETURN_DATA: constant(uint256) = 32 * MAX_WORDS

# @notice Whether a change of the market may call this selector on this target.
is_call_allowed: public(HashMap[bytes32, HashMap[address, HashMap[bytes4, bool]]])

# @notice Whether the market takes changes; the set of its parameters is fixed from then on.
is_active: public(HashMap[bytes32, bool])

# @notice When the steward last changed a parameter of a market, Unix seconds; 0 = never.
last_changed: public(HashMap[bytes32, HashMap[uint256, uint256]])

_policies: HashMap[bytes32, DynArray[Policy, MAX_PARAMETERS]]
_invariants: HashMap[bytes32, DynArray[Invariant, MAX_INVARIANTS]]


@external
def add_parameter(market: bytes32, policy: Policy) -> uint256:
    """
    @notice Register the market's next parameter. Governance only, before activation.
    @return Its id, sequential from 0.
    """
    self._check_governance()
    self._check_not_active(market)
    assert policy.word < MAX_WORDS, "risk_steward: word out of range"
    assert policy.minimum <= policy.maximum, "risk_steward: empty corridor"
    assert len(self._policies[market]) < MAX_PARAMETERS, "risk_steward: too many parameters"
    id: uint256 = len(self._policies[market])
    self._policies[market].append(policy)
    log ParameterAdded(market=market, id=id, policy=policy)
    return id


@external
def set_limits(market: bytes32, id: uint256, limits: Limits):
    """
    @notice Replace a parameter's limits. Governance only. The live value must lie inside the new corridor.
    """
    self._check_governance()
    self._check_known(market, id)
    live: uint256 = self._read(market, id)
    assert limits.minimum <= live and live <= limits.maximum, "risk_steward: live value outside corridor"
    self._policies[market][id].minimum = limits.minimum
    self._policies[market][id].maximum = limits.maximum
    self._policies[market][id].max_step_up = limits.max_step_up
    self._policies[market][id].max_step_down = limits.max_step_down
    self._policies[market][id].cooldown = limits.cooldown
    log LimitsSet(market=market, id=id, limits=limits)


@external
def allow_call(market: bytes32, target: address, selector: bytes4, allowed: bool):
    """
    @notice Allow or forbid changes of the market to call a selector on a target. Governance only.
    """
    self._check_governance()
    assert target.is_contract, "risk_steward: target is no contract"
    assert target != self, "risk_steward: target is the steward"
    self.is_call_allowed[market][target][selector] = allowed
    log CallAllowed(market=market, target=target, selector=selector, allowed=allowed)


@external
def add_invariant(market: bytes32, a: uint256, b: uint256):
    """
    @notice Demand value[a] ≤ value[b] after every change. Governance only. The live values must comply.
    """
    self._check_governance()
    self._check_known(market, a)
    self._check_known(market, b)
    assert len(self._invariants[market]) < MAX_INVARIANTS, "risk_steward: too many invariants"
    assert self._read(market, a) <= self._read(market, b), "risk_steward: invariant broken"
    self._invariants[market].append(Invariant(a=a, b=b))
    log InvariantAdded(market=market, a=a, b=b)


@external
@view
def parameter_count(market: bytes32) -> uint256:
    """
    @notice Number of registered parameters.
    """
    return len(self._policies[market])


@external
@view
def policy(market: bytes32, id: uint256) -> Policy:
    """
    @notice A parameter's getter and limits.
    """
    self._check_known(market, id)
    return self._policies[market][id]


@external
@view
def values(market: bytes32) -> DynArray[uint256, MAX_PARAMETERS]:
    """
    @notice Live values in id order, read from the protocol.
    """
    return self._read_all(market)


@external
@view
def state_hash(market: bytes32) -> bytes32:
    """
    @notice keccak256(abi.encode(steward, chain id, market, live values)).
    """
    return self._hash(market, self._read_all(market))


@external
@view
def invariants(market: bytes32) -> DynArray[Invariant, MAX_INVARIANTS]:
    """
    @notice The market's invariants, each value[a] ≤ value[b].
    """
    return self._invariants[market]


@internal
@view
def _check_governance():
    """
    @dev Throws if the sender is not governance.
    """
    access_control._check_role(access_control.DEFAULT_ADMIN_ROLE, msg.sender)


@internal
@view
def _check_active(market: bytes32):
    """
    @dev Throws if the market takes no changes.
    """
    assert self.is_active[market], "risk_steward: market not active"


@internal
@view
def _check_not_active(market: bytes32):
    """
    @dev Throws if the market's parameters are fixed.
    """
    assert not self.is_active[market], "risk_steward: market already active"


@internal
@view
def _check_known(market: bytes32, id: uint256):
    """
    @dev Throws if the market has no such parameter.
    """
    assert id < len(self._policies[market]), "risk_steward: unknown parameter"


@internal
@view
def _check_changes(
    market: bytes32, live: DynArray[uint256, MAX_PARAMETERS], changes: DynArray[Change, MAX_PARAMETERS]
) -> DynArray[uint256, MAX_PARAMETERS]:
    """
    @dev Every rule on proposed values; returns all values as they will be.
    """
    expected: DynArray[uint256, MAX_PARAMETERS] = live
    named: uint256 = 0  # bit i: parameter i is in the batch
    differs: bool = False
    for change: Change in changes:
        self._check_known(market, change.id)
        # A repeated id would be measured against the value just proposed and walk past the step limit.
        assert named >> change.id == 0, "risk_steward: ids not strictly ascending"
        named |= 1 << change.id
        self._check_value(market, change.id, change.value)
        if change.value != live[change.id]:
            differs = True
            self._check_step(market, change.id, live[change.id], change.value)
        expected[change.id] = change.value
    assert differs, "risk_steward: nothing changes"
    self._check_groups(market, named)
    return expected


@internal
@view
def _check_value(market: bytes32, id: uint256, proposed: uint256):
    """
    @dev Throws unless minimum ≤ proposed ≤ maximum.
    """
    assert self._policies[market][id].minimum <= proposed, "risk_steward: value below corridor"
    assert proposed <= self._policies[market][id].maximum, "risk_steward: value above corridor"


@internal
@view
def _check_step(market: bytes32, id: uint256, live: uint256, proposed: uint256):
    """
    @dev Throws if the step is too large or comes too soon after the last.
    """
    if proposed > live:
        assert proposed - live <= self._policies[market][id].max_step_up, "risk_steward: step too large"
    else:
        assert live - proposed <= self._policies[market][id].max_step_down, "risk_steward: step too large"
    changed_at: uint256 = self.last_changed[market][id]
    if changed_at != 0:
        elapsed: uint256 = block.timestamp - changed_at
        assert elapsed >= self._policies[market][id].cooldown, "risk_steward: cooldown not over"


@internal
@view
def _check_groups(market: bytes32, named: uint256):
    """
    @dev Throws if the batch names one parameter of a group and leaves out another.
    """
    count: uint256 = len(self._policies[market])
    for id: uint256 in range(count, bound=MAX_PARAMETERS):
        group: uint256 = self._policies[market][id].group
        if group == 0 or (named >> id) & 1 == 0:
            continue
        for other: uint256 in range(count, bound=MAX_PARAMETERS):
            if self._policies[market][other].group == group:
                assert (named >> other) & 1 == 1, "risk_steward: group incomplete"


@internal
@view
def _check_corridor(market: bytes32, values: DynArray[uint256, MAX_PARAMETERS]):
    """
    @dev Throws unless every value lies inside its corridor.
    """
    for id: uint256 in range(len(values), bound=MAX_PARAMETERS):
        self._check_value(market, id, values[id])


@internal
@view
def _check_invariants(market: bytes32, values: DynArray[uint256, MAX_PARAMETERS]):
    """
    @dev Throws unless value[a] ≤ value[b] for every invariant.
    """
    for item: Invariant in self._invariants[market]:
        assert values[item.a] <= values[item.b], "risk_steward: invariant broken"


@internal
@view
def _read_all(market: bytes32) -> DynArray[uint256, MAX_PARAMETERS]:
    """
    @dev Live values in id order.
    """
    live: DynArray[uint256, MAX_PARAMETERS] = []
    for id: uint256 in range(len(self._policies[market]), bound=MAX_PARAMETERS):
        live.append(self._read(market, id))
    return live


@internal
@view
def _read(market: bytes32, id: uint256) -> uint256:
    """
    @dev One live value: a word of what its getter returns.
    """
    success: bool = False
    data: Bytes[MAX_RETURN_DATA] = b""
    success, data = raw_call(
        self._policies[market][id].target,
        self._policies[market][id].getter,
        max_outsize=MAX_RETURN_DATA,
        is_static_call=True,
        revert_on_failure=False,
    )
    start: uint256 = 32 * self._policies[market][id].word
    assert success and len(data) >= start + 32, "risk_steward: getter failed"
    return extract32(data, start, output_type=uint256)


@internal
@view
def _hash(market: bytes32, values: DynArray[uint256, MAX_PARAMETERS]) -> bytes32:
    """
    @dev Binds the values to this steward, chain and market.
    """
    return keccak256(abi_encode(self, chain.id, market, values))
