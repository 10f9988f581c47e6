# pragma version ~=0.4.3
# pragma optimize codesize
# pragma evm-version cancun
"""
@title Limits: every rule on proposed values, and what it takes to remember for them
@license AGPL-3.0-only
@notice A value outside a limit refuses the whole batch; nothing is ever clamped. Per parameter 64 bits are kept,
        four parameters a word: when it last changed, and which share of its drift budget was used in that epoch
        and in the one before. Epochs are aligned and as long as the window, and no window overlaps more than two,
        so their sum bounds the movement in every window.
"""

from . import policy


MAX_PARAMETERS: constant(uint256) = policy.MAX_PARAMETERS
MAX_INVARIANTS: constant(uint256) = policy.MAX_INVARIANTS
STATE_WORDS: constant(uint256) = 4
BPS: constant(uint256) = 10_000

# The whole drift budget, in shares.
FULL: constant(uint256) = 65_535

MAX_TIME: constant(uint256) = 2**32 - 1
STATE_MASK: constant(uint256) = 2**64 - 1

# 64 bits a parameter: changed_at (32), share used in that epoch (16), share used in the epoch before (16).
_states: HashMap[bytes32, uint256[STATE_WORDS]]


struct Verdict:
    values: DynArray[uint256, MAX_PARAMETERS]  # all of them, as they will be
    states: uint256[STATE_WORDS]
    notice: uint256


@internal
@view
def _check_changes(
    market: bytes32,
    stored: address,
    header: policy.Header,
    live: DynArray[uint256, MAX_PARAMETERS],
    ids: DynArray[uint256, MAX_PARAMETERS],
    values: DynArray[uint256, MAX_PARAMETERS],
    now: uint256,
) -> Verdict:
    """
    @dev Every rule on a batch of changes made at `now`.
    """
    verdict: Verdict = Verdict(values=live, states=self._states[market], notice=0)
    named: uint256 = 0  # bit i: parameter i is in the batch
    coupled: uint256 = 0
    differs: bool = False
    for index: uint256 in range(len(ids), bound=MAX_PARAMETERS):
        id: uint256 = ids[index]
        proposed: uint256 = values[index]
        self._check_id(id, named, header.parameters)
        named |= 1 << id
        limits: policy.Parameter = policy._parameter(stored, id)
        coupled |= limits.coupled
        self._check_corridor(id, limits, proposed)
        before: uint256 = live[id]
        if proposed != before:
            differs = True
            verdict.states[id // 4] = self._move(id, limits, verdict.states[id // 4], before, proposed, now)
            verdict.values[id] = proposed
            if (proposed > before) == limits.tightening_up:
                verdict.notice = max(verdict.notice, limits.notice)
    assert differs, "risk_steward: nothing changes"
    self._check_coupling(coupled & ~named)
    self._check_invariants(stored, header, verdict.values)
    return verdict


@internal
@view
def _check_restoration(
    market: bytes32,
    stored: address,
    header: policy.Header,
    live: DynArray[uint256, MAX_PARAMETERS],
    values: DynArray[uint256, MAX_PARAMETERS],
) -> Verdict:
    """
    @dev What holds for a rollback as well: corridor of every value, invariants, nothing irreversible. It is
            remembered like a change, and charged to no budget.
    """
    verdict: Verdict = Verdict(values=values, states=self._states[market], notice=0)
    for id: uint256 in range(header.parameters, bound=MAX_PARAMETERS):
        limits: policy.Parameter = policy._parameter(stored, id)
        if values[id] != live[id]:
            if not limits.reversible:
                policy._refuse(id, "irreversible")
            verdict.states[id // 4] = self._remember(id, limits, verdict.states[id // 4], 0, block.timestamp)
        self._check_corridor(id, limits, values[id])
    self._check_invariants(stored, header, values)
    return verdict


@internal
@view
def _check_within(stored: address, header: policy.Header, values: DynArray[uint256, MAX_PARAMETERS]):
    """
    @dev Throws unless all values keep corridor and invariants.
    """
    for id: uint256 in range(header.parameters, bound=MAX_PARAMETERS):
        self._check_corridor(id, policy._parameter(stored, id), values[id])
    self._check_invariants(stored, header, values)


@internal
@pure
def _merge(
    live: DynArray[uint256, MAX_PARAMETERS],
    ids: DynArray[uint256, MAX_PARAMETERS],
    values: DynArray[uint256, MAX_PARAMETERS],
) -> DynArray[uint256, MAX_PARAMETERS]:
    """
    @dev The live values with the named ones replaced.
    """
    merged: DynArray[uint256, MAX_PARAMETERS] = live
    named: uint256 = 0
    for index: uint256 in range(len(ids), bound=MAX_PARAMETERS):
        self._check_id(ids[index], named, len(live))
        named |= 1 << ids[index]
        merged[ids[index]] = values[index]
    return merged


@internal
def _remember_all(market: bytes32, states: uint256[STATE_WORDS]):
    """
    @dev Store what a verdict found, words that changed only.
    """
    for word: uint256 in range(STATE_WORDS):
        if states[word] != self._states[market][word]:
            self._states[market][word] = states[word]


@internal
@pure
def _check_id(id: uint256, named: uint256, count: uint256):
    """
    @dev A repeated id would be measured against the value just proposed and walk past its step limit.
    """
    if id >= count:
        policy._refuse(id, "unknown")
    if named >> id != 0:
        policy._refuse(id, "id not ascending")


@internal
@pure
def _check_corridor(id: uint256, limits: policy.Parameter, proposed: uint256):
    """
    @dev Throws unless minimum ≤ proposed ≤ maximum.
    """
    if proposed < limits.minimum:
        policy._refuse(id, "below corridor")
    if proposed > limits.maximum:
        policy._refuse(id, "above corridor")


@internal
@pure
def _check_coupling(missing: uint256):
    """
    @dev Throws, naming the first parameter that a named one is coupled with and that the batch leaves out.
    """
    if missing != 0:
        for id: uint256 in range(MAX_PARAMETERS):
            if (missing >> id) & 1 == 1:
                policy._refuse(id, "group incomplete")


@internal
@view
def _check_invariants(stored: address, header: policy.Header, values: DynArray[uint256, MAX_PARAMETERS]):
    """
    @dev Throws unless value[a] · factor_a ≤ value[b] · factor_b for every invariant.
    """
    for index: uint256 in range(header.invariants, bound=MAX_INVARIANTS):
        item: policy.Invariant = policy._invariant(stored, header, index)
        if values[item.a] * item.factor_a > values[item.b] * item.factor_b:
            raise concat("risk_steward: invariant ", uint2str(index), " broken")


@internal
@pure
def _move(
    id: uint256, limits: policy.Parameter, states: uint256, before: uint256, proposed: uint256, now: uint256
) -> uint256:
    """
    @dev Throws if the step is too large, too soon after the last, or more than the budget has left; returns the
            word of states with this change in it.
    """
    distance: uint256 = proposed - before if proposed > before else before - proposed
    step: uint256 = limits.max_step_up if proposed > before else limits.max_step_down
    if limits.relative:
        step = min(before, policy.MAX_VALUE) * step // BPS
    if distance > step:
        policy._refuse(id, "step too large")
    changed_at: uint256 = (states >> (64 * (id % 4) + 32)) & MAX_TIME
    if changed_at != 0 and now < changed_at + limits.cooldown:
        policy._refuse(id, "cooldown not over")
    return self._remember(id, limits, states, distance, now)


@internal
@pure
def _remember(id: uint256, limits: policy.Parameter, states: uint256, distance: uint256, now: uint256) -> uint256:
    """
    @dev The word of states after a move of `distance` at `now`. Throws if that is more than the budget has left.
    """
    offset: uint256 = 64 * (id % 4)
    used: uint256 = 0
    used_before: uint256 = 0
    if limits.drift_window != 0:
        state: uint256 = states >> offset
        epochs: uint256 = now // limits.drift_window - ((state >> 32) & MAX_TIME) // limits.drift_window
        if epochs == 0:
            used = (state >> 16) & FULL
            used_before = state & FULL
        elif epochs == 1:
            used_before = (state >> 16) & FULL
        if distance != 0:
            if distance > limits.drift_budget:
                policy._refuse(id, "drift budget spent")
            # Rounded up: the shares of many small moves never add up to less than the moves.
            used += (distance * FULL + limits.drift_budget - 1) // limits.drift_budget
            if used_before + used > FULL:
                policy._refuse(id, "drift budget spent")
    state: uint256 = convert(convert(now, uint32), uint256) << 32 | used << 16 | used_before
    return states & ~(STATE_MASK << offset) | state << offset
