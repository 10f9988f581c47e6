"""A real Safe, from the bytecode its makers published: one owner, who signs each transaction by sending it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import boa
import pytest
from eth_utils import to_canonical_address
from third_party import Package

NOBODY = "0x" + "00" * 20
SENTINEL = "0x" + "00" * 19 + "01"
CONTRACTS = "build/artifacts/contracts"


@dataclass(frozen=True, slots=True)
class Safe:
    """A Safe proxy and its only owner."""

    proxy: Any
    owner: str

    @property
    def address(self) -> Any:
        """Where it stands."""
        return self.proxy.address

    def execute(self, target: str, data: bytes) -> None:
        """Execute a call as the Safe. The owner sends it, which the Safe takes for a signature (v = 1)."""
        signature = to_canonical_address(self.owner).rjust(32, b"\0") + bytes(32) + b"\x01"
        arguments = (target, 0, data, 0, 0, 0, 0, NOBODY, NOBODY, signature)
        self.proxy.execTransaction(*arguments, sender=self.owner)

    def enable_module(self, module: str) -> None:
        """Let a module execute calls as the Safe."""
        self.execute(self.address, self.proxy.enableModule.prepare_calldata(module))

    def disable_module(self, module: str) -> None:
        """Take that back from the module enabled last."""
        self.execute(self.address, self.proxy.disableModule.prepare_calldata(SENTINEL, module))


def deploy_safe(owner: str) -> Safe:
    """Deploy singleton, factory and a proxy with one owner; skips the test where the package was not fetched."""
    try:
        package = Package("safe-global-safe-contracts-1.4.1")
    except FileNotFoundError as error:
        pytest.skip(str(error))
    singleton = _deploy(package, "Safe.sol/Safe.json")
    factory = _deploy(package, "proxies/SafeProxyFactory.sol/SafeProxyFactory.json")
    setup = singleton.setup.prepare_calldata([owner], 1, NOBODY, b"", NOBODY, NOBODY, 0, NOBODY)
    proxy = factory.createProxyWithNonce(singleton.address, setup, 0)
    return Safe(_abi(package, "Safe.sol/Safe.json").at(proxy), owner)


def _deploy(package: Package, path: str) -> Any:
    creation = bytes.fromhex(package.artefact(f"{CONTRACTS}/{path}")["bytecode"].removeprefix("0x"))
    address, _ = boa.env.deploy_code(bytecode=creation)
    return _abi(package, path).at(address)


def _abi(package: Package, path: str) -> Any:
    return boa.loads_abi(
        json.dumps(package.artefact(f"{CONTRACTS}/{path}")["abi"]), name=path.split("/", maxsplit=1)[0]
    )
