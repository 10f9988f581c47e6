"""Judge a model's forecasts against its baselines by gates with figures."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from models.coverage import acerbi_szekely, christoffersen, fz0, kupiec, rates_by_tercile, rolling_error
from models.forecaster import DAY, TAUS
from models.resampling import block_of, resamples

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import numpy.typing as npt

    from models.outcomes import Outcomes

    Array = npt.NDArray[np.float64]

REFERENCE = "gjr-fhs"
BENCHMARK = "ewma-fhs"
"""Of the published pair."""

LEVEL = 0.05
"""Of the coverage tests."""

SCORED = slice(1, 5)
EXTREME = (0, 5)
LOWER, UPPER = 2, 3
"""Places in TAUS."""

RATES = tuple(tau if tau < 0.5 else 1.0 - tau for tau in TAUS)
DRAWS = 1_000
GATE_DRAWS = 200
"""Of the intervals beside G1's, whose draws cost a judgement each."""

OF_ONE_STRETCH = ("peak_to_trough_ratio", "largest_five_day_rise")
"""Figures of an unbroken series, which blocks put together anew do not have."""

BUFFER = 1.25
"""The anti-procyclicality buffer of EMIR (Delegated Regulation 153/2013, article 28.1 a): used up while exceeded."""

TERCILES = ("calm", "middling", "wild")
FIVE = 5
"""Days of a rise."""


@dataclass(frozen=True, slots=True)
class Series:
    """One recording at one horizon: the model's outcomes and, on the same forecasts, each baseline's by name."""

    recording: str
    model: Outcomes
    baselines: Mapping[str, Outcomes]


@dataclass(frozen=True, slots=True)
class Gate:
    """One gate at one horizon: its figures in words of MODEL terms, and whether all its limits held.

    `intervals` are 95 % intervals of the figures by name, or by recording or tercile, that a block bootstrap gives.
    Of a share of passed tests it is a hard judge: a resample's breaches vary by the draw as well.
    """

    name: str
    horizon: int
    passed: bool
    figures: Mapping[str, Any]
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)


def judge(horizon: int, series: Sequence[Series], *, seed: int = 0, draws: int = GATE_DRAWS) -> list[Gate]:
    """Return every gate that applies to a horizon. Raises ValueError without any series.

    `draws` resamples, started by `seed`, give the intervals of all gates but G1, which has its own.
    """
    if not series:
        raise ValueError("no series to judge")
    series = [_with_buffer(one) for one in series]
    found = _intervals(_bootstrapped_gates(horizon, drawn) for drawn in resamples(series, draws, seed) if drawn)
    rest = [replace(gate, intervals=found.get(gate.name, {})) for gate in _bootstrapped_gates(horizon, series)]
    return [_pinball_gate(horizon, series, seed), *rest]


def _with_buffer(one: Series) -> Series:
    """Return the series with the benchmark's buffered margin, which hangs on all before it, as what it publishes."""
    benchmark = one.baselines[BENCHMARK]
    margin = buffered(np.abs(benchmark.quantiles[:, LOWER : UPPER + 1]))
    return replace(one, baselines={**one.baselines, BENCHMARK: replace(benchmark, published=margin)})


def _bootstrapped_gates(horizon: int, series: Sequence[Series]) -> list[Gate]:
    gates = [
        _best_gate(horizon, series),
        *_coverage_gates(horizon, series),
        _margin_gate(horizon, series),
        _shortfall_gate(horizon, series),
    ]
    return [*gates, _extreme_gate(horizon, series) if horizon < DAY else _published_gate(horizon, series)]


def _intervals(draws: Iterable[Sequence[Gate]]) -> dict[str, dict[str, tuple[float, float]]]:
    """Return by gate and figure the 95 % interval of what the draws gave."""
    drawn: dict[str, dict[str, list[float]]] = {}
    for gates in draws:
        for gate in gates:
            for name, value in _scalars(gate.figures):
                if math.isnan(value):  # a draw shorter than the rolling window
                    continue
                drawn.setdefault(gate.name, {}).setdefault(name, []).append(value)
    return {gate: {name: _interval(values) for name, values in found.items()} for gate, found in drawn.items()}


def _scalars(figures: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in figures.items():
        if isinstance(value, float) and name not in OF_ONE_STRETCH:
            yield name, value
    for recording, found in figures.get("series", {}).items():
        yield recording, found["log_ratio"]
    yield from zip(TERCILES, figures.get("rates", ()), strict=False)


def _interval(values: Sequence[float]) -> tuple[float, float]:
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)


def pinball(outcomes: Outcomes) -> Array:
    """Return the pinball loss of every forecast at every level, (n, levels)."""
    taus = np.array(TAUS)
    gap = outcomes.realised[:, None] - outcomes.quantiles
    return np.asarray(np.maximum(taus * gap, (taus - 1.0) * gap))


def breaches(outcomes: Outcomes) -> npt.NDArray[np.bool_]:
    """Return whether each forecast was breached at each level, (n, levels)."""
    realised = outcomes.realised[:, None]
    return np.hstack([realised < outcomes.quantiles[:, :3], realised > outcomes.quantiles[:, 3:]])


def log_ratio(ours: Outcomes, theirs: Outcomes) -> float:
    """Return ln of the mean pinball loss of ours over theirs, at the four scored levels."""
    return math.log(pinball(ours)[:, SCORED].mean() / pinball(theirs)[:, SCORED].mean())


def pooled_interval(series: Sequence[Series], seed: int) -> tuple[float, float]:
    """Return the 95 % interval of the mean log ratio, by a bootstrap of 30-day blocks of calendar time.

    A block is drawn for all series together, since markets move together.
    """
    sums = []
    blocks = sorted({int(block) for one in series for block in block_of(one.model.ends)})
    for one in series:
        place = np.searchsorted(blocks, block_of(one.model.ends))
        losses = (pinball(each)[:, SCORED].sum(axis=1) for each in (one.model, one.baselines[REFERENCE]))
        sums.append([np.bincount(place, loss, minlength=len(blocks)) for loss in losses])
    draws = np.random.default_rng(seed).integers(len(blocks), size=(DRAWS, len(blocks)))
    totals = np.array(sums)[:, :, draws].sum(axis=3)
    # A draw that holds none of a series' blocks says nothing of that series.
    ratios = np.log(np.where(totals[:, 0] > 0, totals[:, 0] / np.maximum(totals[:, 1], 1e-300), np.nan))
    low, high = np.quantile(np.nanmean(ratios, axis=0), (0.025, 0.975))
    return float(low), float(high)


def _pinball_gate(horizon: int, series: Sequence[Series], seed: int) -> Gate:
    ratios = {one.recording: log_ratio(one.model, one.baselines[REFERENCE]) for one in series}
    mean = math.fsum(ratios.values()) / len(ratios)
    low, high = pooled_interval(series, seed)
    limit = -0.06 if horizon < DAY else -0.04
    return Gate(
        "G1", horizon, mean <= limit and high < 0, {"log_ratio": mean, "interval_95": [low, high], "series": ratios}
    )


def _best_gate(horizon: int, series: Sequence[Series]) -> Gate:
    found = {}
    for one in series:
        name, best = min(one.baselines.items(), key=lambda item: float(pinball(item[1])[:, SCORED].mean()))
        found[one.recording] = (log_ratio(one.model, best), name)
    ratios = [ratio for ratio, _ in found.values()]
    better = sum(ratio < 0 for ratio in ratios) / len(ratios)
    passed = better == 1.0 if horizon < DAY else max(ratios) <= 0.03 and better >= 2 / 3
    figures = {name: {"log_ratio": ratio, "best_baseline": best} for name, (ratio, best) in found.items()}
    return Gate("G2", horizon, passed, {"share_better": better, "series": figures})


def _coverage_gates(horizon: int, series: Sequence[Series]) -> list[Gate]:
    broken = [(one, breaches(one.model)) for one in series]
    frequent = [kupiec(found[:, k], RATES[k]) >= LEVEL for _, found in broken for k in range(1, 5)]
    apart = [christoffersen(found[:, k]) >= LEVEL for _, found in broken for k in range(1, 5)]
    errors = [rolling_error(found[:, k], 0.01) for _, found in broken for k in (LOWER, UPPER)]
    known = [error for error in errors if not math.isnan(error)]
    error = math.fsum(known) / len(known) if known else math.nan
    thirds = np.mean(
        [
            rates_by_tercile(found[:, k], np.abs(one.model.quantiles[:, k]))
            for one, found in broken
            for k in (LOWER, UPPER)
        ],
        axis=0,
    )
    most = 0.0055 if horizon < DAY else 0.006
    return [
        Gate("G3", horizon, _share(frequent) >= 0.9, {"share_passed": _share(frequent), "cells": len(frequent)}),
        Gate("G4", horizon, _share(apart) >= 0.85, {"share_passed": _share(apart), "cells": len(apart)}),
        Gate("G5", horizon, error <= most, {"rolling_error": error}),
        Gate("G6", horizon, bool(np.all((thirds >= 0.005) & (thirds <= 0.015))), {"rates": thirds.tolist()}),
    ]


def _margin_gate(horizon: int, series: Sequence[Series]) -> Gate:
    ratios = [
        math.log(_matched(one.model, side) / _matched(one.baselines[REFERENCE], side))
        for one in series
        for side in (LOWER, UPPER)
    ]
    mean = math.fsum(ratios) / len(ratios)
    return Gate("G7", horizon, mean <= -0.05, {"log_ratio": mean})


def _matched(outcomes: Outcomes, side: int) -> float:
    """Return the mean margin after scaling by the constant that gives a breach rate of 1 %."""
    margin = outcomes.quantiles[:, side]
    return float(np.quantile(outcomes.realised / margin, 0.99) * np.abs(margin).mean())


def _published_gate(horizon: int, series: Sequence[Series]) -> Gate:
    means, troughs, rises, frequent = [], [], [], []
    for one in series:
        ours = np.abs(one.model.published)
        theirs = np.abs(one.baselines[BENCHMARK].published)
        for side, sign in ((0, -1.0), (1, 1.0)):
            margin, rival = ours[:, side], theirs[:, side]
            means.append(math.log(margin.mean() / rival.mean()))
            troughs.append(math.log(margin.max() / margin.min() / (rival.max() / rival.min())))
            rises.append(float((margin[FIVE:] / margin[:-FIVE]).max() - 1.0) if len(margin) > FIVE else 0.0)
            frequent.append(kupiec(sign * one.model.realised > margin, 0.01) >= LEVEL)
    mean, trough = math.fsum(means) / len(means), math.exp(math.fsum(troughs) / len(troughs))
    figures = {
        "mean_log_ratio": mean,
        "peak_to_trough_ratio": trough,
        "largest_five_day_rise": max(rises),
        "kupiec_share": _share(frequent),
    }
    passed = mean <= -0.05 and trough <= 1.0 and max(rises) <= 0.65 and _share(frequent) >= 0.85
    return Gate("G8", horizon, passed, figures)


def buffered(margin: Array) -> Array:
    """Return the margin with the 25 % buffer, which is let out while the margin is above its own mean so far."""
    mean = np.cumsum(margin, axis=0) / np.arange(1, len(margin) + 1)[:, None]
    return np.asarray(np.maximum(margin, np.minimum(BUFFER * margin, BUFFER * mean)))


def _shortfall_gate(horizon: int, series: Sequence[Series]) -> Gate:
    gains = [_fz(one.baselines[REFERENCE]) - _fz(one.model) for one in series]
    z2 = [value for one in series for value in _z2(one.model)]
    gain = math.fsum(gains) / len(gains)
    return Gate("G9", horizon, gain > 0 and min(z2) > -0.7, {"fz0_gain": gain, "smallest_z2": min(z2)})


def _fz(outcomes: Outcomes) -> float:
    lower = fz0(outcomes.realised, outcomes.quantiles[:, LOWER], outcomes.es[:, 0], 0.01)
    upper = fz0(-outcomes.realised, -outcomes.quantiles[:, UPPER], -outcomes.es[:, 1], 0.01)
    return float((lower.mean() + upper.mean()) / 2.0)


def _z2(outcomes: Outcomes) -> tuple[float, float]:
    return (
        acerbi_szekely(outcomes.realised, outcomes.quantiles[:, LOWER], outcomes.es[:, 0], 0.01),
        acerbi_szekely(-outcomes.realised, -outcomes.quantiles[:, UPPER], -outcomes.es[:, 1], 0.01),
    )


def _extreme_gate(horizon: int, series: Sequence[Series]) -> Gate:
    passed, ratios = [], []
    for one in series:
        found = breaches(one.model)
        passed += [kupiec(found[:, k], RATES[k]) >= LEVEL for k in EXTREME]
        ours, theirs = (pinball(each)[:, EXTREME].mean() for each in (one.model, one.baselines[REFERENCE]))
        ratios.append(math.log(ours / theirs))
    mean = math.fsum(ratios) / len(ratios)
    figures = {"kupiec_share": _share(passed), "log_ratio": mean}
    return Gate("G10", horizon, _share(passed) >= 0.9 and mean < 0, figures)


def _share(passed: Sequence[bool]) -> float:
    return sum(passed) / len(passed)
