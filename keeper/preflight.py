"""Show what a proposal would do to a copy of the chain, as the very message that is signed if it is approved."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from chain.attestation import order_of
from chain.market import SimulationReverted
from chain.order import order_taken
from keeper import limits
from keeper.messages import Preflight
from keeper.probes import probes
from keeper.submit import action_of, message_of, moved_by

if TYPE_CHECKING:
    from chain.attestation import Message
    from chain.market import Market
    from config.schema import GuardSettings
    from keeper.messages import Proposal
    from models.market import MarketState

PROBED = "too many liquidatable"
"""What the steward says when more of the named accounts are liquidatable than the message allows."""


async def preflight_of(
    proposal: Proposal, market: Market, state: MarketState, rules: GuardSettings, sender: str, *, announce: bool
) -> Preflight:
    """Return what the proposal would do, `announce`d first or at once; `sender` is the address it would come from.

    A protocol that keeps rules between its parameters may refuse the calls in the policy's order and take them in
    another.
    """
    named = probes(market.protocol, state.accounts, rules.probed_accounts)
    message = message_of(proposal, market, named, rules.max_newly_liquidatable)
    notice = limits.notice(proposal.changes, state) if announce else 0
    first = await _shown(message, proposal, market, state, sender, notice)
    if first.error is None or len(message.calls) == 1 or not _refused_by_protocol(first.error):
        return first
    order = await order_taken(market, proposal.values, moved_by(proposal), state, notice)
    if order is None:
        return first
    message = message_of(proposal, market, named, rules.max_newly_liquidatable, order)
    other = await _shown(message, proposal, market, state, sender, notice)
    return first if other.error is not None else other


async def due_preflight(
    announced: Preflight, proposal: Proposal, market: Market, state: MarketState, sender: str
) -> Preflight:
    """Return what a change that was announced would do now that it is due, as the very message that was announced."""
    preflight = await _simulated(announced, market, state, sender)
    if preflight.error is None or PROBED not in preflight.error:
        return preflight
    order = order_of(announced.calldata, len(market.protocol.binding.setters))
    message = message_of(proposal, market, (), 0, order)
    # Without its probes it is another message, which nobody has announced.
    return await _named(preflight, message.calldata(action_of(proposal)), market, state, sender, waived=True)


async def _simulated(
    preflight: Preflight, market: Market, state: MarketState, sender: str, notice: int = 0, *, waived: bool = False
) -> Preflight:
    """Return the preflight as a copy of the chain shows it at the state's block, after `notice` seconds of notice."""
    try:
        shown = await market.simulate(preflight.calldata, sender, state, notice=notice, waived=waived)
    except SimulationReverted as error:
        return replace(preflight, block=state.block, error=str(error))
    already = {account.address for account in state.accounts if account.liquidatable}
    return replace(
        preflight,
        block=state.block,
        gas=shown.gas,
        values=shown.values,
        newly_liquidatable=tuple(sorted(shown.liquidatable - already)),
    )


async def _shown(
    message: Message, proposal: Proposal, market: Market, state: MarketState, sender: str, notice: int
) -> Preflight:
    """Return what one message would do."""
    action = action_of(proposal)
    attestation = message.digest(action, market.steward, market.chain_id)
    unseen = Preflight(state.block, message.calldata(action), attestation, 0, (), ())
    preflight = await _simulated(unseen, market, state, sender, notice)
    if preflight.error is None or PROBED not in preflight.error:
        return preflight
    return await _named(preflight, replace(message, probes=()).calldata(action), market, state, sender, notice)


async def _named(
    stopped: Preflight,
    unprobed: str,
    market: Market,
    state: MarketState,
    sender: str,
    notice: int = 0,
    *,
    waived: bool = False,
) -> Preflight:
    """Say which accounts the steward stopped at: those that the same change without its probes makes liquidatable."""
    unseen = replace(stopped, calldata=unprobed, error=None)
    shown = await _simulated(unseen, market, state, sender, notice, waived=waived)
    return replace(shown, calldata=stopped.calldata) if shown.newly_liquidatable else stopped


def _refused_by_protocol(reason: str) -> bool:
    """Say whether the protocol refused a call, and not a rule of the steward's the change."""
    return not reason.startswith("risk_steward: ") or reason.endswith("call failed")
