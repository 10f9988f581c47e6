"""Tell the demonstration's story through the command line, and check that its acts can fail."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import socket
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

from keeper.cli import EXIT_FAILED, main
from keeper.demo import story as story_module
from keeper.demo.acts import agreement, broken_model, calm, wrong_value
from keeper.demo.faults import CorruptingExecutor, FaultyForecaster
from keeper.demo.story import Days, Story
from keeper.demo.world import MARKET, open_world
from models.recording import load_recording
from models.registry import load_forecaster

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]
ACTS = 7
LARGEST_PAGE = 1_000_000
SPIKE_EVE = "2018-02-02"
FETCHING = {"src", "href", "srcset", "data", "action", "poster", "xlink:href"}


class Fetches(HTMLParser):
    """Collects everything in a page that would make a browser ask for something."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        values = [value or "" for name, value in attrs if name in FETCHING]
        self.found += [f"<{tag}> {value}" for value in values if not value.startswith(("#", "data:"))]
        styles = [value or "" for name, value in attrs if name in ("style", "clip-path", "fill")]
        self.found += [f"<{tag}> {value}" for value in styles if re.search(r"url\((?!['\"]?#)", value)]
        if tag in ("script", "link", "iframe", "img", "object", "embed"):
            self.found += [f"<{tag}>"] * (not values)

    def handle_data(self, data):
        self.found += re.findall(r"@import[^;]*|url\((?!['\"]?[#d])[^)]*\)", data)


@contextlib.contextmanager
def taken(*ports):
    """Hold loopback ports, so that nobody else can listen there; one that is taken already is as good."""
    with contextlib.ExitStack() as stack:
        for port in ports:
            listener = stack.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                listener.bind(("127.0.0.1", port))
                listener.listen()
        yield


def test_demo__from_a_dirty_folder_with_taken_ports__passes_every_act_and_reports_it(tmp_path):
    (tmp_path / "keeper.db").write_bytes(b"left over from another run")
    (tmp_path / "deployment.json").write_text("{}")
    with taken(1883, 8545):
        ended = subprocess.run(
            [sys.executable, "-m", "keeper", "demo", "--json", "report.json", "--html", "report.html"],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert set(report) == {"acts", "seconds"}
    assert len(report["acts"]) == ACTS
    for act in report["acts"]:
        assert set(act) == {"name", "passed", "expected", "read", "transactions", "gas"}
        assert act["passed"] is True
        assert bool(act["transactions"]) == (act["gas"] > 0)
        assert all(re.fullmatch(r"0x[0-9a-f]{64}", tx_hash) for tx_hash in act["transactions"])
    hashes = [tx_hash for act in report["acts"] for tx_hash in act["transactions"]]
    assert len(hashes) == len(set(hashes)) > 0
    page = (tmp_path / "report.html").read_text()
    assert len(page.encode()) < LARGEST_PAGE
    fetches = Fetches()
    fetches.feed(page)
    assert fetches.found == []
    assert page.count("<svg") >= 1
    assert all(act["name"].split(",")[0] in page for act in report["acts"])
    assert (tmp_path / "keeper.db").read_bytes() == b"left over from another run"


@pytest.mark.parametrize(
    "tag", ['<img src="https://a.example/x.png">', '<script src="x.js"></script>', "<script></script>"]
)
def test_fetches__page_that_asks_for_something__is_noticed(tag):
    fetches = Fetches()
    fetches.feed(f"<html><body>{tag}</body></html>")
    assert fetches.found != []


class HonestExecutor(CorruptingExecutor):
    """Carries out what was approved, whatever it is told to spoil."""

    async def execute(self, approved, market, *, announce=False):
        self.armed = False
        return await super().execute(approved, market, announce=announce)


class HonestStory(Story):
    """A story in which no fault is injected, so that every act about a fault must fail."""

    def _wrap(self, executor):
        self.executor = HonestExecutor(executor)
        return self.executor


class SteadyForecaster(FaultyForecaster):
    """Answers as the real model does, whatever fault it is told to have."""

    def update(self, bar):
        self.fault = ""
        return super().update(bar)


@contextlib.asynccontextmanager
async def honest_story(folder, first_day):
    bars = [replace(bar, asset=MARKET) for bar in load_recording("builtin:spx").bars]
    first = datetime.fromisoformat(first_day).replace(tzinfo=UTC).timestamp()
    history = [bar for bar in bars if bar.end <= first]
    days = Days(bar for bar in bars if bar.start >= first and bar.iv)
    async with open_world(history, folder, lambda _: None) as world:
        forecaster = SteadyForecaster(load_forecaster(world.settings.model.model))
        yield HonestStory(world, Console(file=io.StringIO()), days, forecaster)


async def test_acts__without_the_faults_they_are_about__fail(tmp_path):
    async with honest_story(tmp_path, SPIKE_EVE) as story:
        async with story.keeper() as keeper:
            acts = [await act(story, keeper) for act in (wrong_value, calm, broken_model)]
            assert len(acts[0].transactions) == 1
        true_to_chain = await agreement(story)
        (tmp_path / "keeper.db").unlink()
        for other in tmp_path.glob("keeper.db-*"):
            other.unlink()
        forgetful = await agreement(story)
    assert [act.passed for act in acts] == [False, False, False]
    assert (true_to_chain.passed, forgetful.passed) == (True, False)


def test_demo__one_act_fails_in_a_folder_with_a_left_over_journal__exits_1_and_says_which(
    tmp_path, monkeypatch, capsys
):
    workdir = tmp_path / "work"
    workdir.mkdir()
    (workdir / "keeper.db").write_bytes(b"no database")

    async def play(story):
        async with story.keeper() as keeper:
            act = await calm(story, keeper)
        return [act] * (ACTS - 1) + [replace(act, passed=False)]

    monkeypatch.setattr(story_module, "play", play)
    files = ("--json", str(tmp_path / "report.json"), "--html", str(tmp_path / "report.html"))
    monkeypatch.setattr(sys, "argv", ["keeper", "demo", "--workdir", str(workdir), *files])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == EXIT_FAILED
    passed = [act["passed"] for act in json.loads((tmp_path / "report.json").read_text())["acts"]]
    assert passed == [True] * (ACTS - 1) + [False]
    said = capsys.readouterr().out
    assert "FAILED" in said
    assert f"{ACTS - 1} of {ACTS} acts passed" in said
