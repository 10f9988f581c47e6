"""Order the tests by how soon they may kill a mutant, and tell which one did."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

KILLED, SURVIVED, INVALID = "killed", "survived", "invalid"


@dataclass(frozen=True, slots=True)
class Plan:
    """Which tests to run, and what says which of them to run first.

    `share` is a remainder and a divisor: every test whose place has this remainder. `reasons` are what the contract
    refuses with where the mutant is, `killers` tests by rank, `seconds` what each test is known to take.
    """

    share: tuple[int, int] = (0, 1)
    reasons: tuple[str, ...] = ()
    killers: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)

    def order(self, items: Sequence[pytest.Item]) -> list[pytest.Item]:
        """Tests that speak of the reasons first, then killers, then the quickest."""
        remainder, divisor = self.share
        ranks = {test: rank for rank, test in enumerate(self.killers)}

        def key(item: pytest.Item) -> tuple[int, int, float]:
            return self._distance(item), ranks.get(item.nodeid, len(ranks)), self.seconds.get(item.nodeid, 0)

        return sorted(items[remainder::divisor], key=key)

    def _distance(self, item: pytest.Item) -> int:
        """0 if a test's own parameters speak of a reason, 1 if its source does, 2 if neither does."""
        function = getattr(item, "function", None)
        parameters = getattr(item, "callspec", None)
        texts = [str(parameters.params) if parameters else "", inspect.getsource(function) if function else ""]
        spoken = (place for place, text in enumerate(texts) if any(reason in text for reason in self.reasons))
        return next(spoken, len(texts))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a mutant, the test that failed, and the seconds that each test took."""

    outcome: str
    test: str = ""
    seconds: dict[str, float] = field(default_factory=dict)


class Watch:
    """A plugin that notes how long each test took and which one failed."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.failed = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note duration and failure."""
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0) + report.duration
        if report.failed:
            self.failed = self.failed or report.nodeid

    def verdict(self) -> Verdict:
        """What the tests that ran say together."""
        return Verdict(KILLED if self.failed else SURVIVED, self.failed, self.seconds)
