"""Send the transactions of a deployment, each exactly once, however often the run is cut short and taken up again."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from eth_account import Account
from eth_utils.crypto import keccak
from web3 import HTTPProvider, Web3
from web3.exceptions import ContractLogicError, TimeExhausted, TransactionNotFound, Web3Exception, Web3RPCError
from web3.middleware import SignAndSendRawMiddlewareBuilder

from chain.compiler import compile_contract
from chain.progress import Attempt
from chain.remedies import with_remedy
from config.errors import KnownFault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from eth_account.signers.local import LocalAccount
    from hexbytes import HexBytes
    from pydantic import SecretStr
    from web3.contract import Contract
    from web3.types import TxParams, TxReceipt

    from chain.progress import Progress

RECEIPT_SECONDS = 120
"""How long a transaction is waited for where no setting says it."""

RECEIPT_LAG_SECONDS = 5
"""How far a node's index of receipts may be behind its count of nonces."""


GO_ON = "start the same command again: it goes on with this transaction, under a higher fee"
LOOK_FIRST = "it may still be mined: see whether it was, before you start the same command again"
"""What to do about a transaction that hangs, where it was noted and where it was not."""


class DeployError(KnownFault):
    """The chain refused a step of the deployment, or did not answer. The message names the step, never the URL."""


@dataclass(frozen=True, slots=True)
class Deployer:
    """A key that deploys and sends, over web3, waiting for every receipt, up to `receipt_seconds`."""

    web3: Web3
    account: LocalAccount = field(repr=False)
    on_step: Callable[[str], None]
    receipt_seconds: float = RECEIPT_SECONDS

    @classmethod
    def connect(
        cls,
        url: str,
        key: SecretStr,
        chain_id: int,
        on_step: Callable[[str], None],
        receipt_seconds: float = RECEIPT_SECONDS,
    ) -> Deployer:
        """Connect to an endpoint. Raises DeployError when it serves another chain or does not answer."""
        web3 = Web3(HTTPProvider(url, exception_retry_configuration=None))
        account: LocalAccount = Account.from_key(key.get_secret_value())
        with asking("connect"):
            found = web3.eth.chain_id
        if found != chain_id:
            raise DeployError(f"the endpoint serves chain {found}, chain.chain_id is {chain_id}")
        web3.middleware_onion.inject(SignAndSendRawMiddlewareBuilder.build(account), layer=0)
        return cls(web3, account, on_step, receipt_seconds)

    @property
    def address(self) -> str:
        """The account that pays."""
        return str(self.account.address)

    def create(self, name: str, *arguments: Any) -> Contract:
        """Deploy one of our contracts."""
        self.on_step(f"deploy {name}")
        receipt = self._transact(f"deploy {name}", self.creation(name, *arguments))
        return self.at(name, str(receipt["contractAddress"]))

    def creation(self, name: str, *arguments: Any) -> Any:
        """Return the transaction, not yet sent, that deploys one of our contracts."""
        artefact = compile_contract(name)
        factory = self.web3.eth.contract(abi=list(artefact.abi), bytecode=artefact.bytecode)
        return factory.constructor(*arguments)

    def at(self, name: str, address: str) -> Contract:
        """Return a deployed contract."""
        abi = list(compile_contract(name).abi)
        return self.web3.eth.contract(address=Web3.to_checksum_address(address), abi=abi)

    def send(self, contract: Contract, function: str, *arguments: Any) -> TxReceipt:
        """Call a function in a transaction of its own."""
        return self._transact(function, contract.get_function_by_name(function)(*arguments))

    def send_raw(self, step: str, target: str, data: str) -> TxReceipt:
        """Send calldata as it is in a transaction of its own."""
        transaction: Any = {"from": self.address, "to": Web3.to_checksum_address(target), "data": data}
        with asking(step):
            tx_hash = self.web3.eth.send_transaction(transaction)
            receipt = self.mined(step, tx_hash, LOOK_FIRST)
        return succeeded(step, receipt)

    def call_raw(self, target: str, data: str) -> bytes:
        """Return a view's answer to calldata as it is."""
        with asking("read"):
            return bytes(self.web3.eth.call({"to": Web3.to_checksum_address(target), "data": data}))  # type: ignore[typeddict-item]

    def send_data(self, step: str, target: str, data: bytes) -> str:
        """Send calldata to a contract; return the transaction's hash, 0x-prefixed."""
        with asking(step):
            transaction: TxParams = {"from": self.account.address, "to": Web3.to_checksum_address(target), "data": data}
            tx_hash = self.web3.eth.send_transaction(transaction)
            receipt = self.mined(step, tx_hash, LOOK_FIRST)
        return succeeded(step, receipt)["transactionHash"].to_0x_hex()

    def mined(self, step: str, tx_hash: HexBytes, resume: str) -> TxReceipt:
        """Return a transaction's receipt. Raises DeployError, which says how to go on, when it takes too long."""
        try:
            return self.web3.eth.wait_for_transaction_receipt(tx_hash, self.receipt_seconds, poll_latency=0.02)
        except TimeExhausted:
            waited = f"not mined within {self.receipt_seconds:g} s (chain.receipt_timeout_seconds)"
            raise DeployError(f"{step}: sent as {tx_hash.to_0x_hex()}, {waited}; {resume}") from None

    def head(self) -> tuple[int, int]:
        """Return the latest block's number and time, Unix seconds."""
        with asking("read the latest block"):
            block = self.web3.eth.get_block("latest")
        return block["number"], block["timestamp"]

    def genesis(self) -> str:
        """Return the hash of the chain's first block, 0x-prefixed."""
        with asking("read the first block"):
            return self.web3.eth.get_block(0)["hash"].to_0x_hex()

    def has_code(self, address: str) -> bool:
        """Say whether a contract stands at an address."""
        return len(self._code(address)) > 0

    def code_hash(self, address: str) -> str:
        """Return the keccak256 of a contract's runtime code, 0x-prefixed."""
        return "0x" + keccak(self._code(address)).hex()

    def _code(self, address: str) -> bytes:
        with asking(f"read the code of {address}"):
            return bytes(self.web3.eth.get_code(Web3.to_checksum_address(address)))

    def _transact(self, step: str, call: Any) -> TxReceipt:
        with asking(step):
            tx_hash = call.transact({"from": self.address})
            receipt = self.mined(step, tx_hash, LOOK_FIRST)
        return succeeded(step, receipt)


@dataclass(frozen=True, slots=True)
class Steps:
    """The steps of one deployment. Each is noted before it is sent, and looked for on the chain before it is repeated.

    A step that was signed keeps its nonce: what is sent again replaces it, or is refused because it was mined.
    """

    deployer: Deployer
    progress: Progress

    def create(self, step: str, name: str, *arguments: Any) -> tuple[Contract, int]:
        """Deploy one of our contracts; return it and the block it was created in."""
        receipt = self._once(step, lambda: self.deployer.creation(name, *arguments))
        return self.deployer.at(name, str(receipt["contractAddress"])), receipt["blockNumber"]

    def call(self, step: str, contract: Contract, function: str, *arguments: Any) -> TxReceipt:
        """Call a function once; return the receipt of the transaction that did it."""
        return self._once(step, lambda: contract.get_function_by_name(function)(*arguments))

    def call_unless(
        self, holds: Callable[[], bool], step: str, contract: Contract, function: str, *arguments: Any
    ) -> None:
        """Call a function once, unless the chain already shows what it brings about."""
        with asking(step):
            already = self.progress.attempt(step) is None and holds()
        if not already:
            self.call(step, contract, function, *arguments)

    def _once(self, step: str, build: Callable[[], Any]) -> TxReceipt:
        with asking(step):
            noted = self.progress.attempt(step)
            receipt = None if noted is None else self._find(noted)
            if receipt is not None and receipt["status"] == 1:
                return receipt
            self.deployer.on_step(step)
            reusable = noted is not None and receipt is None and not self._is_spent(noted.nonce)
            receipt = self._send(step, build(), noted if reusable else None)
        return succeeded(step, receipt)

    def _find(self, attempt: Attempt) -> TxReceipt | None:
        """Return the receipt of whichever signature was mined, waiting for a lagging index once the nonce is spent."""
        found = self._receipt(attempt)
        if found is not None or not self._is_spent(attempt.nonce):
            return found
        with contextlib.suppress(TimeoutError, Web3Exception):
            newest = attempt.hashes[-1]
            self.deployer.web3.eth.wait_for_transaction_receipt(newest, RECEIPT_LAG_SECONDS)  # type: ignore[arg-type]
        return self._receipt(attempt)

    def _receipt(self, attempt: Attempt) -> TxReceipt | None:
        for tx_hash in attempt.hashes:
            with contextlib.suppress(TransactionNotFound):
                return self.deployer.web3.eth.get_transaction_receipt(tx_hash)  # type: ignore[arg-type]
        return None

    def _is_spent(self, nonce: int) -> bool:
        eth = self.deployer.web3.eth
        return eth.get_transaction_count(self.deployer.account.address, "latest") > nonce

    def _send(self, step: str, call: Any, replaced: Attempt | None) -> TxReceipt:
        """Sign, note, send and wait. `replaced` gives the nonce, and the fees to outbid."""
        eth = self.deployer.web3.eth
        nonce = (
            eth.get_transaction_count(self.deployer.account.address, "pending") if replaced is None else replaced.nonce
        )
        priority_fee = max(eth.max_priority_fee, _outbid(replaced.priority_fee if replaced else 0))
        base_fee = eth.get_block("latest")["baseFeePerGas"]
        max_fee = max(2 * base_fee + priority_fee, _outbid(replaced.max_fee if replaced else 0))
        fees = {"maxFeePerGas": max_fee, "maxPriorityFeePerGas": priority_fee}
        transaction = call.build_transaction({"from": self.deployer.address, "nonce": nonce, **fees})
        signed = self.deployer.account.sign_transaction(transaction)
        hashes = [*(replaced.hashes if replaced else []), signed.hash.to_0x_hex()]
        attempt = Attempt(nonce=nonce, hashes=hashes, max_fee=max_fee, priority_fee=priority_fee)
        self.progress.note(step, attempt)
        try:
            eth.send_raw_transaction(signed.raw_transaction)
        except Web3RPCError:
            # The signature that was to be replaced may have been mined since it was looked for.
            found = self._find(attempt)
            if found is None:
                raise
            return found
        return self.deployer.mined(step, signed.hash, GO_ON if self.progress.is_on_disk else LOOK_FIRST)


def succeeded(step: str, receipt: TxReceipt) -> TxReceipt:
    """Return a receipt. Raises DeployError when its transaction reverted."""
    if receipt["status"] != 1:
        raise DeployError(f"{step}: transaction {receipt['transactionHash'].to_0x_hex()} reverted")
    return receipt


@contextlib.contextmanager
def asking(step: str) -> Iterator[None]:
    """Raise DeployError for what the endpoint refuses or leaves unanswered: a transport error's text has the URL."""
    try:
        yield
    except ContractLogicError as error:
        raise DeployError(with_remedy(f"{step}: {error.message or 'reverted without a reason'}")) from None
    except Web3RPCError as error:
        raise DeployError(f"{step}: {_words(error)}") from None
    except (OSError, Web3Exception, json.JSONDecodeError) as error:
        raise DeployError(f"{step}: the endpoint gave no usable answer: {type(error).__name__}") from None


def _words(error: Web3RPCError) -> str:
    """Return what the endpoint said: web3's own message is the whole error object, written as Python would."""
    said: Any = (error.rpc_response or {}).get("error")
    if not isinstance(said, dict) or not said.get("message"):
        return str(said or error.message)
    code = f" (code {said['code']})" if said.get("code") else ""
    return f"{said['message']}{code}"


def _outbid(fee: int) -> int:
    """Return a fee that pools take in the place of `fee`: they ask for a tenth more."""
    return fee + -(-fee // 8)
