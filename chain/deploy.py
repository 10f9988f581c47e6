"""Put contracts on a chain: the steward for a protocol that stands already, or a whole trial market with it."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eth_account import Account
from eth_utils.abi import function_signature_to_4byte_selector
from eth_utils.crypto import keccak
from web3 import HTTPProvider, Web3
from web3.exceptions import ContractLogicError, Web3Exception, Web3RPCError
from web3.middleware import SignAndSendRawMiddlewareBuilder

from chain.compiler import compile_contract
from chain.protocol import BoundProtocol
from chain.steward import market_id
from config.deployment import Deployment, MarketDeployment
from config.errors import KnownFault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pydantic import SecretStr
    from web3.contract import Contract
    from web3.types import TxReceipt

    from config.deployment import Policies
    from config.protocol import Protocol

KEEPER_ROLE = keccak(text="KEEPER_ROLE")
GUARDIAN_ROLE = keccak(text="GUARDIAN_ROLE")


class DeployError(KnownFault):
    """The chain refused a step of the deployment, or did not answer. The message names the step, never the URL."""


@dataclass(frozen=True, slots=True)
class Deployer:
    """A key that deploys and sends, over web3, waiting for every receipt."""

    web3: Web3
    address: str
    on_step: Callable[[str], None]

    @classmethod
    def connect(cls, url: str, key: SecretStr, chain_id: int, on_step: Callable[[str], None]) -> Deployer:
        """Connect to an endpoint. Raises DeployError when it serves another chain or does not answer."""
        web3 = Web3(HTTPProvider(url, exception_retry_configuration=None))
        account = Account.from_key(key.get_secret_value())
        with _step("connect"):
            found = web3.eth.chain_id
        if found != chain_id:
            raise DeployError(f"the endpoint serves chain {found}, chain.chain_id is {chain_id}")
        web3.middleware_onion.inject(SignAndSendRawMiddlewareBuilder.build(account), layer=0)
        return cls(web3, account.address, on_step)

    def create(self, name: str, *arguments: Any) -> Contract:
        """Deploy one of our contracts."""
        self.on_step(f"deploy {name}")
        artefact = compile_contract(name)
        factory = self.web3.eth.contract(abi=list(artefact.abi), bytecode=artefact.bytecode)
        receipt = self._send(f"deploy {name}", factory.constructor(*arguments))
        return self.at(name, str(receipt["contractAddress"]))

    def at(self, name: str, address: str) -> Contract:
        """Return a deployed contract."""
        abi = list(compile_contract(name).abi)
        return self.web3.eth.contract(address=Web3.to_checksum_address(address), abi=abi)

    def send(self, contract: Contract, function: str, *arguments: Any) -> TxReceipt:
        """Call a function in a transaction of its own."""
        return self._send(function, contract.get_function_by_name(function)(*arguments))

    def head(self) -> tuple[int, int]:
        """Return the latest block's number and time, Unix seconds."""
        with _step("read the latest block"):
            block = self.web3.eth.get_block("latest")
        return block["number"], block["timestamp"]

    def code_hash(self, address: str) -> str:
        """Return the keccak256 of a contract's runtime code, 0x-prefixed."""
        with _step("read the deployed code"):
            code = self.web3.eth.get_code(Web3.to_checksum_address(address))
        return "0x" + keccak(bytes(code)).hex()

    def _send(self, step: str, call: Any) -> TxReceipt:
        with _step(step):
            tx_hash = call.transact({"from": self.address})
            receipt = self.web3.eth.wait_for_transaction_receipt(tx_hash, poll_latency=0.02)
        if receipt["status"] != 1:
            raise DeployError(f"{step}: transaction {tx_hash.hex()} reverted")
        return receipt


@contextlib.contextmanager
def _step(name: str) -> Iterator[None]:
    """Raise DeployError for what the endpoint refuses or leaves unanswered: a transport error's text has the URL."""
    try:
        yield
    except (ContractLogicError, Web3RPCError) as error:
        raise DeployError(f"{name}: {error}") from None
    except (OSError, Web3Exception, json.JSONDecodeError) as error:
        raise DeployError(f"{name}: the endpoint gave no usable answer: {type(error).__name__}") from None


def deploy_trial_market(
    deployer: Deployer, name: str, price: float, binding: Protocol, policies: Policies
) -> MarketDeployment:
    """Put up the reference protocol with a token and a price feed of its own, priced at `price` now."""
    token = deployer.create("collateral_token")
    feed = deployer.create("price_feed", f"{name} / USD")
    _, now = deployer.head()
    deployer.send(feed, "post", round(price * binding.price.scale), now)
    initial = [policies.limits[parameter.name].initial for parameter in binding.parameters]
    market = deployer.create(
        "options_market",
        name,
        token.address,
        feed.address,
        initial,
        policies.ramp_seconds,
        policies.max_price_age_seconds,
    )
    return MarketDeployment(market=market.address, oracle=feed.address, collateral=token.address)


def deploy_steward(
    deployer: Deployer,
    markets: Mapping[str, tuple[MarketDeployment, Protocol]],
    policies: Mapping[str, Policies],
    keeper: str,
    guardian: str,
) -> Deployment:
    """Put up the steward, register every market with the policies, and hand it the setter role where we own it.

    `keeper` may propose, `guardian` may pause; the deployer stays governance. Every market is activated at its live
    values. Raises DeployError naming the step that was refused.
    """
    steward = deployer.create("risk_steward", deployer.address)
    block, _ = deployer.head()
    for name, (addresses, binding) in markets.items():
        deployer.on_step(f"register {name}")
        _register(deployer, steward, name, BoundProtocol(binding, addresses.market), policies[name])
        market = deployer.at("options_market", addresses.market)
        deployer.send(market, "set_parameter_setter", steward.address)
        deployer.send(steward, "activate", market_id(name), policies[name].probation_seconds)
    deployer.send(steward, "grantRole", KEEPER_ROLE, Web3.to_checksum_address(keeper))
    deployer.send(steward, "grantRole", GUARDIAN_ROLE, Web3.to_checksum_address(guardian))
    contracts = {"risk_steward": steward.address} | {n: m.market for n, (m, _) in markets.items()}
    return Deployment(
        chain_id=deployer.web3.eth.chain_id,
        steward=steward.address,
        keeper=Web3.to_checksum_address(keeper),
        block=block,
        code_hashes={name: deployer.code_hash(address) for name, address in contracts.items()},
        markets={name: addresses for name, (addresses, _) in markets.items()},
    )


def _register(deployer: Deployer, steward: Contract, name: str, protocol: BoundProtocol, policies: Policies) -> None:
    binding = protocol.binding
    key = market_id(name)
    groups = list(dict.fromkeys(parameter.group for parameter in binding.parameters if parameter.group))
    for parameter, (target, getter) in zip(binding.parameters, protocol.getters(), strict=True):
        limits = policies.limits[parameter.name]
        policy = {
            "target": Web3.to_checksum_address(target),
            "getter": bytes.fromhex(getter[2:]),
            "word": parameter.getter.word,
            "minimum": limits.minimum,
            "maximum": limits.maximum,
            "max_step_up": limits.max_step_up,
            "max_step_down": limits.max_step_down,
            "cooldown": limits.cooldown_seconds,
            "tightening_up": parameter.tightening == "up",
            "group": groups.index(parameter.group) + 1 if parameter.group else 0,
        }
        deployer.send(steward, "add_parameter", key, policy)
    for setter in binding.setters:
        selector = function_signature_to_4byte_selector(setter.function)
        deployer.send(steward, "allow_call", key, Web3.to_checksum_address(protocol.address), selector, True)  # noqa: FBT003
    for low, high in binding.ordered_pairs():
        deployer.send(steward, "add_invariant", key, low, high)
