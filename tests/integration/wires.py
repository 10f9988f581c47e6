"""An endpoint whose sends can be disturbed, and processes that are killed while they send."""

from __future__ import annotations

import asyncio
import contextlib
import signal

from processes import environment, run_python
from trials import TIGHT, keeper_of, publish, readings, scripted, write_settings

from chain.rpc import Rpc, Unreachable
from config.load import load_settings
from keeper.broker import local_broker
from keeper.journal import Journal

SEND = "eth_sendRawTransaction"
FEW_POLLS = {"chain": "receipt_timeout_seconds = 20"}


class Wire(Rpc):
    """An endpoint whose sends are disturbed: `before` runs ahead of a send, `lost` drops its request or its answer."""

    def __init__(self, url):
        super().__init__(url)
        self.lost = ""
        self.before = None
        self.sent = []

    async def batch(self, requests):
        if requests[0][0] != SEND:
            return await super().batch(requests)
        self.sent.append(requests[0][1][0])
        if self.before is not None:
            self.before(self)
        if self.lost == "request":
            raise Unreachable("the request was lost")
        answers = await super().batch(requests)
        if self.lost == "answer":
            raise Unreachable("the answer was lost")
        return answers


@contextlib.asynccontextmanager
async def wired(trial, folder, script=TIGHT, *, wire=Wire, extra=None, **options):
    """Open a keeper over a Wire, by default one that wants to tighten; it polls ten times as often as usual.

    For two seconds, that is, unless its request is lost: then there is nothing to wait for.
    """

    async def pause(seconds):
        await asyncio.sleep(0 if getattr(keeper.rpc, "lost", "") == "request" else seconds / 10)

    parts, extra = scripted(script, open_rpc=wire), FEW_POLLS | (extra or {})
    async with keeper_of(trial, folder, parts=parts, extra=extra, **options) as keeper:
        keeper.executor.sleep = pause
        yield keeper


DIE_AFTER_THE_BROADCAST = """
import asyncio, os, signal, sys
from pathlib import Path
from chain.rpc import Rpc
from keeper.demo import faults

class DyingLater(Rpc):
    async def batch(self, requests):
        answers = await super().batch(requests)
        if requests[0][0] == "eth_sendRawTransaction":
            os.kill(os.getpid(), signal.SIGKILL)
        return answers

faults.DyingRpc = DyingLater
asyncio.run(faults._tick_and_die(Path(sys.argv[1])))
"""
DEATHS = {
    "between_journal_and_broadcast": (("-m", "keeper.demo.faults"), 0),
    "between_broadcast_and_receipt": (("-c", DIE_AFTER_THE_BROADCAST), 1),
}


async def killed_on_the_way(trial, folder, death):
    """Let a keeper process decide and die of it; return the one attempt that it leaves unfinished."""
    command, mined = DEATHS[death]
    async with local_broker() as url:
        config = write_settings(folder, trial, url)
        await publish(load_settings(config, {}), *readings(trial))
        ended = await run_python(*command, str(config), cwd=folder, env=environment())
    assert ended.code == -signal.SIGKILL, ended.err
    journal = await Journal.open(f"sqlite:///{folder / 'keeper.db'}", lambda: 0)
    (attempt,) = await journal.unfinished_attempts()
    await journal.close()
    if mined:  # the node answers a broadcast before that
        trial.deployer.web3.eth.wait_for_transaction_receipt(attempt.tx_hash, poll_latency=0.01)
    assert trial.nonce() == mined
    return attempt
