"""Put Lyra v1 under the steward with the product's own commands; what a test does to it and asks of it."""

from __future__ import annotations

import asyncio
import contextlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lyra_defaults import DAY, MIN_COLLATERAL, UNIT
from processes import environment, run_keeper
from pydantic import SecretStr
from setups import ADDRESSES, OWNER, settings_file
from trials import ScriptedForecaster, feed

from chain.anvil import KEYS
from chain.attestation import Message, attach
from chain.market import bind
from chain.signer import LocalSigner
from config.deployment import Deployment, load_deployment
from config.load import Secrets, load_settings
from keeper.daemon import Parts, open_keeper
from keeper.limits import notice
from keeper.messages import Change, Proposal, ProposalKind
from keeper.probes import probes
from keeper.submit import action_of, message_of
from models.market import Quote, QuoteKind

if TYPE_CHECKING:
    from lyra import Lyra

MARKET = "sETH"
SIGNER, GUARDIAN, GOVERNOR = KEYS[1:4]
PASSER_BY = 8
"""The account that sends what the signer signed: it has no role."""

ACCEPT_OWNERSHIP = "0x79ba5097"
TIMELOCK_DELAY = 172_800
PROBED = 8
DEADLINE = 3_600
PERIOD = 5
BARS = 260


@dataclass(frozen=True, slots=True)
class Guarded:
    """Lyra with a steward that owns its OptionGreekCache, and the settings of a keeper of it."""

    lyra: Lyra
    deployment: Deployment
    protocol: Any
    config: Any

    def keeper(self, *arguments, key=None):
        """Run a command of the keeper to its end."""
        folder = self.config.parent
        return asyncio.run(run_keeper(*arguments, "-c", str(self.config), cwd=folder, env=environment(key)))

    def market(self, rpc):
        """Return the market as the keeper reads it."""
        return bind(MARKET, self.deployment, self.protocol, rpc)

    def held(self):
        """Return the eight numbers that Lyra itself says it holds."""
        return tuple(self.lyra["OptionGreekCache"].functions.getMinCollatParams().call())

    def pass_time(self, seconds):
        """Mine one block `seconds` later."""
        self.lyra.ask("evm_increaseTime", seconds)
        self.lyra.ask("evm_mine")

    def send(self, message, action):
        """Let anyone send a message with the signature that it needs; return the receipt."""
        call = {"to": self.deployment.steward, "data": self.signed(message, action)}
        return self.lyra.confirm({"from": self.lyra.web3.eth.accounts[PASSER_BY], **call})

    def try_to_send(self, message, action):
        """Send a message whatever becomes of it; return whether it succeeded."""
        call = {"to": self.deployment.steward, "data": self.signed(message, action), "gas": 1_000_000}
        web3 = self.lyra.web3
        tx_hash = web3.eth.send_transaction({"from": web3.eth.accounts[PASSER_BY], **call})
        return web3.eth.wait_for_transaction_receipt(tx_hash, poll_latency=0.005)["status"] == 1

    def signed(self, message: Message, action) -> str:
        """Return the calldata of a message with the signature that it needs."""
        digest = message.digest(action, self.deployment.steward, self.deployment.chain_id)
        return attach(message.calldata(action), [LocalSigner(SecretStr(SIGNER)).attest(digest)])


def change(protocol, state, **values) -> Proposal:
    """Return the proposal that sets parameters, by the binding's names, and names all that they are coupled with."""
    wanted = {protocol.id_of(name): value for name, value in values.items()}
    ids = sorted({member for index in wanted for member in protocol.group_of(index)})
    changes = tuple(Change(index, wanted.get(index, state.values[index])) for index in ids)
    return Proposal(
        market=MARKET,
        kind=ProposalKind.TUNE,
        policy=state.policy,
        sequence=state.sequence + 1,
        state_hash=state.state_hash,
        block=state.block,
        current=state.values,
        changes=changes,
        targets=changes,
        inputs="0x" + "01" * 32,
        model_id="a test",
        deadline=state.block.timestamp + notice(changes, state) + DEADLINE,
        because="a test says so",
    )


def message(market, state, proposal, *, probed=PROBED) -> Message:
    """Return the message that the keeper makes of a proposal: no account may become liquidatable."""
    return message_of(proposal, market, probes(market.protocol, state.accounts, probed), 0)


def unsigned(market, state, proposal, *, probed=PROBED) -> str:
    """Return the calldata that the keeper simulates."""
    return message(market, state, proposal, probed=probed).calldata(action_of(proposal))


def put_under(lyra, protocol, folder):
    """Deploy with the commands of docs/deployment.md; then Lyra's owner and governance hand OptionGreekCache over."""
    changes = {"name": f'"{MARKET}"', "clock": '"chain"', "dead_band": "0.01"}
    changes |= {"warmup": f'"{bars_file(folder, lyra.now() // DAY * DAY)}"', "max_block_age_seconds": "600"}
    config = settings_file(folder, lyra.url, "lyra_v1", **changes)
    markets = folder / "markets.toml"
    markets.write_text(markets_text(lyra))
    roles = ("--signer", ADDRESSES[1], "--guardian", ADDRESSES[2], "--governance", ADDRESSES[3])
    before = Guarded(lyra, None, protocol, config)
    done(before.keeper("deploy", "--markets", str(markets), *roles, key=OWNER))
    guarded = Guarded(lyra, load_deployment(folder / "deployment.json"), protocol, config)
    cache = lyra["OptionGreekCache"]
    lyra.send(cache.functions.nominateNewOwner(guarded.deployment.steward))
    accept = ("govern", "hand_on", cache.address, ACCEPT_OWNERSHIP, "--send")
    done(guarded.keeper(*accept, key=GOVERNOR))
    guarded.pass_time(TIMELOCK_DELAY)
    done(guarded.keeper(*accept, key=GOVERNOR))
    return guarded


def markets_text(lyra) -> str:
    """Return what `keeper deploy --markets` reads."""
    names = {
        "option_greek_cache": "OptionGreekCache",
        "option_token": "OptionToken",
        "option_market": "OptionMarket",
        "synthetix_adapter": "SynthetixAdapter",
    }
    contracts = ", ".join(f'{name} = "{lyra[theirs].address}"' for name, theirs in names.items())
    keys = f'reward_beneficiary = "{lyra.web3.eth.accounts[9]}"'
    return f"[markets.{MARKET}]\ncontracts = {{ {contracts} }}\nkeys = {{ {keys} }}\n"


def done(ended):
    """Demand that a command ended well; return what it said."""
    assert ended.code == 0, ended
    return ended.out


NAMES = dict(
    zip(
        MIN_COLLATERAL,
        (
            "min_static_quote_collateral",
            "min_static_base_collateral",
            "shock_vol_a",
            "shock_vol_point_a",
            "shock_vol_b",
            "shock_vol_point_b",
            "call_spot_price_shock",
            "put_spot_price_shock",
        ),
        strict=True,
    )
)
"""The binding's names by the fields' own."""


def published(up, down):
    """Return the script of a model that asks for shocks of spot of these sizes, over the margin period of 5 days."""
    pair = (math.log1p(-down) / math.sqrt(PERIOD), math.log1p(up) / math.sqrt(PERIOD))
    return pair, max(-pair[0], pair[1]) / 2


@contextlib.asynccontextmanager
async def keeper_of(guarded, folder, script):
    """Open a keeper of the market in this process, its model scripted, with a fresh quote of each feed."""
    settings = load_settings(guarded.config, {"KEEPER_JOURNAL_URL": f"sqlite:///{folder / 'keeper.db'}"})
    parts = Parts(open_forecaster=lambda _: ScriptedForecaster(script))
    secrets, protocols = Secrets(SecretStr(SIGNER)), {MARKET: guarded.protocol}
    async with open_keeper(settings, secrets, guarded.deployment, protocols, parts) as keeper:
        yield keeper


async def decide(keeper, guarded):
    """Feed fresh quotes and make one decision."""
    await keeper.follow_chain_time()
    at = (guarded.lyra.now() - 1) * 1000
    spot = guarded.lyra.spot() / UNIT
    feed(keeper, Quote("spx", "SPX", QuoteKind.SPOT, spot, at, at), Quote("vix", "SPX", QuoteKind.VOL, 0.9, at, at))
    return (await keeper.tick())[0]


def bars_file(folder, until):
    """Write daily bars that end at `until`, Unix seconds: enough for a forecast to be used."""
    rows = [f"{until - ago * DAY},1742,1800,1700,1742,0.9" for ago in range(BARS, 0, -1)]
    path = folder / "bars.csv"
    path.write_text("\n".join(["ts,open,high,low,close,iv", *rows]) + "\n")
    return path
