import subprocess
import sys
from pathlib import Path

import pytest

from models.bundle import ArtefactError, load_bundle
from models.fitting import fit_log_linear
from models.learning import rows_of
from models.recording import load_recording
from models.registry import BASELINES, DEFAULT, load_forecaster

BUILTINS = ("spx", "nasdaq", "wti")


@pytest.mark.parametrize("name", BASELINES)
def test_load_forecaster__baseline__carries_its_name(name):
    assert load_forecaster(name).model_id == name


def test_load_forecaster__default_or_its_path__carries_its_address():
    shipped = load_bundle(DEFAULT).model_id
    assert load_forecaster("default").model_id == load_forecaster(DEFAULT).model_id == shipped


def test_load_forecaster__unknown_name__names_what_there_is():
    with pytest.raises(ArtefactError, match="oracle: no such model; give one of ewma-fhs"):
        load_forecaster("oracle")


def test_forecasting__in_a_fresh_process__imports_no_training_library():
    code = (
        "import sys, models.registry, models.streaming; models.registry.load_forecaster('default');"
        "print([m for m in ('numpy', 'sklearn', 'pandas', 'torch', 'arch', 'pyarrow') if m in sys.modules])"
    )
    root = Path(__file__).resolve().parents[2]
    told = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_default_model__its_file__is_small_and_was_trained_on_the_builtin_recordings_alone():
    recordings = [load_recording(f"builtin:{name}") for name in BUILTINS]
    assert DEFAULT.stat().st_size < 5_000_000
    assert [data["sha256"] for data in load_bundle(DEFAULT).card["data"]] == [each.digest for each in recordings]


def test_default_model__log_linear_member_fitted_again__is_the_one_shipped():
    tables = [rows_of(load_recording(f"builtin:{name}"))[86_400] for name in BUILTINS]
    pooled = tables[0].pooled_with(*tables[1:]).mirrored()
    ours, shipped = fit_log_linear(pooled, daily_bars=True, horizon=86_400), load_bundle(DEFAULT).members[0]
    assert ours.weights == pytest.approx(shipped.weights, abs=1e-4)
    assert ours.shape.quantiles == pytest.approx(shipped.shape.quantiles, rel=1e-3)


def test_default_model__its_card__beats_ewma_fhs_walk_forward_on_every_recording_and_on_volatility():
    metrics = load_bundle(DEFAULT).card["walk_forward_against_ewma_fhs"]
    assert {entry["recording"] for entry in metrics} == {*BUILTINS, "spx implied"}
    assert all(entry["log_pinball_ratio"] < 0 for entry in metrics)
