"""Try protocols that stand before anything is sent: where their logs begin, and whether their setters do as bound."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from chain.creation import created_in
from chain.overlap import shared_settings
from chain.rehearsal import makers_of, rehearse
from chain.rpc import Refused, Rpc, head, read
from config.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from chain.rollout import Charge
    from models.market import BlockStamp


async def try_standing(url: str, path: Path | None, charges: Sequence[Charge]) -> list[Charge]:
    """Return the markets with the block in which their logs of accounts begin, found where the file does not say it.

    Raises ConfigError naming the markets file and the key: for two markets that write the same setting, for a setter
    after which the getters read other values than it was to write, and where the block cannot be found.
    """
    shared = next(shared_settings({charge.name: charge.bound for charge in charges}), None)
    if shared is not None:
        one, other, what = shared
        rule = f"its {what} is that of markets.{one} too: cooldown and drift budget would count twice"
        raise ConfigError(f"{path}: markets.{other}: {rule}")
    async with Rpc(url) as rpc:
        block = await head(rpc)
        for charge in charges:
            await _require_written(rpc, path, charge, block)
        return [await _with_first_block(rpc, path, charge, block) for charge in charges]


async def _require_written(rpc: Rpc, path: Path | None, charge: Charge, block: BlockStamp) -> None:
    """Rehearse the setters from the Safe, or from whom their contract takes its settings now."""
    bound = charge.bound
    values = bound.values(await read(rpc, bound.reads(), block))
    try:
        makers, _ = await makers_of(rpc, bound, values, charge.contracts.executor, block)
        rehearsal = await rehearse(rpc, bound, values, makers, block)
    except Refused as error:
        raise ConfigError(f"chain.rpc_url: the setters cannot be tried without eth_simulateV1: {error}") from None
    for one in rehearsal.wrong:
        setter = f"binding {bound.binding.name}: setters.{one.setter} ({bound.binding.setters[one.setter].function})"
        raise ConfigError(f"{path}: markets.{charge.name}: {setter} does not write what is read: {one.sentence}")


async def _with_first_block(rpc: Rpc, path: Path | None, charge: Charge, block: BlockStamp) -> Charge:
    logged, market = charge.binding.accounts.events, charge.contracts
    if logged is None:
        return charge
    key = f"{path}: markets.{charge.name}.since_block"
    contract = logged.contract or charge.binding.contracts[0]
    if market.since_block is None:
        try:
            found = await created_in(rpc, market.contracts[contract], block)
        except Refused as error:
            rule = f"give the block in which {contract} was created: the endpoint does not serve code of old blocks"
            raise ConfigError(f"{key}: missing: {rule} ({error})") from None
        return replace(charge, contracts=market.model_copy(update={"since_block": found}))
    if market.since_block > block.number:
        raise ConfigError(f"{key} = {market.since_block}: must not be above the newest block, {block.number}")
    return charge
