"""Check what a checkout sets itself up from: exact locks without addresses, container files naming real things."""

import json
import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ("requirements.lock", "requirements-dev.lock")
PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9.!]+)")
ADDRESS = re.compile(r"://|@|\bfile:|(^|\s)[./~]+/", re.MULTILINE)


def pins(*locks):
    """Versions by canonical name; a line that is neither a pin, a comment nor the other lock fails the test."""
    found = {}
    for lock in locks:
        for line in (ROOT / lock).read_text().splitlines():
            if line.startswith("#") or line == "-r requirements.lock":
                continue
            match = PIN.fullmatch(line)
            assert match, f"{lock}: not an exact public version: {line!r}"
            name = canonicalize_name(match[1])
            assert name not in found, f"{lock}: {name} is pinned twice"
            found[name] = match[2]
    return found


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def unsatisfied(requirements, pinned):
    """Requirements that the pinned versions leave open."""
    wanted = map(Requirement, requirements)
    return [str(need) for need in wanted if not need.specifier.contains(pinned.get(canonicalize_name(need.name), "0"))]


def test_locks__every_line__pins_one_exact_public_version_once():
    assert len(pins(*LOCKS)) > 100


@pytest.mark.parametrize("lock", LOCKS)
def test_lock__text__holds_no_address_and_no_path(lock):
    assert not ADDRESS.search((ROOT / lock).read_text())


@pytest.mark.parametrize("line", ["torch @ file:///opt/torch.whl", "--index-url https://host/simple", "-e ../keeper"])
def test_lock__line_with_an_address_or_path__would_be_noticed(line):
    assert ADDRESS.search(f"numpy==2.4.6\n{line}\n")


def test_lock__torch__is_the_version_every_platform_has():
    assert pins("requirements.lock")["torch"] == "2.13.0"


def test_runtime_lock__dependencies_and_build_needs__are_pinned_within_their_range():
    declared = project()
    needs = [*declared["project"]["dependencies"], *declared["build-system"]["requires"]]
    assert unsatisfied(needs, pins("requirements.lock")) == []


def test_development_lock__extras__are_pinned_within_their_range():
    extras = project()["project"]["optional-dependencies"]["dev"]
    assert unsatisfied(extras, pins(*LOCKS)) == []


def test_unsatisfied__missing_or_wrong_pin__is_named():
    assert unsatisfied(["numpy==2.4.6", "rich>=15", "web3"], {"numpy": "2.4.5", "web3": "8.0.0"}) == [
        "numpy==2.4.6",
        "rich>=15",
    ]


def test_runtime_lock__packages__hold_no_test_tool():
    assert pins("requirements.lock").keys().isdisjoint({"pytest", "ruff", "mypy", "titanoboa", "keeper", "pip"})


def test_package_lock__anvil__is_pinned_for_each_system_without_addresses():
    text = (ROOT / "package-lock.json").read_text()
    assert "resolved" not in text
    packages = json.loads(text)["packages"]
    wanted = packages["node_modules/@foundry-rs/anvil"]["optionalDependencies"]
    assert {name: packages[f"node_modules/{name}"]["version"] for name in wanted} == wanted


def test_ci__run__installs_services_and_runs_the_tests_and_nothing_else():
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    commands = [line for line in lines if line and not line.startswith(("#", "set ", "cd "))]
    assert "set -euo pipefail" in lines
    assert commands == ["make services", "make test"]
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_make__help__describes_every_target():
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[1].split()
    shown = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    assert [line.split()[0] for line in shown.splitlines()[1:]] == phony


def test_setup__no_suitable_python_or_node__names_both_and_what_was_found(tmp_path):
    result = run_setup(tmp_path, python3="3.10.13", node="v16.2.0")
    assert result.returncode != 0
    assert "Python 3.11 or newer" in result.stderr
    assert "found: python3 3.10.13" in result.stderr
    assert "Node.js 18 or newer" in result.stderr
    assert "found: node v16.2.0" in result.stderr
    assert not (tmp_path / "checkout" / ".venv").exists()


def test_setup__nothing_installed__says_so(tmp_path):
    result = run_setup(tmp_path)
    assert result.returncode != 0
    assert result.stderr.count("(found: none)") == 2


def run_setup(folder, **versions):
    """Run the set-up of an empty checkout on a PATH that holds only `versions`, commands that print their version."""
    checkout, commands = folder / "checkout", folder / "bin"
    (checkout / "scripts").mkdir(parents=True)
    commands.mkdir()
    (checkout / "scripts" / "setup.sh").write_bytes((ROOT / "scripts" / "setup.sh").read_bytes())
    for tool in ("bash", "dirname", "grep"):
        (commands / tool).symlink_to(Path("/bin") / tool if (Path("/bin") / tool).exists() else Path("/usr/bin") / tool)
    for name, version in versions.items():
        # A version check ("sys.exit") of an old interpreter fails; every other question is answered with the version.
        script = f'#!/bin/bash\n[[ "$*" != *sys.exit* ]] && echo {version}\n'
        (commands / name).write_text(script)
        (commands / name).chmod(0o755)
    return subprocess.run(
        [commands / "bash", "scripts/setup.sh"],
        cwd=checkout,
        env={"PATH": str(commands)},
        capture_output=True,
        text=True,
        check=False,
    )


def dockerfile_sources():
    for line in (ROOT / "Dockerfile").read_text().splitlines():
        if line.startswith("COPY ") and "--from=" not in line:
            yield from line.split()[1:-1]


def test_dockerfile__copied_sources__exist_and_are_sent_to_the_builder():
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    sources = set(dockerfile_sources())
    assert sources == sent
    assert {source for source in sources if not (ROOT / source).exists()} == set()


def test_dockerfile__packages__are_those_of_the_project():
    tops = {name.partition(".")[0] for name in project()["tool"]["setuptools"]["packages"]}
    assert tops <= set(dockerfile_sources())


def test_dockerfile__last_stage__runs_unprivileged_with_a_health_check():
    last = (ROOT / "Dockerfile").read_text().rpartition("\nFROM ")[2].splitlines()
    assert "USER 10001:10001" in last
    assert any(line.startswith("HEALTHCHECK ") and '"keeper", "status", "--json"' in line for line in last)
    assert last[-2:] == ['ENTRYPOINT ["keeper"]', 'CMD ["run"]']


def compose():
    return yaml.safe_load((ROOT / "compose.yaml").read_text())


def test_compose__published_ports__are_on_loopback_only():
    ports = [port for service in compose()["services"].values() for port in service.get("ports", [])]
    assert ports
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_compose__services__restart_and_wait_for_healthy_ones():
    services = compose()["services"]
    assert {service["restart"] for service in services.values()} == {"unless-stopped"}
    for needed, condition in services["keeper"]["depends_on"].items():
        assert condition == {"condition": "service_healthy"}
        assert services[needed]["healthcheck"]["test"][0] == "CMD"


def test_compose__passwords__come_from_outside_and_are_required():
    text = (ROOT / "compose.yaml").read_text()
    assert re.findall(r"PASSWORD: (?!\$\{\w+:\?)", text) == []
    assert re.findall(r"//keeper:(?!\$\{\w+:\?)", text) == []


def test_compose__bind_mounts__name_files_of_the_checkout():
    mounts = [mount for service in compose()["services"].values() for mount in service.get("volumes", [])]
    sources = [mount.partition(":")[0] for mount in mounts if mount.startswith("./")]
    assert sources
    assert [source for source in sources if not (ROOT / source).exists()] == []


def test_broker__topics__are_those_the_keeper_reads():
    prefix = tomllib.loads((ROOT / "config" / "keeper.toml").read_text())["mqtt"]["topic_prefix"]
    acl = (ROOT / "config" / "mosquitto" / "acl").read_text()
    assert f"user feeds\ntopic write {prefix}/#" in acl
    assert f"user keeper\ntopic read {prefix}/#" in acl
