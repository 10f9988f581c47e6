"""Check that the code which stands on the chain is the code that was meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eth_utils.crypto import keccak

from chain.runtime import code_at, runtime_of
from keeper.findings import failed, passed

if TYPE_CHECKING:
    from keeper.findings import Finding
    from keeper.ground import Ground

REDEPLOY = "take the deployment file that belongs to this chain, or deploy anew"


async def check_code(ground: Ground, subject: str, name: str, address: str, immutables: bytes | None = None) -> Finding:
    """Compare the code at an address with our source, byte for byte.

    The immutables appended to it are compared where they are given, else left out; the finding says which.
    """
    deployed = await code_at(ground.rpc, address, ground.block)
    runtime = runtime_of(name)
    check = f"code is that of {name}.vy"
    difference = runtime.difference(deployed)
    if difference:
        return failed(subject, check, f"{address}: {difference}", REDEPLOY)
    if immutables is not None and deployed[len(runtime.code) :] != immutables:
        return failed(subject, check, f"{address}: its immutables are not those of this deployment", REDEPLOY)
    left_out = f", {runtime.immutables} bytes of immutables left out" if immutables is None else ""
    return passed(subject, check, f"{address}: {len(deployed)} bytes equal the compiled source{left_out}")


def check_recorded(ground: Ground, subject: str, name: str, code: bytes) -> Finding:
    """Compare a contract's whole code, immutables included, with the hash that the deployment recorded."""
    found, recorded = "0x" + keccak(code).hex(), ground.deployment.code_hashes.get(name)
    check = f"code of {name} is as recorded"
    if recorded is None:
        return failed(subject, check, "the deployment file has no code hash of it", REDEPLOY)
    if found != recorded:
        detail = f"{found} now, {recorded} at deployment"
        remedy = "find out who changed it and why; if that was right, record the new hash"
        return failed(subject, check, detail, remedy)
    return passed(subject, check, found)
