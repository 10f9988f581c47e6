"""Check on the chain that steward, protocols, bindings and keys fit together."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from eth_abi.abi import encode

from chain.overlap import shared_settings
from chain.protocol import BoundProtocol
from chain.rpc import Rpc, RpcError, head, require_chain
from chain.signer import LocalSigner
from config.errors import ConfigError
from config.load import PACKAGE
from keeper.check_accounts import check_accounts
from keeper.check_code import check_code
from keeper.check_policy import check_policy
from keeper.check_protocol import check_protocol
from keeper.check_steward import check_steward
from keeper.findings import Finding, Report, Verdict, failed, passed
from keeper.ground import Ground, Source

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from config.deployment import Deployment
    from config.load import Secrets
    from config.protocol import Protocol
    from config.schema import Settings


async def check_all(
    settings: Settings,
    secrets: Secrets,
    deployment: Deployment,
    protocols: Mapping[str, Protocol],
    settings_file: Path,
) -> Report:
    """Check everything, as `keeper check` does: an endpoint that fails is a finding like any other."""
    sources = sources_of(settings, protocols, settings_file)
    own = [] if secrets.private_key is None else [LocalSigner(secrets.private_key).address]
    async with Rpc(settings.chain.rpc_url.get_secret_value()) as rpc:
        try:
            await require_chain(rpc, settings.chain.chain_id)
            endpoint = passed("endpoint", "chain", f"{rpc.name} serves chain {settings.chain.chain_id}")
            if deployment.chain_id != settings.chain.chain_id:
                detail = f"the deployment file is of chain {deployment.chain_id}"
                remedy = "take the file that belongs to this chain, or mend chain.chain_id"
                return Report((endpoint, failed("endpoint", "deployment", detail, remedy)))
            return Report((endpoint, *(await examine(rpc, deployment, sources, own)).findings))
        except RpcError as error:
            remedy = "mend chain.rpc_url, or wait until the endpoint answers"
            return Report((failed("endpoint", "answers", str(error), remedy),))


async def examine(rpc: Rpc, deployment: Deployment, sources: Mapping[str, Source], own: Sequence[str]) -> Report:
    """Check what stands on the chain at its head, by market name, and whether the keys of `own` addresses are enough.

    Nothing is sent. Raises RpcError when the endpoint fails.
    """
    ground = Ground(rpc, await head(rpc), deployment)
    registry = encode(["address"], [deployment.registry])
    findings = [
        await check_code(ground, "registry", "policy_registry", deployment.registry, b""),
        await check_code(ground, "steward", "risk_steward", deployment.steward, registry),
        await check_code(ground, "timelock", "timelock", deployment.timelock, b""),
    ]
    # What another contract answers in a steward's place would mean nothing.
    is_ours = all(finding.verdict is not Verdict.FAILED for finding in findings)
    if is_ours:
        findings += await check_steward(ground)
    for name, source in sources.items():
        findings += await _check_market(ground, name, source, own, is_ours=is_ours)
    return Report((*findings, *_check_overlap(ground.deployment, sources)))


async def _check_market(
    ground: Ground, name: str, source: Source, own: Sequence[str], *, is_ours: bool
) -> list[Finding]:
    try:
        market = ground.deployment.markets[name]
        bound = BoundProtocol(source.binding, market.contracts, market.keys)
    except KeyError:
        known = ", ".join(ground.deployment.markets)
        remedy = "deploy it, or mend the market's name in the settings"
        return [failed(name, "is deployed", f"the deployment file has only {known}", remedy)]
    except ConfigError as error:
        return [failed(name, "is deployed", str(error), f"mend markets.{name} in the deployment file")]
    findings = await check_protocol(ground, name, source, bound)
    findings += await check_accounts(ground, name, source, bound)
    return [*findings, *await check_policy(ground, name, source, bound, own)] if is_ours else findings


def _check_overlap(deployment: Deployment, sources: Mapping[str, Source]) -> Iterator[Finding]:
    """Fail two markets that write the same setting."""
    bounds = {}
    for name, source in sources.items():
        with contextlib.suppress(KeyError, ConfigError):  # told of as "is deployed"
            market = deployment.markets[name]
            bounds[name] = BoundProtocol(source.binding, market.contracts, market.keys)
    for one, other, what in shared_settings(bounds):
        detail = f"{what} is that of {one} too: cooldown and drift budget count twice"
        remedy = "have governance retire one of the two, and take it out of the settings and the deployment file"
        yield failed(other, "no other market writes its settings", detail, remedy)


def sources_of(settings: Settings, protocols: Mapping[str, Protocol], settings_file: Path) -> dict[str, Source]:
    """Return each market's binding with the file it was read from, so that findings name the line."""
    files = {market.name: binding_file(market.protocol, settings_file) for market in settings.markets}
    return {
        name: Source(binding, str(files[name]), files[name].read_text(encoding="utf-8"))
        for name, binding in protocols.items()
    }


def binding_file(protocol: str, settings_file: Path) -> Path:
    """Return where the binding that the settings name is read from."""
    return settings_file.parent / protocol if protocol.endswith(".toml") else PACKAGE / "protocols" / f"{protocol}.toml"
