"""A real Safe on the in-process chain, from the bytecode its makers published."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from eth_abi import encode
from machine_messages import words
from machine_policies import selector
from steward_evm import GOVERNANCE, NOBODY
from third_party import Package

if TYPE_CHECKING:
    from steward_evm import Stewards

PACKAGE, CONTRACTS = "safe-global-safe-contracts-1.4.1", "build/artifacts/contracts"
SETUP = ("address[]", "uint256", "address", "bytes", "address", "address", "uint256", "address")
EXECUTE = (
    *("address", "uint256", "bytes", "uint8", "uint256", "uint256", "uint256"),
    *("address", "address", "bytes"),
)


def deploy_safe(house: Stewards, module: str) -> str:
    """Deploy a Safe of governance's with a module; skips the test where the package was not fetched."""
    try:
        package = Package(PACKAGE)
    except FileNotFoundError as error:
        pytest.skip(str(error))
    paths = ("Safe.sol/Safe.json", "proxies/SafeProxyFactory.sol/SafeProxyFactory.json")
    codes = [bytes.fromhex(package.artefact(f"{CONTRACTS}/{path}")["bytecode"][2:]) for path in paths]
    singleton, factory = (house.evm.deploy(GOVERNANCE, code) for code in codes)
    setup = _call("setup", SETUP, [GOVERNANCE], 1, NOBODY, b"", NOBODY, NOBODY, 0, NOBODY)
    created = house.call(factory, _call("createProxyWithNonce", ("address", "bytes", "uint256"), singleton, setup, 0))
    safe = "0x" + created[12:].hex()
    enable = _call("enableModule", ("address",), module)
    # The owner sends the transaction, which the Safe takes for a signature with v = 1.
    signature = words((int(GOVERNANCE, 16), 0)) + b"\x01"
    execution = _call("execTransaction", EXECUTE, safe, 0, enable, 0, 0, 0, 0, NOBODY, NOBODY, signature)
    house.call(safe, execution, GOVERNANCE)
    return safe


def _call(name: str, types: tuple[str, ...], *arguments: object) -> bytes:
    return selector(f"{name}({','.join(types)})") + encode(types, arguments)
