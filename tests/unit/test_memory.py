"""What a keeper remembers is the same whether it lived through it or read it in its journal."""

import math
from collections import deque
from dataclasses import replace

import pytest
from builders import (
    BLOCK,
    CALM_VALUES,
    MARKET,
    NOW,
    applied,
    assessment,
    market_state,
    preflight,
    spot,
    tune,
    vol,
)

from chain.steward import StewardEvent
from keeper.journal import Journal
from keeper.memory import Memory
from keeper.messages import (
    Announced,
    Approved,
    BarClosed,
    Baseline,
    Incident,
    IncidentKind,
    Lifecycle,
    NoChange,
    QuoteConfirmed,
    Undone,
    digest,
)
from keeper.propose import rollback
from keeper.watch import Promise, Realised
from models.baselines import EwmaFhs
from models.market import Auction, Bar, BlockStamp

DAY = 86_400
START = NOW - NOW % DAY
NEW_VALUES = (440, 550, 1_900, 6_000, 4_500, 500)
ASSESSED = assessment()
PROPOSAL = tune((0, 440), (1, 550), (2, 1_900), inputs=digest(ASSESSED))
APPROVED = Approved(PROPOSAL, preflight(PROPOSAL))
IDLE = NoChange(MARKET, BLOCK, "", digest(ASSESSED))
CONFIRMED = QuoteConfirmed(MARKET, spot(8_000.0), "seen elsewhere")
BASELINE = Baseline(MARKET, BLOCK, 3, CALM_VALUES, NEW_VALUES)
UNDONE = Undone(MARKET, PROPOSAL.digest, "0xfeed", 4)
EVENT = StewardEvent(MARKET, 4, PROPOSAL.digest, NEW_VALUES, "tune", "0xfeed", 9)
AUCTION = Auction(MARKET, "0xa", 9, "0xbeef")


def fresh(window: int = 250) -> Memory:
    forecaster = EwmaFhs()
    forecaster.reset(MARKET, DAY)
    return Memory(forecaster, deque(maxlen=window))


def bar(day: int, close: float) -> Bar:
    return Bar(MARKET, START + day * DAY, DAY, close, close, close, close)


def closed(day: int, close: float, published: tuple[float, float] | None = (-0.04, 0.05)) -> BarClosed:
    return BarClosed(MARKET, bar(day, close), published)


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
        "applied": memory.applied,
        "logged": memory.logged,
        "blocks": (memory.first_block, memory.seen_block),
    }


def test_memory__nothing_noted__knows_nothing():
    memory = fresh()
    assert (memory.promise, memory.forecast, memory.once_applied) == (None, None, set())
    assert (memory.bars, memory.bars_end, memory.first_block, memory.seen_block, memory.doubts) == (0,) * 5


def test_note__baseline__makes_live_and_last_good_restorable_and_promises_the_live_ones():
    memory = remembering(BASELINE)
    assert memory.once_applied == {CALM_VALUES, NEW_VALUES}
    assert memory.promise == Promise(3, CALM_VALUES, CALM_VALUES)
    assert (memory.first_block, memory.seen_block) == (BLOCK.number, BLOCK.number)


def test_note__assessment_alone__keeps_the_oracle_price_and_uses_no_quote_yet():
    memory = remembering(assessment(oracle_price=3_999.0))
    assert memory.oracle_price == 3_999.0
    assert memory.used == {}


@pytest.mark.parametrize("decision", [APPROVED, IDLE], ids=["approved", "no change"])
def test_note__decision_that_was_not_refused__used_the_quotes_of_its_assessment(decision):
    assert remembering(ASSESSED, decision).used == {"spx": spot(), "vix": vol(0.144)}


@pytest.mark.parametrize("decision", [APPROVED, IDLE], ids=["approved", "no change"])
def test_note__decision_on_another_assessment__used_none_of_these_quotes(decision):
    assert remembering(assessment(bars=7), decision).used == {}


def test_note__approved_rollback__used_no_quotes():
    undoing = rollback(market_state(last_good=NEW_VALUES), "", "0x00", NOW, 600)
    assert remembering(ASSESSED, Approved(undoing, preflight(undoing))).used == {}


def test_note__later_decision__replaces_the_quotes_of_the_earlier():
    later = assessment(spot=spot(4_100.0))
    memory = remembering(ASSESSED, IDLE, later, replace(IDLE, inputs=digest(later)))
    assert memory.used["spx"].value == 4_100.0


def test_note__quote_confirmed_by_an_operator__replaces_that_feeds_alone():
    assert remembering(ASSESSED, IDLE, CONFIRMED).used == {"spx": spot(8_000.0), "vix": vol(0.144)}


def test_note__assessment_of_an_earlier_block__does_not_unsee_blocks():
    later = replace(BLOCK, number=9)
    assert remembering(assessment(block=later), assessment()).seen_block == 9


def test_note__applied_after_its_proposal__is_a_promise_and_once_applied():
    mined = applied(PROPOSAL, values=CALM_VALUES)
    memory = remembering(PROPOSAL, mined)
    assert memory.promise == Promise(4, NEW_VALUES, CALM_VALUES)
    assert memory.once_applied == {CALM_VALUES}
    assert memory.applied == {mined.tx_hash: mined}


def test_note__applied_whose_proposal_is_not_known__keeps_the_earlier_promise():
    memory = remembering(BASELINE, applied(PROPOSAL))
    assert memory.promise == Promise(3, CALM_VALUES, CALM_VALUES)
    assert NEW_VALUES in memory.once_applied


def test_note__change_undone_by_a_reorganisation__promises_nothing_but_stays_restorable():
    memory = remembering(PROPOSAL, applied(PROPOSAL), UNDONE)
    assert (memory.promise, memory.applied) == (None, {})
    assert memory.once_applied == {NEW_VALUES}


def test_note__what_the_chain_logged__is_kept():
    assert remembering(EVENT, AUCTION).logged == {EVENT, AUCTION}


def test_note__message_of_no_consequence__changes_nothing():
    assert facts(remembering(Lifecycle("started"))) == facts(fresh())


def test_note__two_closed_bars__realise_the_log_return_between_beside_its_margin():
    memory = remembering(closed(0, 100.0), closed(1, 103.0, (-0.02, 0.01)))
    assert list(memory.realised) == [Realised(pytest.approx(math.log(1.03)), -0.02, 0.01)]
    assert (memory.bars, memory.bars_end) == (2, START + 2 * DAY)
    assert memory.forecast is not None


def test_note__bar_without_a_margin_before_it__realises_nothing():
    assert list(remembering(closed(0, 100.0), closed(1, 103.0, None)).realised) == []


def test_note__first_live_bar__realises_no_move_from_the_warm_up_which_may_be_years_older():
    memory = fresh()
    memory.warm_up([bar(-2_000, 1_000.0)])
    memory.note(closed(0, 4_000.0))
    assert list(memory.realised) == []
    assert memory.bars == 2


def test_note__more_bars_than_the_window__forgets_the_oldest():
    memory = fresh(window=2)
    for day, log_price in enumerate((0.0, 1.0, 3.0, 6.0)):
        memory.note(closed(day, math.exp(log_price)))
    assert [realised.move for realised in memory.realised] == pytest.approx([2.0, 3.0])


def test_warm_up__bars__teach_the_model_and_nothing_else():
    memory = fresh()
    memory.warm_up([bar(-2, 100.0), bar(-1, 101.0)])
    assert (memory.bars, memory.bars_end) == (2, START)
    assert memory.forecast is not None
    assert list(memory.realised) == []


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


DUE = assessment(bars=502, vol=vol(0.2), block=replace(BLOCK, number=13))
SECOND = tune((2, 1_900), inputs=digest(DUE))
JUDGED = Approved(SECOND, preflight(SECOND))
ANNOUNCED = Announced(MARKET, SECOND.digest, "0x" + "ae" * 32, NOW + 3_600, "0xa0", BLOCK, 66_000)
WAITING = assessment(bars=503, vol=vol(0.4), block=replace(BLOCK, number=14))
LATER = assessment(values=NEW_VALUES, block=replace(BLOCK, number=12), oracle_price=4_010.0, spot=spot(4_020.0))
UNDOING = rollback(market_state(last_good=NEW_VALUES), "an anomaly", "0x00", NOW, 600)
LIFE = (
    BASELINE,
    closed(0, 100.0, None),
    CONFIRMED,
    ASSESSED,
    PROPOSAL,
    APPROVED,
    applied(PROPOSAL),
    EVENT,
    AUCTION,
    closed(1, 104.0),
    closed(2, 101.0),
    CONFIRMED,
    LATER,
    replace(IDLE, inputs=digest(LATER)),
    replace(CONFIRMED, quote=vol(0.3)),
    UNDONE,
    assessment(bars=501),
    applied(PROPOSAL, tx_hash="0xbeef"),
    UNDOING,
    Approved(UNDOING, preflight(UNDOING)),
    applied(UNDOING, tx_hash="0xdead"),
    DUE,
    SECOND,
    JUDGED,
    ANNOUNCED,
    WAITING,
    replace(IDLE, inputs=digest(WAITING)),
    JUDGED,
    applied(SECOND, tx_hash="0xa1"),
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


@pytest.mark.parametrize("newest", ["approved", "no change"])
async def test_restore__decisions_of_both_sorts__uses_the_quotes_of_the_newest(tmp_path, newest):
    memory, other = fresh(), assessment(spot=spot(4_020.0))
    idle = replace(IDLE, inputs=digest(other))
    lives = {"approved": (other, idle, ASSESSED, APPROVED), "no change": (ASSESSED, APPROVED, other, idle)}
    journal = await Journal.open(f"sqlite:///{tmp_path}/keeper.db", lambda: NOW * 1000)
    for message in lives[newest]:
        await journal.append(message)
    await memory.restore(journal, MARKET)
    await journal.close()
    assert memory.used["spx"] == {"approved": ASSESSED.spot, "no change": other.spot}[newest]


async def test_restore__quote_confirmed_before_anything_else__is_used(tmp_path):
    memory = fresh()
    journal = await Journal.open(f"sqlite:///{tmp_path}/keeper.db", lambda: NOW * 1000)
    await journal.append(CONFIRMED)
    await memory.restore(journal, MARKET)
    await journal.close()
    assert memory.used == {"spx": CONFIRMED.quote}


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
