import json
from dataclasses import replace

import pytest
from learned import small_bundle
from walks import bars_from, restless_returns

from models.ensemble import EnsembleForecaster
from models.registry import load_forecaster
from models.snapshot import StateError, restore_state, save_state


def forecaster(name):
    return EnsembleForecaster("small", small_bundle().members) if name == "small" else load_forecaster(name)


def bars(seconds, count):
    made = bars_from(restless_returns(count, seed=4), seconds=seconds)
    return [replace(bar, volume=1_000.0 + place % 7, iv=0.6 + place % 5 / 50) for place, bar in enumerate(made)]


@pytest.mark.parametrize("name", ["small", "default", "ewma-fhs", "gjr-fhs", "garch-t"])
@pytest.mark.parametrize(("seconds", "count"), [(86_400, 330), (3_600, 420)])
def test_restore__in_a_fresh_forecaster__goes_on_bit_for_bit(tmp_path, name, seconds, count):
    stream = bars(seconds, count)
    running, path = forecaster(name), tmp_path / "state.json"
    running.reset("x", seconds)
    for bar in stream[: count - 60]:
        running.update(bar)
    save_state(running, path)
    restarted = forecaster(name)
    restore_state(restarted, path)
    for bar in stream[count - 60 :]:
        assert restarted.update(bar) == running.update(bar)
    save_state(running, tmp_path / "a.json")
    save_state(restarted, tmp_path / "b.json")
    assert (tmp_path / "a.json").read_text() == (tmp_path / "b.json").read_text()


def saved(tmp_path):
    model, path = load_forecaster("ewma-fhs"), tmp_path / "state.json"
    model.reset("x", 86_400)
    for bar in bars(86_400, 20):
        model.update(bar)
    save_state(model, path)
    return path


def test_restore__by_another_model__is_refused(tmp_path):
    with pytest.raises(StateError, match=r"state\.json: saved by model ewma-fhs, not historical-simulation"):
        restore_state(load_forecaster("historical-simulation"), saved(tmp_path))


def test_restore__one_figure_changed__is_refused_and_changes_nothing(tmp_path):
    path = saved(tmp_path)
    content = json.loads(path.read_text())
    content["streams"]["x"]["bar_seconds"] = 3_600
    path.write_text(json.dumps(content))
    model = load_forecaster("ewma-fhs")
    with pytest.raises(StateError, match="is not the hash of the content: corrupt"):
        restore_state(model, path)
    assert not model.streams


@pytest.mark.parametrize(
    ("text", "rule"), [("", "not a JSON file"), ("[]", "not a state"), ('{"format":"other"}', "not a state")]
)
def test_restore__what_is_no_state__is_refused(tmp_path, text, rule):
    (tmp_path / "s.json").write_text(text)
    with pytest.raises(StateError, match=rule):
        restore_state(load_forecaster("ewma-fhs"), tmp_path / "s.json")


def test_restore__missing_file__is_refused(tmp_path):
    with pytest.raises(StateError, match=r"gone\.json: cannot be read"):
        restore_state(load_forecaster("ewma-fhs"), tmp_path / "gone.json")
