"""Put up trial markets with a steward over them: the reference protocol on a chain of one's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chain.deploy import Deployer, Steps
from chain.progress import Progress, write_whole
from chain.rollout import Roles, put_up_steward, put_up_trial_market

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from config.deployment import Deployment, Policies
    from config.protocol import Protocol


def deploy_on(
    deployer: Deployer,
    protocols: Mapping[str, Protocol],
    policies: Mapping[str, Policies],
    price: float,
    roles: Roles | None = None,
) -> Deployment:
    """Deploy trial markets and a steward with a connected deployer, who holds every role unless `roles` says else."""
    steps = Steps(deployer, Progress())
    return put_up_trial(steps, protocols, policies, price, roles or Roles.held_by(deployer.address, policies))


def put_up_trial(
    steps: Steps, protocols: Mapping[str, Protocol], policies: Mapping[str, Policies], price: float, roles: Roles
) -> Deployment:
    """Put up a trial market a binding, each priced at `price`, and one steward over them."""
    charges = [put_up_trial_market(steps, name, price, binding, policies[name]) for name, binding in protocols.items()]
    return put_up_steward(steps, charges, roles, trial=True)


def write_deployment(target: Path, deployment: Deployment) -> None:
    """Write the deployment file in one step: a reader sees the old one or the new one."""
    write_whole(target, deployment.model_dump_json(indent=2))
