"""Look into the code that stands at an address: is it ours, which functions has it, what does a proxy stand for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cbor2
from eth_utils.abi import function_signature_to_4byte_selector
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from chain.compiler import compile_contract
from chain.rpc import Refused

if TYPE_CHECKING:
    from chain.compiler import Artefact
    from chain.rpc import Rpc
    from models.market import BlockStamp

PUSH4 = 0x63
SELECTOR_BYTES = 4
MAX_PROXIES = 4

IMPLEMENTATION_SLOT = int.from_bytes(keccak(text="eip1967.proxy.implementation")) - 1
BEACON_SLOT = int.from_bytes(keccak(text="eip1967.proxy.beacon")) - 1
OLD_IMPLEMENTATION_SLOT = int.from_bytes(keccak(text="org.zeppelinos.proxy.implementation"))
CLONE = (bytes.fromhex("363d3d373d3d3d363d73"), bytes.fromhex("5af43d82803e903d91602b57fd5bf3"))
"""What stands before and after the implementation's address in a minimal proxy (EIP-1167)."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """What a source deploys: its runtime code, and how many bytes of immutables are appended to it."""

    code: bytes
    immutables: int

    @classmethod
    def of(cls, artefact: Artefact) -> Runtime:
        """Take the runtime code out of the creation code.

        Vyper ends it with CBOR: [integrity hash, runtime length, data section lengths, immutables length, version],
        and its length in 2 bytes (docs.vyperlang.org, "Contract metadata").
        """
        creation = artefact.bytecode
        end = len(creation) - int.from_bytes(creation[-2:])
        _, length, _, immutables, _ = cbor2.loads(creation[end:-2])
        return cls(creation[end - length : end], immutables)

    def difference(self, deployed: bytes) -> str:
        """Say how deployed code differs, immutables left out; an empty text when it does not."""
        if not deployed:
            return "no code stands there"
        if len(deployed) != len(self.code) + self.immutables:
            return f"{len(deployed)} bytes of code, the source compiles to {len(self.code) + self.immutables}"
        at = next((i for i, (a, b) in enumerate(zip(self.code, deployed, strict=False)) if a != b), None)
        return "" if at is None else f"the code differs from byte {at} on"


def runtime_of(name: str) -> Runtime:
    """Return what one of our contracts deploys. Raises CompilerError."""
    return Runtime.of(compile_contract(name))


def has_function(code: bytes, signature: str) -> bool:
    """Say whether a function's selector is in the code.

    A dispatcher pushes it (without leading zeros); Vyper's dense one keeps it in a table of the data section.
    """
    selector = function_signature_to_4byte_selector(signature)
    short = selector.lstrip(b"\0")
    pushed = bytes([PUSH4 - SELECTOR_BYTES + len(short)]) + short
    return pushed in code or selector in code


async def code_at(rpc: Rpc, address: str, block: BlockStamp) -> bytes:
    """Return the code at an address, at exactly `block`."""
    return bytes.fromhex(str(await rpc.call("eth_getCode", address, _at(block)))[2:])


async def resolve(rpc: Rpc, address: str, block: BlockStamp) -> list[tuple[str, bytes]]:
    """Return address and code of a contract, and behind it those that a proxy stands for (EIP-1967, EIP-1167)."""
    found = [(address, await code_at(rpc, address, block))]
    while len(found) <= MAX_PROXIES:
        following = await _implementation(rpc, *found[-1], block)
        if following is None or following in [known for known, _ in found]:
            break
        found.append((following, await code_at(rpc, following, block)))
    return found


async def _implementation(rpc: Rpc, address: str, code: bytes, block: BlockStamp) -> str | None:
    before, after = CLONE
    if code.startswith(before) and code[len(before) + 20 :].startswith(after):
        return to_checksum_address(code[len(before) : len(before) + 20])
    slots = (IMPLEMENTATION_SLOT, OLD_IMPLEMENTATION_SLOT, BEACON_SLOT)
    words = await rpc.batch([("eth_getStorageAt", (address, hex(slot), _at(block))) for slot in slots])
    direct, old, beacon = (int(word, 16) for word in words)
    if direct or old:
        return _address(direct or old)
    return await _behind_beacon(rpc, _address(beacon), block) if beacon else None


async def _behind_beacon(rpc: Rpc, beacon: str, block: BlockStamp) -> str | None:
    data = "0x" + function_signature_to_4byte_selector("implementation()").hex()
    try:
        answer = await rpc.call("eth_call", {"to": beacon, "data": data}, _at(block))
    except Refused:
        return None
    return _address(int(answer, 16)) if len(answer) > 2 else None


def _address(word: int) -> str:
    return to_checksum_address((word % 2**160).to_bytes(20))


def _at(block: BlockStamp) -> dict[str, Any]:
    return {"blockHash": block.hash, "requireCanonical": True}
