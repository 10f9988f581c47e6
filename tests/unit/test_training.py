from dataclasses import replace
from pathlib import Path

import pytest

from models.baselines import EwmaFhs
from models.recording import Recording, load_recording
from models.registry import DEFAULT, Artefact, load, load_forecaster, save
from models.scoring import score
from models.training import TrainingError, _fit_all, _rows, train

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
BUILTINS = ("spx", "nasdaq", "wti")


@pytest.fixture(scope="module")
def recordings() -> list[Recording]:
    return [load_recording(f"builtin:{name}") for name in BUILTINS]


@pytest.fixture(scope="module")
def spx(recordings):
    return recordings[0]


@pytest.fixture(scope="module")
def trained(spx) -> tuple[Artefact, list[tuple[int, int, str]]]:
    progress = []
    return train([spx], seed=3, on_progress=lambda *heard: progress.append(heard)), progress


@pytest.fixture(scope="module")
def model(trained) -> Artefact:
    return trained[0]


def test_train__same_data_and_seed__gives_the_same_model(model, spx, tmp_path):
    assert train([spx], seed=3).to_json() == model.to_json()
    save(model, tmp_path / "model.json")
    assert load(tmp_path / "model.json").model_id == model.model_id


def test_train__other_data_or_seed__gives_another_model(model, spx):
    shorter = replace(spx, bars=spx.bars[:-1], digest="0")
    assert train([shorter], seed=3).model_id != model.model_id
    assert train([spx], seed=4).model_id != model.model_id


def test_train__progress__counts_up_to_its_total(trained):
    _, progress = trained
    assert [done for done, _, _ in progress] == list(range(5))
    assert progress[-1] == (4, 4, "done")


def test_train__measured_part__is_the_last_thirty_percent_and_its_weights_know_nothing_of_it(spx):
    split = spx.bars[int(0.7 * len(spx.bars))].start
    known = [bar for bar in spx.bars if bar.start <= split]
    whole, first = _rows(spx), _rows(replace(spx, bars=tuple(known)))
    assert _fit_all([spx], [whole], [split]) == _fit_all([spx], [first], [split])


def test_train__nothing__is_refused():
    with pytest.raises(TrainingError, match="no recording"):
        train([])


def test_train__a_year_of_days__is_refused(spx):
    with pytest.raises(TrainingError, match=r"horizon 86400: \d+ returns to fit on"):
        train([replace(spx, bars=spx.bars[:250])])


def test_default_model__retrained_from_the_builtin_data__is_the_one_shipped(recordings):
    retrained, shipped = train(recordings, seed=0), load(DEFAULT)
    assert retrained.card["data"] == shipped.card["data"]
    for ours, theirs in zip(retrained.heads, shipped.heads, strict=True):
        assert ours.weights == pytest.approx(theirs.weights, abs=1e-4)
        assert ours.quantiles == pytest.approx(theirs.quantiles, rel=1e-3)


def test_default_model__its_card__beats_ewma_fhs_out_of_sample_on_every_recording():
    metrics = load(DEFAULT).card["metrics_against_ewma_fhs"]
    assert [(entry["recording"], entry["horizon"]) for entry in metrics] == [(n, 86_400) for n in BUILTINS]
    assert all(entry["interval_95"][1] < 0 for entry in metrics)


@pytest.mark.skipif(not DATA.is_dir(), reason="the recorded market data is not on this machine")
def test_default_model__recorded_coin_it_was_not_trained_on__beats_ewma_fhs_at_a_day():
    recording = load_recording(DATA / "ltc_usdt_perp_1h.parquet")
    since = recording.bars[len(recording.bars) // 2].start
    ours, theirs = (score(model, recording, since=since)[86_400] for model in (load_forecaster("default"), EwmaFhs()))
    assert ours.mean_loss() < 0.98 * theirs.mean_loss()


@pytest.mark.skipif(not DATA.is_dir(), reason="the recorded market data is not on this machine")
def test_train__on_recorded_hours__beats_ewma_fhs_out_of_sample_at_every_horizon():
    recording = load_recording(DATA / "ltc_usdt_perp_1h.parquet")
    metrics = train([recording]).card["metrics_against_ewma_fhs"]
    assert [entry["horizon"] for entry in metrics] == [3_600, 14_400, 86_400]
    assert all(entry["log_pinball_ratio"] < -0.01 for entry in metrics)
