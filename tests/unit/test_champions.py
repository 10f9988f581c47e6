import json
from dataclasses import replace

import pytest
from learned import small_bundle

from models.bundle import ArtefactError, load_bundle, save_bundle
from models.champions import POINTERS, Champions, Promotion, PromotionError
from models.registry import DEFAULT, load_forecaster


@pytest.fixture
def champions(tmp_path):
    (tmp_path / "models").mkdir()
    return Champions(tmp_path / "models")


@pytest.fixture
def small(tmp_path):
    save_bundle(small_bundle(), tmp_path / "small.json")
    return tmp_path / "small.json"


def promote(champions, because):
    promotion = champions.promotion(because)
    champions.carry_out(promotion)
    return promotion


def test_promotion__of_a_challenger__puts_it_in_charge_and_tells_whom_it_replaced(champions, small, tmp_path):
    assert (champions.champion, champions.challenger, champions.models()) == ("", "", [])
    first, second = champions.challenge(DEFAULT), small_bundle().model_id
    assert promote(champions, "the first") == Promotion(first, "", "the first")
    assert champions.challenge(small) == second
    assert (champions.champion, champions.challenger) == (first, second)
    assert promote(champions, "G1 -6 %") == Promotion(second, first, "G1 -6 %")
    again = Champions(tmp_path / "models")
    assert (again.champion, again.challenger, again.models()) == (second, "", sorted([first, second]))


def test_load_forecaster__folder__is_its_champion(champions, small, tmp_path):
    champions.challenge(small)
    with pytest.raises(ArtefactError, match="models: has no champion"):
        load_forecaster(tmp_path / "models")
    promote(champions, "the first")
    assert load_forecaster(tmp_path / "models").model_id == small_bundle().model_id


def test_promotion__no_challenger__is_refused(champions):
    with pytest.raises(PromotionError, match="no challenger to promote"):
        champions.promotion("why not")


def test_promotion__without_a_reason__is_refused(champions, small):
    champions.challenge(small)
    with pytest.raises(PromotionError, match="needs a reason"):
        champions.promotion(" ")
    assert champions.champion == ""


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"members": []}, "is not the hash of the content: corrupt"),
        ({"format": "other"}, "not an ensemble of this keeper"),
        ({"schema": 0}, "schema 0: this version reads 2"),
    ],
)
def test_challenge__corrupt_foreign_or_older_file__is_refused_with_its_reason(champions, small, change, rule):
    small.write_text(json.dumps(json.loads(small.read_text()) | change))
    with pytest.raises(ArtefactError, match=rule):
        champions.challenge(small)
    assert (champions.challenger, champions.models()) == ("", [])


def test_promotion__challenger_broken_since__is_refused_and_nothing_changes(champions, small):
    champions.path(champions.challenge(small)).write_text("{}")
    with pytest.raises(ArtefactError, match="not an ensemble"):
        champions.promotion("why not")
    assert champions.champion == ""


def test_promotion__file_that_holds_another_model__is_refused(champions, small):
    path = champions.path(champions.challenge(small))
    save_bundle(replace(load_bundle(path), card={}), path)
    with pytest.raises(PromotionError, match="holds model"):
        champions.promotion("why not")


@pytest.mark.parametrize("name", ["0123456789abcdef", "../secret", ""])
def test_carry_out__model_that_is_not_in_the_folder__is_refused(champions, name):
    with pytest.raises(PromotionError, match="no such model"):
        champions.carry_out(Promotion(name, "", "why not"))


@pytest.mark.parametrize("text", ["", "[]", '{"champion": "a"}', '{"schema": 1, "champion": 1, "challenger": ""}'])
def test_pointers__broken__are_refused(champions, tmp_path, text):
    (tmp_path / "models" / POINTERS).write_text(text)
    with pytest.raises(PromotionError, match=POINTERS):
        _ = champions.champion
