import json
from dataclasses import replace

import pytest
from learned import small_bundle
from walks import bars_from, restless_returns

from models.bundle import load_bundle, save_bundle
from models.ensemble import EnsembleForecaster
from models.evaluation import evaluate
from models.learning import LearningError, learn, rows_of
from models.members import BoostedTrees, LogLinear, Network, choose_members
from models.recording import Recording, load_recording


@pytest.fixture(scope="module", autouse=True)
def _few_steps():
    """Networks of so few rows need no long training to show what these tests show."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("models.fitting.SMALLEST_STEPS", 60)
        yield


@pytest.fixture(scope="module")
def recording():
    whole = load_recording("builtin:spx")
    return replace(whole, bars=whole.bars[:2_000])


@pytest.fixture(scope="module")
def learned(recording):
    progress = []
    return learn([recording], seed=3, on_progress=lambda *heard: progress.append(heard)), progress


def test_learn__same_data_and_seed__gives_the_same_hash(learned, recording, tmp_path):
    bundle, _ = learned
    assert learn([recording], seed=3).model_id == bundle.model_id
    save_bundle(bundle, tmp_path / "m.json")
    assert load_bundle(tmp_path / "m.json").model_id == bundle.model_id
    assert (tmp_path / "m.json").stat().st_size < 5_000_000


def test_learn__card__tells_data_and_walk_forward_metrics(learned, recording):
    card = json.loads(learned[0].to_json())["card"]
    assert card["seed"] == 3
    assert card["data"][0]["sha256"] == recording.digest
    folds = card["walk_forward_against_ewma_fhs"]
    assert [(fold["recording"], fold["horizon"]) for fold in folds] == [("spx", 86_400)] * 2
    assert folds[0]["until"] == folds[1]["since"] < folds[1]["until"]


def test_learn__progress__counts_up_to_its_total(learned):
    done = [heard[0] for heard in learned[1]]
    assert done == sorted(done)
    assert learned[1][-1] == (6, 6, "done")


def test_learn__hours__gives_networks_the_hour_a_shared_vote_beyond_and_none_for_the_day():
    bars = tuple(bars_from(restless_returns(2_400), seconds=3_600))
    members = learn([Recording("x", 3_600, bars, "0" * 64)]).members
    hour, four, day = (choose_members(members, 3_600, horizon) for horizon in (3_600, 14_400, 86_400))
    votes = [[member.weight for member, _, _ in chosen if isinstance(member, Network)] for chosen in (hour, four, day)]
    assert votes == [[1.0] * 3, [pytest.approx(1 / 3)] * 3, []]
    assert {type(member) for member, _, _ in day} == {LogLinear, BoostedTrees}


def test_learn__days__gives_three_networks_one_vote(learned):
    networks = [member for member in learned[0].members if isinstance(member, Network)]
    assert sum(network.weight for network in networks) == pytest.approx(1.0)
    assert len({network.layers for network in networks}) == 3


def test_rows__prefix_of_a_recording__has_the_same_rows(recording):
    whole, prefix = (rows_of(replace(recording, bars=recording.bars[:count]))[86_400] for count in (900, 500))
    assert (whole.inputs[: len(prefix.z)] == prefix.inputs).all()
    assert (whole.z[: len(prefix.z)] == prefix.z).all()


def test_learn__nothing_or_a_year_of_days__is_refused(recording):
    with pytest.raises(LearningError, match="no recording"):
        learn([])
    with pytest.raises(LearningError, match=r"horizon 86400: \d+ returns to fit on"):
        learn([replace(recording, bars=recording.bars[:250])])


def test_evaluate__finished_model__has_every_daily_gate_on_originals_and_twins(recording):
    model = EnsembleForecaster("small", small_bundle().members)
    found = evaluate([recording], model=model, baselines=("ewma-fhs",))
    names = {"G1", "G2", "G3", "G4", "G5", "G6", "G7", "G8", "G9"}
    assert {gate.name for gate in found.originals} == {gate.name for gate in found.twins} == names
    document = json.loads(json.dumps(found.document()))
    assert document["model"] == "small"
    assert document["passed"] == all(gate["passed"] for gate in document["originals"] + document["twins"])
