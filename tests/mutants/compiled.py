"""Compile each contract once, for titanoboa and for the product alike, and for a mutant only what it is part of."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from boa import interpret
from vyper.compiler.output import build_abi_output
from vyper.compiler.settings import anchor_settings

from chain import compiler

if TYPE_CHECKING:
    from vyper.compiler.phases import CompilerData

_of_titanoboa = interpret.compiler_data


@dataclass(frozen=True, slots=True)
class Compiled:
    """What the compiler made of the contracts of a folder, by name. Whoever asks for one is given the same."""

    folder: Path
    known: dict[str, CompilerData] = field(default_factory=dict)

    def install(self) -> None:
        """Compile what the product deploys, and answer for its compiler and titanoboa's in this process."""
        for name in compiler.CONTRACTS:
            self.add(name)
        interpret.compiler_data = self._for_titanoboa
        compiler._compile = self.artefact

    def add(self, name: str) -> None:
        """Compile a contract, if it is not known. Throws VyperException."""
        if name not in self.known:
            path = self.folder / f"{name}.vy"
            self.known[name] = _compile(path.read_text(), str(path))

    def renew(self, file: str) -> None:
        """Compile again what is known and made of this file. Throws VyperException."""
        for name in [name for name, data in self.known.items() if file in _files(name, data)]:
            del self.known[name]
            self.add(name)

    def artefact(self, name: str, source_hash: str) -> compiler.Artefact:
        """What the product makes of a contract."""
        self.add(name)
        data = self.known[name]
        return compiler.Artefact(name, tuple(build_abi_output(data)), data.bytecode, source_hash)

    def _for_titanoboa(self, source: str, name: str | None, filename: str, *others: Any, **options: Any) -> Any:
        """What titanoboa makes of a source, which it keeps in a cache of its own if it is none of these contracts."""
        path = Path(filename)
        if path.parent != self.folder:
            return _of_titanoboa(source, name, filename, *others, **options)
        self.add(path.stem)
        return self.known[path.stem]


def _compile(source: str, filename: str) -> CompilerData:
    """Compile as titanoboa does, with the source map that it wants, and without asking or filling its cache."""
    cache, interpret._disk_cache = interpret._disk_cache, None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a mutant may leave a variable unused
            data = _of_titanoboa(source, filename, filename)
            with anchor_settings(data.settings):
                _ = data.bytecode, data.bytecode_runtime
                data.source_map = interpret._compute_source_map(data)
    finally:
        interpret._disk_cache = cache
    return data


def _files(name: str, data: CompilerData) -> set[str]:
    """The names of the files that a contract is made of."""
    return {f"{name}.vy", *(Path(item.path).name for item in data.resolved_imports.compiler_inputs)}
