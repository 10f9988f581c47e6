"""Know the mutants that no test can kill, because the contract does the same with them, and why."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mutants.mutator import Mutant

FILE = Path(__file__).parent / "equivalent.toml"


@dataclass(frozen=True, slots=True)
class Equivalents:
    """Reasons by file, function and change."""

    reasons: dict[tuple[str, str, str], str]

    @classmethod
    def load(cls, path: Path = FILE) -> Equivalents:
        """Read the list. Throws ValueError for an entry without a reason, KeyError for one without a place."""
        entries = tomllib.loads(path.read_text()).get("equivalent", [])
        reasons = {(entry["file"], entry["function"], entry["change"]): entry["because"].strip() for entry in entries}
        for place, reason in reasons.items():
            if not reason:
                raise ValueError(f"{path.name}: {' '.join(place)}: must say why")
        return cls(reasons)

    def reason(self, mutant: Mutant) -> str:
        """Why no test can kill a mutant; empty if one can."""
        return self.reasons.get(_place(mutant), "")

    def check(self, mutants: Iterable[Mutant]) -> None:
        """Throw ValueError if the list has a mutant that is none of these."""
        stale = self.reasons.keys() - {_place(mutant) for mutant in mutants}
        if stale:
            raise ValueError(f"{FILE.name}: no such mutant: {'; '.join(' '.join(place) for place in sorted(stale))}")


def _place(mutant: Mutant) -> tuple[str, str, str]:
    """What stays the same of a mutant when lines are added above it."""
    return mutant.file, mutant.function, mutant.change
