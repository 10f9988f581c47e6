"""Read the ABI's own notation: types, canonical signatures, and values that carry a name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from eth_abi.exceptions import ABITypeError, ParseError
from eth_abi.grammar import normalize, parse
from pydantic import AfterValidator, Field, PlainValidator

if TYPE_CHECKING:
    from eth_abi.grammar import ABIType

WORD = 32
"""Bytes of one word of calldata or return data."""

ELEMENTARY = re.compile(r"address|bool|u?int\d+|bytes\d+")
"""Types whose values are one word, once they are known to be types at all."""

BASIC = re.compile(rf"{ELEMENTARY.pattern}|u?int|bytes|string")

EVENT = re.compile(r"([A-Za-z_]\w*)\((.*)\)")
FIELD = re.compile(r"(\S+)( indexed)? ([A-Za-z_]\w*)")


def abi_type(text: str) -> ABIType:
    """Parse one type. Raises ValueError for what is no type, or not in its canonical form."""
    canonical: str = normalize(text)  # type: ignore[no-untyped-call]
    try:
        parsed: ABIType = parse(canonical)
        parsed.validate()  # type: ignore[no-untyped-call]
    except (ABITypeError, ParseError, ValueError):
        raise ValueError(f"{text!r} is not an ABI type") from None
    if unknown := [one for one in re.findall(r"[a-z]\w*", text) if not BASIC.fullmatch(one)]:
        raise ValueError(f"{unknown[0]!r} is not an ABI type")
    if canonical != text:
        raise ValueError(f"write {canonical}, not {text}")
    return parsed


def text_of(parsed: ABIType) -> str:
    """Return a type as it is written."""
    return str(parsed.to_type_str())  # type: ignore[no-untyped-call]


def elementary(text: str) -> str:
    """Return a type whose values are one word. Raises ValueError for any other."""
    abi_type(text)
    if not ELEMENTARY.fullmatch(text):
        raise ValueError(f"must be address, bool, an integer or bytes1 to bytes32, not {text}")
    return text


def argument_types(signature: str) -> tuple[str, ...]:
    """Return the types of a signature's arguments."""
    arguments = signature[signature.index("(") :]
    components: tuple[ABIType, ...] = () if arguments == "()" else abi_type(arguments).components  # type: ignore[attr-defined]
    return tuple(text_of(component) for component in components)


def _canonical(signature: str) -> str:
    argument_types(signature)
    return signature


Signature = Annotated[str, Field(pattern=r"^[a-zA-Z_]\w*\([a-z0-9_,\[\]()]*\)$"), AfterValidator(_canonical)]
"""A function's canonical signature, such as `set_shocks(uint256,(address,bytes32)[2])`."""

Identifier = Annotated[str, Field(pattern=r"^[A-Za-z_]\w{0,63}$")]
"""A name that `$name` may refer to."""

ElementaryType = Annotated[str, AfterValidator(elementary)]
"""A type whose values are one word."""


@dataclass(frozen=True, slots=True)
class Named:
    """One value that a view returns. Without a name it is passed over."""

    type: str
    name: str | None


@dataclass(frozen=True, slots=True)
class EventField:
    """One argument of an event."""

    type: str
    name: str
    indexed: bool


@dataclass(frozen=True, slots=True)
class Event:
    """An event with the names of its fields."""

    name: str
    fields: tuple[EventField, ...]

    @property
    def signature(self) -> str:
        """The canonical signature, whose keccak256 is the first topic."""
        return f"{self.name}({','.join(field.type for field in self.fields)})"

    def type_of(self, name: str) -> str | None:
        """Return the type of the field `name`, None when there is none or its value is not in the log as one word."""
        return next((f.type for f in self.fields if f.name == name and ELEMENTARY.fullmatch(f.type)), None)


def parse_named(raw: Any) -> Named:
    """Parse `uint256 strike` or `uint256`. Raises ValueError; a value with a name must be one word."""
    if not isinstance(raw, str) or not (1 <= len(parts := raw.split(" ")) <= 2):
        raise ValueError("must be a type, or a type and a name, such as 'uint256 strike'")
    if len(parts) == 1:
        abi_type(raw)
        return Named(raw, None)
    if not re.fullmatch(r"[A-Za-z_]\w{0,63}", parts[1]):
        raise ValueError(f"{parts[1]!r} is not a name: letters, digits and _")
    return Named(elementary(parts[0]), parts[1])


def parse_event(raw: Any) -> Event:
    """Parse `Opened(address indexed owner, uint256 id)`. Raises ValueError."""
    found = EVENT.fullmatch(raw) if isinstance(raw, str) else None
    if found is None:
        raise ValueError("must be an event with names, such as 'Opened(address indexed owner, uint256 id)'")
    fields = tuple(_event_field(text.strip()) for text in _top_level(found[2]))
    names = [field.name for field in fields]
    if len(set(names)) != len(names):
        raise ValueError("field names must be unique")
    if sum(field.indexed for field in fields) > 3:
        raise ValueError("an event has at most three indexed fields")
    return Event(found[1], fields)


def _event_field(text: str) -> EventField:
    found = FIELD.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a field: write 'type name' or 'type indexed name'")
    abi_type(found[1])
    return EventField(found[1], found[3], indexed=found[2] is not None)


def _top_level(text: str) -> list[str]:
    """Split at commas outside parentheses."""
    parts, depth = [""], 0
    for character in text:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts


NamedValue = Annotated[Named, PlainValidator(parse_named)]
NamedEvent = Annotated[Event, PlainValidator(parse_event)]
