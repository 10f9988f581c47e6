"""The commands that set a keeper up: deploy what it needs on chain, and check that all of it fits together."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from config.errors import ConfigError
from config.load import DEFAULT_SETTINGS, load_policies
from keeper.terminal import (
    EXIT_FAILED,
    AsJson,
    Config,
    err,
    out,
    read_deployment,
    read_protocols,
    read_secrets,
    read_settings,
)

if TYPE_CHECKING:
    from config.deployment import Deployment
    from keeper.deploying import Asked

Words = list[str]


def deploy(
    config: Config = DEFAULT_SETTINGS,
    *,
    price: Annotated[float, typer.Option(help="Price a trial market's feed starts with.")] = 1000.0,
    markets: Annotated[
        Path | None, typer.Option(help="Where protocols stand (TOML); without it a trial market is put up.")
    ] = None,
    policies: Annotated[Path | None, typer.Option(help="Limits; default config/policies/<protocol>.toml.")] = None,
    signer: Annotated[
        Words | None, typer.Option(help="Whose signatures count; repeatable, default the deployer.")
    ] = None,
    threshold: Annotated[
        int | None, typer.Option(help="Signatures that a change needs; default from the policies.")
    ] = None,
    guardian: Annotated[
        Words | None, typer.Option(help="Who may pause and veto; repeatable, default the deployer.")
    ] = None,
    governance: Annotated[
        Words | None,
        typer.Option(help="Who schedules, cancels and executes in the timelock; repeatable, default the deployer."),
    ] = None,
    force: Annotated[bool, typer.Option(help="Replace an existing deployment file.")] = False,
) -> None:
    """Put up the steward and the timelock that governs it, and write their addresses to the deployment file.

    The key in KEEPER_PRIVATE_KEY pays. A run that was cut short goes on where it stopped when it is started again.
    """
    from keeper.deploying import Asked  # noqa: PLC0415 - web3 takes a second to import

    asked = Asked(price, policies, markets, signer or (), threshold, guardian or (), governance or (), force)
    _deploy(config, asked)


def _deploy(config: Path, asked: Asked) -> None:
    from keeper.deploying import deploy as put_up  # noqa: PLC0415 - likewise

    settings, secrets = read_settings(config), read_secrets(dry_run=False)
    protocols, target = read_protocols(settings, config), Path(settings.keeper.deployment)
    deployment = put_up(settings, secrets, protocols, target, asked, lambda step: out.print(f"  {step}"))
    out.print(f"steward {deployment.steward} written to {target}", markup=False, highlight=False)
    if asked.markets_file is not None:
        from keeper.deploying import handovers  # noqa: PLC0415 - likewise

        url = settings.chain.rpc_url.get_secret_value()
        for sentence in asyncio.run(handovers(url, deployment, protocols)):
            err.print(sentence, style="yellow", markup=False, highlight=False, soft_wrap=True)
    _warn_of_shared_keys(deployment)


def _warn_of_shared_keys(deployment: Deployment) -> None:
    roles = (*deployment.governance, *deployment.guardians, *deployment.signers)
    if len(set(roles)) < len(roles):
        err.print(
            "one key holds several roles: good for a trial alone, for whoever steals it holds them all. "
            "Give --signer, --guardian and --governance keys of their own.",
            style="yellow",
            highlight=False,
        )


def check(config: Config = DEFAULT_SETTINGS, *, dry_run: bool = False, as_json: AsJson = False) -> None:
    """Check on the chain that steward, protocols, bindings and keys fit together. Exit code 1: something does not."""
    from keeper.check import check_all  # noqa: PLC0415 - web3 takes a second to import
    from keeper.findings import render  # noqa: PLC0415 - likewise

    settings, secrets = read_settings(config), read_secrets(dry_run=dry_run)
    deployment, protocols = read_deployment(settings), read_protocols(settings, config)
    report = asyncio.run(check_all(settings, secrets, deployment, protocols, config))
    if as_json:
        out.print_json(data=report.document())
    else:
        for renderable in render(report):
            out.print(renderable, highlight=False, soft_wrap=True)
    raise typer.Exit(0 if report.ok else EXIT_FAILED)


def policy(
    config: Config = DEFAULT_SETTINGS,
    *,
    market: Annotated[str, typer.Option(help="Market whose policy it is.")],
    policies: Annotated[Path | None, typer.Option(help="Limits; default config/policies/<protocol>.toml.")] = None,
    signer: Annotated[
        Words | None, typer.Option(help="Whose signatures count; repeatable, default as in the deployment file.")
    ] = None,
    threshold: Annotated[
        int | None, typer.Option(help="Signatures that a change needs; default as in the deployment file.")
    ] = None,
) -> None:
    """Store a policy made of a market's binding, limits and signers; governance has to put it into force."""
    from keeper.check_quorum import is_recorded, quorum_keys  # noqa: PLC0415 - web3 takes a second to import
    from keeper.govern import charge_of, store  # noqa: PLC0415 - likewise

    settings, secrets = read_settings(config), read_secrets(dry_run=False)
    deployment, protocols = read_deployment(settings), read_protocols(settings, config)
    if market not in protocols:
        raise ConfigError(f"--market {market}: must be one of {', '.join(protocols)}")
    charge = charge_of(deployment, market, protocols[market], load_policies(protocols[market], policies))
    stored, made = store(settings, secrets, deployment, charge, signer or (), threshold)
    _say(f"stored at {stored}: a change needs {made.threshold} of {', '.join(made.signers)}")
    _say(f"next: keeper govern set_policy {market} {stored}")
    if not is_recorded(deployment, made.threshold, made.signers):
        keys, path = quorum_keys(made.threshold, made.signers), settings.keeper.deployment
        _say(f"these signers are new: store such a policy for every market, and once all are in force write {keys}")
        _say(f"into {path}, in the place of what stands there; every keeper needs the new file")


def govern(
    function: Annotated[str, typer.Argument(help="Function that governance alone may call.")],
    arguments: Annotated[Words | None, typer.Argument(help="Its arguments; a market by its name.")] = None,
    config: Config = DEFAULT_SETTINGS,
    *,
    send: Annotated[bool, typer.Option(help="Send the call that is due, with KEEPER_PRIVATE_KEY.")] = False,
    force: Annotated[bool, typer.Option(help="Schedule it although it would be refused if executed now.")] = False,
    salt: Annotated[int, typer.Option(help="Tells a repeated operation from the earlier one.")] = 0,
) -> None:
    """Bring a call of governance through the timelock: schedule it, later execute it. Shows what is due and how."""
    from keeper.govern import govern as bring_on  # noqa: PLC0415 - likewise
    from keeper.govern import operation_of  # noqa: PLC0415 - likewise

    settings, secrets = read_settings(config), read_secrets(dry_run=not send)
    deployment = read_deployment(settings)
    operation = operation_of(deployment, function, arguments or [], salt)
    for line in asyncio.run(bring_on(settings, secrets, deployment, operation, send=send, force=force)):
        _say(line)


def pause(
    markets: Annotated[Words, typer.Argument(help="Markets to pause, by name.")], config: Config = DEFAULT_SETTINGS
) -> None:
    """Stop changes of markets at once, with a guardian's key in KEEPER_PRIVATE_KEY. Rollbacks remain possible."""
    from keeper.govern import pause as stop  # noqa: PLC0415 - likewise

    settings, secrets = read_settings(config), read_secrets(dry_run=False)
    for line in stop(settings, secrets, read_deployment(settings), markets):
        _say(line)


def veto(
    digest: Annotated[str, typer.Argument(help="EIP-712 digest of the announced change, as its Announced log has it.")],
    config: Config = DEFAULT_SETTINGS,
) -> None:
    """Forbid an announced change for ever, with a guardian's key in KEEPER_PRIVATE_KEY."""
    from keeper.govern import veto as forbid  # noqa: PLC0415 - likewise

    settings, secrets = read_settings(config), read_secrets(dry_run=False)
    _say(f"vetoed in {forbid(settings, secrets, read_deployment(settings), digest)}")


def _say(line: str) -> None:
    out.print(line, highlight=False, markup=False, soft_wrap=True)
