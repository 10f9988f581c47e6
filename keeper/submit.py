"""Carry out an approved proposal exactly once: sign it, journal the attempt, broadcast it, follow it to its end."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from eth_utils.crypto import keccak

from chain import steward, txmgr
from chain.attestation import Message, announcing, attach
from chain.market import SimulationReverted
from chain.rpc import Refused, RpcError, Unreachable, head
from config.errors import ConfigError
from keeper.messages import Announced, Applied, Attempt, DryRun, Failed, ProposalKind, Reason, Rejected

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from chain.attestation import Action, Probe
    from chain.market import Market
    from chain.rpc import Rpc
    from chain.signer import LocalSigner
    from chain.txmgr import Receipt
    from config.schema import ChainSettings
    from keeper.journal import Journal
    from keeper.messages import Approved, Proposal

Ended = Announced | Applied | Failed
"""The definite ends of an attempt."""

POLL_SECONDS = 0.25
SPENT_SIGHTINGS = 3
"""How often a nonce must be seen spent without a receipt before it is believed: receipt indices lag the head."""


class Executor(Protocol):
    """What becomes of an approved proposal."""

    async def execute(self, approved: Approved, market: Market, *, announce: bool = False) -> Ended | Rejected | DryRun:
        """Carry it out, or announce it, or say why not."""
        ...

    async def finish(self) -> Sequence[Ended]:
        """Bring attempts that an earlier run left unfinished to their end, where the chain allows it."""
        ...


def action_of(proposal: Proposal) -> Action:
    """Return what a proposal's message is submitted for."""
    return "rollback" if proposal.kind is ProposalKind.ROLLBACK else "apply"


def message_of(
    proposal: Proposal,
    market: Market,
    probes: Sequence[Probe],
    max_liquidatable: int,
    order: tuple[int, ...] = (),
) -> Message:
    """Return the message that carries a proposal out, with calls in the binding's order or the one given.

    Its input root is the proposal's digest.
    """
    calls = market.protocol.setter_calls(proposal.values, moved_by(proposal), order)
    return Message(
        market=market.name,
        policy=proposal.policy,
        sequence=proposal.sequence,
        state_hash=proposal.state_hash,
        changes=tuple((change.id, change.value) for change in proposal.changes),
        calls=calls,
        model_hash="0x" + keccak(text=proposal.model_id).hex(),
        input_root=proposal.digest,
        probes=tuple(probes),
        max_liquidatable=max_liquidatable,
        deadline=proposal.deadline,
        order=order,
    )


def moved_by(proposal: Proposal) -> list[int]:
    """Return the parameters to which a proposal gives another value, by id."""
    return [change.id for change in proposal.changes if change.value != proposal.current[change.id]]


@dataclass(frozen=True, slots=True)
class DryRunExecutor:
    """Signs and sends nothing: the default without a key."""

    async def execute(self, approved: Approved, market: Market, *, announce: bool = False) -> DryRun:
        """Say what would have been sent, but for its signatures."""
        proposal, data = approved.proposal, approved.preflight.calldata
        data = announcing(data) if announce else data
        return DryRun(market.name, proposal.digest, proposal.because, market.steward, data)

    async def finish(self) -> Sequence[Ended]:
        """Nothing was begun."""
        return ()


@dataclass(slots=True)
class StewardExecutor:
    """Sends through the steward with one key. At most one attempt of the key is unfinished at any time.

    `markets` maps names to markets, for attempts found in the journal after a restart.
    """

    rpc: Rpc
    signer: LocalSigner
    journal: Journal
    settings: ChainSettings
    markets: Mapping[str, Market]
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def execute(self, approved: Approved, market: Market, *, announce: bool = False) -> Ended | Rejected:
        """Sign, rehearse the very bytes, journal, broadcast, and wait for the end.

        When the end does not come within `receipt_timeout_seconds` the answer is a refusal with IN_FLIGHT: the
        attempt stays unfinished in the journal and every later tick takes it up first.
        """
        async with self._lock:
            proposal = approved.proposal
            refused = await self._busy(proposal)
            if refused is not None:
                return refused
            try:
                attempt = await self._sign(approved, market, announce=announce)
            except txmgr.FeeTooHigh as error:
                return Rejected(market.name, Reason.FEE_TOO_HIGH, str(error), proposal.block, proposal)
            except SimulationReverted as error:
                unsigned = any(words in str(error) for words in ("signature", "signer"))
                reason = Reason.NOT_ATTESTED if unsigned else Reason.SIMULATION_FAILED
                return Rejected(market.name, reason, str(error), proposal.block, proposal)
            await self.journal.append(attempt)
            ended = await self._follow(attempt)
            if isinstance(ended, str):
                return Rejected(market.name, Reason.IN_FLIGHT, ended, proposal.block, proposal)
            return ended

    async def finish(self) -> Sequence[Ended]:
        """Take up every unfinished attempt of this key; return and journal the ends that came."""
        async with self._lock:
            ends: list[Ended] = []
            for attempt in await self.journal.unfinished_attempts(self.signer.address):
                ended = await self._follow(attempt)
                if not isinstance(ended, str):
                    await self.journal.append(ended)
                    ends.append(ended)
            return ends

    async def _busy(self, proposal: Proposal) -> Rejected | None:
        unfinished = await self.journal.unfinished_attempts(self.signer.address)
        mined, pending = await txmgr.nonces(self.rpc, self.signer.address)
        detail = ""
        if unfinished:
            detail = f"transaction {unfinished[0].tx_hash} is unfinished"
        elif pending != mined:
            detail = f"{pending - mined} transactions of this key are pending that this journal does not know"
        return Rejected(proposal.market, Reason.IN_FLIGHT, detail, proposal.block, proposal) if detail else None

    async def _sign(self, approved: Approved, market: Market, *, announce: bool) -> Attempt:
        proposal, data = approved.proposal, approved.preflight.calldata
        data = attach(data, [self.signer.attest(approved.preflight.attestation)])
        data = announcing(data) if announce else data
        block = await head(self.rpc)
        gas = await market.rehearse(data, self.signer.address, block)
        nonce, _ = await txmgr.nonces(self.rpc, self.signer.address)
        fee = await txmgr.base_fee(self.rpc, block)
        candidate = txmgr.TxCandidate(market.steward, data, gas)
        signed = self.signer.sign(txmgr.build(candidate, self.settings.chain_id, nonce, fee, self.settings))
        return Attempt(
            market=market.name,
            digest=proposal.digest,
            kind=proposal.kind,
            chain_id=self.settings.chain_id,
            sender=self.signer.address,
            to=market.steward,
            nonce=nonce,
            tx_hash=signed.tx_hash,
            raw=signed.raw,
            deadline=proposal.deadline,
            announces=announce,
        )

    async def _follow(self, attempt: Attempt) -> Ended | str:
        """Broadcast and wait for the end; say why it has not come when it did not come in time."""
        refusal = await self._broadcast(attempt)
        spent = 0
        for _ in range(max(1, int(self.settings.receipt_timeout_seconds / POLL_SECONDS))):
            try:
                found = await txmgr.fate(self.rpc, attempt.sender, attempt.nonce, attempt.tx_hash)
            except Unreachable:
                found = txmgr.Fate.PENDING
            if isinstance(found, txmgr.Receipt):
                return await self._conclude(attempt, found)
            spent = spent + 1 if found is txmgr.Fate.NONCE_SPENT else 0
            if spent >= SPENT_SIGHTINGS:
                return Failed(attempt.market, attempt.digest, attempt.tx_hash, txmgr.Fate.NONCE_SPENT.value)
            if refusal is not None and found is txmgr.Fate.PENDING:
                return await self._expired(attempt, refusal)
            await self.sleep(POLL_SECONDS)
        return f"transaction {attempt.tx_hash} is not mined yet"

    async def _broadcast(self, attempt: Attempt) -> str | None:
        """Return the endpoint's refusal. No answer is no refusal: it may have taken the transaction."""
        try:
            await txmgr.broadcast(self.rpc, attempt.raw)
        except Refused as error:
            return steward.revert_reason(error)
        except Unreachable:
            return None
        return None

    async def _expired(self, attempt: Attempt, refusal: str) -> Failed | str:
        """End a refused attempt once its deadline has passed on chain: from then on the steward refuses it too."""
        now = await head(self.rpc)
        if now.timestamp <= attempt.deadline:
            return f"the endpoint refuses transaction {attempt.tx_hash}: {refusal}"
        detail = f"refused by the endpoint until its deadline passed: {refusal}"
        return Failed(attempt.market, attempt.digest, attempt.tx_hash, detail)

    async def _conclude(self, attempt: Attempt, receipt: Receipt) -> Ended:
        market = self._market(attempt)
        if not receipt.succeeded:
            detail = await self._why_reverted(attempt, receipt)
            return Failed(attempt.market, attempt.digest, attempt.tx_hash, detail, receipt.gas_used)
        own = [log for log in receipt.logs if log["address"].lower() == attempt.to.lower()]
        if attempt.announces:
            return self._announced(attempt, receipt, own[-1])
        event = steward.parse_event(market.name, own[-1])
        return Applied(
            market=market.name,
            digest=attempt.digest,
            kind=attempt.kind,
            sequence=event.sequence,
            values=await market.values_at(receipt.block),
            tx_hash=attempt.tx_hash,
            block=receipt.block,
            gas_used=receipt.gas_used,
        )

    def _announced(self, attempt: Attempt, receipt: Receipt, log: dict[str, Any]) -> Announced:
        return Announced(
            market=attempt.market,
            digest=attempt.digest,
            attestation=log["topics"][3],
            applicable_at=steward.applicable_at(log),
            tx_hash=attempt.tx_hash,
            block=receipt.block,
            gas_used=receipt.gas_used,
        )

    def _market(self, attempt: Attempt) -> Market:
        if attempt.market not in self.markets:
            raise ConfigError(
                f"markets: the journal holds an unfinished transaction of market {attempt.market}, "
                "which the settings do not name: name it until that is finished"
            )
        return self.markets[attempt.market]

    async def _why_reverted(self, attempt: Attempt, receipt: Receipt) -> str:
        """Replay the call at the block before the one that mined it, for the contract's own words."""
        try:
            sent = await self.rpc.call("eth_getTransactionByHash", attempt.tx_hash)
            if sent is None:
                return "reverted, and the endpoint no longer knows the transaction"
            call = {"from": attempt.sender, "to": attempt.to, "data": sent["input"]}
            await self.rpc.call("eth_call", call, hex(receipt.block.number - 1))
        except Refused as error:
            return f"reverted: {steward.revert_reason(error)}"
        except RpcError as error:
            return f"reverted, and the reason could not be read: {error}"
        return "reverted, though it would not have on the block before"
