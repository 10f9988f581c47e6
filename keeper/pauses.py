"""Tell an operator that a market is paused: since when and by whom, as far as the chain says, and what lifts it."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from chain.pauses import is_paused, pause_of
from chain.rpc import Refused, RpcError, head

if TYPE_CHECKING:
    from collections.abc import Iterable

    from chain.market import Market


async def pause_notices(markets: Iterable[Market]) -> dict[str, str]:
    """Return a sentence about each market that is paused at the newest block, by name.

    Those that an endpoint fails to tell of are left out: that it fails is what a tick tells of.
    """
    said: dict[str, str] = {}
    with contextlib.suppress(RpcError):
        for market in markets:
            notice = await _notice(market)
            said |= {} if notice is None else {market.name: notice}
    return said


async def _notice(market: Market) -> str | None:
    block = await head(market.rpc)
    if not await is_paused(market, block):
        return None
    try:
        pause = await pause_of(market, block)
    except Refused:
        pause = None
    known = "by whom is not known, for the endpoint serves no logs of it"
    if pause is not None:
        at = datetime.fromtimestamp(pause.at, UTC)
        known = f"by {pause.account} in block {pause.block_number}, {at:%Y-%m-%d %H:%M:%S} UTC"
    lift = f"`keeper govern unpause {market.name} --send`, and again after the timelock's delay"
    return (
        f"{market.name}: PAUSED, {known}: nothing is changed or announced, rollbacks alone go on. "
        f"Ask the guardian why; governance lifts it by {lift}"
    )
