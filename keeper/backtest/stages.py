"""Account for where a run's time goes, by a clock that is given."""

from __future__ import annotations

from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def no_time() -> float:
    """Return 0: nothing is measured."""
    return 0.0


@dataclass(slots=True)
class Stages:
    """Seconds by stage. A stage measured `alone` takes in all that runs inside it, which then counts nowhere else."""

    clock: Callable[[], float] = no_time
    spent: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    _inner: list[float] = field(default_factory=lambda: [0.0])
    _alone: bool = False

    @contextmanager
    def measured(self, stage: str, *, alone: bool = False) -> Iterator[None]:
        """Count what runs inside, less what inner stages count for themselves."""
        if self._alone:
            yield
            return
        began = self.clock()
        self._inner.append(0.0)
        self._alone = alone
        try:
            yield
        finally:
            self._alone = False
            took = self.clock() - began
            self.spent[stage] += took - self._inner.pop()
            self._inner[-1] += took
