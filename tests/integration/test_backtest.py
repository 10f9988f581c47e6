import json

import pytest
from backtests import bars, write_bars, write_settings
from typer.testing import CliRunner

from keeper.backtest.record import compute
from keeper.backtest.session import Request, run_backtest
from keeper.cli import app

pytestmark = pytest.mark.integration


def test_run_backtest__two_processes__give_what_one_gives_and_count_every_bar(tmp_path):
    config = write_settings(tmp_path / "keeper.toml")
    sources = tuple(
        str(write_bars(tmp_path / f"{name}.parquet", bars(90, seed=seed))) for seed, name in enumerate("ab")
    )
    request = Request(sources, (str(config),), baselines=("unchanged",))
    counted = [0, 0]

    def on_bars(done: int, more: int) -> None:
        counted[0] += done
        counted[1] += more

    both = compute(run_backtest(request, workers=2, on_bars=on_bars))
    assert both == compute(run_backtest(request))
    assert counted[0] == counted[1] > 360


def test_bench_backtest__short__accounts_for_all_of_its_time(tmp_path):
    config = write_settings(tmp_path / "keeper.toml")
    command = ["bench", "backtest", "--config", str(config), "--assets", "1", "--years", "0.05", "--json"]
    result = CliRunner().invoke(app, [*command, "--baseline", "unchanged"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["bars_per_s"] > 0
    assert {"read", "model", "decide", "book", "truncation", "write"} <= document["share_of_time"].keys()
    assert sum(document["share_of_time"].values()) == pytest.approx(1.0, abs=0.01)
