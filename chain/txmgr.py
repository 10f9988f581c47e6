"""Build, broadcast and follow a transaction. What was signed is the caller's to keep before it is broadcast."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from eth_utils.address import to_checksum_address

from chain.rpc import Refused, quantity, stamp

if TYPE_CHECKING:
    from chain.rpc import Rpc
    from config.schema import ChainSettings
    from models.market import BlockStamp

GWEI = 10**9
GAS_MARGIN = 1.3
"""Gas limit over the simulated use: refunds and cold storage make the exact figure move."""

KNOWN = ("already known", "already imported", "transaction already in pool", "known transaction")
"""How nodes say that they hold this very transaction: geth, anvil and nethermind, erigon, parity."""

NONCE_SPENT = ("nonce too low", "nonce is too low", "oldnonce")


class FeeTooHigh(Exception):
    """The base fee is above what the operator allows to be paid."""


@dataclass(frozen=True, slots=True)
class TxCandidate:
    """A call ready to be signed. `gas` is what a simulation used."""

    to: str
    data: str
    gas: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """A mined transaction: where, whether it succeeded, what it cost and what it logged."""

    block: BlockStamp
    succeeded: bool
    gas_used: int
    logs: tuple[dict[str, Any], ...]


class Fate(StrEnum):
    """What the chain knows about a transaction without a receipt."""

    PENDING = "pending"
    NONCE_SPENT = "nonce spent by another transaction"


def build(candidate: TxCandidate, chain_id: int, nonce: int, base_fee: int, settings: ChainSettings) -> dict[str, Any]:
    """Return the EIP-1559 fields to sign. Raises FeeTooHigh when base fee and tip pass the cap today."""
    tip = int(settings.priority_fee_gwei * GWEI)
    cap = int(settings.max_fee_gwei * GWEI)
    if base_fee + tip > cap:
        raise FeeTooHigh(
            f"base fee {base_fee / GWEI:.3f} gwei and tip exceed chain.max_fee_gwei = {settings.max_fee_gwei}"
        )
    return {
        "type": 2,
        "chainId": chain_id,
        "nonce": nonce,
        "to": to_checksum_address(candidate.to),
        "data": candidate.data,
        "value": 0,
        "gas": int(candidate.gas * GAS_MARGIN),
        # Two full blocks raise the base fee by 27 %: twice the present one survives six.
        "maxFeePerGas": min(2 * base_fee + tip, cap),
        "maxPriorityFeePerGas": tip,
    }


async def nonces(rpc: Rpc, sender: str) -> tuple[int, int]:
    """Return the sender's next nonce by mined and by pending transactions."""
    asked: list[tuple[str, tuple[str, str]]] = [
        ("eth_getTransactionCount", (sender, "latest")),
        ("eth_getTransactionCount", (sender, "pending")),
    ]
    mined, pending = await rpc.batch(asked)
    return quantity(mined, "mined nonce"), quantity(pending, "pending nonce")


async def base_fee(rpc: Rpc, block: BlockStamp) -> int:
    """Return the base fee of a block, in wei."""
    header = await rpc.call("eth_getBlockByHash", block.hash, False)  # noqa: FBT003 - positional in JSON-RPC
    # A node that lags behind the one that named the block answers null.
    return quantity(header and header.get("baseFeePerGas"), "base fee")


async def broadcast(rpc: Rpc, raw: str) -> None:
    """Hand a signed transaction to the endpoint. Safe to repeat.

    Raises Refused when the endpoint will not have it, Unreachable when it did not answer (it may have taken it).
    """
    try:
        await rpc.call("eth_sendRawTransaction", raw)
    except Refused as error:
        # Both mean that this nonce is taken care of: by this transaction, or by one that `fate` will find.
        if not any(phrase in error.message.lower() for phrase in (*KNOWN, *NONCE_SPENT)):
            raise


async def receipt(rpc: Rpc, tx_hash: str) -> Receipt | None:
    """Return the receipt of a mined transaction with its block's stamp, None before it is mined."""
    found = await rpc.call("eth_getTransactionReceipt", tx_hash)
    if found is None:
        return None
    block = await rpc.call("eth_getBlockByHash", found["blockHash"], False)  # noqa: FBT003 - positional in JSON-RPC
    if block is None:
        return None
    return Receipt(stamp(block), int(found["status"], 16) == 1, int(found["gasUsed"], 16), tuple(found["logs"]))


async def fate(rpc: Rpc, sender: str, nonce: int, tx_hash: str) -> Receipt | Fate:
    """Return the receipt, or whether the transaction may still be mined.

    The receipt is asked for again after the nonce: a receipt index lags the head by moments.
    """
    mined, _ = await nonces(rpc, sender)
    found = await receipt(rpc, tx_hash)
    if found is not None:
        return found
    return Fate.NONCE_SPENT if mined > nonce else Fate.PENDING
