"""The acts: what happens in each, what must be true afterwards, and where that is read."""

from __future__ import annotations

import signal
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from keeper.audit import audit
from keeper.demo.report import Act
from keeper.demo.world import MARKET
from keeper.journal import EntryKind
from keeper.messages import IncidentKind, Reason
from keeper.verify import Agreement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chain.steward import StewardEvent
    from keeper.daemon import Keeper
    from keeper.demo.story import Story
    from models.market import Bar

CALM_DAYS = 5
SPIKE_DAY = "2018-02-05"
"""S&P 500 -4.1 %, VIX from 17.3 to 37.3: its largest relative rise in a day on record until then."""

PATIENCE_DAYS = 8
"""Recorded days an act may wait for a change to fall due."""

EXIT_REFUSED = 3


async def calm(story: Story, keeper: Keeper) -> Act:
    """(a) A calm market: every day is decided, nothing is sent."""
    before, rows = await story.world.parameters(), len(await story.rows(EntryKind.NO_CHANGE))
    for _ in range(CALM_DAYS):
        await story.live(keeper, next(story.days))
    after, decided = await story.world.parameters(), len(await story.rows(EntryKind.NO_CHANGE)) - rows
    sent = await story.world.nonce()
    return await _act(
        story,
        "calm market, no change",
        f"{CALM_DAYS} decisions journalled, 0 transactions, parameters as deployed",
        f"{decided} decisions journalled, {sent} transactions, {story.world.difference(before, after)}",
        decided == CALM_DAYS and sent == 0 and before == after,
        [],
    )


async def spike(story: Story, keeper: Keeper) -> Act:
    """(b) The recorded spike: both groups are tightened whole, and the tightening ramps for open positions."""
    before = await story.world.parameters()
    seen = len(await story.world.changes())
    await _until(story, keeper, SPIKE_DAY)
    eve = await story.world.parameters()
    await story.live(keeper, next(story.days))
    ramp = [await story.world.effective()]
    for _ in range(2):
        await story.world.pass_time(story.world.ramp_seconds // 2 + 1)
        ramp.append(await story.world.effective())
    after = await story.world.parameters()
    new = (await story.world.changes())[seen:]
    tightened = [index for index in story.world.tunable if after[index] > eve[index]]
    ramped = [i for i in tightened if eve[i] <= ramp[0][i] < ramp[1][i] < ramp[2][i] == after[i]]
    whole = [await _moves_whole_groups(story, event) for event in new]
    promised = [await _journalled_values(story, event) == event.values for event in new]
    return await _act(
        story,
        "recorded volatility spike, tightened",
        "on the spike day the parameters that the keeper tunes (all but liquidation_penalty) tighten in one "
        "transaction, both groups whole, and reach open positions over the ramp; every change on chain is a journalled "
        "proposal of whole groups",
        f"{len(new)} changes, {sum(promised)} as journalled, {sum(whole)} of whole groups; "
        f"on the spike day {story.world.difference(eve, after)}; "
        f"in force for open positions at once, half-way and at the end of the ramp: "
        f"{'; '.join(story.world.difference(eve, values) for values in ramp)}",
        bool(new)
        and all(promised)
        and new[-1].values == after
        and all(whole)
        and tightened == ramped == list(story.world.tunable)
        and all(a >= b for a, b in zip(after, before, strict=True)),
        [event.tx_hash for event in new],
    )


async def poisoned_feed(story: Story, keeper: Keeper) -> Act:
    """(c) The volatility feed says ten times the truth: refused, and the model never hears of it."""
    before, seen = await story.world.parameters(), await story.world.nonce()
    await story.live(keeper, next(story.days), vol_factor=10.0)
    reason = await _last_refusal(story)
    learnt = (await story.rows(EntryKind.BAR_CLOSED))[-1].body["bar"]["iv"]
    after, sent = await story.world.parameters(), await story.world.nonce() - seen
    return await _act(
        story,
        "one feed poisoned x10, refused",
        f"refused with {Reason.FEED_JUMPED.value}, 0 transactions, the poisoned value kept from the model",
        f"refused with {reason}, {sent} transactions, the model was told {'nothing' if learnt is None else learnt}",
        reason == Reason.FEED_JUMPED and sent == 0 and before == after and learnt is None,
        [],
    )


async def broken_model(story: Story, keeper: Keeper) -> Act:
    """(d) A model that answers NaN, then one far out of the corridor: both refused."""
    before, seen = await story.world.parameters(), await story.world.nonce()
    reasons = []
    for fault in ("nan", "wild"):
        story.forecaster.fault = fault
        await story.live(keeper, next(story.days))
        reasons.append(await _last_refusal(story))
    story.forecaster.fault = ""
    after, sent = await story.world.parameters(), await story.world.nonce() - seen
    wanted = [Reason.MODEL_NOT_FINITE.value, Reason.OUTSIDE_CORRIDOR.value]
    return await _act(
        story,
        "model returns NaN, then a wild value, refused",
        f"refused with {wanted[0]}, then {wanted[1]}, 0 transactions",
        f"refused with {reasons[0]}, then {reasons[1]}, {sent} transactions",
        reasons == wanted and sent == 0 and before == after,
        [],
    )


async def wrong_value(story: Story, keeper: Keeper) -> Act:
    """(e) A wrong value reaches the chain (injected after the guard): noticed, and rolled back in one transaction."""
    assert story.executor is not None
    story.executor.armed = True
    known = len(await story.rows(EntryKind.INCIDENT))
    for _ in range(PATIENCE_DAYS):
        before, seen = await story.world.parameters(), len(await story.world.changes())
        await story.live(keeper, next(story.days))
        if len(await story.world.changes()) > seen:
            break
    after, new = await story.world.parameters(), (await story.world.changes())[seen:]
    incidents = [row.body["kind"] for row in (await story.rows(EntryKind.INCIDENT))[known:]]
    approved = await _journalled_values(story, new[0]) if new else None
    kinds = [event.kind for event in new]
    return await _act(
        story,
        "wrong value slips through, rolled back",
        f"one change other than approved, incident {IncidentKind.READBACK_MISMATCH.value}, "
        "one rollback to the values before",
        f"{' then '.join(kinds)}; approved {approved}, written {new[0].values if new else None}; "
        f"incidents {', '.join(incidents)}; then against before: {story.world.difference(before, after)}",
        kinds == ["tune", "rollback"]
        and approved != new[0].values
        and incidents == [IncidentKind.READBACK_MISMATCH.value]
        and after == before == new[1].values,
        [event.tx_hash for event in new],
    )


async def killed_between(story: Story) -> Act:
    """(f) The process is killed between journal and broadcast; the next one lands the change exactly once."""
    code = 0
    for _ in range(PATIENCE_DAYS):
        bar = next(story.days)
        await story.world.begin_day(bar)
        await story.world.publish_day(bar)
        seen, nonce = len(await story.world.changes()), await story.world.nonce()
        attempts = len(await story.rows(EntryKind.ATTEMPT))
        code = await story.run_keeper("keeper.demo.faults", str(story.world.config))
        await story.note(bar, f"keeper exits with {code}" if code >= 0 else f"keeper killed by signal {-code}")
        if code == -signal.SIGKILL:
            break
    unsent = len(await story.world.changes()) - seen
    signed = (await story.rows(EntryKind.ATTEMPT))[attempts:]
    again = [await story.run_keeper("keeper", "once", "--config", str(story.world.config)) for _ in range(2)]
    await story.note(bar, f"keeper restarted twice, exits {again}")
    new, spent = (await story.world.changes())[seen:], await story.world.nonce() - nonce
    digest = signed[0].key if signed else ""
    applied = [row for row in await story.rows(EntryKind.APPLIED) if row.key == digest]
    total = len(await story.rows(EntryKind.ATTEMPT)) - attempts
    return await _act(
        story,
        "killed between journal and broadcast, lands once",
        "killed by signal 9 with 1 attempt journalled and 0 changes on chain; "
        "after two restarts 1 change, 1 applied row, 1 nonce, no second attempt",
        f"exit {code}, {len(signed)} attempts journalled, {unsent} changes on chain; "
        f"after two restarts {len(new)} changes, {len(applied)} applied rows, {spent} nonces, {total} attempts",
        code == -signal.SIGKILL
        and unsent == 0
        and [event.digest for event in new] == [digest]
        and (len(signed), len(applied), spent, total) == (1, 1, 1, 1)
        and all(exit_code in {0, EXIT_REFUSED} for exit_code in again),
        [event.tx_hash for event in new],
    )


async def agreement(story: Story) -> Act:
    """(g) At the end the journal's chain of hashes holds, and journal and chain tell the same history."""
    world = story.world
    report = await audit(world.settings, world.deployment, {MARKET: world.protocol})
    changes = await story.world.changes()
    return await _act(
        story,
        "journal and chain agree",
        f"unbroken chain of hashes, {len(changes)} changes on chain, each with its row",
        report.sentence(),
        report.ok and report.chain == Agreement(own=len(changes), foreign=0, before=0),
        [],
    )


async def _until(story: Story, keeper: Keeper, day: str) -> None:
    """Live the recorded days before `day`."""
    while _date(story.days.peek()) < day:
        await story.live(keeper, next(story.days))


def _date(bar: Bar) -> str:
    return datetime.fromtimestamp(bar.start, UTC).date().isoformat()


async def _last_refusal(story: Story) -> str:
    """Return the reason of the newest refusal in the journal, empty if the newest decision was none."""
    async with story.journal() as journal:
        refusals = await journal.find(kind=EntryKind.REJECTED)
        newest, _ = await journal.head()
    return refusals[-1].body["reason"] if refusals and refusals[-1].id == newest else ""


async def _moves_whole_groups(story: Story, event: StewardEvent) -> bool:
    """Say whether the journalled proposal of an event names no parameter without the rest of its group."""
    rows = [row for row in await story.rows(EntryKind.PROPOSAL) if row.key == event.digest]
    named = {change["id"] for row in rows for change in row.body["changes"]}
    return bool(named) and all(set(story.world.protocol.group_of(index)) <= named for index in named)


async def _journalled_values(story: Story, event: StewardEvent) -> tuple[int, ...] | None:
    """Return the values of the journalled proposal that an event on chain names."""
    rows = [row for row in await story.rows(EntryKind.PROPOSAL) if row.key == event.digest]
    if not rows:
        return None
    values = list(rows[0].body["current"])
    for change in rows[0].body["changes"]:
        values[change["id"]] = change["value"]
    return tuple(values)


async def _act(story: Story, name: str, expected: str, read: str, holds: object, transactions: Sequence[str]) -> Act:
    gas = await story.world.gas_of(transactions)
    return Act(name, bool(holds), expected, read, tuple(transactions), gas)
