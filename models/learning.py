"""Train the ensemble on several recordings together and state honestly what it scores walk-forward."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from config.errors import KnownFault
from models.baselines import EwmaFhs
from models.bundle import Bundle
from models.ensemble import EnsembleForecaster
from models.fitting import Rows, figures, fit_log_linear, fit_network, fit_trees
from models.forecaster import DAY, TAUS
from models.implied import bar_of_implied
from models.inputs import INPUTS, Inputs
from models.outcomes import replay
from models.steps import HORIZONS, IV_HORIZONS, Pending, Steps, whole_bar_horizons

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import numpy.typing as npt

    from models.forecaster import Forecaster
    from models.members import Member
    from models.outcomes import Outcomes
    from models.recording import Recording

    Array = npt.NDArray[np.float64]
    Progress = Callable[[int, int, str], None]

SMALLEST_TRAINING_SET = 1_000
"""Rows of a horizon; fewer hold next to nothing about the 0.1 % quantile."""

SMALLEST_IMPLIED_SET = 1_000
"""Rows of implied volatility; a recording with fewer trains no members for it."""

FOLDS = (0.6, 0.8, 1.0)
"""Shares of time between which the walk-forward folds lie: fitted before one, scored up to the next."""

NETWORKS = 3
"""From different seeds, of the shortest horizon on its own and of all for those between it and a day."""

FULL_VOTE, SHARED_VOTE = 1.0, 0.3333333
"""The vote of each network at an hour, where networks are the best members, and elsewhere, where three of them count
as one member: that takes out the luck of a seed. A day from intraday bars is forecast without any: of the few days in
such recordings they learned noise, which cost 3 to 6 % of pinball loss."""

Table = dict[int, Rows]


class LearningError(KnownFault):
    """The recordings cannot train an ensemble; the message says why."""


@dataclass(frozen=True, slots=True)
class _Work:
    """What is trained on: recordings of one kind of bars, or of their implied volatility, with rows by horizon."""

    daily_bars: bool
    implied: bool
    recordings: tuple[Recording, ...]
    tables: tuple[Table, ...]

    def pooled(self, until: int) -> Table:
        """Return the rows of all recordings that were over by `until`."""
        parts: dict[int, list[Rows]] = {}
        for table in self.tables:
            for horizon, rows in table.items():
                parts.setdefault(horizon, []).append(rows.where(rows.end <= until))
        return {horizon: found[0].pooled_with(*found[1:]) for horizon, found in parts.items()}

    def cuts(self) -> list[int]:
        """Return the moments (Unix seconds) of FOLDS, as quantiles of the time all rows cover."""
        ends = np.concatenate([rows.end for table in self.tables for rows in table.values()])
        return [int(moment) for moment in np.quantile(ends, FOLDS)]


@dataclass(frozen=True, slots=True)
class Fold:
    """A forecaster that knows what was over by `since`, to be scored from then to `until` (Unix seconds)."""

    recordings: tuple[Recording, ...]
    forecaster: Forecaster
    since: int
    until: int


def folds(recordings: Sequence[Recording], seed: int, heard: Stages) -> Iterator[Fold]:
    """Yield the walk-forward folds of each kind of bars, in time order. Raises LearningError."""
    for work in _works(recordings, heard):
        if not work.implied:
            yield from _folds(work, seed, heard)


def learn(recordings: Sequence[Recording], *, seed: int = 0, on_progress: Progress | None = None) -> Bundle:
    """Fit an ensemble for each kind of bars on all recordings pooled, and measure it walk-forward.

    The card's metrics come from fits on what was over before each fold, on all assets alike, scored on the fold;
    the members of the bundle are fitted on everything. `seed` starts the networks and the trees. `on_progress` hears
    (stages done, stages in all, what is being done). Raises LearningError.
    """
    if not recordings:
        raise LearningError("no recording to train on")
    heard = Stages(len(recordings), on_progress or ignore)
    works = _works(recordings, heard)
    metrics: list[dict[str, Any]] = []
    for work in works:
        metrics += _walk_forward(work, seed, heard)
    found: dict[bool, list[Member]] = {False: [], True: []}
    for work in works:
        heard.begin("fit on everything")
        found[work.implied] += _fit(work, work.cuts()[-1], seed, heard)
    heard.finish()
    return Bundle(tuple(found[False]), _card(recordings, metrics, seed), tuple(found[True]))


class Stages:
    """Counts the stages of a training for whoever watches it."""

    def __init__(self, recordings: int, report: Progress) -> None:
        self._total, self._done, self._what, self._report = recordings, -1, "", report

    def expect(self, stages: int) -> None:
        """Add stages that were not known at the start."""
        self._total += stages

    def begin(self, what: str) -> None:
        """Say what the next stage does."""
        self._done, self._what = self._done + 1, what
        self._report(self._done, self._total, what)

    def note(self, detail: str) -> None:
        """Say how far the present stage is."""
        self._report(self._done, self._total, f"{self._what}: {detail}")

    def finish(self) -> None:
        """Say that all is done."""
        self._report(self._total, self._total, "done")


def _works(recordings: Sequence[Recording], heard: Stages) -> list[_Work]:
    kinds: dict[tuple[bool, bool], list[tuple[Recording, Table]]] = {}
    for recording in recordings:
        heard.begin(f"inputs of {recording.asset}")
        daily = recording.bar_seconds == DAY
        kinds.setdefault((daily, False), []).append((recording, rows_of(recording)))
        implied = implied_of(recording)
        table = {horizon: rows for horizon, rows in rows_of(implied).items() if horizon in IV_HORIZONS}
        if all(len(rows.z) >= SMALLEST_IMPLIED_SET for rows in table.values()):
            kinds.setdefault((daily, True), []).append((implied, table))
    works = [
        _Work(*kind, tuple(recording for recording, _ in found), tuple(table for _, table in found))
        for kind, found in sorted(kinds.items())
    ]
    heard.expect(sum(1 + (len(FOLDS) - 1) * (1 + len(work.recordings)) for work in works))
    return works


def implied_of(recording: Recording) -> Recording:
    """Return the recording of the implied volatility itself, where it is stated."""
    name = f"{recording.asset} implied"
    stated = (bar_of_implied(bar, bar.iv) for bar in recording.bars if bar.iv is not None)
    return replace(recording, asset=name, bars=tuple(replace(bar, asset=name) for bar in stated))


def ignore(_done: int, _total: int, _what: str) -> None:
    """Hear of progress and do nothing."""


def rows_of(recording: Recording) -> Table:
    """Return by horizon a row for each forecast that fell due once the stream was warm."""
    seconds = recording.bar_seconds
    horizons = whole_bar_horizons(HORIZONS, seconds)
    steps, inputs = Steps(seconds), Inputs(seconds)
    pending: dict[int, Pending[tuple[float, ...]]] = {horizon: Pending(horizon, seconds) for horizon in horizons}
    found: dict[int, list[tuple[float, ...]]] = {horizon: [] for horizon in horizons}
    for bar in recording.bars:
        step = steps.take(bar)
        inputs.update(step, bar)
        for horizon in horizons:
            due = pending[horizon].due(step)
            if due is not None and due[0] != 0.0:
                realised, (sd, *vector) = due
                found[horizon].append((step.end, realised / sd, *vector))
            if inputs.features.warm:
                sd = inputs.features.base_sd(horizon, step.end)
                pending[horizon].push(step, (sd, *inputs.vector(horizon, step.end)))
    return {horizon: _rows(rows) for horizon, rows in found.items()}


def _rows(rows: list[tuple[float, ...]]) -> Rows:
    table = np.array(rows, dtype=float).reshape(len(rows), 2 + len(INPUTS))
    return Rows(inputs=table[:, 2:], z=table[:, 1], end=table[:, 0])


def _fit(work: _Work, until: int, seed: int, heard: Stages) -> list[Member]:
    """Fit on what was over by `until` (Unix seconds)."""
    table = work.pooled(until)
    smallest = SMALLEST_IMPLIED_SET // 2 if work.implied else SMALLEST_TRAINING_SET
    for horizon, rows in table.items():
        if len(rows.z) < smallest:
            raise LearningError(
                f"horizon {horizon}: {len(rows.z)} returns to fit on after warm-up, at least {smallest} needed"
            )
    try:
        if work.implied:
            heard.note("log-linear scales of implied volatility")
            return [
                fit_log_linear(rows, daily_bars=work.daily_bars, horizon=horizon)
                for horizon, rows in sorted(table.items())
            ]
        return _members(table, work.daily_bars, seed, heard)
    except ValueError as error:
        raise LearningError(str(error)) from error


def _members(table: Table, daily_bars: bool, seed: int, heard: Stages) -> list[Member]:  # noqa: FBT001
    """Fit the plain members of each horizon, the shortest one's own networks, and networks over all for the next."""
    shortest, *longer = sorted(table)
    members: list[Member] = []
    for horizon, rows in sorted(table.items()):
        heard.note(f"log-linear and trees, {horizon} s")
        both = rows.mirrored()
        members.append(fit_log_linear(both, daily_bars=daily_bars, horizon=horizon))
        members.append(fit_trees(both, daily_bars=daily_bars, horizon=horizon, seed=seed))
    between = tuple(horizon for horizon in longer if horizon < DAY)
    vote = SHARED_VOTE if daily_bars else FULL_VOTE
    jobs: list[tuple[Table, tuple[int, ...], float]] = [({shortest: table[shortest]}, (shortest,), vote)] * NETWORKS
    if between:
        jobs += [(dict(sorted(table.items())), between, SHARED_VOTE)] * NETWORKS
    for number, (rows_by_horizon, serves, weight) in enumerate(jobs):
        what = f"network {number + 1} of {len(jobs)}"
        network = fit_network(
            rows_by_horizon,
            daily_bars=daily_bars,
            serves=serves,
            seed=seed + number,
            heard=lambda line, what=what: heard.note(f"{what}, {line}"),  # type: ignore[misc]
        )
        members.append(replace(network, weight=weight))
    return members


def _walk_forward(work: _Work, seed: int, heard: Stages) -> list[dict[str, Any]]:
    metrics = []
    for fold in _folds(work, seed, heard):
        for recording in work.recordings:
            heard.begin(f"score on {recording.asset}")
            models = (fold.forecaster, EwmaFhs())
            ours, theirs = (replay(model, recording, since=fold.since, until=fold.until) for model in models)
            metrics += [
                {"recording": recording.asset, "since": fold.since, "until": fold.until, "horizon": horizon}
                | _measures(ours[horizon], theirs[horizon])
                for horizon in work.tables[0]
                if len(ours[horizon].ends)
            ]
    return metrics


def _folds(work: _Work, seed: int, heard: Stages) -> Iterator[Fold]:
    for since, until in pairwise(work.cuts()):
        heard.begin("fit on what was over before a fold")
        members = _fit(work, since, seed, heard)
        yield Fold(work.recordings, EnsembleForecaster("walk-forward", members), since, until)


def _measures(ours: Outcomes, theirs: Outcomes) -> dict[str, Any]:
    lower = ours.realised[:, None] < ours.quantiles[:, :3]
    upper = ours.realised[:, None] > ours.quantiles[:, 3:]
    return {
        "scored": len(ours.ends),
        "log_pinball_ratio": figures([math.log(_loss(ours) / _loss(theirs))])[0],
        "breach_rates": list(figures(np.hstack([lower, upper]).mean(axis=0))),
    }


def _loss(outcomes: Outcomes) -> float:
    """Return the mean pinball loss over the levels .005, .01, .99 and .995."""
    taus = np.array(TAUS[1:5])
    gap = outcomes.realised[:, None] - outcomes.quantiles[:, 1:5]
    return float(np.maximum(taus * gap, (taus - 1.0) * gap).mean())


def _card(recordings: Sequence[Recording], metrics: Sequence[Mapping[str, Any]], seed: int) -> dict[str, Any]:
    return {
        "seed": seed,
        "method": {
            "folds": list(FOLDS),
            "mirrored": True,
            "networks": NETWORKS,
            "network_weight": FULL_VOTE,
            "network_weight_on_days": SHARED_VOTE,
        },
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
        "walk_forward_against_ewma_fhs": list(metrics),
    }
