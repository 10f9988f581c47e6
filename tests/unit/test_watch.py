"""The watch names what the world did otherwise, and demands a rollback only where that does not add harm."""

from dataclasses import replace

import pytest
from builders import BLOCK, CALM_VALUES, MARKET, account, binding, guard_settings, market_state, preflight, spot, tune
from scipy.stats import binom

from chain.steward import StewardEvent
from config.schema import WatchSettings
from keeper.messages import IncidentKind, Undone
from keeper.watch import Promise, Realised, inspect, inspect_history, inspect_liquidations

DECIDED = (450, *CALM_VALUES[1:])
TIGHTER, LOOSER = (450, *CALM_VALUES[1:]), (350, *CALM_VALUES[1:])
MIXED = (450, 450, *CALM_VALUES[2:])
WITHIN, BEYOND = Realised(0.01, -0.05, 0.05), Realised(0.06, -0.05, 0.05)


def inspected(state=None, *, promise=None, quote=None, realised=(), protocol=None, doubts=2, **watch):
    rules = guard_settings(), WatchSettings(**watch)
    return inspect(state or market_state(), promise, quote, realised, protocol or binding(), *rules, doubts)


def only(incidents):
    (incident,) = incidents
    return incident


# Promises


def test_inspect__nothing_promised_and_nothing_seen__is_calm():
    assert inspected() == ()


def test_inspect__promise_kept__is_calm():
    assert inspected(promise=Promise(3, CALM_VALUES, CALM_VALUES)) == ()


def test_inspect__other_values_mined_than_decided__demands_a_rollback():
    incident = only(inspected(promise=Promise(3, DECIDED, CALM_VALUES)))
    assert (incident.kind, incident.demands_rollback) == (IncidentKind.READBACK_MISMATCH, True)
    assert (incident.promised, incident.observed) == (DECIDED, CALM_VALUES)
    assert (incident.market, incident.block) == (MARKET, BLOCK)
    assert str(DECIDED) in incident.detail
    assert str(CALM_VALUES) in incident.detail


def test_inspect__values_moved_without_a_new_version__is_a_foreign_change():
    incident = only(inspected(promise=Promise(3, DECIDED, DECIDED)))
    assert (incident.kind, incident.demands_rollback) == (IncidentKind.FOREIGN_CHANGE, False)
    assert (incident.promised, incident.observed) == (DECIDED, CALM_VALUES)


def test_inspect__wrong_values_that_were_changed_again__is_a_foreign_change_and_no_mismatch():
    incident = only(inspected(promise=Promise(3, DECIDED, (*TIGHTER[:-1], 501))))
    assert incident.kind is IncidentKind.FOREIGN_CHANGE


@pytest.mark.parametrize("sequence", [2, 4])
def test_inspect__promise_about_another_version__says_nothing_about_this_one(sequence):
    assert inspected(promise=Promise(sequence, DECIDED, DECIDED)) == ()


def test_inspect_history__nothing_foreign_and_nothing_undone__is_calm():
    assert inspect_history(market_state(), [], []) == ()


def test_inspect_history__change_of_another_keeper__is_named():
    change = StewardEvent(MARKET, 4, "0x02", CALM_VALUES, "tune", "0xfeed", 6)
    incident = only(inspect_history(market_state(), [change], []))
    assert (incident.kind, incident.demands_rollback) == (IncidentKind.FOREIGN_CHANGE, False)
    assert (incident.observed, incident.promised) == (CALM_VALUES, ())
    assert incident.detail == "version 4 was made by another keeper in 0xfeed"


def test_inspect_history__our_change_taken_back_by_a_reorganisation__is_named():
    incident = only(inspect_history(market_state(), [], [Undone(MARKET, "0x01", "0xfeed", 4)]))
    assert (incident.kind, incident.demands_rollback) == (IncidentKind.REORGED, False)
    assert incident.detail.startswith("version 4 in 0xfeed is no longer on chain")


# Oracle


def test_inspect__spot_feed_near_the_oracle__is_calm():
    assert inspected(quote=spot(4_200.0)) == ()


def test_inspect__spot_feed_far_from_the_oracle__diverged():
    incident = only(inspected(quote=spot(4_201.0)))
    assert incident.kind is IncidentKind.ORACLE_DIVERGED
    assert "feed spx says 4201, the oracle 4000" in incident.detail


@pytest.mark.parametrize(
    ("last_good", "demanded"),
    [(CALM_VALUES, False), (TIGHTER, True), (LOOSER, False), (MIXED, False)],
    ids=["live", "tighter", "looser", "mixed"],
)
def test_inspect__oracle_diverged__rolls_back_only_to_what_is_tighter(last_good, demanded):
    assert only(inspected(market_state(last_good=last_good), quote=spot(9_000.0))).demands_rollback is demanded


@pytest.mark.parametrize(("last_good", "demanded"), [(TIGHTER, False), (LOOSER, True)])
def test_inspect__parameter_that_tightens_downwards__reverses_the_comparison(last_good, demanded):
    rows = [row.model_copy(update={"tightening": "down"}) for row in binding().parameters]
    protocol = binding().model_copy(update={"parameters": rows})
    found = inspected(market_state(last_good=last_good), quote=spot(9_000.0), protocol=protocol)
    assert only(found).demands_rollback is demanded


def test_inspect__oracle_diverged_a_tick_too_short__is_told_but_not_acted_on():
    state = market_state(last_good=TIGHTER)
    assert not only(inspected(state, quote=spot(9_000.0), doubts=1)).demands_rollback
    assert only(inspected(state, quote=spot(9_000.0), doubts=2)).demands_rollback


def test_inspect__doubts_not_given__is_the_first_tick_of_doubt():
    state, rules = market_state(last_good=TIGHTER), (guard_settings(), WatchSettings(persistence_ticks=2))
    assert not only(inspect(state, None, spot(9_000.0), (), binding(), *rules)).demands_rollback


def test_inspect__without_persistence_asked_for__acts_on_the_first_divergence():
    found = inspected(market_state(last_good=TIGHTER), quote=spot(9_000.0), doubts=0, persistence_ticks=1)
    assert only(found).demands_rollback


# Realised losses


@pytest.mark.parametrize(
    ("bar", "breached"),
    [
        (Realised(0.05, -0.04, 0.05), False),
        (Realised(0.0501, -0.04, 0.05), True),
        (Realised(-0.04, -0.04, 0.05), False),
        (Realised(-0.0401, -0.04, 0.05), True),
    ],
)
def test_breached__move_past_the_margin_of_its_side__is_a_breach(bar, breached):
    assert bar.breached is breached


def test_inspect__as_many_breaches_as_chance_explains__is_calm():
    assert binom.sf(3, 50, 0.02) > 0.001
    assert inspected(realised=[WITHIN] * 46 + [BEYOND] * 4) == ()


def test_inspect__more_breaches_than_chance_explains__is_an_anomaly():
    assert binom.sf(5, 50, 0.02) < 0.001
    incident = only(inspected(realised=[WITHIN] * 44 + [BEYOND] * 6))
    assert (incident.kind, incident.demands_rollback) == (IncidentKind.MARGIN_BREACHED, False)
    assert incident.detail.startswith("6 of 50 bars left the published margin")


def test_inspect__margin_breached_while_the_last_good_was_tighter__demands_a_rollback():
    incident = only(inspected(market_state(last_good=TIGHTER), realised=[BEYOND] * 3))
    assert incident.demands_rollback


def test_inspect__chance_equal_to_the_significance__is_calm():
    chance = float(binom.sf(0, 1, 0.25))
    assert inspected(realised=[BEYOND], breach_rate=0.25, breach_significance=chance) == ()


def test_inspect__no_bars_at_all__is_calm_at_any_significance():
    assert inspected(realised=[], breach_significance=0.999) == ()
    assert inspected(realised=[WITHIN], breach_significance=0.999) == ()


def test_inspect__everything_wrong_at_once__puts_the_broken_promise_first():
    found = inspected(promise=Promise(3, DECIDED, CALM_VALUES), quote=spot(9_000.0), realised=[BEYOND] * 3)
    assert [incident.kind for incident in found] == [
        IncidentKind.READBACK_MISMATCH,
        IncidentKind.ORACLE_DIVERGED,
        IncidentKind.MARGIN_BREACHED,
    ]


# Liquidations after a change


def liquidations(before, after, shown=(), bound=0):
    simulated = preflight(tune((5, 520)), newly_liquidatable=shown)
    state = market_state(accounts=tuple(after))
    return inspect_liquidations(before, state, simulated, guard_settings(max_newly_liquidatable=bound))


def test_liquidations__nobody_hit__is_calm():
    assert liquidations([account("0xa")], [account("0xa")]) == ()


def test_liquidations__one_the_simulation_did_not_show__demands_a_rollback():
    incident = only(liquidations([account("0xa")], [account("0xa", liquidatable=True), account("0xb")]))
    assert (incident.kind, incident.demands_rollback) == (IncidentKind.UNEXPECTED_LIQUIDATIONS, True)
    assert incident.detail == "1 accounts became liquidatable that the simulation did not show: 0xa"
    assert (incident.promised, incident.observed) == ((), ())


def test_liquidations__one_the_simulation_showed__is_calm():
    assert liquidations([account("0xa")], [account("0xa", liquidatable=True)], shown=("0xa",)) == ()


def test_liquidations__one_that_was_liquidatable_before__is_calm():
    hit = account("0xa", liquidatable=True)
    assert liquidations([hit], [replace(hit, equity=1)]) == ()


def test_liquidations__surprises_at_the_bound__are_calm_and_one_more_is_not():
    after = [account(name, liquidatable=True) for name in ("0xa", "0xb")]
    assert liquidations([], after, bound=2) == ()
    assert only(liquidations([], after, bound=1)).kind is IncidentKind.UNEXPECTED_LIQUIDATIONS


def test_liquidations__many_surprises__names_the_first_five_in_order():
    after = [account(f"0x{n}", liquidatable=True) for n in range(7, 0, -1)]
    assert only(liquidations([], after)).detail.endswith("show: 0x1, 0x2, 0x3, 0x4, 0x5")
