"""Write down what a run was made from and what it gave, so that another can be held against it."""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet

from config.errors import ConfigError
from config.load import PACKAGE
from keeper.backtest.differences import config_differences, run_differences
from keeper.backtest.metrics import UNITS
from keeper.backtest.page import render

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from keeper.backtest.job import Result
    from keeper.backtest.session import Backtest, Request

SCHEMA = 1
RECORD, REPORT, METRICS, DECISIONS = "run.json", "report.html", "metrics.json", "decisions.parquet"
CODE = ("config", "models", "chain", "keeper")
CODE_SUFFIXES = frozenset({".py", ".toml", ".html", ".vy", ".vyi", ".json"})
LIBRARIES = ("arch", "numpy", "pandas", "pyarrow", "pydantic", "scikit-learn", "scipy", "torch")


def write(backtest: Backtest, folder: Path) -> dict[str, Any]:
    """Write report.html, metrics.json, decisions.parquet and run.json, each in one step; return the last.

    Raises ConfigError when the folder cannot be written.
    """
    metrics = metrics_document(backtest)
    files = {
        METRICS: _json(metrics),
        DECISIONS: _parquet(backtest),
    }
    record = record_of(backtest, files)
    files |= {REPORT: render(backtest, record, metrics).encode(), RECORD: _json(record)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            folder.joinpath(name + ".part").write_bytes(content)
        for name in files:
            folder.joinpath(name + ".part").replace(folder / name)
    except OSError as error:
        raise ConfigError(f"--out {folder}: cannot be written: {error.strerror}") from None
    return record


def compute(backtest: Backtest) -> dict[str, Any]:
    """Return the record of a run whose files are not written."""
    return record_of(backtest, {METRICS: _json(metrics_document(backtest)), DECISIONS: _parquet(backtest)})


def metrics_document(backtest: Backtest) -> dict[str, Any]:
    """Return metrics by asset and run, their mean over the assets, the truncation test, and what each metric is."""
    assets: dict[str, Any] = {}
    for results in backtest.results.values():
        for result in results:
            assets.setdefault(result.facts.asset, {}).update(result.metrics)
    runs = list(dict.fromkeys(run for each in assets.values() for run in each))
    pooled = {run: {metric: _mean([each[run][metric] for each in assets.values()]) for metric in UNITS} for run in runs}
    return {
        "assets": assets,
        "mean": pooled,
        "truncation": {
            name: {result.facts.asset: [_cut(result, place) for place in range(len(result.cuts))] for result in results}
            for name, results in backtest.results.items()
        },
        "codes": {
            name: {result.facts.asset: result.runs[0].codes for result in results}
            for name, results in backtest.results.items()
        },
        "units": UNITS,
    } | _comparison(backtest)


def record_of(backtest: Backtest, files: Mapping[str, bytes]) -> dict[str, Any]:
    """Return run.json: what was asked for, the hashes of all that the run was made from, and of what it gave."""
    request = backtest.request
    results = next(iter(backtest.results.values()))
    return {
        "schema": SCHEMA,
        "request": request.document(),
        "inputs": {
            "code": code_digest(),
            "configs": {
                name: _config(path, request) for name, path in zip(backtest.results, request.configs, strict=True)
            },
            "data": {result.facts.asset: _data(result) for result in results},
            "book": results[0].facts.book if request.chain is None else _sha(Path(request.chain).read_bytes()),
            "models": {run.name: run.model_id for each in backtest.results.values() for run in each[0].runs},
            "seed": request.seed,
            "python": platform.python_version(),
            "libraries": dict(_libraries()),
        },
        "results": {name: _sha(content) for name, content in files.items()},
        "truncation_holds": backtest.cuts_hold,
    }


def read_record(folder: Path) -> dict[str, Any]:
    """Read an earlier run's record. Raises ConfigError when there is none of this version."""
    path = folder / RECORD
    try:
        record = json.loads(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError:
        raise ConfigError(f"{path}: not a JSON file") from None
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        raise ConfigError(f"{path}: not a record of schema {SCHEMA}")
    return record


def code_digest() -> str:
    """Return the SHA-256 over every source file of the four packages: names and contents."""
    content = hashlib.sha256()
    root = PACKAGE.parent
    for package in CODE:
        for path in sorted((root / package).rglob("*")):
            if path.suffix in CODE_SUFFIXES and path.is_file():
                content.update(f"{path.relative_to(root).as_posix()}\0{_sha(path.read_bytes())}\n".encode())
    return content.hexdigest()


def _comparison(backtest: Backtest) -> dict[str, Any]:
    """Return what differs between the two configurations; nothing where there is one."""
    if len(backtest.results) == 1:
        return {}
    first, second = backtest.results.values()
    pairs = {a.facts.asset: (a.runs[0], b.runs[0]) for a, b in zip(first, second, strict=True)}
    configs = backtest.request.configs
    return {
        "comparison": {
            "settings": [[key, a, b] for key, a, b in config_differences((configs[0], configs[1]))],
            "figures": {
                asset: [asdict(one) for one in run_differences(*pair, backtest.request.seed)]
                for asset, pair in pairs.items()
            },
        }
    }


def _config(path: str, request: Request) -> dict[str, Any]:
    policies = None if request.policies is None else _sha(Path(request.policies).read_bytes())
    return {"settings": _sha(Path(path).read_bytes()), "policies": policies}


def _data(result: Result) -> dict[str, Any]:
    facts = result.facts
    return {
        "sha256": facts.digest,
        "bars": facts.bars,
        "bar_seconds": facts.bar_seconds,
        "first": facts.first,
        "last": facts.last,
        "first_decision": facts.start,
        "recorded_vol": facts.recorded_vol,
        "own_market": facts.own_rules,
        "initial": list(facts.initial),
        "gaps": [[gap.start, gap.end] for gap in facts.gaps],
    }


def _libraries() -> Iterator[tuple[str, str]]:
    for name in LIBRARIES:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            yield name, "absent"


def _cut(result: Result, place: int) -> dict[str, Any]:
    cut = result.cuts[place]
    return {"at": cut.at, "decisions": cut.decisions, "same": not cut.difference, "difference": cut.difference}


def _mean(values: list[float | int | None]) -> float | None:
    there = [float(value) for value in values if value is not None]
    return sum(there) / len(there) if there else None


def _parquet(backtest: Backtest) -> bytes:
    tables = [result.decisions for results in backtest.results.values() for result in results]
    sink = pa.BufferOutputStream()
    pyarrow.parquet.write_table(pa.concat_tables(tables).unify_dictionaries(), sink, compression="zstd")
    return bytes(sink.getvalue().to_pybytes())


def _json(document: Mapping[str, Any]) -> bytes:
    return (json.dumps(document, indent=1, allow_nan=False) + "\n").encode()


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
