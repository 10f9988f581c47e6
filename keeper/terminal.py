"""What all commands share: consoles, exit codes, options, and how a command's files are read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from config.deployment import load_deployment
from config.load import Secrets, load_protocol, load_secrets, load_settings

if TYPE_CHECKING:
    from config.deployment import Deployment
    from config.protocol import Protocol
    from config.schema import Settings

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_REFUSED = 3
EXIT_HALTED = 4

out = Console(emoji=False)
err = Console(stderr=True, emoji=False)

Config = Annotated[Path, typer.Option("--config", "-c", help="Settings file.", show_default="config/keeper.toml")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def read_settings(config: Path) -> Settings:
    """Read the settings file, and the addresses that the environment replaces."""
    return load_settings(config, os.environ)


def read_secrets(*, dry_run: bool) -> Secrets:
    """Read the key, unless nothing is to be sent."""
    return Secrets() if dry_run else load_secrets(os.environ)


def read_deployment(settings: Settings) -> Deployment:
    """Read the deployment file that the settings name."""
    return load_deployment(Path(settings.keeper.deployment))


def read_protocols(settings: Settings, config: Path) -> dict[str, Protocol]:
    """Read the binding of every market, by the market's name."""
    return {market.name: load_protocol(market.protocol, config) for market in settings.markets}
