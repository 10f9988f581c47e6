"""Check that the contracts of a market are what its binding says: their code, their functions, their answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eth_utils.crypto import keccak

from chain.compiler import CONTRACTS
from chain.protocol import BindingError, word
from chain.rpc import Refused, read
from chain.runtime import has_function, resolve
from chain.steward import revert_reason
from keeper.check_code import check_code, check_recorded
from keeper.findings import Finding, failed, noted, passed

if TYPE_CHECKING:
    from chain.protocol import BoundProtocol
    from config.accounts import LoggedEvent
    from config.errors import Place
    from config.protocol import Use
    from keeper.ground import Ground, Source

Code = dict[str, bytes]
"""By the binding's name of a contract: its code, that of what it is a proxy for appended."""


async def check_protocol(ground: Ground, market: str, source: Source, bound: BoundProtocol) -> list[Finding]:
    """Check everything about the protocol that can be seen without the steward."""
    findings, code = await _codes(ground, market, bound)
    if bound.binding.name in CONTRACTS:
        findings.append(await check_code(ground, market, bound.binding.name, bound.address))
    uses = list(bound.binding.uses())
    findings += [*_functions(market, source, code, uses), *await _answers(ground, market, source, bound, uses)]
    findings += _events(market, source, code)
    return [*findings, *await _limits(ground, market, source, bound)]


async def _codes(ground: Ground, market: str, bound: BoundProtocol) -> tuple[list[Finding], Code]:
    findings, code = [], {}
    for name in bound.binding.contracts:
        parts = await resolve(ground.rpc, bound.contracts[name], ground.block)
        code[name] = b"".join(part for _, part in parts)
        if not parts[0][1]:
            remedy = f"mend markets.{market}.contracts.{name} in the deployment file"
            findings.append(failed(market, f"{name} stands", f"no code at {parts[0][0]}", remedy))
            continue
        findings.append(check_recorded(ground, market, f"{market}.{name}", parts[0][1]))
        findings += [check_recorded(ground, market, f"{market}.{name} -> {at}", part) for at, part in parts[1:]]
    return findings, code


def _functions(market: str, source: Source, code: Code, uses: list[Use]) -> list[Finding]:
    """Look for the selector of every function that the binding names."""
    default, check = source.binding.contracts[0], "the functions exist"
    missing, seen = [], set()
    for use in uses:
        contract, function = use.function.contract or default, use.function.function
        if (contract, function) in seen or not code[contract]:
            continue
        seen.add((contract, function))
        if not has_function(code[contract], function):
            remedy = "mend the signature, or name the contract that has it"
            detail = f"{contract} has no {function}"
            missing.append(failed(market, check, detail, remedy, source.where(use.place)))
    return missing or [passed(market, check, f"{len(seen)} selectors found in the contracts' code")]


def _events(market: str, source: Source, code: Code) -> list[Finding]:
    """Look for the topics of the binding's events. A library may log for a contract, so a missing one is but noted."""
    events: list[tuple[Place, LoggedEvent | None]] = [
        (("accounts", "events", "event"), source.binding.accounts.events),
        (("auctions", "event"), source.binding.auctions),
    ]
    return [_event(market, source, code, place, logged) for place, logged in events if logged is not None]


def _event(market: str, source: Source, code: Code, place: Place, logged: LoggedEvent) -> Finding:
    contract, event = logged.contract or source.binding.contracts[0], logged.event.signature
    check = f"{contract} logs {logged.event.name}"
    if keccak(text=event).lstrip(b"\0") in code[contract]:
        return passed(market, check, event)
    detail = f"its code does not have the topic of {event}: if it never logs that, none is ever seen"
    return noted(market, check, detail, source.where(place))


async def _answers(ground: Ground, market: str, source: Source, bound: BoundProtocol, uses: list[Use]) -> list[Finding]:
    """Call every view that needs no account: getters, price, ramp."""
    asked = [use for use in uses if use.place[0] in {"parameters", "price", "ramp"}]
    wrong = []
    for use in asked:
        words = await _refusal(ground, bound, use)
        if words:
            remedy = "mend function, arguments or word"
            wrong.append(failed(market, "the views answer", words, remedy, source.where(use.place)))
    return wrong or [passed(market, "the views answer", f"{len(asked)} of {len(asked)}")]


async def _refusal(ground: Ground, bound: BoundProtocol, use: Use) -> str:
    name = ".".join(str(part) for part in use.place)
    if use.place[0] == "parameters":
        name = f"{bound.binding.parameters[int(use.place[1])].name}.{use.place[2]}"
    try:
        (answer,) = await read(ground.rpc, [bound.call(use.function)], ground.block)
        if use.place[0] == "price":
            bound.price(answer)
        else:
            word(answer, getattr(use.function, "word", 0), name)
    except Refused as error:
        return f"{name}: {use.function.function} is refused: {revert_reason(error)}"
    except BindingError as error:
        return str(error)
    return ""


async def _limits(ground: Ground, market: str, source: Source, bound: BoundProtocol) -> list[Finding]:
    """Read the limits that the protocol itself holds, to be shown."""
    findings = []
    for index, (name, call, number) in enumerate(bound.limits()):
        check = f"limit {name}"
        try:
            value = word((await read(ground.rpc, [call], ground.block))[0], number, name)
        except (Refused, BindingError) as error:
            where = source.where(("limits", index))
            findings.append(failed(market, check, str(error), "mend the view that shows it", where))
        else:
            findings.append(passed(market, check, str(value)))
    return findings
