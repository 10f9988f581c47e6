import math

import numpy as np
import pytest
from scipy.stats import t as student
from walks import bars_from, restless_returns

from models.forecaster import DAY, TAUS
from models.gates import REFERENCE, Series, breaches, buffered, judge, log_ratio, pooled_interval
from models.outcomes import Outcomes, joined, replay
from models.recording import Recording
from models.registry import load_forecaster
from models.twins import twin


def outcomes(factor: float, *, count: int = 1_500, horizon: int = DAY, blind: bool = False, seed: int = 3) -> Outcomes:
    """Student-t returns whose sd doubles and halves; said is their true tail times a factor, or blind to the sd."""
    draw = np.random.default_rng(seed)
    sd = 0.02 * 2.0 ** np.sin(np.arange(count) / 20.0)
    realised = sd * draw.standard_t(5, count)
    said = factor * (np.full(count, 0.02) if blind else sd)
    tail = student.ppf(TAUS, 5)
    shortfall = np.array([-4.4525, 4.4525])
    quantiles = said[:, None] * tail
    published = np.full((count, 2), factor * 0.02) * tail[2:4]
    ends = 1_600_041_600 + horizon * np.arange(count)
    return Outcomes(ends, realised, quantiles, said[:, None] * shortfall, published)


def series(ours: Outcomes, theirs: Outcomes, name: str = "x") -> Series:
    return Series(name, ours, {REFERENCE: theirs, "ewma-fhs": theirs})


def verdicts(gates) -> dict:
    return {gate.name: gate.passed for gate in gates}


def test_judge__true_tail_against_one_blind_to_volatility__passes_at_a_day_but_for_its_cruder_margin():
    gates = judge(DAY, [series(outcomes(1.0), outcomes(1.0, blind=True))])
    assert [gate.name for gate in gates] == ["G1", "G2", "G3", "G4", "G5", "G6", "G7", "G9", "G8"]
    passed = verdicts(gates)
    assert all(passed[name] for name in ("G1", "G2", "G3", "G4", "G5", "G6", "G7", "G9"))


def test_judge__the_other_way_round__fails_the_comparisons():
    passed = verdicts(judge(DAY, [series(outcomes(1.0, blind=True), outcomes(1.0))]))
    assert not any(passed[name] for name in ("G1", "G2", "G6", "G7", "G9"))


def test_judge__margins_too_narrow__fails_coverage():
    passed = verdicts(judge(DAY, [series(outcomes(0.6), outcomes(1.0))]))
    assert not any(passed[name] for name in ("G3", "G5", "G6", "G9"))


def test_judge__an_hour__has_the_extreme_gate_and_no_published_one():
    hourly = [outcomes(factor, horizon=3_600, count=8_000) for factor in (1.0, 1.6)]
    gates = judge(3_600, [series(*hourly)])
    assert [gate.name for gate in gates][-1] == "G10"
    assert gates[-1].passed


def test_judge__nothing__is_refused():
    with pytest.raises(ValueError, match="no series"):
        judge(DAY, [])


def test_interval__of_a_clear_difference__holds_the_ratio_and_depends_on_the_seed_only():
    found = [series(outcomes(1.0), outcomes(1.0, blind=True))]
    low, high = pooled_interval(found, 0)
    assert low < log_ratio(found[0].model, found[0].baselines[REFERENCE]) < high < 0
    assert pooled_interval(found, 0) == (low, high) != pooled_interval(found, 1)


def test_judge__every_gate__states_intervals_that_hold_its_figures():
    one, two = (series(outcomes(1.0, seed=seed), outcomes(1.0, blind=True, seed=seed), f"x{seed}") for seed in (3, 4))
    gates = {gate.name: gate for gate in judge(DAY, [one, two], draws=60)}
    assert set(gates["G2"].intervals) == {"share_better", "x3", "x4"}
    assert set(gates["G6"].intervals) == {"calm", "middling", "wild"}
    assert set(gates["G8"].intervals) == {"mean_log_ratio", "kupiec_share"}
    for gate, figure in (("G5", "rolling_error"), ("G7", "log_ratio"), ("G8", "mean_log_ratio"), ("G9", "fz0_gain")):
        low, high = gates[gate].intervals[figure]
        assert low < gates[gate].figures[figure] < high
    for name, ratio in gates["G2"].figures["series"].items():
        low, high = gates["G2"].intervals[name]
        assert low < ratio["log_ratio"] < high < 0
    assert gates["G7"].intervals["log_ratio"][1] < 0


def test_judge__other_seed__moves_the_intervals_and_not_the_figures():
    found = [series(outcomes(1.0), outcomes(1.0, blind=True))]
    one, same, other = (judge(DAY, found, seed=seed, draws=20)[4] for seed in (0, 0, 1))
    assert one == same
    assert one.figures == other.figures
    assert one.intervals != other.intervals


def test_judge__recording_of_a_few_months_beside_one_of_years__is_left_out_of_draws_without_it():
    short = outcomes(1.0, count=40)
    later = series(short.where(np.arange(40) >= 10), short, "short")
    later = Series("short", later.model, dict.fromkeys(later.baselines, later.model))
    gates = judge(DAY, [series(outcomes(1.0), outcomes(1.0, blind=True)), later], draws=60)
    low, high = gates[1].intervals["short"]
    assert low == high == 0.0


def test_log_ratio__and_breaches__are_those_of_the_definitions():
    ours = outcomes(1.0)
    assert log_ratio(ours, ours) == 0.0
    assert breaches(ours).mean(axis=0)[2:4] == pytest.approx([0.01, 0.01], abs=0.006)


def test_buffered__calm_then_stress__is_let_out_in_stress():
    margin = np.array([[0.04, 0.04]] * 50 + [[0.09, 0.09]])
    with_buffer = buffered(margin)
    assert with_buffer[10, 0] == pytest.approx(0.05)
    assert with_buffer[50, 0] == pytest.approx(0.09)


def recording(seconds: int, count: int) -> Recording:
    return Recording("x", seconds, tuple(bars_from(restless_returns(count), seconds=seconds)), "0" * 64)


def test_replay__days_of_an_hourly_stream__close_at_midnight_and_are_all_scored_once():
    source = recording(3_600, 24 * 20)
    found = replay(load_forecaster("ewma-fhs"), source, since=source.bars[48].start)
    assert set(found) == {3_600, 14_400, DAY}
    assert np.all(found[DAY].ends % DAY == 0)
    assert np.all(np.diff(found[DAY].ends) == DAY)
    assert found[3_600].ends[0] == source.bars[48].end
    assert np.all(np.diff(found[3_600].ends) == 3_600)


def test_replay__in_two_parts__joins_to_the_whole():
    source = recording(DAY, 300)
    model = load_forecaster("ewma-fhs")
    begin, middle, end = (source.bars[place].start for place in (100, 200, 299))
    whole = replay(model, source, since=begin)
    parts = [replay(model, source, since=begin, until=middle), replay(model, source, since=middle, until=end + DAY)]
    both = joined([part[DAY] for part in parts])
    assert np.array_equal(both.quantiles, whole[DAY].quantiles)


def test_twin__returns__are_scaled_mirrored_and_shifted():
    source = recording(3_600, 50)
    made = twin(source, scale=1.7, mirrored=True, shift_seconds=7_200)
    assert made.digest != source.digest
    for ours, theirs in zip(made.bars, source.bars, strict=True):
        assert ours.asset == made.asset == "x-twin"
        assert ours.start == theirs.start + 7_200
        assert math.log(ours.close / ours.open) == pytest.approx(-1.7 * math.log(theirs.close / theirs.open))
        assert math.log(ours.high / ours.low) == pytest.approx(1.7 * math.log(theirs.high / theirs.low))


@pytest.mark.parametrize(("scale", "shift"), [(0.0, 0), (1.0, 60)])
def test_twin__what_is_none__is_refused(scale, shift):
    with pytest.raises(ValueError, match="whole number of bars"):
        twin(recording(3_600, 5), scale=scale, mirrored=False, shift_seconds=shift)
