import math
from dataclasses import replace

import pytest
from learned import small_bundle
from walks import bars_from, restless_returns

from models.baselines import EwmaFhs
from models.calibration import BOUND, ConformalTail
from models.ensemble import EnsembleForecaster
from models.forecaster import Tail
from models.gates import log_ratio
from models.outcomes import replay
from models.recording import load_recording
from models.registry import load_forecaster
from models.reversion import SHARE_ABOVE, SHARE_BELOW, Reversion

SAID = Tail((-4.0, -3.0, -2.5, 2.5, 3.0, 4.0), -3.2, 3.2)


class Delayed:
    """Answers each bar with what the inner model said one bar earlier."""

    model_id = "delayed"

    def __init__(self, inner):
        self._inner, self._previous = inner, None

    def reset(self, asset, bar_seconds):
        self._inner.reset(asset, bar_seconds)
        self._previous = None

    def update(self, bar):
        now = self._inner.update(bar)
        answer, self._previous = self._previous or now, now
        return answer


def standardised(conformal):
    return conformal.widen(SAID.quantiles, SAID.es_lower, SAID.es_upper, 1.0)


def test_conformal__breached__widens_both_sides_for_a_while_and_its_own_for_long():
    conformal = ConformalTail(1.0)
    conformal.learn(-10.0, SAID)
    at_once = standardised(conformal)
    assert at_once.quantiles[0] < SAID.quantiles[0]
    assert at_once.quantiles[3] > SAID.quantiles[3]
    for _ in range(20):
        conformal.learn(0.0, SAID)
    later = standardised(conformal)
    assert at_once.quantiles[0] < later.quantiles[0] < SAID.quantiles[0]
    assert later.quantiles[3] < SAID.quantiles[3]


def test_conformal__breached_at_every_bar__stays_within_its_bounds():
    conformal = ConformalTail(1.0)
    for _ in range(10_000):
        conformal.learn(-10.0, SAID)
    assert math.exp(BOUND) < standardised(conformal).quantiles[0] / SAID.quantiles[0] < math.exp(BOUND + 0.3)


def test_conformal__day_of_hourly_bars__counts_as_much_as_one_of_daily_bars():
    daily, hourly = ConformalTail(1), ConformalTail(24)
    daily.learn(-10.0, SAID)
    for _ in range(24):
        hourly.learn(-10.0, SAID)
    assert standardised(hourly).quantiles == pytest.approx(standardised(daily).quantiles, rel=0.05)


def test_conformal__levels_breached_as_often_as_they_claim__ends_where_it_began():
    conformal = ConformalTail(1.0)
    outcomes = [-5.0] + [-3.5] * 4 + [-2.75] * 5 + [0.0] * 980 + [2.75] * 5 + [3.5] * 4 + [5.0]
    for realised in (*outcomes, *outcomes[1:-1], outcomes[0], outcomes[-1]):
        conformal.learn(realised, SAID)
    fast = standardised(conformal).quantiles[0] / SAID.quantiles[0]
    assert fast > 1.0
    assert standardised(conformal).quantiles == pytest.approx([fast * value for value in SAID.quantiles], rel=1e-9)


def test_reversion__scale_far_from_its_slow_mean__is_pulled_a_share_of_the_way():
    reversion = Reversion(86_400)
    assert reversion.factor(0.02) == 1.0
    for _ in range(20_000):
        reversion.factor(0.02)
    assert reversion.factor(0.04) == pytest.approx(2.0**-SHARE_ABOVE, rel=1e-3)
    assert reversion.factor(0.01) == pytest.approx(2.0**SHARE_BELOW, rel=1e-3)


@pytest.mark.parametrize("name", ["ewma-fhs", "default"])
def test_forecast__one_bar_late__scores_worse(name):
    whole = load_recording("builtin:spx")
    recording = replace(whole, bars=whole.bars[1_500:3_500])
    since = recording.bars[400].start
    prompt, late = (
        replay(model, recording, since=since)[86_400]
        for model in (load_forecaster(name), Delayed(load_forecaster(name)))
    )
    assert log_ratio(late, prompt) > 0.002


def test_default_model__streams_apart__do_not_touch_each_other():
    model, bars = load_forecaster("default"), bars_from(restless_returns(90))
    model.reset("x", 86_400)
    alone = [model.update(bar) for bar in bars]
    model.reset("x", 86_400)
    model.reset("y", 86_400)
    mixed = []
    for bar in bars:
        mixed.append(model.update(bar))
        model.update(replace(bar, asset="y", close=bar.low))
    assert mixed == alone


def test_update__after_refused_bars__goes_on_unchanged():
    for model in (load_forecaster("default"), EwmaFhs()):
        bars = [replace(bar, iv=0.5 + place % 3 / 10) for place, bar in enumerate(bars_from(restless_returns(80)))]
        model.reset("x", 86_400)
        clean = [model.update(bar) for bar in bars]
        model.reset("x", 86_400)
        answers = []
        for bar in bars:
            for bad in (replace(bar, close=-1.0), replace(bar, iv=math.nan), replace(bar, seconds=60)):
                with pytest.raises(ValueError, match=r"close|iv|seconds"):
                    model.update(bad)
            answers.append(model.update(bar))
            with pytest.raises(ValueError, match="must be above the previous"):
                model.update(bar)
        assert answers == clean


def swings(count):
    """Days of an asset whose implied volatility follows a made-up walk of its own."""
    levels = [0.5 * math.exp(sum(restless_returns(count, sd=0.05, seed=3)[:place]) / 9) for place in range(count)]
    return [replace(bar, iv=level) for bar, level in zip(bars_from(restless_returns(count)), levels, strict=True)]


def test_implied__members_for_its_days__answer_daily_streams_and_no_others():
    bundle, bars = small_bundle(), swings(120)
    learned = EnsembleForecaster("m", bundle.members, bundle.implied)
    plain = EnsembleForecaster("m", bundle.members)
    for seconds, differs in ((86_400, True), (3_600, False)):
        answers = []
        for model in (learned, plain):
            model.reset("x", seconds)
            stream = [replace(bar, start=bars[0].start + at * seconds, seconds=seconds) for at, bar in enumerate(bars)]
            answers.append([model.update(bar) for bar in stream][-1])
        assert (answers[0].iv_horizons != answers[1].iv_horizons) == differs
        assert answers[0].horizons == answers[1].horizons
        for quantiles in answers[0].iv_horizons.values():
            assert list(quantiles) == sorted(quantiles)
