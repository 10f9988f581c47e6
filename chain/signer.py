"""Sign transactions and changes with a local key. The key is held by eth-account alone and never printed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eth_account import Account

if TYPE_CHECKING:
    from pydantic import SecretStr


@dataclass(frozen=True, slots=True)
class Signed:
    """A signed transaction: its bytes and the hash the chain will know it by, 0x-prefixed."""

    raw: str
    tx_hash: str


@dataclass(frozen=True, slots=True)
class Signature:
    """A secp256k1 signature in compact form (EIP-2098): `vs` is s, in the lower half of the order, below the parity."""

    r: int
    vs: int


class LocalSigner:
    """A key in this process's memory."""

    def __init__(self, key: SecretStr) -> None:
        self._account = Account.from_key(key.get_secret_value())
        self.address: str = self._account.address

    def __repr__(self) -> str:
        return f"LocalSigner({self.address})"

    def sign(self, transaction: dict[str, Any]) -> Signed:
        """Sign an EIP-1559 transaction."""
        signed = self._account.sign_transaction(transaction)
        return Signed(
            "0x" + signed.raw_transaction.hex().removeprefix("0x"), "0x" + signed.hash.hex().removeprefix("0x")
        )

    def attest(self, digest: str) -> Signature:
        """Sign the EIP-712 digest of a change: from here on anyone may submit it."""
        signed = self._account.unsafe_sign_hash(digest)
        return Signature(signed.r, (signed.v - 27) << 255 | signed.s)
