"""Keep the verdicts on mutants, and which tests killed them: the next mutant of the same place meets those first."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from mutants.trial import INVALID, KILLED, SURVIVED, Plan, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mutants.mutator import Mutant


@dataclass(slots=True)
class Session:
    """Mutants to try, seconds that each test takes, and the verdicts so far."""

    mutants: Sequence[Mutant]
    seconds: dict[str, float] = field(default_factory=dict)
    verdicts: dict[Mutant, Verdict] = field(default_factory=dict)
    minutes: float = 0

    def plan(self, mutant: Mutant) -> Plan:
        """What to run first: tests that killed in the same function, then those in the same file; the latest first."""
        verdicts = reversed(self.verdicts.items())
        killed = [(other, verdict.test) for other, verdict in verdicts if verdict.outcome == KILLED]
        nearby = [pair for pair in killed if pair[0].file == mutant.file]
        nearby.sort(key=lambda pair: pair[0].function != mutant.function)
        killers = tuple(dict.fromkeys(test for _, test in nearby))
        return Plan(reasons=mutant.reasons, killers=killers, seconds=self.seconds)

    def by_outcome(self, outcome: str) -> list[Mutant]:
        """The mutants with an outcome, in the order of their verdicts."""
        return [mutant for mutant, verdict in self.verdicts.items() if verdict.outcome == outcome]

    def progress(self, mutant: Mutant, elapsed: float) -> str:
        """One line on the verdict just found. `elapsed` is in seconds."""
        verdict = self.verdicts[mutant]
        done, total = len(self.verdicts), len(self.mutants)
        left = elapsed / done * (total - done) / 60
        test = verdict.test.rpartition("::")[2] if verdict.outcome == KILLED else ""
        return f"[{done}/{total}, {left:.0f} min left] {verdict.outcome} {mutant} {test}".rstrip()

    def summary(self, skipped: int) -> str:
        """What to read last. `skipped` counts mutants that were left out as equivalent."""
        lines = []
        for outcome in (INVALID, SURVIVED):
            lines += [f"{outcome}: {mutant}" for mutant in self.by_outcome(outcome)]
        killed, invalid = len(self.by_outcome(KILLED)), len(self.by_outcome(INVALID))
        counts = f"{killed}/{len(self.verdicts) - invalid} killed"
        return "\n".join([*lines, f"{counts}, {invalid} invalid, {skipped} equivalent, {self.minutes:.0f} minutes"])

    def record(self) -> dict[str, Any]:
        """The verdicts for a program to read."""
        tried = [
            asdict(mutant) | {"outcome": verdict.outcome, "test": verdict.test}
            for mutant, verdict in self.verdicts.items()
        ]
        counts = {outcome: len(self.by_outcome(outcome)) for outcome in (KILLED, SURVIVED, INVALID)}
        return counts | {"minutes": self.minutes, "mutants": tried}
