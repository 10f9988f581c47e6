"""Prove the journal to an auditor: its chain of hashes, and its agreement with the chain's own history."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from chain.events import history
from chain.market import bind
from chain.rpc import Rpc, head, require_chain
from keeper.journal import Journal
from keeper.verify import Agreement, Disagreement, compare_with_chain, verify_chain_of_hashes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chain.steward import StewardEvent
    from config.deployment import Deployment
    from config.protocol import Protocol
    from config.schema import Settings
    from keeper.verify import VerifyReport


@dataclass(frozen=True, slots=True)
class Audit:
    """What was proven: the rows, and how they account for the changes on chain (None: not compared)."""

    rows: VerifyReport
    chain: Agreement | Disagreement | None

    @property
    def ok(self) -> bool:
        """Say whether everything that was looked at holds."""
        return self.rows.ok and not isinstance(self.chain, Disagreement)

    def sentence(self) -> str:
        """Return one line for a person."""
        match self.chain:
            case Agreement(own, foreign, before):
                parts = [f"{own} made from this journal", f"{foreign} by other keepers", f"{before} before it began"]
                return f"{self.rows.sentence} It accounts for every change on chain: {', '.join(parts)}."
            case Disagreement(row, _, detail):
                where = "a change on chain" if row is None else f"row {row}"
                return f"{where}: journal and chain disagree: {detail}"
            case None:
                return self.rows.sentence

    def document(self) -> dict[str, Any]:
        """Return the same as JSON."""
        first = self.rows.first_bad_row
        if isinstance(self.chain, Disagreement):
            first = self.chain.row
        return {
            "ok": self.ok,
            "rows": self.rows.rows,
            "head": self.rows.head_hash,
            "first_bad_row": first,
            "changes": asdict(self.chain) if isinstance(self.chain, Agreement) else None,
            "detail": self.sentence(),
        }


async def audit(
    settings: Settings, deployment: Deployment | None, protocols: Mapping[str, Protocol] | None = None
) -> Audit:
    """Check the journal; with a deployment and its bindings compare it with the chain as well. Reads only."""
    url = settings.journal.url.get_secret_value()
    rows = await verify_chain_of_hashes(url)
    if deployment is None or protocols is None or not rows.ok:
        return Audit(rows, None)
    found = await _changes(settings, deployment, protocols)
    journal = await Journal.open(url, lambda: 0)
    try:
        entries = await journal.find()
    finally:
        await journal.close()
    return Audit(rows, compare_with_chain(entries, found))


async def _changes(settings: Settings, deployment: Deployment, protocols: Mapping[str, Protocol]) -> list[StewardEvent]:
    found: list[StewardEvent] = []
    async with Rpc(settings.chain.rpc_url.get_secret_value()) as rpc:
        await require_chain(rpc, settings.chain.chain_id)
        end = await head(rpc)
        for name, binding in protocols.items():
            found += (await history(bind(name, deployment, binding, rpc), deployment.block, end)).changes
    return found
