"""Tell an operator which file, line, key and value is wrong, and what is allowed."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

SECRET_KEYS = frozenset({"url", "rpc_url"})
"""Keys whose values may carry credentials: never printed."""


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
    text = repr(value)
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
        if isinstance(current, type) and issubclass(current, BaseModel) and part in current.model_fields:
            current = current.model_fields[str(part)].annotation
        current = _innermost_model(current)
        if current is None:
            return set()
    return set(current.model_fields)


def _innermost_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _innermost_model(argument)
        if found is not None:
            return found
    return None


def find_line(text: str, path: Iterable[int | str]) -> int | None:
    """Return the 1-based line of the TOML key at `path`, or of the nearest table above it."""
    wanted = [part for part in path if isinstance(part, str)]
    index = next((part for part in path if isinstance(part, int)), None)
    table: list[str] = []
    seen: dict[str, int] = {}
    best = None
    for number, line in enumerate(text.splitlines(), start=1):
        header = re.match(r"\s*\[\[?\s*([^\]]+?)\s*\]\]?", line)
        if header:
            table = [part.strip().strip("\"'") for part in header[1].split(".")]
            seen[header[1]] = seen.get(header[1], -1) + 1
            if table == wanted[: len(table)] and index in (None, seen[header[1]]):
                best = number
            continue
        key = re.match(r"\s*([A-Za-z0-9_.\"'-]+)\s*=", line)
        if key and [*table, *(part.strip("\"'") for part in key[1].split("."))] == wanted:
            position = seen.get(".".join(table), 0)
            if index in (None, position):
                return number
    return best
