"""Run a development chain (anvil, from npm) on a free loopback port, for demo, trial and tests."""

from __future__ import annotations

import contextlib
import platform
import re
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from config.errors import KnownFault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from web3 import Web3

CHAIN_ID = 31_337
ROOT = Path(__file__).parents[1]

KEYS = (
    "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
    "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
    "0x5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
    "0x7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6",
)
"""The first keys of anvil's public development mnemonic: worthless anywhere else."""


class AnvilMissing(KnownFault):
    """The development chain is not installed, or did not start."""


@dataclass(frozen=True, slots=True)
class Anvil:
    """A running development chain."""

    url: str
    process: subprocess.Popen[str]


def binary() -> Path:
    """Return the path of anvil's binary for this machine. Raises AnvilMissing."""
    system = platform.system().lower()
    machine = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}.get(
        platform.machine().lower(), ""
    )
    path = ROOT / "node_modules" / "@foundry-rs" / f"anvil-{system}-{machine}" / "bin" / "anvil"
    if not path.exists():
        raise AnvilMissing(f"anvil is not installed for {system}/{platform.machine()}: run `make setup` (npm ci)")
    return path


@contextlib.contextmanager
def anvil(*, timestamp: int | None = None, port: int = 0) -> Iterator[Anvil]:
    """Start a chain whose genesis has `timestamp` (Unix seconds, default now); stop it on leaving.

    Port 0 takes a free one. Raises AnvilMissing when the binary is absent or exits at once.
    """
    command = [str(binary()), "--host", "127.0.0.1", "--port", str(port), "--chain-id", str(CHAIN_ID)]
    if timestamp is not None:
        command += ["--timestamp", str(timestamp)]
    process = subprocess.Popen(  # noqa: S603 - our own binary, no shell
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        yield Anvil(_listening_url(process), process)
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
        process.kill()
        process.wait()


def ask(web3: Web3, method: str, *params: Any) -> None:
    """Make a request that only a development chain knows, such as to let time pass or to act as any account."""
    # Its type is for the names that web3 knows.
    web3.provider.make_request(method, list(params))  # type: ignore[arg-type]


def _listening_url(process: subprocess.Popen[str]) -> str:
    output = process.stdout
    assert output is not None
    said = []
    for line in output:
        said.append(line)
        found = re.match(r"Listening on (127\.0\.0\.1:\d+)", line)
        if found:
            # It logs every request: an unread pipe would fill up and stop it.
            threading.Thread(target=_drain, args=(output,), daemon=True).start()
            return f"http://{found[1]}"
    raise AnvilMissing("anvil stopped before it listened:\n" + "".join(said[-5:]))


def _drain(output: IO[str]) -> None:
    with output:
        for _ in output:
            pass
