"""Deploy a trial market and its steward as the settings describe them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from eth_utils.address import is_address

from chain.deploy import Deployer, deploy_steward, deploy_trial_market
from config.errors import ConfigError
from config.load import load_policies

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from config.deployment import Deployment, Policies
    from config.load import Secrets
    from config.protocol import Protocol
    from config.schema import Settings


def deploy_trial(
    settings: Settings,
    secrets: Secrets,
    protocols: Mapping[str, Protocol],
    target: Path,
    *,
    price: float,
    policies_file: Path | None,
    keeper: str,
    guardian: str,
    force: bool,
    on_step: Callable[[str], None],
) -> Deployment:
    """Put up a trial market for every market of the settings, and one steward; write `target` when all stands.

    Raises ConfigError, before anything is sent, without a key, for a target that cannot or may not be written, for a
    price or an address that is none, and for policies that miss a parameter; DeployError naming the step that the
    chain refused.
    """
    if secrets.private_key is None:
        raise ConfigError("KEEPER_PRIVATE_KEY: needed to deploy, and not set")
    _check_target(target, force=force)
    _check_arguments(price, keeper, guardian)
    policies = {name: load_policies(binding, policies_file) for name, binding in protocols.items()}
    url = settings.chain.rpc_url.get_secret_value()
    deployer = Deployer.connect(url, secrets.private_key, settings.chain.chain_id, on_step)
    deployment = deploy_on(deployer, protocols, policies, price, keeper, guardian)
    write_deployment(target, deployment)
    return deployment


def _check_target(target: Path, *, force: bool) -> None:
    if target.exists() and not force:
        raise ConfigError(f"{target}: exists; --force replaces it")
    if not target.parent.is_dir():
        raise ConfigError(f"{target}: cannot be written: {target.parent} is no folder")


def _check_arguments(price: float, keeper: str, guardian: str) -> None:
    if not (math.isfinite(price) and price > 0):
        raise ConfigError(f"--price {price:g}: must be above 0")
    for option, address in (("--keeper", keeper), ("--guardian", guardian)):
        if address and not is_address(address):
            raise ConfigError(f"{option} {address}: must be an address, 0x and 40 hex digits, its checksum right")


def deploy_on(
    deployer: Deployer,
    protocols: Mapping[str, Protocol],
    policies: Mapping[str, Policies],
    price: float,
    keeper: str = "",
    guardian: str = "",
) -> Deployment:
    """Deploy trial markets and a steward with a connected deployer, who holds every role not named."""
    markets = {
        name: (deploy_trial_market(deployer, name, price, binding, policies[name]), binding)
        for name, binding in protocols.items()
    }
    return deploy_steward(deployer, markets, policies, keeper or deployer.address, guardian or deployer.address)


def write_deployment(target: Path, deployment: Deployment) -> None:
    """Write the deployment file in one step: a reader sees the old one or the new one."""
    draft = target.with_name(target.name + ".new")
    draft.write_text(deployment.model_dump_json(indent=2) + "\n", encoding="utf-8")
    draft.replace(target)
