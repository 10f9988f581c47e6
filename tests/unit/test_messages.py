"""Messages are values: frozen, written one way, read back equal, and hashed by content."""

import hashlib
import json
from dataclasses import FrozenInstanceError

import pytest
from builders import CALM_VALUES, HASH, applied, assessment, spot, tune
from pydantic import ValidationError

from keeper.messages import (
    REMEDIES,
    Applied,
    Lifecycle,
    NoChange,
    Proposal,
    Reason,
    body,
    canonical,
    digest,
    parse,
)
from models.market import BlockStamp, Quote


def test_remedies__every_reason__has_one_sentence_for_an_operator():
    assert set(REMEDIES) == set(Reason)
    assert all(remedy.endswith(".") and remedy[0].isupper() for remedy in REMEDIES.values())


def test_reasons__as_text__are_their_own_names():
    assert all(reason.value == reason.name for reason in Reason)


def test_proposal__values__are_the_live_ones_with_its_changes():
    assert tune((0, 440), (5, 520)).values == (440, *CALM_VALUES[1:5], 520)
    assert tune().values == CALM_VALUES


def test_proposal__set_field__is_refused():
    with pytest.raises(FrozenInstanceError):
        tune().sequence = 5


def test_body__enums_and_tuples__become_json():
    document = body(tune((5, 520)))
    assert document["kind"] == "tune"
    assert document["changes"] == [{"id": 5, "value": 520}]
    assert document["block"]["number"] == 7
    assert json.loads(canonical(document)) == document


def test_parse__journalled_proposal__is_the_proposal():
    proposal = tune((0, 440), (1, 550))
    assert parse(Proposal, json.loads(canonical(body(proposal)))) == proposal


@pytest.mark.parametrize("field", ["market", "sequence", "values", "block"])
def test_parse__document_without_a_field__names_it(field):
    document = body(applied(tune((5, 520))))
    del document[field]
    with pytest.raises(ValidationError, match=field):
        parse(Applied, document)


def test_parse__document_of_another_class__is_refused():
    with pytest.raises(ValidationError):
        parse(Quote, body(tune()))


def test_canonical__key_order__does_not_matter():
    assert canonical({"b": 1, "a": [1.5, None]}) == canonical({"a": [1.5, None], "b": 1}) == b'{"a":[1.5,null],"b":1}'


def test_canonical__text_beyond_ascii__is_utf_8():
    assert canonical({"a": "ü"}) == '{"a":"ü"}'.encode()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_canonical__not_a_number__is_refused(value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical({"a": [value]})


def test_digest__not_a_number_inside__is_refused():
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest(spot(float("nan")))


def test_digest__message__is_the_sha_256_of_its_canonical_json():
    message = NoChange("SPX", BlockStamp(1, "0xab", 2), "calm", "0x01")
    text = b'{"block":{"hash":"0xab","number":1,"timestamp":2},"detail":"calm","inputs":"0x01","market":"SPX"}'
    assert digest(message) == "0x" + hashlib.sha256(text).hexdigest()


def test_digest__of_a_proposal__is_its_idempotency_key():
    assert tune((5, 520)).digest == digest(tune((5, 520)))
    assert tune((5, 520)).digest != tune((5, 521)).digest


def test_digest__survives_the_journal():
    found = assessment(state_hash=HASH, vol_rise=0.1)
    assert digest(parse(type(found), json.loads(canonical(body(found))))) == digest(found)


def test_lifecycle__settings__are_any_json():
    message = Lifecycle("started", settings={"mqtt": {"url": "(set)"}, "n": [1, 2.5, None]})
    assert parse(Lifecycle, body(message)) == message
