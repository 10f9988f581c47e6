"""Act as governance: store a policy, and bring a call of the steward through the timelock."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from eth_abi.abi import encode
from eth_abi.exceptions import EncodingError
from eth_utils.abi import function_signature_to_4byte_selector
from eth_utils.address import is_address
from eth_utils.crypto import keccak

from chain.deploy import Deployer, Steps
from chain.progress import Progress
from chain.rollout import Charge, store_policy
from chain.rpc import Rpc, head, require_chain
from chain.steward import market_id
from chain.timelock import Operation, Stage, standing
from config.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from config.deployment import Deployment, Policies
    from config.load import Secrets
    from config.protocol import Protocol
    from config.schema import Settings

FUNCTIONS = {
    "activate": ("bytes32",),
    "grantRole": ("bytes32", "address"),
    "hand_on": ("address", "bytes"),
    "rebase": ("bytes32",),
    "retire": ("bytes32",),
    "revokeRole": ("bytes32", "address"),
    "set_policy": ("bytes32", "address"),
    "set_quorum": ("uint256", "address[]"),
    "unpause": (),
}
"""What governance alone may call on the steward, and the types of the arguments."""

ROLES = {"guardian": keccak(text="GUARDIAN_ROLE"), "governance": b"\0" * 32}


def operation_of(deployment: Deployment, function: str, arguments: Sequence[str], salt: int) -> Operation:
    """Return the operation that has the timelock call a function of the steward.

    A market is written by its name, a role as `guardian` or `governance`, a list with commas. Raises ConfigError.
    """
    types = FUNCTIONS.get(function)
    if types is None:
        raise ConfigError(f"{function}: governance calls one of {', '.join(FUNCTIONS)}")
    if len(arguments) != len(types):
        raise ConfigError(f"{function} takes {len(types)} arguments, not {len(arguments)}")
    values = [_value(deployment, one, text) for one, text in zip(types, arguments, strict=True)]
    selector = function_signature_to_4byte_selector(f"{function}({','.join(types)})")
    try:
        return Operation(deployment.steward, bytes(selector) + encode(types, values), salt)
    except EncodingError as error:
        raise ConfigError(f"{function} {' '.join(arguments)}: {error}") from None


def _value(deployment: Deployment, type_text: str, text: str) -> Any:
    if type_text == "address[]":
        found = [_value(deployment, "address", part) for part in text.split(",")]
        return sorted(found, key=lambda one: int(one, 16))
    if type_text == "address":
        if is_address(text):
            return text
        raise ConfigError(f"{text}: must be an address, 0x and 40 hex digits, its checksum right")
    if type_text == "bytes32":
        known = {name: market_id(name) for name in deployment.markets} | ROLES
        if text in known:
            return known[text]
        raise ConfigError(f"{text}: must be a market of the deployment file or a role: {', '.join(known)}")
    try:
        return int(text) if type_text == "uint256" else bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        raise ConfigError(f"{text}: must be {'a whole number' if type_text == 'uint256' else 'hex'}") from None


async def govern(
    settings: Settings, secrets: Secrets, deployment: Deployment, operation: Operation, *, send: bool
) -> list[str]:
    """Tell how far an operation is and with which calls it goes on; with `send` make the one that is due.

    Raises ConfigError without a key to send with, DeployError when the chain refuses.
    """
    url = settings.chain.rpc_url.get_secret_value()
    async with Rpc(url) as rpc:
        await require_chain(rpc, settings.chain.chain_id)
        found = await standing(rpc, deployment.timelock, operation, await head(rpc))
    when = f", ready at {datetime.fromtimestamp(found.ready_at, UTC):%Y-%m-%d %H:%M:%S} UTC" if found.ready_at else ""
    lines = [f"operation 0x{operation.id.hex()} of timelock {deployment.timelock}: {found.stage}{when}"]
    calls = {Stage.UNKNOWN: operation.schedule(found.delay), Stage.READY: operation.execution}
    if send and found.stage in calls:
        step = "schedule" if found.stage is Stage.UNKNOWN else "execute"
        tx_hash = _deployer(settings, secrets).send_data(step, deployment.timelock, calls[found.stage])
        return [*lines, f"{step}d in {tx_hash}"]
    if found.stage is Stage.UNKNOWN:
        lines.append(f"schedule: to {deployment.timelock} data 0x{operation.schedule(found.delay).hex()}")
    if found.stage is not Stage.DONE:
        lines.append(f"execute: to {deployment.timelock} data 0x{operation.execution.hex()}")
    if found.stage in {Stage.WAITING, Stage.READY}:
        lines.append(f"cancel: to {deployment.timelock} data 0x{operation.cancellation.hex()}")
    return lines


def store(
    settings: Settings, secrets: Secrets, deployment: Deployment, name: str, binding: Protocol, policies: Policies
) -> str:
    """Store a market's policy, as binding and policies describe it, and return where it stands.

    Raises ConfigError without a key or for a market that is not deployed, DeployError when the registry refuses it.
    """
    if name not in deployment.markets:
        raise ConfigError(f"the deployment file has no market {name} (it has {', '.join(deployment.markets)})")
    deployer = _deployer(settings, secrets)
    steps = Steps(deployer, Progress())
    registry = deployer.at("policy_registry", deployment.registry)
    return store_policy(steps, registry, Charge(name, deployment.markets[name], binding, policies))


def _deployer(settings: Settings, secrets: Secrets) -> Deployer:
    if secrets.private_key is None:
        raise ConfigError("KEEPER_PRIVATE_KEY: needed to send, and not set")
    url = settings.chain.rpc_url.get_secret_value()
    return Deployer.connect(url, secrets.private_key, settings.chain.chain_id, lambda _: None)
