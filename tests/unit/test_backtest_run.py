import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pyarrow.parquet
import pytest
from backtests import FIRST, HOUR, bars, write_bars, write_settings
from typer.testing import CliRunner

from config.errors import ConfigError
from keeper.backtest import job as jobs
from keeper.backtest.feed import BacktestError
from keeper.backtest.job import Job, run_job
from keeper.backtest.metrics import UNITS, interval, realised, rise
from keeper.backtest.page import LARGEST, render
from keeper.backtest.record import compute, metrics_document, write
from keeper.backtest.session import Request, jobs_of, run_backtest
from keeper.backtest.simulator import Simulation
from keeper.backtest.stages import Stages
from keeper.cli import app
from models.forecaster import DAY

VOID = {"meta", "br"}


@pytest.fixture
def request_of(tmp_path):
    """A request for two short recordings, one of them with a gap."""
    config = write_settings(tmp_path / "keeper.toml")
    whole = write_bars(tmp_path / "spx.parquet", bars(160))
    gapped = write_bars(
        tmp_path / "other.parquet", [b for b in bars(160, seed=2) if not 80 <= (b.start - FIRST) // DAY < 90]
    )
    return Request((str(whole), str(gapped)), (str(config),), baselines=("unchanged",))


class Page(HTMLParser):
    """Every tag closed in order, and everything that names another place."""

    def __init__(self) -> None:
        super().__init__()
        self.open, self.links = [], []

    def handle_starttag(self, tag, attrs):
        self.links += [value for name, value in attrs if name in ("src", "href", "srcset", "action", "data")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_write__two_assets__leaves_four_files_that_agree(tmp_path, request_of):
    record = write(run_backtest(request_of), tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "decisions.parquet",
        "metrics.json",
        "report.html",
        "run.json",
    ]
    table = pyarrow.parquet.read_table(tmp_path / "out" / "decisions.parquet").to_pandas()
    each = table.groupby(["asset", "ts", "parameter"], observed=True)["reason"]
    assert (each.count() == 1).all()
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert list(metrics["assets"]) == ["spx", "other"]
    for asset, runs in metrics["assets"].items():
        assert list(runs) == ["keeper", "unchanged"]
        assert set(runs["keeper"]) == set(UNITS)
        assert runs["keeper"]["decisions"] == table[table.asset == asset].ts.nunique()
        assert runs["unchanged"]["changes"] == 0 < runs["keeper"]["changes"]
        assert runs["unchanged"]["published_lower_rate"] is None
    assert record == json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["inputs"]["data"]["other"]["gaps"] == [[FIRST + 80 * DAY, FIRST + 90 * DAY]]


def test_render__page__is_whole_small_and_asks_nothing_of_any_host(request_of):
    backtest = run_backtest(request_of)
    page = render(backtest, compute(backtest), metrics_document(backtest))
    parsed = Page()
    parsed.feed(page)
    assert parsed.open == []
    assert parsed.links == []
    assert not re.search(r"https?://|@import|url\(|<script|<link|<img", page)
    assert len(page.encode()) < LARGEST
    assert page.count("<svg") == 16
    assert page.count('class="gap"') == 8
    assert "no data for 10.0 days" in page
    assert not re.search(r'd="[^"]*(nan|inf)', page)


def test_render__page_that_is_too_large__is_drawn_coarser(request_of, monkeypatch):
    backtest = run_backtest(request_of)
    record, metrics = compute(backtest), metrics_document(backtest)
    whole = len(render(backtest, record, metrics).encode())
    monkeypatch.setattr("keeper.backtest.page.LARGEST", whole - 1)
    assert len(render(backtest, record, metrics).encode()) < whole


def test_run_backtest__twice__has_the_same_hashes(request_of):
    first, second = (compute(run_backtest(request_of)) for _ in range(2))
    assert first == second
    other = compute(run_backtest(replace(request_of, seed=1)))
    assert other["results"] != first["results"]


def test_run_job__truncation__holds_and_compares_decisions(request_of):
    result = run_job(jobs_of(request_of)[0])
    assert len(result.cuts) == 4
    assert all(cut.difference == "" and cut.decisions > 0 for cut in result.cuts)


def test_run_job__model_that_knows_the_last_bar__fails_the_truncation_test(request_of, monkeypatch):
    class Peeking(Simulation):
        def run(self, rows, on_bars=lambda _: None):
            self._forecaster.model_id = "peeks"
            update = self._forecaster.update
            last = rows[-1].close

            def peek(bar):
                said = update(bar)
                tail = 1.0 + 0.2 * np.tanh(last / bar.close)
                return replace(said, published=(said.published[0] * tail, said.published[1] * tail))

            self._forecaster.update = peek
            return super().run(rows, on_bars)

    monkeypatch.setattr(jobs, "Simulation", Peeking)
    result = run_job(jobs_of(request_of)[0])
    assert any("depended on data after" in cut.difference for cut in result.cuts)


def test_run_job__long_gap__is_refused_by_row(request_of):
    job = replace(jobs_of(request_of)[1], max_gap_days=9.0)
    with pytest.raises(BacktestError, match=r"other: row 80: 10\.0 days without a bar before it, at most 9"):
        run_job(job)


def test_run_job__too_few_bars__is_refused(tmp_path):
    config = write_settings(tmp_path / "keeper.toml")
    source = write_bars(tmp_path / "spx.parquet", bars(20))
    with pytest.raises(BacktestError, match=r"spx: 20 bars of 86400 s: model\.min_bars = 30 and one more"):
        run_job(Job(str(source), str(config)))


def test_run_backtest__last_recording_ends_before_the_start__is_told_before_any_runs(request_of):
    told = []
    late = replace(request_of, since=FIRST + 10_000 * DAY)
    with pytest.raises(BacktestError, match="has no bar to decide on"):
        run_backtest(late, on_bars=lambda *bars: told.append(bars))
    assert told == []


def test_run_job__recording_coarser_than_the_model__is_refused(tmp_path):
    config = write_settings(tmp_path / "keeper.toml", bar_seconds="3600")
    source = write_bars(tmp_path / "spx.parquet", bars(60))
    with pytest.raises(BacktestError, match=r"bars of 86400 s, model\.bar_seconds is 3600"):
        run_job(Job(str(source), str(config)))


def test_run_job__no_volatility_recorded__uses_a_stand_in_and_says_so(tmp_path):
    config = write_settings(tmp_path / "keeper.toml")
    source = write_bars(tmp_path / "spx.parquet", [replace(bar, iv=None) for bar in bars(100)])
    result = run_job(Job(str(source), str(config)))
    assert not result.facts.recorded_vol
    assert np.isfinite(result.runs[0].vol).all()
    assert all(cut.difference == "" for cut in result.cuts)


def test_run_job__stages__add_up_to_the_whole(request_of):
    ticks = iter(range(10**9))
    stages = Stages(lambda: float(next(ticks)))
    run_job(jobs_of(request_of)[0], stages=stages)
    assert {"read", "model", "decide", "book", "truncation", "baselines", "measure"} == set(stages.spent)
    assert min(stages.spent.values()) > 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"baselines": ("oracle",)}, "--baseline oracle: must be one of unchanged"),
        ({"vols": ("vix.parquet",)}, "--vol vix.parquet: there are several recordings"),
        ({"vols": ("gold=vix.parquet",)}, "no recording is called gold"),
        ({"data": ("a/spx.csv", "b/spx.parquet")}, "two recordings are called spx"),
    ],
)
def test_jobs_of__what_does_not_fit__is_refused(request_of, change, words):
    with pytest.raises(ConfigError, match=re.escape(words)):
        jobs_of(replace(request_of, **change))


def test_backtest_command__check_repro__tells_same_from_changed(tmp_path):
    config = write_settings(tmp_path / "keeper.toml")
    source = write_bars(tmp_path / "spx.parquet", bars(100))
    common = ["--out", str(tmp_path / "out"), "--workers", "1"]
    run = ["backtest", "--data", str(source), "--config", str(config), "--baseline", "none", *common]
    assert CliRunner().invoke(app, run).exit_code == 0
    again = CliRunner().invoke(app, ["backtest", "--check-repro", *common])
    assert (again.exit_code, "reproduced" in again.output) == (0, True), again.output
    write_settings(config, dead_band="0.3")
    changed = CliRunner().invoke(app, ["backtest", "--check-repro", *common])
    assert changed.exit_code == 1
    assert "inputs.configs.keeper.settings" in changed.output


def test_backtest_command__compare__shows_settings_and_figures_side_by_side(tmp_path):
    a, b = write_settings(tmp_path / "a.toml"), write_settings(tmp_path / "b.toml", dead_band="0.4")
    source = write_bars(tmp_path / "spx.parquet", bars(160))
    command = ["backtest", "--data", str(source), "--compare", str(a), str(b), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, [*command, "--workers", "1", "--baseline", "unchanged"])
    assert result.exit_code == 0, result.output
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["comparison"]["settings"] == [["propose.dead_band", 0.1, 0.4]]
    assert list(metrics["assets"]["spx"]) == ["A", "unchanged", "B"]
    cost = metrics["comparison"]["figures"]["spx"][0]
    assert cost["low"] <= cost["mean"] <= cost["high"]
    runs = pyarrow.parquet.read_table(tmp_path / "out" / "decisions.parquet").column("run").to_pylist()
    assert set(runs) == {"A", "B"}


def test_backtest_command__bad_recording__leaves_nothing_behind(tmp_path):
    config = write_settings(tmp_path / "keeper.toml")
    rows = bars(100)
    source = write_bars(tmp_path / "spx.parquet", [*rows[:50], rows[40], *rows[51:]])
    command = ["backtest", "--data", str(source), "--config", str(config), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, [*command, "--workers", "1"])
    assert "row 50" in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_realised__horizon_that_ends_in_a_gap__is_left_out():
    times = np.array([0, 1, 2, 9, 10]) * HOUR
    rows, moves = realised(times, np.array([100.0, 110.0, 121.0, 50.0, 60.0]), HOUR, 0)
    assert rows.tolist() == [0, 1, 3]
    assert moves == pytest.approx([0.1, 0.1, 0.2])


def test_rise__within_five_days__is_the_largest():
    times = np.arange(1, 12) * DAY
    values = np.array([1.0, 1.0, 1.0, 1.1, 1.2, 1.3, 1.3, 1.3, 1.3, 2.0, 1.0])
    assert rise(times, values) == pytest.approx(2.0 / 1.2 - 1.0)


def test_interval__constant_difference__is_a_point_and_noise_encloses_its_mean():
    assert interval(np.full(100, 0.25), 0) == pytest.approx((0.25, 0.25))
    noise = np.random.default_rng(1).normal(1.0, 1.0, 600)
    low, high = interval(noise, 0)
    assert low < noise.mean() < high
    assert high - low < 0.4
