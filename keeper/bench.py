"""Measure what the steward costs, against the protocol's own setter on the same chain in the same run."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from eth_account import Account
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from pydantic import SecretStr

from chain.anvil import CHAIN_ID, KEYS, anvil, ask
from chain.attestation import Message, attach
from chain.deploy import Deployer, succeeded
from chain.protocol import BoundProtocol
from chain.rollout import Roles
from chain.signer import LocalSigner
from chain.steward import parse_view, view_call
from config.load import DEFAULT_SETTINGS, load_policies, load_protocol
from keeper.trial import deploy_on
from models.market import Account as MarginAccount

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from web3.contract import Contract
    from web3.types import TxReceipt

    from chain.attestation import Action, Probe
    from chain.steward import StewardView
    from config.deployment import Deployment, Policies
    from config.protocol import Protocol

MARKETS = tuple(f"M{number}" for number in range(10))
ROUNDS = 4
"""Changes made before one is measured: by then no storage slot is written for the first time."""

PROBED = 4
"""Accounts that a keeper as shipped names to be probed (`guard.probed_accounts`)."""

TIME_BETWEEN = 60
"""Seconds from a change to its rollback: in the same second ramps would not have begun, and cost less to end."""

PRICE = 1000.0
OPTION, DOLLAR = 10**18, 10**6
DEPOSIT = 1_000 * DOLLAR
"""What backs one short call at the money: several times its margin."""

TENOR_SECONDS = 180 * 86_400

RECORDED = "0x" + "5a" * 32
"""In place of model and inputs: hashes that are recorded, not judged."""


@dataclass(frozen=True, slots=True)
class GasReport:
    """Gas of whole transactions in steady state, all six parameters of the reference market changed.

    `direct_setter` is the protocol's own setter called by its owner, without any of the guards. With four probes, each
    of an account with one short, it is what a keeper as shipped sends. Rollback takes three signatures, a minute after
    the change. Beyond steady state: a change of four parameters while one of the two others is on probation, and the
    rollback of both, or of the second once the first is proven, whichever costs more.
    `per_param_at_10_markets` is the mean over ten markets under one steward, a transaction each.
    """

    direct_setter: int
    apply_6_params_1_sig: int
    apply_6_params_3_sigs: int
    apply_6_params_3_sigs_4_probes: int
    rollback: int
    apply_on_probation: int
    rollback_of_two: int
    per_param_at_10_markets: int

    def document(self) -> dict[str, float]:
        """Return the figures, and the ratio of a change through the steward to one by the setter alone."""
        return {**asdict(self), "apply_over_direct": round(self.apply_6_params_3_sigs / self.direct_setter, 2)}


@dataclass(frozen=True, slots=True)
class Bench:
    """A steward over ten trial markets on a private chain, and the keys of its signers."""

    deployer: Deployer
    deployment: Deployment
    protocol: Protocol
    policies: Policies
    signers: tuple[LocalSigner, ...]

    def pass_time(self, seconds: int) -> None:
        """Mine one block `seconds` later."""
        ask(self.deployer.web3, "evm_increaseTime", seconds)
        ask(self.deployer.web3, "evm_mine")

    def settle(self) -> None:
        """Let cooldowns, ramps, drift windows and probations end."""
        limits = self.policies.limits.values()
        waits = [max(one.cooldown_seconds, 2 * one.drift_window_seconds) for one in limits]
        self.pass_time(max(*waits, self.policies.ramp_seconds or 0, self.policies.probation_seconds) + 1)

    def submit(
        self,
        action: Action,
        market: str,
        values: Sequence[int],
        probes: tuple[Probe, ...] = (),
        changed: Sequence[int] | None = None,
    ) -> TxReceipt:
        """Sign a change of every parameter, or of those `changed`, by all signers; send it, and return its receipt."""
        view = self.view(market)
        bound = self._bound(market)
        ids = range(len(values)) if changed is None else changed
        _, now = self.deployer.head()
        message = Message(
            market=market,
            policy=view.policy,
            sequence=view.sequence + 1,
            state_hash=view.state_hash,
            changes=tuple((index, values[index]) for index in ids),
            calls=bound.setter_calls(values, ids),
            model_hash=RECORDED,
            input_root=RECORDED,
            probes=probes,
            max_liquidatable=0,
            deadline=now + 600,
        )
        digest = message.digest(action, self.deployment.steward, CHAIN_ID)
        data = attach(message.calldata(action), [signer.attest(digest) for signer in self.signers])
        return self.deployer.send_raw(action, self.deployment.steward, data)

    def view(self, market: str) -> StewardView:
        """Return what the steward says of a market."""
        target, data = view_call(self.deployment.steward, market)
        return parse_view(self.deployer.call_raw(target, data))

    def nudged(self, market: str, changed: Sequence[int] | None = None) -> list[int]:
        """Return values that the market never had: the live ones, each or those `changed` moved up by one unit."""
        return [value + (changed is None or at in changed) for at, value in enumerate(self.view(market).values)]

    def set_directly(self) -> int:
        """Return the gas of the setter itself, called by the owner of a market that no steward guards."""
        market = self.deployer.at("options_market", self.deployment.markets[MARKETS[0]].contracts["market"])
        values = [value + 1 for value in market.functions.parameters().call()]
        return int(self.deployer.send(market, "set_parameters", values)["gasUsed"])

    def open_shorts(self, market: str) -> tuple[Probe, ...]:
        """Let accounts sell one call each, well covered; return the probes that ask about them."""
        contracts = self.deployment.markets[market].contracts
        exchange = self.deployer.at("options_market", contracts["market"])
        token = self.deployer.at("collateral_token", contracts["collateral"])
        _, now = self.deployer.head()
        price = round(PRICE * self.protocol.price.scale)
        self.deployer.send(self.deployer.at("price_feed", contracts["oracle"]), "post", price, now)
        self.deployer.send(exchange, "create_series", now + TENOR_SECONDS, price, True)  # noqa: FBT003 - it is a call
        self.deployer.send(token, "mint", self.deployer.address, PROBED * DEPOSIT)
        self.deployer.send(token, "approve", exchange.address, PROBED * DEPOSIT)
        writers = [to_checksum_address(keccak(text=f"writer {number}")[-20:]) for number in range(PROBED)]
        for offer, writer in enumerate(writers, start=1):
            self.deployer.send(exchange, "deposit_for", writer, DEPOSIT)
            self._act(writer, exchange, "write", 1, OPTION, 0)
            self.deployer.send(exchange, "buy", offer, OPTION)
        bound = self._bound(market)
        return tuple(bound.probe(MarginAccount(writer), None) for writer in writers)

    def _act(self, account: str, contract: Contract, function: str, *arguments: Any) -> None:
        """Let any account make a call, as the development chain does."""
        web3 = self.deployer.web3
        ask(web3, "anvil_impersonateAccount", account)
        ask(web3, "anvil_setBalance", account, hex(10**18))
        tx_hash = contract.get_function_by_name(function)(*arguments).transact({"from": account})
        succeeded(function, web3.eth.wait_for_transaction_receipt(tx_hash, poll_latency=0.01))

    def _bound(self, market: str) -> BoundProtocol:
        return BoundProtocol(self.protocol, self.deployment.markets[market].contracts)


def measure_gas(on_step: Callable[[str], None]) -> GasReport:
    """Measure on a chain of its own. Raises AnvilMissing without one, DeployError when a step is refused."""
    with anvil() as chain:
        deployer = Deployer.connect(chain.url, SecretStr(KEYS[0]), CHAIN_ID, lambda _: None)
        on_step("the setter alone")
        direct = _direct(deployer)
        on_step("one signature")
        one = _applied(_bench(deployer, MARKETS[:1], 1))
        on_step("three signatures, ten markets")
        bench = _bench(deployer, MARKETS, 3)
        three = [_applied(bench, market) for market in MARKETS]
        on_step("rollback")
        back = _rolled_back(bench, MARKETS[0])
        second, back_two = _on_probation(bench, MARKETS[0])
        on_step("four probes")
        probed = _applied(bench, MARKETS[0], bench.open_shorts(MARKETS[0]))
    parameters = len(bench.protocol.parameters)
    return GasReport(direct, one, three[0], probed, back, second, back_two, round(statistics.fmean(three) / parameters))


def _bench(deployer: Deployer, markets: Sequence[str], number: int) -> Bench:
    protocol = load_protocol("options_market", DEFAULT_SETTINGS)
    policies = load_policies(protocol)
    keys = sorted(KEYS[1 : 1 + number], key=lambda key: int(Account.from_key(key).address, 16))
    signers = tuple(LocalSigner(SecretStr(key)) for key in keys)
    each = dict.fromkeys(markets, policies)
    roles = Roles(
        signers=tuple(signer.address for signer in signers),
        threshold=number,
        guardians=(deployer.address,),
        governance=(deployer.address,),
        delay_seconds=policies.timelock_delay_seconds,
    )
    deployment = deploy_on(deployer, dict.fromkeys(markets, protocol), each, PRICE, roles)
    return Bench(deployer, deployment, protocol, policies, signers)


def _direct(deployer: Deployer) -> int:
    """Return the gas of the setter alone: the deployer takes the setter role of a trial market of its own."""
    bench = _bench(deployer, MARKETS[:1], 1)
    market = deployer.at("options_market", bench.deployment.markets[MARKETS[0]].contracts["market"])
    deployer.send(market, "set_parameter_setter", deployer.address)
    gas = []
    for _ in range(ROUNDS + 1):
        bench.settle()
        gas.append(bench.set_directly())
    return gas[-1]


def _applied(bench: Bench, market: str = MARKETS[0], probes: tuple[Probe, ...] = ()) -> int:
    """Return the gas of a change in steady state."""
    gas = 0
    for _ in range(ROUNDS + 1):
        bench.settle()
        gas = int(bench.submit("apply", market, bench.nudged(market), probes)["gasUsed"])
    return gas


def _rolled_back(bench: Bench, market: str) -> int:
    """Return the gas of undoing the second of two changes in steady state."""
    gas = 0
    for _ in range(ROUNDS):
        bench.settle()
        good = list(bench.view(market).values)
        bench.submit("apply", market, bench.nudged(market))
        bench.pass_time(TIME_BETWEEN)
        gas = int(bench.submit("rollback", market, good)["gasUsed"])
    return gas


def _on_probation(bench: Bench, market: str) -> tuple[int, int]:
    """Return the gas of a change of one group of parameters soon after another group's, and of rolling back."""
    parameters = range(len(bench.protocol.parameters))
    first = bench.protocol.group_of(0)
    rest = [index for index in parameters if index not in first]
    changes, rollbacks = [], []
    for wait in (TIME_BETWEEN, bench.policies.probation_seconds - TIME_BETWEEN):
        bench.settle()
        good = list(bench.view(market).values)
        bench.submit("apply", market, bench.nudged(market, first), changed=first)
        candidate = list(bench.view(market).values)
        bench.pass_time(wait)
        changes.append(int(bench.submit("apply", market, bench.nudged(market, rest), changed=rest)["gasUsed"]))
        bench.pass_time(2 * TIME_BETWEEN)
        restored = good if wait == TIME_BETWEEN else candidate
        rollbacks.append(int(bench.submit("rollback", market, restored)["gasUsed"]))
    return max(changes), max(rollbacks)
