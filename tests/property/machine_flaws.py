"""Spoil a sound message in one place: what it says, who has signed it, or what became of it afterwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from machine_messages import hash_calls, words
from machine_policies import selector
from steward_evm import CHAIN

if TYPE_CHECKING:
    from machine_author import Author, Draft

Flaw = Callable[["Author", "Draft"], None]
MOST = 16
"""Parameters of a message: one more would not even decode."""

NUDGE = selector("nudge(uint256,uint256)")


def late(author: Author, draft: Draft) -> None:
    """Miss the deadline by a second."""
    draft.fields["deadline"] = author.model.now - 1


def out_of_sequence(author: Author, draft: Draft) -> None:
    """Follow another version than the current one."""
    draft.fields["sequence"] = max(0, draft.fields["sequence"] + author.random.choice((-1, 1)))


def uneven(author: Author, draft: Draft) -> None:
    """Name a value more than ids, or less."""
    values = draft.fields["values"]
    draft.fields["values"] = values[:-1] if len(values) == MOST or author.chance(0.5) else (*values, 1)


def other_state(author: Author, draft: Draft) -> None:
    """Start from other values, another market's, or what another steward says of the same."""
    states = [line.hash(author.live(line)) for line in author.model.lines if line is not draft.line]
    old = [draft.line.hash(version.values) for version in draft.line.versions]
    draft.fields["state_hash"] = author.random.choice([*states, *old])


def unknown_id(_author: Author, draft: Draft) -> None:
    """Name a parameter that there is not."""
    changes = draft.changes()
    if len(changes) == MOST:
        del changes[0]
    changes[len(draft.live)] = 500
    draft.set(changes)


def repeated_id(author: Author, draft: Draft) -> None:
    """Name a parameter twice, to go two steps."""
    ids, values = draft.fields["ids"][1 - MOST :], draft.fields["values"][1 - MOST :]
    draft.fields |= {"ids": (*ids, ids[-1]), "values": (*values, values[-1] + author.random.randint(0, 20))}


def descending(_author: Author, draft: Draft) -> None:
    """Name the parameters backwards."""
    draft.fields |= {"ids": draft.fields["ids"][::-1], "values": draft.fields["values"][::-1]}


def outside(author: Author, draft: Draft) -> None:
    """Leave a corridor."""
    _propose(author, draft, lambda limits, _: (limits.minimum - 1, limits.maximum + 1))


def too_far(author: Author, draft: Draft) -> None:
    """Exceed a step by one."""

    def edges(limits, live):
        up, down = limits.max_step_up, limits.max_step_down
        if limits.relative:
            up, down = live * up // 10_000, live * down // 10_000
        return live - down - 1, live + up + 1

    _propose(author, draft, edges)


def over_the_edge(author: Author, draft: Draft) -> None:
    """Go one further than step, cooldown and budget leave room for."""
    line, changes = draft.line, draft.changes()
    budgeted = [index for index in range(len(draft.live)) if line.policy.limits[index].drift_window]
    index = author.random.choice(budgeted or list(changes))
    low, high = line.room(index, draft.live[index], author.model.now)
    changes[index] = max(0, author.random.choice((low - 1, high + 1)))
    _redo(author, draft, changes)


def idle(author: Author, draft: Draft) -> None:
    """Propose what is live."""
    _redo(author, draft, {index: draft.live[index] for index in draft.fields["ids"]})


def split(author: Author, draft: Draft) -> None:
    """Name only one of several that are coupled."""
    coupled = [index for index, limits in enumerate(draft.line.policy.limits) if limits.coupled & ~(1 << index)]
    if coupled:
        index = author.random.choice(coupled)
        low, high = draft.line.room(index, draft.live[index], author.model.now)
        _redo(author, draft, {index: high if author.chance(0.5) else low})


def disorderly(author: Author, draft: Draft) -> None:
    """Move the sides of an order towards each other, as far as they may."""
    line = draft.line
    if not line.policy.invariants:
        return
    rule = author.random.choice(line.policy.invariants)
    changes = draft.changes()
    for index, highest in ((rule.a, True), (rule.b, False)):
        limits = line.policy.limits[index]
        low, high = line.room(index, draft.live[index], author.model.now)
        changes[index] = min(high, limits.maximum) if highest else max(low, limits.minimum)
    _redo(author, draft, changes)


def unannounced(author: Author, draft: Draft) -> None:
    """Tighten by one what may not be tightened without notice."""
    noticed = [index for index, limits in enumerate(draft.line.policy.limits) if limits.notice]
    if noticed:
        index = author.random.choice(noticed)
        step = 1 if draft.line.policy.limits[index].tightening_up else -1
        _redo(author, draft, draft.changes() | {index: draft.live[index] + step})


def missed(author: Author, draft: Draft) -> None:
    """Name another value than the last good one, or one less."""
    changes = draft.changes()
    index = author.random.choice(list(changes))
    if author.chance(0.5) and len(changes) > 1:
        del changes[index]
    else:
        changes[index] += 1
    _redo(author, draft, changes)


def other_calls(author: Author, draft: Draft) -> None:
    """Sign other calls: none, one less, one more, in another order, to someone else, or with another argument."""
    calls = author.calls(draft, draft.after())
    if not calls:
        return
    target, data = calls[0]
    others = [address for address in author.model.addresses if address != target]
    nudge = (target, NUDGE + words((0, 500)))
    signed = ((), calls[1:], (*calls, calls[0]), (*calls, nudge), calls[::-1], (nudge, *calls[1:]))
    spoilt = ((author.random.choice(others), data), (target, data[:-1] + bytes([data[-1] ^ 1])), (target, data[:-32]))
    changed = author.random.choice((*signed, *((first, *calls[1:]) for first in spoilt)))
    draft.fields["calls_hash"] = hash_calls(changed)


def bad_order(author: Author, draft: Draft) -> None:
    """Name a setter twice, one that there is not, one less, or more of them than any policy has."""
    setters = len(draft.line.policy.setters)
    order = list(author.order(draft.line.policy))
    place = author.random.randrange(setters)
    spoilt = author.random.choice(
        (
            [*order[:place], (order[place] + 1) % setters, *order[place + 1 :]],
            [*order[:place], author.random.randint(setters, 15), *order[place + 1 :]],
            order[:-1],
            [*order, *[0] * (8 - setters), 1],
        )
    )
    draft.tampered = {"order": tuple(spoilt)}


def other_values(author: Author, draft: Draft) -> None:
    """Sign the calls of another change."""
    index, after = author.random.randrange(len(draft.live)), list(draft.after())
    after[index] += 1
    draft.fields["calls_hash"] = hash_calls(author.calls(draft, tuple(after)))


def harmful(author: Author, draft: Draft) -> None:
    """Admit to less than a change does to the accounts it names."""
    live = author.model.protocols[draft.line.policy.protocol].numbers[draft.line.policy.health_word]
    draft.fields["probes"] = tuple(
        (live + author.random.randint(-80, 80), author.random.randint(-9, 9)) for _ in range(3)
    )
    draft.fields["max_liquidatable"] = max(0, author.liquidatable(draft, draft.fields["probes"]) - 1)


def too_few(_author: Author, draft: Draft) -> None:
    """Lack one signature."""
    draft.keys = draft.keys[: draft.line.policy.threshold - 1]


def unsorted(_author: Author, draft: Draft) -> None:
    """Sign in the wrong order."""
    draft.keys = draft.keys[::-1]


def twice(_author: Author, draft: Draft) -> None:
    """Let one signer sign twice."""
    draft.keys = sorted([*draft.keys[1:], draft.keys[-1]]) if len(draft.keys) > 1 else draft.keys * 2


def stranger(author: Author, draft: Draft) -> None:
    """Let someone sign who is no signer, beside the others or instead of one."""
    keys = draft.keys[1:] if author.chance(0.5) else draft.keys
    draft.keys = sorted([*keys, author.stranger(draft.line.policy)])


def high_s(_author: Author, draft: Draft) -> None:
    """Make a signature that has a second one of the same digest."""
    draft.spoilt = "high s"


def empty(_author: Author, draft: Draft) -> None:
    """Leave a signature empty."""
    draft.spoilt = "zero"


def other_parity(_author: Author, draft: Draft) -> None:
    """Turn a signature into one of somebody unknown."""
    draft.spoilt = "other parity"


def other_chain(_author: Author, draft: Draft) -> None:
    """Sign for another chain."""
    draft.chain = CHAIN + 1


def other_policy(author: Author, draft: Draft) -> None:
    """Sign for another policy than the one in force, such as the one before."""
    others = {line.stored for line in author.model.lines} - {draft.line.stored}
    draft.fields["policy"] = author.random.choice(sorted(others))


def other_steward(author: Author, draft: Draft) -> None:
    """Sign for the other steward."""
    draft.address = author.model.stewards[1 - draft.line.steward].address


def other_kind(_author: Author, draft: Draft) -> None:
    """Sign a change and call it a rollback, or the other way."""
    draft.kind = "Apply" if draft.function == "rollback" else "Rollback"


def tampered(author: Author, draft: Draft) -> None:
    """Change one field of what was signed."""
    fields = draft.fields
    others = [line for line in author.model.lines if line.steward == draft.line.steward and line is not draft.line]
    changes = {
        "deadline": fields["deadline"] + 1,
        "max_liquidatable": fields["max_liquidatable"] + 1,
        "values": (*fields["values"][:-1], fields["values"][-1] + 1),
        "ids": (*fields["ids"][:-1], fields["ids"][-1] + 1),
        "calls_hash": bytes(32),
        "model_hash": bytes(32),
        "input_root": bytes(32),
        "probes": (*fields["probes"], (400, 0)),
        "order": () if any(fields["order"]) else author.order(draft.line.policy),
    }
    name = author.random.choice([*changes, *(["market"] if others else [])])
    if name == "market":
        line = author.random.choice(others)
        draft.tampered = {"market": line.market, "sequence": line.sequence + 1}
    else:
        draft.tampered = {name: changes[name]}


SEALS = (
    too_few,
    unsorted,
    twice,
    stranger,
    high_s,
    empty,
    other_parity,
    other_chain,
    other_policy,
    other_steward,
    other_kind,
    tampered,
    tampered,
)
"""What can be wrong with the signatures of any message."""

MOMENT = (late, out_of_sequence, other_state, uneven, unknown_id, repeated_id, descending)
"""What can be wrong with any message that was signed properly."""

CHANGE = (outside, too_far, over_the_edge, idle, split, disorderly, unannounced)
"""What can be wrong with a change."""

EXECUTION = (other_calls, other_calls, other_values, bad_order, harmful)
"""What can go wrong when a message is carried out."""


def _propose(author: Author, draft: Draft, edges: object) -> None:
    """Replace one proposed value by one of two that depend on its limits and on what is live."""
    changes = draft.changes()
    index = author.random.choice(list(changes))
    changes[index] = max(0, author.random.choice(edges(draft.line.policy.limits[index], draft.live[index])))
    _redo(author, draft, changes)


def _redo(author: Author, draft: Draft, changes: dict[int, int]) -> None:
    """Propose other values, with calls that would bring them about."""
    draft.set(changes)
    author.add_calls(draft)
