"""Find orders in which a protocol that keeps rules between its own parameters takes the calls of its setters."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from chain.market import Market
    from models.market import MarketState

Order = tuple[int, ...]
"""Every setter of a policy by its position, the first to be called first; empty stands for the policy's own order."""


async def taken_orders(
    market: Market, values: Sequence[int], changed: Sequence[int], state: MarketState, wait: int
) -> list[Order]:
    """Return the orders worth trying besides the policy's own, on a copy of the chain `wait` seconds after its state.

    The setters are called round after round, refused or not, and each takes its place where the protocol first takes
    it: where one call waits for another, some round has made that other. Once from the first setter on and once from
    the last, so that a call which another one spoils is found as well. An order is left out where some setter is
    never taken. Raises Refused when the endpoint does not serve eth_simulateV1.
    """
    setters = range(len(market.protocol.binding.setters))
    called = market.protocol.setters_writing(changed)
    idle = tuple(index for index in setters if index not in called)
    found = []
    for one_round in (called, called[::-1]):
        rounds = one_round * len(called)
        calls = market.protocol.calls_of(rounds, values)
        taken = dict.fromkeys(_taken(rounds, await market.attempt(calls, state, wait)))
        order = (*taken, *idle)
        if len(order) == len(setters) and order not in found:
            found.append(order)
    return found


def _taken(rounds: Sequence[int], successes: Sequence[bool]) -> Iterator[int]:
    return (index for index, success in zip(rounds, successes, strict=True) if success)
