"""Write messages that are right for the moment: the values they change, the calls for it, and who signs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from machine_ledger import check_invariants
from machine_messages import KEYS, KINDS, Attempt, Message, Seal, hash_calls
from machine_model import coupled_ids
from machine_policies import NO_HEALTH
from machine_protocol import Refused, Values
from steward_evm import CHAIN

if TYPE_CHECKING:
    from random import Random

    from machine_ledger import Line
    from machine_messages import Call
    from machine_model import Model
    from machine_policies import Policy

WAITS = (0, 60, 3_600, 7 * 86_400)
FOR_EVER = 2**255
TRIES, MOST_CHANGES, MORE_SIGNERS = 6, 4, 2


@dataclass(slots=True)
class Draft:
    """A message before it is signed, and how it will be."""

    function: str
    line: Line
    live: Values
    fields: dict[str, Any]
    keys: list[int]
    address: str
    """Of the steward that the signatures are for."""

    chain: int = CHAIN
    kind: str = ""
    spoilt: str = ""
    tampered: dict[str, Any] = field(default_factory=dict)
    """Fields that change once it is signed."""

    def set(self, changes: dict[int, int]) -> None:
        """Propose other values, ids ascending."""
        self.fields |= {"ids": tuple(sorted(changes)), "values": tuple(changes[index] for index in sorted(changes))}

    def changes(self) -> dict[int, int]:
        """Proposed values by id."""
        return dict(zip(self.fields["ids"], self.fields["values"], strict=True))

    def after(self) -> Values:
        """All values as they would be."""
        changes = self.changes()
        return tuple(changes.get(index, value) for index, value in enumerate(self.live))

    def signed(self) -> Attempt:
        """The message with its signatures."""
        message = Message(**self.fields)
        digest = message.digest(self.kind or KINDS[self.function], self.address, self.chain)
        seals = [Seal(key, digest) for key in self.keys]
        if self.spoilt and seals:
            seals[-1] = replace(seals[-1], spoilt=self.spoilt)
        return Attempt(self.function, self.line.steward, replace(message, **self.tampered), tuple(seals))


class Author:
    """Draws what a message says from one source."""

    def __init__(self, model: Model, random: Random) -> None:
        self.model = model
        self.random = random

    def chance(self, share: float) -> bool:
        """Say yes in this share of cases."""
        return self.random.random() < share

    def draft(self, function: str, line: Line) -> Draft:
        """Write a message that its function should take."""
        live = self.live(line)
        deadline = self.model.now + self.random.choice(WAITS)
        if function == "announce":
            deadline += FOR_EVER if self.chance(0.1) else max(limits.notice for limits in line.policy.limits)
        draft = Draft(
            function,
            line,
            live,
            {
                "market": line.market,
                "policy": line.stored,
                "sequence": line.sequence + 1,
                "state_hash": line.hash(live),
                "deadline": deadline,
                "order": self.order(line.policy) if function != "announce" and self.chance(0.4) else (),
            },
            self.signers(line.policy),
            line.address,
        )
        draft.set(self.restoration(line, live) if function == "rollback" else self._change(draft, deadline))
        self.add_calls(draft)
        self.add_probes(draft)
        return draft

    def move(self, line: Line, index: int, value: int) -> Draft:
        """Write a message that moves one parameter, and names those coupled with it as they are."""
        draft = self.draft("apply", line)
        coupled = _with_coupled(line.policy, {index})
        draft.set({other: draft.live[other] for other in coupled} | {index: value})
        self.add_calls(draft)
        self.add_probes(draft)
        return draft

    def farthest(self, line: Line, index: int) -> int:
        """Return one of the two values that a parameter can just reach."""
        limits = line.policy.limits[index]
        low, high = line.room(index, self.live(line)[index], self.model.now)
        return self.random.choice((max(low, limits.minimum), min(high, limits.maximum)))

    def live(self, line: Line) -> Values:
        """What a market's getters would answer, in order of its parameters."""
        shown = self.model.protocols[line.policy.protocol].shown(self.model.now)
        return tuple(shown[place] for place in line.policy.order)

    def signers(self, policy: Policy) -> list[int]:
        """Choose enough signers, sometimes more."""
        most = min(len(policy.signers), policy.threshold + MORE_SIGNERS)
        return sorted(self.random.sample(policy.signers, self.random.randint(policy.threshold, most)))

    def stranger(self, policy: Policy) -> int:
        """Choose someone who is no signer."""
        return self.random.choice([key for key in range(len(KEYS)) if key not in policy.signers])

    def restoration(self, line: Line, live: Values) -> dict[int, int]:
        """Return what it takes to set a market back to its last good version."""
        good = line.last_good(self.model.now).values if line.versions else live
        return {index: value for index, value in enumerate(good) if value != live[index]} or {0: good[0]}

    def add_calls(self, draft: Draft) -> None:
        """Sign the calls that bring the proposed values about."""
        draft.fields["calls_hash"] = hash_calls(self.calls(draft, draft.after()))

    def calls(self, draft: Draft, after: Values) -> tuple[Call, ...]:
        """Return the calls that bring some values about, in the order that the message asks for."""
        order = draft.fields["order"]
        return self.model.calls(draft.line.policy, draft.live, after, order if any(order) else ())

    def order(self, policy: Policy) -> tuple[int, ...]:
        """Choose an order of all setters."""
        setters = len(policy.setters)
        return tuple(self.random.sample(range(setters), setters))

    def add_probes(self, draft: Draft) -> None:
        """Name accounts, seldom without a health view, and how many of them the change makes liquidatable at most."""
        policy, probes = draft.line.policy, ()
        if self.chance(0.02 if policy.health == NO_HEALTH else 0.4):
            probes = tuple((self.random.randint(300, 700), self.random.randint(-90, 90)) for _ in range(3))
        draft.fields |= {"probes": probes, "max_liquidatable": self.liquidatable(draft, probes)}

    def liquidatable(self, draft: Draft, probes: tuple[tuple[int, int], ...]) -> int:
        """Count the accounts that the change makes liquidatable, were the protocol honest."""
        policy = draft.line.policy
        if policy.health == NO_HEALTH:
            return len(probes)
        protocol = self.model.protocols[policy.protocol]
        numbers = list(protocol.numbers)
        for place, value in zip(policy.order, draft.after(), strict=True):
            numbers[place] = value
        after = replace(protocol, numbers=tuple(numbers))
        return sum(after.liquidatable(policy, probe) for probe in probes)

    def _change(self, draft: Draft, deadline: int) -> dict[int, int]:
        """Move a few parameters, and those coupled with them, as far as they may or less."""
        line, announces = draft.line, draft.function == "announce"
        number = len(line.policy.limits)
        noticed = [index for index, limits in enumerate(line.policy.limits) if limits.notice]
        changes: dict[int, int] = {}
        for _ in range(TRIES):
            chosen = set(self.random.sample(range(number), self.random.randint(1, min(MOST_CHANGES, number))))
            if announces and noticed:
                chosen.add(self.random.choice(noticed))
            chosen = _with_coupled(line.policy, chosen)
            at = deadline if announces else self.model.now
            changes = {index: self._value(line, index, draft.live[index], at, announces) for index in sorted(chosen)}
            if self._is_sound(line, draft.live, changes):
                break
        return changes

    def _value(self, line: Line, index: int, live: int, at: int, announces: bool) -> int:
        """Choose a value that one parameter may take, often the last one."""
        limits = line.policy.limits[index]
        low, high = line.room(index, live, at)
        low, high = max(low, limits.minimum), min(high, limits.maximum)
        if limits.notice:
            tightens_up = limits.tightening_up == announces
            low, high = (max(low, live), high) if tightens_up else (low, min(high, live))
        if low > high:
            return live
        return self.random.choice((low, high, self.random.randint(low, high)))

    @staticmethod
    def _is_sound(line: Line, live: Values, changes: dict[int, int]) -> bool:
        after = tuple(changes.get(index, value) for index, value in enumerate(live))
        try:
            check_invariants(line.policy, after)
        except Refused:
            return False
        return after != live


def _with_coupled(policy: Policy, chosen: set[int]) -> set[int]:
    while missing := {other for index in chosen for other in coupled_ids(policy, index)} - chosen:
        chosen |= missing
    return chosen
