"""Run one recording: the configured keeper, the exact truncation test, and every baseline from the same start."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from config.errors import ConfigError
from config.load import load_settings
from keeper.backtest.feed import BacktestError, clip, first_tick, gaps_of, refuse_long_gaps
from keeper.backtest.metrics import measure
from keeper.backtest.rules import ROLES, rules_of
from keeper.backtest.series import decisions_table, series_of
from keeper.backtest.shapes import from_chain, generated
from keeper.backtest.simulator import Simulation, Start
from keeper.backtest.stages import Stages
from models.forecaster import DAY
from models.recording import load_recording, load_vol, with_vol
from models.registry import BASELINES, load_forecaster

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pyarrow as pa

    from config.schema import Settings
    from keeper.backtest.feed import Gap
    from keeper.backtest.metrics import Metrics
    from keeper.backtest.rules import Rules
    from keeper.backtest.series import Series
    from keeper.backtest.shapes import Shape
    from keeper.backtest.track import Track
    from models.market import Bar
    from models.recording import Recording

UNCHANGED = "unchanged"
"""The baseline that leaves the parameters where they started."""

KEEPER = "keeper"
FEW_DECISIONS = 2_000
FEW_CUTS, MANY_CUTS = ((0.05, 0.15), (0.35, 0.45)), ((0.02, 0.98),) * 4
"""Where the truncation test cuts, as shares of the decided part: as often as costs no more than the run itself."""


@dataclass(frozen=True, slots=True)
class Job:
    """One recording under one settings file.

    `vol` is a volatility recording to join on, `chain` a recorded option chain for the book; `since` and `until` are
    Unix seconds. `name` is the run's: "keeper", or A and B where two are compared.
    """

    source: str
    config: str
    name: str = KEEPER
    policies: str | None = None
    vol: str | None = None
    chain: str | None = None
    baselines: tuple[str, ...] = ()
    seed: int = 0
    since: int | None = None
    until: int | None = None
    max_gap_days: float = 14.0


@dataclass(frozen=True, slots=True)
class Cut:
    """One truncation: the data end at `at`, `decisions` were compared, `difference` is "" where all are the same."""

    at: int
    decisions: int
    difference: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What a run was made from. Times are Unix seconds; `start` is the first decision's.

    `axes` has by role the id, origin, sign and scale that make a value a ratio.
    """

    asset: str
    source: str
    digest: str
    bars: int
    bar_seconds: int
    first: int
    last: int
    start: int
    recorded_vol: bool
    own_rules: bool
    book: str
    initial: tuple[int, ...]
    gaps: tuple[Gap, ...]
    axes: dict[str, tuple[int, float, int, int]]


@dataclass(frozen=True, slots=True)
class Result:
    """One recording's runs, the configured one first."""

    facts: Facts
    runs: tuple[Series, ...]
    metrics: dict[str, Metrics]
    decisions: pa.Table
    cuts: tuple[Cut, ...]
    period_days: float
    stages: dict[str, float] = field(default_factory=dict)


def check_baselines(names: Sequence[str]) -> None:
    """Raise ConfigError on a baseline that does not exist."""
    for name in names:
        if name != UNCHANGED and name not in BASELINES:
            raise ConfigError(f"--baseline {name}: must be one of {', '.join((UNCHANGED, *BASELINES))}")


def run_job(job: Job, on_bars: Callable[[int, int], None] = lambda _, __: None, stages: Stages | None = None) -> Result:
    """Run one recording. Raises RecordingError, BacktestError, ConfigError or ArtefactError on what cannot be used."""
    stages = stages or Stages()
    with stages.measured("read"):
        made = _prepared(job)
    recording, settings, start = made.recording, made.settings, made.start
    gaps = gaps_of(recording)

    def simulate(bars: Sequence[Bar], begun: Start, name: str, model: str, *, still: bool = False) -> Track:
        forecaster = load_forecaster(model)
        run = Simulation(made.rules, forecaster, made.shape, begun, name, gaps=gaps, keep_still=still, stages=stages)
        return run.run(bars, lambda done: on_bars(done, 0))

    indices = _indices(recording, start.at, job.seed)
    on_bars(0, len(recording.bars) * (1 + len(job.baselines)) + sum(indices))
    main = simulate(recording.bars, start, job.name, settings.model.model)
    initial = main.initial
    with stages.measured("truncation", alone=True):
        cuts = tuple(
            _cut(main, recording, index, simulate(recording.bars[:index], start, job.name, settings.model.model))
            for index in indices
        )
    tracks = [main]
    same = replace(start, initial=initial)
    with stages.measured("baselines", alone=True):
        for name in job.baselines:
            model, still = (settings.model.model, True) if name == UNCHANGED else (name, False)
            tracks.append(simulate(recording.bars, same, name, model, still=still))
    with stages.measured("measure"):
        runs = tuple(map(series_of, tracks))
        period = settings.propose.margin_period_days
        metrics = {run.name: measure(run, period) for run in runs}
        table = decisions_table(main)
    facts = _facts(job, made, initial, gaps)
    return Result(facts, runs, metrics, table, cuts, period, stages.spent)


def check_job(job: Job) -> None:
    """Raise what `run_job` would raise of the job's inputs, without running it."""
    _prepared(job)


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What a job's inputs come to."""

    recording: Recording
    settings: Settings
    rules: Rules
    shape: Shape
    start: Start


def _prepared(job: Job) -> _Prepared:
    config = Path(job.config)
    settings = load_settings(config, {})
    recording = _read(job)
    rules = rules_of(recording.asset, settings, config, None if job.policies is None else Path(job.policies))
    shape = generated(job.seed) if job.chain is None else from_chain(Path(job.chain))
    recorded_vol = any(bar.iv is not None for bar in recording.bars)
    model = settings.model
    begin = first_tick(recording, model.bar_seconds, model.min_bars, since=job.since or 0, recorded_vol=recorded_vol)
    load_forecaster(model.model)
    return _Prepared(recording, settings, rules, shape, Start(begin, recorded_vol, job.seed))


def _read(job: Job) -> Recording:
    recording = load_recording(job.source)
    if job.vol is not None:
        recording = with_vol(recording, load_vol(job.vol))
        if all(bar.iv is None for bar in recording.bars):
            raise BacktestError(f"{job.vol}: has no row at the time of any bar of {job.source}")
    bars = clip(recording.bars, job.until)
    if not bars:
        raise BacktestError(f"{recording.asset}: no bar had closed by --end")
    recording = replace(recording, bars=bars)
    refuse_long_gaps(recording, round(job.max_gap_days * DAY))
    return recording


def _indices(recording: Recording, begin: int, seed: int) -> list[int]:
    """Return how many bars each truncation keeps; the first decision is always among them."""
    first = next(index for index, bar in enumerate(recording.bars) if bar.end >= begin)
    count = len(recording.bars) - first
    rng = np.random.default_rng([seed, count])
    shares = [rng.uniform(*between) for between in (MANY_CUTS if count < FEW_DECISIONS else FEW_CUTS)]
    return sorted({first + 1 + int(share * (count - 1)) for share in shares})


def _cut(main: Track, recording: Recording, index: int, again: Track) -> Cut:
    """Compare everything that was decided up to a bar with what is decided where the data end with it."""
    at, count = recording.bars[index - 1].end, len(again.decisions)
    pairs = (
        ("decision", main.decisions[:count], again.decisions),
        ("change", [move for move in main.moves if move.at <= again.last_block], again.moves),
        ("forecast", main.published[: len(again.published)], again.published),
    )
    for what, before, after in pairs:
        if before != after:
            place = next(
                (i for i, (old, new) in enumerate(zip(before, after, strict=False)) if old != new), len(before)
            )
            return Cut(at, count, f"{what} {place} differs: it depended on data after {at}")
    if count and main.decisions[count:] and main.decisions[count].at <= at:
        return Cut(at, count, f"a decision at {main.decisions[count].at} is missing")
    return Cut(at, count, "")


def _facts(job: Job, made: _Prepared, initial: tuple[int, ...], gaps: tuple[Gap, ...]) -> Facts:
    recording = made.recording
    return Facts(
        asset=recording.asset,
        source=job.source,
        digest=recording.digest,
        bars=len(recording.bars),
        bar_seconds=recording.bar_seconds,
        first=recording.bars[0].start,
        last=recording.bars[-1].end,
        start=made.start.at,
        recorded_vol=made.start.recorded_vol,
        own_rules=made.rules.exact,
        book=made.shape.source,
        initial=initial,
        gaps=gaps,
        axes={role: (axis[0], float(axis[1]), *axis[2:]) for role, axis in zip(ROLES, made.rules.axes, strict=True)},
    )
