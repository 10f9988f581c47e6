"""Check that a market's accounts are found, described and judged as its binding says, as every decision does it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chain.accounts import (
    accounts_since,
    find_accounts,
    health_calls,
    looked_up,
    lookup_calls,
    round_calls,
    rounds_of,
    with_rounds,
)
from chain.protocol import BindingError, word
from chain.rpc import Refused, read
from chain.steward import revert_reason
from config.errors import ConfigError
from keeper.findings import Finding, failed, noted, passed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from chain.protocol import BoundProtocol
    from chain.rpc import Call
    from config.errors import Place
    from keeper.ground import Ground, Source
    from models.market import Account

FOUND, DESCRIBED = "accounts are found", "accounts are described"
CHECKED, JUDGED, LIQUIDATED = "oracle rounds answer", "health answers", "an account can be liquidated"


class Mismatch(Exception):
    """A contract does not answer as the binding says: in which check, and where in the binding the cause stands."""

    def __init__(self, check: str, place: Place, detail: str) -> None:
        super().__init__(detail)
        self.check = check
        self.place = place


@dataclass(frozen=True, slots=True)
class Asked:
    """The accounts that answered a view, and their answers; `refused` says what the others said, if there were any."""

    accounts: tuple[Account, ...]
    answers: list[bytes]
    refused: str


async def check_accounts(ground: Ground, market: str, source: Source, bound: BoundProtocol) -> list[Finding]:
    """Find the accounts and ask of each what the binding names, up to the first answer that is not as it says.

    Where there is no account to ask, that is noted: the views behind it are not known to work then. So is a view that
    some accounts answer and some do not: the binding is right, and the keeper refuses every decision until all do.
    """
    findings = []
    try:
        async for finding in _stages(ground, market, source, bound):
            findings.append(finding)  # noqa: PERF401 - what was found before a mismatch is kept
    except Mismatch as error:
        remedy = "mend what the binding says there; until it fits, the keeper refuses every decision of this market"
        findings.append(failed(market, error.check, str(error), remedy, source.where(error.place)))
    except ConfigError as error:
        findings.append(failed(market, FOUND, str(error), f"mend markets.{market} in the deployment file"))
    return findings


async def _stages(ground: Ground, market: str, source: Source, bound: BoundProtocol) -> AsyncIterator[Finding]:
    accounts = await _found(ground, market, bound)
    if not accounts:
        yield noted(market, FOUND, "no account to ask: lookups, oracle rounds and health were not tried")
        return
    yield passed(market, FOUND, f"{len(accounts)} accounts")
    lookups = bound.binding.accounts.lookups
    for index in range(len(lookups)):
        accounts, refused = await _described(ground, bound, index, accounts)
        if refused:
            yield noted(market, DESCRIBED, refused, source.where(("accounts", "lookups", index)))
    if not accounts:
        yield noted(market, DESCRIBED, "no open account to ask: oracle rounds and health were not tried")
        return
    if lookups:
        yield passed(market, DESCRIBED, f"{len(lookups)} lookups, {len(accounts)} open accounts")
    if bound.binding.health.rounds is not None:
        accounts, refused = await _with_rounds(ground, bound, accounts)
        if refused:
            yield noted(market, CHECKED, refused, source.where(("health", "rounds", "latest")))
        yield passed(market, CHECKED, f"{sum(len(rounds_of(one)) for one in accounts)} rounds to check")
    judged, refused = await _judged(ground, bound, accounts)
    if refused:
        yield noted(market, JUDGED, refused, source.where(("health",)))
    yield passed(market, JUDGED, judged)
    if bound.binding.liquidation is not None:
        with _at(LIQUIDATED, ("liquidation",)):
            bound.liquidation_call(accounts[0])
        yield passed(market, LIQUIDATED, f"{bound.binding.liquidation.function} takes its arguments; it was not called")


async def _found(ground: Ground, market: str, bound: BoundProtocol) -> tuple[Account, ...]:
    """Ask first for the number alone, so that a fault is put down to the right line."""
    ways = bound.binding.accounts
    way, what, key, getter = "events", "eth_getLogs", "", None
    if ways.view is not None:
        way, what, key, getter = "view", ways.view.function, "count", ways.view.count
    elif ways.ids is not None:
        way, what, key, getter = "ids", ways.ids.end.function, ways.ids.end_key, ways.ids.end
    if getter is not None:
        place = ("accounts", way, key)
        with _at(FOUND, place, getter.function):
            word((await read(ground.rpc, [bound.call(getter)], ground.block))[0], getter.word, ".".join(place))
    since_block = accounts_since(market, ground.deployment.markets[market], bound.binding)
    with _at(FOUND, ("accounts", way), what):
        return await find_accounts(bound, ground.rpc, ground.block, since_block)


async def _described(
    ground: Ground, bound: BoundProtocol, index: int, accounts: tuple[Account, ...]
) -> tuple[tuple[Account, ...], str]:
    place = ("accounts", "lookups", index)
    with _at(DESCRIBED, place):
        calls = lookup_calls(bound, index, accounts)
        asked = await _ask(ground, (DESCRIBED, place), bound.binding.accounts.lookups[index].function, accounts, calls)
        return looked_up(bound, index, asked.accounts, asked.answers), asked.refused


async def _with_rounds(
    ground: Ground, bound: BoundProtocol, accounts: tuple[Account, ...]
) -> tuple[tuple[Account, ...], str]:
    rounds = bound.binding.health.rounds
    assert rounds is not None
    place = ("health", "rounds", "latest")
    with _at(CHECKED, place):
        calls = round_calls(bound, accounts)
        asked = await _ask(ground, (CHECKED, place), rounds.latest.function, accounts, calls)
        for answer in asked.answers:
            word(answer, rounds.latest.word, "health.rounds.latest")
    with _at(CHECKED, ("health", "rounds", "first")):
        return with_rounds(bound, asked.accounts, asked.answers), asked.refused


async def _judged(ground: Ground, bound: BoundProtocol, accounts: tuple[Account, ...]) -> tuple[str, str]:
    """Return how many accounts could be liquidated, in words, and what those said that do not answer."""
    place, function = ("health",), bound.binding.health.function
    each = tuple(account for account in accounts for _ in rounds_of(account))
    with _at(JUDGED, place):
        asked = await _ask(ground, (JUDGED, place), function, each, health_calls(bound, accounts))
    unhealthy = set()
    for account, answer in zip(asked.accounts, asked.answers, strict=True):
        with _at(JUDGED, place):
            if bound.is_liquidatable(answer, bound.threshold_of(account)):
                unhealthy.add(account.address)
    answered = len({account.address for account in asked.accounts})
    return f"{answered} accounts answer, {len(unhealthy)} liquidatable", asked.refused


async def _ask(
    ground: Ground,
    concern: tuple[str, Place],
    function: str,
    accounts: tuple[Account, ...],
    calls: Sequence[Call],
) -> Asked:
    """Make a call for each account, all together. Raises Mismatch when none is answered."""
    if not calls:
        return Asked((), [], "")
    try:
        return Asked(accounts, await read(ground.rpc, calls, ground.block), "")
    except Refused as error:
        pairs = list(zip(accounts, await _each(ground, calls), strict=True))
        answered = [(one, answer) for one, answer in pairs if isinstance(answer, bytes)]
        refused = [(one, answer) for one, answer in pairs if isinstance(answer, Refused)]
        if not refused:
            raise  # the endpoint takes the calls apart and not together
        account, first = refused[0]
        reason = f"{function} of account {account.address} is refused: {revert_reason(first)}"
        if not answered:
            raise Mismatch(*concern, reason) from error
        words = f"{reason} ({len(refused)} of {len(pairs)}); until it is not, every decision of this market is refused"
        return Asked(tuple(one for one, _ in answered), [answer for _, answer in answered], words)


async def _each(ground: Ground, calls: Sequence[Call]) -> list[bytes | Refused]:
    """Return each call's answer or refusal, told apart by halving."""
    try:
        return list(await read(ground.rpc, calls, ground.block))
    except Refused as error:
        middle = len(calls) // 2
        return [*await _each(ground, calls[:middle]), *await _each(ground, calls[middle:])] if middle else [error]


@contextlib.contextmanager
def _at(check: str, place: Place, what: str = "") -> Iterator[None]:
    """Raise Mismatch for a view that is refused, where `what` names it, and for an answer that does not fit."""
    try:
        yield
    except Refused as error:
        if not what:
            raise
        raise Mismatch(check, place, f"{what} is refused: {revert_reason(error)}") from None
    except BindingError as error:
        raise Mismatch(check, place, str(error)) from None
