"""Find a protocol's open accounts at one block, learn what the binding names of them, and judge their health."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from eth_abi.abi import decode

from chain.protocol import BindingError, account_key, log_fields, word
from chain.rpc import Refused, RpcError, read, stamp
from chain.steward import revert_reason
from config.accounts import ACCOUNT, MARGINS, named
from config.errors import ConfigError
from config.templates import from_abi
from models.market import Account

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from chain.protocol import BoundProtocol
    from chain.rpc import Call, Rpc
    from config.abi import Named
    from config.accounts import LoggedEvent
    from config.deployment import MarketContracts
    from config.protocol import Protocol
    from config.templates import Scalar
    from models.market import BlockStamp

CHUNK = 5_000
"""Blocks asked for in one eth_getLogs: public endpoints refuse more."""

BATCH = 20
"""Such requests sent as one."""

SETTLED_BLOCKS = 64
"""How far below the head logs no longer change: two epochs, the depth at which Ethereum calls a block final."""

MAX_ACCOUNTS = 100_000
"""More than this is taken for a wrong answer rather than read."""

OWN = {*MARGINS, "liquidatable"}
"""Named values that are fields of an account themselves."""


KeptLogs = dict[int, list[dict[str, Any]]]
"""Logs that no longer change, by the first of the `CHUNK` blocks they are of: a protocol's past is read once."""


class AccountUnreadable(RpcError):
    """A view of one account is refused: whether it is healthy cannot be known. The message names both."""


def accounts_since(name: str, market: MarketContracts, binding: Protocol) -> int:
    """Return the first block in which a market's accounts may have been logged, 0 where its binding reads no logs.

    Raises ConfigError where that is not recorded: from a later block on, older accounts would go unseen.
    """
    if binding.accounts.events is None:
        return 0
    if market.since_block is None:
        rule = "missing: give the block in which the contract that logs the accounts was created, or deploy anew"
        raise ConfigError(f"the deployment file: markets.{name}.since_block: {rule}")
    return market.since_block


async def read_accounts(
    bound: BoundProtocol, rpc: Rpc, block: BlockStamp, since_block: int, kept: KeptLogs | None = None
) -> tuple[Account, ...]:
    """Return all open accounts at `block`, in the protocol's order, with health and named values.

    One round trip finds them (two where they must be counted first), one more is made for each lookup, for oracle
    rounds and for health. Events are read from `since_block` on, except those `kept` from an earlier read. Raises
    BindingError when the answers are not what the binding says, AccountUnreadable when a view of an account reverts,
    and RpcError when the block is no longer canonical.
    """
    accounts = await find_accounts(bound, rpc, block, since_block, kept)
    for index in range(len(bound.binding.accounts.lookups)):
        view = f"accounts.lookups.{index}: {bound.binding.accounts.lookups[index].function}"
        names = [f"{view} of account {account.address}" for account in accounts]
        answers = await _ask_each(bound, rpc, names, lookup_calls(bound, index, accounts), block)
        accounts = looked_up(bound, index, accounts, answers)
    rounds = bound.binding.health.rounds
    if rounds is not None:
        names = [f"health.rounds.latest: {rounds.latest.function} of account {account.address}" for account in accounts]
        answers = await _ask_each(bound, rpc, names, round_calls(bound, accounts), block)
        accounts = with_rounds(bound, accounts, answers)
    if _says_itself(bound):
        return accounts
    names = [_health_name(bound, account, round_id) for account in accounts for round_id in rounds_of(account)]
    answers = await _ask_each(bound, rpc, names, health_calls(bound, accounts), block)
    verdicts = liquidatable(bound, accounts, answers)
    return tuple(replace(one, liquidatable=verdict) for one, verdict in zip(accounts, verdicts, strict=True))


def health_calls(bound: BoundProtocol, accounts: Sequence[Account]) -> list[Call]:
    """Return the health views of all accounts, each for each of its oracle rounds."""
    return [bound.health_call(account, round_id) for account in accounts for round_id in rounds_of(account)]


def liquidatable(bound: BoundProtocol, accounts: Sequence[Account], answers: Sequence[bytes]) -> tuple[bool, ...]:
    """Return for each account whether any of its health views, whose answers these are, says so.

    Raises BindingError naming the account whose answer is too short.
    """
    expected = sum(len(rounds_of(account)) for account in accounts)
    if len(answers) != expected:
        raise ValueError(f"{len(answers)} answers to {expected} health views")
    remaining = iter(answers)
    verdicts = []
    for account in accounts:
        threshold = bound.threshold_of(account)
        try:
            found = [bound.is_liquidatable(next(remaining), threshold) for _ in rounds_of(account)]
        except BindingError as error:
            raise BindingError(f"account {account.address}: {error}") from None
        verdicts.append(any(found))
    return tuple(verdicts)


def rounds_of(account: Account) -> tuple[int | None, ...]:
    """Return the oracle rounds in which an account is checked; (None,) where rounds do not matter."""
    return (None,) if account.rounds is None else account.rounds


async def find_accounts(
    bound: BoundProtocol, rpc: Rpc, block: BlockStamp, since_block: int, kept: KeptLogs | None = None
) -> tuple[Account, ...]:
    """Return the accounts as far as they are known before any lookup. Raises BindingError and RpcError."""
    accounts = bound.binding.accounts
    if accounts.events is not None:
        logs = await _logs(bound.log_filter(accounts.events), rpc, block, since_block, {} if kept is None else kept)
        return logged_accounts(bound, accounts.events, logs)
    getter = accounts.view.count if accounts.view is not None else accounts.ids.end  # type: ignore[union-attr]
    end = word((await read(rpc, [bound.call(getter)], block))[0], getter.word, "accounts")
    if accounts.ids is not None:
        return numbered_accounts(bound, end)
    pages = page_calls(bound, end)
    return paged_accounts(bound, await _read_each(rpc, pages, block))


def page_calls(bound: BoundProtocol, count: int) -> list[Call]:
    """Return the calls that read `count` accounts of a paged view, a page each."""
    view = bound.binding.accounts.view
    assert view is not None
    _check_number(bound, count)
    return [bound.call(view.page_at(start)) for start in range(0, count, view.page)]


def paged_accounts(bound: BoundProtocol, pages: Sequence[bytes]) -> tuple[Account, ...]:
    """Return the open accounts in the pages' answers. Raises BindingError when they do not decode."""
    view = bound.binding.accounts.view
    assert view is not None
    struct = f"({','.join(member.type for member in view.returns)})[]"
    accounts = []
    for page in pages:
        for row in _decode([struct], page, f"accounts.view: {view.function}")[0]:
            values = _named_values(view.returns, row)
            accounts.append(_learned(Account(account_key(values.pop(ACCOUNT))), values))
    return _open(bound, accounts)


def numbered_accounts(bound: BoundProtocol, end: int) -> tuple[Account, ...]:
    """Return the accounts that running ids name, given where they end. Raises BindingError beyond any likely number."""
    ids = bound.binding.accounts.ids
    assert ids is not None
    _check_number(bound, end if ids.count is not None else max(0, end - ids.first) // ids.step)
    return tuple(Account(account_key(one)) for one in ids.ids(end))


def logged_accounts(bound: BoundProtocol, logged: LoggedEvent, logs: Iterable[dict[str, Any]]) -> tuple[Account, ...]:
    """Return the accounts that an event's logs name, each once, in the order in which they first came."""
    accounts: dict[str, dict[str, Scalar]] = {}
    for log in logs:
        fields = log_fields(logged, log)
        key = {name: fields[name] for name in logged.account}
        accounts.setdefault(account_key(*key.values()), key)
    return _open(bound, [_learned(Account(text), key) for text, key in accounts.items()])


def lookup_calls(bound: BoundProtocol, index: int, accounts: Sequence[Account]) -> list[Call]:
    """Return the calls of one lookup, one for each account."""
    lookup = bound.binding.accounts.lookups[index]
    return [bound.call(lookup, bound.known_of(account)) for account in accounts]


def looked_up(
    bound: BoundProtocol, index: int, accounts: Sequence[Account], answers: Sequence[bytes]
) -> tuple[Account, ...]:
    """Return the accounts with what one lookup told, those left out that turned out not to be open."""
    lookup = bound.binding.accounts.lookups[index]
    types = [value.type for value in lookup.returns]
    told = []
    for account, answer in zip(accounts, answers, strict=True):
        row = _decode(types, answer, f"accounts.lookups.{index}: {lookup.function} of {account.address}")
        told.append(_learned(account, _named_values(lookup.returns, row)))
    return _open(bound, told, [name for name, _ in named(lookup.returns)])


def round_calls(bound: BoundProtocol, accounts: Sequence[Account]) -> list[Call]:
    """Return the calls for the latest oracle round, one for each account."""
    rounds = bound.binding.health.rounds
    assert rounds is not None
    return [bound.call(rounds.latest, bound.known_of(account)) for account in accounts]


def with_rounds(bound: BoundProtocol, accounts: Sequence[Account], answers: Sequence[bytes]) -> tuple[Account, ...]:
    """Return the accounts with the oracle rounds to check: from the first of each to the latest, the newest `max`.

    Raises BindingError for an account whose first round is still to come: no round would say that it is unhealthy.
    """
    rounds = bound.binding.health.rounds
    assert rounds is not None
    found = []
    for account, answer in zip(accounts, answers, strict=True):
        latest = word(answer, rounds.latest.word, "health.rounds.latest")
        first = bound.number(rounds.first, "uint256", bound.known_of(account))
        if first > latest:
            rule = f"must not be above the latest round, which is {latest}"
            raise BindingError(f"health.rounds.first = {first} for account {account.address}: {rule}")
        found.append(replace(account, rounds=tuple(range(max(first, latest - rounds.max + 1), latest + 1))))
    return tuple(found)


async def _read_each(rpc: Rpc, calls: Sequence[Call], block: BlockStamp) -> list[bytes]:
    """Return the answers to many calls in one round trip; equal calls are made once."""
    distinct = list(dict.fromkeys(calls))
    answers = dict(zip(distinct, await read(rpc, distinct, block), strict=True)) if distinct else {}
    return [answers[call] for call in calls]


async def _ask_each(
    bound: BoundProtocol, rpc: Rpc, names: Sequence[str], calls: Sequence[Call], block: BlockStamp
) -> list[bytes]:
    """Return the answers to views of accounts; of one that is refused say which by its name.

    Raises AccountUnreadable, or the endpoint's own error where that is not the view's fault.
    """
    try:
        return await _read_each(rpc, calls, block)
    except Refused:
        index = await _first_refused(rpc, calls, block)
        try:
            await read(rpc, [calls[index]], block)
        except Refused as error:
            # An endpoint that answers nothing at this block, not even a price, accuses no account.
            await read(rpc, [bound.price_call()], block)
            raise AccountUnreadable(f"{names[index]} is refused: {revert_reason(error)}") from None
        raise


async def _first_refused(rpc: Rpc, calls: Sequence[Call], block: BlockStamp) -> int:
    """Return by halving which of several calls, not all of which are answered, is the first that is not."""
    low, high = 0, len(calls)
    while high - low > 1:
        middle = (low + high) // 2
        try:
            await read(rpc, calls[low:middle], block)
        except Refused:
            high = middle
        else:
            low = middle
    return low


def _health_name(bound: BoundProtocol, account: Account, round_id: int | None) -> str:
    where = "" if round_id is None else f" in oracle round {round_id}"
    return f"health: {bound.binding.health.function} of account {account.address}{where}"


async def _logs(
    where: dict[str, Any], rpc: Rpc, block: BlockStamp, since_block: int, kept: KeptLogs
) -> list[dict[str, Any]]:
    """Return an event's logs up to `block`. Raises RpcError when another block stands at its height by now."""
    begins = range(since_block, block.number + 1, CHUNK)
    asked: list[tuple[str, tuple[Any, ...]]] = [
        ("eth_getLogs", ({**where, "fromBlock": hex(first), "toBlock": hex(min(first + CHUNK - 1, block.number))},))
        for first in begins
        if first not in kept
    ]
    asked.append(("eth_getBlockByNumber", (hex(block.number), False)))
    answers = [answer for at in range(0, len(asked), BATCH) for answer in await rpc.batch(asked[at : at + BATCH])]
    if stamp(answers.pop()) != block:
        raise RpcError(f"block {block.number} is no longer canonical")
    found = dict(zip((first for first in begins if first not in kept), answers, strict=True))
    kept.update({first: found[first] for first in found if first + CHUNK <= block.number - SETTLED_BLOCKS})
    return [log for first in begins for log in (kept.get(first) or found.get(first, []))]


def _says_itself(bound: BoundProtocol) -> bool:
    return any(name == "liquidatable" for name, _ in bound.binding.accounts.fields)


def _learned(account: Account, values: dict[str, Scalar]) -> Account:
    own: dict[str, Any] = {name: value for name, value in values.items() if name in OWN}
    others = tuple((name, value) for name, value in values.items() if name not in OWN)
    return replace(account, fields=(*account.fields, *others), **own)


def _open(bound: BoundProtocol, accounts: Sequence[Account], known: Sequence[str] | None = None) -> tuple[Account, ...]:
    """Leave out accounts that the binding's condition says are not open, where its field is among those just known."""
    condition = bound.binding.accounts.open
    names = known if known is not None else [name for name, _ in bound.binding.accounts.own_fields]
    if condition is None or condition.field not in names:
        return tuple(accounts)
    return tuple(one for one in accounts if condition.holds(dict(one.named_values())[condition.field]))


def _named_values(returns: Sequence[Named], row: Sequence[Any]) -> dict[str, Scalar]:
    pairs = zip(returns, row, strict=True)
    return {value.name: from_abi(item, value.type) for value, item in pairs if value.name is not None}


def _decode(types: Sequence[str], answer: bytes, what: str) -> Sequence[Any]:
    try:
        return decode(types, answer)
    except Exception as error:
        raise BindingError(f"{what} does not return {','.join(types)}: {error}") from error


def _check_number(bound: BoundProtocol, number: int) -> None:
    if number > MAX_ACCOUNTS:
        raise BindingError(f"{bound.binding.name} says it has {number} accounts, more than {MAX_ACCOUNTS}")
