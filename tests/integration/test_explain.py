"""An operator asks the command line why, and the answer comes from the journal that the real pipeline wrote."""

from __future__ import annotations

import json

import pytest
from processes import environment, run_keeper
from trials import CALM, LOOSE, TIGHT, VOL, audited, decide, keeper_of, refusal, rows

from keeper.journal import EntryKind
from keeper.messages import Applied, NoChange, Reason
from keeper.propose import Stay

pytestmark = pytest.mark.integration
pytest_plugins = ["chains"]

OFFLINE = environment(None, KEEPER_RPC_URL="http://127.0.0.1:1")
"""An environment in which nothing can be asked of a chain."""


async def asked(folder, *arguments):
    """Ask the command in words."""
    return await run_keeper("explain", *arguments, "-c", str(folder / "keeper.toml"), cwd=folder, env=OFFLINE)


async def explained(folder, *arguments):
    """Ask the command for its document."""
    ended = await asked(folder, *arguments, "--json")
    assert ended.code == 0, ended.err
    return json.loads(ended.out)


def by_name(document):
    return {row["name"]: row for row in document["parameters"]}


async def calm_then_tight(trial, folder):
    """Let one keeper decide in a calm market, and the next one, on the same journal, tighten."""
    async with keeper_of(trial, folder, CALM) as keeper:
        assert isinstance(await decide(keeper, trial), NoChange)
    before = trial.parameters()
    async with keeper_of(trial, folder, TIGHT) as keeper:
        assert isinstance(await decide(keeper, trial, vol=0.2), Applied)
        proposal = (await rows(keeper, EntryKind.PROPOSAL))[0]
        assert (await audited(keeper, trial)).ok
    return before, proposal


async def test_explain__applied_change__tells_inputs_targets_objective_and_verdict(trial, tmp_path):
    before, proposal = await calm_then_tight(trial, tmp_path)
    document = await explained(tmp_path, "last")
    assert (document["row"], document["digest"]) == (proposal.id, proposal.key)
    parameters = by_name(document)
    assert [row["value"] for row in document["parameters"]] == list(before)
    assert [row["proposed"] for row in document["parameters"]] == list(trial.parameters())
    assert {row["code"] for name, row in parameters.items() if name != "liquidation_penalty"} == {"PROPOSED"}
    assert parameters["liquidation_penalty"]["code"] == Stay.NOT_TUNED
    moved = document["moved_by"]
    vol = next(one for one in moved["inputs"] if one["name"] == "implied volatility")
    assert (vol["before"], vol["now"]) == (VOL, 0.2)
    assert vol["moves"]["shocked_vol"] == 625
    for name, target in moved["targets"].items():
        alone = sum(one["moves"][name] for one in moved["inputs"])
        assert target["before"] + alone + target["remainder"] == target["now"] == parameters[name]["target"]
    objective = document["objective"]
    assert objective["before"]["shortfall"] > objective["after"]["shortfall"] > 0.0
    assert objective["before"]["margin"] < objective["after"]["margin"]
    assert [one["kind"] for one in document["afterwards"]] == ["approved", "applied"]
    assert document["absent"] == []


async def test_explain__any_name_of_a_decision__is_the_same_explanation(trial, tmp_path):
    _, proposal = await calm_then_tight(trial, tmp_path)
    last = await explained(tmp_path, "last")
    for name in (str(proposal.id), proposal.key, str(proposal.id - 1), str(proposal.id + 1)):
        assert await explained(tmp_path, name) == last


async def test_explain__in_words__says_what_an_operator_can_check(trial, tmp_path):
    _, proposal = await calm_then_tight(trial, tmp_path)
    words = (await asked(tmp_path, "last")).out
    assert f"row {proposal.id}, " in words
    assert "implied volatility: 0.15 -> 0.2; shocked_vol +625" in words
    assert "NOT_TUNED: the binding gives it no role" in words
    assert "cost of margin" in words
    assert "approved: every rule holds; simulated with" in words
    assert len(words.splitlines()) < 40


async def test_explain__calm_market__gives_each_parameter_its_reason_and_status_repeats_it(trial, tmp_path):
    async with keeper_of(trial, tmp_path, CALM) as keeper:
        assert isinstance(await decide(keeper, trial), NoChange)
    document = await explained(tmp_path, "last")
    codes = {name: row["code"] for name, row in by_name(document).items()}
    assert set(codes.values()) == {Stay.WITHIN_DEAD_BAND, Stay.NOT_TUNED}
    assert "a decision before it to compare with" in document["absent"]
    config = ("-c", str(tmp_path / "keeper.toml"))
    status = json.loads((await run_keeper("status", *config, "--json", cwd=tmp_path)).out)
    assert {row["name"]: row["reason"] for row in status["markets"][0]["parameters"]} == codes
    assert "NOT_TUNED: liquidation_penalty" in (await run_keeper("status", *config, cwd=tmp_path)).out


async def test_explain__loosening_that_costs_too_much__says_what_it_brings_and_costs(trial, tmp_path):
    async with keeper_of(trial, tmp_path, LOOSE, change_cost=1.0) as keeper:
        outcome = await decide(keeper, trial)
    assert "is not worth its cost" in outcome.detail
    document = await explained(tmp_path, "last")
    assert by_name(document)["spot_shock_up"]["code"] == Stay.NOT_WORTH_ITS_COST
    judged = document["objective"]["judged"]
    assert judged
    assert all(not one["worth_it"] and one["brings"] < one["cost_of_change"] for one in judged)


async def test_explain__settings_changed_between_two_decisions__are_told_as_an_input(trial, tmp_path):
    async with keeper_of(trial, tmp_path, CALM) as keeper:
        await decide(keeper, trial)
    async with keeper_of(trial, tmp_path, CALM, extra={"propose": "vol_multiple = 2.5"}) as keeper:
        await decide(keeper, trial)
    moved = (await explained(tmp_path, "last"))["moved_by"]
    settings = next(one for one in moved["inputs"] if one["name"] == "settings of propose")
    assert settings["moves"]["shocked_vol"] == 1_875


async def test_explain__since_an_earlier_decision__compares_with_that_one(trial, tmp_path):
    async with keeper_of(trial, tmp_path, CALM) as keeper:
        for vol in (VOL, VOL * 1.01, VOL * 1.02):
            await decide(keeper, trial, vol=vol)
        first = (await rows(keeper, EntryKind.NO_CHANGE))[0]
    moved = (await explained(tmp_path, "last", "--since", str(first.id)))["moved_by"]
    vol = next(one for one in moved["inputs"] if one["name"] == "implied volatility")
    assert (vol["before"], vol["now"]) == (VOL, VOL * 1.02)


async def test_explain__refused_inputs__gives_reason_and_remedy(trial, tmp_path):
    async with keeper_of(trial, tmp_path, CALM) as keeper:
        assert await refusal(keeper, trial, vol=3.1) is Reason.FEED_OUT_OF_RANGE
    document = await explained(tmp_path, "last")
    assert (document["kind"], document["reason"]) == ("rejected", "FEED_OUT_OF_RANGE")
    assert "minimum..maximum" in document["remedy"]
    assert document["absent"] == ["the inputs were refused: nothing was assessed, and no target reckoned"]


async def test_explain__rollback__says_that_no_model_was_asked(trial, tmp_path):
    async with keeper_of(trial, tmp_path, TIGHT) as keeper:
        await decide(keeper, trial)
        await keeper.pipelines[0].roll_back("a test asks for it")
    document = await explained(tmp_path, "last")
    assert document["said"] == "a test asks for it"
    assert document["absent"] == ["a rollback restores the last good version: no model is asked"]


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("1", "row 1 is of kind lifecycle: no decision belongs to it"),
        ("99", "99: the journal has no such row"),
        ("0xabcd", "0xabcd: the journal has no proposal and no assessment of this digest"),
        ("yesterday", "yesterday: must be a row's number, a digest (0x…) or last"),
    ],
)
async def test_explain__no_such_decision__is_an_error_that_says_what_may_be_asked(trial, tmp_path, name, rule):
    async with keeper_of(trial, tmp_path, CALM) as keeper:
        await decide(keeper, trial)
    ended = await asked(tmp_path, name)
    assert ended.code == 1
    assert rule in ended.err
