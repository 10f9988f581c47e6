"""Check that an audit accepts what happened, and names what journal or chain lack of each other."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from trials import CALM, MARKET, TIGHT, audited, decide, keeper_of, scripted

from keeper.audit import audit
from keeper.demo.faults import CorruptingExecutor
from keeper.journal import EntryKind, Journal
from keeper.messages import Applied
from keeper.verify import Agreement

pytestmark = pytest.mark.integration
pytest_plugins = ["chains"]


async def test_audit__nothing_happened__holds_with_no_changes(trial, tmp_path):
    async with keeper_of(trial, tmp_path, CALM) as keeper:
        await decide(keeper, trial)
        report = await audited(keeper, trial)
    assert (report.ok, report.chain) == (True, Agreement(own=0, foreign=0, before=0))


async def test_audit__change_and_rollback__accounts_for_both(trial, tmp_path):
    async with keeper_of(trial, tmp_path, TIGHT) as keeper:
        await decide(keeper, trial)
        await keeper.pipelines[0].roll_back("a test asks for it")
        report = await audited(keeper, trial)
    assert (report.ok, report.chain) == (True, Agreement(own=2, foreign=0, before=0))
    assert report.sentence().endswith(
        "It accounts for every change on chain: 2 made from this journal, 0 by other keepers, 0 before it began."
    )
    assert report.document()["changes"] == {"own": 2, "foreign": 0, "before": 0}


async def test_audit__wrong_value_that_was_noticed__holds(trial, tmp_path):
    async with keeper_of(trial, tmp_path, parts=scripted(TIGHT, wrap_executor=CorruptingExecutor)) as keeper:
        keeper.executor.armed = True
        await decide(keeper, trial)
        report = await audited(keeper, trial)
    assert (report.ok, report.chain) == (True, Agreement(own=2, foreign=0, before=0))


async def test_audit__changes_older_than_the_journal__are_counted_as_before_it(trial, folders):
    async with keeper_of(trial, folders[1], TIGHT) as theirs:
        assert isinstance(await decide(theirs, trial), Applied)
    async with keeper_of(trial, folders[0], CALM) as ours:
        await decide(ours, trial)
        report = await audited(ours, trial)
    assert (report.ok, report.chain) == (True, Agreement(own=0, foreign=0, before=1))


async def test_audit__another_keepers_change__is_missing_until_it_was_seen(trial, folders):
    async with keeper_of(trial, folders[0], CALM) as ours, keeper_of(trial, folders[1], TIGHT) as theirs:
        await decide(ours, trial)
        await decide(theirs, trial)
        missing = await audited(ours, trial)
        await decide(ours, trial)
        report = await audited(ours, trial)
    assert not missing.ok
    assert missing.document()["changes"] is None
    assert "has no row" in missing.sentence()
    assert (report.ok, report.chain) == (True, Agreement(own=0, foreign=1, before=0))


async def test_audit__applied_row_whose_change_was_reorged_away__names_the_row(trial, tmp_path):
    async with keeper_of(trial, tmp_path, TIGHT) as keeper:
        await decide(keeper, trial)
        row = (await keeper.journal.last(EntryKind.APPLIED)).id
        trial.ask("anvil_rollback", 1)
        report = await audited(keeper, trial)
    assert not report.ok
    assert report.document()["first_bad_row"] == row
    assert "has no event on chain" in report.sentence()


async def test_audit__journal_cut_off_at_the_end__misses_the_change(trial, tmp_path):
    async with keeper_of(trial, tmp_path, TIGHT) as keeper:
        await decide(keeper, trial)
        row = (await keeper.journal.last(EntryKind.APPLIED)).id
        with closing(sqlite3.connect(tmp_path / "keeper.db")) as database:
            database.execute("DROP TRIGGER journal_no_delete")
            database.execute("DELETE FROM journal WHERE id >= ?", (row,))
            database.commit()
        report = await audited(keeper, trial)
        assert (report.rows.ok, report.ok) == (True, False)
        assert report.chain.row is None
        assert "has no row" in report.sentence()


async def test_audit__row_rewritten__is_named_and_the_chain_is_not_asked(trial, tmp_path):
    async with keeper_of(trial, tmp_path, TIGHT) as keeper:
        await decide(keeper, trial)
        row = (await keeper.journal.last(EntryKind.APPROVED)).id
        settings = keeper.settings
    with closing(sqlite3.connect(tmp_path / "keeper.db")) as database:
        database.execute("DROP TRIGGER journal_no_update")
        database.execute("UPDATE journal SET market = 'NDX' WHERE id = ?", (row,))
        database.commit()
    report = await audit(settings, trial.deployment, {MARKET: trial.protocol})
    assert (report.ok, report.rows.first_bad_row, report.chain) == (False, row, None)
    assert report.document()["first_bad_row"] == row


async def test_audit__reads_only__leaves_the_journal_as_it_was(trial, tmp_path):
    async with keeper_of(trial, tmp_path, TIGHT) as keeper:
        await decide(keeper, trial)
        settings = keeper.settings
    journal = await Journal.open(settings.journal.url.get_secret_value(), lambda: 0)
    before = await journal.head()
    await audit(settings, trial.deployment, {MARKET: trial.protocol})
    assert await journal.head() == before
    await journal.close()
