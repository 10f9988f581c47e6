"""Keep a copy of the tree, with its contracts compiled and its tests collected, and fork it for each trial."""

from __future__ import annotations

import gc
import os
import shutil
import sys
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from hypothesis import HealthCheck, Phase, settings
from mutants.trial import INVALID, Plan, Verdict, Watch
from vyper.exceptions import VyperException

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from multiprocessing.connection import Connection

    from mutants.compiled import Compiled
    from mutants.mutator import Mutant

ROOT = Path(__file__).resolve().parents[2]
CONTRACTS = Path("chain", "contracts")
# What tests of the contracts import and read. They find the contracts from where they stand themselves.
TREE = ("config", "models", "chain", "keeper", "tests", "pyproject.toml")

OUTPUT = "output.txt"
PROFILE = "mutants"
OPTIONS = [
    "--maxfail=1",
    "--quiet",
    "--tb=short",
    "-pno:randomly",
    # A slow machine is no reason to call a mutant killed: gas bounds every run, not time.
    "--timeout=0",
    f"--hypothesis-profile={PROFILE}",
    # They only say that titanoboa and hypothesis, plugins too, were imported before.
    "-Wignore::pytest.PytestAssertRewriteWarning",
]


class TrialFault(Exception):
    """The tests could not be run at all; the message is what they printed."""


@dataclass(frozen=True, slots=True)
class Bench:
    """A process in a copy of the tree, which makes one trial at a time, and the file that it prints to."""

    process: Any
    connection: Connection
    output: Path

    @classmethod
    def open(cls, snapshot: Path, root: Path, files: Sequence[str]) -> Bench:
        """Copy a snapshot and collect these files of tests in the copy."""
        shutil.copytree(snapshot, root, symlinks=True)
        ours, theirs = get_context("fork").Pipe()
        process = get_context("fork").Process(target=_open, args=(snapshot, root, files, theirs), daemon=True)
        process.start()
        theirs.close()
        return cls(process, ours, root / OUTPUT)

    def start(self, mutant: Mutant | None, plan: Plan) -> None:
        """Begin to try a mutant, or the contracts as they are; `connection` is readable when the verdict is there."""
        self.connection.send((mutant, plan))

    def result(self) -> Verdict:
        """Wait for the verdict. Throws TrialFault where there is none."""
        try:
            answer = self.connection.recv()
        except EOFError:
            raise TrialFault(self.output.read_text()) from None
        if isinstance(answer, str):
            raise TrialFault(answer)
        return answer

    def close(self) -> None:
        """End the process."""
        self.connection.close()
        self.process.terminate()
        self.process.join()


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


def _open(snapshot: Path, root: Path, files: Sequence[str], connection: Connection) -> None:
    """Compile and collect in this process, and serve until nobody asks any more."""
    _print_to(root / OUTPUT)
    os.chdir(root)
    sys.path.insert(0, str(root))
    # The product's compiler is the copy's, so it cannot be imported before.
    from mutants.compiled import Compiled

    compiled = Compiled(root / CONTRACTS)
    compiled.install()
    _register_profile()
    pytest.main([*OPTIONS, *files], plugins=[_Server(snapshot, root, compiled, connection)])
    if not connection.closed:
        connection.send((root / OUTPUT).read_text())


def _register_profile() -> None:
    """Make properties the same every time, and content with one failure as it was found: nobody reads it."""
    settings.register_profile(
        PROFILE,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
        phases=[phase for phase in Phase if phase not in {Phase.shrink, Phase.explain}],
        report_multiple_bugs=False,
        derandomize=True,
        database=None,
    )


def _print_to(output: Path) -> None:
    """Let what this process prints, and its forks, begin a file anew."""
    with output.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)


class _Server:
    """A plugin that runs the collected tests in a fork of this process for every order that comes."""

    def __init__(self, snapshot: Path, root: Path, compiled: Compiled, connection: Connection) -> None:
        self.snapshot = snapshot
        self.root = root
        self.compiled = compiled
        self.connection = connection

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Iterator[None]:
        """Serve, and in each fork go on to the tests. A fork that fails otherwise ends without a verdict."""
        gc.disable()  # the compiler keeps what it makes, and a fork ends soon
        gc.freeze()
        mutant, plan, sender = self._serve()
        if mutant is not None and not self._put(mutant):
            _end(sender, Verdict(INVALID))
        session.items = plan.order(session.items)
        watch = Watch()
        session.config.pluginmanager.register(watch)
        with suppress(session.Failed):
            yield
        _end(sender, watch.verdict())

    def _serve(self) -> tuple[Mutant | None, Plan, Connection]:
        """Return in forks only, with an order and where to send the verdict; end when there are no more orders."""
        while True:
            try:
                mutant, plan = self.connection.recv()
            except EOFError:
                os._exit(0)
            receiver, sender = get_context("fork").Pipe(duplex=False)
            child = os.fork()
            if child == 0:
                self.connection.close()
                _print_to(self.root / OUTPUT)
                return mutant, plan, sender
            sender.close()
            self.connection.send(self._answer(receiver))
            os.waitpid(child, 0)

    def _answer(self, receiver: Connection) -> Verdict | str:
        """The verdict of a fork, or what it printed instead; takes out its mutant again."""
        try:
            return receiver.recv()
        except EOFError:
            return (self.root / OUTPUT).read_text()
        finally:
            shutil.copytree(self.snapshot / CONTRACTS, self.root / CONTRACTS, dirs_exist_ok=True)

    def _put(self, mutant: Mutant) -> bool:
        """Put a mutant in and compile it; False if it does not compile."""
        path = self.root / CONTRACTS / mutant.file
        path.write_text(mutant.apply(path.read_text()))
        try:
            self.compiled.renew(mutant.file)
        except VyperException:
            return False
        return True


def _end(sender: Connection, verdict: Verdict) -> NoReturn:
    """Send a verdict and end this fork, without what else is done at an end."""
    sender.send(verdict)
    os._exit(0)
