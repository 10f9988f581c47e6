"""Save what a forecaster has learned of its streams and restore it exactly, bit for bit."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from dataclasses import is_dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from config.errors import KnownFault
from models.forecaster import Forecast, Tail
from models.garch import Fitted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from models.streams import Stream

FORMAT = "keeper-forecaster-state"
SCHEMA = 2
VALUES: dict[str, type[Any]] = {"tail": Tail, "fitted": Fitted, "forecast": Forecast}
"""Frozen records that are part of a stream's state; every other frozen record is part of the model."""

SEQUENCES: dict[str, type[Any]] = {"tuple": tuple, "list": list, "deque": deque}


UNFIT = (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError)
"""What a state raises whose parts are not those of the streams here."""


class StateError(KnownFault):
    """A saved state cannot be restored; the message names the file, or what it was read from, and the rule."""


@runtime_checkable
class Restorable(Protocol):
    """A forecaster whose streams can be saved."""

    @property
    def model_id(self) -> str:
        """Content address of the artefact, or the baseline's name."""
        ...

    @property
    def streams(self) -> Mapping[str, Stream]:
        """Streams by asset."""
        ...

    def reset(self, asset: str, bar_seconds: int) -> None:
        """Forget `asset` and start a new stream."""
        ...


def save_state(forecaster: Restorable, path: str | Path) -> None:
    """Write every stream's state to a file, replacing it in one step."""
    path = Path(path)
    unfinished = path.with_name(path.name + ".part")
    unfinished.write_text(state_of(forecaster, forecaster.streams) + "\n", encoding="utf-8")
    unfinished.replace(path)


def restore_state(forecaster: Restorable, path: str | Path) -> None:
    """Start the saved streams anew and put them where they were; other streams stay as they are.

    Raises StateError as `put_back` does, and on a file that cannot be read.
    """
    path = Path(path)
    try:
        text = path.read_bytes()
    except OSError as error:
        raise StateError(f"{path.name}: cannot be read: {error.strerror}") from None
    put_back(forecaster, text, path.name)


def state_of(forecaster: Restorable, assets: Iterable[str], more: Mapping[str, Any] | None = None) -> str:
    """Return the state of some streams as canonical JSON that carries its own SHA-256.

    `more` are values to keep beside it, made of what JSON knows and of `VALUES`.
    """
    streams = {
        asset: {"bar_seconds": stream.bar_seconds, "state": _frozen(stream)}
        for asset, stream in forecaster.streams.items()
        if asset in set(assets)
    }
    content = {
        "format": FORMAT,
        "schema": SCHEMA,
        "code": code_digest(),
        "model_id": forecaster.model_id,
        "streams": streams,
        "more": _frozen(dict(more or {})),
    }
    return _canonical(content | {"sha256": _digest(content)})


def put_back(forecaster: Restorable, text: bytes, name: str) -> dict[str, Any]:
    """Start the streams of a state anew and put them where they were; return what was kept beside it.

    Raises StateError, beginning with `name`, on what is no state, of another schema or corrupt, or was saved by another
    model or other code; nothing has changed then. Where only the parts do not fit, the streams are left new.
    """
    content = _checked(text, name)
    if content["code"] != code_digest():
        raise StateError(f"{name}: saved by other code of the models than this")
    if content["model_id"] != forecaster.model_id:
        raise StateError(f"{name}: saved by model {content['model_id']}, not {forecaster.model_id}")
    try:
        for asset, saved in content["streams"].items():
            forecaster.reset(asset, saved["bar_seconds"])
            _thawed(forecaster.streams[asset], saved["state"])
        more: dict[str, Any] = _thawed(None, content["more"])
    except UNFIT as error:
        for asset, saved in content["streams"].items():
            forecaster.reset(asset, saved["bar_seconds"])
        raise StateError(f"{name}: does not fit the streams of {forecaster.model_id}: {error}") from None
    return more


def _checked(text: bytes, name: str) -> dict[str, Any]:
    """Return a state's content, its hash left out. Raises StateError."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise StateError(f"{name}: not a JSON file: corrupt or foreign") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise StateError(f"{name}: format is not {FORMAT}: not a state of this keeper")
    if content.get("schema") != SCHEMA:
        raise StateError(f"{name}: schema {content.get('schema')!r}: this version reads {SCHEMA}")
    stated = content.pop("sha256", None)
    if stated != _digest(content):
        raise StateError(f"{name}: sha256 {stated!r} is not the hash of the content: corrupt")
    return content


@cache
def code_digest() -> str:
    """Return the SHA-256 over the source of the models: what a state means to this code, it may not mean to another."""
    hasher = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        hasher.update(f"{path.name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return hasher.hexdigest()


def _frozen(value: Any) -> Any:
    """Return the JSON of a value; floats survive JSON exactly."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    for kind, record in VALUES.items():
        if type(value) is record:
            return {kind: [_frozen(getattr(value, name)) for name in _attributes(value)]}
    for kind, sequence in SEQUENCES.items():
        if type(value) is sequence:
            return {kind: [_frozen(item) for item in value]}
    if type(value) is dict:
        return {"dict": [[_frozen(key), _frozen(item)] for key, item in value.items()]}
    if _is_model(value):
        return {"model": None}
    return {"object": {name: _frozen(getattr(value, name)) for name in _attributes(value)}}


def _thawed(fresh: Any, saved: Any) -> Any:
    """Return the saved value; objects are those of the fresh stream, filled in place."""
    if not isinstance(saved, dict):
        return saved
    ((kind, content),) = saved.items()
    if kind == "model":
        return fresh
    if kind == "object":
        for name, item in content.items():
            setattr(fresh, name, _thawed(getattr(fresh, name), item))
        return fresh
    if kind == "dict":
        pairs = [(_thawed(None, key), item) for key, item in content]
        return {key: _thawed((fresh or {}).get(key), item) for key, item in pairs}
    if kind in VALUES:
        return VALUES[kind](*(_thawed(None, item) for item in content))
    beside = list(fresh) if isinstance(fresh, tuple | list | deque) and len(fresh) == len(content) else None
    items = [_thawed(beside[place] if beside else None, item) for place, item in enumerate(content)]
    return deque(items, fresh.maxlen) if kind == "deque" else SEQUENCES[kind](items)


def _attributes(value: Any) -> tuple[str, ...]:
    slots = tuple(name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ()))
    return (*slots, *getattr(value, "__dict__", ()))


def _is_model(value: Any) -> bool:
    return is_dataclass(value) or isinstance(value, type)


def _canonical(content: Mapping[str, Any]) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(_canonical(content).encode()).hexdigest()
