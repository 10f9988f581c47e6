"""The commands that measure: each figure against a named rival in the same run."""

from __future__ import annotations

import typer

from keeper.terminal import AsJson, err, out

bench = typer.Typer(no_args_is_help=True, help="Measure the keeper against named rivals, on this machine, now.")


@bench.callback()
def _group() -> None:
    """Keep the name of a single command."""


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
