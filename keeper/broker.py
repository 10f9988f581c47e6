"""Run an MQTT broker inside the process, on loopback, for the demo and the tests."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from amqtt.adapters import StreamReaderAdapter, StreamWriterAdapter
from amqtt.broker import Broker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

HOST = "127.0.0.1"
LISTENER = "default"
CONFIG = {
    # The listening socket is ours, so that its port can be 0 and is known.
    "listeners": {LISTENER: {"type": "external"}},
    "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
}


@asynccontextmanager
async def local_broker(port: int = 0) -> AsyncIterator[str]:
    """Serve anonymous MQTT 3.1.1 on `port` of loopback, any free one if 0, and yield its mqtt:// URL.

    Raises OSError when a given port is taken.
    """
    with _quiet("amqtt", "transitions"):
        broker = Broker(CONFIG)
        clients: set[asyncio.Task[None]] = set()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            clients.add(task)
            try:
                await broker.external_connected(StreamReaderAdapter(reader), StreamWriterAdapter(writer), LISTENER)
            finally:
                clients.discard(task)
                writer.close()

        await broker.start()
        try:
            server = await asyncio.start_server(serve, HOST, port)
            try:
                yield f"mqtt://{HOST}:{server.sockets[0].getsockname()[1]}"
            finally:
                server.close()
        finally:
            await broker.shutdown()
            for task in clients:
                task.cancel()
            await asyncio.gather(*clients, return_exceptions=True)


@contextmanager
def _quiet(*loggers: str) -> Iterator[None]:
    """Silence the loggers: amqtt reports every client that leaves as an error."""
    levels = {logging.getLogger(name): logging.getLogger(name).level for name in loggers}
    for logger in levels:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)
