# pragma version ~=0.4.3
# pragma optimize codesize
# pragma evm-version cancun
# pragma nonreentrancy on
"""
@title Guard between a quorum of keepers and the risk parameters of the protocols it tunes
@license AGPL-3.0-only
@notice The steward holds the setter role on each protocol, or is a module of the Safe that does. A change is a
        message that k of n keepers signed for exactly one chain, steward, market, sequence and live state. It keeps
        every value inside corridor, step, cooldown and drift budget, moves coupled parameters together, was
        announced where notice is due, makes only calls that the policy allows, is read back afterwards, and makes
        no more of the accounts it names liquidatable than it says: all of it holds or nothing happens. It never
        clamps. A rollback restores the newest version that outlived its probation, and only undoes what the steward
        itself did. Governance (the default admin role, a timelock) sets policies and signers, a guardian pauses and
        vetoes what was announced; neither can write a value.
"""

from snekmate.auth import access_control

from . import attestation
from . import limits
from . import policy
from . import snapshots
from . import targets

initializes: access_control
initializes: attestation
initializes: limits
initializes: snapshots

exports: (
    access_control.DEFAULT_ADMIN_ROLE,
    access_control.hasRole,
    access_control.grantRole,
    access_control.revokeRole,
)
exports: attestation.__interface__


interface IPolicyRegistry:
    def is_stored(policy: address) -> bool: view


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
    state_hash: bytes32


event RolledBack:
    market: indexed(bytes32)
    sequence: indexed(uint256)
    input_root: indexed(bytes32)
    restored_sequence: uint256
    values: DynArray[uint256, MAX_PARAMETERS]
    state_hash: bytes32


event Rebased:
    market: indexed(bytes32)
    sequence: indexed(uint256)
    values: DynArray[uint256, MAX_PARAMETERS]
    state_hash: bytes32


event Retired:
    market: indexed(bytes32)


event HandedOn:
    target: indexed(address)
    data: Bytes[attestation.MAX_CALL_DATA]


struct MarketView:
    status: uint256  # 0 inactive, 1 active, 2 retired
    policy: address
    paused: bool
    sequence: uint256
    applied_at: uint256
    version_hash: bytes32  # of the current version; differs from state_hash after a change behind the steward
    good_sequence: uint256
    good_hash: bytes32
    good_in: uint256  # block number
    state_hash: bytes32
    values: DynArray[uint256, MAX_PARAMETERS]
    states: uint256[4]  # see limits.vy


MAX_PARAMETERS: constant(uint256) = policy.MAX_PARAMETERS

# What a message may be submitted for.
APPLY: constant(uint256) = 0
ANNOUNCE: constant(uint256) = 1
ROLLBACK: constant(uint256) = 2

# Stands for the time of an announcement that was vetoed: no notice is ever over after it.
VETOED: constant(uint256) = max_value(uint256)

# @notice May pause, and veto announced changes.
GUARDIAN_ROLE: public(constant(bytes32)) = keccak256("GUARDIAN_ROLE")

# @notice Where policies are stored: only those found there can be put into force.
registry: public(immutable(address))

# @notice The policy in force for a market.
policy_of: public(HashMap[bytes32, address])

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
def apply(message: attestation.Message, signatures: DynArray[attestation.Signature, attestation.MAX_SIGNERS]):
    """
    @notice Change parameters: all of it within every limit, or nothing. Anyone may send what the signers signed.
    @param message The change.
    @param signatures Of its EIP-712 digest as `Apply`, signers strictly ascending.
    """
    self._submit(APPLY, message, signatures)


@external
def announce(message: attestation.Message, signatures: DynArray[attestation.Signature, attestation.MAX_SIGNERS]):
    """
    @notice Give the notice that a tightening is due. The change must pass every rule, cooldown and drift budget as
            of its deadline; it is applied later with the same message and signatures, unless the state has changed.
    @param message The change.
    @param signatures Of its EIP-712 digest as `Apply`, signers strictly ascending.
    """
    self._submit(ANNOUNCE, message, signatures)


@external
def rollback(message: attestation.Message, signatures: DynArray[attestation.Signature, attestation.MAX_SIGNERS]):
    """
    @notice Restore exactly the last good version, as a new version, also while paused: it can bring about nothing
            else, and nothing at all once someone else has changed the protocol. Steps, cooldowns, budgets and notice
            are waived, corridor and invariants are not.
    @param message The parameters that differ from the last good version, with its values.
    @param signatures Of its EIP-712 digest as `Rollback`, signers strictly ascending.
    """
    self._submit(ROLLBACK, message, signatures)


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
def pause():
    """
    @notice Stop changes and announcements; rollbacks remain possible. Guardian only.
    """
    access_control._check_role(GUARDIAN_ROLE, msg.sender)
    attestation._set_paused(True)


@external
def unpause():
    """
    @notice Let changes through again. Governance only.
    """
    self._check_governance()
    attestation._set_paused(False)


@external
def set_quorum(threshold: uint256, signers: DynArray[address, attestation.MAX_SIGNERS]):
    """
    @notice Replace the signers and how many of them a change needs. Governance only.
    """
    self._check_governance()
    attestation._set_quorum(threshold, signers)


@external
def set_policy(market: bytes32, stored: address):
    """
    @notice Put a stored policy into force. Governance only. Live values must keep its corridors and invariants, so
            that no policy can lock a market; on an active market it must read the same parameters as before.
    """
    self._check_governance()
    assert staticcall IPolicyRegistry(registry).is_stored(stored), "risk_steward: policy not stored"
    header: policy.Header = policy._header(stored)
    live: DynArray[uint256, MAX_PARAMETERS] = self._read_within(stored, header)
    line: snapshots.Line = snapshots._line(market)
    assert line.status != snapshots.RETIRED, "risk_steward: market retired"
    if line.status == snapshots.ACTIVE:
        old: address = self.policy_of[market]
        before: DynArray[uint256, MAX_PARAMETERS] = targets._read_all(old, policy._header(old))
        assert self._hash(market, before) == self._hash(market, live), "risk_steward: reads other values"
    self.policy_of[market] = stored
    log PolicySet(market=market, policy=stored)


@external
def activate(market: bytes32):
    """
    @notice Take the live values as version 0 and start to take changes. Governance only.
    """
    self._check_governance()
    assert snapshots._line(market).status == snapshots.INACTIVE, "risk_steward: market already activated"
    stored: address = self.policy_of[market]
    assert stored != empty(address), "risk_steward: no policy"
    live: DynArray[uint256, MAX_PARAMETERS] = self._read_within(stored, policy._header(stored))
    hash: bytes32 = self._hash(market, live)
    snapshots._begin(market, hash)
    log Activated(market=market, values=live, state_hash=hash)


@external
def rebase(market: bytes32):
    """
    @notice Take the live values as a new version, proven at once: what governance changed on the protocol itself
            becomes what a rollback restores. Governance only.
    """
    self._check_governance()
    line: snapshots.Line = self._active_line(market)
    stored: address = self.policy_of[market]
    header: policy.Header = policy._header(stored)
    live: DynArray[uint256, MAX_PARAMETERS] = self._read_within(stored, header)
    hash: bytes32 = self._hash(market, live)
    snapshots._advance(market, line, header.probation, hash)
    snapshots._prove(market)
    log Rebased(market=market, sequence=line.sequence + 1, values=live, state_hash=hash)


@external
def retire(market: bytes32):
    """
    @notice Take no more changes of a market, for ever. Governance only.
    """
    self._check_governance()
    self._active_line(market)
    snapshots._retire(market)
    log Retired(market=market)


@external
def hand_on(target: address, data: Bytes[attestation.MAX_CALL_DATA]):
    """
    @notice Make any call as the steward: accept a protocol's ownership, or hand its setter role on. Governance only,
            which is why governance is a timelock: such a call passes no limit and is in the open for its delay.
    """
    self._check_governance()
    targets._call(empty(address), attestation.Call(target=target, data=data))
    log HandedOn(target=target, data=data)


@external
@view
def market_state(market: bytes32) -> MarketView:
    """
    @notice Everything a keeper's decision reads of a market, besides its policy.
    """
    state: MarketView = empty(MarketView)
    line: snapshots.Line = snapshots._line(market)
    stored: address = self.policy_of[market]
    assert stored != empty(address), "risk_steward: no policy"
    header: policy.Header = policy._header(stored)
    state.status = line.status
    state.policy = stored
    state.paused = attestation._is_paused()
    state.sequence = line.sequence
    state.applied_at = line.applied_at
    state.version_hash = snapshots._current_hash(market, line)
    state.good_sequence, state.good_hash, state.good_in = snapshots._last_good(market, line, header.probation)
    state.values = targets._read_all(stored, header)
    state.state_hash = self._hash(market, state.values)
    state.states = limits._states[market]
    return state


@internal
@view
def _check_governance():
    """
    @dev Throws if the sender is not governance.
    """
    access_control._check_role(access_control.DEFAULT_ADMIN_ROLE, msg.sender)


@internal
@view
def _active_line(market: bytes32) -> snapshots.Line:
    """
    @dev A market's versions. Throws if it takes no changes.
    """
    line: snapshots.Line = snapshots._line(market)
    assert line.status == snapshots.ACTIVE, "risk_steward: market not active"
    return line


@internal
def _submit(
    kind: uint256,
    message: attestation.Message,
    signatures: DynArray[attestation.Signature, attestation.MAX_SIGNERS],
):
    """
    @dev Hold a message against the moment and the state that it was signed for, then against the rules of its kind.
    """
    assert kind == ROLLBACK or not attestation._is_paused(), "risk_steward: paused"
    line: snapshots.Line = self._active_line(message.market)
    assert block.timestamp <= message.deadline, "risk_steward: deadline passed"
    assert message.sequence == line.sequence + 1, "risk_steward: wrong sequence"
    assert len(message.ids) == len(message.values), "risk_steward: lengths differ"
    fields: bytes32 = keccak256(
        abi_encode(
            attestation.ROLLBACK if kind == ROLLBACK else attestation.APPLY,
            message.market,
            message.sequence,
            message.state_hash,
            attestation._hash_words(message.ids),
            attestation._hash_words(message.values),
            keccak256(abi_encode(message.calls)),
            message.model_hash,
            message.input_root,
            keccak256(abi_encode(message.probes)),
            message.max_liquidatable,
            message.deadline,
        )
    )
    digest: bytes32 = attestation._digest(fields)
    attestation._check_signatures(digest, signatures)
    stored: address = self.policy_of[message.market]
    header: policy.Header = policy._header(stored)
    live: DynArray[uint256, MAX_PARAMETERS] = targets._read_all(stored, header)
    assert self._hash(message.market, live) == message.state_hash, "risk_steward: state has changed"
    # An announced change is judged as of the last moment at which it may be applied.
    now: uint256 = min(message.deadline, limits.MAX_TIME) if kind == ANNOUNCE else block.timestamp
    restored: uint256 = 0
    verdict: limits.Verdict = empty(limits.Verdict)
    if kind == ROLLBACK:
        expected: DynArray[uint256, MAX_PARAMETERS] = limits._merge(live, message.ids, message.values)
        restored = self._check_last_good(message.market, message.state_hash, line, header.probation, expected)
        verdict = limits._check_restoration(message.market, stored, header, live, expected)
    else:
        verdict = limits._check_changes(message.market, stored, header, live, message.ids, message.values, now)
    if kind == ANNOUNCE:
        log Announced(
            market=message.market,
            sequence=message.sequence,
            digest=digest,
            ids=message.ids,
            values=message.values,
            applicable_at=self._note_announcement(digest, verdict.notice, message.deadline),
        )
        return
    if verdict.notice != 0:
        self._check_notice(digest, verdict.notice)
    hash: bytes32 = self._hash(message.market, verdict.values)
    snapshots._advance(message.market, line, header.probation, hash)
    limits._remember_all(message.market, verdict.states)
    for call: attestation.Call in message.calls:
        targets._check_allowed(stored, header, call)
        targets._call(header.executor, call)
    self._check_in_place(live, verdict.values, targets._read_all(stored, header))
    found: uint256 = 0
    for probe: attestation.Probe in message.probes:
        if targets._is_liquidatable(header, probe):
            found += 1
    assert found <= message.max_liquidatable, "risk_steward: too many liquidatable"
    if kind == ROLLBACK:
        log RolledBack(
            market=message.market,
            sequence=message.sequence,
            input_root=message.input_root,
            restored_sequence=restored,
            values=verdict.values,
            state_hash=hash,
        )
    else:
        log Applied(
            market=message.market,
            sequence=message.sequence,
            input_root=message.input_root,
            values=verdict.values,
            state_hash=hash,
        )


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
    expected: DynArray[uint256, MAX_PARAMETERS],
) -> uint256:
    """
    @dev Throws unless the live values are the steward's own last, and the expected ones the last good; returns the
            sequence of the version that they restore.
    """
    current: bytes32 = snapshots._current_hash(market, line)
    assert current == state_hash, "risk_steward: changed behind the steward"
    restored: uint256 = 0
    good_hash: bytes32 = empty(bytes32)
    good_in: uint256 = 0
    restored, good_hash, good_in = snapshots._last_good(market, line, probation)
    assert good_hash != state_hash, "risk_steward: already at the last good version"
    assert self._hash(market, expected) == good_hash, "risk_steward: not the last good version"
    return restored


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
def _check_in_place(
    live: DynArray[uint256, MAX_PARAMETERS],
    expected: DynArray[uint256, MAX_PARAMETERS],
    after: DynArray[uint256, MAX_PARAMETERS],
):
    """
    @dev Throws unless the getters say exactly what was decided.
    """
    for id: uint256 in range(len(after), bound=MAX_PARAMETERS):
        if after[id] != expected[id]:
            policy._refuse(id, "moved untouched" if expected[id] == live[id] else "value not in place")


@internal
@view
def _read_within(stored: address, header: policy.Header) -> DynArray[uint256, MAX_PARAMETERS]:
    """
    @dev Live values. Throws unless they keep a policy's corridors and invariants.
    """
    live: DynArray[uint256, MAX_PARAMETERS] = targets._read_all(stored, header)
    limits._check_within(stored, header, live)
    return live


@internal
@view
def _hash(market: bytes32, values: DynArray[uint256, MAX_PARAMETERS]) -> bytes32:
    """
    @dev Binds values to this steward, chain and market: keccak256(abi.encode(steward, chain id, market, values)).
    """
    return keccak256(abi_encode(self, chain.id, market, values))
