"""Explain a decision from the journal alone: what was decided and why, what moved it, and what came of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from config.errors import KnownFault
from config.schema import ProposeSettings
from keeper.deliberation import Deliberation
from keeper.entries import EntryKind
from keeper.influence import account_of, targets_of
from keeper.messages import REMEDIES, Assessment, ProposalKind, Reason
from keeper.objective import NOTHING

if TYPE_CHECKING:
    from keeper.influence import Account
    from keeper.journal import Entry, Journal

DECISIONS = (EntryKind.PROPOSAL, EntryKind.NO_CHANGE, EntryKind.REJECTED)
ENDINGS = (
    EntryKind.APPROVED,
    EntryKind.REJECTED,
    EntryKind.DRY_RUN,
    EntryKind.ANNOUNCED,
    EntryKind.APPLIED,
    EntryKind.FAILED,
    EntryKind.UNDONE,
)
"""What may be said of a proposal afterwards."""

UNIT = "share of notional a margin period"


class Unexplained(KnownFault):
    """There is no such decision in the journal; the message says what may be asked for."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision as the journal has it; what its version of the keeper did not write down is None."""

    entry: Entry
    assessment: Assessment | None
    assessed_in: int | None
    deliberation: Deliberation | None

    @property
    def settings(self) -> ProposeSettings | None:
        """The settings it went by, as far as this version knows them."""
        if self.deliberation is None:
            return None
        known = ProposeSettings.model_fields
        return ProposeSettings.model_validate(
            {key: value for key, value in self.deliberation.settings.items() if key in known}
        )


async def find_decision(journal: Journal, wanted: str, market: str | None = None) -> Decision:
    """Return the decision that `wanted` names: a row's number, a digest, or "last", of one market if given.

    A row that followed from a decision, such as an approval or a transaction, names it as well. Raises Unexplained and
    JournalError.
    """
    if wanted == "last":
        newest = [found for kind in DECISIONS if (found := await journal.last(kind, market)) is not None]
        if not newest:
            raise Unexplained("the journal has no decision yet")
        entry = max(newest, key=lambda one: one.id)
    elif wanted.isascii() and wanted.isdigit():
        rows = await journal.find(after_id=int(wanted) - 1, limit=1) if 0 < int(wanted) < 2**63 else []
        if not rows or rows[0].id != int(wanted):
            raise Unexplained(f"{wanted}: the journal has no such row")
        entry = rows[0]
    elif wanted.startswith("0x"):
        named = [one for one in await journal.find(key=wanted.lower()) if one.kind is not EntryKind.CHANGE]
        if not named:
            raise Unexplained(f"{wanted}: the journal has no proposal and no assessment of this digest")
        entry = named[-1]
    else:
        raise Unexplained(f"{wanted}: must be a row's number, a digest (0x…) or last")
    return await _decision(journal, await _deciding(journal, entry))


async def explain(journal: Journal, decision: Decision, since: Decision | None = None) -> dict[str, Any]:
    """Return the explanation as a JSON document. Its inputs are compared with `since`, or the decision before.

    Raises Unexplained where `since` saw no inputs, and JournalError.
    """
    entry, told = decision.entry, decision.deliberation
    since = since or await _before(journal, decision)
    body = entry.body
    return {
        "row": entry.id,
        "kind": entry.kind.value,
        "market": entry.market,
        "recorded_at_ms": entry.recorded_at_ms,
        "digest": entry.key,
        "block": body["block"],
        "said": body.get("because") or body.get("detail"),
        "reason": body.get("reason"),
        "remedy": _remedy(body.get("reason")),
        "parameters": [_parameter(asdict(row)) for row in told.parameters] if told else [],
        "notes": list(told.notes) if told else [],
        "objective": _objective(told) if told else None,
        "moved_by": _moved_by(decision, since) if since else None,
        "afterwards": await _afterwards(journal, entry),
        "absent": list(_absent(decision, since)),
    }


async def _deciding(journal: Journal, entry: Entry) -> Entry:
    """Return the decision that a row is, or belongs to."""
    if entry.kind in {EntryKind.PROPOSAL, EntryKind.NO_CHANGE} or (entry.kind is EntryKind.REJECTED and not entry.key):
        return entry
    if entry.kind in {EntryKind.ASSESSMENT, EntryKind.DELIBERATION}:
        later = [
            one
            for kind in (EntryKind.PROPOSAL, EntryKind.NO_CHANGE)
            for one in await journal.find(kind, market=entry.market, after_id=entry.id, limit=1)
            if one.body["inputs"] == entry.key
        ]
        if later:
            return min(later, key=lambda one: one.id)
    elif entry.kind in {*ENDINGS, EntryKind.ATTEMPT}:
        proposals = [one for one in await journal.find(EntryKind.PROPOSAL, entry.key) if one.id < entry.id]
        if proposals:
            return proposals[-1]
    raise Unexplained(f"row {entry.id} is of kind {entry.kind}: no decision belongs to it")


async def _decision(journal: Journal, entry: Entry) -> Decision:
    """Return a decision with what was written on the way to it: two at one block may have had the same inputs."""
    seen = await _newest(journal, EntryKind.ASSESSMENT, entry.body.get("inputs", ""), entry)
    thought = None if seen is None else await _newest(journal, EntryKind.DELIBERATION, seen.key, entry)
    if seen is not None and thought is not None and thought.id < seen.id:
        thought = None
    return _parsed(entry, seen, thought)


async def _newest(journal: Journal, kind: EntryKind, key: str, before: Entry) -> Entry | None:
    found = await journal.find(kind, key, before.market) if key else []
    return next((one for one in reversed(found) if one.id < before.id), None)


async def _before(journal: Journal, decision: Decision) -> Decision | None:
    """Return the decision that saw inputs before this one."""
    earlier = await journal.last(EntryKind.ASSESSMENT, decision.entry.market, before_id=decision.assessed_in or 0)
    if earlier is None:
        return None
    thought = await journal.find(EntryKind.DELIBERATION, earlier.key, earlier.market, after_id=earlier.id, limit=1)
    return _parsed(earlier, earlier, thought[0] if thought else None)


def _parsed(entry: Entry, seen: Entry | None, thought: Entry | None) -> Decision:
    assessment, told = seen and seen.message(), thought and thought.message()
    assert assessment is None or isinstance(assessment, Assessment)
    assert told is None or isinstance(told, Deliberation)
    return Decision(entry, assessment, seen.id if seen else None, told)


async def _afterwards(journal: Journal, entry: Entry) -> list[dict[str, Any]]:
    """Return what was said of a proposal: the guard's verdicts first, then what became of its transactions."""
    if entry.kind is not EntryKind.PROPOSAL:
        return []
    later = await journal.find(key=entry.key, market=entry.market, after_id=entry.id)
    said = [one for one in later if one.kind in ENDINGS]
    return [
        {
            "row": one.id,
            "kind": one.kind.value,
            "reason": one.body.get("reason"),
            "detail": _detail(one),
            "remedy": _remedy(one.body.get("reason")),
        }
        for one in said
    ]


def _detail(entry: Entry) -> str:
    body = entry.body
    if entry.kind is EntryKind.APPROVED:
        hit = len(body["preflight"]["newly_liquidatable"])
        return f"every rule holds; simulated with {body['preflight']['gas']} gas, {hit} accounts newly liquidatable"
    return str(body.get("detail") or body.get("tx_hash") or body.get("because") or "")


def _remedy(reason: str | None) -> str | None:
    return REMEDIES[Reason(reason)] if reason else None


def _parameter(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in {"scale", "origin", "tightening"}}


def _objective(told: Deliberation) -> dict[str, Any] | None:
    """Return the terms of all parameters before and after, and of each change that was judged by them."""
    if all(row.before is None for row in told.parameters):
        return None
    before = sum((row.before for row in told.parameters if row.before), NOTHING)
    after = sum((row.after for row in told.parameters if row.after), NOTHING)
    names = {row.id: row.name for row in told.parameters}
    return {
        "unit": UNIT,
        "before": asdict(before) | {"total": before.total},
        "after": asdict(after) | {"total": after.total},
        "judged": [
            {
                "parameters": [names[index] for index in one.ids],
                "brings": one.before.total - one.after.total,
                "cost_of_change": one.change,
                "worth_it": one.gain > 0.0,
            }
            for one in told.weighed
        ],
    }


def _moved_by(decision: Decision, since: Decision) -> dict[str, Any] | None:
    if decision.assessment is None:
        return None
    if since.assessment is None:
        raise Unexplained(f"row {since.entry.id} saw no inputs: nothing can be compared with it")
    settings = decision.settings
    rows = decision.deliberation.parameters if decision.deliberation else ()
    account = account_of(
        since.assessment, decision.assessment, rows, settings or ProposeSettings(), since.settings if settings else None
    )
    names = {row.id: row.name for row in rows}
    return _accounted(account, names) | {
        "since_row": since.entry.id,
        "since_recorded_at_ms": since.entry.recorded_at_ms,
        "spot": {"before": since.assessment.spot.value, "now": decision.assessment.spot.value},
    }


def _accounted(account: Account, names: dict[int, str]) -> dict[str, Any]:
    return {
        "targets": {
            name: {
                "before": account.before[index],
                "now": account.now[index],
                "remainder": account.remainder[index],
            }
            for index, name in names.items()
            if index in account.now
        },
        "inputs": [
            {
                "name": one.name,
                "before": one.before,
                "now": one.now,
                "moves": {names[index]: move for index, move in one.moves.items()},
            }
            for one in account.influences
        ],
    }


def _absent(decision: Decision, since: Decision | None) -> list[str]:
    """Say what the journal does not hold of a decision."""
    absent = []
    entry, told, settings = decision.entry, decision.deliberation, decision.settings
    if entry.kind is EntryKind.REJECTED:
        return ["the inputs were refused: nothing was assessed, and no target reckoned"]
    if entry.kind is EntryKind.PROPOSAL and entry.body["kind"] == ProposalKind.ROLLBACK:
        return ["a rollback restores the last good version: no model is asked"]
    if decision.assessment is None:
        absent.append("the assessment it was made from is not in this journal")
    elif decision.assessment.tail is None:
        absent.append("the whole tail: an older keeper kept its 1 % quantiles alone, so there is no objective")
    if told is None:
        absent.append("reasons and targets by parameter: nothing was planned, or an older keeper kept none")
    elif settings and decision.assessment:
        again = targets_of(decision.assessment, told.parameters, settings)
        if again != {row.id: row.target for row in told.parameters if row.target is not None}:
            absent.append("agreement: this version of the keeper reckons other targets from the same inputs")
    if since is None:
        absent.append("a decision before it to compare with")
    return absent
