"""Delete each check of the contracts, one at a time, and see that a test fails every time."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mutants.bench import CONTRACTS, Bench, TrialFault, take_snapshot
from mutants.equivalents import Equivalents
from mutants.mutator import Mutant, mutants_of
from mutants.session import Session
from mutants.trial import SURVIVED, Plan

if TYPE_CHECKING:
    from collections.abc import Sequence

STEWARD = ("limits", "snapshots", "targets", "attestation", "policy_registry", "policy", "risk_steward")
STEWARD_TESTS = ("contracts/test_steward_*.py", "property/test_steward_*.py", "property/test_twin.py")
OTHER_TESTS = ("contracts/test_market_*.py", "contracts/test_feed_and_token.py")


def main() -> int:
    """Run the command; 0 if every mutant was killed, 1 if one survived, 2 if they could not be tried."""
    arguments = _parse()
    try:
        with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
            snapshot = Path(folder) / "snapshot"
            take_snapshot(snapshot)
            mutants = _select(snapshot, arguments.only)
            equivalents = Equivalents.load()
            if not arguments.only:
                equivalents.check(mutants)
            if not (arguments.all or arguments.only):
                mutants = [mutant for mutant in mutants if mutant.is_deletion]
            session = Session([mutant for mutant in mutants if not equivalents.reason(mutant)])
            if arguments.list:
                _tell("\n".join(str(mutant) for mutant in session.mutants))
                return 0
            files = _test_files(snapshot, mutants)
            benches = [Bench.open(snapshot, Path(folder) / str(index), files) for index in range(arguments.jobs)]
            try:
                _measure(session, benches)
                _try_all(session, benches)
            finally:
                for bench in benches:
                    bench.close()
    except (TrialFault, ValueError) as fault:
        sys.stderr.write(f"{fault}\n")
        return 2
    _tell(session.summary(skipped=len(mutants) - len(session.mutants)))
    if arguments.json:
        arguments.json.write_text(json.dumps(session.record(), indent=2) + "\n")
    return 1 if session.by_outcome(SURVIVED) else 0


def _parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="mutants", description=__doc__)
    add = parser.add_argument
    add("--only", action="append", default=[], metavar="FILE[:LINE]", help="such as limits.vy:147; may be repeated")
    add("--all", action="store_true", help="also move boundaries, take branches and leave out operands: hours")
    add("--list", action="store_true", help="list the mutants and try none")
    add("--json", type=Path, metavar="PATH", help="write every verdict to a file as well")
    add("--jobs", type=int, default=2, metavar="N", help="how many to try at a time (2)")
    return parser.parse_args()


def _select(root: Path, only: Sequence[str]) -> list[Mutant]:
    """The mutants of the steward's contracts, or of the files and lines named."""
    wanted = [name.partition(":") for name in only] or [(f"{name}.vy", "", "") for name in STEWARD]
    found: list[Mutant] = []
    for file, _, line in wanted:
        path = root / CONTRACTS / file
        if not path.is_file():
            raise ValueError(f"--only {file}: must be a file of {CONTRACTS}")
        found += [mutant for mutant in mutants_of(path.read_text(), file) if line in {"", str(mutant.line)}]
    return found


def _test_files(root: Path, mutants: Sequence[Mutant]) -> tuple[str, ...]:
    """The test files that concern these mutants, as paths in the tree."""
    stewards = {f"{name}.vy" for name in STEWARD}
    concerned = [(STEWARD_TESTS, any(mutant.file in stewards for mutant in mutants))]
    concerned += [(OTHER_TESTS, any(mutant.file not in stewards for mutant in mutants))]
    patterns = [pattern for group, is_needed in concerned if is_needed for pattern in group]
    paths = [path for pattern in patterns for path in sorted((root / "tests").glob(pattern))]
    return tuple(path.relative_to(root).as_posix() for path in paths)


def _measure(session: Session, benches: Sequence[Bench]) -> None:
    """Run all the tests once: they must pass, and say how long each takes."""
    _tell("Running the tests on the contracts as they are")
    for index, bench in enumerate(benches):
        bench.start(None, Plan(share=(index, len(benches))))
    for bench in benches:
        verdict = bench.result()
        if verdict.outcome != SURVIVED:
            raise TrialFault(f"without a mutant, this test fails: {verdict.test}\n{bench.output.read_text()}")
        session.seconds.update(verdict.seconds)


def _try_all(session: Session, benches: Sequence[Bench]) -> None:
    """Try one mutant after the other on each bench."""
    started = time.monotonic()
    waiting = list(reversed(session.mutants))
    idle = list(benches)
    running: dict[Any, tuple[Bench, Mutant]] = {}
    while waiting or running:
        while waiting and idle:
            bench, mutant = idle.pop(), waiting.pop()
            bench.start(mutant, session.plan(mutant))
            running[bench.connection] = (bench, mutant)
        for connection in wait(list(running)):
            bench, mutant = running.pop(connection)
            session.verdicts[mutant] = bench.result()
            idle.append(bench)
            _tell(session.progress(mutant, time.monotonic() - started))
    session.minutes = (time.monotonic() - started) / 60


def _tell(line: str) -> None:
    """Print at once, also into a file."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
