"""Note every transaction of a deployment before it is sent, so that a run that was killed goes on where it stopped."""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, ValidationError

from config.errors import ConfigError, explain
from config.schema import Section

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


class Attempt(Section):
    """One step's transaction: every hash it was signed under, all with one nonce, so that one of them can be mined.

    The fees are the newest signature's, in wei.
    """

    nonce: Annotated[int, Field(ge=0)]
    hashes: Annotated[list[str], Field(min_length=1)]
    max_fee: Annotated[int, Field(ge=0)]
    priority_fee: Annotated[int, Field(ge=0)]


class ProgressFile(Section):
    """What is on disk while a deployment is under way. What has come of an attempt, the chain alone knows."""

    genesis: str = Field(description="Hash of the chain's first block: a chain started anew is another one.")
    inputs: dict[str, str] = Field(description="What the deployment was asked for, by the name an operator knows.")
    attempts: dict[str, Attempt]


class Progress:
    """The notes of one deployment in one file, replaced whole and on disk before `note` returns.

    Without a file they are kept in memory alone: for a chain that ends with the process.
    """

    def __init__(self, path: Path | None = None, content: ProgressFile | None = None) -> None:
        self._path = path
        self._content = content or ProgressFile(genesis="", inputs={}, attempts={})

    @classmethod
    def open(cls, path: Path, genesis: str, inputs: Mapping[str, str]) -> Self:
        """Take up the notes at `path`, or begin them.

        Raises ConfigError when they are damaged, of another chain, or of a deployment that was asked otherwise.
        """
        if not path.exists():
            return cls(path, ProgressFile(genesis=genesis, inputs=dict(inputs), attempts={}))
        content = _read(path)
        again = f"; to begin a new deployment remove {path}"
        if content.genesis != genesis:
            raise ConfigError(f"{path}: was begun on another chain (its first block is {content.genesis}){again}")
        for name in sorted(content.inputs.keys() | inputs.keys()):
            before, now = content.inputs.get(name, "nothing"), inputs.get(name, "nothing")
            if before != now:
                raise ConfigError(f"{path}: was begun with {name} {before}, now it is {now}{again}")
        return cls(path, content)

    @property
    def is_on_disk(self) -> bool:
        """Whether another run can take them up."""
        return self._path is not None

    def attempt(self, step: str) -> Attempt | None:
        """Return what was noted for a step."""
        return self._content.attempts.get(step)

    def note(self, step: str, attempt: Attempt) -> None:
        """Note an attempt in the place of the step's earlier one."""
        attempts = self._content.attempts | {step: attempt}
        self._content = self._content.model_copy(update={"attempts": attempts})
        if self._path is not None:
            write_whole(self._path, self._content.model_dump_json(indent=2))

    def end(self) -> None:
        """Remove the notes: what they were for is written elsewhere."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)


@contextlib.contextmanager
def held_alone(path: Path) -> Iterator[None]:
    """Keep the notes at `path` from every other run, by a lock on a file beside them that ends with this process.

    Raises ConfigError when another run has them, or the lock cannot be taken.
    """
    lock = path.with_name(path.name + ".lock")
    try:
        file = _locked(lock)
    except BlockingIOError:
        raise ConfigError(f"{path}: another `keeper deploy` is at it ({lock} is locked); wait until it ends") from None
    except OSError as error:
        raise ConfigError(f"{lock}: cannot be locked: {error.strerror}") from None
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
        os.close(file)


def _locked(lock: Path) -> int:
    """Return an open file that is locked and still stands at its path: who held it before has removed it."""
    while True:
        file = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file), lock.stat()):
                    return file
        except OSError:
            os.close(file)
            raise
        os.close(file)


def write_whole(path: Path, text: str) -> None:
    """Write a file in one step and to the disk: a reader, after a crash as well, sees the old one or the new one."""
    draft = path.with_name(path.name + ".new")
    with draft.open("w", encoding="utf-8") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _read(path: Path) -> ProgressFile:
    try:
        return ProgressFile.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except ValidationError as error:
        found = explain(error, file=str(path), text="", schema=ProgressFile)
        remedy = "remove it to begin afresh; what was already put up stays on the chain, unused"
        raise ConfigError(f"{found}\n{path}: the notes of an unfinished deployment are damaged: {remedy}") from None
