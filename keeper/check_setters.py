"""Check that the protocol would take its settings from the steward, and that they become what is read back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chain.rehearsal import makers_of, rehearse
from chain.rpc import Refused
from keeper.findings import Finding, failed, noted, passed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chain.protocol import BoundProtocol
    from chain.rehearsal import Rehearsal
    from keeper.ground import Ground, Source

WRITES = "the setters write what the getters read"


async def check_setters(
    ground: Ground, market: str, source: Source, bound: BoundProtocol, values: tuple[int, ...]
) -> list[Finding]:
    """Rehearse the setters with the live values, and with each parameter moved by a unit. Nothing is sent.

    Where the steward is refused they are rehearsed from whom the contract takes its settings now.
    """
    sender = ground.deployment.markets[market].executor or ground.deployment.steward
    check = f"the protocol takes settings from {sender}"
    try:
        makers, missing = await makers_of(ground.rpc, bound, values, sender, ground.block)
        rehearsal = await rehearse(ground.rpc, bound, values, makers, ground.block)
    except Refused as error:
        return [failed(market, check, str(error), "use an endpoint that serves eth_simulateV1")]
    findings = [
        failed(market, check, f"{one.target} refuses its live values: {one.reason}", one.remedy) for one in missing
    ]
    if not missing:
        findings.append(passed(market, check, f"{len(bound.binding.setters)} setters with the live values, simulated"))
    return [*findings, *_written(market, source, bound, rehearsal)]


def _written(market: str, source: Source, bound: BoundProtocol, rehearsal: Rehearsal) -> Iterator[Finding]:
    """Tell which parameters were tried, and what their setters wrote."""
    for wrong in rehearsal.wrong:
        remedy = "mend the arguments of that setter, or the getter, in the binding"
        yield failed(market, WRITES, wrong.sentence, remedy, source.where(("setters", wrong.setter, "args")))
    for one in rehearsal.untried:
        detail = f"{one.parameter} was not tried, it is not known what its setter writes: {one.reason}"
        yield noted(market, WRITES, detail, source.where(("setters", one.setter, "args")))
    tried = len(bound.binding.parameters) - len(rehearsal.untried)
    if tried and not rehearsal.wrong:
        which = f"{tried} parameters were" if rehearsal.untried else "each parameter was"
        yield passed(market, WRITES, f"{which} moved by one unit, and exactly that is read, simulated")
