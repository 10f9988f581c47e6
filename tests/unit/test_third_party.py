"""Check that a package which is not the listed one never gets among the tests' contracts."""

import base64
import hashlib
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = b"a package"


@pytest.fixture
def checkout(tmp_path):
    """A checkout whose list names one package."""
    for folder in ("scripts", "tests", "bin"):
        (tmp_path / folder).mkdir()
    (tmp_path / "scripts" / "third_party.sh").write_bytes((ROOT / "scripts" / "third_party.sh").read_bytes())
    digest = base64.b64encode(hashlib.sha512(PACKAGE).digest()).decode()
    (tmp_path / "tests" / "third_party.txt").write_text(f"# a comment\n@scope/name 1.0.0 sha512-{digest}\n")
    return tmp_path


def fetch(checkout, served):
    """Run the script where npm serves `served`, or nothing at all for None."""
    npm = checkout / "bin" / "npm"
    # Its arguments are pack --ignore-scripts --loglevel=error --pack-destination FOLDER PACKAGE@VERSION.
    npm.write_text(
        "#!/bin/sh\nexit 1\n" if served is None else f'#!/bin/sh\nprintf "{served}" >"$5/scope-name-1.0.0.tgz"\n'
    )
    npm.chmod(0o755)
    return subprocess.run(
        ["bash", "scripts/third_party.sh"],
        cwd=checkout,
        env=os.environ | {"PATH": f"{npm.parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )


def kept(checkout):
    return [path.read_bytes() for path in (checkout / ".cache" / "third_party").glob("*.tgz")]


def test_fetch__listed_package__is_kept_and_not_fetched_again(checkout):
    assert fetch(checkout, PACKAGE.decode()).returncode == 0
    assert kept(checkout) == [PACKAGE]
    assert fetch(checkout, None).returncode == 0


def test_fetch__other_package__is_refused_with_its_integrity_and_not_kept(checkout):
    result = fetch(checkout, "something else")
    assert result.returncode != 0
    assert "@scope/name@1.0.0 is not what tests/third_party.txt says" in result.stderr
    assert kept(checkout) == []


def test_fetch__kept_package_damaged__is_fetched_anew(checkout):
    fetch(checkout, PACKAGE.decode())
    (checkout / ".cache" / "third_party" / "scope-name-1.0.0.tgz").write_bytes(b"damaged")
    assert fetch(checkout, PACKAGE.decode()).returncode == 0
    assert kept(checkout) == [PACKAGE]


def test_fetch__registry_unreachable__says_so(checkout):
    result = fetch(checkout, None)
    assert result.returncode != 0
    assert "could not fetch @scope/name@1.0.0" in result.stderr
