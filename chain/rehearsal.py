"""Rehearse a protocol's setters on a copy of the chain: who may call them, and whether they write what is read back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chain.handover import handover_of, setters_of
from chain.protocol import BindingError
from chain.steward import revert_reason

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from chain.handover import Handover
    from chain.protocol import BoundProtocol
    from chain.rpc import Call, Rpc
    from models.market import BlockStamp

BATCH = 20
"""Simulations asked for in one request."""

Corridors = list[tuple[int, int]]
"""Least and largest value of each parameter, in id order."""

Read = tuple[int, ...] | str
"""What the getters read once the calls were made, or why one was refused."""


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
    """A setter, by its position in the binding, after which the getters read other values than those it was to write.

    A parameter's own setter may be one that `refused` it in either direction: then nothing is known of it.
    """

    setter: int
    sentence: str
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Trial:
    """One parameter to be moved by a unit, the others staying as they are."""

    index: int
    move: int
    values: tuple[int, ...]


async def makers_of(
    rpc: Rpc, bound: BoundProtocol, values: Sequence[int], sender: str | None, block: BlockStamp
) -> tuple[dict[str, str], list[Missing]]:
    """Return by contract who may write the live values, and the contracts that refuse them from `sender`.

    Without a sender nobody is preferred to the accounts that a contract names. Raises Refused when the endpoint does
    not serve eth_simulateV1.
    """
    calls = bound.setter_calls(values, range(len(values)))
    makers, missing = {}, []
    for target in dict.fromkeys(target for target, _ in calls):
        own = [call for call in calls if call[0] == target]
        reason = None if sender is None else await _refusal(rpc, sender, own, block)
        if sender is not None and reason is None:
            makers[target] = sender
            continue
        named = await setters_of(rpc, target, block)
        takes = [one for one in named if await _refusal(rpc, one, own, block) is None]
        maker = takes[0] if takes else None
        if maker is not None:
            makers[target] = maker
        if sender is not None and reason is not None:
            missing.append(Missing(target, reason, maker, named, await handover_of(rpc, target, sender, block)))
    return makers, missing


async def miswritten(
    rpc: Rpc,
    bound: BoundProtocol,
    values: tuple[int, ...],
    makers: Mapping[str, str],
    corridors: Corridors,
    block: BlockStamp,
) -> list[Miswritten]:
    """Write the live values, then each parameter a unit up and a unit down; return what is then read otherwise.

    A unit is tried where corridor and invariants leave room for it. Contracts without a maker are left out.
    """
    wholes = [call for call in bound.setter_calls(values, range(len(values))) if call[0] in makers]
    trials = [trial for trial in _trials(bound, values, corridors) if _calls(bound, trial, makers)]
    asked = [wholes, *(_calls(bound, trial, makers) for trial in trials)]
    whole, *reads = await _read_after(rpc, bound, makers, asked, block)
    found = [] if isinstance(whole, str) else list(_unlike(bound, values, whole))
    if found:
        return found
    refusals: dict[int, str] = {}
    for trial, read in zip(trials, reads, strict=True):
        name = f"{bound.binding.parameters[trial.index].name} {trial.move:+d}"
        if isinstance(read, str):
            refusals.setdefault(trial.index, f"{name}: {read}")
        elif read != trial.values:
            found.append(Miswritten(_setter_of(bound, trial.index), f"{name}: {_moves(bound, values, read)}"))
    answered = {trial.index for trial, read in zip(trials, reads, strict=True) if not isinstance(read, str)}
    untold = [(index, reason) for index, reason in refusals.items() if index not in answered]
    return [*found, *(Miswritten(_setter_of(bound, index), reason, refused=True) for index, reason in untold)]


def _trials(bound: BoundProtocol, values: tuple[int, ...], corridors: Corridors) -> Iterator[Trial]:
    for index, (value, (minimum, maximum)) in enumerate(zip(values, corridors, strict=False)):
        for move in (1, -1):
            moved = (*values[:index], value + move, *values[index + 1 :])
            keeps = all(moved[a] * one <= moved[b] * other for a, one, b, other in bound.invariants())
            if minimum <= value + move <= maximum and keeps:
                yield Trial(index, move, moved)


def _calls(bound: BoundProtocol, trial: Trial, makers: Mapping[str, str]) -> list[Call]:
    """Return the calls that make a trial, none where nobody is known who may make one or a value does not fit."""
    try:
        calls = bound.setter_calls(trial.values, [trial.index])
    except BindingError:
        return []
    return list(calls) if all(target in makers for target, _ in calls) else []


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


async def _refusal(rpc: Rpc, sender: str, calls: Sequence[Call], block: BlockStamp) -> str | None:
    """Make calls one after the other; return why one was refused, or None."""
    (answer,) = await _simulated(rpc, [[_from(sender, call) for call in calls]], block)
    return next((_reason(one) for one in answer if one["status"] != "0x1"), None)


async def _read_after(
    rpc: Rpc, bound: BoundProtocol, makers: Mapping[str, str], asked: Sequence[Sequence[Call]], block: BlockStamp
) -> list[Read]:
    """Make each list of calls on a copy of its own, and read the getters there."""
    views = [{"to": target, "data": data} for target, data in bound.reads()]
    copies = [[*(_from(makers[call[0]], call) for call in calls), *views] for calls in asked]
    found: list[Read] = []
    for answer in await _simulated(rpc, copies, block):
        reason = next((_reason(one) for one in answer if one["status"] != "0x1"), None)
        returned = [bytes.fromhex(one["returnData"][2:]) for one in answer[-len(views) :]]
        found.append(bound.values(returned) if reason is None else reason)
    return found


async def _simulated(rpc: Rpc, copies: Sequence[list[dict[str, str]]], block: BlockStamp) -> list[list[dict[str, Any]]]:
    """Return the answers to calls, a copy of the chain for each list of them."""
    requests = [("eth_simulateV1", ({"blockStateCalls": [{"calls": calls}]}, hex(block.number))) for calls in copies]
    batches = [requests[at : at + BATCH] for at in range(0, len(requests), BATCH)]
    return [answer[0]["calls"] for batch in batches for answer in await rpc.batch(batch)]


def _from(sender: str, call: Call) -> dict[str, str]:
    return {"from": sender, "to": call[0], "data": call[1]}


def _reason(call: Mapping[str, Any]) -> str:
    failed = call.get("error") or {}
    return revert_reason(failed.get("data") or call.get("returnData") or "")
