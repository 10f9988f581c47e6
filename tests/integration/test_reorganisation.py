"""Check that a change which a reorganisation takes back is told, and lands again once or ends."""

from __future__ import annotations

import pytest
from trials import MARKET, TIGHT, audited, decide, incidents, keeper_of, refusal, rows

from keeper.journal import EntryKind
from keeper.messages import Applied, IncidentKind, NoChange, Reason, Undone
from keeper.verify import Agreement
from keeper.watch import Promise

pytestmark = pytest.mark.integration
pytest_plugins = ["chains"]


async def test_tick__reorganisation_takes_our_change_back__is_told_and_the_next_tick_lands_it_again(trial, tmp_path):
    before = trial.parameters()
    async with keeper_of(trial, tmp_path, TIGHT) as keeper:
        applied = await decide(keeper, trial)
        tightened = trial.parameters()
        await decide(keeper, trial)
        trial.ask("anvil_rollback", 1)
        assert trial.parameters() == before
        assert await refusal(keeper, trial) is Reason.IN_FLIGHT
        assert await incidents(keeper) == [IncidentKind.REORGED]
        undone = [row.message() for row in await rows(keeper, EntryKind.UNDONE)]
        assert undone == [Undone(MARKET, applied.digest, applied.tx_hash, applied.sequence)]
        assert (await audited(keeper, trial)).chain == Agreement(own=0, foreign=0, before=0)
        assert isinstance(await decide(keeper, trial), NoChange)
        assert trial.parameters() == tightened
        landed = [row.message() for row in await rows(keeper, EntryKind.APPLIED)]
        assert [change.tx_hash for change in landed] == [applied.tx_hash] * 2
        assert keeper.pipelines[0].memory.promise == Promise(1, tightened, tightened)
        assert await incidents(keeper) == [IncidentKind.REORGED]
        assert (await audited(keeper, trial)).chain == Agreement(own=1, foreign=0, before=0)
    assert (trial.nonce(), trial.sequence()) == (1, 1)


async def test_tick__our_change_reorganised_away_beyond_its_deadline__ends_as_failed_and_is_decided_anew(
    trial, tmp_path
):
    async with keeper_of(trial, tmp_path, TIGHT) as keeper:
        applied = await decide(keeper, trial)
        trial.ask("anvil_rollback", 1)
        trial.pass_time(601)
        assert await refusal(keeper, trial) is Reason.IN_FLIGHT
        again = await decide(keeper, trial)
        failed = await rows(keeper, EntryKind.FAILED)
        assert [(row.key, row.body["detail"]) for row in failed] == [
            (applied.digest, "reverted: risk_steward: deadline passed")
        ]
        assert isinstance(again, Applied)
        assert again.digest != applied.digest
        assert (await audited(keeper, trial)).chain == Agreement(own=1, foreign=0, before=0)
    assert trial.sequence() == 1


@pytest.mark.parametrize("restarted", [False, True], ids=["live", "restarted"])
async def test_tick__reorganisation_takes_two_of_our_changes_back__both_land_again_in_their_order(
    trial, tmp_path, restarted
):
    before = trial.parameters()
    async with keeper_of(trial, tmp_path, TIGHT) as keeper:
        await decide(keeper, trial)
        await keeper.pipelines[0].roll_back("a test asks for it")
        await decide(keeper, trial)
        trial.ask("anvil_rollback", 2)
        if not restarted:
            await landed_both(keeper, trial, before)
    if restarted:
        async with keeper_of(trial, tmp_path, TIGHT) as keeper:
            await landed_both(keeper, trial, before)


async def landed_both(keeper, trial, before):
    assert await refusal(keeper, trial) is Reason.IN_FLIGHT
    assert isinstance(await decide(keeper, trial), NoChange)
    assert [row.body["sequence"] for row in await rows(keeper, EntryKind.UNDONE)] == [1, 2]
    assert [row.body["sequence"] for row in await rows(keeper, EntryKind.APPLIED)] == [1, 2, 1, 2]
    assert await incidents(keeper) == [IncidentKind.REORGED] * 2
    assert keeper.pipelines[0].memory.promise == Promise(2, before, before)
    assert [applied.sequence for applied in keeper.pipelines[0].memory.applied.values()] == [1, 2]
    assert (await audited(keeper, trial)).chain == Agreement(own=2, foreign=0, before=0)
    assert (trial.nonce(), trial.sequence()) == (2, 2)


async def test_restart__our_change_reorganised_away_before_it__lands_it_again_once(trial, tmp_path):
    async with keeper_of(trial, tmp_path, TIGHT) as keeper:
        await decide(keeper, trial)
        trial.ask("anvil_rollback", 1)
        await decide(keeper, trial)
    async with keeper_of(trial, tmp_path, TIGHT) as keeper:
        assert keeper.pipelines[0].memory.promise is None
        assert isinstance(await decide(keeper, trial), NoChange)
        await decide(keeper, trial)
        assert await incidents(keeper) == [IncidentKind.REORGED]
        assert (await audited(keeper, trial)).chain == Agreement(own=1, foreign=0, before=0)
    assert (trial.nonce(), trial.sequence()) == (1, 1)


async def test_tick__reorganisation_mines_our_change_in_another_block__is_no_incident(trial, tmp_path):
    async with keeper_of(trial, tmp_path, TIGHT) as keeper:
        await decide(keeper, trial)
        raw = (await rows(keeper, EntryKind.ATTEMPT))[0].body["raw"]
        trial.ask("anvil_rollback", 1)
        trial.pass_time(60)
        trial.send_again(raw)
        assert isinstance(await decide(keeper, trial), NoChange)
        assert await incidents(keeper) == []
        assert await rows(keeper, EntryKind.UNDONE) == []
        assert (await audited(keeper, trial)).chain == Agreement(own=1, foreign=0, before=0)
