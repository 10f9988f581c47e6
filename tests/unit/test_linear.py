import math
from dataclasses import replace

import pytest
from walks import bars_from, restless_returns

from models.baselines import EwmaFhs
from models.calibration import BOUND, ConformalTail
from models.features import FEATURES
from models.forecaster import TAUS
from models.linear import Head, LinearForecaster, choose_head
from models.recording import load_recording
from models.registry import DEFAULT, load, load_forecaster
from models.scoring import SCORED, pinball, score

NOTHING = (0.0,) * len(FEATURES)
PLAIN = Head(86_400, True, NOTHING, NOTHING, (1.0,) * len(FEATURES), (-4.0, -3.0, -2.5, 2.5, 3.0, 4.0), -3.2, 3.2)


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


def test_multiplier__huge_weights__stays_within_its_bound():
    wild = replace(PLAIN, weights=(100.0,) * len(FEATURES))
    assert wild.multiplier((4.0,) * len(FEATURES)) == pytest.approx(math.exp(1.2))
    assert wild.multiplier((-4.0,) * len(FEATURES)) == pytest.approx(math.exp(-1.2))
    assert wild.multiplier((4.0,) * len(FEATURES), trust=0.0) == 1.0


def test_choose_head__same_kind_of_bars__wins_over_the_same_horizon():
    hourly = replace(PLAIN, daily_bars=False, horizon=14_400, weights=(1.0,) * len(FEATURES))
    assert choose_head([PLAIN, hourly], 3_600, 86_400) is hourly
    assert choose_head([PLAIN, hourly], 86_400, 86_400) is PLAIN


def test_choose_head__only_the_other_kind_of_bars__lends_its_shape_without_its_weights():
    trained = replace(PLAIN, weights=(1.0,) * len(FEATURES))
    borrowed = choose_head([trained], 3_600, 3_600)
    assert borrowed.weights == NOTHING
    assert borrowed.quantiles == trained.quantiles


def test_conformal__breached_and_held__moves_only_its_side_and_returns_to_rest():
    conformal = ConformalTail(1.0)
    said = standardised(conformal)
    conformal.learn(-10.0, said)
    widened = standardised(conformal)
    assert widened.quantiles[0] < said.quantiles[0]
    assert widened.quantiles[3] < said.quantiles[3]
    for _ in range(100_000):
        conformal.learn(-10.0, said)
    assert standardised(conformal).quantiles[0] == pytest.approx(said.quantiles[0] * math.exp(BOUND))


def standardised(conformal: ConformalTail):
    return conformal.widen(PLAIN.quantiles, PLAIN.es_lower, PLAIN.es_upper, 1.0)


def test_conformal__levels_breached_as_often_as_they_claim__ends_where_it_began():
    conformal, said = ConformalTail(1.0), PLAIN
    outcomes = [-5.0] + [-3.5] * 4 + [-2.75] * 5 + [0.0] * 980 + [2.75] * 5 + [3.5] * 4 + [5.0]
    for realised in outcomes:
        conformal.learn(realised, said)
    assert standardised(conformal).quantiles == pytest.approx(PLAIN.quantiles, rel=1e-9)


def test_pinball__hand_computed__matches():
    assert pinball(-0.05, -0.03, 0.01) == pytest.approx(0.99 * 0.02)
    assert pinball(0.02, -0.03, 0.01) == pytest.approx(0.01 * 0.05)
    assert [TAUS[place] for place in SCORED] == [0.005, 0.01, 0.99, 0.995]


@pytest.mark.parametrize("name", ["ewma-fhs", "default"])
def test_forecast__one_bar_late__scores_worse(name):
    recording = load_recording("builtin:spx")
    since = recording.bars[1_000].start
    prompt = score(load_forecaster(name), recording, since=since)[86_400].mean_loss()
    late = score(Delayed(load_forecaster(name)), recording, since=since)[86_400].mean_loss()
    assert late > 1.002 * prompt


def test_linear__without_weights_on_normal_history__scales_its_frozen_shape():
    model = LinearForecaster("m", [PLAIN])
    model.reset("x", 86_400)
    tail = [model.update(bar) for bar in bars_from(restless_returns(120))][-1].horizons[86_400]
    assert tail.quantiles[0] / tail.quantiles[2] == pytest.approx(4.0 / 2.5)
    assert tail.es_upper / tail.quantiles[3] == pytest.approx(3.2 / 2.5)


def test_linear__no_heads__is_refused():
    with pytest.raises(ValueError, match="at least one head"):
        LinearForecaster("m", [])


def test_default_model__feature_that_was_constant_in_training__cannot_move_the_scale():
    head = load(DEFAULT).heads[0]
    assert min(head.sds) >= 0.25
    season = FEATURES.index("season")
    strange = [*head.means[:season], 4.0, *head.means[season + 1 :]]
    assert head.multiplier(strange) == head.multiplier(head.means) == 1.0


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
        bars = bars_from(restless_returns(80))
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
