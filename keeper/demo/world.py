"""The stage of the demonstration: a chain, a broker, a market with an option book, and recorded days to play."""

from __future__ import annotations

import asyncio
import contextlib
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from pydantic import SecretStr

from chain.anvil import CHAIN_ID, KEYS, anvil, ask
from chain.deploy import Deployer
from chain.events import history
from chain.market import bind
from chain.rollout import Roles
from chain.rpc import Rpc, head
from config.load import DEFAULT_SETTINGS, Secrets, load_policies, load_protocol, load_settings
from keeper.assess import assess
from keeper.broker import local_broker
from keeper.publish import publisher, readings_of
from keeper.targets import parameter_targets
from keeper.trial import deploy_on, write_deployment
from models.forecaster import DAY
from models.market import BlockStamp, MarketState, Quote, QuoteKind, Snapshot
from models.registry import load_forecaster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from web3.contract import Contract

    from chain.steward import StewardEvent
    from config.deployment import Deployment, Policies
    from config.protocol import Protocol
    from config.schema import Settings
    from keeper.publish import Publisher
    from models.market import Bar

MARKET = "SPX"
SIZE = 10**18
DOLLAR = 10**6
WRITERS = 12


@dataclass(frozen=True, slots=True)
class World:
    """Everything on stage, with what the acts need to move time and to look at the chain for themselves."""

    settings: Settings
    config: Path
    secrets: Secrets
    deployment: Deployment
    protocol: Protocol
    deployer: Deployer
    market: Contract
    price_feed: Contract
    rpc: Rpc
    publisher: Publisher

    @property
    def tunable(self) -> tuple[int, ...]:
        """Ids of the parameters that the keeper tunes."""
        return tuple(index for index, p in enumerate(self.protocol.parameters) if p.role is not None)

    def difference(self, before: tuple[int, ...], after: tuple[int, ...]) -> str:
        """Say which parameters differ, by name."""
        pairs = zip(self.protocol.parameters, before, after, strict=True)
        moved = [f"{parameter.name} {old} to {new}" for parameter, old, new in pairs if old != new]
        return ", ".join(moved) or "parameters unchanged"

    @property
    def ramp_seconds(self) -> int:
        """How long a tightening takes to reach open positions."""
        return int(self.market.functions.ramp_duration().call())

    async def begin_day(self, bar: Bar) -> None:
        """Let the chain reach the close of a recorded day, its oracle at the day's close."""
        await self.rpc.call("evm_setNextBlockTimestamp", bar.end)
        await self.rpc.call("evm_mine")
        price = round(bar.close * self.protocol.price.scale)
        await asyncio.to_thread(self.deployer.send, self.price_feed, "post", price, bar.end)

    async def publish_day(self, bar: Bar, vol_factor: float = 1.0) -> dict[str, int]:
        """Publish a day's quotes; return the last timestamp sent of each feed. `vol_factor` poisons the vol feed."""
        names = self.settings.markets[0]
        last = {}
        for reading in readings_of([bar], names.spot_feed, names.vol_feed):
            factor = vol_factor if reading.feed == names.vol_feed else 1.0
            sent = await self.publisher.send(replace(reading, value=reading.value * factor))
            last[sent.feed] = sent.timestamp_ms
        return last

    async def pass_time(self, seconds: int) -> None:
        """Mine one block `seconds` later."""
        await self.rpc.call("evm_increaseTime", seconds)
        await self.rpc.call("evm_mine")

    async def parameters(self) -> tuple[int, ...]:
        """Read what new positions obey, from the market itself."""
        return await asyncio.to_thread(self._read, "parameters")

    async def effective(self) -> tuple[int, ...]:
        """Read what open positions obey, from the market itself."""
        return await asyncio.to_thread(self._read, "effective_parameters")

    async def changes(self) -> list[StewardEvent]:
        """Read every change the steward ever logged for the market."""
        market = bind(MARKET, self.deployment, self.protocol, self.rpc)
        return list((await history(market, self.deployment.block, await head(self.rpc))).changes)

    async def nonce(self) -> int:
        """Return how many transactions of the keeper's key were mined."""
        return int(await self.rpc.call("eth_getTransactionCount", self.deployment.signers[0], "latest"), 16)

    async def gas_of(self, transactions: Sequence[str]) -> int:
        """Return the gas that transactions used."""
        receipts = [await self.rpc.call("eth_getTransactionReceipt", tx_hash) for tx_hash in transactions]
        return sum(int(receipt["gasUsed"], 16) for receipt in receipts)

    def environment(self) -> dict[str, str]:
        """Return the environment of a keeper process of this world."""
        assert self.secrets.private_key is not None
        return {**os.environ, "KEEPER_PRIVATE_KEY": self.secrets.private_key.get_secret_value()}

    def _read(self, getter: str) -> tuple[int, ...]:
        return tuple(map(int, self.market.get_function_by_name(getter)().call()))


@contextlib.asynccontextmanager
async def open_world(history: Sequence[Bar], workdir: Path, on_step: Any) -> AsyncIterator[World]:
    """Set the stage at the close of the last bar of `history`, with the parameters the model asks for then."""
    last = history[-1]
    with anvil(timestamp=last.end) as chain:
        async with local_broker() as broker_url, Rpc(chain.url) as rpc:
            config = _write_settings(workdir, chain.url, broker_url)
            settings = load_settings(config, {})
            protocol = load_protocol(settings.markets[0].protocol, config)
            policies = _calm_policies(history, settings, protocol)
            # The owner deploys and posts prices; the keeper has a key of its own.
            deployer = Deployer.connect(chain.url, SecretStr(KEYS[0]), CHAIN_ID, on_step)
            keeper_key = SecretStr(KEYS[1])
            keeper = deployer.web3.eth.account.from_key(KEYS[1]).address
            deployment = await asyncio.to_thread(_deploy, deployer, protocol, policies, last.close, keeper)
            write_deployment(Path(settings.keeper.deployment), deployment)
            addresses = deployment.markets[MARKET].contracts
            market = deployer.at("options_market", addresses["market"])
            price_feed = deployer.at("price_feed", addresses["oracle"])
            token = deployer.at("collateral_token", addresses["collateral"])
            on_step(f"open {2 * WRITERS} margin accounts")
            await asyncio.to_thread(_open_book, deployer, market, token, last)
            async with publisher(settings.mqtt, settings.feeds) as sender:
                secrets = Secrets(keeper_key)
                yield World(settings, config, secrets, deployment, protocol, deployer, market, price_feed, rpc, sender)


def _write_settings(workdir: Path, rpc_url: str, broker_url: str) -> Path:
    """Write the packaged settings with this run's addresses; a database left over from an earlier run is removed."""
    database = workdir / "keeper.db"
    for leftover in workdir.glob("keeper.db*"):
        leftover.unlink()
    text = DEFAULT_SETTINGS.read_text(encoding="utf-8")
    for old, new in {
        'clock = "wall"': 'clock = "chain"',
        '"deployment.json"': f'"{workdir / "deployment.json"}"',
        "sqlite:///keeper.db": f"sqlite:///{database}",
        "mqtt://127.0.0.1:1883": broker_url,
        "http://127.0.0.1:8545": rpc_url,
    }.items():
        if old not in text:
            raise ValueError(f"{DEFAULT_SETTINGS}: the demo expects {old} in it")
        text = text.replace(old, new)
    config = workdir / "keeper.toml"
    config.write_text(text, encoding="utf-8")
    return config


def _calm_policies(history: Sequence[Bar], settings: Settings, protocol: Protocol) -> Policies:
    """Return the packaged limits with the start values that the model asks for at the end of `history`."""
    forecaster = load_forecaster(settings.model.model)
    forecaster.reset(MARKET, settings.model.bar_seconds)
    forecast = None
    for bar in history:
        forecast = forecaster.update(bar)
    last = history[-1]
    names = settings.markets[0]
    spot = Quote(names.spot_feed, MARKET, QuoteKind.SPOT, last.close, last.end * 1000, 1)
    vol = Quote(names.vol_feed, MARKET, QuoteKind.VOL, last.iv or 0.0, last.end * 1000, 1)
    empty = MarketState(
        market=MARKET,
        block=BlockStamp(0, "", last.end),
        sequence=0,
        state_hash="",
        paused=False,
        parameters=(),
        last_good=(),
        oracle_price=last.close,
        oracle_updated_at=last.end,
        accounts=(),
        invariants=(),
        policy="",
        version_hash="",
    )
    assessment = assess(Snapshot(empty, spot, vol), forecast, forecaster.model_id, len(history))
    policies = load_policies(protocol)
    limits = dict(policies.limits)
    for index, target in parameter_targets(assessment, protocol, settings.propose).items():
        name = protocol.parameters[index].name
        limits[name] = limits[name].model_copy(update={"initial": target})
    # Days are a weekend apart at times, and only a close is posted.
    return policies.model_copy(update={"limits": limits, "max_price_age_seconds": 5 * DAY})


def _deploy(deployer: Deployer, protocol: Protocol, policies: Policies, price: float, keeper: str) -> Deployment:
    roles = replace(Roles.held_by(deployer.address, {MARKET: policies}), signers=(keeper,))
    return deploy_on(deployer, {MARKET: protocol}, {MARKET: policies}, price, roles)


def _open_book(deployer: Deployer, market: Contract, token: Contract, last: Bar) -> None:
    """Let writers sell calls and puts around the money to buyers, with two to five times the margin they need."""
    ask(deployer.web3, "anvil_autoImpersonateAccount", True)  # noqa: FBT003 - as anvil has it
    unit = int(last.close) * 10**8
    series = []
    for days, moneyness, is_call in ((60, 95, False), (60, 105, True), (120, 90, False), (120, 100, True)):
        deployer.send(market, "create_series", last.end + days * 86_400, unit * moneyness // 100, is_call)
        series.append(market.functions.series_count().call())
    for index in range(WRITERS):
        writer, buyer = _person(deployer, f"writer {index}"), _person(deployer, f"buyer {index}")
        premium = int(last.close * 0.02) * DOLLAR
        deposit = int(last.close * (0.25 + 0.05 * (index % 6))) * DOLLAR
        for person, amount in ((writer, deposit), (buyer, 2 * premium)):
            deployer.send(token, "mint", person, amount)
            _act(deployer, token, person, "approve", market.address, amount)
            _act(deployer, market, person, "deposit", amount)
        _act(deployer, market, writer, "write", series[index % len(series)], SIZE, premium)
        _act(deployer, market, buyer, "buy", index + 1, SIZE)


def _person(deployer: Deployer, name: str) -> str:
    address = to_checksum_address(keccak(text=name)[-20:])
    ask(deployer.web3, "anvil_setBalance", address, hex(10**18))
    return address


def _act(deployer: Deployer, contract: Contract, person: str, function: str, *arguments: Any) -> None:
    call = contract.get_function_by_name(function)(*arguments)
    deployer.web3.eth.wait_for_transaction_receipt(call.transact({"from": person}), poll_latency=0.01)
