"""A trial market on a development chain, and keepers of it in this process."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import Any

from eth_account import Account
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from processes import closed_port
from pydantic import SecretStr

from chain.anvil import KEYS
from chain.deploy import Steps
from chain.market import bind
from chain.policy import Policy
from chain.progress import Progress
from chain.rollout import Charge, store_policy
from chain.rpc import head
from chain.steward import market_id
from config.load import DEFAULT_SETTINGS, Secrets, load_policies, load_settings
from keeper.audit import audit
from keeper.daemon import Parts, open_keeper
from keeper.journal import EntryKind
from keeper.messages import Rejected
from keeper.publish import Reading, publisher
from keeper.trial import write_deployment
from models.forecaster import DAY, Forecast, Tail
from models.market import Quote, QuoteKind

MARKET = "SPX"
GENESIS = 1_516_147_200
"""17 January 2018, 00:00 UTC: the recording that warms models up has bars until then."""

SPOT = 2_800.0
VOL = 0.15
PRICE_SCALE = 10**8
DOLLAR = 10**6
SIZE = 10**18
PAGE = 2
"""Accounts a page in these tests, so that the book of five takes three."""

RISKY_DEPOSIT = 180 * DOLLAR
RISKY_PRICE = 2_883.0
"""At this price the risky writer is healthy now, and liquidatable once the tightening to `TIGHT` has ramped."""

CALM = ((-0.015933, 0.013219), 0.014268)
TIGHT = ((-0.02059, 0.01754), 0.022755)
LOOSE = ((-0.01362, 0.01104), 0.01)
"""Published daily pair and unlimited daily move: what asks for about the deployed parameters, tighter, looser ones."""


class ScriptedForecaster:
    """A forecaster that answers every bar with the same published pair and unlimited move."""

    model_id = "scripted"

    def __init__(self, script):
        self.published, self.move = script

    def reset(self, asset, bar_seconds):
        pass

    def update(self, bar):
        move = self.move
        tail = Tail((-3 * move, -2 * move, -move, move, 2 * move, 3 * move), -2 * move, 2 * move)
        return Forecast(bar.asset, bar.start, {DAY: tail}, None, self.published)


@dataclass(frozen=True, slots=True)
class Trial:
    """A chain with the trial market on it. Account 0 owns the market and is the guardian, account 1 is the keeper's."""

    url: str
    deployer: Any
    deployment: Any
    protocol: Any
    market: Any
    price_feed: Any
    token: Any
    steward: Any
    registry: Any
    risky: str

    @property
    def keeper(self):
        """The address of the keeper's key, account 1."""
        return Account.from_key(KEYS[1]).address

    def bound(self, rpc, binding=None):
        """Return the market as the keeper reads it."""
        return bind(MARKET, self.deployment, binding or self.protocol, rpc)

    def ask(self, method, *params):
        """Make one request of the development chain."""
        answer = self.deployer.web3.provider.make_request(method, list(params))
        assert "error" not in answer, answer
        return answer["result"]

    def post_price(self, price):
        """Let the oracle post a price now."""
        self.ask("evm_mine")
        now = self.deployer.web3.eth.get_block("latest")["timestamp"]
        self.deployer.send(self.price_feed, "post", round(price * PRICE_SCALE), now)

    def pass_time(self, seconds):
        """Mine one block `seconds` later."""
        self.ask("evm_increaseTime", seconds)
        self.ask("evm_mine")

    def send_again(self, raw):
        """Broadcast a signed transaction as it is, and wait until it is mined: the node answers before that."""
        self.deployer.web3.eth.wait_for_transaction_receipt(self.ask("eth_sendRawTransaction", raw), poll_latency=0.01)

    def reorganise(self):
        """Put another block in the place of the latest one: a transaction in it makes its hash another for sure."""
        owner = self.deployer.address
        self.ask("anvil_reorg", 1, [[{"from": owner, "to": owner, "value": "0x1"}, 0]])

    def parameters(self):
        """Read what new positions obey, from the market itself."""
        return tuple(map(int, self.market.functions.parameters().call()))

    def sequence(self):
        """Read the steward's version number."""
        return int(self.steward.functions.market_state(market_id(MARKET)).call()[2])

    def nonce(self):
        """Return how many transactions of the keeper's key were mined."""
        return self.deployer.web3.eth.get_transaction_count(self.keeper)

    def now(self):
        """Return the latest block's time."""
        return self.deployer.web3.eth.get_block("latest")["timestamp"]

    def govern(self, function, *arguments):
        """Let the timelock make a call of the steward, as after the delay that is its own concern."""
        timelock = self.deployment.timelock
        self.ask("anvil_setBalance", timelock, hex(10**18))
        act(self.deployer, self.steward, timelock, function, *arguments)

    def pause(self):
        """Let the guardian pause the market."""
        self.deployer.send(self.steward, "pause", [market_id(MARKET)])

    def unpause(self):
        """Let governance lift the pause."""
        self.govern("unpause", [market_id(MARKET)])

    def policy(self):
        """Read the policy in force."""
        stored = self.steward.functions.policy_of(market_id(MARKET)).call()
        return Policy.read(bytes(self.deployer.web3.eth.get_code(stored)))

    def put_into_force(self, policy):
        """Let governance put a policy into force."""
        stored = store_policy(Steps(self.deployer, Progress()), self.registry, MARKET, policy)
        self.govern("set_policy", market_id(MARKET), stored)

    def signed_by(self, threshold, *signers):
        """Let governance name the signers; return the trial with a deployment that knows them."""
        ascending = sorted(signers, key=lambda signer: int(signer, 16))
        self.put_into_force(replace(self.policy(), threshold=threshold, signers=tuple(ascending)))
        quorum = {"signers": ascending, "threshold": threshold}
        return replace(self, deployment=self.deployment.model_copy(update=quorum))

    def limit(self, *names, **limits):
        """Let governance change limits of the parameters named, of all without a name, such as `notice_seconds=60`."""
        shipped = load_policies(self.protocol)
        changed = {name: shipped.limits[name].model_copy(update=limits) for name in names or shipped.limits}
        policies = shipped.model_copy(update={"limits": shipped.limits | changed})
        charge = Charge(MARKET, self.deployment.markets[MARKET], self.protocol, policies)
        in_force = self.policy()
        self.put_into_force(charge.policy(in_force.threshold, in_force.signers))

    def set_behind_the_steward(self, function, *values):
        """Let governance take the setter role for one call of the market, and give it back."""
        self.deployer.send(self.market, "set_parameter_setter", self.deployer.address)
        self.deployer.send(self.market, function, *values)
        self.deployer.send(self.market, "set_parameter_setter", self.steward.address)

    def quotes(self, spot=SPOT, vol=VOL):
        """Return a quote of each feed, a second old by the chain's time."""
        at = (self.now() - 1) * 1000
        return (
            Quote("spx", MARKET, QuoteKind.SPOT, spot, at, at),
            Quote("vix", MARKET, QuoteKind.VOL, vol, at, at),
        )


def _person(deployer, name):
    address = to_checksum_address(keccak(text=name)[-20:])
    deployer.web3.provider.make_request("anvil_setBalance", [address, hex(10**18)])
    return address


def act(deployer, contract, person, function, *arguments):
    """Let any account, a contract as well, make a call."""
    call = contract.get_function_by_name(function)(*arguments)
    deployer.web3.eth.wait_for_transaction_receipt(call.transact({"from": person}), poll_latency=0.01)


def _fund(deployer, market, token, person, amount):
    deployer.send(token, "mint", person, amount)
    act(deployer, token, person, "approve", market.address, amount)
    act(deployer, market, person, "deposit", amount)


def open_book(deployer, market, token):
    """Let two safe writers and a risky one sell a call each to two buyers; return the risky writer."""
    deployer.web3.provider.make_request("anvil_autoImpersonateAccount", [True])
    expiry = deployer.web3.eth.get_block("latest")["timestamp"] + 30 * DAY
    deployer.send(market, "create_series", expiry, int(SPOT) * PRICE_SCALE, True)
    writers = [_person(deployer, f"writer {index}") for index in range(3)]
    buyers = [_person(deployer, f"buyer {index}") for index in range(2)]
    for writer, amount in zip(writers, (2_000 * DOLLAR, 1_500 * DOLLAR, RISKY_DEPOSIT), strict=True):
        _fund(deployer, market, token, writer, amount)
        act(deployer, market, writer, "write", 1, SIZE, 0)
    for buyer in buyers:
        _fund(deployer, market, token, buyer, 100 * DOLLAR)
    for offer in (1, 2, 3):
        act(deployer, market, buyers[offer % 2], "buy", offer, SIZE)
    return writers[2]


def _few_bars(folder):
    """Write a recording that ends when the chain begins: enough for a forecast, and loaded at once."""
    days = [f"{GENESIS - ago * DAY},{SPOT},{SPOT + 20},{SPOT - 20},{SPOT},0.15" for ago in range(5, 0, -1)]
    path = folder / "bars.csv"
    path.write_text("\n".join(["ts,open,high,low,close,iv", *days]) + "\n")
    return path


def write_settings(folder, trial, mqtt_url="", extra=None, **changes):
    """Write settings and deployment file for a keeper of the trial market; return the settings' path.

    `changes` replace values by name, such as `tick_seconds=1`; `extra` gives lines to add by table.
    """
    text = DEFAULT_SETTINGS.read_text(encoding="utf-8")
    replaced = {
        "clock": '"chain"',
        "deployment": f'"{folder / "deployment.json"}"',
        "rpc_url": f'"{trial.url}"',
        "warmup": f'"{_few_bars(folder)}"',
        **{name: str(value) for name, value in changes.items()},
    }
    for name, value in replaced.items():
        start = text.index(f"\n{name} = ")
        text = text[:start] + f"\n{name} = {value}" + text[text.index("\n", start + 1) :]
    for table, line in {"model": "min_bars = 1", **(extra or {})}.items():
        text = text.replace(f"\n[{table}]\n", f"\n[{table}]\n{line}\n")
    text = text.replace("sqlite:///keeper.db", f"sqlite:///{folder / 'keeper.db'}")
    text = text.replace("mqtt://127.0.0.1:1883", mqtt_url or f"mqtt://127.0.0.1:{closed_port()}")
    path = folder / "keeper.toml"
    path.write_text(text, encoding="utf-8")
    write_deployment(folder / "deployment.json", trial.deployment)
    return path


@contextlib.asynccontextmanager
async def keeper_of(trial, folder, script=CALM, *, key=KEYS[1], parts=None, mqtt_url="", extra=None, **changes):
    """Open a keeper of the trial market in this process, its model scripted unless `parts` says otherwise."""
    config = write_settings(folder, trial, mqtt_url, extra, **changes)
    parts = parts or Parts(open_forecaster=lambda _: ScriptedForecaster(script))
    secrets = Secrets(SecretStr(key) if key else None)
    settings, protocols = load_settings(config, {}), {MARKET: trial.protocol}
    async with open_keeper(settings, secrets, trial.deployment, protocols, parts, config) as it:
        yield it


def scripted(script, **others):
    """Return parts with a scripted model and other parts by name."""
    return replace(Parts(open_forecaster=lambda _: ScriptedForecaster(script)), **others)


def feed(keeper, *quotes):
    """Hand quotes to the keeper as its feed would."""
    for quote in quotes:
        for pipeline in keeper.pipelines:
            pipeline.take(quote)


async def decide(keeper, trial, spot=SPOT, vol=VOL):
    """Feed fresh quotes and make one decision."""
    await keeper.follow_chain_time()
    feed(keeper, *trial.quotes(spot, vol))
    return (await keeper.tick())[0]


async def rows(keeper, kind):
    """Return the journal's rows of a kind about the trial market."""
    return await keeper.journal.find(kind=kind, market=MARKET)


async def incidents(keeper):
    """Return the kinds of the incidents so far."""
    return [row.body["kind"] for row in await rows(keeper, EntryKind.INCIDENT)]


async def refusal(keeper, trial, **quotes):
    """Decide, and return the reason of the refusal, which must be the newest row."""
    outcome = await decide(keeper, trial, **quotes)
    newest = (await keeper.journal.find())[-1]
    assert isinstance(outcome, Rejected), outcome
    assert newest.message() == outcome
    return outcome.reason


async def audited(keeper, trial):
    """Hold the keeper's journal against the chain."""
    return await audit(keeper.settings, trial.deployment, {MARKET: trial.protocol})


async def at_head(rpc, trial):
    """Read the market's state at the head."""
    return await trial.bound(rpc).state(await head(rpc))


async def publish(settings, *readings):
    """Publish readings, retained, with the feeds' own labels."""
    async with publisher(settings.mqtt, settings.feeds) as target:
        for reading in readings:
            await target.send(reading)


def readings(trial, spot=SPOT, vol=VOL):
    """Return a reading of each feed at the chain's time."""
    at = trial.now() * 1000
    return Reading("spx", spot, at), Reading("vix", vol, at)
