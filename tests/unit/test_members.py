import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from learned import made_rows, small_bundle
from walks import bars_from, restless_returns

from models.ensemble import EnsembleForecaster
from models.fitting import _Batches, _centre, _descend, _Module, fit_log_linear, fit_network, fit_trees, shape_of
from models.forecaster import Tail
from models.inputs import INPUTS, MIRROR_SIGNS, Inputs
from models.members import BoostedTrees, LogLinear, Network, choose_members, geometric_mean
from models.steps import Steps
from models.volume import VolumeRatios

DAYS = small_bundle().members[:3]
NOTHING = (0.0,) * len(INPUTS)


def at(first: float) -> tuple[float, ...]:
    return (first, *[0.0] * 2, 0.5, *[0.0] * (len(INPUTS) - 4))


@pytest.mark.parametrize("member", DAYS, ids=lambda member: type(member).__name__)
def test_member__scale_that_depends_on_an_input__has_learned_it(member):
    calm, wild = (member.tail(at(value), 86_400, 1.0).quantiles[2] for value in (-0.7, 0.7))
    assert wild / calm == pytest.approx(math.exp(0.7), rel=0.25)


@pytest.mark.parametrize("member", DAYS, ids=lambda member: type(member).__name__)
def test_member__no_trust__gives_its_shape_whatever_the_inputs_say(member):
    assert member.tail(at(4.0), 86_400, 0.0) == member.tail(at(-4.0), 86_400, 0.0)


@pytest.mark.parametrize("member", DAYS, ids=lambda member: type(member).__name__)
@pytest.mark.parametrize("extreme", [-4.0, 4.0])
def test_member__extreme_inputs__stays_bounded_monotone_and_on_its_side_of_zero(member, extreme):
    plain = member.tail(NOTHING, 86_400, 0.0)
    tail = member.tail((extreme,) * len(INPUTS), 86_400, 1.0)
    assert list(tail.quantiles) == sorted(tail.quantiles)
    assert tail.es_lower < tail.quantiles[2] < 0 < tail.quantiles[3] < tail.es_upper
    for ours, usual in zip(tail.quantiles, plain.quantiles, strict=True):
        assert math.exp(-1.61) < ours / usual < math.exp(1.61)


@pytest.mark.parametrize("member", DAYS, ids=lambda member: type(member).__name__)
def test_member__input_that_was_constant_in_training__hardly_moves_the_scale(member):
    strange = [*at(0.0)]
    strange[3] = 0.75
    usual, moved = (member.tail(tuple(vector), 86_400, 1.0) for vector in (at(0.0), strange))
    assert moved.quantiles[0] == pytest.approx(usual.quantiles[0], rel=0.2)


def test_fit__same_rows_and_seed__gives_the_same_member():
    rows, heard = made_rows(1_500), []
    for fit in (
        lambda seed: fit_trees(rows, daily_bars=True, horizon=86_400, seed=seed),
        lambda seed: fit_network({86_400: rows}, daily_bars=True, serves=(86_400,), seed=seed, heard=heard.append),
        lambda _: fit_log_linear(rows, daily_bars=True, horizon=86_400),
    ):
        assert fit(3) == fit(3)


def test_network__forecast_without_torch__agrees_with_the_module_it_was_trained_as():
    rows = made_rows(1_500).mirrored()
    means, sds = _centre(rows.inputs)
    torch.manual_seed(1)
    batches = _Batches([rows, rows], means, sds)
    module = _Module(batches.train[0].shape[1], [shape_of(rows.z)] * 2)
    _descend(module, batches, lambda _: None)
    frozen = module.frozen(False, (3_600, 86_400), (3_600, 86_400), tuple(means), tuple(sds))
    for place, horizon in enumerate(frozen.horizons):
        vector = rows.inputs[7]
        told = np.zeros(2)
        told[place] = 1.0
        with torch.no_grad():
            _, quantiles, beyond = module(torch.tensor([[*(vector - means) / sds, *told]], dtype=torch.float32))
        tail = frozen.tail(tuple(vector), horizon, 1.0)
        assert tail.quantiles == pytest.approx(quantiles[0].tolist(), rel=1e-4)
        assert (tail.es_lower, tail.es_upper) == pytest.approx(beyond[0].tolist(), rel=1e-4)


def test_network__input_that_was_constant_in_training__cannot_move_it_at_all():
    network = small_bundle().members[2]
    assert network.tail(tuple(NOTHING), 86_400, 1.0) == network.tail((*NOTHING[:3], 4.0, *NOTHING[4:]), 86_400, 1.0)


def test_network__training__is_told_epoch_by_epoch_and_stops_early_or_at_its_end():
    heard = []
    fit_network({86_400: made_rows(1_500)}, daily_bars=True, serves=(86_400,), seed=0, heard=heard.append)
    assert heard[0].startswith("epoch 1 of at most 300: validation loss")
    assert len(heard) < 300


def test_mirrored__rows__hold_each_return_with_either_sign():
    rows = made_rows(100)
    both = rows.mirrored()
    assert np.allclose(both.z[100:], -rows.z)
    assert np.allclose(both.inputs[100:], rows.inputs * np.array(MIRROR_SIGNS))


def test_inputs__returns_upside_down__are_multiplied_by_their_mirror_signs():
    seen = []
    for scale in (1.0, -1.0):
        stream = bars_from(restless_returns(120), seconds=3_600, scale=scale)
        steps, inputs = Steps(3_600), Inputs(3_600)
        for bar in stream:
            inputs.update(steps.take(bar), bar)
        seen.append(inputs.vector(3_600, stream[-1].end))
    plain, mirrored = seen
    assert mirrored == pytest.approx([value * sign for value, sign in zip(plain, MIRROR_SIGNS, strict=True)], abs=1e-9)


def test_geometric_mean__two_tails__is_figure_by_figure():
    small = Tail((-3.0, -2.0, -1.0, 1.0, 2.0, 3.0), -1.5, 1.5)
    large = Tail((-12.0, -8.0, -4.0, 4.0, 8.0, 12.0), -6.0, 6.0)
    mean = geometric_mean([small, large], [1.0, 1.0])
    assert mean.quantiles == pytest.approx((-6.0, -4.0, -2.0, 2.0, 4.0, 6.0))
    assert (mean.es_lower, mean.es_upper) == pytest.approx((-3.0, 3.0))


def test_geometric_mean__members_that_share_one_vote__count_as_one():
    small = Tail((-3.0, -2.0, -1.0, 1.0, 2.0, 3.0), -1.5, 1.5)
    large = Tail((-12.0, -8.0, -4.0, 4.0, 8.0, 12.0), -6.0, 6.0)
    shared = geometric_mean([small, large, large], [1.0, 0.5, 0.5])
    assert shared.quantiles == pytest.approx(geometric_mean([small, large], [1.0, 1.0]).quantiles)


def test_choose_members__hourly_stream__asks_the_hourly_members_of_the_nearest_horizon():
    chosen = choose_members(small_bundle().members, 3_600, 14_400)
    assert {type(member) for member, _, _ in chosen} == {LogLinear, BoostedTrees, Network}
    assert all(not member.daily_bars and served == 3_600 and trust == 1.0 for member, served, trust in chosen)


def test_choose_members__only_daily_ones_for_an_hourly_stream__lend_their_shape():
    assert all(trust == 0.0 for _, _, trust in choose_members(DAYS, 3_600, 3_600))


def test_volume__other_unit__gives_the_same_ratios_and_none_gives_zeros():
    coins, sats = VolumeRatios(3_600), VolumeRatios(3_600)
    for place in range(50):
        volume = 3.0 + place % 7
        assert coins.update(volume) == pytest.approx(sats.update(volume * 1e8), abs=1e-6)
    assert coins.update(None) == coins.update(0.0) == (0.0, 0.0)


def test_ensemble__no_members__is_refused():
    with pytest.raises(ValueError, match="at least one member"):
        EnsembleForecaster("m", [])


def test_ensemble__prefix_of_a_stream__is_answered_bit_for_bit_whatever_follows():
    stream = bars_from(restless_returns(200))
    other = [*stream[:150], *(replace(bar, close=bar.low) for bar in stream[150:])]
    answers = []
    for bars in (stream, other):
        model = EnsembleForecaster("m", small_bundle().members)
        model.reset("x", 86_400)
        answers.append([model.update(bar) for bar in bars][:150])
    assert answers[0] == answers[1]
