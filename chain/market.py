"""Read a market's whole state at one block, and show what exact calldata would do to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from chain import steward
from chain.accounts import accounts_since, health_calls, liquidatable, read_accounts
from chain.attestation import announcing
from chain.copies import read_after
from chain.policy import NOBODY, Policy
from chain.protocol import BindingError, BoundProtocol
from chain.rpc import RpcError, Unreachable, blocks_at, read
from config.errors import ConfigError
from models.market import Invariant, MarketState, ParameterState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chain.accounts import KeptLogs
    from chain.rpc import Call, Rpc
    from chain.steward import StewardView
    from config.deployment import Deployment
    from config.protocol import Protocol
    from models.market import Account, BlockStamp

SECONDS_AFTER_RAMP = 1


@dataclass(frozen=True, slots=True)
class Simulated:
    """What a copy of the chain showed after the calldata ran.

    `liquidatable` are the accounts that are so at once or when the ramp has ended.
    """

    gas: int
    values: tuple[int, ...]
    liquidatable: frozenset[str]


class SimulationReverted(RpcError):
    """The exact calldata reverts. The message is the contract's own reason."""


@dataclass(frozen=True, slots=True)
class Market:
    """One market on chain: its steward, its protocol and the endpoint they are read from.

    `since_block` is where the steward's history begins, `accounts_since` the market's own, where accounts are known by
    logs. Policies, versions and settled logs never change: they are kept once read.
    """

    name: str
    steward: str
    protocol: BoundProtocol
    rpc: Rpc
    chain_id: int
    since_block: int
    accounts_since: int
    policies: dict[str, Policy] = field(default_factory=dict, compare=False)
    versions: dict[str, tuple[int, ...]] = field(default_factory=dict, compare=False)
    logs: KeptLogs = field(default_factory=dict, compare=False)

    async def state(self, block: BlockStamp) -> MarketState:
        """Read everything a decision needs, pinned to `block`.

        Raises BindingError when steward and binding disagree about the parameters.
        """
        protocol = self.protocol
        reads, effective = protocol.reads(), protocol.effective_reads()
        calls = [steward.view_call(self.steward, self.name), protocol.price_call(), *reads, *effective]
        answers = await read(self.rpc, calls, block)
        view = steward.parse_view(answers[0])
        if view.status not in (steward.ACTIVE, steward.PAUSED):
            raise BindingError(f"{self.name}: the steward has no active market of that name")
        values = protocol.values(answers[2 : 2 + len(reads)])
        if values != view.values:
            raise BindingError(
                f"{self.name}: the binding reads {values}, the steward {view.values}: not the same getters"
            )
        policy = await self.policy(view.policy, block)
        price, updated_at = protocol.price(answers[1])
        return MarketState(
            market=self.name,
            block=block,
            sequence=view.sequence,
            state_hash=view.state_hash,
            paused=view.status == steward.PAUSED,
            parameters=_parameters(view, policy, protocol.effective_values(answers[2 + len(reads) :])),
            last_good=await self.last_good(view, block),
            oracle_price=price,
            oracle_updated_at=block.timestamp if updated_at is None else updated_at,
            accounts=await read_accounts(protocol, self.rpc, block, self.accounts_since, self.logs),
            invariants=tuple(Invariant(*one) for one in policy.invariants),
            policy=view.policy,
            version_hash=view.version_hash,
        )

    async def policy(self, address: str, block: BlockStamp) -> Policy:
        """Read the policy that stands at an address."""
        if address not in self.policies:
            at = {"blockHash": block.hash, "requireCanonical": True}
            code = await self.rpc.call("eth_getCode", address, at)
            self.policies[address] = Policy.read(bytes.fromhex(code.removeprefix("0x")))
        return self.policies[address]

    async def last_good(self, view: StewardView, block: BlockStamp) -> tuple[int, ...]:
        """Return the values that a rollback would restore: the steward keeps their hash, the chain's log has them.

        Raises Unreachable when the endpoint does not serve the log, or serves one whose values have another hash.
        """
        self.versions[view.state_hash] = view.values
        if view.good_hash not in self.versions:
            first, last = await blocks_at(self.rpc, view.good_at, self.since_block, block.number)
            where = steward.version_filter(self.steward, self.name, first, last)
            for values in map(steward.version_values, await self.rpc.call("eth_getLogs", where)):
                self.versions[steward.state_hash(self.steward, self.chain_id, self.name, values)] = values
            if view.good_hash not in self.versions:
                raise Unreachable(f"{self.name}: no log of block {first} has the values of {view.good_hash}")
        return self.versions[view.good_hash]

    async def announced_at(self, digest: str, block: BlockStamp) -> int | None:
        """Return when a message was announced, Unix seconds, None if never; 2**256 - 1 stands for vetoed."""
        answer = (await read(self.rpc, [steward.announced_call(self.steward, digest)], block))[0]
        return int.from_bytes(answer) or None

    async def simulate(
        self, calldata: str, sender: str, state: MarketState, *, notice: int = 0, waived: bool = False
    ) -> Simulated:
        """Run unsigned `calldata` from `sender` on a copy of the chain at the state's block (eth_simulateV1).

        The copy asks for no signatures: nobody has signed yet. Two blocks are simulated: the change itself, and one
        when its ramp has ended, at today's price; a change that is due `notice` seconds of notice is announced in a
        block before, and the change made when that is over. Nothing needs to be announced where notice is `waived`.
        Raises SimulationReverted when the calldata or a read after it reverts.
        """
        ramp = await self._ramp_seconds(state.block)
        policy = (await self.policy(state.policy, state.block)).unsigned()
        policy = policy.unannounced() if waived else policy
        health = health_calls(self.protocol, state.accounts)
        now = state.block.timestamp + 1
        blocks = [
            _block(
                now + notice, [_call(self.steward, calldata, sender), *map(_view, [*self.protocol.reads(), *health])]
            ),
            _block(now + notice + ramp + SECONDS_AFTER_RAMP, [*map(_view, health)]),
        ]
        if notice:
            announcement = announcing(calldata)
            blocks.insert(0, _block(now, [_call(self.steward, announcement, sender)]))
        blocks[0]["stateOverrides"] = {state.policy: {"code": "0x00" + policy.blob().hex()}}
        answer = await self._simulated(blocks, state.block)
        change = answer[-2]["calls"]
        reads = [_returned(call) for call in change][1:]
        number = len(self.protocol.reads())
        return Simulated(
            gas=int((answer[0] if notice else answer[-2])["calls"][0]["gasUsed"], 16),
            values=self.protocol.values(reads[:number]),
            liquidatable=_hit(self.protocol, state.accounts, reads[number:])
            | _hit(self.protocol, state.accounts, [_returned(call) for call in answer[-1]["calls"]]),
        )

    async def rehearse(self, calldata: str, sender: str, block: BlockStamp) -> int:
        """Return the gas of signed calldata on a copy of the chain at `block`. Raises SimulationReverted."""
        answer = await self._simulated([_block(block.timestamp + 1, [_call(self.steward, calldata, sender)])], block)
        _returned(answer[0]["calls"][0])
        return int(answer[0]["calls"][0]["gasUsed"], 16)

    async def attempt(
        self, sequences: Sequence[Sequence[Call]], state: MarketState, wait: int
    ) -> list[tuple[int, ...] | None]:
        """Make each sequence of calls on a copy of its own as the steward would, `wait` seconds after a state.

        Return the values then read, in id order, None where a call is refused. Raises Refused when the endpoint does
        not serve eth_simulateV1.
        """
        executor = (await self.policy(state.policy, state.block)).executor
        maker = self.steward if executor == NOBODY else executor
        makers = {target: maker for calls in sequences for target, _ in calls}
        at = state.block.timestamp + 1 + wait
        reads = await read_after(self.rpc, self.protocol, makers, sequences, state.block, at=at)
        return [None if isinstance(read, str) else read for read in reads]

    async def _simulated(self, blocks: Sequence[dict[str, Any]], block: BlockStamp) -> list[dict[str, Any]]:
        at = hex(block.number)
        asked = [("eth_simulateV1", ({"blockStateCalls": blocks}, at)), ("eth_getBlockByNumber", (at, False))]
        answer, parent = await self.rpc.batch(asked)
        if parent is None or parent["hash"] != block.hash:
            # eth_simulateV1 takes a number only, and another block stands at that height by now.
            raise SimulationReverted("the block the decision was made for is no longer canonical")
        for simulated in answer:
            for first in simulated["calls"][:1]:
                _returned(first)
        blocks_shown: list[dict[str, Any]] = answer
        return blocks_shown

    async def _ramp_seconds(self, block: BlockStamp) -> int:
        call = self.protocol.ramp_call()
        return 0 if call is None else self.protocol.ramp_seconds((await read(self.rpc, [call], block))[0])

    async def values_at(self, block: BlockStamp) -> tuple[int, ...]:
        """Read the live parameter values through the binding's getters, at one block."""
        return self.protocol.values(await read(self.rpc, self.protocol.reads(), block))


def bind(name: str, deployment: Deployment, binding: Protocol, rpc: Rpc) -> Market:
    """Return a market of a deployment. Raises ConfigError when it has none of that name, or not all that it needs."""
    if name not in deployment.markets:
        raise ConfigError(f"the deployment file has no market {name} (it has {', '.join(deployment.markets)})")
    market = deployment.markets[name]
    bound = BoundProtocol(binding, market.contracts, market.keys)
    since = accounts_since(name, market, binding)
    return Market(name, deployment.steward, bound, rpc, deployment.chain_id, deployment.block, since)


def _parameters(view: StewardView, policy: Policy, effective: tuple[int, ...]) -> tuple[ParameterState, ...]:
    rows = zip(view.values, effective, policy.parameters, view.remembered, strict=True)
    return tuple(
        ParameterState(
            id=index,
            value=value,
            effective=in_effect,
            minimum=limits.minimum,
            maximum=limits.maximum,
            max_step_up=limits.max_step_up,
            max_step_down=limits.max_step_down,
            cooldown=limits.cooldown,
            changed_at=remembered.changed_at,
            relative=limits.relative,
            drift_budget=limits.drift_budget,
            drift_window=limits.drift_window,
            tightening_up=limits.tightening_up,
            notice=limits.notice,
            reversible=limits.reversible,
            coupled=limits.coupled,
            drift_used=remembered.drift_used,
            drift_before=remembered.drift_before,
        )
        for index, (value, in_effect, limits, remembered) in enumerate(rows)
    )


def _hit(protocol: BoundProtocol, accounts: Sequence[Account], answers: Sequence[bytes]) -> frozenset[str]:
    verdicts = liquidatable(protocol, accounts, answers)
    return frozenset(account.address for account, verdict in zip(accounts, verdicts, strict=True) if verdict)


def _block(timestamp: int, calls: list[dict[str, str]]) -> dict[str, Any]:
    return {"blockOverrides": {"time": hex(timestamp)}, "calls": calls}


def _view(call: Call) -> dict[str, str]:
    return _call(*call)


def _call(target: str, data: str, sender: str | None = None) -> dict[str, str]:
    call = {"to": target, "data": data}
    return call if sender is None else {"from": sender, **call}


def _returned(call: dict[str, Any]) -> bytes:
    if call["status"] != "0x1":
        error = call.get("error") or {}
        reason = steward.revert_reason(error.get("data") or call.get("returnData") or "")
        raise SimulationReverted(reason)
    return bytes.fromhex(call["returnData"][2:])
