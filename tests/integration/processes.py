"""Commands as processes of their own, and servers on loopback for them to speak to."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from chain.anvil import KEYS

ROOT = Path(__file__).resolve().parents[2]


def closed_port():
    """Return a loopback port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.asynccontextmanager
async def http_server(answer):
    """Serve `answer(request)` to every request on loopback; yield the URL, with credentials in it."""
    application = web.Application()
    application.router.add_route("*", "/{rest:.*}", answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        port = runner.addresses[0][1]
        yield f"http://operator:hunter2@127.0.0.1:{port}/v3/apikey-1234?token=hunter3"
    finally:
        await runner.cleanup()


SECRETS = ("operator", "hunter2", "apikey-1234", "hunter3")
"""What the URL of `http_server` holds and no error may show."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A command's end."""

    code: int
    out: str
    err: str


def environment(key=KEYS[1], **more):
    """Return the environment of a keeper process; no key for None."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("KEEPER_")}
    return clean | ({"KEEPER_PRIVATE_KEY": key} if key else {}) | more


async def start_python(*arguments, cwd, env=None):
    """Start this Python with arguments, its output in pipes."""
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        cwd=cwd,
        env={"PYTHONPATH": str(ROOT), **(env or environment())},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=pipe,
        stderr=pipe,
    )


async def run_python(*arguments, cwd, env=None, seconds=60):
    """Run this Python to its end, which must come within the time."""
    process = await start_python(*arguments, cwd=cwd, env=env)
    try:
        out, errors = await asyncio.wait_for(process.communicate(), seconds)
    finally:
        if process.returncode is None:
            process.kill()
    return Ended(process.returncode, out.decode(), errors.decode())


async def run_keeper(*arguments, cwd, env=None, seconds=60):
    """Run `keeper` with arguments to its end."""
    return await run_python("-m", "keeper", *arguments, cwd=cwd, env=env, seconds=seconds)


async def until(condition, seconds=30.0):
    """Wait until an awaitable condition holds; fail when it does not within the time."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - what is waited for happens in another process
            await asyncio.sleep(0.05)
