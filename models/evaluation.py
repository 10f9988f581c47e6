"""Judge the recipe walk-forward, or one finished model, by the gates on given recordings and their twins."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from models.forecaster import DAY
from models.gates import REFERENCE, Series, judge
from models.learning import Fold, Stages, folds, ignore
from models.outcomes import Outcomes, joined, replay
from models.registry import BASELINES
from models.twins import twin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from models.forecaster import Forecaster
    from models.gates import Gate
    from models.learning import Progress
    from models.recording import Recording

SCORED_SHARE = 0.7
"""A finished model is scored on what follows this share of each recording."""

SMALLEST_SERIES = 100
"""Forecasts; a shorter series says nothing about a 1 % quantile."""

NEEDED = (REFERENCE, "ewma-fhs")
"""Baselines the gates name; the others count where a series is held against its own best."""

GATED = (3_600, DAY)
"""Horizons with gates. Four-hour windows of hourly bars overlap, which the coverage tests do not allow for."""

TWIN_SCALE = 1.7
TWIN_SHIFT_DAYS = 1_003
"""Not a whole number of weeks."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Gates on the recordings and on their twins, apart from each other."""

    model_id: str
    originals: tuple[Gate, ...]
    twins: tuple[Gate, ...]

    @property
    def passed(self) -> bool:
        """Whether every gate passed."""
        return all(gate.passed for gate in (*self.originals, *self.twins))

    def document(self) -> dict[str, Any]:
        """Return what goes into JSON."""
        return {
            "model": self.model_id,
            "passed": self.passed,
            "originals": [asdict(gate) for gate in self.originals],
            "twins": [asdict(gate) for gate in self.twins],
        }


def evaluate(
    recordings: Sequence[Recording],
    *,
    model: Forecaster | None = None,
    baselines: Sequence[str] = tuple(BASELINES),
    with_twins: bool = True,
    seed: int = 0,
    on_progress: Progress | None = None,
) -> Evaluation:
    """Return the gates of `model` on the last 30 % of each recording, or of the recipe trained fold by fold.

    Twins are forecast by the same forecasters as their originals. `baselines` are names; those that the gates need
    are always there. Raises LearningError where the recordings cannot train.
    """
    heard = Stages(0, on_progress or ignore)
    names = tuple(dict.fromkeys((*NEEDED, *baselines)))
    sources = _finished(recordings, model) if model is not None else _counted(recordings, seed, heard)
    found: dict[tuple[bool, str], list[_Run]] = {}
    for fold in sources:
        for place, recording in enumerate(fold.recordings):
            pairs = [(False, recording)]
            if with_twins:
                pairs.append((True, _twin(recording, mirrored=place % 2 == 0)))
            for is_twin, each in pairs:
                heard.expect(1)
                heard.begin(f"score on {each.asset}")
                found.setdefault((is_twin, each.asset), []).append(
                    _run(fold, each, names, TWIN_SHIFT_DAYS * DAY if is_twin else 0, heard.note)
                )
    heard.finish()
    identity = model.model_id if model is not None else "walk-forward"
    return Evaluation(identity, *(_judged(found, is_twin, seed) for is_twin in (False, True)))


_Run = dict[str, dict[int, Outcomes]]
"""Outcomes by horizon by forecaster; the model is under the empty name."""


def _finished(recordings: Sequence[Recording], model: Forecaster) -> Iterator[Fold]:
    for recording in recordings:
        since = recording.bars[int(SCORED_SHARE * len(recording.bars))].start
        yield Fold((recording,), model, since, recording.bars[-1].end)


def _counted(recordings: Sequence[Recording], seed: int, heard: Stages) -> Iterator[Fold]:
    heard.expect(len(recordings))
    return folds(recordings, seed, heard)


def _twin(recording: Recording, *, mirrored: bool) -> Recording:
    return twin(recording, scale=TWIN_SCALE, mirrored=mirrored, shift_seconds=TWIN_SHIFT_DAYS * DAY)


def _run(
    fold: Fold,
    recording: Recording,
    names: Sequence[str],
    later: int,
    note: Callable[[str], None],
) -> _Run:
    run = {}
    for name in ("", *names):
        note(name or "the model")
        forecaster = BASELINES[name]() if name else fold.forecaster
        run[name] = replay(forecaster, recording, since=fold.since + later, until=fold.until + later)
    return run


def _judged(found: Mapping[tuple[bool, str], Sequence[_Run]], is_twin: bool, seed: int) -> tuple[Gate, ...]:  # noqa: FBT001
    by_horizon: dict[int, list[Series]] = {}
    for (twins, asset), runs in found.items():
        if twins != is_twin:
            continue
        for horizon in (each for each in GATED if each in runs[0][""]):
            outcomes = {name: joined([run[name][horizon] for run in runs]) for name in runs[0]}
            ours = outcomes.pop("")
            if len(ours.ends) >= SMALLEST_SERIES:
                by_horizon.setdefault(horizon, []).append(Series(asset, ours, outcomes))
    return tuple(gate for horizon, series in sorted(by_horizon.items()) for gate in judge(horizon, series, seed=seed))
