"""Check that the steward would do for a market what its binding says, and that the protocol would let it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eth_utils.address import to_checksum_address

from chain.policy import NOBODY, Policy, PolicyError, SetterRule
from chain.protocol import BindingError
from chain.rpc import Refused, read
from chain.runtime import code_at
from chain.steward import ACTIVE, MARKET_STATE, PAUSED, VIEW_TYPE, market_id
from keeper.check_quorum import check_quorum
from keeper.check_rollback import check_rollback
from keeper.check_setters import check_setters
from keeper.findings import Finding, failed, noted, passed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from chain.protocol import BoundProtocol
    from config.errors import Place
    from keeper.ground import Ground, Source

AGREES = "the stored policy is the binding's"

Difference = tuple["Place", str]
"""Where in the binding the other side of it stands, and what differs."""


async def check_policy(
    ground: Ground, market: str, source: Source, bound: BoundProtocol, own: Sequence[str]
) -> list[Finding]:
    """Check everything about a market that the steward knows or does. `own` are addresses whose keys are held."""
    key = market_id(market)
    answer = await ground.view(ground.deployment.steward, "policy_of(bytes32)", ["address"], key)
    stored = to_checksum_address(answer[0]) if answer else NOBODY
    if stored == NOBODY:
        remedy = "store one and have governance put it into force by set_policy"
        return [failed(market, "a policy is in force", "none is", remedy)]
    try:
        policy = Policy.read(await code_at(ground.rpc, stored, ground.block))
    except PolicyError as error:
        return [failed(market, "a policy is in force", f"{stored}: {error}", "have governance set another")]
    findings = [_in_force(ground, market, stored)]
    differences = list(policy_differences(policy, bound, ground.deployment.markets[market].executor))
    remedy = "mend the binding, or have governance put a policy made from it into force"
    findings += [failed(market, AGREES, what, remedy, source.where(place)) for place, what in differences]
    if not differences:
        sizes = f"{len(policy.reads)} reads, {len(policy.setters)} setters, {len(policy.invariants)} invariants"
        findings.append(passed(market, AGREES, f"{len(policy.parameters)} parameters, {sizes}"))
        findings += check_rollback(market, source, policy)
    findings += check_quorum(ground.deployment, market, policy, own)
    findings.append(await _is_active(ground, market))
    return [*findings, *await _live(ground, market, source, policy, bound), *await _executor(ground, market, policy)]


def _in_force(ground: Ground, market: str, stored: str) -> Finding:
    """Governance may set another at any time, so a difference is told and stops nothing."""
    recorded = to_checksum_address(ground.deployment.markets[market].policy)
    check = "the policy in force is as recorded"
    return passed(market, check, stored) if stored == recorded else noted(market, check, f"{stored}, not {recorded}")


def policy_differences(policy: Policy, bound: BoundProtocol, executor: str | None) -> Iterator[Difference]:
    """Yield what a stored policy has otherwise than the binding; limits are governance's alone and not compared."""
    wanted = to_checksum_address(executor or NOBODY)
    if policy.executor != wanted:
        yield (), f"calls go through {policy.executor}, the deployment file says {wanted}"
    parameters = bound.binding.parameters
    if len(policy.parameters) != len(parameters):
        yield ("parameters",), f"{len(policy.parameters)} parameters are stored, the binding has {len(parameters)}"
        return
    yield from _positions(policy, bound)
    for index, (limits, parameter) in enumerate(zip(policy.parameters, parameters, strict=True)):
        for key, stored, meant in (
            ("tightening", "up" if limits.tightening_up else "down", parameter.tightening),
            ("reversible", limits.reversible, parameter.reversible),
            ("group", _named(bound, limits.coupled), _named(bound, bound.coupled_mask(index))),
        ):
            if stored != meant:
                yield ("parameters", index, key), f"{parameter.name}: {key} is stored as {stored}, not {meant}"
    yield from _setters(policy, bound)
    yield from _invariants(policy, bound)
    target, selector, word, mode = bound.health_rule()
    health = (to_checksum_address(target), selector, word, mode)
    found = (policy.health.target, policy.health.selector, policy.health.word, policy.health.mode)
    if found != health:
        yield ("health",), f"health is probed by {_show(found)}, not {_show(health)}"


def _positions(policy: Policy, bound: BoundProtocol) -> Iterator[Difference]:
    reads = [(to_checksum_address(target), bytes.fromhex(data[2:])) for target, data in bound.reads()]
    for index, parameter in enumerate(bound.binding.parameters):
        (stored_read, stored_word), (read_index, word) = policy.positions[index], bound.positions()[index]
        stored = (*policy.reads[stored_read], stored_word) if stored_read < len(policy.reads) else ()
        if stored != (*reads[read_index], word):
            meant = _show((*reads[read_index], word))
            yield ("parameters", index, "getter"), f"{parameter.name} is read from {_show(stored)}, not {meant}"


def _setters(policy: Policy, bound: BoundProtocol) -> Iterator[Difference]:
    meant = [SetterRule(to_checksum_address(to), selector, words) for to, selector, words in bound.setter_words()]
    for index, setter in enumerate(meant):
        if setter not in policy.setters:
            yield ("setters", index), f"does not call {_describe(setter)}"
    for stored in policy.setters:
        if stored not in meant:
            yield ("setters",), f"calls {_describe(stored)}, which the binding does not"
    if policy.setters != tuple(meant) and set(policy.setters) == set(meant):
        yield ("setters",), "calls the setters in another order"


def _describe(setter: SetterRule) -> str:
    words = ", ".join(str(number) if index is None else f"${index}" for index, number in setter.words)
    return f"{setter.target} 0x{setter.selector.hex()}({words})"


def _invariants(policy: Policy, bound: BoundProtocol) -> Iterator[Difference]:
    stored, meant = set(policy.invariants), bound.invariants()
    for line, invariant in zip(bound.binding.invariants, meant, strict=True):
        if invariant not in stored:
            yield ("invariants",), f"does not hold {line!r}"
    names = [parameter.name for parameter in bound.binding.parameters]
    for a, factor_a, b, factor_b in sorted(stored - set(meant)):
        yield ("invariants",), f"holds {names[a]} * {factor_a} <= {names[b]} * {factor_b}, which the binding has not"


async def _is_active(ground: Ground, market: str) -> Finding:
    answer = await ground.view(ground.deployment.steward, MARKET_STATE, [VIEW_TYPE], market_id(market))
    check = "the steward takes changes"
    if answer is None:
        return failed(market, check, "the steward cannot read it", "mend what fails above")
    status = answer[0][0]
    if status == PAUSED:
        return noted(market, check, "paused; governance lifts it by unpause")
    if status != ACTIVE:
        state = "never activated" if status == 0 else "retired"
        return failed(market, check, f"the market was {state}", "have governance activate it, or name another market")
    return passed(market, check, "active")


async def _live(ground: Ground, market: str, source: Source, policy: Policy, bound: BoundProtocol) -> list[Finding]:
    """Hold the live values against corridors and invariants, and try whether the steward could set them."""
    try:
        values = bound.values(await read(ground.rpc, bound.reads(), ground.block))
        bound.setter_calls(values, range(len(values)))
    except (Refused, BindingError) as error:
        return [failed(market, "the live values can be read", str(error), "mend the getter that fails above")]
    broken = list(_broken(policy, bound, values))
    remedy = "have governance change the value on the protocol and rebase, or set a policy that holds it"
    findings = [failed(market, "live values keep the policy", words, remedy) for words in broken]
    if not broken:
        findings.append(passed(market, "live values keep the policy", " ".join(map(str, values))))
    return [*findings, *await check_setters(ground, market, source, bound, values)]


def _broken(policy: Policy, bound: BoundProtocol, values: tuple[int, ...]) -> Iterator[str]:
    names = [parameter.name for parameter in bound.binding.parameters]
    for name, value, limits in zip(names, values, policy.parameters, strict=False):
        if not limits.minimum <= value <= limits.maximum:
            yield f"{name} is {value}, its corridor {limits.minimum}..{limits.maximum}"
    for a, factor_a, b, factor_b in policy.invariants:
        if max(a, b) < len(values) and values[a] * factor_a > values[b] * factor_b:
            yield f"{names[a]} * {factor_a} <= {names[b]} * {factor_b} does not hold: {values[a]}, {values[b]}"


async def _executor(ground: Ground, market: str, policy: Policy) -> list[Finding]:
    """Where calls go through a Safe, it must have the steward as a module."""
    if policy.executor == NOBODY:
        return []
    steward, check = ground.deployment.steward, "the Safe has the steward as a module"
    answer = await ground.view(policy.executor, "isModuleEnabled(address)", ["bool"], steward)
    if answer is None or not answer[0]:
        remedy = f"have the Safe's owners call enableModule({steward}) on the Safe itself"
        return [failed(market, check, f"{policy.executor} has not", remedy)]
    return [passed(market, check, policy.executor)]


def _named(bound: BoundProtocol, mask: int) -> str:
    names = [parameter.name for index, parameter in enumerate(bound.binding.parameters) if mask >> index & 1]
    return " + ".join(names) or "none"


def _show(parts: tuple[Any, ...]) -> str:
    return " ".join("0x" + part.hex() if isinstance(part, bytes) else str(part) for part in parts) or "nothing"
