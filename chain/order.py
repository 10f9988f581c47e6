"""Find an order in which a protocol that keeps rules between its own parameters takes the calls of its setters."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chain.market import Market
    from models.market import MarketState

Order = tuple[int, ...]
"""Every setter of a policy by its position, the first to be called first; empty stands for the policy's own order."""


async def order_taken(
    market: Market, values: Sequence[int], changed: Sequence[int], state: MarketState, wait: int
) -> Order | None:
    """Return an order that the protocol takes on a copy of the chain `wait` seconds after a state; None without any.

    Depth first, from the policy's order on. What setters have written does not depend on their order, so each set of
    setters is gone on from once: at most 2**8 of them, and where nothing is in the way one a setter.
    Raises Refused when the endpoint does not serve eth_simulateV1.
    """
    called = market.protocol.setters_writing(changed)
    seen: set[frozenset[int]] = set()

    async def completed(made: Order) -> Order | None:
        left = [index for index in called if index not in made]
        if not left:
            return made
        sequences = [market.protocol.calls_of((*made, index), values) for index in left]
        for index, taken in zip(left, await market.attempt(sequences, state, wait), strict=True):
            further = (*made, index)
            if taken and frozenset(further) not in seen:
                seen.add(frozenset(further))
                found = await completed(further)
                if found is not None:
                    return found
        return None

    found = await completed(())
    idle = [index for index in range(len(market.protocol.binding.setters)) if index not in called]
    return None if found is None else (*found, *idle)
