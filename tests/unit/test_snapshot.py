import json
from dataclasses import replace

import pytest
from learned import small_bundle
from walks import bars_from, restless_returns

from models.ensemble import EnsembleForecaster
from models.registry import load_forecaster
from models.snapshot import StateError, _digest, put_back, restore_state, save_state, state_of


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


def test_restore__by_other_code_of_the_models__is_refused(tmp_path, monkeypatch):
    path, model = saved(tmp_path), load_forecaster("ewma-fhs")
    monkeypatch.setattr("models.snapshot.code_digest", lambda: "0" * 64)
    with pytest.raises(StateError, match="saved by other code"):
        restore_state(model, path)
    assert not model.streams


def test_restore__older_schema__is_refused(tmp_path):
    path = saved(tmp_path)
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"schema": 1}))
    with pytest.raises(StateError, match="schema 1: this version reads 2"):
        restore_state(load_forecaster("ewma-fhs"), path)


def test_put_back__parts_that_are_not_the_streams__is_refused_and_leaves_them_new():
    model, fresh = load_forecaster("ewma-fhs"), load_forecaster("ewma-fhs")
    for one in (model, fresh):
        one.reset("x", 86_400)
    content = json.loads(state_of(model, ["x"]))
    content["streams"]["x"]["state"]["object"]["no_such_part"] = {"object": {"a": 1}}
    del content["sha256"]
    text = json.dumps(content | {"sha256": _digest(content)}).encode()
    with pytest.raises(StateError, match="s: does not fit the streams of ewma-fhs"):
        put_back(model, text, "s")
    assert state_of(model, ["x"]) == state_of(fresh, ["x"])


def test_put_back__what_was_kept_beside__comes_back_as_it_was():
    model = load_forecaster("ewma-fhs")
    for asset in ("x", "y"):
        model.reset(asset, 86_400)
    for bar in bars(86_400, 20):
        forecast = model.update(replace(bar, asset="x"))
    again = load_forecaster("ewma-fhs")
    assert put_back(again, state_of(model, ["x"], {"forecast": forecast}).encode(), "s") == {"forecast": forecast}
    assert list(again.streams) == ["x"]
