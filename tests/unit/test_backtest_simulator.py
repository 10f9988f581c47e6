from dataclasses import replace
from itertools import pairwise

from backtests import FIRST, HOUR, Told, bars, rules, simulation

from config.load import PACKAGE
from keeper.backtest.track import Done
from keeper.messages import Reason
from keeper.propose import Stay
from models.baselines import EwmaFhs
from models.forecaster import DAY

UP, DOWN, VOL, MAINTENANCE, LIQUIDATION, PENALTY = range(6)


def codes(track, index):
    return [decision.codes[index] for decision in track.decisions]


def test_simulation__same_seed__decides_the_same(tmp_path):
    rows = bars(200)
    first, second = (simulation(rules(tmp_path), EwmaFhs()).run(rows) for _ in range(2))
    assert first.decisions == second.decisions
    assert first.moves == second.moves
    assert first.totals == second.totals


def test_simulation__another_seed__has_another_book(tmp_path):
    rows = bars(200)
    first, second = (simulation(rules(tmp_path), EwmaFhs(), seed=seed).run(rows) for seed in (0, 1))
    assert first.totals.locked != second.totals.locked


def test_simulation__every_decision__has_one_code_a_parameter(tmp_path):
    track = simulation(rules(tmp_path), EwmaFhs()).run(bars(200))
    assert {len(decision.codes) for decision in track.decisions} == {6}
    assert all(isinstance(code, Done | Stay | Reason) for decision in track.decisions for code in decision.codes)
    assert set(codes(track, PENALTY)) == {Stay.NOT_TUNED}
    assert len(track.decisions) == len(track.totals.locked) == len(track.shocks)


def test_simulation__a_code_says_applied__exactly_where_the_value_moved(tmp_path):
    track = simulation(rules(tmp_path), Told(((0, 0.006), (60, 0.02)))).run(bars(120))
    before = track.initial
    moved = 0
    for decision in track.decisions:
        for index in range(6):
            assert (decision.values[index] != before[index]) == (decision.codes[index] is Done.APPLIED)
            moved += decision.values[index] != before[index]
        before = decision.values
    assert moved > 5


def test_simulation__data_cut__leaves_every_earlier_decision(tmp_path):
    rows = bars(220)
    whole = simulation(rules(tmp_path), EwmaFhs()).run(rows)
    for kept in (41, 42, 90, 150, 219):
        cut = simulation(rules(tmp_path), EwmaFhs()).run(rows[:kept])
        assert cut.decisions == whole.decisions[: len(cut.decisions)]


def test_simulation__tail_that_grows__tightens_by_steps_a_cooldown_apart(tmp_path):
    obeyed = rules(tmp_path, max_newly_liquidatable="24")
    track = simulation(obeyed, Told(((0, 0.008), (60, 0.045))), at=34 * 4, seconds=HOUR * 6).run(
        bars(80 * 4, HOUR * 6, sd=0.002)
    )
    ups = [move for move in track.moves if move.after[UP] != move.before[UP]]
    assert all(0 < move.after[UP] - move.before[UP] <= 200 for move in ups)
    assert all(later.at - earlier.at >= 43_200 for earlier, later in pairwise(ups))
    assert Stay.COOLING_DOWN in codes(track, UP)
    assert Stay.DRIFT_EXHAUSTED in codes(track, UP)


def test_simulation__change_that_would_liquidate__is_refused_and_not_made(tmp_path):
    rows = bars(90, sd=0.001)
    strict = simulation(rules(tmp_path), Told(((0, 0.006), (50, 0.03)))).run(rows)
    loose = simulation(rules(tmp_path, max_newly_liquidatable="24"), Told(((0, 0.006), (50, 0.03)))).run(rows)
    assert Reason.IMPACT_TOO_LARGE in codes(strict, UP)
    assert all(move.hit == 0 for move in strict.moves)
    assert sum(move.hit for move in loose.moves) > 0
    assert loose.losses.liquidations > strict.losses.liquidations


def test_simulation__keep_still__changes_nothing_and_says_so(tmp_path):
    obeyed = rules(tmp_path)
    run = simulation(obeyed, EwmaFhs())
    still = type(run)(obeyed, EwmaFhs(), run._book._shape, run._start, "unchanged", keep_still=True).run(bars(100))
    assert still.moves == []
    assert {code for decision in still.decisions for code in decision.codes} == {Done.STATIC}
    assert len({decision.values for decision in still.decisions}) == 1


def test_simulation__weekend_without_quotes__is_one_stale_decision_and_then_goes_on(tmp_path):
    rows = [bar for bar in bars(80) if not 60 <= (bar.start - FIRST) // DAY < 63]
    track = simulation(rules(tmp_path), EwmaFhs()).run(rows)
    stale = [decision for decision in track.decisions if Reason.STALE_FEED in decision.codes]
    assert [decision.at for decision in stale] == [FIRST + 60 * DAY + 90_001]
    assert Reason.STALE_FEED not in track.decisions[-1].codes


def test_simulation__price_that_jumps_and_stays__is_refused_once_and_then_confirmed(tmp_path):
    rows = bars(80)
    jumped = [
        replace(bar, open=2 * bar.open, high=2 * bar.high, low=2 * bar.low, close=2 * bar.close)
        if bar.start >= FIRST + 60 * DAY
        else bar
        for bar in rows
    ]
    track = simulation(rules(tmp_path), EwmaFhs()).run(jumped)
    refused = [decision.at for decision in track.decisions if Reason.FEED_JUMPED in decision.codes]
    assert refused == [FIRST + 61 * DAY]
    assert track.confirmed == 1


def test_simulation__no_volatility_in_a_bar__is_refused_as_stale_when_it_lasts(tmp_path):
    rows = [replace(bar, iv=None) if bar.start >= FIRST + 60 * DAY else bar for bar in bars(80)]
    track = simulation(rules(tmp_path), EwmaFhs()).run(rows)
    assert track.decisions[-1].codes == (Reason.STALE_FEED,) * 6
    assert "feed vix" in track.decisions[-1].detail


def test_simulation__notice__is_announced_then_made_when_it_is_over(tmp_path):
    text = (PACKAGE / "policies" / "options_market.toml").read_text()
    policies = tmp_path / "policies.toml"
    policies.write_text(text.replace("cooldown_seconds = 43_200", "cooldown_seconds = 43_200\nnotice_seconds = 7_200"))
    obeyed = rules(tmp_path, policies, max_newly_liquidatable="24", deadline_seconds="4000")
    track = simulation(obeyed, Told(((0, 0.008), (60, 0.02)))).run(bars(70, sd=0.002))
    announced = [decision for decision in track.decisions if Done.ANNOUNCED in decision.codes]
    tightened = [move for move in track.moves if move.kind == "tune" and move.after[UP] > move.before[UP]]
    assert announced
    assert tightened
    told = [move.at for move in track.moves if move.kind == "announced"]
    assert all(any(move.at == at + 7_200 + 12 for at in told) for move in tightened)


def test_simulation__hourly_recording_for_a_daily_model__gives_it_days(tmp_path):
    forecaster = Told()
    rows = bars(24 * 45, HOUR)
    simulation(rules(tmp_path), forecaster).run(rows)
    assert len(forecaster.taken) == 45
    day = forecaster.taken[3]
    part = rows[72:96]
    assert (day.start, day.seconds, day.open, day.close) == (part[0].start, DAY, part[0].open, part[-1].close)
    assert (day.high, day.low, day.iv) == (max(b.high for b in part), min(b.low for b in part), part[-1].iv)
