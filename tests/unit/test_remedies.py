"""What a contract says when it refuses is followed by what to do about it."""

import re

import pytest

from chain.compiler import SOURCES
from chain.remedies import REMEDIES, remedy_of, with_remedy
from keeper.messages import Failed
from keeper.outcomes import describe

STEWARD = (SOURCES / "risk_steward.vy").read_text()
BUILDING = {"risk_steward: zero governance", "risk_steward: no registry"}
"""What only the one who puts up a steward can meet."""


@pytest.mark.parametrize("words", sorted(set(re.findall(r'"(risk_steward: [^"]*)"', STEWARD)) - BUILDING))
def test_remedy_of__every_refusal_of_the_steward__has_one(words):
    assert remedy_of(f"pause: execution reverted: {words}") == REMEDIES[words]


@pytest.mark.parametrize("words", sorted(words for words in REMEDIES if words.startswith("risk_steward")))
def test_remedies__each__is_of_something_that_the_steward_says(words):
    assert any(f'"{words}"' in source.read_text() for source in SOURCES.glob("*.vy"))


def test_remedy_of__longer_words_of_the_same_beginning__are_told_apart():
    assert remedy_of("risk_steward: no policy") != remedy_of("risk_steward: policy not stored")
    assert remedy_of("risk_steward: notice not over") == REMEDIES["risk_steward: notice not over"]


def test_with_remedy__what_no_contract_said__stays_as_it_is():
    assert with_remedy("schedule: the endpoint gave no usable answer") == "schedule: the endpoint gave no usable answer"


def test_describe__change_that_the_steward_refused__says_what_to_do():
    said = describe(Failed("SPX", "0x1", "0x2", "reverted: risk_steward: paused"))
    assert said.splitlines() == [
        "SPX: 0x2 failed: reverted: risk_steward: paused",
        f"what to do: {REMEDIES['risk_steward: paused']}",
    ]
