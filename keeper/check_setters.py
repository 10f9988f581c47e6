"""Check that the protocol would take its settings from the steward, and that they become what is read back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chain.rehearsal import makers_of, miswritten
from chain.rpc import Refused
from keeper.findings import Finding, failed, noted, passed

if TYPE_CHECKING:
    from chain.protocol import BoundProtocol
    from chain.rehearsal import Corridors
    from keeper.ground import Ground, Source

WRITES = "the setters write what the getters read"


async def check_setters(
    ground: Ground,
    market: str,
    source: Source,
    bound: BoundProtocol,
    values: tuple[int, ...],
    corridors: Corridors,
) -> list[Finding]:
    """Rehearse the setters with the live values, and with each parameter moved by a unit. Nothing is sent.

    Where the steward is refused they are rehearsed from whom the contract takes its settings now.
    """
    sender = ground.deployment.markets[market].executor or ground.deployment.steward
    check = f"the protocol takes settings from {sender}"
    try:
        makers, missing = await makers_of(ground.rpc, bound, values, sender, ground.block)
        wrong = await miswritten(ground.rpc, bound, values, makers, corridors, ground.block)
    except Refused as error:
        return [failed(market, check, str(error), "use an endpoint that serves eth_simulateV1")]
    findings = [
        failed(market, check, f"{one.target} refuses its live values: {one.reason}", one.remedy) for one in missing
    ]
    if not missing:
        findings.append(passed(market, check, f"{len(bound.binding.setters)} setters with the live values, simulated"))
    for one in wrong:
        where = source.where(("setters", one.setter, "args"))
        if one.refused:
            findings.append(noted(market, WRITES, f"{one.sentence}: it is not known what this setter writes", where))
        else:
            remedy = "mend the arguments of that setter, or the getter, in the binding"
            findings.append(failed(market, WRITES, one.sentence, remedy, where))
    if makers and not wrong:
        findings.append(passed(market, WRITES, "each parameter moved by one unit and no other did, simulated"))
    return findings
