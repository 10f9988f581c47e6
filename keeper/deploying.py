"""Deploy the steward as an operator asks: over trial markets of its own, or over protocols that stand."""

from __future__ import annotations

import asyncio
import hashlib
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from eth_utils.address import is_address
from eth_utils.crypto import keccak

from chain.deploy import Deployer, Steps
from chain.handover import missing_handovers
from chain.progress import Progress, held_alone
from chain.protocol import BoundProtocol
from chain.rollout import Charge, Roles, put_up_steward
from chain.rpc import Rpc, head, read
from chain.runtime import resolve
from config.deployment import MAX_SIGNERS, load_markets
from config.errors import ConfigError
from config.load import load_policies
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
    if target.exists() and not notes.exists() and not asked.force:
        raise ConfigError(f"{target}: exists; --force replaces it")
    _check_arguments(asked)
    standing = None if asked.markets_file is None else _standing(asked.markets_file, protocols)
    policies = {name: load_policies(binding, asked.policies_file) for name, binding in protocols.items()}
    if standing is None:
        _check_trial(policies)
    chain = settings.chain
    url = chain.rpc_url.get_secret_value()
    deployer = Deployer.connect(url, key, chain.chain_id, on_step, chain.receipt_timeout_seconds)
    roles = asked.roles(deployer.address, policies)
    require_quorum(roles.threshold, roles.signers)
    if standing is not None:
        _check_standing(asked.markets_file, standing, deployer)
    inputs = _inputs(deployer.address, asked, roles, protocols, policies)
    steps = Steps(deployer, Progress.open(notes, deployer.genesis(), inputs))
    if standing is None:
        deployment = put_up_trial(steps, protocols, policies, asked.price, roles)
    else:
        charges = [Charge(name, standing[name], binding, policies[name]) for name, binding in protocols.items()]
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
            calls = bound.setter_calls(values, range(len(values)))
            missing = await missing_handovers(rpc, market.executor or deployment.steward, calls, block)
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
    return markets


def _check_standing(path: Path | None, standing: Mapping[str, MarketContracts], deployer: Deployer) -> None:
    for name, market in standing.items():
        executor = {} if market.executor is None else {"executor": market.executor}
        for key, address in ({f"contracts.{key}": at for key, at in market.contracts.items()} | executor).items():
            if not deployer.has_code(address):
                raise ConfigError(f"{path}: markets.{name}.{key} = {address}: no contract stands there")


def _strictest(policies: Mapping[str, Policies]) -> int:
    return max(policy.threshold for policy in policies.values())


def _check_arguments(asked: Asked) -> None:
    if not (math.isfinite(asked.price) and asked.price > 0):
        raise ConfigError(f"--price {asked.price:g}: must be above 0")
    options = (("--signer", asked.signers), ("--guardian", asked.guardians), ("--governance", asked.governance))
    for option, addresses in options:
        require_addresses(option, addresses)


def require_addresses(option: str, addresses: Sequence[str]) -> None:
    """Raise ConfigError unless an option's addresses are some, each once."""
    for address in addresses:
        if not is_address(address) or int(address, 16) == 0:
            raise ConfigError(f"{option} {address}: must be an address, 0x and 40 hex digits, its checksum right")
    if len({address.lower() for address in addresses}) < len(addresses):
        raise ConfigError(f"{option}: an address is given twice")


def require_quorum(threshold: int, signers: Sequence[str]) -> None:
    """Raise ConfigError unless the steward takes so many signers, and they are enough for the threshold."""
    if len(signers) > MAX_SIGNERS:
        raise ConfigError(f"--signer: {len(signers)} addresses, the steward takes {MAX_SIGNERS}")
    if not 0 < threshold <= len(signers):
        raise ConfigError(f"--threshold {threshold}: must be in 1..{len(signers)}, the number of signers")


def _check_trial(policies: Mapping[str, Policies]) -> None:
    """A trial market starts somewhere; one that stands has live values."""
    for name, policy in policies.items():
        missing = [key for key in ("ramp_seconds", "max_price_age_seconds") if getattr(policy, key) is None]
        missing += [f"limits.{key}.initial" for key, limits in policy.limits.items() if limits.initial is None]
        if missing:
            raise ConfigError(f"policies of {name}: a trial market needs {', '.join(missing)}")


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
