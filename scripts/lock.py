"""Write requirements.lock and requirements-dev.lock: every version that pyproject.toml resolves to.

The locks hold exact public versions only. Hashes would tie them to one platform's wheels (torch has a different
build for each), and download addresses would tie them to one index.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Set-up installs the project without build isolation, so its build needs are pinned with the rest.
BUILD = ("setuptools>=80", "wheel")
OLDEST_PYTHON = (3, 11)  # what resolves for the oldest is to be had for the newer ones as well
HEADER = "# Written by `make lock`; edit pyproject.toml instead.\n"


def main() -> None:
    """Resolve run-time and development packages together, then tell apart which of them run-time needs.

    Raises SystemExit for another Python than the oldest supported one, CalledProcessError when pip cannot resolve.
    """
    if sys.version_info[:2] != OLDEST_PYTHON:
        raise SystemExit("Locks are resolved with Python 3.11, the oldest that the project runs on.")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    runtime = [*project["dependencies"], *BUILD]
    development = project["optional-dependencies"]["dev"]
    with tempfile.TemporaryDirectory() as folder:
        python = _fresh_python(Path(folder))
        everything = _resolve(python, [*runtime, *development])
        constraints = Path(folder) / "everything.txt"
        constraints.write_text("".join(_lines(everything)))
        needed = _resolve(python, [*runtime, "--constraint", str(constraints)])
    extra = {name: version for name, version in everything.items() if name not in needed}
    _write("requirements.lock", [HEADER, *_lines(needed)])
    _write("requirements-dev.lock", [HEADER, "-r requirements.lock\n", *_lines(extra)])


def _fresh_python(folder: Path) -> Path:
    """Make an empty virtual environment, so that nothing already installed sways the resolver."""
    venv.create(folder / "venv", with_pip=True)
    return folder / "venv" / "bin" / "python"


def _resolve(python: Path, arguments: list[str]) -> dict[str, str]:
    """Ask pip what it would install; return public versions by name."""
    command = [str(python), "-m", "pip", "install", "--quiet", "--dry-run", "--report", "-", *arguments]
    report = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)  # noqa: S603
    found = (item["metadata"] for item in report["install"])
    # "+cpu" and its like name one index's build of a version, not the version.
    return {item["name"]: item["version"].partition("+")[0] for item in found}


def _lines(versions: dict[str, str]) -> list[str]:
    return [f"{name}=={versions[name]}\n" for name in sorted(versions, key=str.lower)]


def _write(name: str, lines: list[str]) -> None:
    (ROOT / name).write_text("".join(lines))
    sys.stdout.write(f"{name}: {sum('==' in line for line in lines)} packages pinned\n")


if __name__ == "__main__":
    main()
