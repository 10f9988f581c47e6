"""A decision of an older journal is explained as far as it was written down, and what is absent is said."""

from dataclasses import replace

import pytest
from builders import BLOCK, MARKET, NOW, assessment, binding, market_state, preflight, tune, vol

from config.schema import ProposeSettings
from keeper.deliberation import deliberation
from keeper.explain import Unexplained, explain, find_decision
from keeper.explain_commands import WORDS, words
from keeper.journal import Journal
from keeper.messages import Approved, NoChange, Reason, Rejected, digest
from keeper.propose import Stay, plan

BEFORE, AFTER = assessment(), assessment(vol=vol(0.2), block=replace(BLOCK, number=8))
PROPOSAL = tune((2, 1_900), inputs=digest(AFTER))


@pytest.fixture
async def journal(tmp_path):
    opened = await Journal.open(f"sqlite:///{tmp_path}/keeper.db", lambda: NOW * 1000)
    yield opened
    await opened.close()


async def told(journal, *messages, wanted="last"):
    for message in messages:
        await journal.append(message)
    return await explain(journal, await find_decision(journal, wanted))


async def test_explain__journal_of_an_older_keeper__says_what_is_absent(journal):
    older = (BEFORE, NoChange(MARKET, BLOCK, "calm", digest(BEFORE)), AFTER, PROPOSAL)
    document = await told(journal, *older)
    assert document["absent"] == [
        "the whole tail: an older keeper kept its 1 % quantiles alone, so there is no objective",
        "reasons and targets by parameter: nothing was planned, or an older keeper kept none",
    ]
    inputs = {one["name"]: (one["before"], one["now"]) for one in document["moved_by"]["inputs"]}
    assert inputs["implied volatility"] == (0.144, 0.2)
    assert any("implied volatility: 0.144 -> 0.2" in line for line in words(document))


async def test_explain__proposal_without_its_assessment__says_so(journal):
    document = await told(journal, PROPOSAL)
    assert "the assessment it was made from is not in this journal" in document["absent"]
    assert document["moved_by"] is None


async def test_explain__targets_that_this_version_reckons_otherwise__says_so(journal):
    rules = ProposeSettings()
    thought = deliberation(plan(AFTER, market_state(), binding(), rules, NOW), AFTER, market_state(), binding(), rules)
    rows = tuple(replace(row, target=None if row.target is None else row.target + 1) for row in thought.parameters)
    document = await told(journal, BEFORE, AFTER, replace(thought, parameters=rows), PROPOSAL)
    assert any(one.startswith("agreement: this version") for one in document["absent"])


async def test_explain__settings_that_this_version_does_not_know__are_left_aside(journal):
    rules = ProposeSettings()
    thought = deliberation(plan(AFTER, market_state(), binding(), rules, NOW), AFTER, market_state(), binding(), rules)
    older = replace(thought, settings={"dead_band": 0.1, "gone_since": 5})
    document = await told(journal, BEFORE, AFTER, older, PROPOSAL)
    assert not any(one.startswith("agreement") for one in document["absent"])


async def test_explain__refused_proposal__has_reason_and_remedy_afterwards(journal):
    refused = Rejected(MARKET, Reason.PAUSED, "by the guardian", BLOCK, PROPOSAL)
    document = await told(journal, BEFORE, AFTER, PROPOSAL, Approved(PROPOSAL, preflight(PROPOSAL)), refused)
    assert [(one["kind"], one["reason"]) for one in document["afterwards"]] == [
        ("approved", None),
        ("rejected", "PAUSED"),
    ]
    assert "governance unpauses" in document["afterwards"][1]["remedy"]


async def test_find_decision__empty_journal__says_so(journal):
    with pytest.raises(Unexplained, match="no decision yet"):
        await find_decision(journal, "last")


async def test_find_decision__one_market_of_two__is_that_market_s(journal):
    other = replace(NoChange(MARKET, BLOCK, "calm", digest(BEFORE)), market="ETH")
    for message in (NoChange(MARKET, BLOCK, "calm", digest(BEFORE)), other):
        await journal.append(message)
    assert (await find_decision(journal, "last", MARKET)).entry.id == 1
    assert (await find_decision(journal, "last")).entry.id == 2


async def test_find_decision__assessment_after_which_the_keeper_died__belongs_to_none(journal):
    for message in (BEFORE, AFTER, PROPOSAL):
        await journal.append(message)
    with pytest.raises(Unexplained, match="row 1 is of kind assessment: no decision belongs to it"):
        await find_decision(journal, "1")


def test_words__every_reason__has_its_words():
    assert WORDS.keys() == {"PROPOSED", *Stay}
