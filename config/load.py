"""Read settings and secrets: the only place that touches files' text and the environment."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, SecretStr, ValidationError

from config.binding_rules import misfit
from config.deployment import Policies
from config.errors import ConfigError, explain, find_line
from config.protocol import Protocol
from config.schema import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PACKAGE = Path(__file__).parent
DEFAULT_SETTINGS = PACKAGE / "keeper.toml"

OVERRIDES = {
    "KEEPER_JOURNAL_URL": ("journal", "url"),
    "KEEPER_MQTT_URL": ("mqtt", "url"),
    "KEEPER_RPC_URL": ("chain", "rpc_url"),
}
"""Environment variables that replace an address which may carry credentials."""

SECP256K1_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Secrets:
    """What must never be printed: the transaction key, or None for a dry run."""

    private_key: SecretStr | None = None


def load_settings(path: Path, environ: Mapping[str, str]) -> Settings:
    """Read and validate keeper.toml. Raises ConfigError naming file, line, key, value and rule."""
    text, document = _read_toml(path)
    for variable, (table, key) in OVERRIDES.items():
        if environ.get(variable):
            section = document.setdefault(table, {})
            if not isinstance(section, dict):
                raise ConfigError(f"{path}: {table}: must be a table")
            section[key] = environ[variable]
    return _validate(Settings, document, path, text)


def load_protocol(name: str, settings_path: Path) -> Protocol:
    """Read the binding `name` from config/protocols, or from a path (relative to the settings file).

    Raises ConfigError when it is absent or breaks the binding's schema.
    """
    path = PACKAGE / "protocols" / f"{name}.toml"
    if name.endswith(".toml"):
        path = settings_path.parent / name
    text, document = _read_toml(path)
    return _validate(Protocol, document, path, text)


def load_policies(binding: Protocol, path: Path | None = None) -> Policies:
    """Read the limits to deploy a protocol with, from config/policies or a file of the operator's.

    Raises ConfigError when the file breaks the schema, misses or invents a parameter of the binding, or has a corridor
    that goes past what the argument of a setter takes.
    """
    path = policies_path(binding, path)
    text, document = _read_toml(path)
    policies = _validate(Policies, document, path, text)
    names = {parameter.name for parameter in binding.parameters}
    for name in sorted(names ^ set(policies.limits)):
        rule = "unknown parameter" if name in policies.limits else "missing, and every parameter needs limits"
        raise ConfigError(f"{path}: limits.{name}: {rule} (binding {binding.name} has {', '.join(sorted(names))})")
    too_wide = list(_too_wide(binding, policies, f"{path}", text))
    if too_wide:
        raise ConfigError("\n".join(too_wide))
    return policies


def policies_path(binding: Protocol, path: Path | None = None) -> Path:
    """Return the file that the limits of a binding are read from: an operator's, or the one shipped."""
    return path or PACKAGE / "policies" / f"{binding.name}.toml"


def _too_wide(binding: Protocol, policies: Policies, path: str, text: str) -> Iterator[str]:
    """Tell of corridors with values that no setter can be called with."""
    for name, limits in policies.limits.items():
        rule = misfit(binding, name, limits.maximum)
        if rule is not None:
            line = find_line(text, ("limits", name, "maximum"))
            where = f"{path}:{line}" if line else path
            yield f"{where}: limits.{name}.maximum = {limits.maximum}: {rule} (binding {binding.name})"


def load_secrets(environ: Mapping[str, str]) -> Secrets:
    """Read the transaction key from KEEPER_PRIVATE_KEY or the file KEEPER_PRIVATE_KEY_FILE names.

    Raises ConfigError, without the value, when it is not 32 bytes of hex.
    """
    value = environ.get("KEEPER_PRIVATE_KEY", "").strip()
    origin = "KEEPER_PRIVATE_KEY"
    if value and environ.get("KEEPER_PRIVATE_KEY_FILE"):
        raise ConfigError("KEEPER_PRIVATE_KEY and KEEPER_PRIVATE_KEY_FILE: set one of them, not both")
    if environ.get("KEEPER_PRIVATE_KEY_FILE"):
        origin = "KEEPER_PRIVATE_KEY_FILE"
        value = _read_text(Path(environ[origin])).strip()
    if not value:
        return Secrets()
    digits = value.removeprefix("0x")
    if len(digits) != 64 or not all(digit in "0123456789abcdefABCDEF" for digit in digits):
        raise ConfigError(f"{origin}: must be 32 bytes in hex (64 digits); its value is not shown")
    if not 0 < int(digits, 16) < SECP256K1_ORDER:
        raise ConfigError(f"{origin}: is no private key of secp256k1: zero, or too large; its value is not shown")
    return Secrets(SecretStr("0x" + digits))


def redact(url: str) -> str:
    """Return scheme, host and port of a URL: never user, password, path, or query, which may hold keys."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(not an address)"
    if parts.scheme.startswith("sqlite"):
        return url
    if "@" in parts.path + parts.query + parts.fragment:
        return f"{parts.scheme}://"  # a password with / ? or # in it: what seems to be the host is its beginning
    try:
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        port = ""
    return f"{parts.scheme}://{parts.hostname or ''}{port}"


def _validate(schema: type[M], document: dict[str, object], path: Path, text: str) -> M:
    try:
        return schema.model_validate(document)
    except ValidationError as error:
        raise explain(error, file=str(path), text=text, schema=schema) from None


def _read_toml(path: Path) -> tuple[str, dict[str, object]]:
    text = _read_text(path)
    try:
        return text, tomllib.loads(text)
    except ValueError as error:  # TOMLDecodeError, or an integer of more digits than Python reads
        raise ConfigError(f"{path}: not valid TOML: {error}") from None
    except RecursionError:
        raise ConfigError(f"{path}: not valid TOML: nested too deeply") from None


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start}") from None
