"""Declare a function of the protocol and the templates that fill its arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from eth_abi.abi import encode
from eth_utils.abi import function_signature_to_4byte_selector
from pydantic import Field

from config.abi import Identifier, Signature, argument_types
from config.errors import Place
from config.schema import Section
from config.templates import PARAMETER, Argument, Scalar, fill, findings, references

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Finding = tuple[Place, str]
"""Where in a binding something is wrong, and the rule that it breaks."""

Word = Annotated[int, Field(ge=0, lt=32)]
"""Which 32-byte word of an answer counts: the steward reads at most 1,024 bytes."""


class Function(Section):
    """A function of one of the protocol's contracts, the first one if none is named."""

    contract: Identifier | None = None
    function: Signature
    args: list[Argument] = Field(default_factory=list)

    @property
    def selector(self) -> bytes:
        """The first four bytes of its calldata."""
        return bytes(function_signature_to_4byte_selector(self.function))

    @property
    def types(self) -> tuple[str, ...]:
        """The types of its arguments."""
        return argument_types(self.function)

    @property
    def names(self) -> tuple[str, ...]:
        """The names that its templates use, in order."""
        return tuple(name for template in self.args for name in references(template))

    def calldata(self, values: Mapping[str, Scalar]) -> bytes:
        """Return selector and arguments. Raises ValueError where a value does not fit its type."""
        pairs = zip(self.args, self.types, strict=True)
        return self.selector + encode(self.types, [fill(template, type_text, values) for template, type_text in pairs])

    def findings(self, scope: Mapping[str, str], limit: int | None) -> Iterator[Finding]:
        """Tell what is wrong with it, where `scope` has the types of known names and `limit` is its calldata's size."""
        types = self.types
        if len(types) != len(self.args):
            yield ("args",), f"the function takes {len(types)} arguments, not {len(self.args)}"
            return
        found = [
            (("args", index), rule)
            for index, (template, type_text) in enumerate(zip(self.args, types, strict=True))
            for rule in findings(template, type_text, scope)
        ]
        yield from found
        if limit is not None and not found and (size := len(self.calldata(placeholders(scope)))) > limit:
            yield ("args",), f"the call takes {size} bytes, and the steward allows {limit}"


class Getter(Function):
    """A view and which word of its answer counts."""

    word: Word = 0


def placeholders(scope: Mapping[str, str], number: int = 0) -> dict[str, Scalar]:
    """Return a value for every name, made of `number` (0 or 1): calldata has the same size for any other."""
    return {name: _placeholder(type_text, number) for name, type_text in scope.items()}


def _placeholder(type_text: str, number: int) -> Scalar:
    if type_text == "bool":
        return bool(number)
    if type_text == "address":
        return f"0x{number:040x}"
    if type_text.startswith("bytes"):
        return f"0x{number:0{2 * int(type_text[5:])}x}"
    assert type_text == PARAMETER or "int" in type_text
    return number
