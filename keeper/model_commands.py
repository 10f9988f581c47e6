"""The commands that say which model is in charge."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from config.errors import ConfigError
from config.load import DEFAULT_SETTINGS
from keeper.clock import WallClock
from keeper.journal import Journal
from keeper.terminal import Config, out, read_settings
from models.champions import Champions

model = typer.Typer(no_args_is_help=True, help="Say which model is in charge: champion and challenger of a folder.")

Folder = Annotated[Path, typer.Argument(help="Folder of model files; `model.model` of the settings may name it.")]


@model.command("list")
def show(folder: Folder) -> None:
    """List a folder's models, and which is champion and which challenger."""
    champions = _champions(folder)
    roles = {champions.challenger: "challenger", champions.champion: "champion"}
    for model_id in champions.models():
        out.print(f"{model_id}  {roles.get(model_id, '')}".rstrip(), markup=False, highlight=False)


@model.command()
def challenge(folder: Folder, file: Annotated[Path, typer.Argument(help="A file that `keeper train` wrote.")]) -> None:
    """Take a model into the folder as the challenger. A corrupt, foreign or older file is refused with its reason."""
    model_id = _champions(folder).challenge(file)
    out.print(f"{model_id} is the challenger", markup=False, highlight=False)


@model.command()
def promote(
    folder: Folder,
    config: Config = DEFAULT_SETTINGS,
    *,
    because: Annotated[str, typer.Option(help="Reason, for the journal.")],
) -> None:
    """Put the challenger in charge, after journalling it; a keeper heeds it when it starts."""
    champions = _champions(folder)
    promotion = champions.promotion(because)

    async def write_down() -> None:
        journal = await Journal.open(read_settings(config).journal.url.get_secret_value(), WallClock().now_ms)
        try:
            await journal.append(promotion)
        finally:
            await journal.close()

    asyncio.run(write_down())
    champions.carry_out(promotion)
    replaced = promotion.previous or "no model"
    out.print(f"{promotion.champion} is in charge, in place of {replaced}", markup=False, highlight=False)


def _champions(folder: Path) -> Champions:
    if not folder.is_dir():
        raise ConfigError(f"{folder}: is no folder")
    return Champions(folder)
