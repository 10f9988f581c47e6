"""Find an order in which a protocol that keeps rules between its own parameters takes the calls of its setters."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chain.market import Market
    from models.market import MarketState

Order = tuple[int, ...]
"""Every setter of a policy by its position, the first to be called first; empty stands for the policy's own order."""

MOST_STEPS = 256
"""Requests of one search: as many as there are sets of eight setters."""


async def order_taken(
    market: Market, values: Sequence[int], changed: Sequence[int], state: MarketState, wait: int
) -> Order | None:
    """Return an order that brings `values` about on a copy of the chain `wait` seconds after a state; None without any.

    Depth first, from the policy's order on; what the same setters left behind with the same values is gone on from
    once. Where nothing is in the way that is one request a setter, and at most `MOST_STEPS`: then None as well.
    Raises Refused when the endpoint does not serve eth_simulateV1.
    """
    called = market.protocol.setters_writing(changed)
    found = await _Search(market, tuple(values), called, state, wait).completed(())
    idle = [index for index in range(len(market.protocol.binding.setters)) if index not in called]
    return None if found is None else (*found, *idle)


@dataclass(slots=True)
class _Search:
    market: Market
    values: tuple[int, ...]
    called: Order
    state: MarketState
    wait: int
    seen: set[tuple[frozenset[int], tuple[int, ...]]] = field(default_factory=set)
    steps: int = 0

    async def completed(self, made: Order) -> Order | None:
        """Return an order of all setters called that begins with those `made`, and brings the values about."""
        left = [index for index in self.called if index not in made]
        if not left or self.steps == MOST_STEPS:
            return None
        self.steps += 1
        sequences = [self.market.protocol.calls_of((*made, index), self.values) for index in left]
        for index, read in zip(left, await self.market.attempt(sequences, self.state, self.wait), strict=True):
            further = (*made, index)
            if read is None or (frozenset(further), read) in self.seen:
                continue
            self.seen.add((frozenset(further), read))
            if len(left) == 1 and read == self.values:
                return further
            found = await self.completed(further)
            if found is not None:
                return found
        return None
