import json

import pytest
from learned import small_bundle

from models.bundle import ArtefactError, _address, load_bundle, save_bundle
from models.ensemble import EnsembleForecaster
from models.registry import load_forecaster


def content() -> dict:
    return json.loads(small_bundle().to_json())


def sealed(changed: dict) -> str:
    """A file whose hash is right, whatever else is wrong with it."""
    changed.pop("model_id", None)
    return json.dumps(changed | {"model_id": _address(changed)})


def test_save__then_load__gives_the_same_members_and_address(tmp_path):
    bundle = small_bundle()
    save_bundle(bundle, tmp_path / "m.json")
    assert load_bundle(tmp_path / "m.json") == bundle
    forecaster = load_forecaster(tmp_path / "m.json")
    assert isinstance(forecaster, EnsembleForecaster)
    assert forecaster.model_id == bundle.model_id


def test_load__one_leaf_changed__is_refused_as_corrupt(tmp_path):
    changed = content()
    changed["members"][1]["trees"][0]["value"][-1] += 1e-6
    (tmp_path / "m.json").write_text(json.dumps(changed))
    with pytest.raises(ArtefactError, match=r"m\.json: model_id .* is not the hash"):
        load_bundle(tmp_path / "m.json")


def change_tree(changed):
    changed["members"][1]["trees"][0]["left"][0] = 0


def change_feature(changed):
    changed["members"][1]["trees"][0]["feature"][0] = 99


def change_layer(changed):
    changed["members"][2]["layers"][0]["weights"][0].pop()


def change_sds(changed):
    changed["members"][0]["sds"][0] = 0.0


def change_shape(changed):
    changed["members"][0]["shape"]["quantiles"][3] = -0.1


def change_shortfall(changed):
    changed["members"][0]["shape"]["es_lower"] = -0.1


def change_serves(changed):
    changed["members"][2]["serves"] = [7]


def change_flag(changed):
    changed["members"][0]["daily_bars"] = 1


def change_weight(changed):
    changed["members"][2]["weight"] = 0.0


def change_kind(changed):
    changed["members"][0]["kind"] = "oracle"


def change_keys(changed):
    changed["members"][0]["moon"] = 1


def change_inputs(changed):
    changed["inputs"] = ["moon_phase"]


def change_schema(changed):
    changed["schema"] = 0


def change_members(changed):
    changed["members"] = []


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (change_tree, "tree node 0"),
        (change_feature, "tree node 0"),
        (change_layer, "must be a list of"),
        (change_sds, "sds must be above 0"),
        (change_shape, "quantiles must ascend"),
        (change_shortfall, "expected shortfall must lie beyond"),
        (change_serves, "horizons must include all it serves"),
        (change_flag, "daily_bars must be true or false"),
        (change_weight, r"members\[2\]: weight must be above 0"),
        (change_kind, r"members\[0\]: kind must be one of"),
        (change_keys, "must have exactly"),
        (change_inputs, "inputs or taus"),
        (change_schema, "schema 0: this version reads 2"),
        (change_members, "members: must be a list"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_load__forged_file_with_a_right_hash__is_refused(tmp_path, change, rule):
    changed = content()
    change(changed)
    (tmp_path / "m.json").write_text(sealed(changed))
    with pytest.raises(ArtefactError, match=rule):
        load_bundle(tmp_path / "m.json")


@pytest.mark.parametrize("text", ["", "{", '{"a": NaN}', "[]", '{"format": "other"}'])
def test_load__what_is_no_model__is_refused(tmp_path, text):
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(ArtefactError, match=r"m\.json: (not a|format is not)"):
        load_bundle(tmp_path / "m.json")


def test_load__missing_file__is_refused(tmp_path):
    with pytest.raises(ArtefactError, match=r"gone\.json: cannot be read"):
        load_bundle(tmp_path / "gone.json")
