"""The commands that measure: each figure against a named rival in the same run."""

from __future__ import annotations

from typing import Annotated

import typer

from config.load import DEFAULT_SETTINGS
from keeper.terminal import AsJson, Config, err, out

bench = typer.Typer(no_args_is_help=True, help="Measure the keeper against named rivals, on this machine, now.")


@bench.command()
def gas(*, as_json: AsJson = False) -> None:
    """Measure what the steward's transactions cost on a private chain, beside the protocol's own setter."""
    from keeper.bench import measure_gas  # noqa: PLC0415 - web3 takes a second to import

    document = measure_gas(lambda step: err.print(f"  {step}", highlight=False)).document()
    if as_json:
        out.print_json(data=document)
        return
    for name, figure in document.items():
        out.print(f"{name:>30}  {figure:>10,}", highlight=False)


@bench.command()
def backtest(
    config: Config = DEFAULT_SETTINGS,
    *,
    assets: Annotated[int, typer.Option(min=1)] = 6,
    years: Annotated[float, typer.Option(min=0.05, help="Of invented hourly bars an asset.")] = 5.0,
    baseline: Annotated[list[str] | None, typer.Option(help="Baselines; default unchanged and ewma-fhs.")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure a backtest of invented hourly prices: seconds, bars a second, share of time by stage."""
    from keeper.backtest_commands import BASELINES, watched  # noqa: PLC0415 - with the next
    from keeper.bench_backtest import measure_backtest  # noqa: PLC0415 - pyarrow and arch take a second to import

    with watched() as on_bars:
        document = measure_backtest(config, assets, years, tuple(baseline or BASELINES), on_bars)
    if as_json:
        out.print_json(data=document)
        return
    for name, figure in document.items():
        out.print(f"{name:>14}  {figure}", highlight=False)
