"""Prove the journal to an auditor: its chain of hashes, and its agreement with the chain's own history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chain.events import history
from chain.market import bind
from chain.rpc import Rpc, head, require_chain
from keeper.journal import Journal
from keeper.verify import compare_with_chain, verify_chain_of_hashes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chain.steward import StewardEvent
    from config.deployment import Deployment
    from config.protocol import Protocol
    from config.schema import Settings
    from keeper.verify import Disagreement, VerifyReport


@dataclass(frozen=True, slots=True)
class Audit:
    """What was proven: the rows, and how many changes on chain they account for (None: not compared)."""

    rows: VerifyReport
    changes: int | None
    disagreement: Disagreement | None

    @property
    def ok(self) -> bool:
        """Say whether everything that was looked at holds."""
        return self.rows.ok and self.disagreement is None

    def sentence(self) -> str:
        """Return one line for a person."""
        if not self.rows.ok or self.changes is None:
            return self.rows.sentence
        if self.disagreement is None:
            return f"{self.rows.sentence} It holds all {self.changes} changes on chain, and no others."
        row = self.disagreement.row
        where = "a change on chain" if row is None else f"row {row}"
        return f"{where}: journal and chain disagree: {self.disagreement.detail}"

    def document(self) -> dict[str, Any]:
        """Return the same as JSON."""
        first = self.rows.first_bad_row
        if first is None and self.disagreement is not None:
            first = self.disagreement.row
        return {
            "ok": self.ok,
            "rows": self.rows.rows,
            "head": self.rows.head_hash,
            "first_bad_row": first,
            "changes_on_chain": self.changes,
            "detail": self.sentence(),
        }


async def audit(
    settings: Settings, deployment: Deployment | None, protocols: Mapping[str, Protocol] | None = None
) -> Audit:
    """Check the journal; with a deployment and its bindings compare it with the chain as well. Reads only."""
    url = settings.journal.url.get_secret_value()
    rows = await verify_chain_of_hashes(url)
    if deployment is None or protocols is None or not rows.ok:
        return Audit(rows, None, None)
    found = await _changes(settings, deployment, protocols)
    journal = await Journal.open(url, lambda: 0)
    try:
        entries = await journal.find()
    finally:
        await journal.close()
    return Audit(rows, len(found), compare_with_chain(entries, found))


async def _changes(settings: Settings, deployment: Deployment, protocols: Mapping[str, Protocol]) -> list[StewardEvent]:
    found: list[StewardEvent] = []
    async with Rpc(settings.chain.rpc_url.get_secret_value()) as rpc:
        await require_chain(rpc, settings.chain.chain_id)
        end = await head(rpc)
        for name, binding in protocols.items():
            found += (await history(bind(name, deployment, binding, rpc), deployment.block, end)).changes
    return found
