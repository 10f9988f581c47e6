"""Make a whole backtest: every recording under every configuration, and write down what came of it."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from config.errors import ConfigError
from keeper.backtest.job import KEEPER, Job, check_baselines, check_job, run_job
from keeper.backtest.stages import Stages, no_time
from models.recording import asset_of, doubled_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keeper.backtest.job import Result

OnBars = Callable[[int, int], None]

POLL_SECONDS = 0.2
COMPARED = ("A", "B")


@dataclass(frozen=True, slots=True)
class Request:
    """What to run: recordings, one settings file or two to compare, and options. Paths are as given.

    `vols` are volatility recordings as "FILE" or "ASSET=FILE". `since` and `until` are Unix seconds.
    """

    data: tuple[str, ...]
    configs: tuple[str, ...]
    policies: str | None = None
    vols: tuple[str, ...] = ()
    chain: str | None = None
    baselines: tuple[str, ...] = ()
    seed: int = 0
    since: int | None = None
    until: int | None = None
    max_gap_days: float = 14.0

    def document(self) -> dict[str, Any]:
        """Return the request as JSON holds it."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def parse(cls, document: dict[str, Any]) -> Request:
        """Return the request of a document. Raises TypeError on one that is none."""
        fields: dict[str, Any] = {
            k: tuple(value) if isinstance(value, list) else value for k, value in document.items()
        }
        return cls(**fields)


@dataclass(frozen=True, slots=True)
class Backtest:
    """A finished backtest: by configuration ("keeper", or A and B), a result for each recording in the order given."""

    request: Request
    results: dict[str, tuple[Result, ...]]

    @property
    def cuts_hold(self) -> bool:
        """Whether every truncation left every earlier decision as it was."""
        return all(not cut.difference for results in self.results.values() for result in results for cut in result.cuts)


def jobs_of(request: Request) -> list[Job]:
    """Return a job for each configuration and recording. Raises ConfigError on what does not fit together."""
    check_baselines(request.baselines)
    assets = [asset_of(source) for source in request.data]
    doubled = doubled_name(request.data)
    if doubled is not None:
        raise ConfigError(f"--data: two recordings are called {doubled}: rename one file")
    vols = _vols(request.vols, assets)
    names = (KEEPER,) if len(request.configs) == 1 else COMPARED
    return [
        Job(
            source=source,
            config=config,
            name=name,
            policies=request.policies,
            vol=vols.get(asset),
            chain=request.chain,
            # The baselines stand beside the first configuration: they start where it starts.
            baselines=request.baselines if name == names[0] else (),
            seed=request.seed,
            since=request.since,
            until=request.until,
            max_gap_days=request.max_gap_days,
        )
        for name, config in zip(names, request.configs, strict=True)
        for source, asset in zip(request.data, assets, strict=True)
    ]


def run_backtest(
    request: Request,
    *,
    workers: int = 1,
    on_bars: OnBars = lambda _, __: None,
    clock: Callable[[], float] = no_time,
) -> Backtest:
    """Run all jobs, in `workers` processes where that is more than one.

    `on_bars` is told how many bars more are done, and how many more are to do.

    Raises KnownFault on what cannot be used.
    """
    jobs = jobs_of(request)
    # A run takes minutes: what is wrong with the last recording is told before the first one runs.
    for job in jobs[1:]:
        check_job(job)
    if min(workers, len(jobs)) == 1:
        done = [run_job(job, on_bars, Stages(clock)) for job in jobs]
    else:
        done = _spread(jobs, min(workers, len(jobs)), on_bars, clock)
    each = len(request.data)
    names = list(dict.fromkeys(job.name for job in jobs))
    return Backtest(request, {name: tuple(done[place * each : (place + 1) * each]) for place, name in enumerate(names)})


def _vols(vols: Sequence[str], assets: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in vols:
        asset, separator, path = text.partition("=")
        if not separator:
            if len(assets) > 1:
                raise ConfigError(f"--vol {text}: there are several recordings: say which, as ASSET=FILE")
            asset, path = assets[0], text
        if asset not in assets:
            raise ConfigError(f"--vol {text}: no recording is called {asset} (there are {', '.join(assets)})")
        found[asset] = path
    return found


_BARS: Any = None
"""In a worker: the bars that all workers have done so far, and all that are to do."""


def _start_worker(bars: Any) -> None:
    global _BARS  # noqa: PLW0603 - a process's own, set once as it starts
    _BARS = bars


def _count(done: int, more: int) -> None:
    with _BARS.get_lock():
        _BARS[0] += done
        _BARS[1] += more


def _work(job: Job, clock: Callable[[], float]) -> Result:
    return run_job(job, _count, Stages(clock))


def _spread(jobs: Sequence[Job], workers: int, on_bars: OnBars, clock: Callable[[], float]) -> list[Result]:
    # Forked, a worker could inherit a lock that the progress display's thread holds.
    context = multiprocessing.get_context("spawn")
    bars = context.Array("q", [0, 0])
    told = (0, 0)
    with ProcessPoolExecutor(workers, context, _start_worker, (bars,)) as pool:
        futures = [pool.submit(_work, job, clock) for job in jobs]
        waiting = set(futures)
        while waiting:
            finished, waiting = wait(waiting, POLL_SECONDS, FIRST_COMPLETED)
            now = (bars[0], bars[1])
            on_bars(now[0] - told[0], now[1] - told[1])
            told = now
            failed = next((future for future in finished if future.exception() is not None), None)
            if failed is not None:
                pool.shutdown(cancel_futures=True)
                failed.result()
    return [future.result() for future in futures]
