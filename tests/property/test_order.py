"""The search for an order of setters finds one wherever there is one, and none that the protocol would not take."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from itertools import pairwise, permutations
from types import SimpleNamespace

from hypothesis import assume, given
from hypothesis import strategies as st

from chain.order import order_taken

Call = tuple[int, int]


@dataclass(frozen=True)
class Weights:
    """A protocol of weights with a setter each: their sum keeps a floor and a cap.

    Where they are `tied` each keeps below twice the next as well.
    """

    live: tuple[int, ...]
    floor: int
    cap: int
    tied: bool = False

    def keeps(self, values):
        """Whether the protocol allows these values."""
        ordered = not self.tied or all(one <= 2 * other for one, other in pairwise(values))
        return self.floor <= sum(values) <= self.cap and ordered

    def after(self, calls: list[Call]) -> tuple[int, ...] | None:
        """The weights once each call has set one; None where one is refused."""
        values = list(self.live)
        for index, value in calls:
            values[index] = value
            if not self.keeps(values):
                return None
        return tuple(values)


@dataclass(frozen=True)
class Dragged:
    """A protocol of which the first setter resets the second value, and the third waits for the first."""

    live: tuple[int, ...] = (10, 40, 1)

    def after(self, calls: list[Call]) -> tuple[int, ...] | None:
        """The values once each call has set one; None where one is refused."""
        values = list(self.live)
        for index, value in calls:
            if index == 2 and values[0] < 20:
                return None
            values[index] = value
            if index == 0:
                values[1] = 41
        return tuple(values)


def market_of(protocol_: Weights | Dragged):
    """What the search asks of a market: which setters write what, their calls, and whether the protocol takes them."""

    async def attempt(sequences, _state, _wait):
        return [protocol_.after(calls) for calls in sequences]

    protocol = SimpleNamespace(
        binding=SimpleNamespace(setters=protocol_.live),
        setters_writing=lambda changed: tuple(sorted(changed)),
        calls_of=lambda setters, values: [(index, values[index]) for index in setters],
    )
    return SimpleNamespace(protocol=protocol, attempt=attempt)


def pairs(size):
    values = st.lists(st.integers(1, 9), min_size=size, max_size=size).map(tuple)
    return st.tuples(values, values)


@given(st.integers(2, 5).flatmap(pairs), st.integers(0, 6), st.integers(0, 6), st.booleans())
def test_order_taken__rules_between_values__is_one_of_those_that_the_protocol_takes(move, below, above, tied):
    old, new = move
    changed = [index for index, value in enumerate(new) if value != old[index]]
    weights = Weights(old, min(sum(old), sum(new)) - below, max(sum(old), sum(new)) + above, tied)
    assume(weights.keeps(old) and weights.keeps(new) and changed)
    taken = {order for order in permutations(changed) if weights.after([(index, new[index]) for index in order])}
    found = asyncio.run(order_taken(market_of(weights), new, changed, None, 0))
    if not taken:
        assert found is None
    else:
        assert found[: len(changed)] in taken
        assert sorted(found) == list(range(len(old)))


def test_order_taken__floor_and_cap_of_four_weights__finds_what_no_round_of_calls_does():
    """Setting whatever is taken next, from either end, comes to where nothing further is."""
    weights, new = Weights((6, 8, 1, 9), 21, 26), (7, 7, 4, 5)
    found = asyncio.run(order_taken(market_of(weights), new, range(4), None, 0))
    assert weights.after([(index, new[index]) for index in found]) == new


def test_order_taken__setter_that_moves_another_value__is_called_before_the_setter_of_that():
    found = asyncio.run(order_taken(market_of(Dragged()), (20, 50, 5), range(3), None, 0))
    assert Dragged().after([(index, (20, 50, 5)[index]) for index in found]) == (20, 50, 5)


def test_order_taken__no_end_in_sight__gives_up():
    """Eight setters of which the last is always refused: every set of the others is gone on from once."""
    weights = Weights((1,) * 8, 0, 14)
    assert asyncio.run(order_taken(market_of(weights), (2,) * 8, range(8), None, 0)) is None
