"""A bare development chain, and what setting a keeper up on it takes: settings, roles, acts of governance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from eth_account import Account
from processes import closed_port
from pydantic import SecretStr
from trials import MARKET

from chain.anvil import CHAIN_ID, KEYS
from chain.deploy import Deployer
from config.load import DEFAULT_SETTINGS

OWNER = KEYS[0]
ADDRESSES = tuple(Account.from_key(key).address for key in KEYS)
STRANGER = "0x" + "77" * 20


def ascending(*addresses: str) -> list[str]:
    """Return addresses in the order that the steward keeps them in."""
    return sorted(addresses, key=lambda one: int(one, 16))


@dataclass(frozen=True, slots=True)
class Bare:
    """A development chain and its deployer, account 0."""

    url: str
    deployer: Deployer

    @classmethod
    def at(cls, url: str) -> Bare:
        """Connect to a running one."""
        return cls(url, Deployer.connect(url, SecretStr(OWNER), CHAIN_ID, lambda _: None))

    def ask(self, method: str, *params: Any) -> Any:
        """Make one request of the development chain."""
        answer = self.deployer.web3.provider.make_request(method, list(params))
        assert "error" not in answer, answer
        return answer["result"]

    def transactions(self) -> int:
        """How many transactions of the deployer were mined."""
        return self.deployer.web3.eth.get_transaction_count(self.deployer.address)

    def act(self, account: str, contract: Any, function: str, *arguments: Any) -> None:
        """Let any account, a contract as well, make a call of its own."""
        call = contract.get_function_by_name(function)(*arguments)
        self.send_as(account, contract.address, call._encode_transaction_data())

    def send_as(self, account: str, target: str, data: str) -> None:
        """Let any account send a transaction."""
        self.ask("anvil_impersonateAccount", account)
        self.ask("anvil_setBalance", account, hex(10**19))
        tx_hash = self.ask("eth_sendTransaction", {"from": account, "to": target, "data": data})
        receipt = self.deployer.web3.eth.wait_for_transaction_receipt(tx_hash, poll_latency=0.01)
        assert receipt["status"] == 1

    def set_byte(self, address: str, at: int) -> None:
        """Change one byte of the code at an address."""
        code = bytearray(self.deployer.web3.eth.get_code(address))
        code[at] ^= 1
        self.ask("anvil_setCode", address, "0x" + code.hex())


def settings_file(folder: Any, url: str, protocol: str = "options_market", **changes: str) -> Any:
    """Write the shipped settings with another endpoint, no broker, and `changes` by key; return their path."""
    text = DEFAULT_SETTINGS.read_text(encoding="utf-8")
    values = {"rpc_url": f'"{url}"', "deployment": f'"{folder / "deployment.json"}"', "protocol": f'"{protocol}"'}
    for key, value in (values | changes).items():
        lines = [f"{key} = {value}" if line.startswith(f"{key} = ") else line for line in text.split("\n")]
        assert f"{key} = {value}" in lines, key
        text = "\n".join(lines)
    text = text.replace("mqtt://127.0.0.1:1883", f"mqtt://127.0.0.1:{closed_port()}")
    path = folder / "keeper.toml"
    path.write_text(text, encoding="utf-8")
    return path


def trial_of(bare: Bare, deployment: Any) -> dict[str, Any]:
    """Return the contracts of a trial deployment by name."""
    at, market = bare.deployer.at, deployment.markets[MARKET].contracts
    return {
        "steward": at("risk_steward", deployment.steward),
        "registry": at("policy_registry", deployment.registry),
        "timelock": at("timelock", deployment.timelock),
        "market": at("options_market", market["market"]),
        "token": at("collateral_token", market["collateral"]),
        "feed": at("price_feed", market["oracle"]),
    }
