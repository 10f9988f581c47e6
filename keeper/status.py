"""Answer an operator's three questions: is it safe, what is it doing, what will it do next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE
from rich.table import Table

from chain.market import bind
from chain.rpc import Rpc, head, require_chain
from keeper.clock import WallClock
from keeper.journal import EntryKind, Journal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from config.deployment import Deployment
    from config.protocol import Protocol
    from config.schema import Settings
    from models.market import MarketState

DECISIONS = (
    EntryKind.NO_CHANGE,
    EntryKind.REJECTED,
    EntryKind.ANNOUNCED,
    EntryKind.APPLIED,
    EntryKind.FAILED,
    EntryKind.DRY_RUN,
)


async def gather(settings: Settings, deployment: Deployment, protocols: Mapping[str, Protocol]) -> dict[str, Any]:
    """Read chain and journal, and return the whole status as a JSON document."""
    journal = await Journal.open(settings.journal.url.get_secret_value(), WallClock().now_ms)
    try:
        async with Rpc(settings.chain.rpc_url.get_secret_value()) as rpc:
            await require_chain(rpc, settings.chain.chain_id)
            block = await head(rpc)
            markets = []
            for names in settings.markets:
                state = await bind(names.name, deployment, protocols[names.name], rpc).state(block)
                reasons = await _reasons(journal, names.name)
                markets.append(
                    _market(state, protocols[names.name], reasons) | {"last": await _last(journal, names.name)}
                )
        rows, newest = await journal.head()
    finally:
        await journal.close()
    return {
        "block": {"number": block.number, "hash": block.hash, "timestamp": block.timestamp},
        "steward": deployment.steward,
        "journal": {"rows": rows, "head": newest},
        "markets": markets,
    }


def render(status: dict[str, Any]) -> Iterator[Table | str]:
    """Yield what a terminal shows of a status."""
    block, journal = status["block"], status["journal"]
    yield f"block {block['number']}, steward {status['steward']}, journal of {journal['rows']} rows"
    for market in status["markets"]:
        safe = "PAUSED" if market["paused"] else "guarded"
        title = f"{market['market']}: {safe}, version {market['sequence']}, oracle {market['oracle_price']:g}"
        table = Table(title=title, title_justify="left", box=SIMPLE, padding=0, collapse_padding=True)
        for column in ("parameter", "unit", "value", "in force", "last good", "corridor", "step", "ready"):
            table.add_column(column, justify="left" if column == "parameter" else "right", overflow="fold")
        for row in market["parameters"]:
            corridor = f"{row['minimum']}..{row['maximum']}"
            step = f"+{row['max_step_up']}/-{row['max_step_down']}"
            hours, minutes = divmod(row["ready_in"] // 60, 60)
            ready = f"{hours}h{minutes:02}" if row["ready_in"] else "now"
            cells = (
                row["unit"],
                row["value"],
                row["effective"],
                row["last_good"],
                corridor,
                step,
                ready,
                row["reason"] or "",
            )
            table.add_row(row["name"], *(str(cell) for cell in cells))
        yield table
        yield f"{market['accounts']} accounts, {market['liquidatable']} liquidatable"
        yield from _why(market["parameters"])
        last = market["last"]
        yield f"last decision: {last['kind']}, {last['detail']}" if last else "no decision yet"


def _why(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Yield why parameters were moved or left by the newest decision that reckoned targets, a line a reason."""
    by_reason: dict[str, list[str]] = {}
    for row in rows:
        if row["reason"] is not None:
            by_reason.setdefault(row["reason"], []).append(row["name"])
    yield from (f"{reason}: {', '.join(names)}" for reason, names in by_reason.items())


async def _reasons(journal: Journal, market: str) -> dict[str, str]:
    """Return by parameter why the newest decision that reckoned targets moved it, or left it; empty without one."""
    newest = await journal.last(EntryKind.DELIBERATION, market)
    return {} if newest is None else {row["name"]: row["code"] for row in newest.body["parameters"]}


def _market(state: MarketState, binding: Protocol, reasons: Mapping[str, str]) -> dict[str, Any]:
    now = state.block.timestamp
    rows = zip(binding.parameters, state.parameters, state.last_good, strict=True)
    return {
        "market": state.market,
        "sequence": state.sequence,
        "state_hash": state.state_hash,
        "paused": state.paused,
        "oracle_price": state.oracle_price,
        "accounts": len(state.accounts),
        "liquidatable": sum(account.liquidatable for account in state.accounts),
        "parameters": [
            {
                "name": binding_parameter.name,
                "unit": binding_parameter.unit,
                "value": parameter.value,
                "effective": parameter.effective,
                "minimum": parameter.minimum,
                "maximum": parameter.maximum,
                "max_step_up": parameter.max_step_up,
                "max_step_down": parameter.max_step_down,
                "ready_in": max(0, parameter.changed_at + parameter.cooldown - now) if parameter.changed_at else 0,
                "last_good": good,
                "reason": reasons.get(binding_parameter.name),
            }
            for binding_parameter, parameter, good in rows
        ],
    }


async def _last(journal: Journal, market: str) -> dict[str, Any] | None:
    """Return the newest decision about a market."""
    found = [entry for kind in DECISIONS if (entry := await journal.last(kind, market)) is not None]
    if not found:
        return None
    newest = max(found, key=lambda entry: entry.id)
    reason = newest.body.get("reason", "")
    detail = newest.body.get("detail") or newest.body.get("tx_hash") or newest.body.get("digest")
    return {
        "row": newest.id,
        "kind": newest.kind.value,
        "recorded_at_ms": newest.recorded_at_ms,
        "detail": f"{reason}: {detail}" if reason else detail,
    }
