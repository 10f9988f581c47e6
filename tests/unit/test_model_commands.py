import asyncio
import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from keeper.evaluate_commands import evaluate
from keeper.journal import EntryKind, Journal
from keeper.model_commands import model
from keeper.train_commands import train
from models.bundle import load_bundle
from models.champions import Champions, Promotion
from models.registry import DEFAULT, load_forecaster

CSV = "ts,open,high,low,close\n"


@pytest.fixture
def app():
    made = typer.Typer()
    made.command()(train)
    made.command()(evaluate)
    made.add_typer(model, name="model")
    return made


@pytest.fixture
def days(tmp_path):
    """A CSV of the first 1,800 days of the S&P 500 recording."""
    from models.recording import load_recording

    path = tmp_path / "days.csv"
    bars = load_recording("builtin:spx").bars[:1_800]
    path.write_text(CSV + "".join(f"{b.start},{b.open},{b.high},{b.low},{b.close}\n" for b in bars))
    return path


def test_train_then_evaluate__a_file__writes_a_model_and_its_gates(app, days, tmp_path, monkeypatch):
    monkeypatch.setattr("models.fitting.SMALLEST_STEPS", 60)
    model, judged = tmp_path / "model.json", tmp_path / "gates.json"
    told = CliRunner().invoke(app, ["train", "--data", str(days), "--out", str(model)])
    assert told.exit_code == 0, told.output
    assert load_bundle(model).model_id in told.output
    options = ["--data", str(days), "--model", str(model), "--baseline", "ewma-fhs", "--no-twins", "--json"]
    told = CliRunner().invoke(app, ["evaluate", *options, "--out", str(judged)])
    document = json.loads(judged.read_text())
    assert told.exit_code == (0 if document["passed"] else 1)
    assert {gate["name"] for gate in document["originals"]} >= {"G1", "G8"}
    assert document["twins"] == []


def test_train__out_in_no_folder__says_so_before_it_trains(app, days, tmp_path):
    told = CliRunner().invoke(app, ["train", "--data", str(days), "--out", str(tmp_path / "no" / "m.json")])
    assert "is no folder" in str(told.exception)


def test_evaluate__unknown_baseline__names_what_there_is(app, days):
    told = CliRunner().invoke(app, ["evaluate", "--data", str(days), "--baseline", "oracle"])
    assert told.exit_code == 2
    assert "oracle" in told.output


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "models"
    made.mkdir()
    return made


@pytest.fixture
def config(tmp_path, monkeypatch):
    """The packaged settings, with the journal in the test's folder."""
    monkeypatch.setenv("KEEPER_JOURNAL_URL", f"sqlite:///{tmp_path / 'keeper.db'}")
    return Path(__file__).resolve().parents[2] / "config" / "keeper.toml"


def promotions(tmp_path):
    async def read():
        journal = await Journal.open(f"sqlite:///{tmp_path / 'keeper.db'}", lambda: 0)
        try:
            return [entry.message() for entry in await journal.find(kind=EntryKind.PROMOTION)]
        finally:
            await journal.close()

    return asyncio.run(read())


def test_model_promote__a_challenger__is_journalled_and_in_charge(app, folder, config, tmp_path):
    shipped = load_bundle(DEFAULT).model_id
    told = CliRunner().invoke(app, ["model", "challenge", str(folder), str(DEFAULT)])
    assert (told.exit_code, told.output.split()[0]) == (0, shipped)
    assert "challenger" in CliRunner().invoke(app, ["model", "list", str(folder)]).output
    options = ["-c", str(config), "--because", "it covers"]
    told = CliRunner().invoke(app, ["model", "promote", str(folder), *options])
    assert told.exit_code == 0, told.output
    assert promotions(tmp_path) == [Promotion(shipped, "", "it covers")]
    assert load_forecaster(folder).model_id == shipped
    assert "champion" in CliRunner().invoke(app, ["model", "list", str(folder)]).output


def test_model_promote__broken_challenger__is_neither_journalled_nor_in_charge(app, folder, config, tmp_path):
    path = Champions(folder).path(Champions(folder).challenge(DEFAULT))
    path.write_text("{}")
    told = CliRunner().invoke(app, ["model", "promote", str(folder), "-c", str(config), "--because", "it covers"])
    assert "not an ensemble of this keeper" in str(told.exception)
    assert promotions(tmp_path) == []
    assert Champions(folder).champion == ""


def test_model_list__no_folder__says_so(app, tmp_path):
    told = CliRunner().invoke(app, ["model", "list", str(tmp_path / "none")])
    assert "is no folder" in str(told.exception)
