"""Tell an operator which file, line, key and value is wrong, and what is allowed."""

from __future__ import annotations

import difflib
import re
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

SECRET_KEYS = frozenset({"url", "rpc_url"})
"""Keys whose values may carry credentials: never printed."""

CREDENTIAL = re.compile(r"://|[0-9a-fA-F]{64}")
"""What an address or a private key looks like, should one stand under a wrong key."""

KEY = r"""(?:"[^"]*"|'[^']*'|[A-Za-z0-9_-]+)"""
DOTTED = rf"{KEY}(?:\s*\.\s*{KEY})*"
HEADER = re.compile(rf"\s*(\[\[?)\s*({DOTTED})\s*\]")
ASSIGNMENT = re.compile(rf"\s*({DOTTED})\s*=")

Place = tuple[int | str, ...]
"""Where a value stands in a document: keys, and positions in arrays."""


class KnownFault(Exception):
    """A fault whose message is written for an operator: it names what is wrong and holds no secret."""


class ConfigError(KnownFault):
    """A settings file that cannot be used. The message names file, line, key, value and rule."""


def explain(error: ValidationError, *, file: str, text: str, schema: type[BaseModel]) -> ConfigError:
    """Turn pydantic's findings into one message, a line per finding."""
    lines = [_explain_one(detail, file, text, schema) for detail in error.errors(include_url=False)]
    return ConfigError("\n".join(lines))


def _explain_one(detail: ErrorDetails, file: str, text: str, schema: type[BaseModel]) -> str:
    path = [part for part in detail["loc"] if part != "[key]"]
    key = ".".join(str(part) for part in path) or "(file)"
    line = find_line(text, path)
    where = f"{file}:{line}" if line else file
    if detail["type"] == "extra_forbidden":
        return f"{where}: {key}: unknown key{_suggest(path, schema)}"
    if detail["type"] == "missing":
        return f"{where}: {key}: missing, and it has no default"
    shown = "" if path and path[-1] in SECRET_KEYS else f" = {_short(detail['input'])}"
    rule = detail["msg"].removeprefix("Value error, ")
    return f"{where}: {key}{shown}: {rule[0].lower() + rule[1:]}"


def _short(value: Any) -> str:
    if isinstance(value, dict | list):
        return "(table)" if isinstance(value, dict) else "(list)"
    if isinstance(value, int) and value.bit_length() > 256:
        return "(a number of more than 256 bits)"
    text = repr(value)
    if CREDENTIAL.search(text):
        return "(not shown)"
    return text if len(text) <= 80 else text[:77] + "..."


def _suggest(path: list[int | str], schema: type[BaseModel]) -> str:
    allowed = sorted(_known_keys(path[:-1], schema))
    close = difflib.get_close_matches(str(path[-1]), allowed, n=1)
    if close:
        return f" (did you mean {close[0]}?)"
    return f" (allowed: {', '.join(allowed)})" if allowed else ""


def _known_keys(path: Iterable[int | str], schema: type[BaseModel]) -> set[str]:
    """Return the keys allowed at `path`, stepping through lists and name-keyed tables."""
    current: Any = schema
    for part in path:
        is_table = isinstance(current, type) and issubclass(current, BaseModel)
        current = current.model_fields[str(part)].annotation if is_table else _innermost_model(current)
    table = _innermost_model(current)
    return set() if table is None else set(table.model_fields)


def _innermost_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _innermost_model(argument)
        if found is not None:
            return found
    return None


def find_line(text: str, path: Iterable[int | str]) -> int | None:
    """Return the 1-based line of the TOML key at `path`, or of what stands nearest to it; None when nothing does."""
    wanted = tuple(path)
    table: Place = ()
    counts: dict[Place, int] = {}
    best, depth = None, 0
    for number, line in enumerate(text.split("\n"), start=1):
        if header := HEADER.match(line):
            table = place = _enter(_parts(header[2]), counts, item=header[1] == "[[")
        elif assignment := ASSIGNMENT.match(line):
            place = (*table, *_parts(assignment[1]))
        else:
            continue
        shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(place, wanted, strict=False)))
        if shared > depth:
            best, depth = number, shared
    return best


def _enter(parts: list[str], counts: dict[Place, int], *, item: bool) -> Place:
    """Return the place a table header opens; `counts` holds the position reached in every array of tables."""
    place: Place = ()
    for number, part in enumerate(parts, start=1):
        place = (*place, part)
        if item and number == len(parts):
            counts[place] = counts.get(place, -1) + 1
        if place in counts:
            place = (*place, counts[place])
    return place


def _parts(dotted: str) -> list[str]:
    return [part.strip("\"'") for part in re.findall(KEY, dotted)]
