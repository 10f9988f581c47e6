# pragma version ~=0.4.3
# pragma optimize gas
# pragma evm-version cancun
"""
@title Limits: every rule on proposed values, and what it takes to remember for them
@license AGPL-3.0-only
@notice A value outside a limit refuses the whole batch; nothing is ever clamped. Per parameter 42 bits are kept, six
        parameters a word: when it last changed, and which share of its drift budget was used in that epoch and in
        the one before. Times are minutes, rounded up. Epochs are aligned and as long as the window, and no window
        reaches into more than two of them, so their sum bounds the movement in every window.
"""

from . import policy


struct Verdict:
    values: DynArray[uint256, MAX_PARAMETERS]  # all of them, as they will be
    states: uint256[STATE_WORDS]
    touched: uint256  # bit i: word i of the states differs from what is stored
    changed: uint256  # bit i: parameter i changes
    corrected: uint256  # minute of the earliest change on probation that this one moves again; 2**256 - 1 if none
    notice: uint256


MAX_PARAMETERS: constant(uint256) = policy.MAX_PARAMETERS
MAX_INVARIANTS: constant(uint256) = policy.MAX_INVARIANTS
BPS: constant(uint256) = 10_000

STATE_WORDS: constant(uint256) = 3
STATES_A_WORD: constant(uint256) = 6
STATE_BITS: constant(uint256) = 42
STATE_MASK: constant(uint256) = 2**42 - 1
ONE_EACH: constant(uint256) = 1 + 2**42 + 2**84 + 2**126 + 2**168 + 2**210

# The whole drift budget, in shares: a number with many divisors, so that a third or a tenth is a whole share.
FULL: constant(uint256) = 240
SHARE_MASK: constant(uint256) = 255
MINUTE: constant(uint256) = 60
MAX_MINUTES: constant(uint256) = 2**26 - 1

# 42 bits a parameter: minute of the last change (26), share used in its epoch (8), share used in the epoch before (8).
_states: HashMap[bytes32, uint256[STATE_WORDS]]


@internal
@view
def _check_changes(
    market: bytes32,
    rules: uint256[policy.RULE_WORDS],
    live: DynArray[uint256, MAX_PARAMETERS],
    ids: DynArray[uint256, MAX_PARAMETERS],
    values: DynArray[uint256, MAX_PARAMETERS],
    now: uint256,
    probation: uint256,
) -> Verdict:
    """
    @dev Every rule on a batch of changes made at `now`, but for the invariants.
    """
    assert now <= MAX_MINUTES * MINUTE, "risk_steward: time out of range"
    minute: uint256 = unsafe_div(unsafe_add(now, MINUTE - 1), MINUTE)
    verdict: Verdict = Verdict(
        values=live,
        states=empty(uint256[STATE_WORDS]),
        touched=0,
        changed=0,
        corrected=max_value(uint256),
        notice=0,
    )
    named: uint256 = 0  # bit i: parameter i is in the batch
    coupled: uint256 = 0
    word: uint256 = STATE_WORDS  # of the states that is being worked on: ids ascend, so each is loaded once
    states: uint256 = 0
    for index: uint256 in range(len(ids), bound=MAX_PARAMETERS):
        id: uint256 = ids[index]
        proposed: uint256 = values[index]
        # A call costs more than to look first, here and below.
        if id >= len(live) or named >> id != 0:
            self._check_id(id, named, len(live))
        named |= 1 << id
        at: uint256 = unsafe_mul(3, id)
        corridor: uint256 = rules[at]
        if proposed < corridor >> 128 or proposed > corridor & policy.MAX_VALUE:
            self._check_corridor(id, corridor, proposed)
        rest: uint256 = rules[unsafe_add(at, 2)]
        coupled |= rest & policy.MASK_16
        before: uint256 = live[id]
        if proposed == before:
            continue
        steps: uint256 = rules[unsafe_add(at, 1)]
        distance: uint256 = unsafe_sub(before, proposed)
        step: uint256 = steps & policy.MAX_VALUE
        if proposed > before:
            distance = unsafe_sub(proposed, before)
            step = steps >> 128
        if rest & policy.RELATIVE != 0:
            step = min(before, policy.MAX_VALUE) * step // BPS
        if distance > step:
            policy._refuse(id, "step too large")
        if id // STATES_A_WORD != word:
            if word != STATE_WORDS:
                verdict.states[word] = states
            word = id // STATES_A_WORD
            states = self._states[market][word]
            verdict.touched |= 1 << word
        offset: uint256 = unsafe_mul(STATE_BITS, id % STATES_A_WORD)
        state: uint256 = (states >> offset) & STATE_MASK
        changed: uint256 = state >> 16
        if changed != 0:
            since: uint256 = unsafe_mul(changed, MINUTE)
            if now < unsafe_add(since, (rest >> 64) & policy.MASK_32):
                policy._refuse(id, "cooldown not over")
            if now < unsafe_add(since, probation):
                verdict.corrected = min(verdict.corrected, changed)
        shares: uint256 = self._charged(id, rest, state, distance, minute)
        states ^= (state ^ (minute << 16 | shares)) << offset
        verdict.values[id] = proposed
        verdict.changed |= 1 << id
        if (proposed > before) == (rest & policy.TIGHTENING_UP != 0):
            verdict.notice = max(verdict.notice, (rest >> 32) & policy.MASK_32)
    assert verdict.changed != 0, "risk_steward: nothing changes"
    verdict.states[word] = states
    if coupled & ~named != 0:
        policy._refuse_first(coupled & ~named, "group incomplete")
    return verdict


@internal
@pure
def _check_restoration(
    rules: uint256[policy.RULE_WORDS],
    live: DynArray[uint256, MAX_PARAMETERS],
    values: DynArray[uint256, MAX_PARAMETERS],
) -> uint256:
    """
    @dev What holds for a rollback as well, but for the invariants: corridor of every value, nothing irreversible.
            Returns which parameters change, bit i for parameter i.
    """
    changed: uint256 = 0
    for id: uint256 in range(len(values), bound=MAX_PARAMETERS):
        restored: uint256 = values[id]
        at: uint256 = unsafe_mul(3, id)
        if restored != live[id]:
            changed |= 1 << id
            if rules[unsafe_add(at, 2)] & policy.REVERSIBLE == 0:
                policy._refuse(id, "irreversible")
        self._check_corridor(id, rules[at], restored)
    return changed


@internal
@pure
def _check_within(rules: uint256[policy.RULE_WORDS], values: DynArray[uint256, MAX_PARAMETERS]):
    """
    @dev Throws unless all values keep their corridors.
    """
    for id: uint256 in range(len(values), bound=MAX_PARAMETERS):
        self._check_corridor(id, rules[3 * id], values[id])


@internal
@view
def _check_invariants(
    stored: address, reads: uint256, setters: uint256, count: uint256, values: DynArray[uint256, MAX_PARAMETERS]
):
    """
    @dev Throws unless value[a] · factor_a ≤ value[b] · factor_b for every invariant.
    """
    for index: uint256 in range(count, bound=MAX_INVARIANTS):
        item: policy.Invariant = policy._invariant(stored, reads, setters, index)
        # Someone else may have set what is not in the batch, to what would overflow here.
        if values[item.a] > policy.MAX_VALUE:
            policy._refuse(item.a, "too large")
        if values[item.b] > policy.MAX_VALUE:
            policy._refuse(item.b, "too large")
        if values[item.a] * item.factor_a > values[item.b] * item.factor_b:
            raise concat("risk_steward: invariant ", uint2str(index), " broken")


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
        id: uint256 = ids[index]
        self._check_id(id, named, len(live))
        named |= 1 << id
        merged[id] = values[index]
    return merged


@internal
def _store(market: bytes32, verdict: Verdict):
    """
    @dev Keep what a verdict found.
    """
    for word: uint256 in range(STATE_WORDS):
        if (verdict.touched >> word) & 1 == 1:
            self._states[market][word] = verdict.states[word]


@internal
def _exhaust(market: bytes32):
    """
    @dev Remember every parameter as moved just now, its whole drift budget used: after it none moves sooner than if
            it had been, whatever the ids mean from now on.
    """
    minute: uint256 = unsafe_div(unsafe_add(block.timestamp, MINUTE - 1), MINUTE)
    states: uint256 = (minute << 16 | FULL << 8) * ONE_EACH
    self._states[market] = [states, states, states]


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
def _check_corridor(id: uint256, corridor: uint256, proposed: uint256):
    """
    @dev Throws unless minimum ≤ proposed ≤ maximum.
    """
    if proposed < corridor >> 128:
        policy._refuse(id, "below corridor")
    if proposed > corridor & policy.MAX_VALUE:
        policy._refuse(id, "above corridor")


@internal
@pure
def _charged(id: uint256, rest: uint256, state: uint256, distance: uint256, minute: uint256) -> uint256:
    """
    @dev The shares of the drift budget used in this epoch (8 bits) and the one before (8 bits), this move included.
            Throws if that is more than there are.
    """
    window: uint256 = unsafe_div((rest >> 96) & policy.MASK_32, MINUTE)
    if window == 0:
        # Nothing is charged, and nothing forgotten: a budget that is taken back finds what was used before.
        return state & policy.MASK_16
    budget: uint256 = rest >> 128
    if distance > budget:
        policy._refuse(id, "drift budget spent")
    # Rounded up: the shares of many small moves never add up to less than the moves.
    used: uint256 = unsafe_div(unsafe_add(unsafe_mul(distance, FULL), unsafe_sub(budget, 1)), budget)
    used_before: uint256 = 0
    epochs: uint256 = unsafe_sub(unsafe_div(minute, window), unsafe_div(state >> 16, window))
    if epochs == 0:
        used = unsafe_add(used, (state >> 8) & SHARE_MASK)
        used_before = state & SHARE_MASK
    elif epochs == 1:
        used_before = (state >> 8) & SHARE_MASK
    if unsafe_add(used, used_before) > FULL:
        policy._refuse(id, "drift budget spent")
    return used << 8 | used_before
