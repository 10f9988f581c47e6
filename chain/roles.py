"""Tell from a contract's logs who holds which of its roles (snekmate's access control)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

if TYPE_CHECKING:
    from chain.rpc import Rpc
    from models.market import BlockStamp

GRANTED = "0x" + keccak(text="RoleGranted(bytes32,address,address)").hex()
REVOKED = "0x" + keccak(text="RoleRevoked(bytes32,address,address)").hex()

CHUNK = 5_000
"""Blocks asked for in one eth_getLogs: public endpoints refuse more."""

BATCH = 20
"""Such requests sent as one."""

DEFAULT_ADMIN_ROLE = "0x" + "00" * 32
GUARDIAN_ROLE = "0x" + keccak(text="GUARDIAN_ROLE").hex()
PROPOSER_ROLE = "0x" + keccak(text="PROPOSER_ROLE").hex()
CANCELLER_ROLE = "0x" + keccak(text="CANCELLER_ROLE").hex()
EXECUTOR_ROLE = "0x" + keccak(text="EXECUTOR_ROLE").hex()

Holders = dict[str, frozenset[str]]
"""Accounts by role, 0x-prefixed."""


async def holders(rpc: Rpc, contract: str, start: int, end: BlockStamp) -> Holders:
    """Return who holds each role at block `end`, from the logs since `start`, the contract's own first block or before.

    Raises Refused when the endpoint does not serve the logs.
    """
    where = {"address": contract, "topics": [[GRANTED, REVOKED]]}
    spans = [
        {"fromBlock": hex(first), "toBlock": hex(min(first + CHUNK - 1, end.number))}
        for first in range(start, end.number + 1, CHUNK)
    ]
    held: dict[str, set[str]] = {}
    for number in range(0, len(spans), BATCH):
        asked = [("eth_getLogs", ({**where, **span},)) for span in spans[number : number + BATCH]]
        for log in [log for found in await rpc.batch(asked) for log in found]:
            kind, role, account = log["topics"][:3]
            change = held.setdefault(role, set()).add if kind == GRANTED else held.setdefault(role, set()).discard
            change(to_checksum_address("0x" + account[-40:]))
    return {role: frozenset(accounts) for role, accounts in held.items()}
