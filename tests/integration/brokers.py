"""Real MQTT brokers on loopback that a test can stop, start again on the same port, and freeze."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time

import pytest

from keeper.broker import local_broker

SEARCH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])


def free_port():
    """Return a loopback port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def until(condition, seconds=20.0):
    """Wait until the condition holds; fail when it does not within the time."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in another process
            await asyncio.sleep(0.01)


class Amqtt:
    """The keeper's own in-process broker."""

    def __init__(self, port):
        self.port = port
        self.url = f"mqtt://127.0.0.1:{port}"
        self._running = contextlib.AsyncExitStack()

    async def start(self):
        assert await self._running.enter_async_context(local_broker(self.port)) == self.url

    async def stop(self):
        await self._running.aclose()


class Mosquitto:
    """A Mosquitto process with the given lines of configuration; `stop` kills it."""

    def __init__(self, port, folder, *lines):
        self.port = port
        self.url = f"mqtt://127.0.0.1:{port}"
        self._config = folder / f"mosquitto-{port}.conf"
        # As root, Mosquitto would become a user that cannot read the test's files.
        text = [f"listener {port} 127.0.0.1", "user root", "persistence false", "log_dest none", *lines]
        self._config.write_text("\n".join(text) + "\n")
        self._process = None

    async def start(self):
        binary = shutil.which("mosquitto", path=SEARCH)
        if binary is None:
            pytest.skip("mosquitto not installed: run make services")
        quiet = asyncio.subprocess.DEVNULL
        self._process = await asyncio.create_subprocess_exec(binary, "-c", self._config, stdout=quiet, stderr=quiet)
        await until(self._answers)

    async def stop(self):
        if self._process is not None:
            self._process.kill()
            await self._process.wait()
            self._process = None

    def freeze(self):
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self._process.send_signal(signal.SIGCONT)

    def _answers(self):
        assert self._process.returncode is None, "mosquitto ended at its start"
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False


def password_file(folder, user, password):
    """Write a Mosquitto password file and return its path."""
    tool = shutil.which("mosquitto_passwd", path=SEARCH)
    if tool is None:
        pytest.skip("mosquitto not installed: run make services")
    path = folder / "passwords"
    subprocess.run([tool, "-b", "-c", path, user, password], check=True, capture_output=True)
    return path


def certificate(folder):
    """Write a self-signed certificate for 127.0.0.1 and its key, and return their paths."""
    tool = shutil.which("openssl")
    if tool is None:
        pytest.skip("openssl not installed")
    cert, key = folder / "cert.pem", folder / "key.pem"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", key, "-out", cert]
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subprocess.run([tool, "req", "-x509", *curve, *files, *subject], check=True, capture_output=True)
    return cert, key


def now_ms():
    """Return Unix milliseconds."""
    return time.time_ns() // 1_000_000
