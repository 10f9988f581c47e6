"""Hold what comes of an operation against the model, and whatever must never happen against the chain itself."""

from __future__ import annotations

import re
from collections import Counter
from fractions import Fraction
from typing import TYPE_CHECKING

from eth_abi.abi import decode
from eth_utils import keccak
from hypothesis.stateful import RuleBasedStateMachine
from machine_chain import View, expected_view, the_chain
from machine_protocol import Refused, Values

if TYPE_CHECKING:
    from collections.abc import Callable

    from machine_messages import Attempt
    from machine_model import Trial

Tally = Counter[tuple[str, str]]
"""Operations by what was done and what came of it."""

TAKEN, ERRAND = "taken", "errand"
DISCOVERY = 16
"""Operations from one search for new storage slots to the next."""

APPLIED = keccak(text="Applied(bytes32,uint256,bytes32,uint256[])")
ROLLED_BACK = keccak(text="RolledBack(bytes32,uint256,bytes32,uint256[])")


class Observed(RuleBasedStateMachine):
    """A fresh chain, a model of it, and what must be true of both whatever is done to them."""

    def __init__(self, tally: Tally) -> None:
        super().__init__()
        self.tally = tally
        self.chain = the_chain()
        self.model = self.chain.begin()
        self.operations = 0
        self.sent: list[Attempt] = []
        self.storage = self.chain.storage()
        self.views: list[View | str] = []
        self.check_views()

    def send(self, operation: str, attempt: Attempt) -> str | None:
        """Send a message; returns the reason why it was refused."""
        self.sent.append(attempt)
        trial, before = self.model.judge(attempt), self.views
        good = [line.last_good(self.model.now).values if line.versions else () for line in self.model.lines]
        actual = self.chain.attempt(attempt)
        told = self.chain.last_log()
        if actual is None and trial.reason is None:
            self.model.commit(trial)
        self.settle(operation, trial.reason, actual)
        if actual is None:
            for done in (trial, *trial.others):
                self._honour(done, before, good)
            self.tally.update((ERRAND, other.function) for other in trial.others)
            self._check_log(trial, told)
        return actual

    def settle(self, operation: str, expected: str | None, actual: str | None) -> None:
        """Count an operation; it has to end as expected, and to leave everything as it was if it was refused."""
        self.operations += 1
        self.tally[operation, outcome(actual)] += 1
        assert actual == expected, f"{operation}: the chain says {actual!r}, the model {expected!r}"
        now = self.chain.storage()
        if actual is None:
            self.check_views()
        else:
            assert now == self.storage, f"{operation} was refused and left something behind"
        if self.operations % DISCOVERY == 0:
            self.chain.discover()
            now = self.chain.storage()
        self.storage = now

    def wait(self, seconds: int) -> None:
        """Let time pass; what a rollback would restore may change with it."""
        self.model.now += seconds
        self.chain.house.wait(seconds)
        self.check_views()

    def check_views(self) -> None:
        """Every steward says of every market what the books say."""
        self.views = [self.chain.view(line) for line in self.model.lines]
        for found, line in zip(self.views, self.model.lines, strict=True):
            expected = expected_view(self.model, line)
            assert found == expected, f"the steward says {found}, the books {expected}"

    @staticmethod
    def refusal(act: Callable[[], None]) -> str | None:
        """Return why the model refuses to act; otherwise it has acted."""
        try:
            act()
        except Refused as refused:
            return str(refused)
        return None

    def _honour(self, trial: Trial, before: list[View | str], good: list[Values]) -> None:
        """What was taken was signed for this very state, and left just what was signed, within every limit."""
        index = self.model.lines.index(trial.line)
        line, message, old, new = trial.line, trial.message, before[index], self.views[index]
        assert message.state_hash == old.state_hash.to_bytes(32)
        assert message.sequence == old.sequence + 1
        assert int(message.policy, 16) == old.policy
        assert (message.market, message.deadline >= self.model.now) == (line.market, True)
        if trial.function == "announce":
            assert self.chain.announced_at(line.steward, trial.digest) == self.model.now
            return
        signed = dict(zip(message.ids, message.values, strict=True))
        merged = tuple(signed.get(place, value) for place, value in enumerate(old.values))
        assert new.values == merged != old.values
        assert new.sequence == message.sequence
        if trial.function == "rollback":
            assert merged == good[index]
        for place, (was, value) in enumerate(zip(old.values, merged, strict=True)):
            limits = line.policy.limits[place]
            if value != was or trial.function == "rollback":
                assert limits.minimum <= value <= limits.maximum
            if value != was and limits.drift_window and trial.function == "apply":
                moved = line.moved_in_window(place)
                assert moved <= Fraction(1), f"{float(moved):.6f} of the drift budget moved in one window"

    def _check_log(self, trial: Trial, told: tuple[list[bytes], bytes] | None) -> None:
        """The values that a later rollback takes from the log are those that are live."""
        if trial.function == "announce":
            return
        topics, data = told
        message = trial.message
        assert topics[0] == (ROLLED_BACK if trial.function == "rollback" else APPLIED)
        assert topics[1:] == [message.market, message.sequence.to_bytes(32), message.input_root]
        assert decode(["uint256[]"], data) == (trial.after,)


def outcome(actual: str | None) -> str:
    """What came of an operation, without names and numbers."""
    if actual is None:
        return TAKEN
    return re.sub(r"\d+", "#", actual.removeprefix("risk_steward: ").replace("policy_registry: ", "registry: "))
