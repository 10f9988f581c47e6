"""The command that explains a decision, and its words."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from config.load import DEFAULT_SETTINGS
from keeper.terminal import AsJson, Config, out, read_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

BPS = 1e4

WORDS = {
    "PROPOSED": "moved by the proposal",
    "NOT_TUNED": "the binding gives it no role",
    "WITHIN_DEAD_BAND": "its target is within the dead band of its value",
    "COOLING_DOWN": "it, or one it moves with, changed less than a cooldown ago",
    "DRIFT_EXHAUSTED": "its drift budget is spent",
    "STEP_TOO_SMALL": "its limits leave less than one unit",
    "HELD_OFF": "the like was vetoed, or is announced",
    "NOT_WORTH_ITS_COST": "the change would cost more than it brings",
    "INVARIANT_BROKEN": "the step would break an ordering that must hold",
}


def explain(
    proposal: Annotated[str, typer.Argument(help="A row of the journal, a digest (0x…), or last.")],
    config: Config = DEFAULT_SETTINGS,
    *,
    since: Annotated[str, typer.Option(help="Decision to compare with, named likewise; default the one before.")] = "",
    market: Annotated[str, typer.Option(help="Market whose last decision is meant; default any.")] = "",
    as_json: AsJson = False,
) -> None:
    """Explain a decision from the journal alone: reasons, inputs and what they moved, objective, verdict."""
    document = asyncio.run(_explain(read_settings(config).journal.url.get_secret_value(), proposal, since, market))
    if as_json:
        out.print_json(data=document)
        return
    for line in words(document):
        out.print(line, markup=False, highlight=False, soft_wrap=True)


async def _explain(url: str, proposal: str, since: str, market: str) -> dict[str, Any]:
    from keeper import explain as of_journal  # noqa: PLC0415 - the database takes half a second to import
    from keeper.clock import WallClock  # noqa: PLC0415 - likewise
    from keeper.journal import Journal  # noqa: PLC0415 - likewise

    journal = await Journal.open(url, WallClock().now_ms)
    try:
        decision = await of_journal.find_decision(journal, proposal, market or None)
        earlier = await of_journal.find_decision(journal, since, market or None) if since else None
        return await of_journal.explain(journal, decision, earlier)
    finally:
        await journal.close()


def words(document: dict[str, Any]) -> Iterator[str]:
    """Yield an explanation as lines for an operator."""
    at = datetime.fromtimestamp(document["recorded_at_ms"] / 1000, UTC).isoformat(timespec="seconds")
    kind = document["kind"].replace("_", " ")
    yield f"{document['market']}, row {document['row']}, {at}: {kind} {document['digest']}".rstrip()
    yield f"  {document['reason'] + ': ' if document['reason'] else ''}{document['said']}"
    yield from (f"  what to do: {document['remedy']}" for _ in range(bool(document["remedy"])))
    if document["parameters"]:
        yield from ("", "Parameters")
        yield from map(_parameter, document["parameters"])
        yield from (f"  held back: {note}" for note in document["notes"])
    if document["moved_by"]:
        yield from _moved_by(document["moved_by"])
    if document["objective"]:
        yield from _objective(document["objective"])
    if document["afterwards"]:
        yield from ("", "Afterwards")
        yield from map(_ending, document["afterwards"])
    if document["absent"]:
        yield from ("", "Not here")
        yield from (f"  {one}" for one in document["absent"])


def _parameter(row: dict[str, Any]) -> str:
    name, code = f"  {row['name']}", f"{row['code']}: {WORDS[row['code']]}"
    if row["target"] is None:
        return f"{name} {row['value']} {row['unit']}; {code}"
    moved = f" -> {row['proposed']}" if row["proposed"] != row["value"] else ""
    floor = "" if row["floor"] == row["target"] else f", floor {row['floor']}"
    return f"{name} {row['value']}{moved} {row['unit']}, target {row['target']}{floor}; {code}"


def _moved_by(moved: dict[str, Any]) -> Iterator[str]:
    """Yield each input then and now, and what it alone did to each target."""
    yield ""
    yield f"What moved since row {moved['since_row']}, each input by itself"
    spot = moved["spot"]
    yield f"  spot: {spot['before']:g} -> {spot['now']:g} (no target depends on it)"
    for one in moved["inputs"]:
        if one["before"] == one["now"] and not any(one["moves"].values()):
            continue
        effects = [f"{name} {move:+d}" for name, move in one["moves"].items() if move]
        values = (
            ""
            if one["now"] is None and one["before"] is None
            else f": {_figure(one['before'])} -> {_figure(one['now'])}"
        )
        yield f"  {one['name']}{values}; {', '.join(effects) or 'moves no target'}"
    left = [f"{name} {row['remainder']:+d}" for name, row in moved["targets"].items() if row["remainder"]]
    yield f"  together beyond that: {', '.join(left) or 'nothing'}"
    sums = [f"{name} {row['before']} -> {row['now']}" for name, row in moved["targets"].items()]
    yield f"  targets: {', '.join(sums) or 'unknown'}"


def _figure(value: float | None) -> str:
    return "none" if value is None else f"{value:.6g}"


def _objective(found: dict[str, Any]) -> Iterator[str]:
    yield from ("", "Objective, in bps of notional a margin period")
    for when in ("before", "after"):
        margin, shortfall, total = (found[when][part] * BPS for part in ("margin", "shortfall", "total"))
        yield f"  {when:6} cost of margin {margin:.4g} + shortfall beyond it {shortfall:.4g} = {total:.4g}"
    for one in found["judged"]:
        verdict = "worth it" if one["worth_it"] else "not worth it"
        figures = f"brings {one['brings'] * BPS:.4g}, changing it costs {one['cost_of_change'] * BPS:.4g} once"
        yield f"  {'+'.join(one['parameters'])}: {figures}: {verdict}"
    if not found["judged"]:
        yield "  no change was judged by it: none was possible, or the cover of the published margin asks for them all"


def _ending(one: dict[str, Any]) -> str:
    reason = f"{one['reason']}: " if one["reason"] else ""
    remedy = f" ({one['remedy']})" if one["remedy"] else ""
    return f"  row {one['row']}, {one['kind'].replace('_', ' ')}: {reason}{one['detail']}{remedy}"
