"""Check what a deployment is asked for, against itself and against the chain, before anything is sent."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from web3.exceptions import ContractLogicError

from chain.deploy import asking
from chain.protocol import BindingError, BoundProtocol, word
from chain.rpc import Refused, Rpc, head, read
from chain.runtime import runtime_of
from chain.steward import revert_reason
from config.deployment import MAX_SIGNERS
from config.errors import ConfigError
from config.load import policies_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from chain.deploy import Deployer
    from chain.rollout import Charge
    from config.deployment import MarketContracts, Policies
    from config.protocol import Protocol
    from models.market import BlockStamp

MAX_PROPOSERS = 16
"""What the timelock takes when it is put up."""

MAX_PRICE = 10**27
"""Largest price that the reference market settles at, as its feed scales it."""

MAX_NAME_BYTES = 16
"""What the reference market takes for its name."""

TRIAL_CONTRACTS = ("market", "oracle", "collateral")
TRIAL_PARAMETERS = 6
"""What a trial market puts up, by the names that a binding may use for it."""

NOWHERE = "0x" + "00" * 19 + "99"
"""Where the price feed of a market that is only tried stands."""


def require_quorum(threshold: int, signers: Sequence[str]) -> None:
    """Raise ConfigError unless the steward takes so many signers, and they are enough for the threshold."""
    if len(signers) > MAX_SIGNERS:
        raise ConfigError(f"--signer: {len(signers)} addresses, the steward takes {MAX_SIGNERS}")
    if not 0 < threshold <= len(signers):
        raise ConfigError(f"--threshold {threshold}: must be in 1..{len(signers)}, the number of signers")


def require_proposers(addresses: Sequence[str]) -> None:
    """Raise ConfigError when governance is of more accounts than the timelock takes."""
    if len(addresses) > MAX_PROPOSERS:
        raise ConfigError(f"--governance: {len(addresses)} addresses, the timelock takes {MAX_PROPOSERS}")


# A trial market


def require_startable(
    protocols: Mapping[str, Protocol], policies: Mapping[str, Policies], policies_file: Path | None, price: float
) -> None:
    """Raise ConfigError for what keeps trial markets from starting, as far as names, price and policies tell."""
    for name, binding in protocols.items():
        if len(name.encode()) > MAX_NAME_BYTES:
            raise ConfigError(f"market {name}: a trial market's name has at most {MAX_NAME_BYTES} bytes")
        BoundProtocol(binding, dict.fromkeys(TRIAL_CONTRACTS, NOWHERE))
        if len(binding.parameters) != TRIAL_PARAMETERS:
            number = len(binding.parameters)
            raise ConfigError(f"binding {binding.name}: {number} parameters, a trial market has {TRIAL_PARAMETERS}")
        _require_price(price, binding.price.scale)
        _require_start(policies_path(binding, policies_file), binding, policies[name])


def _require_price(price: float, scale: int) -> None:
    if not math.isfinite(price) or not 1 <= round(price * scale) <= MAX_PRICE:
        lowest, highest = 1 / scale, MAX_PRICE / scale
        raise ConfigError(f"--price {price:g}: must be in {lowest:g}..{highest:g}, what the feed can say")


def _require_start(path: Path, binding: Protocol, policies: Policies) -> None:
    """A trial market starts somewhere; one that stands has live values."""
    missing = [key for key in ("ramp_seconds", "max_price_age_seconds") if getattr(policies, key) is None]
    missing += [f"limits.{key}.initial" for key, limits in policies.limits.items() if limits.initial is None]
    if missing:
        raise ConfigError(f"{path}: a trial market needs {', '.join(missing)}")
    initial = _initial(binding, policies)
    for line, a, b in _broken(binding, initial):
        found = f"limits.{a}.initial = {initial[binding.id_of(a)]}, limits.{b}.initial = {initial[binding.id_of(b)]}"
        raise ConfigError(f"{path}: {found}: must keep {line!r} of binding {binding.name}")


def try_start(deployer: Deployer, name: str, binding: Protocol, policies: Policies, policies_file: Path | None) -> None:
    """Put a trial market up without sending anything. Raises ConfigError with the market's own words if it refuses."""
    values, ramp, age = _initial(binding, policies), policies.ramp_seconds, policies.max_price_age_seconds
    creation = deployer.creation("options_market", name, NOWHERE, NOWHERE, values, ramp, age)
    call = {"from": deployer.address, "data": creation.data_in_transaction}
    feed = {NOWHERE: {"code": "0x" + runtime_of("price_feed").code.hex()}}
    with asking(f"{name}: try options_market"):
        try:
            deployer.web3.eth.call(call, "latest", feed)  # type: ignore[arg-type]
        except ContractLogicError as error:
            start = ", ".join(f"{one.name} {value}" for one, value in zip(binding.parameters, values, strict=True))
            path = policies_path(binding, policies_file)
            raise ConfigError(f"{path}: a trial market cannot start at {start}: {error.message}") from None


def _initial(binding: Protocol, policies: Policies) -> list[int]:
    return [policies.limits[parameter.name].initial or 0 for parameter in binding.parameters]


# Protocols that stand


def require_executor(path: Path | None, name: str, binding: Protocol, market: MarketContracts) -> None:
    """Raise ConfigError when calls would go through the very contract that they are for."""
    for setter in binding.setters:
        key = setter.contract or binding.contracts[0]
        if market.executor is not None and market.executor.lower() == market.contracts[key].lower():
            rule = f"is contracts.{key} itself, of which {setter.function} is called; must be the Safe that owns it"
            raise ConfigError(f"{path}: markets.{name}.executor = {market.executor}: {rule}")


async def require_live_values(
    url: str, path: Path | None, charges: Sequence[Charge], policies_file: Path | None
) -> None:
    """Raise ConfigError when a market's getters give no values, or such as its policies or binding do not allow.

    `path` is the markets file.
    """
    async with Rpc(url) as rpc:
        block = await head(rpc)
        for charge in charges:
            name, binding = charge.name, charge.binding
            values = [await _live(rpc, f"{path}: markets.{name}", charge, index, block) for index in _ids(binding)]
            for parameter, value in zip(binding.parameters, values, strict=True):
                limits = charge.policies.limits[parameter.name]
                if not limits.minimum <= value <= limits.maximum:
                    rule = f"outside minimum..maximum {limits.minimum}..{limits.maximum}"
                    limits_path = policies_path(binding, policies_file)
                    raise ConfigError(f"{limits_path}: limits.{parameter.name}: {name} has {value} live, {rule}")
            for line, a, b in _broken(binding, values):
                found = f"{a} {values[binding.id_of(a)]} and {b} {values[binding.id_of(b)]} are live"
                raise ConfigError(f"{path}: markets.{name}: {found}, which breaks {line!r} of binding {binding.name}")


async def _live(rpc: Rpc, where: str, charge: Charge, index: int, block: BlockStamp) -> int:
    parameter = charge.binding.parameters[index]
    getter = parameter.getter
    target, data = charge.bound.call(getter)
    try:
        answer = (await read(rpc, [(target, data)], block))[0]
        return word(answer, getter.word, getter.function)
    except Refused as error:
        reason = revert_reason(error)
    except BindingError as error:
        reason = str(error)
    key = getter.contract or charge.binding.contracts[0]
    raise ConfigError(f"{where}.contracts.{key} = {target}: its {getter.function} gives no {parameter.name}: {reason}")


def _ids(binding: Protocol) -> range:
    return range(len(binding.parameters))


def _broken(binding: Protocol, values: Sequence[int]) -> Iterator[tuple[str, str, str]]:
    """Yield each invariant that values in id order break, with the names of its two parameters."""
    for line in binding.invariants:
        a, factor_a, b, factor_b = binding.inequality(line)
        if values[a] * factor_a > values[b] * factor_b:
            yield line, binding.parameters[a].name, binding.parameters[b].name
