"""What the checks of the set-up stand on: an endpoint, one block of it, what was deployed, and the bindings' files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError
from eth_utils.abi import function_signature_to_4byte_selector

from chain.rpc import Refused, read
from config.errors import find_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chain.rpc import Rpc
    from config.deployment import Deployment
    from config.errors import Place
    from config.protocol import Protocol
    from models.market import BlockStamp


@dataclass(frozen=True, slots=True)
class Source:
    """A binding and the file it was read from, so that a finding can name the line; empty where that is unknown."""

    binding: Protocol
    file: str = ""
    text: str = ""

    def where(self, place: Place) -> str:
        """Return file:line of a place in the binding."""
        line = find_line(self.text, place)
        return f"{self.file}:{line}" if line else self.file


@dataclass(frozen=True, slots=True)
class Ground:
    """What every check stands on: an endpoint, one block of it, and what was deployed."""

    rpc: Rpc
    block: BlockStamp
    deployment: Deployment

    async def view(self, target: str, signature: str, types: Sequence[str], *arguments: Any) -> tuple[Any, ...] | None:
        """Return a view's answer, None when it is refused or is not of these types."""
        inner = signature[signature.index("(") + 1 : -1]
        data = function_signature_to_4byte_selector(signature) + encode(inner.split(",") if inner else [], arguments)
        try:
            (answer,) = await read(self.rpc, [(target, "0x" + data.hex())], self.block)
            return tuple(decode(list(types), answer))
        except (Refused, DecodingError):
            return None
