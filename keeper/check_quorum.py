"""Check whose signatures a market's changes need, and whether this keeper's keys are enough."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from eth_utils.address import to_checksum_address

from keeper.findings import Finding, failed, noted, passed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from chain.policy import Policy
    from config.deployment import Deployment


def check_quorum(deployment: Deployment, market: str, policy: Policy, own: Sequence[str]) -> Iterator[Finding]:
    """Yield what is found. `own` are the addresses whose keys this keeper holds."""
    check, detail = "signers are as recorded", f"{policy.threshold} of {', '.join(policy.signers)}"
    if is_recorded(deployment, policy.threshold, policy.signers):
        yield passed(market, check, detail)
    else:
        remedy = f"write {quorum_keys(policy.threshold, policy.signers)} into the deployment file"
        there = f"{deployment.threshold} of {', '.join(deployment.signers)}"
        yield failed(market, check, f"{detail} on chain, {there} there", remedy)
    yield from _own_keys(market, policy, own)


def is_recorded(deployment: Deployment, threshold: int, signers: Sequence[str]) -> bool:
    """Say whether a quorum, its signers ascending, is the deployment file's."""
    recorded = [to_checksum_address(signer) for signer in deployment.signers]
    return (threshold, list(signers)) == (deployment.threshold, recorded)


def quorum_keys(threshold: int, signers: Sequence[str]) -> str:
    """Return a quorum as the keys of a deployment file."""
    return f'"signers": {json.dumps(list(signers))}, "threshold": {threshold}'


def _own_keys(market: str, policy: Policy, own: Sequence[str]) -> Iterator[Finding]:
    if not own:
        yield noted(market, "own keys sign", "no key is configured: a dry run")
        return
    for address in own:
        if address in policy.signers:
            yield passed(market, "own keys sign", f"{address} is a signer")
        else:
            remedy = "configure a signer's key, or have governance set a policy that names this one"
            yield failed(market, "own keys sign", f"{address} is no signer", remedy)
    held = len(set(own) & set(policy.signers))
    check, detail = "own keys are enough", f"{held} of {policy.threshold} signatures"
    if held < policy.threshold:
        yield failed(market, check, detail, f"configure the keys of {policy.threshold - held} more signers")
    else:
        yield passed(market, check, detail)
