"""Act as who holds a role: governance through the timelock, on the steward and the timelock, a guardian at once."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from eth_abi.abi import decode, encode
from eth_utils.abi import function_signature_to_4byte_selector
from eth_utils.address import to_checksum_address

from chain.deploy import Deployer, DeployError, Steps, asking
from chain.policy import NOBODY
from chain.progress import Progress
from chain.remedies import with_remedy
from chain.roles import CANCELLER_ROLE, DEFAULT_ADMIN_ROLE, EXECUTOR_ROLE, GUARDIAN_ROLE, PROPOSER_ROLE, holders
from chain.rollout import Charge, store_policy
from chain.rpc import Refused, Rpc, head, require_chain
from chain.steward import ACTIVE, market_id
from chain.timelock import MAX_CALL_BYTES, MAX_SALT, Operation, Stage, refusal, standing
from config.addresses import address_of, addresses_of
from config.deployment import MAX_SECONDS
from config.errors import ConfigError
from keeper.check_quorum import is_recorded, quorum_keys
from keeper.deploy_checks import require_quorum

if TYPE_CHECKING:
    from collections.abc import Sequence

    from web3.contract import Contract

    from chain.policy import Policy
    from config.deployment import Deployment, Policies
    from config.load import Secrets
    from config.protocol import Protocol
    from config.schema import Settings
    from models.market import BlockStamp

FUNCTIONS = {
    "activate": ("market",),
    "grantRole": ("role", "address"),
    "hand_on": ("address", "bytes"),
    "rebase": ("market",),
    "retire": ("market",),
    "revokeRole": ("role", "address"),
    "set_policy": ("market", "address"),
    "unpause": ("markets",),
    "update_delay": ("seconds",),
}
"""What governance alone may call on the steward or on the timelock itself, and what its arguments are."""

TYPES = {
    "address": "address",
    "bytes": "bytes",
    "market": "bytes32",
    "markets": "bytes32[]",
    "role": "bytes32",
    "seconds": "uint256",
}
"""The ABI type of each kind of argument."""

STEWARDS = {"admin": DEFAULT_ADMIN_ROLE, "guardian": GUARDIAN_ROLE}
TIMELOCKS = {"canceller": CANCELLER_ROLE, "executor": EXECUTOR_ROLE, "proposer": PROPOSER_ROLE}
ROLES = STEWARDS | TIMELOCKS
"""Roles by the names that an operator writes, by the contract that knows them."""

NEEDED = frozenset({"executor", "proposer"})
"""Roles of the timelock that can never be granted again once nobody holds them."""

REVOKE_ROLE = bytes(function_signature_to_4byte_selector("revokeRole(bytes32,address)"))

DIGEST_BYTES = 32

MAX_MARKETS = 32
"""What the steward pauses or unpauses in one call."""

STATUSES = ("never activated", "active", "retired", "paused")
"""A market's status in words, by its number."""


def operation_of(deployment: Deployment, function: str, arguments: Sequence[str], salt: int) -> Operation:
    """Return the operation that has the timelock call a function of the steward, or of itself.

    A market is written by its name, several with commas, a role by its name in `ROLES`. Raises ConfigError.
    """
    kinds = FUNCTIONS.get(function)
    if kinds is None:
        raise ConfigError(f"{function}: governance calls one of {', '.join(FUNCTIONS)}")
    if len(arguments) != len(kinds):
        raise ConfigError(f"{function} takes {len(kinds)} arguments, not {len(arguments)}")
    if not 0 <= salt <= MAX_SALT:
        raise ConfigError(f"--salt {salt}: must be in 0..2^256 - 1")
    values = [_value(deployment, kind, text) for kind, text in zip(kinds, arguments, strict=True)]
    types = [TYPES[kind] for kind in kinds]
    selector = function_signature_to_4byte_selector(f"{function}({','.join(types)})")
    if "role" in kinds:
        _keep_governed(deployment, function, *arguments)
    is_timelocks = function == "update_delay" or ("role" in kinds and arguments[0] in TIMELOCKS)
    data = bytes(selector) + encode(types, values)
    if len(data) > MAX_CALL_BYTES:
        raise ConfigError(f"{function}: a call of {len(data)} bytes, the timelock takes {MAX_CALL_BYTES}")
    return Operation(deployment.timelock if is_timelocks else deployment.steward, data, salt)


def _keep_governed(deployment: Deployment, function: str, role: str, account: str) -> None:
    """Refuse to make an admin of the steward beside the timelock, or to take the timelock's own role from it."""
    if role != "admin":
        return
    is_timelock = to_checksum_address(account) == to_checksum_address(deployment.timelock)
    if function == "grantRole" and not is_timelock:
        raise ConfigError(
            f"grantRole admin {account}: must be the timelock {deployment.timelock}: an admin acts at once, without "
            "the delay; who may schedule in the timelock is a proposer"
        )
    if function == "revokeRole" and is_timelock:
        raise ConfigError(f"revokeRole admin {account}: is the timelock, and without it nobody governs the steward")


def _value(deployment: Deployment, kind: str, text: str) -> Any:
    if kind == "market":
        return _market(deployment, text)
    if kind == "markets":
        return _markets(deployment, text.split(","))
    if kind == "role":
        if text in ROLES:
            return bytes.fromhex(ROLES[text][2:])
        raise ConfigError(f"{text}: must be a role: {', '.join(ROLES)}")
    if kind == "address":
        return address_of(text)
    if kind == "seconds":
        return _seconds(text)
    return _hex(text)


def _seconds(text: str) -> int:
    """No delay would do away with the timelock, and too long a one with governance."""
    if not re.fullmatch(r"[0-9]{1,9}", text) or not 0 < int(text) <= MAX_SECONDS:
        raise ConfigError(f"{text}: must be seconds, a whole number in 1..{MAX_SECONDS}")
    return int(text)


def _market(deployment: Deployment, name: str) -> bytes:
    _require_markets(deployment, [name])
    return market_id(name)


def _require_markets(deployment: Deployment, names: Sequence[str]) -> None:
    """Raise ConfigError naming all that are no markets, those that there are, and those that may have been meant."""
    unknown = [name for name in names if name not in deployment.markets]
    if unknown:
        spelt = {name.casefold(): name for name in deployment.markets}
        close = [get_close_matches(name.casefold(), spelt, n=1) for name in unknown]
        meant = ", ".join(dict.fromkeys(spelt[match[0]] for match in close if match))
        hint = f" (did you mean {meant}?)" if meant else ""
        known = ", ".join(deployment.markets)
        raise ConfigError(f"{', '.join(unknown)}: must be a market of the deployment file: {known}{hint}")


def _markets(deployment: Deployment, names: Sequence[str]) -> list[bytes]:
    if len(set(names)) < len(names):
        raise ConfigError(f"{','.join(names)}: a market is given twice")
    if len(names) > MAX_MARKETS:
        raise ConfigError(f"{len(names)} markets: the steward takes {MAX_MARKETS} in one call")
    _require_markets(deployment, names)
    return [market_id(name) for name in names]


def _hex(text: str) -> bytes:
    if not re.fullmatch(r"0x([0-9a-fA-F]{2})*", text):
        raise ConfigError(f"{text}: must be hex: 0x and two digits a byte")
    return bytes.fromhex(text[2:])


async def govern(
    settings: Settings, secrets: Secrets, deployment: Deployment, operation: Operation, *, send: bool, force: bool
) -> list[str]:
    """Tell how far an operation is and with which calls it goes on; with `send` make the one that is due.

    What would be refused if it were executed now is scheduled with `force` alone: it may be right later. Raises
    ConfigError without a key to send with, DeployError when the chain refuses.
    """
    url = settings.chain.rpc_url.get_secret_value()
    async with Rpc(url) as rpc:
        await require_chain(rpc, settings.chain.chain_id)
        block = await head(rpc)
        found = await standing(rpc, deployment.timelock, operation, block)
        unknown = await _keep_holders(rpc, deployment, operation, block)
        refused = None
        if found.stage is not Stage.DONE:
            refused = await refusal(rpc, deployment.timelock, operation, block)
    waits = found.ready_at and found.stage is not Stage.READY
    when = f", ready at {datetime.fromtimestamp(found.ready_at, UTC):%Y-%m-%d %H:%M:%S} UTC" if waits else ""
    lines = [f"operation 0x{operation.id.hex()} of timelock {deployment.timelock}: {found.stage}{when}", *unknown]
    if refused is not None:
        lines.append(with_remedy(f"executed now it would be refused: {refused}"))
        if send and not force and found.stage is Stage.UNKNOWN:
            rule = "--force schedules it all the same, for what will be true once the delay is over"
            raise DeployError(with_remedy(f"schedule: executed now it would be refused: {refused}; {rule}"))
    calls = {Stage.UNKNOWN: operation.schedule(found.delay), Stage.READY: operation.execution}
    if send and found.stage in calls:
        step = "schedule" if found.stage is Stage.UNKNOWN else "execute"
        tx_hash = _deployer(settings, secrets, deployment).send_data(step, deployment.timelock, calls[found.stage])
        return [*lines, f"{step}d in {tx_hash}"]
    if found.stage is Stage.UNKNOWN:
        lines.append(f"schedule: to {deployment.timelock} data 0x{operation.schedule(found.delay).hex()}")
    if found.stage is not Stage.DONE:
        lines.append(f"execute: to {deployment.timelock} data 0x{operation.execution.hex()}")
    if found.stage in {Stage.WAITING, Stage.READY}:
        lines.append(f"cancel: to {deployment.timelock} data 0x{operation.cancellation.hex()}")
    return lines


async def _keep_holders(rpc: Rpc, deployment: Deployment, operation: Operation, block: BlockStamp) -> list[str]:
    """Raise ConfigError for an operation that takes from the last holder a role which the timelock cannot do without.

    An endpoint that does not serve the logs which tell is no hindrance; return a warning then, and nothing otherwise.
    """
    if operation.target != deployment.timelock or operation.data[:4] != REVOKE_ROLE:
        return []
    role, account = decode(["bytes32", "address"], operation.data[4:])
    name = next(name for name, known in TIMELOCKS.items() if known == "0x" + role.hex())
    try:
        held = await holders(rpc, deployment.timelock, deployment.block, block)
    except Refused as error:
        unknown = f"it is not known whether {account} is the last {name}: the endpoint serves no logs ({error.message})"
        return [f"{unknown}; make sure of another one, or governance may decide nothing any more"]
    if name in NEEDED and held.get(ROLES[name]) == frozenset({str(to_checksum_address(account))}):
        raise ConfigError(
            f"revokeRole {name} {account}: is the last {name}, and without one governance can decide nothing any more"
        )
    return []


def charge_of(deployment: Deployment, name: str, binding: Protocol, policies: Policies) -> Charge:
    """Return a deployed market as one to be put under a policy. Raises ConfigError when it is not deployed."""
    _market(deployment, name)
    return Charge(name, deployment.markets[name], binding, policies)


def store(
    settings: Settings,
    secrets: Secrets,
    deployment: Deployment,
    charge: Charge,
    signers: Sequence[str] = (),
    threshold: int | None = None,
) -> tuple[str, Policy]:
    """Store a market's policy and return where it stands, and it. The quorum is the deployment file's where not given.

    Raises ConfigError without a key, for a quorum that cannot be, or when the file's is to be taken and is not the one
    in force: a change of limits must not bring signers back that were replaced. Raises DeployError when the registry
    refuses the policy.
    """
    signers = addresses_of(signers, "--signer")
    count, who = deployment.threshold if threshold is None else threshold, signers or deployment.signers
    require_quorum(count, who)
    deployer = _deployer(settings, secrets, deployment)
    registry = deployer.at("policy_registry", deployment.registry)
    if not signers or threshold is None:
        _require_file_in_step(deployer, deployment, registry, charge.name)
    policy = charge.policy(count, who)
    return store_policy(Steps(deployer, Progress()), registry, charge.name, policy), policy


def _require_file_in_step(deployer: Deployer, deployment: Deployment, registry: Contract, name: str) -> None:
    """Raise ConfigError when a market has another quorum in force than the deployment file says."""
    steward = deployer.at("risk_steward", deployment.steward)
    with asking("read the quorum in force"):
        stored = steward.functions.policy_of(market_id(name)).call()
        if stored == NOBODY:
            return
        threshold, signers = registry.functions.quorum(stored).call()
    if not is_recorded(deployment, threshold, signers):
        raise ConfigError(
            f"the deployment file has another quorum than the one in force for {name}: "
            f"write {quorum_keys(threshold, signers)} into it, or give both --signer and --threshold"
        )


def pause(settings: Settings, secrets: Secrets, deployment: Deployment, names: Sequence[str]) -> list[str]:
    """Have a guardian stop changes and announcements of markets at once; tell what became of each.

    A market that is not active stands in no other's way. Raises ConfigError without a key or for a market that is not
    deployed, DeployError when the steward refuses.
    """
    try:
        keys = dict(zip(names, _markets(deployment, names), strict=True))
    except ConfigError as error:
        raise ConfigError(f"nothing was paused: {error}") from None
    deployer = _deployer(settings, secrets, deployment)
    steward = deployer.at("risk_steward", deployment.steward)
    with asking("read the markets"):
        statuses = {name: steward.functions.market_state(key).call()[0] for name, key in keys.items()}
    active = [name for name in names if statuses[name] == ACTIVE]
    lines = [f"{name}: {STATUSES[statuses[name]]}, left alone" for name in names if name not in active]
    if active:
        receipt = deployer.send(steward, "pause", [keys[name] for name in active])
        lines.append(f"{', '.join(active)}: paused in {receipt['transactionHash'].to_0x_hex()}")
    return lines


def veto(settings: Settings, secrets: Secrets, deployment: Deployment, digest: str) -> str:
    """Have a guardian forbid an announced change for ever, by its EIP-712 digest; return the transaction's hash.

    Raises ConfigError without a key or for what is no digest, DeployError when the steward refuses.
    """
    raw = _hex(digest)
    if len(raw) != DIGEST_BYTES:
        raise ConfigError(f"{digest}: must be a digest, 0x and 64 hex digits")
    deployer = _deployer(settings, secrets, deployment)
    receipt = deployer.send(deployer.at("risk_steward", deployment.steward), "veto", raw)
    return receipt["transactionHash"].to_0x_hex()


def _deployer(settings: Settings, secrets: Secrets, deployment: Deployment) -> Deployer:
    """Connect with the key. A call to where nothing stands succeeds and does nothing, hence the look at the steward."""
    if secrets.private_key is None:
        raise ConfigError("KEEPER_PRIVATE_KEY: needed to send, and not set")
    url, chain_id = settings.chain.rpc_url.get_secret_value(), settings.chain.chain_id
    if deployment.chain_id != chain_id:
        raise ConfigError(f"the deployment file is of chain {deployment.chain_id}, chain.chain_id is {chain_id}")
    seconds = settings.chain.receipt_timeout_seconds
    deployer = Deployer.connect(url, secrets.private_key, chain_id, lambda _: None, seconds)
    if not deployer.has_code(deployment.steward):
        raise ConfigError(f"the deployment file's steward {deployment.steward}: no contract stands there")
    return deployer
