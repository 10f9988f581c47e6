import json

import pytest
import typer
from typer.testing import CliRunner

from keeper.evaluate_commands import evaluate
from keeper.train_commands import train
from models.bundle import load_bundle

CSV = "ts,open,high,low,close\n"


@pytest.fixture
def app():
    made = typer.Typer()
    made.command()(train)
    made.command()(evaluate)
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
