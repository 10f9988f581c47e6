"""What a check of the set-up found: each finding with its remedy, and where in which file it has its cause."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from rich.text import Text

from config.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import RenderableType


class Verdict(StrEnum):
    """How a check ended. A note is for people to read; only a failure keeps the keeper from starting."""

    OK = "ok"
    NOTE = "note"
    FAILED = "failed"


COLOURS = {Verdict.OK: "green", Verdict.NOTE: "yellow", Verdict.FAILED: "bold red"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One check's end. `subject` is a market's name or what else was looked at, `where` file:line where it helps."""

    subject: str
    check: str
    verdict: Verdict
    detail: str
    remedy: str = ""
    where: str = ""

    def sentence(self) -> str:
        """Say it in one line."""
        place = f"{self.where}: " if self.where else ""
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"{place}{self.subject}: {self.check}: {self.detail}{remedy}"


def passed(subject: str, check: str, detail: str) -> Finding:
    """Return a finding that all is well."""
    return Finding(subject, check, Verdict.OK, detail)


def noted(subject: str, check: str, detail: str, where: str = "") -> Finding:
    """Return a finding to be read."""
    return Finding(subject, check, Verdict.NOTE, detail, where=where)


def failed(subject: str, check: str, detail: str, remedy: str, where: str = "") -> Finding:
    """Return a finding that has to be mended, and how."""
    return Finding(subject, check, Verdict.FAILED, detail, remedy, where)


@dataclass(frozen=True, slots=True)
class Report:
    """All findings, in the order of the checks."""

    findings: tuple[Finding, ...]

    @property
    def failures(self) -> tuple[Finding, ...]:
        """What has to be mended."""
        return tuple(finding for finding in self.findings if finding.verdict is Verdict.FAILED)

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return not self.failures

    def document(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {"ok": self.ok, "findings": [asdict(finding) for finding in self.findings]}

    def require(self) -> None:
        """Raise ConfigError with every failure, a line each, unless there is none."""
        if not self.ok:
            raise ConfigError("\n".join(finding.sentence() for finding in self.failures))


def render(report: Report) -> list[RenderableType]:
    """Return the report for a terminal: a line for each finding, then what has a line in a file, and each failure.

    Lines and no table: whatever the terminal's width, an address stays in one piece to be copied.
    """
    lines = [
        Text.assemble((f"{one.verdict:6}", COLOURS[one.verdict]), f"  {one.subject}: {one.check}: {one.detail}")
        for one in report.findings
    ]
    notes = [one for one in report.findings if one.verdict is Verdict.NOTE and one.where]
    remedies = [Text(finding.sentence(), style="red") for finding in report.failures]
    summary = f"{len(report.failures)} of {len(report.findings)} checks failed" if remedies else "all checks passed"
    return [*lines, *(Text(note.sentence(), style="yellow") for note in notes), *remedies, Text(summary)]
