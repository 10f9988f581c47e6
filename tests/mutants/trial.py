"""Try one mutant: run the tests against a copy of the tree that has it, up to the first failure."""

from __future__ import annotations

import gc
import os
import shutil
import sys
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boa  # noqa: F401 - imported once: every trial is a fork of this process
import pytest
from vyper.exceptions import VyperException

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

    from mutants.mutator import Mutant

ROOT = Path(__file__).resolve().parents[2]
CONTRACTS = Path("chain", "contracts")
# What tests of the contracts import and read. They find the contracts from where they stand themselves.
TREE = ("config", "models", "chain", "keeper", "tests", "pyproject.toml")

KILLED, SURVIVED, INVALID = "killed", "survived", "invalid"

# Bytes. The steward compiled, with its syntax tree, is larger; the small protocols that tests steer are not.
LARGE = 1_000_000


class TrialFault(Exception):
    """The tests could not be run at all; the message is what they printed."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Which files of tests to run, tests to run first by rank, and seconds that each file is known to take."""

    files: tuple[str, ...]
    ranks: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a mutant, the test that failed, and the seconds that each file of tests took."""

    outcome: str
    test: str = ""
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trial:
    """Tests that run in a process of their own, whose end `process.sentinel` tells."""

    mutant: Mutant | None
    process: Any
    verdict: Connection
    output: Path

    def result(self) -> Verdict:
        """Wait for the verdict. Throws TrialFault where there is none."""
        try:
            return self.verdict.recv()
        except EOFError:
            raise TrialFault(self.output.read_text()) from None
        finally:
            self.process.join()


@dataclass(frozen=True, slots=True)
class Bench:
    """A copy of the tree that holds one mutant at a time."""

    snapshot: Path
    root: Path

    @classmethod
    def make(cls, snapshot: Path, root: Path) -> Bench:
        """Copy a snapshot."""
        shutil.copytree(snapshot, root, symlinks=True)
        return cls(snapshot, root)

    def start(self, mutant: Mutant | None, plan: Plan) -> Trial:
        """Start tests against a mutant, or against the contracts as they are."""
        if mutant is not None:
            path = CONTRACTS / mutant.file
            (self.root / path).write_text(mutant.apply((self.snapshot / path).read_text()))
        output = self.root / "output.txt"
        receiver, sender = get_context("fork").Pipe(duplex=False)
        process = get_context("fork").Process(
            target=_run, args=(self.root, plan, output, mutant is not None, sender), daemon=True
        )
        process.start()
        sender.close()
        return Trial(mutant, process, receiver, output)

    def clear(self, mutant: Mutant) -> None:
        """Take a mutant out again."""
        shutil.copy(self.snapshot / CONTRACTS / mutant.file, self.root / CONTRACTS / mutant.file)


def take_snapshot(root: Path) -> None:
    """Copy what the tests need of the tree, so that it may change meanwhile; third parties' packages are shared."""
    for name in TREE:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            root.mkdir(exist_ok=True)
            shutil.copy(source, root / name)
    (root / ".cache").mkdir()
    (root / ".cache" / "third_party").symlink_to(ROOT / ".cache" / "third_party")


def _run(root: Path, plan: Plan, output: Path, is_mutant: bool, sender: Connection) -> None:
    """Run the tests in this process and send the verdict, unless they could not be run."""
    with output.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.chdir(root)
    gc.disable()  # the compiler keeps what it makes, and the process ends soon
    sys.path.insert(0, str(root))
    watch = _Watch(plan)
    # A slow machine is no reason to call a mutant killed: gas bounds every run, not time.
    options = ["-x", "-q", "-p", "no:randomly", "--timeout=0", "--tb=short"]
    # It only says that titanoboa, a plugin too, was imported before.
    options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
    with _forgetting(root / ".cache" / "boa") if is_mutant else nullcontext():
        code = pytest.main([*options, *plan.files], plugins=[watch])
    if code == pytest.ExitCode.OK:
        sender.send(Verdict(SURVIVED, seconds=watch.seconds))
    elif code == pytest.ExitCode.TESTS_FAILED and watch.failed:
        sender.send(Verdict(INVALID if watch.uncompiled else KILLED, watch.failed, watch.seconds))
    sender.close()


@contextmanager
def _forgetting(cache: Path) -> Iterator[None]:
    """Drop the large files that are new in a cache afterwards: a mutant's bytecode is not asked for again."""
    before = set(cache.rglob("*.pickle"))
    yield
    for path in set(cache.rglob("*.pickle")) - before:
        if path.stat().st_size > LARGE:
            path.unlink()


class _Watch:
    """A plugin that orders tests by how soon they may kill, and notes which one did."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.seconds: dict[str, float] = {}
        self.failed = ""
        self.uncompiled = False

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Tests of rank first, then the quickest files; properties last, which compile the contracts once more."""
        ranks, seconds = self.plan.ranks, self.plan.seconds

        def key(item: pytest.Item) -> tuple[bool, int, float]:
            file = _file(item.nodeid)
            return file.startswith("tests/property/"), ranks.get(item.nodeid, len(ranks)), seconds.get(file, 0)

        items.sort(key=key)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note duration and failure."""
        file = _file(report.nodeid)
        self.seconds[file] = self.seconds.get(file, 0) + report.duration
        if report.failed:
            self.failed = report.nodeid

    def pytest_exception_interact(self, call: pytest.CallInfo) -> None:
        """Note a source that does not compile, or not without a warning."""
        self.uncompiled = call.excinfo is not None and isinstance(call.excinfo.value, VyperException | Warning)


def _file(test: str) -> str:
    """The file that a test is in."""
    return test.partition("::")[0]
