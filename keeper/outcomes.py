"""Say how a tick ended: in a line for an operator, or as JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from chain.remedies import with_remedy
from keeper.messages import Announced, Applied, DryRun, Failed, NoChange, Rejected, body

if TYPE_CHECKING:
    from keeper.messages import Outcome


def describe(outcome: Outcome) -> str:
    """Return one line for an operator."""
    match outcome:
        case NoChange():
            return f"{outcome.market}: no change: {outcome.detail}"
        case Rejected():
            return with_remedy(f"{outcome.market}: refused, {outcome.reason}: {outcome.detail}")
        case Applied():
            where = f"block {outcome.block.number}, {outcome.gas_used} gas, {outcome.tx_hash}"
            return f"{outcome.market}: {outcome.kind} applied as version {outcome.sequence} in {where}"
        case Announced():
            at = datetime.fromtimestamp(outcome.applicable_at, UTC).isoformat()
            forbid = f"a guardian forbids it by `keeper veto {outcome.attestation}`"
            return f"{outcome.market}: announced in {outcome.tx_hash}, may be applied from {at} on; {forbid}"
        case Failed():
            return with_remedy(f"{outcome.market}: {outcome.tx_hash} failed: {outcome.detail}")
        case DryRun():
            return f"{outcome.market}: dry run, would change {outcome.because}\nto {outcome.to}: {outcome.calldata}"


def document(outcome: Outcome) -> dict[str, Any]:
    """Return an outcome as JSON values, with its kind."""
    return {"outcome": type(outcome).__name__, **json.loads(json.dumps(body(outcome)))}
