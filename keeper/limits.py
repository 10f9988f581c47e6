"""Say whether the steward would accept a proposal: the contract's rules, in its order, on the state read from it.

All amounts are on-chain units, all times Unix seconds. The names of rules are those of `Reason`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from keeper.messages import Change, ProposalKind, Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from keeper.messages import Proposal
    from models.market import MarketState, ParameterState

Finding = tuple[Reason, str]

BPS = 10_000
"""Basis points in one."""

FULL = 240
"""The whole drift budget in shares, as the steward keeps them."""

MINUTE = 60
"""The steward remembers times in minutes, rounded up."""

LARGEST_VALUE = 2**128 - 1
"""Largest value that a relative step is measured from."""

LAST_SECOND = MINUTE * (2**26 - 1)
"""An announcement's deadline is judged no later."""

VETO = 2**256 - 1
"""What stands in place of the time of an announcement that the guardian vetoed."""


def verdict(
    proposal: Proposal, state: MarketState, now: int, announced_at: int | None, names: Sequence[str] = ()
) -> Finding | None:
    """Return the first rule by which the steward would refuse a signed proposal at `now`, None if it would accept.

    `announced_at` is when exactly this proposal was announced: Unix seconds, None, or `VETO`. `names` are the
    parameters' in id order, for the text alone. What needs the calls and the chain is left to the simulation.
    """
    if proposal.kind is ProposalKind.ROLLBACK:
        return next(_rollback(proposal, state, now, names), None)
    return next(_apply(proposal, state, now, announced_at, names), None)


def announcement(
    proposal: Proposal, state: MarketState, now: int, announced_at: int | None, names: Sequence[str] = ()
) -> Finding | None:
    """Return the first rule by which the steward would refuse to announce a signed change, None if it would accept.

    Arguments are those of `verdict`. It judges the change as of its deadline, when cooldowns may be over.
    """
    return next(_announcement(proposal, state, now, announced_at, names), None)


def largest_step(row: ParameterState, *, up: bool) -> int:
    """Return how far one change may move a parameter in a direction."""
    step = row.max_step_up if up else row.max_step_down
    return min(row.value, LARGEST_VALUE) * step // BPS if row.relative else step


def shares_used(row: ParameterState, now: int) -> int:
    """Return the shares of the drift budget that count against a change at `now`, 0 without a window."""
    if row.drift_window == 0:
        return 0
    epochs = _epoch(row, now) - _epoch(row, row.changed_at)
    if epochs == 0:
        return row.drift_used + row.drift_before
    return row.drift_used if epochs == 1 else 0


def drift_left(row: ParameterState, now: int) -> int | None:
    """Return how far the drift budget lets a parameter move at `now`, either way; None without a window."""
    if row.drift_window == 0:
        return None
    # The steward rounds a move's share up, so a move fits exactly when it is no larger than this.
    return row.drift_budget * (FULL - shares_used(row, now)) // FULL


def drift_returns_at(row: ParameterState, now: int) -> int | None:
    """Return when a spent drift budget lets a parameter move by a unit at least, Unix seconds; None for never."""
    window, epoch = row.drift_window // MINUTE, _epoch(row, now)
    # Nothing counts for longer than the epoch it was used in and the next. A minute's last second rounds to itself.
    starts = [MINUTE * (window * (epoch + later) - 1) + 1 for later in (1, 2)]
    return next((start for start in starts if drift_left(row, start)), None)


def minute_of(seconds: int) -> int:
    """Return the minute, rounded up, that the steward remembers a moment as."""
    return -(-seconds // MINUTE)


def notice(changes: Iterable[Change], state: MarketState) -> int:
    """Return the seconds that a batch must have been announced: the largest notice of what it tightens."""
    moved = [(state.parameters[change.id], change.value) for change in changes]
    return max((row.notice for row, value in moved if _tightens(row, value)), default=0)


def coupled_ids(row: ParameterState) -> tuple[int, ...]:
    """Return the ids that a change naming a parameter must name as well, ascending."""
    return members(row.coupled)


def members(mask: int) -> tuple[int, ...]:
    """Return the ids whose bits are set, ascending."""
    return tuple(index for index in range(mask.bit_length()) if mask >> index & 1)


def values_after(changes: Iterable[Change], state: MarketState) -> tuple[int, ...]:
    """Return all values in id order as they would be after changes."""
    changed = {change.id: change.value for change in changes}
    return tuple(changed.get(row.id, row.value) for row in state.parameters)


def broken_invariants(values: Sequence[int], state: MarketState) -> tuple[int, ...]:
    """Return the indices of the invariants that values in id order break."""
    pairs = enumerate(state.invariants)
    return tuple(index for index, rule in pairs if values[rule.a] * rule.factor_a > values[rule.b] * rule.factor_b)


def outside_corridor(
    change: Change, state: MarketState, names: Sequence[str], what: str = "value"
) -> Iterator[Finding]:
    """Yield the corridor that a value would leave."""
    row = state.parameters[change.id]
    if not row.minimum <= change.value <= row.maximum:
        text = f"{name_of(change.id, names)}: {what} {change.value} is outside {row.minimum}..{row.maximum}"
        yield Reason.OUTSIDE_CORRIDOR, text


def unknown_id(index: int, state: MarketState) -> Iterator[Finding]:
    """Yield an id that the steward does not know."""
    if not 0 <= index < len(state.parameters):
        yield Reason.UNKNOWN_PARAMETER, f"id {index}, the steward knows {len(state.parameters)} parameters"


def name_of(index: int, names: Sequence[str]) -> str:
    """Return what an operator calls a parameter."""
    return names[index] if index < len(names) else f"parameter {index}"


def _epoch(row: ParameterState, seconds: int) -> int:
    """Return the number of the window-long epoch that the steward counts a moment to, by its minute rounded up."""
    return minute_of(seconds) // (row.drift_window // MINUTE)


def _apply(
    proposal: Proposal, state: MarketState, now: int, announced_at: int | None, names: Sequence[str]
) -> Iterator[Finding]:
    yield from _sound(proposal, state, now, now, names)
    yield from _notice(notice(proposal.changes, state), now, announced_at)


def _announcement(
    proposal: Proposal, state: MarketState, now: int, announced_at: int | None, names: Sequence[str]
) -> Iterator[Finding]:
    yield from _sound(proposal, state, now, min(proposal.deadline, LAST_SECOND), names)
    if announced_at is not None:
        yield Reason.ALREADY_ANNOUNCED, "this very change was announced before"
    seconds = notice(proposal.changes, state)
    if seconds == 0:
        yield Reason.NO_NOTICE_DUE, "it tightens nothing that has to be announced"
    if now + seconds > proposal.deadline:
        yield Reason.NOTICE_TOO_LONG, f"{seconds} s of notice end after the deadline, in {proposal.deadline - now} s"


def _sound(proposal: Proposal, state: MarketState, now: int, made_at: int, names: Sequence[str]) -> Iterator[Finding]:
    """Yield what forbids a change that is sent now and made at a time, but for the notice that is due."""
    if state.paused:
        yield Reason.PAUSED, "the steward is paused"
    yield from _binding(proposal, state, now)
    for index, change in enumerate(proposal.changes):
        yield from _id(proposal.changes[: index + 1], state)
        yield from outside_corridor(change, state, names)
        yield from _move(state.parameters[change.id], change.value, made_at, name_of(change.id, names))
    values = values_after(proposal.changes, state)
    if values == state.values:
        yield Reason.NO_EFFECT, "the proposed values are live"
    yield from _coupling(proposal.changes, state, names)
    yield from _invariants(values, state, names)


def _rollback(proposal: Proposal, state: MarketState, now: int, names: Sequence[str]) -> Iterator[Finding]:
    yield from _binding(proposal, state, now)
    for index in range(len(proposal.changes)):
        yield from _id(proposal.changes[: index + 1], state)
    if state.version_hash != state.state_hash:
        yield Reason.CHANGED_BEHIND, f"live is {state.values}, which is not what the steward left"
    if state.last_good == state.values:
        yield Reason.NO_EFFECT, "the last good version is live"
    values = values_after(proposal.changes, state)
    if values != state.last_good:
        yield Reason.NOT_LAST_GOOD, f"{values} is not the last good version {state.last_good}"
    for row, value in zip(state.parameters, values, strict=True):
        if value != row.value and not row.reversible:
            yield Reason.IRREVERSIBLE, f"{name_of(row.id, names)} cannot be set back from {row.value} to {value}"
        # All of them: the steward checks the whole version that it restores.
        yield from outside_corridor(Change(row.id, value), state, names)
    yield from _invariants(values, state, names)


def _binding(proposal: Proposal, state: MarketState, now: int) -> Iterator[Finding]:
    """Yield what ties a proposal to a moment and a state that no longer exist."""
    if now > proposal.deadline:
        yield Reason.EXPIRED, f"the deadline passed {now - proposal.deadline} s ago"
    if proposal.sequence != state.sequence + 1:
        yield Reason.SEQUENCE_TAKEN, f"sequence {proposal.sequence} does not follow {state.sequence}"
    if proposal.state_hash != state.state_hash:
        yield Reason.STATE_CHANGED, f"computed for {proposal.current}, live is {state.values}"


def _id(changes: Sequence[Change], state: MarketState) -> Iterator[Finding]:
    """Yield what is wrong with the last id of those given."""
    yield from unknown_id(changes[-1].id, state)
    if len(changes) > 1 and changes[-1].id <= changes[-2].id:
        yield Reason.NOT_ASCENDING, f"ids {[change.id for change in changes]}"


def _move(row: ParameterState, value: int, now: int, name: str) -> Iterator[Finding]:
    distance = abs(value - row.value)
    if distance == 0:
        return
    step = largest_step(row, up=value > row.value)
    if distance > step:
        yield Reason.STEP_TOO_LARGE, f"{name}: {row.value} to {value}, allowed {_steps(row)}"
    ready = row.changed_at + row.cooldown
    if row.changed_at and now < ready:
        yield Reason.COOLING_DOWN, f"{name}: another {ready - now} s"
    left = drift_left(row, now)
    if left is not None and distance > left:
        text = f"{name}: {row.value} to {value}, {left} of {row.drift_budget} in {row.drift_window} s are left"
        yield Reason.DRIFT_EXHAUSTED, text


def _steps(row: ParameterState) -> str:
    return f"+{largest_step(row, up=True)}/-{largest_step(row, up=False)}"


def _coupling(changes: Sequence[Change], state: MarketState, names: Sequence[str]) -> Iterator[Finding]:
    ids = [change.id for change in changes]
    for index in ids:
        missing = [name_of(other, names) for other in coupled_ids(state.parameters[index]) if other not in ids]
        if missing:
            yield Reason.GROUP_SPLIT, f"{name_of(index, names)} moves without {', '.join(missing)}"


def _invariants(values: Sequence[int], state: MarketState, names: Sequence[str]) -> Iterator[Finding]:
    broken = broken_invariants(values, state)
    for index, rule in enumerate(state.invariants):
        for side in (rule.a, rule.b):
            if values[side] > LARGEST_VALUE:
                yield Reason.OUTSIDE_CORRIDOR, f"{name_of(side, names)}: {values[side]} is larger than any corridor"
        if index in broken:
            sides = (_side(values, rule.a, rule.factor_a, names), _side(values, rule.b, rule.factor_b, names))
            yield Reason.INVARIANT_BROKEN, f"{sides[0]} must not exceed {sides[1]}"


def _side(values: Sequence[int], index: int, factor: int, names: Sequence[str]) -> str:
    multiplied = "" if factor == 1 else f" x {factor}"
    return f"{name_of(index, names)} {values[index]}{multiplied}"


def _notice(seconds: int, now: int, announced_at: int | None) -> Iterator[Finding]:
    if seconds == 0:
        return
    if announced_at is None:
        yield Reason.NOT_ANNOUNCED, f"a tightening that must be announced {seconds} s before"
    elif announced_at == VETO:
        yield Reason.VETOED, "the guardian vetoed this change"
    elif now < announced_at + seconds:
        yield Reason.NOTICE_RUNNING, f"another {announced_at + seconds - now} s of {seconds} s"


def _tightens(row: ParameterState, value: int) -> bool:
    return value != row.value and (value > row.value) == row.tightening_up
