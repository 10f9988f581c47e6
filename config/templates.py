"""Describe a call's arguments: constants, names that stand for values, tuples and lists, and hashes of any of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from eth_abi.abi import encode
from eth_abi.packed import encode_packed
from eth_utils.address import is_checksum_address, is_hex_address, to_checksum_address
from eth_utils.crypto import keccak
from pydantic import PlainValidator

from config.abi import abi_type, text_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from eth_abi.grammar import ABIType

Scalar = int | bool | str
"""A value as TOML and JSON write it: bytes and addresses are 0x-prefixed hex."""

PARAMETER = "parameter"
"""The type of a parameter's proposed value: it fits any integer argument, where the encoding gives it its own word."""

HASHED = "hashed parameter"
"""The type of the same value inside a hash, which it does not fit."""

NAME = re.compile(r"\$[A-Za-z_]\w*(\.[A-Za-z0-9_][\w.-]*)?")
HEX = re.compile(r"0x([0-9a-fA-F]{2})*")


@dataclass(frozen=True, slots=True)
class Constant:
    """A value written in the binding."""

    value: Scalar


@dataclass(frozen=True, slots=True)
class Reference:
    """A value that is known later, such as `account.strike`."""

    name: str


@dataclass(frozen=True, slots=True)
class Group:
    """A tuple, a struct or an array."""

    items: tuple[Template, ...]


@dataclass(frozen=True, slots=True)
class Hash:
    """keccak256 of the items' encoding, standard or packed."""

    items: tuple[Template, ...]
    types: tuple[str, ...]
    packed: bool


Template = Constant | Reference | Group | Hash


def parse_template(raw: Any) -> Template:
    """Parse what TOML holds for one argument. Raises ValueError."""
    if isinstance(raw, Template):
        return raw
    if isinstance(raw, list):
        return Group(tuple(parse_template(item) for item in raw))
    if isinstance(raw, dict):
        return _parse_hash(raw)
    if isinstance(raw, str) and raw.startswith("$"):
        if not NAME.fullmatch(raw):
            raise ValueError(f"{raw} is not a name: $name or $name.field")
        return Reference(raw[1:])
    if isinstance(raw, bool | int | str):
        return Constant(raw)
    raise ValueError("must be an integer, boolean, text, $name, list or { keccak = [...], types = [...] }")


def _parse_hash(raw: dict[str, Any]) -> Hash:
    unknown = sorted(set(raw) - {"keccak", "types", "packed"})
    if unknown:
        raise ValueError(f"unknown key {unknown[0]} (allowed: keccak, packed, types)")
    items, types, packed = raw.get("keccak"), raw.get("types"), raw.get("packed", False)
    if not isinstance(items, list) or not isinstance(types, list) or not isinstance(packed, bool):
        raise ValueError("keccak and types must be lists, and packed a boolean")  # noqa: TRY004 - pydantic reports it
    if len(items) != len(types):
        raise ValueError(f"keccak has {len(items)} items and {len(types)} types")
    for text in types:
        abi_type(text if isinstance(text, str) else "")
    return Hash(tuple(parse_template(item) for item in items), tuple(types), packed)


Argument = Annotated[Template, PlainValidator(parse_template)]
"""One argument of a call, or a number that a rule compares with."""


def findings(template: Template, type_text: str, scope: Mapping[str, str]) -> Iterator[str]:
    """Tell what keeps a template from filling an argument of a type, where `scope` gives the types of known names."""
    match template:
        case Constant(value):
            try:
                to_abi(value, type_text)
            except ValueError as error:
                yield str(error)
        case Reference(name):
            yield from _reference_findings(name, type_text, scope)
        case Group(items):
            yield from _group_findings(items, abi_type(type_text), scope)
        case Hash(items, types):
            if type_text not in {"bytes32", "uint256"}:
                yield f"a hash is a bytes32 or uint256, not {type_text}"
            inside = {name: HASHED if known == PARAMETER else known for name, known in scope.items()}
            for item, item_type in zip(items, types, strict=True):
                yield from findings(item, item_type, inside)


def _reference_findings(name: str, type_text: str, scope: Mapping[str, str]) -> Iterator[str]:
    known = scope.get(name)
    if known is None:
        yield f"${name} is not known here (known: {', '.join(f'${one}' for one in sorted(scope)) or 'nothing'})"
    elif known == HASHED:
        yield f"${name} is a parameter: the steward puts its value into a word of its own, never into a hash"
    elif known == PARAMETER:
        if not _is_integer(type_text):
            yield f"${name} is a parameter and fits an integer argument, not {type_text}"
    elif known != type_text and not (_is_integer(known) and _is_integer(type_text)):
        yield f"${name} is of type {known}, the argument of type {type_text}"


def _group_findings(items: Sequence[Template], wanted: ABIType, scope: Mapping[str, str]) -> Iterator[str]:
    types = _item_types(wanted, len(items))
    if types is None:
        yield f"{len(items)} items in a list do not make {_a(text_of(wanted))}"
        return
    for item, item_type in zip(items, types, strict=True):
        yield from findings(item, item_type, scope)


def _item_types(wanted: ABIType, number: int) -> list[str] | None:
    """Return the types of a list's items, None where the type takes no list of that length."""
    if wanted.is_array:
        length = wanted.arrlist[-1]
        fits = not length or length[0] == number
        return [text_of(wanted.item_type)] * number if fits else None
    components = getattr(wanted, "components", ())
    return [text_of(component) for component in components] if len(components) == number > 0 else None


def references(template: Template) -> Iterator[str]:
    """Yield the names in a template, in order, those inside hashes too."""
    match template:
        case Reference(name):
            yield name
        case Group(items) | Hash(items):
            for item in items:
                yield from references(item)


def fill(template: Template, type_text: str, values: Mapping[str, Scalar]) -> Any:
    """Return the value that the ABI encoder takes. Raises ValueError where a value does not fit its type."""
    match template:
        case Constant(value):
            return to_abi(value, type_text)
        case Reference(name):
            return to_abi(values[name], type_text)
        case Group(items):
            types = _item_types(abi_type(type_text), len(items))
            assert types is not None
            return tuple(fill(item, item_type, values) for item, item_type in zip(items, types, strict=True))
        case Hash(items, types, packed):
            filled = [fill(item, item_type, values) for item, item_type in zip(items, types, strict=True)]
            digest = keccak((encode_packed if packed else encode)(types, filled))
            return digest if type_text == "bytes32" else int.from_bytes(digest)


def to_abi(value: Scalar, type_text: str) -> Any:
    """Return an elementary value, `bytes` or `string` as the ABI encoder takes it. Raises ValueError with the rule."""
    if _is_integer(type_text):
        return _to_integer(value, type_text)
    if type_text == "bool" and isinstance(value, bool):
        return value
    if type_text == "string" and isinstance(value, str):
        return value
    if type_text == "address" and isinstance(value, str):
        if not is_hex_address(value) or (value.lower() != value and not is_checksum_address(value)):
            raise ValueError("must be an address: 20 bytes in hex, in lower case or with a right checksum")
        return value
    if type_text.startswith("bytes") and "[" not in type_text and isinstance(value, str):
        return _to_bytes(value, type_text)
    raise ValueError(f"does not make {_a(type_text)}")


def _to_integer(value: Scalar, type_text: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"does not make {_a(type_text)}")  # noqa: TRY004 - told as a broken rule
    signed = type_text.startswith("int")
    bits = int(type_text.removeprefix("u").removeprefix("int")) - signed
    if not -(2**bits) * signed <= value < 2**bits:
        raise ValueError(f"does not fit {type_text}")
    return value


def _to_bytes(value: str, type_text: str) -> bytes:
    size = type_text.removeprefix("bytes")
    if not HEX.fullmatch(value) or (size and len(value) != 2 + 2 * int(size)):
        raise ValueError(f"does not make {_a(type_text)}: write 0x and two digits a byte")
    return bytes.fromhex(value[2:])


def from_abi(value: Any, type_text: str) -> Scalar:
    """Return a decoded elementary value as TOML would write it; addresses with their checksum."""
    if type_text == "address":
        return to_checksum_address(value)
    if isinstance(value, bytes):
        return "0x" + value.hex()
    assert isinstance(value, int)
    return value


def _is_integer(type_text: str) -> bool:
    return re.fullmatch(r"u?int\d+", type_text) is not None


def _a(type_text: str) -> str:
    return f"an {type_text}" if type_text[0] in "ai" else f"a {type_text}"
