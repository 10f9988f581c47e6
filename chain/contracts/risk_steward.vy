# pragma version ~=0.4.3
# pragma optimize gas
# pragma evm-version cancun
# pragma nonreentrancy on
"""
@title Guard between a keeper and the risk parameters of the protocols it tunes
@license AGPL-3.0-only
@notice The steward holds the setter role on each protocol. A change names the sequence and the hash of the
        live values it was computed for, keeps every value inside corridor, step and cooldown, moves coupled
        parameters together, calls only whitelisted selectors, and is read back afterwards: all of it holds or
        nothing happens. It never clamps. A rollback restores the newest version that outlived its probation,
        and only undoes what the steward itself did. Governance (the default admin role) sets the limits and
        may make the live values a proven version, a keeper proposes, a guardian can only pause.
"""

from snekmate.auth import access_control
from snekmate.utils import pausable

from . import risk_policies

initializes: access_control
initializes: pausable
initializes: risk_policies[access_control := access_control]

exports: access_control.__interface__
exports: pausable.paused
exports: risk_policies.__interface__


event Activated:
    market: indexed(bytes32)
    probation: uint256
    values: DynArray[uint256, MAX_PARAMETERS]
    state_hash: bytes32


event Applied:
    market: indexed(bytes32)
    sequence: indexed(uint256)
    context: indexed(bytes32)
    values: DynArray[uint256, MAX_PARAMETERS]
    state_hash: bytes32


event RolledBack:
    market: indexed(bytes32)
    sequence: indexed(uint256)
    context: indexed(bytes32)
    restored_sequence: uint256
    values: DynArray[uint256, MAX_PARAMETERS]
    state_hash: bytes32


event Rebased:
    market: indexed(bytes32)
    sequence: indexed(uint256)
    values: DynArray[uint256, MAX_PARAMETERS]
    state_hash: bytes32


struct Call:
    target: address
    data: Bytes[MAX_CALL_DATA]


struct Version:
    values: DynArray[uint256, MAX_PARAMETERS]
    applied_at: uint256


struct MarketView:
    sequence: uint256
    state_hash: bytes32
    paused: bool
    values: DynArray[uint256, MAX_PARAMETERS]
    last_good: DynArray[uint256, MAX_PARAMETERS]
    minimum: DynArray[uint256, MAX_PARAMETERS]
    maximum: DynArray[uint256, MAX_PARAMETERS]
    max_step_up: DynArray[uint256, MAX_PARAMETERS]
    max_step_down: DynArray[uint256, MAX_PARAMETERS]
    cooldown: DynArray[uint256, MAX_PARAMETERS]
    last_changed: DynArray[uint256, MAX_PARAMETERS]
    group: DynArray[uint256, MAX_PARAMETERS]
    tightening_up: DynArray[bool, MAX_PARAMETERS]


MAX_PARAMETERS: constant(uint256) = risk_policies.MAX_PARAMETERS
MAX_CALLS: constant(uint256) = 8
MAX_CALL_DATA: constant(uint256) = 260
MAX_REASON: constant(uint256) = 512

# @notice Longest probation of a market in seconds.
MAX_PROBATION: public(constant(uint256)) = 30 * 86_400

# @notice May apply changes and roll back.
KEEPER_ROLE: public(constant(bytes32)) = keccak256("KEEPER_ROLE")

# @notice May pause.
GUARDIAN_ROLE: public(constant(bytes32)) = keccak256("GUARDIAN_ROLE")

# @notice Seconds a version must have been live to become one that a rollback restores.
probation: public(HashMap[bytes32, uint256])

# @notice Number of the current version; activation makes version 0.
sequence: public(HashMap[bytes32, uint256])

_versions: HashMap[bytes32, HashMap[uint256, Version]]
# The newest proven version. It is the current one only after activation and rebase, which prove it at once; a
# version that outlives its probation is noted here when the next one follows it.
_last_proven: HashMap[bytes32, uint256]


@deploy
def __init__(governance: address):
    """
    @notice Give the default admin role to governance and to nobody else.
    @param governance The account that sets limits, roles and unpauses; best a timelock.
    """
    access_control.__init__()
    pausable.__init__()
    assert governance != empty(address), "risk_steward: zero governance"
    access_control._revoke_role(access_control.DEFAULT_ADMIN_ROLE, msg.sender)
    access_control._grant_role(access_control.DEFAULT_ADMIN_ROLE, governance)


@external
def pause():
    """
    @notice Stop changes; rollbacks remain possible. Guardian only.
    """
    access_control._check_role(GUARDIAN_ROLE, msg.sender)
    pausable._pause()


@external
def unpause():
    """
    @notice Let changes through again. Governance only.
    """
    risk_policies._check_governance()
    pausable._unpause()


@external
def activate(market: bytes32, probation: uint256):
    """
    @notice Take the live values as version 0 and start to take changes. Governance only.
    @param probation Seconds a later version must have been live to become one that a rollback restores, from
            1 second to 30 days.
    """
    risk_policies._check_governance()
    risk_policies._check_not_active(market)
    assert probation > 0 and probation <= MAX_PROBATION, "risk_steward: probation out of range"
    assert len(risk_policies._policies[market]) > 0, "risk_steward: no parameters"
    live: DynArray[uint256, MAX_PARAMETERS] = self._read_within_limits(market)
    risk_policies.is_active[market] = True
    self.probation[market] = probation
    self._versions[market][0] = Version(values=live, applied_at=block.timestamp)
    hash: bytes32 = risk_policies._hash(market, live)
    log Activated(market=market, probation=probation, values=live, state_hash=hash)


@external
def rebase(market: bytes32):
    """
    @notice Take the live values as a new version, proven at once: what governance changed on the protocol
            itself becomes what a rollback restores. Governance only.
    """
    risk_policies._check_governance()
    risk_policies._check_active(market)
    live: DynArray[uint256, MAX_PARAMETERS] = self._read_within_limits(market)
    self._store(market, live)
    self._last_proven[market] = self.sequence[market]
    hash: bytes32 = risk_policies._hash(market, live)
    log Rebased(market=market, sequence=self.sequence[market], values=live, state_hash=hash)


@external
def apply(
    market: bytes32,
    sequence: uint256,
    state_hash: bytes32,
    changes: DynArray[risk_policies.Change, MAX_PARAMETERS],
    calls: DynArray[Call, MAX_CALLS],
    context: bytes32,
    deadline: uint256,
):
    """
    @notice Change parameters: all of it within every limit, or nothing. Keeper only, not while paused.
    @param sequence The current version's number plus one.
    @param state_hash Hash of the live values that the change was computed for.
    @param changes New values, ids strictly ascending.
    @param calls Calls that bring the values about, in order.
    @param context What the change was decided on; recorded, not judged.
    @param deadline Last Unix second at which the change may be applied.
    """
    pausable._require_not_paused()
    live: DynArray[uint256, MAX_PARAMETERS] = self._check_binding(market, sequence, state_hash, deadline)
    expected: DynArray[uint256, MAX_PARAMETERS] = risk_policies._check_changes(market, live, changes)
    risk_policies._check_invariants(market, expected)
    hash: bytes32 = self._execute(market, live, expected, calls)
    log Applied(market=market, sequence=sequence, context=context, values=expected, state_hash=hash)


@external
def rollback(
    market: bytes32,
    sequence: uint256,
    state_hash: bytes32,
    calls: DynArray[Call, MAX_CALLS],
    context: bytes32,
    deadline: uint256,
):
    """
    @notice Restore exactly the last good version, as a new version. Keeper only, also while paused: it can
            bring about nothing else, and nothing at all once someone else has changed the protocol. Steps and
            cooldowns are waived, corridor and invariants are not.
    @param sequence The current version's number plus one.
    @param state_hash Hash of the live values that are to be undone.
    @param calls Calls that bring the last good values about, in order.
    @param context What the rollback was decided on; recorded, not judged.
    @param deadline Last Unix second at which the rollback may be applied.
    """
    live: DynArray[uint256, MAX_PARAMETERS] = self._check_binding(market, sequence, state_hash, deadline)
    left: DynArray[uint256, MAX_PARAMETERS] = self._versions[market][self.sequence[market]].values
    assert risk_policies._hash(market, left) == state_hash, "risk_steward: changed behind the steward"
    restored: uint256 = self._last_good(market)
    good: DynArray[uint256, MAX_PARAMETERS] = self._versions[market][restored].values
    assert risk_policies._hash(market, good) != state_hash, "risk_steward: already at the last good version"
    risk_policies._check_corridor(market, good)
    risk_policies._check_invariants(market, good)
    hash: bytes32 = self._execute(market, live, good, calls)
    log RolledBack(
        market=market,
        sequence=sequence,
        context=context,
        restored_sequence=restored,
        values=good,
        state_hash=hash,
    )


@external
@view
def market_state(market: bytes32) -> MarketView:
    """
    @notice Everything a keeper's decision reads of a market, its lists in id order.
    """
    state: MarketView = empty(MarketView)
    state.sequence = self.sequence[market]
    state.paused = pausable.paused
    state.values = risk_policies._read_all(market)
    state.state_hash = risk_policies._hash(market, state.values)
    state.last_good = self._versions[market][self._last_good(market)].values
    for id: uint256 in range(len(risk_policies._policies[market]), bound=MAX_PARAMETERS):
        state.minimum.append(risk_policies._policies[market][id].minimum)
        state.maximum.append(risk_policies._policies[market][id].maximum)
        state.max_step_up.append(risk_policies._policies[market][id].max_step_up)
        state.max_step_down.append(risk_policies._policies[market][id].max_step_down)
        state.cooldown.append(risk_policies._policies[market][id].cooldown)
        state.last_changed.append(risk_policies.last_changed[market][id])
        state.group.append(risk_policies._policies[market][id].group)
        state.tightening_up.append(risk_policies._policies[market][id].tightening_up)
    return state


@external
@view
def last_good(market: bytes32) -> (uint256, DynArray[uint256, MAX_PARAMETERS]):
    """
    @notice The version that a rollback would restore now: its sequence and values.
    """
    sequence: uint256 = self._last_good(market)
    return sequence, self._versions[market][sequence].values


@external
@view
def version(market: bytes32, sequence: uint256) -> Version:
    """
    @notice Values and time of a version.
    """
    risk_policies._check_active(market)
    assert sequence <= self.sequence[market], "risk_steward: unknown version"
    return self._versions[market][sequence]


@internal
@view
def _check_binding(
    market: bytes32, sequence: uint256, state_hash: bytes32, deadline: uint256
) -> DynArray[uint256, MAX_PARAMETERS]:
    """
    @dev Compare what the proposal was computed for with what is live; returns the live values.
    """
    access_control._check_role(KEEPER_ROLE, msg.sender)
    risk_policies._check_active(market)
    assert block.timestamp <= deadline, "risk_steward: deadline passed"
    assert sequence == self.sequence[market] + 1, "risk_steward: wrong sequence"
    live: DynArray[uint256, MAX_PARAMETERS] = risk_policies._read_all(market)
    assert state_hash == risk_policies._hash(market, live), "risk_steward: state has changed"
    return live


@internal
def _execute(
    market: bytes32,
    live: DynArray[uint256, MAX_PARAMETERS],
    expected: DynArray[uint256, MAX_PARAMETERS],
    calls: DynArray[Call, MAX_CALLS],
) -> bytes32:
    """
    @dev Make the calls, believe only what the getters say afterwards, store the new version; returns its
            state hash.
    """
    for call: Call in calls:
        self._call(market, call)
    after: DynArray[uint256, MAX_PARAMETERS] = risk_policies._read_all(market)
    for id: uint256 in range(len(after), bound=MAX_PARAMETERS):
        if expected[id] == live[id]:
            assert after[id] == live[id], "risk_steward: untouched parameter moved"
            continue
        assert after[id] == expected[id], "risk_steward: value not in place"
        risk_policies.last_changed[market][id] = block.timestamp
    self._last_proven[market] = self._last_good(market)
    self._store(market, after)
    return risk_policies._hash(market, after)


@internal
def _store(market: bytes32, values: DynArray[uint256, MAX_PARAMETERS]):
    """
    @dev Make the next version.
    """
    self.sequence[market] += 1
    self._versions[market][self.sequence[market]] = Version(values=values, applied_at=block.timestamp)


@internal
@view
def _read_within_limits(market: bytes32) -> DynArray[uint256, MAX_PARAMETERS]:
    """
    @dev Live values. Throws unless they keep corridor and invariants.
    """
    live: DynArray[uint256, MAX_PARAMETERS] = risk_policies._read_all(market)
    risk_policies._check_corridor(market, live)
    risk_policies._check_invariants(market, live)
    return live


@internal
def _call(market: bytes32, call: Call):
    """
    @dev Make one whitelisted call. The target's own reason for refusing is passed on.
    """
    assert len(call.data) >= 4, "risk_steward: call without selector"
    selector: bytes4 = convert(slice(call.data, 0, 4), bytes4)
    assert risk_policies.is_call_allowed[market][call.target][selector], "risk_steward: call not allowed"
    success: bool = False
    reason: Bytes[MAX_REASON] = b""
    success, reason = raw_call(call.target, call.data, max_outsize=MAX_REASON, revert_on_failure=False)
    if not success and len(reason) > 0:
        raw_revert(reason)
    assert success, "risk_steward: call failed"


@internal
@view
def _last_good(market: bytes32) -> uint256:
    """
    @dev The current version once it is proven, before that the newest one that was.
    """
    current: uint256 = self.sequence[market]
    age: uint256 = block.timestamp - self._versions[market][current].applied_at
    return current if age >= self.probation[market] else self._last_proven[market]
