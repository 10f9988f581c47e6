"""Read a market's whole state at one block, and show what exact calldata would do to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chain import steward
from chain.protocol import BindingError, BoundProtocol, word
from chain.rpc import RpcError, read
from config.errors import ConfigError
from models.market import BlockStamp, MarketState, ParameterState

if TYPE_CHECKING:
    from chain.rpc import Rpc
    from chain.steward import StewardView
    from config.deployment import Deployment
    from config.protocol import Protocol
    from models.market import Account

SECONDS_AFTER_RAMP = 1


@dataclass(frozen=True, slots=True)
class Simulated:
    """What a copy of the chain showed after the calldata ran: at once, and when the ramp has ended."""

    gas: int
    values: tuple[int, ...]
    accounts: tuple[Account, ...]
    accounts_after_ramp: tuple[Account, ...]


class SimulationReverted(RpcError):
    """The exact calldata reverts. The message is the contract's own reason."""


@dataclass(frozen=True, slots=True)
class Market:
    """One market on chain: its steward, its protocol and the endpoint they are read from."""

    name: str
    steward: str
    protocol: BoundProtocol
    rpc: Rpc

    async def state(self, block: BlockStamp) -> MarketState:
        """Read everything a decision needs, pinned to `block`, in two round trips.

        Raises BindingError when steward and binding disagree about the parameters.
        """
        protocol = self.protocol
        number = len(protocol.binding.parameters)
        calls = [steward.view_call(self.steward, self.name), protocol.price_call(), protocol.account_count_call()]
        answers = await read(self.rpc, [*calls, *protocol.getters(), *protocol.effective_getters()], block)
        view = steward.parse_view(answers[0])
        values = protocol.getter_words(answers[3 : 3 + number])
        if values != view.values:
            raise BindingError(
                f"{self.name}: the binding reads {values}, the steward {view.values}: not the same getters"
            )
        effective = protocol.getter_words(answers[3 + number :], effective=True)
        price, updated_at = protocol.price(answers[1])
        count = word(answers[2], 0, "accounts.count")
        return MarketState(
            market=self.name,
            block=block,
            sequence=view.sequence,
            state_hash=view.state_hash,
            paused=view.paused,
            parameters=_parameters(view, effective),
            last_good=view.last_good,
            oracle_price=price,
            oracle_updated_at=updated_at,
            accounts=protocol.accounts(await read(self.rpc, protocol.account_pages(count), block) if count else []),
        )

    async def simulate(self, calldata: str, sender: str, state: MarketState) -> Simulated:
        """Run `calldata` from `sender` on a copy of the chain at the state's block (eth_simulateV1).

        Two blocks are simulated: the change itself, and one when its ramp has ended, at today's price.
        Raises SimulationReverted when the calldata or a read after it reverts.
        """
        pages = self.protocol.account_pages(len(state.accounts))
        ramp = await self._ramp_seconds(state.block)
        now = state.block.timestamp + 1
        first = [*self.protocol.getters(), *pages]
        blocks = [
            _block(now, [_call(self.steward, calldata, sender), *(_call(*view) for view in first)]),
            _block(now + ramp + SECONDS_AFTER_RAMP, [_call(*view) for view in pages]),
        ]
        at = hex(state.block.number)
        asked = [("eth_simulateV1", ({"blockStateCalls": blocks}, at)), ("eth_getBlockByNumber", (at, False))]
        answer, parent = await self.rpc.batch(asked)
        if parent["hash"] != state.block.hash:
            # eth_simulateV1 takes a number only, and another block stands at that height by now.
            raise SimulationReverted("the block the decision was made for is no longer canonical")
        reads = [_returned(call) for call in answer[0]["calls"]][1:]
        number = len(self.protocol.binding.parameters)
        return Simulated(
            gas=int(answer[0]["calls"][0]["gasUsed"], 16),
            values=self.protocol.getter_words(reads[:number]),
            accounts=self.protocol.accounts(reads[number:]),
            accounts_after_ramp=self.protocol.accounts([_returned(call) for call in answer[1]["calls"]]),
        )

    async def values_at(self, block: BlockStamp) -> tuple[int, ...]:
        """Read the live parameter values through the binding's getters, at one block."""
        return self.protocol.getter_words(await read(self.rpc, self.protocol.getters(), block))

    async def _ramp_seconds(self, block: BlockStamp) -> int:
        call = self.protocol.ramp_call()
        return 0 if call is None else word((await read(self.rpc, [call], block))[0], 0, "ramp")


def bind(name: str, deployment: Deployment, binding: Protocol, rpc: Rpc) -> Market:
    """Return a market of a deployment. Raises ConfigError when the deployment has none of that name."""
    if name not in deployment.markets:
        raise ConfigError(f"the deployment file has no market {name} (it has {', '.join(deployment.markets)})")
    return Market(name, deployment.steward, BoundProtocol(binding, deployment.markets[name].market), rpc)


def _parameters(view: StewardView, effective: tuple[int, ...]) -> tuple[ParameterState, ...]:
    columns = (view.values, effective, view.minimum, view.maximum, view.max_step_up, view.max_step_down, view.cooldown)
    rows = zip(*columns, view.changed_at, strict=True)
    return tuple(ParameterState(index, *row) for index, row in enumerate(rows))


def _block(timestamp: int, calls: list[dict[str, str]]) -> dict[str, Any]:
    return {"blockOverrides": {"time": hex(timestamp)}, "calls": calls}


def _call(target: str, data: str, sender: str | None = None) -> dict[str, str]:
    call = {"to": target, "data": data}
    return call if sender is None else {"from": sender, **call}


def _returned(call: dict[str, Any]) -> bytes:
    if call["status"] != "0x1":
        error = call.get("error") or {}
        reason = steward.revert_reason(error.get("data") or call.get("returnData") or "")
        raise SimulationReverted(reason)
    return bytes.fromhex(call["returnData"][2:])
