"""Deploy the steward as an operator asks: over trial markets of its own, or over protocols that stand."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from eth_utils.crypto import keccak

from chain.deploy import Deployer, Steps
from chain.progress import Progress, held_alone
from chain.protocol import BoundProtocol
from chain.rehearsal import makers_of
from chain.rollout import Charge, Roles, put_up_steward
from chain.rpc import Rpc, head, read
from chain.runtime import resolve
from config.addresses import addresses_of
from config.deployment import load_markets
from config.errors import ConfigError
from config.load import load_policies
from keeper.deploy_checks import (
    require_executor,
    require_live_values,
    require_proposers,
    require_quorum,
    require_startable,
    try_start,
)
from keeper.standing import try_standing
from keeper.trial import put_up_trial, write_deployment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from pydantic import SecretStr

    from config.deployment import Deployment, MarketContracts, Policies
    from config.load import Secrets
    from config.protocol import Protocol
    from config.schema import Settings


@dataclass(frozen=True, slots=True)
class Asked:
    """What an operator asked a deployment for. What is left empty is the deployer's, or the policies'."""

    price: float = 1000.0
    policies_file: Path | None = None
    markets_file: Path | None = None
    signers: Sequence[str] = ()
    threshold: int | None = None
    guardians: Sequence[str] = ()
    governance: Sequence[str] = ()
    force: bool = False

    def checked(self) -> Asked:
        """Return the same with each address written in one way. Raises ConfigError for what is none, or given twice."""
        require_proposers(self.governance)
        return replace(
            self,
            signers=addresses_of(self.signers, "--signer"),
            guardians=addresses_of(self.guardians, "--guardian"),
            governance=addresses_of(self.governance, "--governance"),
        )

    def roles(self, deployer: str, policies: Mapping[str, Policies]) -> Roles:
        """Return who will hold what. Of several policies the strictest threshold and delay count."""
        alone = Roles.held_by(deployer, policies)
        return replace(
            alone,
            signers=tuple(self.signers) or alone.signers,
            threshold=_strictest(policies) if self.threshold is None else self.threshold,
            guardians=tuple(self.guardians) or alone.guardians,
            governance=tuple(self.governance) or alone.governance,
        )


def deploy(
    settings: Settings,
    secrets: Secrets,
    protocols: Mapping[str, Protocol],
    target: Path,
    asked: Asked,
    on_step: Callable[[str], None],
) -> Deployment:
    """Put up one steward, and a trial market for every market of the settings unless a file says where they stand.

    Writes `target` when all stands; until then a file beside it holds what a run that was cut short needs to go on.
    Raises ConfigError, before anything is sent, for whatever is wrong with arguments and files, and while another run
    writes the same file; DeployError naming the step that the chain refused.
    """
    if secrets.private_key is None:
        raise ConfigError("KEEPER_PRIVATE_KEY: needed to deploy, and not set")
    if not target.parent.is_dir():
        raise ConfigError(f"{target}: cannot be written: {target.parent} is no folder")
    notes = target.with_name(target.name + ".progress")
    with held_alone(notes):
        return _deploy(settings, secrets.private_key, protocols, target, notes, asked, on_step)


def _deploy(
    settings: Settings,
    key: SecretStr,
    protocols: Mapping[str, Protocol],
    target: Path,
    notes: Path,
    asked: Asked,
    on_step: Callable[[str], None],
) -> Deployment:
    if target.is_dir():
        raise ConfigError(f"{target}: is a folder, and the deployment is written to a file")
    if target.exists() and not notes.exists() and not asked.force:
        raise ConfigError(f"{target}: exists; --force replaces it")
    asked = asked.checked()
    standing = None if asked.markets_file is None else _standing(asked.markets_file, protocols)
    policies = {name: load_policies(binding, asked.policies_file) for name, binding in protocols.items()}
    if standing is None:
        require_startable(protocols, policies, asked.policies_file, asked.price)
    chain = settings.chain
    url = chain.rpc_url.get_secret_value()
    deployer = Deployer.connect(url, key, chain.chain_id, on_step, chain.receipt_timeout_seconds)
    roles = asked.roles(deployer.address, policies)
    require_quorum(roles.threshold, roles.signers)
    charges = []
    if standing is None:
        for name, binding in protocols.items():
            try_start(deployer, name, binding, policies[name], asked.policies_file)
    else:
        _check_standing(asked.markets_file, standing, deployer)
        charges = [Charge(name, standing[name], binding, policies[name]) for name, binding in protocols.items()]
        asyncio.run(require_live_values(url, asked.markets_file, charges, asked.policies_file))
        charges = asyncio.run(try_standing(url, asked.markets_file, charges))
    inputs = _inputs(deployer.address, asked, roles, protocols, policies)
    steps = Steps(deployer, Progress.open(notes, deployer.genesis(), inputs))
    if standing is None:
        deployment = put_up_trial(steps, protocols, policies, asked.price, roles)
    else:
        deployment = put_up_steward(steps, charges, roles, trial=False)
        deployment = asyncio.run(_with_implementations(url, deployment))
    write_deployment(target, deployment)
    steps.progress.end()
    return deployment


async def handovers(url: str, deployment: Deployment, protocols: Mapping[str, Protocol]) -> list[str]:
    """Say, a sentence a contract, who has to make which call so that the steward may set what it is there to set."""
    sentences = []
    async with Rpc(url) as rpc:
        block = await head(rpc)
        for name, binding in protocols.items():
            market = deployment.markets[name]
            bound = BoundProtocol(binding, market.contracts, market.keys)
            values = bound.values(await read(rpc, bound.reads(), block))
            _, missing = await makers_of(rpc, bound, values, market.executor or deployment.steward, block)
            sentences += [f"{name}: {one.target} refuses settings ({one.reason}): {one.remedy}" for one in missing]
    return sentences


async def _with_implementations(url: str, deployment: Deployment) -> Deployment:
    """Add the code hashes of what stands behind proxies: an upgrade leaves the proxy's own code as it was."""
    found: dict[str, str] = {}
    async with Rpc(url) as rpc:
        block = await head(rpc)
        for name, market in deployment.markets.items():
            for key, address in market.contracts.items():
                behind = (await resolve(rpc, address, block))[1:]
                found |= {f"{name}.{key} -> {at}": "0x" + keccak(code).hex() for at, code in behind}
    return deployment.model_copy(update={"code_hashes": deployment.code_hashes | found})


def _standing(path: Path, protocols: Mapping[str, Protocol]) -> dict[str, MarketContracts]:
    markets = load_markets(path)
    for name in sorted(protocols.keys() ^ markets.keys()):
        rule = "is no market of the settings" if name in markets else "missing, and the settings have this market"
        raise ConfigError(f"{path}: markets.{name}: {rule}")
    for name, binding in protocols.items():
        try:
            BoundProtocol(binding, markets[name].contracts, markets[name].keys)
        except ConfigError as error:
            raise ConfigError(f"{path}: markets.{name}: {error}") from None
        require_executor(path, name, binding, markets[name])
    return markets


def _check_standing(path: Path | None, standing: Mapping[str, MarketContracts], deployer: Deployer) -> None:
    for name, market in standing.items():
        executor = {} if market.executor is None else {"executor": market.executor}
        for key, address in ({f"contracts.{key}": at for key, at in market.contracts.items()} | executor).items():
            if not deployer.has_code(address):
                raise ConfigError(f"{path}: markets.{name}.{key} = {address}: no contract stands there")


def _strictest(policies: Mapping[str, Policies]) -> int:
    return max(policy.threshold for policy in policies.values())


def _inputs(
    deployer: str,
    asked: Asked,
    roles: Roles,
    protocols: Mapping[str, Protocol],
    policies: Mapping[str, Policies],
) -> dict[str, str]:
    """Return what decides how the deployment ends: a run that goes on must have been asked for the same."""
    content = repr([(binding, policies[name]) for name, binding in protocols.items()])
    markets = "none" if asked.markets_file is None else asked.markets_file.read_bytes().hex()
    return {
        "deployer": deployer,
        "markets": " ".join(protocols),
        "--price": f"{asked.price!r}",
        "--markets (SHA-256)": hashlib.sha256(markets.encode()).hexdigest(),
        "bindings and policies (SHA-256)": hashlib.sha256(content.encode()).hexdigest(),
        "--signer": " ".join(roles.ascending()),
        "--threshold": str(roles.threshold),
        "--guardian": " ".join(roles.guardians),
        "--governance": " ".join(roles.governance),
        "timelock_delay_seconds": str(roles.delay_seconds),
    }
