"""What a keeper remembers is the same whether it lived through it or read it in its journal."""

from collections import deque
from dataclasses import replace

import pytest
from builders import BLOCK, CALM_VALUES, MARKET, NOW, applied, assessment, binding, preflight, spot, tune, vol

from chain.steward import StewardEvent
from keeper.journal import Journal
from keeper.memory import Memory
from keeper.messages import (
    Approved,
    Attempt,
    BarClosed,
    Baseline,
    Incident,
    IncidentKind,
    NoChange,
    ProposalKind,
)
from keeper.watch import Promise, Realised
from models.baselines import EwmaFhs
from models.market import Auction, Bar, BlockStamp

DAY = 86_400
START = NOW - NOW % DAY
NEW_VALUES = (440, 550, 1_900, 6_000, 4_500, 500)
PROPOSAL = tune((0, 440), (1, 550), (2, 1_900))
BASELINE = Baseline(MARKET, BLOCK, 3, CALM_VALUES, NEW_VALUES)
ATTEMPT = Attempt(MARKET, PROPOSAL.digest, ProposalKind.TUNE, 31_337, "0xs", "0xt", 4, "0xfeed", "0x02", NOW + 600)
EVENT = StewardEvent(MARKET, 4, PROPOSAL.digest, NEW_VALUES, "tune", "0xfeed", 9)
AUCTION = Auction(MARKET, "0xa", 9, "0xbeef")


def fresh(window: int = 250) -> Memory:
    forecaster = EwmaFhs()
    forecaster.reset(MARKET, DAY)
    return Memory(binding(), forecaster, deque(maxlen=window))


def bar(day: int, close: float) -> Bar:
    return Bar(MARKET, START + day * DAY, DAY, close, close, close, close)


def closed(day: int, close: float, up: float | None = 0.04, down: float | None = 0.05) -> BarClosed:
    return BarClosed(MARKET, bar(day, close), up, down)


def remembering(*messages) -> Memory:
    memory = fresh()
    for message in messages:
        memory.note(message)
    return memory


def facts(memory: Memory) -> dict:
    """All that later decisions read."""
    return {
        "used": memory.used,
        "oracle_price": memory.oracle_price,
        "once_applied": memory.once_applied,
        "promise": memory.promise,
        "forecast": memory.forecast,
        "bars": (memory.bars, memory.bars_end),
        "realised": list(memory.realised),
        "shocks": memory.shocks,
        "ours": memory.ours,
        "logged": memory.logged,
        "seen_block": memory.seen_block,
    }


def test_memory__nothing_noted__knows_nothing():
    memory = fresh()
    assert memory.shocks == (None, None)
    assert (memory.promise, memory.forecast, memory.bars, memory.once_applied) == (None, None, 0, set())


def test_note__baseline__makes_live_and_last_good_restorable_and_promises_the_live_ones():
    memory = remembering(BASELINE)
    assert memory.once_applied == {CALM_VALUES, NEW_VALUES}
    assert memory.promise == Promise(3, CALM_VALUES, CALM_VALUES)
    assert memory.shocks == (0.04, 0.05)
    assert memory.seen_block == BLOCK.number


def test_note__assessment__keeps_quotes_oracle_price_and_values():
    memory = remembering(assessment(values=NEW_VALUES, oracle_price=3_999.0))
    assert memory.used == {"spx": spot(), "vix": vol(0.144)}
    assert memory.oracle_price == 3_999.0
    assert memory.shocks == (0.044, 0.055)


def test_note__later_assessment__replaces_the_quotes_of_the_earlier():
    memory = remembering(assessment(), assessment(spot=spot(4_100.0)))
    assert memory.used["spx"].value == 4_100.0


def test_note__assessment_of_an_earlier_block__does_not_unsee_blocks():
    later = replace(BLOCK, number=9)
    assert remembering(assessment(block=later), assessment()).seen_block == 9


def test_note__applied_after_its_proposal__is_a_promise_and_once_applied():
    memory = remembering(PROPOSAL, applied(PROPOSAL, values=CALM_VALUES))
    assert memory.promise == Promise(4, NEW_VALUES, CALM_VALUES)
    assert memory.once_applied == {CALM_VALUES}


def test_note__applied_whose_proposal_is_not_known__keeps_the_earlier_promise():
    memory = remembering(BASELINE, applied(PROPOSAL))
    assert memory.promise == Promise(3, CALM_VALUES, CALM_VALUES)
    assert NEW_VALUES in memory.once_applied


@pytest.mark.parametrize("message", [Approved(PROPOSAL, preflight(PROPOSAL)), ATTEMPT])
def test_note__approved_or_attempted__is_ours(message):
    assert remembering(message).ours == {PROPOSAL.digest}


def test_note__what_the_chain_logged__is_kept():
    assert remembering(EVENT, AUCTION).logged == {EVENT, AUCTION}


def test_note__message_of_no_consequence__changes_nothing():
    assert facts(remembering(NoChange(MARKET, BLOCK, "", ""))) == facts(fresh())


def test_note__two_closed_bars__realise_the_move_between_beside_its_shocks():
    memory = remembering(closed(0, 100.0), closed(1, 103.0, 0.02, None))
    assert list(memory.realised) == [Realised(pytest.approx(0.03), 0.02, None)]
    assert (memory.bars, memory.bars_end) == (2, START + 2 * DAY)
    assert memory.forecast is not None


def test_note__first_live_bar__realises_no_move_from_the_warm_up_which_may_be_years_older():
    memory = fresh()
    memory.warm_up([bar(-2_000, 1_000.0)])
    memory.note(closed(0, 4_000.0))
    assert list(memory.realised) == []
    assert memory.bars == 2


def test_note__more_bars_than_the_window__forgets_the_oldest():
    memory = fresh(window=2)
    for day, price in enumerate((100.0, 110.0, 121.0, 121.0)):
        memory.note(closed(day, price))
    assert [round(realised.move, 9) for realised in memory.realised] == [0.1, 0.0]


def test_warm_up__bars__teach_the_model_and_nothing_else():
    memory = fresh()
    memory.warm_up([bar(-2, 100.0), bar(-1, 101.0)])
    assert (memory.bars, memory.bars_end) == (2, START)
    assert memory.forecast is not None
    assert memory.shocks == (None, None)


def incident(kind=IncidentKind.FOREIGN_CHANGE, **changes) -> Incident:
    return replace(Incident(MARKET, kind, "a", BLOCK, demands_rollback=False), **changes)


def test_news__incident_that_lasts__is_told_once():
    memory = fresh()
    assert memory.news([incident()]) == [incident()]
    assert memory.news([incident(detail="b", block=BlockStamp(8, "0x", NOW))]) == []


def test_news__incident_that_went_and_came_back__is_told_again():
    memory = fresh()
    memory.news([incident()])
    assert memory.news([]) == []
    assert memory.news([incident()]) == [incident()]


@pytest.mark.parametrize(
    "other", [incident(IncidentKind.ORACLE_DIVERGED), incident(promised=(1,)), incident(observed=(1,))]
)
def test_news__incident_of_another_sort__is_told_beside_the_lasting_one(other):
    memory = fresh()
    memory.news([incident()])
    assert memory.news([incident(), other]) == [other]


LIFE = (
    BASELINE,
    closed(0, 100.0),
    assessment(),
    PROPOSAL,
    ATTEMPT,
    applied(PROPOSAL),
    EVENT,
    AUCTION,
    closed(1, 104.0),
    closed(2, 101.0),
    assessment(values=NEW_VALUES, block=replace(BLOCK, number=12), oracle_price=4_010.0),
    tune((5, 520), sequence=5),
)


@pytest.mark.parametrize("length", range(len(LIFE) + 1))
async def test_restore__killed_at_any_moment__remembers_what_it_lived_through(tmp_path, length):
    lived, restored = fresh(), fresh()
    warm_up = [bar(day, 90.0 + day % 3) for day in range(-30, 0)]
    journal = await Journal.open(f"sqlite:///{tmp_path}/keeper.db", lambda: NOW * 1000)
    lived.warm_up(warm_up)
    for message in LIFE[:length]:
        await journal.append(message)
        lived.note(message)
    restored.warm_up(warm_up)
    await restored.restore(journal, MARKET)
    await journal.close()
    assert facts(restored) == facts(lived)


async def test_restore__journal_of_another_market__is_none_of_ours(tmp_path):
    memory = fresh()
    journal = await Journal.open(f"sqlite:///{tmp_path}/keeper.db", lambda: NOW * 1000)
    for message in LIFE:
        await journal.append(message)
    await memory.restore(journal, "ETH")
    await journal.close()
    assert facts(memory) == facts(fresh())


async def test_restore__several_changes__recalls_the_promise_of_the_newest(tmp_path):
    memory = fresh()
    second = tune((5, 520), sequence=5, current=NEW_VALUES)
    journal = await Journal.open(f"sqlite:///{tmp_path}/keeper.db", lambda: NOW * 1000)
    for message in (BASELINE, PROPOSAL, applied(PROPOSAL), second, applied(second)):
        await journal.append(message)
    await memory.restore(journal, MARKET)
    await journal.close()
    assert memory.promise == Promise(5, second.values, second.values)
    assert memory.once_applied == {CALM_VALUES, NEW_VALUES, second.values}
