"""Draw policies, histories and proposals that touch every rule: most of them sound, or wrong in one or two places."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING

from steward_evm import MINUTE, SLOTS, Reverted, Rules, Stewards, World

from chain.policy import ParameterLimits
from keeper.limits import coupled_ids, drift_left, largest_step, verdict
from keeper.messages import Change, Proposal, Reason
from models.market import Invariant, MarketState, ParameterState

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGEST_WORD = 2**256 - 1
LARGEST_VALUE = 2**128 - 1
WINDOWS = (60, 960, 40_020)
"""Seconds that drift budgets last."""

STEPS = 8
"""Moments of a market's history."""

FRESH = 30
"""Proposals drawn at each moment."""

Drawn = tuple[World, Proposal, MarketState, int | None]


class Author:
    """Draws everything from one seed."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)

    def chance(self, share: float) -> bool:
        """Say yes in this share of cases."""
        return self.random.random() < share

    def start(self) -> Rules:
        """A policy for one to sixteen parameters, few most of the time, with values that keep it."""
        number = self.random.randint(1, SLOTS if self.chance(0.2) else 6)
        scale = self.random.choice([100, 10_000, 10**18, 2**126])
        return self.rules(tuple(self.random.randint(0 if self.chance(0.1) else 1, scale) for _ in range(number)), scale)

    def rules(self, values: tuple[int, ...], scale: int) -> Rules:
        """A policy that the values keep, most of the time."""
        coupled = self._couplings(len(values))
        limits = tuple(self._limits(value, scale, mask) for value, mask in zip(values, coupled, strict=True))
        drawn = [self._invariant(values) for _ in range(self.random.choice([0, 1, 2, 3]))]
        return Rules(limits, values, tuple(rule for rule in drawn if rule is not None))

    def _couplings(self, number: int) -> list[int]:
        masks = [0] * number
        if self.chance(0.8):
            group = self.random.sample(range(number), self.random.randint(min(2, number), number))
            mask = sum(1 << index for index in group)
            for index in group:
                masks[index] = mask
        if self.chance(0.2):
            masks[self.random.randrange(number)] = self.random.getrandbits(number)
        return masks

    def _limits(self, value: int, scale: int, coupled: int) -> ParameterLimits:
        relative = self.chance(0.4)
        steps = [self.random.randint(1, 6_000 if relative else scale // 4) for _ in range(2)]
        return ParameterLimits(
            minimum=self.random.choice([0, value // 2, value - value // 50]),
            maximum=self.random.choice([LARGEST_VALUE, min(2 * value + 1, LARGEST_VALUE), value + value // 50 + 1]),
            max_step_up=0 if self.chance(0.03) else steps[0],
            max_step_down=0 if self.chance(0.03) else steps[1],
            relative=relative,
            cooldown=self.random.choice([0, 0, 1, 900, 5_000]),
            drift_budget=0 if self.chance(0.05) else self.random.randint(1, max(1, scale // 10)),
            drift_window=self.random.choice([0, *WINDOWS]),
            tightening_up=self.chance(0.5),
            notice=self.random.choice([0, 0, 0, 300, 7_000]),
            reversible=self.chance(0.85),
            coupled=coupled,
        )

    def _invariant(self, values: tuple[int, ...]) -> Invariant | None:
        a, b = self.random.randrange(len(values)), self.random.randrange(len(values))
        if values[b] == 0:
            return None
        factor_a = self.random.randint(1, 5)
        factor_b = -(-values[a] * factor_a // values[b]) + self.random.choice([0, 0, 1])
        return Invariant(a, factor_a, b, factor_b) if 0 < factor_b <= 2**127 else None

    def proposal(self, world: World, state: MarketState) -> Proposal:
        """A proposal for this moment that is sound, or wrong in up to three places."""
        undoable = state.last_good != state.values
        if self.chance(0.35 if undoable else 0.05):
            proposal = world.undo(state)
        else:
            proposal = world.change(*self._sound_changes(state, world.house.now), state=state)
        for _ in range(self.random.choices([0, 1, 2, 3], [7, 7, 4, 2])[0]):
            proposal = self._spoilt(proposal, state, world.house.now)
        return proposal

    def _sound_changes(self, state: MarketState, now: int) -> list[tuple[int, int]]:
        ids: set[int] = set()
        for index in self.random.sample(range(len(state.parameters)), self.random.randint(1, len(state.parameters))):
            ids |= {index, *coupled_ids(state.parameters[index])}
        while linked := {other for index in ids for other in coupled_ids(state.parameters[index])} - ids:
            ids |= linked
        return [(index, self._sound_value(state.parameters[index], now)) for index in sorted(ids)]

    def _sound_value(self, row: ParameterState, now: int) -> int:
        cooling = row.changed_at != 0 and now < row.changed_at + row.cooldown
        if self.chance(0.9 if cooling else 0.1):
            return row.value
        left = drift_left(row, now)
        up, down = (min(largest_step(row, up=up), LARGEST_WORD if left is None else left) for up in (True, False))
        low, high = max(row.minimum, row.value - down), min(row.maximum, row.value + up)
        if low > high:
            return row.value
        return self.random.choice([low, high, self.random.randint(low, high)])

    def _spoilt(self, proposal: Proposal, state: MarketState, now: int) -> Proposal:
        spoil = self.random.choice(["value", "value", "value", "ids", "ids", "binding"])
        if spoil == "ids":
            return replace(proposal, changes=self._ids(list(proposal.changes), state)[:16])
        return self._value(proposal, state, now) if spoil == "value" else self._binding(proposal, state, now)

    def _binding(self, proposal: Proposal, state: MarketState, now: int) -> Proposal:
        return self.random.choice(
            [
                replace(proposal, deadline=now - self.random.randint(0, 1)),
                replace(proposal, sequence=state.sequence + self.random.choice([0, 2, 3])),
                replace(proposal, state_hash="0x" + "11" * 32),
            ]
        )

    def _ids(self, changes: list[Change], state: MarketState) -> tuple[Change, ...]:
        place = self.random.randint(0, len(changes))
        spoil = self.random.choice(["drop", "drop", "swap", "repeat", "unknown", "stay", "live"])
        if spoil == "unknown":
            changes.insert(place, Change(self.random.choice([len(state.parameters), 15, 16, 255, LARGEST_WORD]), 1))
        elif spoil == "live":
            changes = [
                Change(change.id, state.values[change.id]) for change in changes if change.id < len(state.values)
            ]
        elif spoil == "stay":
            ids = {change.id for change in changes}
            changes += [Change(row.id, row.value) for row in state.parameters if row.id not in ids and self.chance(0.5)]
            changes.sort(key=lambda change: change.id)
        elif changes and spoil == "drop":
            changes.pop(place - 1)
        elif changes and spoil == "repeat":
            changes.insert(place, changes[place - 1])
        elif spoil == "swap":
            self.random.shuffle(changes)
        return tuple(changes)

    def _value(self, proposal: Proposal, state: MarketState, now: int) -> Proposal:
        if not proposal.changes:
            return proposal
        place = self.random.randrange(len(proposal.changes))
        change = proposal.changes[place]
        if change.id >= len(state.parameters):
            return proposal
        value = self.random.choice(_edges(state.parameters[change.id], now))
        spoilt = Change(change.id, min(max(value, 0), LARGEST_WORD))
        return replace(proposal, changes=(*proposal.changes[:place], spoilt, *proposal.changes[place + 1 :]))

    def until_next(self, now: int) -> int:
        """Seconds until the next moment, often to where a minute or a window of the steward ends, give or take one."""
        if self.chance(0.5):
            return self.random.choice([1, 1, 300, 899, 900, 960, 4_999, 20_000, 60_000])
        period = self.random.choice([MINUTE, *WINDOWS])
        # By its minute rounded up, the last minute of a period counts to the next one but for its first second.
        return max(1, -now % period - self.random.choice([0, MINUTE]) + self.random.choice([-1, 0, 1, 2]))

    def foreign(self, state: MarketState) -> tuple[int, ...]:
        """Values that someone writes behind the steward: most inside the corridors, some anywhere."""
        return tuple(
            row.value
            if self.chance(0.5)
            else self.random.randint(row.minimum, min(row.maximum, 2 * row.value + 2))
            if self.chance(0.8) and row.minimum <= 2 * row.value + 2
            else self.random.randint(0, 2**127)
            for row in state.parameters
        )


def _edges(row: ParameterState, now: int) -> list[int]:
    """Return the values on both sides of every limit of a parameter."""
    up, down, left = largest_step(row, up=True), largest_step(row, up=False), drift_left(row, now)
    edges = [row.minimum, row.minimum - 1, row.maximum, row.maximum + 1, 0, LARGEST_WORD]
    edges += [row.value + move for move in (-1, 0, 1, up, up + 1, -down, -down - 1)]
    if left is not None:
        edges += [row.value + move for move in (left, left + 1, -left, -left - 1)]
    return edges


@dataclass
class Walk:
    """Endless markets with their histories, and the proposals drawn at each moment with all that the guard is told."""

    stewards: Stewards
    author: Author

    def __iter__(self) -> Iterator[Drawn]:
        while True:
            world = self.stewards.add(self.author.start())
            for _ in range(STEPS):
                yield from self._moment(world)

    def _moment(self, world: World) -> Iterator[Drawn]:
        author = self.author
        self.stewards.wait(author.until_next(self.stewards.now))
        if author.chance(0.12):
            world.write(author.foreign(world.state()))
            if author.chance(0.4):
                _possible(world.rebase)
        if author.chance(0.12):
            live = world.state().values
            _possible(lambda: world.put(author.rules(live, max(100, *live))))
        paused = author.chance(0.07)
        if paused:
            world.pause()
        state = world.state()
        fresh = [author.proposal(world, state) for _ in range(FRESH)]
        for proposal in fresh:
            yield world, proposal, state, world.announced_at(proposal)
        if paused:
            world.pause(on=False)
        yield from self._announcements(world, fresh)
        sound = next((proposal for proposal in fresh if world.refusal(proposal) is None), None)
        if sound is not None:
            world.submit(sound)

    def _announcements(self, world: World, fresh: list[Proposal]) -> Iterator[Drawn]:
        """Announce what only lacks its notice; draw it at once, a second early, in time, and one after its veto."""
        state, now = world.state(), world.house.now
        lacking = [p for p in fresh if (verdict(p, state, now, None) or (None,))[0] is Reason.NOT_ANNOUNCED]
        due = [replace(proposal, deadline=now + 10**6 + index) for index, proposal in enumerate(lacking[:3])]
        for proposal in due:
            world.announce(proposal)
        for proposal in due[:1]:
            yield world, proposal, state, world.announced_at(proposal)
            notice = max(row.notice for row in state.parameters)
            world.house.wait(self.author.random.choice([299, 1, notice - 1]))
        for _ in range(2):
            for proposal in due:
                yield world, proposal, state, world.announced_at(proposal)
            world.house.wait(1)
        for proposal in due[:2]:
            world.veto(proposal)
            yield world, proposal, state, world.announced_at(proposal)


def _possible(act) -> bool:
    """Do something that the steward may refuse; return whether it did not."""
    try:
        act()
    except Reverted:
        return False
    return True
