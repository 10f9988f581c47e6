"""Read compiled contracts that nobody here wrote from the packages that `make setup` fetched."""

from __future__ import annotations

import json
import tarfile
from functools import lru_cache
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / ".cache" / "third_party"


class Package:
    """An npm package by its file's name, such as `safe-global-safe-contracts-1.4.1`."""

    def __init__(self, name):
        self.files = _json_files(FOLDER / f"{name}.tgz")

    def artefact(self, path):
        """Return a compiled contract (abi, bytecode, linkReferences) by its path in the package."""
        return json.loads(self.files[f"package/{path}"])


@lru_cache
def _json_files(path):
    if not path.exists():
        raise FileNotFoundError(f"{path.name} is not in {FOLDER.name}: run `make setup`")
    with tarfile.open(path) as archive:
        return {
            member.name: archive.extractfile(member).read()
            for member in archive
            if member.name.endswith(".json") and not member.name.endswith(".dbg.json")
        }


def linked(artefact, libraries):
    """Return an artefact's creation code with the addresses of its libraries filled in."""
    code = artefact["bytecode"]
    for names in artefact["linkReferences"].values():
        for name, places in names.items():
            for place in places:
                start = 2 + 2 * place["start"]
                address = libraries[name].removeprefix("0x").lower()
                code = code[:start] + address + code[start + 2 * place["length"] :]
    return code
