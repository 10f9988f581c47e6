# pragma version ~=0.4.3
# pragma optimize gas
# pragma evm-version cancun
# pragma nonreentrancy on
"""
@title Guard between a quorum of keepers and the risk parameters of the protocols it tunes
@license AGPL-3.0-only
@notice The steward holds the setter role on each protocol, or is a module of the Safe that does. A change is a
        message that k of n keepers signed for exactly one chain, steward, market, sequence and live state. It
        keeps every value inside corridor, step, cooldown and drift budget, moves coupled parameters together,
        was announced where notice is due, makes only the calls that the policy describes, is read back
        afterwards, and makes no more of the accounts it names liquidatable than it says: all of it holds or
        nothing happens. It never clamps. A rollback restores the newest version that outlived its probation,
        and only undoes what the steward itself did. Governance (the default admin role, a timelock) sets
        policies and signers and may make any call as the steward, a guardian pauses and vetoes what was
        announced; neither can pass a limit by `submit`.
"""

from snekmate.auth import access_control

from . import attestation
from . import limits
from . import policy
from . import snapshots
from . import targets

initializes: access_control
initializes: limits
initializes: snapshots

exports: (
    access_control.DEFAULT_ADMIN_ROLE,
    access_control.hasRole,
    access_control.grantRole,
    access_control.revokeRole,
)


interface IPolicyRegistry:
    def is_stored(policy: address) -> bool: view
    def reads_alike(one: address, other: address) -> bool: view


event PolicySet:
    market: indexed(bytes32)
    policy: indexed(address)


event Activated:
    market: indexed(bytes32)
    values: DynArray[uint256, MAX_PARAMETERS]
    state_hash: bytes32


event Announced:
    market: indexed(bytes32)
    sequence: indexed(uint256)
    digest: indexed(bytes32)
    ids: DynArray[uint256, MAX_PARAMETERS]
    values: DynArray[uint256, MAX_PARAMETERS]
    applicable_at: uint256


event Vetoed:
    digest: indexed(bytes32)


event Applied:
    market: indexed(bytes32)
    sequence: indexed(uint256)
    input_root: indexed(bytes32)
    values: DynArray[uint256, MAX_PARAMETERS]


event RolledBack:
    market: indexed(bytes32)
    sequence: indexed(uint256)
    input_root: indexed(bytes32)
    values: DynArray[uint256, MAX_PARAMETERS]


event Rebased:
    market: indexed(bytes32)
    sequence: indexed(uint256)
    values: DynArray[uint256, MAX_PARAMETERS]
    state_hash: bytes32


event StatusSet:
    market: indexed(bytes32)
    status: indexed(uint256)  # 1 active, 2 retired, 3 paused
    account: indexed(address)


event HandedOn:
    target: indexed(address)
    data: Bytes[policy.MAX_CALL_DATA]


struct MarketView:
    status: uint256  # 0 inactive, 1 active, 2 retired, 3 paused
    policy: address
    sequence: uint256
    applied_at: uint256
    version_hash: bytes32  # of the current version; differs from state_hash after a change behind the steward
    good_hash: bytes32
    good_at: uint256  # Unix seconds
    state_hash: bytes32
    values: DynArray[uint256, MAX_PARAMETERS]
    states: uint256[3]  # see limits.vy


MAX_PARAMETERS: constant(uint256) = policy.MAX_PARAMETERS
MAX_MARKETS: constant(uint256) = 32

# What is done with a message, in the lowest 4 bits; above them the order of the setters, see targets.vy.
APPLY: constant(uint256) = 0
ANNOUNCE: constant(uint256) = 1
ROLLBACK: constant(uint256) = 2
ACTION_MASK: constant(uint256) = 15

# An announcement's deadline is judged no later: what the steward remembers has no later minute.
LAST_SECOND: constant(uint256) = limits.MAX_MINUTES * limits.MINUTE

# Stands for the time of an announcement that was vetoed: no notice is ever over after it.
VETOED: constant(uint256) = max_value(uint256)

# @notice May pause, and veto announced changes.
GUARDIAN_ROLE: public(constant(bytes32)) = keccak256("GUARDIAN_ROLE")

# @notice Where policies are stored: only those found there can be put into force.
registry: public(immutable(address))

# @notice When a change was announced, by EIP-712 digest: Unix seconds, 0 = never, 2**256 - 1 = vetoed.
announced_at: public(HashMap[bytes32, uint256])


@deploy
def __init__(governance: address, policies: address):
    """
    @notice Give the default admin role to governance and to nobody else.
    @param governance The account that sets policies, signers and roles; in the end a timelock.
    @param policies The registry of stored policies.
    """
    access_control.__init__()
    assert governance != empty(address), "risk_steward: zero governance"
    assert policies.is_contract, "risk_steward: no registry"
    registry = policies
    access_control._revoke_role(access_control.DEFAULT_ADMIN_ROLE, msg.sender)
    access_control._grant_role(access_control.DEFAULT_ADMIN_ROLE, governance)


@external
def submit(
    action: uint256,
    message: attestation.Message,
    signatures: DynArray[attestation.Signature, attestation.MAX_SIGNERS],
):
    """
    @notice Apply, announce or roll back a change: all of it within every limit, or nothing. Anyone may send what the
            signers signed.

            Apply (0) changes parameters. Announce (1) gives the notice that a tightening is due: the change must pass
            every rule, cooldown and drift budget as of its deadline, and is applied later with the same message and
            signatures, unless the state has changed. Roll back (2) restores exactly the last good version, as a new
            version, also while paused: it can bring about nothing else, and nothing at all once someone else has
            changed the protocol. Steps, cooldowns, budgets and notice are waived for it, corridor and invariants
            are not.

            A protocol that keeps orders between its parameters may take changes in one sequence only. Above the lowest
            4 bits an apply or a rollback may name one: 4 bits a setter of the policy, the first to be called lowest,
            each setter once; those that write nothing are passed over. The signers have signed the calls in the
            sequence they meant.
    @param action What is done with the message.
    @param message The change; in a rollback the parameters that differ from the last good version, with its values.
    @param signatures Of its EIP-712 digest as `Apply`, or as `Rollback`, signers strictly ascending.
    """
    purpose: uint256 = action & ACTION_MASK
    known: bool = purpose <= ROLLBACK and (purpose != ANNOUNCE or action == ANNOUNCE)
    assert known, "risk_steward: unknown action"
    market: bytes32 = message.market
    line: snapshots.Line = self._running_line(market)
    assert purpose == ROLLBACK or line.status != snapshots.PAUSED, "risk_steward: paused"
    assert block.timestamp <= message.deadline, "risk_steward: deadline passed"
    assert message.sequence == line.sequence + 1, "risk_steward: wrong sequence"
    assert len(message.ids) == len(message.values), "risk_steward: lengths differ"
    digest: bytes32 = attestation._digest(
        keccak256(
            abi_encode(
                attestation.ROLLBACK if purpose == ROLLBACK else attestation.APPLY,
                market,
                line.stored,
                message.sequence,
                message.state_hash,
                keccak256(abi_encode(message.ids, message.values)),
                message.calls_hash,
                message.model_hash,
                message.input_root,
                keccak256(abi_encode(message.probes)),
                message.max_liquidatable,
                message.deadline,
            )
        )
    )
    in_force: policy.Policy = policy._load(line.stored)
    attestation._check_signatures(in_force.quorum, digest, signatures)
    live: DynArray[uint256, MAX_PARAMETERS] = targets._read_all(line.stored, in_force.layout, in_force.parameters)
    assert self._hash(market, live) == message.state_hash, "risk_steward: state has changed"
    verdict: limits.Verdict = empty(limits.Verdict)
    hash: bytes32 = empty(bytes32)
    if purpose == ROLLBACK:
        verdict.values = limits._merge(live, message.ids, message.values)
        hash = self._hash(market, verdict.values)
        self._check_last_good(market, message.state_hash, line, in_force.probation, hash)
        verdict.changed = limits._check_restoration(in_force.rules, live, verdict.values)
    else:
        # An announced change is judged as of the last moment at which it may be applied.
        now: uint256 = min(message.deadline, LAST_SECOND) if purpose == ANNOUNCE else block.timestamp
        verdict = limits._check_changes(
            market, in_force.rules, live, message.ids, message.values, now, in_force.probation
        )
    limits._check_invariants(line.stored, in_force.reads, in_force.setters, in_force.invariants, verdict.values)
    if purpose == ANNOUNCE:
        log Announced(
            market=market,
            sequence=message.sequence,
            digest=digest,
            ids=message.ids,
            values=message.values,
            applicable_at=self._note_announcement(digest, verdict.notice, message.deadline),
        )
        return
    if verdict.notice != 0:
        self._check_notice(digest, verdict.notice)
    if purpose == ROLLBACK:
        snapshots._return_to_good(market, line, in_force.probation)
    else:
        hash = self._hash(market, verdict.values)
        snapshots._advance(market, line, in_force.probation, hash, False, verdict.corrected)
        limits._store(market, verdict)
    calls_hash: bytes32 = targets._write(
        line.stored,
        in_force.executor,
        in_force.reads,
        in_force.setters,
        verdict.changed,
        verdict.values,
        action >> 4,
    )
    assert calls_hash == message.calls_hash, "risk_steward: other calls than signed"
    after: DynArray[uint256, MAX_PARAMETERS] = targets._read_all(line.stored, in_force.layout, in_force.parameters)
    if self._hash(market, after) != hash:
        self._refuse_difference(live, verdict.values, after)
    found: uint256 = 0
    for index: uint256 in range(len(message.probes), bound=attestation.MAX_PROBES):
        probe: attestation.Probe = message.probes[index]
        if targets._is_liquidatable(
            in_force.health_target, in_force.health_selector, in_force.health_rule, probe
        ):
            found += 1
    assert found <= message.max_liquidatable, "risk_steward: too many liquidatable"
    if purpose == ROLLBACK:
        log RolledBack(
            market=market,
            sequence=message.sequence,
            input_root=message.input_root,
            values=verdict.values,
        )
    else:
        log Applied(
            market=market,
            sequence=message.sequence,
            input_root=message.input_root,
            values=verdict.values,
        )


@external
def veto(digest: bytes32):
    """
    @notice Forbid an announced change for ever. Guardian only.
    """
    access_control._check_role(GUARDIAN_ROLE, msg.sender)
    assert self.announced_at[digest] != 0, "risk_steward: not announced"
    self.announced_at[digest] = VETOED
    log Vetoed(digest=digest)


@external
def pause(markets: DynArray[bytes32, MAX_MARKETS]):
    """
    @notice Stop changes and announcements of those of the markets that are active; rollbacks remain possible. Guardian
            only. One that was paused or retired meanwhile does not keep the others from being paused; one that never
            was active does, for it must be a mistake.
    """
    access_control._check_role(GUARDIAN_ROLE, msg.sender)
    for market: bytes32 in markets:
        status: uint256 = snapshots._line(market).status
        assert status != snapshots.INACTIVE, "risk_steward: market not active"
        if status == snapshots.ACTIVE:
            self._set_status(market, snapshots.ACTIVE, snapshots.PAUSED)


@external
def unpause(markets: DynArray[bytes32, MAX_MARKETS]):
    """
    @notice Let changes of paused markets through again. Governance only.
    """
    self._check_governance()
    for market: bytes32 in markets:
        self._set_status(market, snapshots.PAUSED, snapshots.ACTIVE)


@external
def set_policy(market: bytes32, stored: address):
    """
    @notice Put a stored policy into force. Governance only. Live values must keep its corridors and invariants, so
            that no policy can lock a market. On an active market it must read its parameters just as the one before:
            a version that a rollback restores is one of what is read. On a paused market it may read otherwise, where
            a protocol has moved on or a getter is gone: what it reads becomes a new version, proven at once, and every
            parameter counts as moved just now, its drift budget used.
    """
    self._check_governance()
    assert staticcall IPolicyRegistry(registry).is_stored(stored), "risk_steward: policy not stored"
    line: snapshots.Line = snapshots._line(market)
    assert line.status != snapshots.RETIRED, "risk_steward: market retired"
    values: DynArray[uint256, MAX_PARAMETERS] = self._read_within(stored)
    hash: bytes32 = self._hash(market, values)
    reads_otherwise: bool = line.status != snapshots.INACTIVE and not staticcall IPolicyRegistry(registry).reads_alike(
        line.stored, stored
    )
    assert line.status != snapshots.ACTIVE or not reads_otherwise, "risk_steward: reads otherwise"
    if line.status != snapshots.INACTIVE:
        # What is proven stays so under a longer probation.
        probation: uint256 = policy._load(line.stored).probation
        line = snapshots._matured(market, line, probation)
        line.is_good = snapshots._is_proven(line, probation)
    line.stored = stored
    log PolicySet(market=market, policy=stored)
    if reads_otherwise:
        limits._exhaust(market)
        self._rebase(market, line, values, hash)
    else:
        snapshots._store(market, line)


@external
def activate(market: bytes32):
    """
    @notice Take the live values as version 0 and start to take changes. Governance only.
    """
    self._check_governance()
    line: snapshots.Line = snapshots._line(market)
    assert line.status == snapshots.INACTIVE, "risk_steward: market already activated"
    assert line.stored != empty(address), "risk_steward: no policy"
    live: DynArray[uint256, MAX_PARAMETERS] = self._read_within(line.stored)
    hash: bytes32 = self._hash(market, live)
    snapshots._begin(market, line, hash)
    log Activated(market=market, values=live, state_hash=hash)


@external
def rebase(market: bytes32):
    """
    @notice Take the live values as a new version, proven at once: what governance changed on the protocol itself
            becomes what a rollback restores. Governance only.
    """
    self._check_governance()
    line: snapshots.Line = self._running_line(market)
    live: DynArray[uint256, MAX_PARAMETERS] = self._read_within(line.stored)
    hash: bytes32 = self._hash(market, live)
    self._rebase(market, line, live, hash)


@external
def retire(market: bytes32):
    """
    @notice Take no more changes of a market, for ever. Governance only.
    """
    self._check_governance()
    line: snapshots.Line = self._running_line(market)
    self._set_status(market, line.status, snapshots.RETIRED)


@external
def hand_on(target: address, data: Bytes[policy.MAX_CALL_DATA]):
    """
    @notice Make any call as the steward: accept a protocol's ownership, or hand its setter role on. Governance only,
            which is why governance is a timelock: such a call passes no limit and is in the open for its delay.
    """
    self._check_governance()
    assert target.is_contract, "risk_steward: target is no contract"
    assert targets._call(empty(address), target, data), "risk_steward: call failed"
    log HandedOn(target=target, data=data)


@external
@view
def market_state(market: bytes32) -> MarketView:
    """
    @notice Everything a keeper's decision reads of a market, besides its policy.
    """
    state: MarketView = empty(MarketView)
    line: snapshots.Line = snapshots._line(market)
    assert line.stored != empty(address), "risk_steward: no policy"
    in_force: policy.Policy = policy._load(line.stored)
    state.status = line.status
    state.policy = line.stored
    state.sequence = line.sequence
    state.applied_at = line.applied_at
    state.version_hash = snapshots._current_hash(market, line)
    state.good_hash, state.good_at = snapshots._last_good(market, line, in_force.probation)
    state.values = targets._read_all(line.stored, in_force.layout, in_force.parameters)
    state.state_hash = self._hash(market, state.values)
    state.states = limits._states[market]
    return state


@external
@view
def policy_of(market: bytes32) -> address:
    """
    @notice Where the policy in force for a market stands; the registry reads it.
    """
    return snapshots._line(market).stored


@internal
@view
def _check_governance():
    """
    @dev Throws if the sender is not governance.
    """
    access_control._check_role(access_control.DEFAULT_ADMIN_ROLE, msg.sender)


@internal
@view
def _running_line(market: bytes32) -> snapshots.Line:
    """
    @dev A market's versions. Throws if it is neither active nor paused.
    """
    line: snapshots.Line = snapshots._line(market)
    assert line.status == snapshots.ACTIVE or line.status == snapshots.PAUSED, "risk_steward: market not active"
    return line


@internal
def _rebase(market: bytes32, line: snapshots.Line, values: DynArray[uint256, MAX_PARAMETERS], hash: bytes32):
    """
    @dev Make values the next version, proven at once.
    """
    snapshots._advance(market, line, max_value(uint256), hash, True, max_value(uint256))
    log Rebased(market=market, sequence=line.sequence + 1, values=values, state_hash=hash)


@internal
def _set_status(market: bytes32, expected: uint256, status: uint256):
    """
    @dev Move a market from one status to another.
    """
    line: snapshots.Line = snapshots._line(market)
    assert line.status == expected, "risk_steward: market not in that status"
    line.status = status
    snapshots._store(market, line)
    log StatusSet(market=market, status=status, account=msg.sender)


@internal
@view
def _check_notice(digest: bytes32, notice: uint256):
    """
    @dev Throws unless the change was announced, not vetoed, and long enough ago.
    """
    at: uint256 = self.announced_at[digest]
    assert at != 0, "risk_steward: not announced"
    assert at != VETOED, "risk_steward: vetoed"
    assert block.timestamp >= at + notice, "risk_steward: notice not over"


@internal
@view
def _check_last_good(
    market: bytes32,
    state_hash: bytes32,
    line: snapshots.Line,
    probation: uint256,
    expected: bytes32,
):
    """
    @dev Throws unless the live values are the steward's own last, and those that hash to `expected` the last good.
    """
    current: bytes32 = snapshots._current_hash(market, line)
    assert current == state_hash, "risk_steward: changed behind the steward"
    good_hash: bytes32 = empty(bytes32)
    good_at: uint256 = 0
    good_hash, good_at = snapshots._last_good(market, line, probation)
    assert good_hash != state_hash, "risk_steward: already at the last good version"
    assert expected == good_hash, "risk_steward: not the last good version"


@internal
def _note_announcement(digest: bytes32, notice: uint256, deadline: uint256) -> uint256:
    """
    @dev Note the moment; returns when the notice is over.
    """
    assert self.announced_at[digest] == 0, "risk_steward: already announced"
    assert notice != 0, "risk_steward: no notice due"
    applicable_at: uint256 = block.timestamp + notice
    assert applicable_at <= deadline, "risk_steward: notice longer than deadline"
    self.announced_at[digest] = block.timestamp
    return applicable_at


@internal
@pure
def _refuse_difference(
    live: DynArray[uint256, MAX_PARAMETERS],
    expected: DynArray[uint256, MAX_PARAMETERS],
    after: DynArray[uint256, MAX_PARAMETERS],
):
    """
    @dev Throws, naming the first parameter of which the getters do not say what was decided.
    """
    for id: uint256 in range(len(expected), bound=MAX_PARAMETERS):
        if after[id] != expected[id]:
            policy._refuse(id, "moved untouched" if expected[id] == live[id] else "value not in place")


@internal
@view
def _read_within(stored: address) -> DynArray[uint256, MAX_PARAMETERS]:
    """
    @dev Live values. Throws unless they keep a policy's corridors and invariants.
    """
    read: policy.Policy = policy._load(stored)
    live: DynArray[uint256, MAX_PARAMETERS] = targets._read_all(stored, read.layout, read.parameters)
    limits._check_within(read.rules, live)
    limits._check_invariants(stored, read.reads, read.setters, read.invariants, live)
    return live


@internal
@view
def _hash(market: bytes32, values: DynArray[uint256, MAX_PARAMETERS]) -> bytes32:
    """
    @dev Binds values to this steward, chain and market: keccak256(abi.encode(steward, chain id, market, values)).
    """
    return keccak256(abi_encode(self, chain.id, market, values))
