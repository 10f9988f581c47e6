"""The faults the story injects, each in the place of one real part. Run as a module: a tick that dies mid-way."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chain.rpc import Rpc
from config.deployment import load_deployment
from config.load import load_protocol, load_secrets, load_settings
from keeper.daemon import Parts, open_keeper
from keeper.submit import action_of, message_of
from models.registry import load_forecaster

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chain.market import Market
    from keeper.messages import Approved, DryRun, Proposal, Rejected
    from keeper.submit import Ended, Executor
    from models.forecaster import Forecast, Forecaster
    from models.market import Bar

WILD_MOVE = math.log(3.0)
"""A daily move no corridor admits."""


class FaultyForecaster:
    """A real forecaster whose answers can be spoilt: `fault` is '', 'nan' or 'wild'."""

    def __init__(self, inner: Forecaster) -> None:
        self._inner = inner
        self.fault = ""

    @property
    def model_id(self) -> str:
        """The real model's id."""
        return self._inner.model_id

    def reset(self, asset: str, bar_seconds: int) -> None:
        """Reset the real model."""
        self._inner.reset(asset, bar_seconds)

    def update(self, bar: Bar) -> Forecast:
        """Answer as the real model does, then spoil the answer."""
        forecast = self._inner.update(bar)
        if self.fault == "nan":
            return replace(forecast, published=(math.nan, math.nan))
        if self.fault == "wild":
            return replace(forecast, published=(-WILD_MOVE, WILD_MOVE))
        return forecast


class CorruptingExecutor:
    """A real executor; once armed it carries out other values than were approved, inside every limit on chain."""

    def __init__(self, inner: Executor) -> None:
        self._inner = inner
        self.armed = False

    async def execute(self, approved: Approved, market: Market, *, announce: bool = False) -> Ended | Rejected | DryRun:
        """Carry out what was approved, or half of it when armed (once)."""
        if self.armed:
            self.armed = False
            wrong = message_of(_halfway(approved.proposal), market, (), 0)
            wrong = replace(wrong, input_root=approved.proposal.digest)
            action = action_of(approved.proposal)
            digest = wrong.digest(action, market.steward, market.chain_id)
            shown = replace(approved.preflight, calldata=wrong.calldata(action), attestation=digest)
            approved = replace(approved, preflight=shown)
        return await self._inner.execute(approved, market, announce=announce)

    async def finish(self) -> Sequence[Ended]:
        """Finish as the real one does."""
        return await self._inner.finish()


def _halfway(proposal: Proposal) -> Proposal:
    pairs = [(change, proposal.current[change.id]) for change in proposal.changes]
    changes = tuple(replace(change, value=(change.value + current) // 2) for change, current in pairs)
    return replace(proposal, changes=changes)


class DyingRpc(Rpc):
    """An endpoint whose client process is killed, as by the kernel, at the moment it would broadcast."""

    async def batch(self, requests: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        """Answer everything but a send."""
        if any(method == "eth_sendRawTransaction" for method, _ in requests):
            os.kill(os.getpid(), signal.SIGKILL)
        return await super().batch(requests)


async def _tick_and_die(config: Path) -> None:
    settings = load_settings(config, os.environ)
    protocols = {market.name: load_protocol(market.protocol, config) for market in settings.markets}
    deployment = load_deployment(Path(settings.keeper.deployment))
    parts = Parts(open_rpc=DyingRpc, open_forecaster=load_forecaster)
    async with open_keeper(settings, load_secrets(os.environ), deployment, protocols, parts) as keeper:
        await keeper.wait_for_feeds(10)
        await keeper.tick()


if __name__ == "__main__":
    asyncio.run(_tick_and_die(Path(sys.argv[1])))
