"""Train the linear scale model on recordings and state honestly what it scores out of sample."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.linear_model import GammaRegressor

from config.errors import KnownFault
from models.baselines import EwmaFhs
from models.features import FEATURES, Features
from models.forecaster import DAY, TAUS
from models.linear import Head, LinearForecaster
from models.registry import Artefact
from models.scoring import SCORED, score
from models.steps import HORIZONS, Pending, Steps, whole_bar_horizons

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

    from models.recording import Recording
    from models.scoring import Scores

    Array = npt.NDArray[np.float64]
    Progress = Callable[[int, int, str], None]
    Scored = dict[int, Scores]

POWER = 1.5
PENALTY = 0.1
"""Regressing |z|^1.5 with a log link weighs the tail more than log |z| does and less than z^2."""

SMALLEST_FEATURE_SD = 0.25
"""A feature that is nearly constant in training must not explode on another asset."""

SMALLEST_TRAINING_SET = 1_000
"""Rows; fewer hold next to nothing about the 0.1 % quantile."""

TRAINED_SHARE = 0.7
"""The first part of every recording, which the measured model is fitted on; the rest scores it."""

BLOCK_SECONDS = 30 * DAY
BOOTSTRAP_DRAWS = 500
DIGITS = 9

END, REALISED, BASE = 0, 1, 2
"""Columns of a training row before its features: Unix seconds at the horizon's end, log-return, base sd."""


class TrainingError(KnownFault):
    """The recordings cannot train a model; the message says why."""


def train(recordings: Sequence[Recording], *, seed: int = 0, on_progress: Progress | None = None) -> Artefact:
    """Fit one head a horizon and kind of bars on all recordings pooled, and measure it out of sample.

    The metrics in the card come from a fit on the first 70 % of each recording, scored against EWMA-FHS on the
    rest; the heads of the artefact are fitted on everything. `seed` draws the bootstrap intervals, nothing else.
    `on_progress` hears (steps done, steps in all, what comes next). Raises TrainingError.
    """
    if not recordings:
        raise TrainingError("no recording to train on")
    report = on_progress or (lambda _done, _total, _what: None)
    total = 2 * len(recordings) + 2
    tables = []
    for done, recording in enumerate(recordings):
        report(done, total, f"features of {recording.asset}")
        tables.append(_rows(recording))
    report(len(recordings), total, "fit on the first part")
    splits = [_split(recording) for recording in recordings]
    measured = LinearForecaster("measured", _fit_all(recordings, tables, splits))
    metrics = []
    for done, (recording, split) in enumerate(zip(recordings, splits, strict=True), start=len(recordings) + 1):
        report(done, total, f"score on {recording.asset}")
        metrics += _metrics(recording, measured, split, np.random.default_rng(seed))
    report(total - 1, total, "fit on everything")
    heads = _fit_all(recordings, tables, [recording.bars[-1].end for recording in recordings])
    report(total, total, "done")
    return Artefact(heads, _card(recordings, metrics, seed))


def _split(recording: Recording) -> int:
    return recording.bars[int(TRAINED_SHARE * len(recording.bars))].start


def _rows(recording: Recording) -> dict[int, Array]:
    """Return by horizon a row for each forecast that fell due once the stream was warm."""
    seconds = recording.bar_seconds
    horizons = whole_bar_horizons(HORIZONS, seconds)
    steps, features = Steps(seconds), Features(seconds)
    pending: dict[int, Pending[tuple[float, ...]]] = {h: Pending(h, seconds) for h in horizons}
    rows: dict[int, list[tuple[float, ...]]] = {horizon: [] for horizon in horizons}
    for bar in recording.bars:
        step = steps.take(bar)
        features.update(step)
        for horizon in horizons:
            due = pending[horizon].due(step)
            if due is not None and due[0] != 0.0:
                rows[horizon].append((step.end, due[0], *due[1]))
            if features.warm:
                row = (features.base_sd(horizon, step.end), *features.vector(horizon, step.end))
                pending[horizon].push(step, row)
    return {h: np.array(found, dtype=float).reshape(-1, 3 + len(FEATURES)) for h, found in rows.items()}


def _fit_all(
    recordings: Sequence[Recording], tables: Sequence[Mapping[int, Array]], ends: Sequence[int]
) -> tuple[Head, ...]:
    """Fit a head for each kind of bars and horizon on the rows that were over by `ends`."""
    pooled: dict[tuple[bool, int], list[Array]] = {}
    for recording, table, end in zip(recordings, tables, ends, strict=True):
        for horizon, rows in table.items():
            kind = (recording.bar_seconds == DAY, horizon)
            pooled.setdefault(kind, []).append(rows[rows[:, END] <= end])
    return tuple(_fit(np.vstack(parts), *kind) for kind, parts in sorted(pooled.items()))


def _fit(rows: Array, daily_bars: bool, horizon: int) -> Head:  # noqa: FBT001 (the two parts of a pooling key)
    if len(rows) < SMALLEST_TRAINING_SET:
        raise TrainingError(
            f"horizon {horizon}: {len(rows)} returns to fit on after warm-up, at least {SMALLEST_TRAINING_SET} needed"
        )
    features, z = rows[:, BASE + 1 :], rows[:, REALISED] / rows[:, BASE]
    means = features.mean(axis=0)
    sds = np.maximum(features.std(axis=0), SMALLEST_FEATURE_SD)
    regression = GammaRegressor(alpha=PENALTY, max_iter=2_000, tol=1e-7)
    regression.fit((features - means) / sds, np.abs(z) ** POWER)
    frozen = Head(
        horizon,
        daily_bars,
        weights=_figures(regression.coef_ / POWER),
        means=_figures(means),
        sds=_figures(sds),
        quantiles=(0.0,) * len(TAUS),
        es_lower=0.0,
        es_upper=0.0,
    )
    return _with_shape(frozen, z / np.array([frozen.multiplier(vector) for vector in features.tolist()]))


def _with_shape(head: Head, standardised: Array) -> Head:
    quantiles = np.quantile(standardised, TAUS)
    lower, upper = quantiles[2], quantiles[3]
    if not lower < 0 < upper:
        raise TrainingError(f"horizon {head.horizon}: the 1 % and 99 % returns do not lie on either side of 0")
    return Head(
        head.horizon,
        head.daily_bars,
        head.weights,
        head.means,
        head.sds,
        quantiles=_figures(quantiles),
        es_lower=_figures([standardised[standardised <= lower].mean()])[0],
        es_upper=_figures([standardised[standardised >= upper].mean()])[0],
    )


def _figures(values: Sequence[float] | Array) -> tuple[float, ...]:
    """Round to significant digits, so that the last bits of a linear-algebra library are not in the hash."""
    return tuple(float(f"{value:.{DIGITS}g}") for value in values)


def _metrics(
    recording: Recording, measured: LinearForecaster, split: int, generator: np.random.Generator
) -> list[dict[str, Any]]:
    model = score(measured, recording, since=split)
    baseline = score(EwmaFhs(), recording, since=split)
    return [
        {
            "recording": recording.asset,
            "horizon": horizon,
            "scored": len(model[horizon].ends),
            "log_pinball_ratio": _log_ratio(model[horizon], baseline[horizon]),
            "interval_95": _interval(model[horizon], baseline[horizon], generator),
            "breach_rates": _figures(model[horizon].breach_rates()),
            "baseline_breach_rates": _figures(baseline[horizon].breach_rates()),
        }
        for horizon in model
        if model[horizon].ends
    ]


def _log_ratio(model: Scores, baseline: Scores) -> float:
    return _figures([math.log(model.mean_loss() / baseline.mean_loss())])[0]


def _interval(model: Scores, baseline: Scores, generator: np.random.Generator) -> tuple[float, ...]:
    """Return the 95 % interval of the log pinball ratio by a bootstrap of 30-day blocks."""
    blocks = np.array(model.ends) // BLOCK_SECONDS
    _, places = np.unique(blocks, return_inverse=True)
    sums = [np.bincount(places, np.array(scores.losses)[:, SCORED].sum(axis=1)) for scores in (model, baseline)]
    draws = generator.integers(len(sums[0]), size=(BOOTSTRAP_DRAWS, len(sums[0])))
    ratios = np.log(sums[0][draws].sum(axis=1) / sums[1][draws].sum(axis=1))
    return _figures(np.quantile(ratios, (0.025, 0.975)))


def _card(recordings: Sequence[Recording], metrics: list[dict[str, Any]], seed: int) -> dict[str, Any]:
    return {
        "seed": seed,
        "method": {"power": POWER, "penalty": PENALTY, "trained_share_of_metrics": TRAINED_SHARE},
        "data": [
            {
                "recording": recording.asset,
                "bar_seconds": recording.bar_seconds,
                "bars": len(recording.bars),
                "start": recording.bars[0].start,
                "end": recording.bars[-1].end,
                "sha256": recording.digest,
            }
            for recording in recordings
        ],
        "metrics_against_ewma_fhs": metrics,
    }
