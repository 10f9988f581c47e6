"""Tell what in a binding contradicts itself, or what the steward could not be set up with."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from config.accounts import MARGINS
from config.calls import placeholders
from config.templates import findings, to_abi

if TYPE_CHECKING:
    from collections.abc import Iterator

    from config.calls import Finding
    from config.protocol import Protocol

MAX_SETTERS = 8
"""Of a policy: the steward makes a call of each that writes a changed parameter, and no other call."""

MAX_FACTOR = 2**127
"""Of an invariant's factors: a product with a value below 2**128 does not overflow."""

RESERVED = frozenset({"account", "auction", "contract", "market", "round"})
"""Names with a meaning of their own, which no parameter may have."""


def broken_rules(protocol: Protocol) -> Iterator[Finding]:
    """Yield every rule that a binding breaks, with the place in the file."""
    yield from _names(protocol)
    yield from _contracts(protocol)
    for use in protocol.uses():
        for place, rule in use.function.findings(use.scope, use.limit):
            yield (*use.place, *place), rule
    yield from _read(protocol)
    yield from _written(protocol)
    yield from _roles(protocol)
    yield from _groups(protocol)
    yield from _invariants(protocol)
    yield from _accounts(protocol)
    yield from _health(protocol)
    if protocol.end_auction is not None and protocol.auctions is None:
        yield ("end_auction",), "needs [auctions], which says how auctions are found"


def misfit(protocol: Protocol, name: str, value: int) -> str | None:
    """Say why a value of the parameter `name` does not fit its argument, and of which setter; None where it does."""
    setter = next(one for one in protocol.setters if name in one.parameters)
    known = placeholders(protocol.static_scope) | dict.fromkeys(setter.parameters, 0)
    try:
        setter.calldata(known | {name: value})
    except ValueError as error:
        return f"{error}, its argument of {setter.function}"
    return None


def _names(protocol: Protocol) -> Iterator[Finding]:
    for key, names in (("parameters", [p.name for p in protocol.parameters]), ("contracts", protocol.contracts)):
        repeated = [name for name, times in Counter(names).items() if times > 1]
        if repeated:
            yield (key,), f"names must be unique, repeated: {', '.join(repeated)}"
    for index, parameter in enumerate(protocol.parameters):
        if parameter.name in RESERVED:
            yield ("parameters", index, "name"), f"must not be one of {', '.join(sorted(RESERVED))}"


def _contracts(protocol: Protocol) -> Iterator[Finding]:
    users = [(use.place, use.function.contract) for use in protocol.uses()]
    if protocol.accounts.events is not None:
        users.append((("accounts", "events"), protocol.accounts.events.contract))
    if protocol.auctions is not None:
        users.append((("auctions",), protocol.auctions.contract))
    for place, contract in users:
        if contract is not None and contract not in protocol.contracts:
            yield (*place, "contract"), f"must be one of contracts: {', '.join(protocol.contracts)}"


def _read(protocol: Protocol) -> Iterator[Finding]:
    getters = [parameter.getter for parameter in protocol.parameters]
    for index, getter in enumerate(getters):
        if getter in getters[:index]:
            other = protocol.parameters[getters.index(getter)].name
            yield ("parameters", index, "getter"), f"reads the same word as that of {other}"


def _written(protocol: Protocol) -> Iterator[Finding]:
    if len(protocol.setters) > MAX_SETTERS:
        yield ("setters",), f"{len(protocol.setters)} setters, and the steward takes {MAX_SETTERS}"
    for index, setter in enumerate(protocol.setters):
        if not setter.parameters:
            yield ("setters", index), "writes no parameter"
    written = Counter(name for setter in protocol.setters for name in setter.parameters)
    for index, parameter in enumerate(protocol.parameters):
        if written[parameter.name] != 1:
            times = written[parameter.name]
            yield ("parameters", index), f"parameter {parameter.name} must be written in exactly one place, not {times}"


def _roles(protocol: Protocol) -> Iterator[Finding]:
    for index, parameter in enumerate(protocol.parameters):
        if parameter.role is None and parameter.offset:
            yield ("parameters", index, "offset"), "needs a role, whose ratio is added to it or taken from it"
        elif parameter.role is not None and parameter.tightening == "down" and not parameter.offset:
            rule = "needs an offset: where lower is tighter, the role's ratio is taken from it"
            yield ("parameters", index), rule


def _groups(protocol: Protocol) -> Iterator[Finding]:
    for index, parameter in enumerate(protocol.parameters):
        members = [protocol.parameters[other] for other in protocol.group_of(index)]
        if parameter is members[0] and len({member.role is None for member in members}) > 1:
            rule = f"group {parameter.group} moves together, so all of its parameters need a role, or none"
            yield ("parameters", index), rule


def _invariants(protocol: Protocol) -> Iterator[Finding]:
    names = [parameter.name for parameter in protocol.parameters]
    for index, line in enumerate(protocol.invariants):
        low, *_, high = line.split(" ")
        unknown = [name for name in (low, high) if name not in names]
        if unknown:
            yield ("invariants", index), f"there is no parameter {unknown[0]} ({', '.join(names)})"
        elif low == high:
            yield ("invariants", index), "must compare two parameters"
        elif (rule := _unusable_factor(protocol, line)) is not None:
            yield ("invariants", index), rule


def _unusable_factor(protocol: Protocol, line: str) -> str | None:
    try:
        _, factor_a, _, factor_b = protocol.inequality(line)
    except ZeroDivisionError:
        return "must not divide by zero"
    if factor_a == 0:
        return "must not multiply by zero"
    if max(factor_a, factor_b) >= MAX_FACTOR:
        return f"its factors {factor_a} and {factor_b} must be below 2^127"
    return None


def _accounts(protocol: Protocol) -> Iterator[Finding]:
    fields = dict(protocol.accounts.fields)
    for name in MARGINS:
        if "int" not in fields.get(name, "int"):
            yield ("accounts",), f"the value {name} must be an integer, not {fields[name]}"
    if fields.get("liquidatable", "bool") != "bool":
        yield ("accounts",), f"the value liquidatable must be a bool, not {fields['liquidatable']}"
    condition = protocol.accounts.open
    if condition is None:
        return
    if condition.field not in fields:
        yield ("accounts", "open", "field"), f"is no named value of an account ({', '.join(fields) or 'it has none'})"
        return
    try:
        to_abi(condition.constant, fields[condition.field])
    except ValueError as error:
        yield ("accounts", "open", "equals" if condition.equals is not None else "not_equals"), str(error)


def _health(protocol: Protocol) -> Iterator[Finding]:
    health = protocol.health
    known = protocol.account_scope
    if health.threshold is not None:
        for rule in findings(health.threshold, "int256", known):
            yield ("health", "threshold"), rule
    if health.rounds is not None:
        for rule in findings(health.rounds.first, "uint256", known):
            yield ("health", "rounds", "first"), rule
