"""Rehearse a protocol's setters on a copy of the chain: who may call them, and whether they write what is read back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from chain.copies import made_by, read_after, refusal_in, simulated
from chain.handover import handover_of, setters_of
from chain.protocol import BindingError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from chain.handover import Handover
    from chain.protocol import BoundProtocol
    from chain.rpc import Call, Rpc
    from models.market import BlockStamp


@dataclass(frozen=True, slots=True)
class Missing:
    """A contract that does not take settings from who should make them, and why in its own words.

    `maker` is the account from which it takes the very same calls, None where none that it names may make them; then
    `tried` are those that it names.
    """

    target: str
    reason: str
    maker: str | None
    tried: tuple[str, ...]
    handover: Handover | None

    @property
    def remedy(self) -> str:
        """Say how it is handed over, where that is known to help."""
        if self.maker is None:
            accounts = f"from {' and '.join(self.tried)} as well" if self.tried else "and names no owner"
            return f"it refuses these calls {accounts}: mend the binding's setter, or what the reason names"
        if self.handover is None:
            return f"it takes them from {self.maker}: have it take them from that account, by a call of its own"
        return self.handover.sentence()


@dataclass(frozen=True, slots=True)
class Miswritten:
    """A setter, by its position in the binding, after which the getters read other values than it was to write."""

    setter: int
    sentence: str


@dataclass(frozen=True, slots=True)
class Untried:
    """A parameter that could not be moved, so that nothing is known of its setter, by its position; and why not."""

    parameter: str
    setter: int
    reason: str


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What came of writing the live values and of moving each parameter."""

    wrong: tuple[Miswritten, ...] = ()
    untried: tuple[Untried, ...] = ()


@dataclass(frozen=True, slots=True)
class Trial:
    """One parameter to be moved by a unit, with `values` as all of them are then to be, and `said` in words."""

    index: int
    said: str
    values: tuple[int, ...]
    calls: tuple[Call, ...]


async def makers_of(
    rpc: Rpc, bound: BoundProtocol, values: Sequence[int], sender: str | None, block: BlockStamp
) -> tuple[dict[str, str], list[Missing]]:
    """Return by contract who may write settings, and the contracts that refuse them from `sender`.

    A contract takes them from an account when it takes the live values, or where a setter refuses those, as many do
    a value that is set already, another of a parameter a unit away. Without a sender nobody is preferred to the
    accounts that a contract names. Raises Refused when the endpoint does not serve eth_simulateV1.
    """
    values = tuple(values)
    calls = bound.setter_calls(values, range(len(values)))
    makers, missing = {}, []
    for target in dict.fromkeys(target for target, _ in calls):
        own = [setter for setter, call in enumerate(calls) if call[0] == target]
        reason = None if sender is None else await _refusal(rpc, bound, values, sender, own, block)
        if sender is not None and reason is None:
            makers[target] = sender
            continue
        named = await setters_of(rpc, target, block)
        takes = [one for one in named if await _refusal(rpc, bound, values, one, own, block) is None]
        maker = takes[0] if takes else None
        if maker is not None:
            makers[target] = maker
        if sender is not None and reason is not None:
            missing.append(Missing(target, reason, maker, named, await handover_of(rpc, target, sender, block)))
    return makers, missing


async def rehearse(
    rpc: Rpc, bound: BoundProtocol, values: tuple[int, ...], makers: Mapping[str, str], block: BlockStamp
) -> Rehearsal:
    """Write the live values, then each parameter a unit up and a unit down; tell what is then read otherwise.

    Nothing is sent, so corridors, steps and cooldowns do not count: a parameter stays where it is only for a value
    that the setter cannot hold, an ordering, or a contract without a maker or that refuses the call.
    """
    wholes = [call for call in bound.setter_calls(values, range(len(values))) if call[0] in makers]
    (whole,) = await read_after(rpc, bound, makers, [wholes], block)
    found = [] if isinstance(whole, str) else list(_unlike(bound, values, whole))
    if found:
        return Rehearsal(tuple(found))
    ways = [(index, way) for index in range(len(values)) for way in _ways(bound, values, index, makers)]
    trials = [way for _, way in ways if isinstance(way, Trial)]
    failed = [(index, way) for index, way in ways if isinstance(way, str)]
    answered = set()
    reads = await read_after(rpc, bound, makers, [trial.calls for trial in trials], block)
    for trial, read in zip(trials, reads, strict=True):
        if isinstance(read, str):
            failed.append((trial.index, f"{trial.said}: {read}"))
            continue
        answered.add(trial.index)
        if read != trial.values:
            sentence = f"{trial.said}: {_moves(bound, values, read)}"
            found.append(Miswritten(_setter_of(bound, trial.index), sentence))
    untried = [_untried(bound, index, failed) for index in range(len(values)) if index not in answered]
    return Rehearsal(tuple(found), tuple(untried))


def _ways(
    bound: BoundProtocol,
    values: tuple[int, ...],
    index: int,
    makers: Mapping[str, str],
    moves: Sequence[int] = (1, -1),
) -> Iterator[Trial | str]:
    """Yield the ways to move one parameter by a unit, or why there is none: alone, else with those ordered against it.

    Where a protocol has a setter for each, only one of the two orders may keep the ordering all the way.
    """
    alone = [_way(bound, values, index, _moved(values, index, move), makers) for move in moves]
    yield from alone
    if not any(isinstance(way, Trial) for way in alone):
        for move in (1, -1):
            together = _way(bound, values, index, _moved_along(bound, values, index, move), makers)
            yield together
            if isinstance(together, Trial) and len(together.calls) > 1:
                yield replace(together, calls=together.calls[::-1])


def _way(
    bound: BoundProtocol, values: tuple[int, ...], index: int, moved: tuple[int, ...], makers: Mapping[str, str]
) -> Trial | str:
    changed = [at for at, (old, new) in enumerate(zip(values, moved, strict=True)) if old != new]
    said = ", ".join(f"{bound.binding.parameters[at].name} {moved[at] - values[at]:+d}" for at in changed)
    if min(moved) < 0:
        return f"{said}: below 0"
    broken = _broken(bound, moved)
    if broken is not None:
        return f"{said}: breaks {bound.binding.invariants[broken]!r}"
    try:
        calls = bound.setter_calls(moved, changed)
    except BindingError as error:
        return f"{said}: {error}"
    unmade = next((target for target, _ in calls if target not in makers), None)
    if unmade is not None:
        return f"{said}: nobody is known from whom {unmade} takes it"
    return Trial(index, said, moved, calls)


def _distances(bound: BoundProtocol, index: int) -> list[int]:
    """Return distances to try: a unit, and where that is tiny a basis point and a percent, for settings with a tick."""
    scale = bound.binding.parameters[index].scale
    return [move * unit for unit in sorted({1, *(scale // part for part in (10_000, 100))} - {0}) for move in (1, -1)]


def _moved(values: tuple[int, ...], index: int, move: int) -> tuple[int, ...]:
    return (*values[:index], values[index] + move, *values[index + 1 :])


def _moved_along(bound: BoundProtocol, values: tuple[int, ...], index: int, move: int) -> tuple[int, ...]:
    """Move a parameter and whatever an ordering would stop it at: by another number, or their exchange went unseen."""
    moved = _moved(values, index, move)
    for _ in bound.invariants():
        broken = _broken(bound, moved)
        if broken is None:
            break
        low, factor_low, high, factor_high = bound.invariants()[broken]
        if move > 0 and high != index:
            moved = _moved(moved, high, moved[low] * factor_low // factor_high + 2 - moved[high])
        if move < 0 and low != index:
            moved = _moved(moved, low, moved[high] * factor_high // factor_low - 1 - moved[low])
    return moved


def _broken(bound: BoundProtocol, values: tuple[int, ...]) -> int | None:
    """Return the position of the first ordering that values do not keep, None if they keep all."""
    orderings = enumerate(bound.invariants())
    return next((at for at, (a, one, b, other) in orderings if values[a] * one > values[b] * other), None)


def _untried(bound: BoundProtocol, index: int, failed: Sequence[tuple[int, str]]) -> Untried:
    reasons = dict.fromkeys(reason for at, reason in failed if at == index)
    return Untried(bound.binding.parameters[index].name, _setter_of(bound, index), "; ".join(reasons))


def _unlike(bound: BoundProtocol, values: Sequence[int], read: Sequence[int]) -> Iterator[Miswritten]:
    for index, (parameter, value, found) in enumerate(zip(bound.binding.parameters, values, read, strict=True)):
        if value != found:
            sentence = f"{parameter.name} is {value}, and {found} once all live values were written"
            yield Miswritten(_setter_of(bound, index), sentence)


def _moves(bound: BoundProtocol, values: Sequence[int], read: Sequence[int]) -> str:
    triples = zip(bound.binding.parameters, values, read, strict=True)
    moved = [f"{parameter.name} moved by {new - old:+d}" for parameter, old, new in triples if new != old]
    return ", ".join(moved) or "no parameter moved"


def _setter_of(bound: BoundProtocol, index: int) -> int:
    name = bound.binding.parameters[index].name
    return next(at for at, setter in enumerate(bound.binding.setters) if name in setter.parameters)


async def _refusal(
    rpc: Rpc, bound: BoundProtocol, values: tuple[int, ...], sender: str, setters: Sequence[int], block: BlockStamp
) -> str | None:
    """Return why a contract does not take settings from an account, None if each of its setters takes some."""
    live = bound.calls_of(setters, values)
    (answer,) = await simulated(rpc, [[made_by(sender, call) for call in live]], block)
    if refusal_in(answer) is None:
        return None
    makers = {target: sender for target, _ in live}
    for setter, call in zip(setters, live, strict=True):
        ids = [bound.binding.id_of(name) for name in bound.binding.setters[setter].parameters]
        ways = [
            way
            for index in ids
            for way in _ways(bound, values, index, makers, _distances(bound, index))
            if isinstance(way, Trial)
        ]
        tried = [(call,), *(way.calls for way in ways)]
        answers = await simulated(rpc, [[made_by(sender, one) for one in calls] for calls in tried], block)
        reasons = [refusal_in(answer) for answer in answers]
        if None not in reasons:
            return reasons[-1]
    return None
