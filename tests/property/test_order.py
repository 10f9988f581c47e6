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

    def takes(self, calls: list[Call]) -> bool:
        """Whether it takes calls one after the other, each of which sets one weight."""
        values = list(self.live)
        for index, value in calls:
            values[index] = value
            if not self.keeps(values):
                return False
        return True


def market_of(weights: Weights):
    """What the search asks of a market: which setters write what, their calls, and whether the protocol takes them."""

    async def attempt(sequences, _state, _wait):
        return [weights.takes(calls) for calls in sequences]

    protocol = SimpleNamespace(
        binding=SimpleNamespace(setters=weights.live),
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
    taken = {order for order in permutations(changed) if weights.takes([(index, new[index]) for index in order])}
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
    assert weights.takes([(index, new[index]) for index in found])
