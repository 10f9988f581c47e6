import json
import subprocess
import sys
from pathlib import Path

import pytest

from models.registry import DEFAULT, ArtefactError, _address, load, load_forecaster, save


def content() -> dict:
    return json.loads(DEFAULT.read_text())


def sealed(changed: dict) -> str:
    """A file whose hash is right, whatever else is wrong with it."""
    changed.pop("model_id", None)
    return json.dumps(changed | {"model_id": _address(changed)})


def test_save__then_load__gives_the_same_model(tmp_path):
    shipped = load(DEFAULT)
    save(shipped, tmp_path / "copy.json")
    assert (tmp_path / "copy.json").read_text() == DEFAULT.read_text()
    assert load(tmp_path / "copy.json") == shipped
    assert len(shipped.model_id) == 16


def test_load__one_weight_changed__is_refused_as_corrupt(tmp_path):
    changed = content()
    changed["heads"][0]["weights"][0] += 1e-6
    (tmp_path / "m.json").write_text(json.dumps(changed))
    with pytest.raises(ArtefactError, match=r"m\.json: model_id .* is not the hash"):
        load(tmp_path / "m.json")


@pytest.mark.parametrize("text", ["", "not json", "{", DEFAULT.read_text()[:-20], '{"a": NaN}', "\x00\x01"])
def test_load__broken_file__is_refused(tmp_path, text):
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(ArtefactError, match=r"m\.json: not a JSON file"):
        load(tmp_path / "m.json")


@pytest.mark.parametrize("text", ["[]", "{}", '{"format": "other"}', "3"])
def test_load__foreign_file__is_refused(tmp_path, text):
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(ArtefactError, match=r"m\.json: .*not a model of this keeper"):
        load(tmp_path / "m.json")


def test_load__other_schema__is_refused(tmp_path):
    (tmp_path / "m.json").write_text(sealed(content() | {"schema": 2}))
    with pytest.raises(ArtefactError, match=r"m\.json: schema 2: this version reads 1"):
        load(tmp_path / "m.json")


def test_load__other_features__is_refused(tmp_path):
    (tmp_path / "m.json").write_text(sealed(content() | {"features": ["moon_phase"]}))
    with pytest.raises(ArtefactError, match=r"m\.json: features or taus"):
        load(tmp_path / "m.json")


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        ("weights", [0.1], "figures each"),
        ("weights", 3, "figures each"),
        ("quantiles", [-1, 1], "must have 6 figures"),
        ("quantiles", [-3, -2, -1, 0, 2, 3], "must ascend"),
        ("quantiles", [-1, -2, -3, 1, 2, 3], "must ascend"),
        ("es_lower", -0.1, "beyond"),
        ("es_upper", "big", "finite number"),
        ("sds", [0.0] * 19, "sds must be above 0"),
        ("horizon", 0, "horizon"),
        ("daily_bars", 1, "daily_bars"),
    ],
)
def test_load__forged_head_with_a_right_hash__is_refused(tmp_path, key, value, rule):
    changed = content()
    changed["heads"][0][key] = value
    (tmp_path / "m.json").write_text(sealed(changed))
    with pytest.raises(ArtefactError, match=rule):
        load(tmp_path / "m.json")


@pytest.mark.parametrize("heads", [[], {}, None, [{"horizon": 1}]])
def test_load__no_usable_heads__is_refused(tmp_path, heads):
    (tmp_path / "m.json").write_text(sealed(content() | {"heads": heads}))
    with pytest.raises(ArtefactError, match=r"m\.json: heads"):
        load(tmp_path / "m.json")


def test_load__missing_file__is_refused(tmp_path):
    with pytest.raises(ArtefactError, match=r"gone\.json: cannot be read"):
        load(tmp_path / "gone.json")


@pytest.mark.parametrize("name", ["ewma-fhs", "historical-simulation"])
def test_load_forecaster__baseline__carries_its_name(name):
    assert load_forecaster(name).model_id == name


def test_load_forecaster__default_or_its_path__carries_its_address():
    assert load_forecaster("default").model_id == load_forecaster(DEFAULT).model_id == load(DEFAULT).model_id


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
