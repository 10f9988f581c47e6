"""Name the accounts that the steward probes once a change is made: the healthy ones nearest to liquidation."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from chain.accounts import rounds_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chain.attestation import Probe
    from chain.protocol import BoundProtocol
    from models.market import Account


def probes(protocol: BoundProtocol, accounts: Sequence[Account], number: int) -> list[Probe]:
    """Return at most `number` probes, one for each oracle round that an account has to be healthy in.

    Where the protocol does not say how near accounts are to liquidation, the first ones are named.
    """
    healthy = sorted((one for one in accounts if not one.liquidatable), key=_cushion)
    named = [protocol.probe(one, round_id) for one in healthy[:number] for round_id in rounds_of(one)]
    return named[:number]


def _cushion(account: Account) -> float:
    """Return what an account has above its liquidation margin, as a share of that.

    0 where the protocol is silent, infinite where it demands nothing: whoever only bought comes last.
    """
    if account.equity is None or account.liquidation_margin is None:
        return 0.0
    if account.liquidation_margin == 0:
        return math.inf
    return (account.equity - account.liquidation_margin) / account.liquidation_margin
