"""Compile the Vyper contracts and cache the result by the hash of everything that determines it."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from dataclasses import asdict, dataclass
from importlib.metadata import distribution, version
from pathlib import Path
from typing import Any

from config.errors import KnownFault

CONTRACTS = ("collateral_token", "options_market", "policy_registry", "price_feed", "risk_steward", "timelock")
"""Names of the contracts that are deployed; every other file beside them is a module of theirs."""

SOURCES = Path(__file__).resolve().parent / "contracts"
CACHE = Path(__file__).resolve().parents[1] / ".cache" / "contracts"

# Optimisation, EVM version and reentrancy are pragmas of the sources; this counts changes of the cached form.
_FORMAT = "keeper contract cache 1"


class CompilerError(KnownFault):
    """A contract is unknown or does not compile; the message names it."""


@dataclass(frozen=True, slots=True)
class Artefact:
    """What deploying and calling a contract takes.

    `bytecode` is the creation code without constructor arguments. `source_hash` is the SHA-256, in hex, of all that
    determines it: sources, their possible imports, compiler and library versions.
    """

    name: str
    abi: tuple[dict[str, Any], ...]
    bytecode: bytes
    source_hash: str


def compile_contract(name: str, cache: Path | None = None) -> Artefact:
    """Compile `chain/contracts/NAME.vy`, or take it from the cache.

    Args:
        name: One of `CONTRACTS`.
        cache: Directory of cached artefacts, made when missing; `.cache/contracts` in the project root by default.

    Returns:
        The artefact. A cache file that is damaged, or belongs to other sources, is written anew.

    Raises:
        CompilerError: The name is unknown or its source does not compile.
        OSError: The cache cannot be written.
    """
    if name not in CONTRACTS:
        raise CompilerError(f"unknown contract {name!r}: must be one of {', '.join(CONTRACTS)}")
    source_hash = _source_hash()
    path = (cache or CACHE) / f"{name}-{source_hash[:16]}.json"
    cached = _load(path, name, source_hash)
    if cached is not None:
        return cached
    artefact = _compile(name, source_hash)
    _store(path, artefact)
    return artefact


def compile_all(cache: Path | None = None) -> dict[str, Artefact]:
    """Compile every contract of `CONTRACTS`; keys are their names. Arguments and errors as in `compile_contract`."""
    return {name: compile_contract(name, cache) for name in CONTRACTS}


def _source_hash() -> str:
    """Hash every source that a contract may import, and the versions of compiler and library."""
    digest = hashlib.sha256()
    for part in (_FORMAT, version("vyper"), version("snekmate")):
        _absorb(digest, part.encode())
    for path in sorted([*SOURCES.glob("*.vy"), *SOURCES.glob("interfaces/*.vyi")]):
        _absorb(digest, path.relative_to(SOURCES).as_posix().encode())
        _absorb(digest, path.read_bytes())
    return digest.hexdigest()


def _absorb(digest: hashlib._Hash, part: bytes) -> None:
    """Add one part with its length, so that no two lists of parts share a hash."""
    digest.update(len(part).to_bytes(8, "big"))
    digest.update(part)


def _compile(name: str, source_hash: str) -> Artefact:
    """Run the Vyper compiler in this process."""
    # Importing the compiler takes a second, which a full cache need not spend.
    from vyper.compiler import compile_from_file_input  # noqa: PLC0415
    from vyper.compiler.input_bundle import FilesystemInputBundle  # noqa: PLC0415
    from vyper.exceptions import VyperException  # noqa: PLC0415

    library = Path(str(distribution("snekmate").locate_file("")))
    bundle = FilesystemInputBundle([library, SOURCES])
    try:
        output = compile_from_file_input(
            bundle.load_file(f"{name}.vy"), input_bundle=bundle, output_formats=["abi", "bytecode"]
        )
    except VyperException as error:
        raise CompilerError(f"contract {name!r} does not compile: {error}") from error
    bytecode = bytes.fromhex(output["bytecode"].removeprefix("0x"))
    return Artefact(name, tuple(output["abi"]), bytecode, source_hash)


def _store(path: Path, artefact: Artefact) -> None:
    """Write the file in one step: readers see all of it or none."""
    body = asdict(artefact) | {"bytecode": artefact.bytecode.hex()}
    text = json.dumps({"artefact": body, "sha256": _digest(body)})
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def _load(path: Path, name: str, source_hash: str) -> Artefact | None:
    """Read a cache file; None when it is missing, damaged or someone else's."""
    try:
        content = json.loads(path.read_bytes())
        body = content["artefact"]
        intact = content["sha256"] == _digest(body)
        artefact = Artefact(body["name"], tuple(body["abi"]), bytes.fromhex(body["bytecode"]), body["source_hash"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    return artefact if intact and (artefact.name, artefact.source_hash) == (name, source_hash) else None


def _digest(body: dict[str, Any]) -> str:
    """SHA-256 of an artefact's cached form, in hex."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
