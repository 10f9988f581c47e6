"""Speak JSON-RPC to one endpoint, and stamp the block that a decision reads from.

Nothing here retries: whether a request may be repeated is the caller's to know (a send never is, blindly).

    RpcError
    ├── Unreachable     no answer: the request may or may not have been processed
    ├── Refused         the endpoint answered with an error object
    └── WrongChain      the endpoint serves another chain than the configured one
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Self

import aiohttp

from config.errors import KnownFault
from config.load import redact
from models.market import BlockStamp

if TYPE_CHECKING:
    from collections.abc import Sequence

TIMEOUT_SECONDS = 20.0

Call = tuple[str, str]
"""Target address and calldata, both 0x-prefixed hex."""


class RpcError(KnownFault):
    """A request that brought no result."""


class Unreachable(RpcError):
    """No usable answer came back; the endpoint may still have processed the request."""


class Refused(RpcError):
    """The endpoint's own error: `code` and `message` as it gave them, `data` the revert data if any."""

    def __init__(self, method: str, code: int, message: str, data: str | None) -> None:
        super().__init__(f"{method} refused: {message}" + (f" (code {code})" if code else ""))
        self.code = code
        self.message = message
        self.data = data


class WrongChain(RpcError):
    """The endpoint serves another chain than the configured one."""


class Rpc:
    """One HTTP endpoint. Use as an async context manager; errors never show the URL's path or credentials."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._ids = itertools.count(1)
        self._session: aiohttp.ClientSession | None = None
        self.name = redact(url)

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        self._session = aiohttp.ClientSession(timeout=timeout, trust_env=False)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def call(self, method: str, *params: Any) -> Any:
        """Return the result of one request. Raises Unreachable or Refused."""
        return (await self.batch([(method, params)]))[0]

    async def batch(self, requests: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        """Return the results of several requests sent as one, in order. Raises on the first that failed."""
        payload = [
            {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": list(params)}
            for method, params in requests
        ]
        answers = await self._post(payload[0] if len(payload) == 1 else payload)
        by_id = {answer.get("id"): answer for answer in answers if isinstance(answer, dict)}
        return [self._result(request, by_id.get(request["id"]), answers) for request in payload]

    async def _post(self, payload: Any) -> list[Any]:
        if self._session is None:
            raise RuntimeError("Rpc is used outside its context")
        try:
            async with self._session.post(self._url, json=payload) as response:
                if response.status != 200:
                    raise Unreachable(f"{self.name} answered HTTP {response.status}")
                answer = await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise Unreachable(f"{self.name} gave no answer: {type(error).__name__}") from None
        return answer if isinstance(answer, list) else [answer]

    def _result(self, request: dict[str, Any], answer: Any, answers: list[Any]) -> Any:
        if answer is None:
            # Rate limits arrive as one error object without an id, under HTTP 200.
            answer = answers[0] if answers and isinstance(answers[0], dict) and "error" in answers[0] else None
        if answer is None:
            raise Unreachable(f"{self.name} left {request['method']} unanswered")
        error = answer.get("error")
        if error is not None:
            error = error if isinstance(error, dict) else {"message": str(error)}
            data = error.get("data")
            raise Refused(
                request["method"],
                _code(error.get("code")),
                str(error.get("message", "no message")),
                data if isinstance(data, str) else None,
            )
        if "result" not in answer:
            raise Unreachable(f"{self.name} answered {request['method']} with neither result nor error")
        return answer["result"]


async def require_chain(rpc: Rpc, chain_id: int) -> None:
    """Raise WrongChain unless the endpoint serves `chain_id`."""
    found = quantity(await rpc.call("eth_chainId"), "eth_chainId")
    if found != chain_id:
        raise WrongChain(f"{rpc.name} serves chain {found}, chain.chain_id is {chain_id}")


async def head(rpc: Rpc) -> BlockStamp:
    """Return the latest block's stamp."""
    return stamp(await rpc.call("eth_getBlockByNumber", "latest", False))  # noqa: FBT003 - positional in JSON-RPC


async def block_at(rpc: Rpc, number: int) -> BlockStamp | None:
    """Return the stamp of the canonical block at a height, None above the head."""
    block = await rpc.call("eth_getBlockByNumber", hex(number), False)  # noqa: FBT003 - positional in JSON-RPC
    return None if block is None else stamp(block)


async def blocks_at(rpc: Rpc, timestamp: int, low: int, high: int) -> tuple[int, int]:
    """Return the first and the last block from `low` to `high` of a time, Unix seconds; the nearest where none has it.

    Times never decrease, so this takes two binary searches.
    """
    first = await _first_after(rpc, timestamp - 1, low, high)
    return first, max(first, await _first_after(rpc, timestamp, first, high + 1) - 1)


async def _first_after(rpc: Rpc, timestamp: int, low: int, high: int) -> int:
    """Return the first block from `low` to `high` - 1 that is later than a time, `high` if none is."""
    while low < high:
        middle = (low + high) // 2
        block = await block_at(rpc, middle)
        if block is not None and block.timestamp <= timestamp:
            low = middle + 1
        else:
            high = middle
    return low


def stamp(block: Any) -> BlockStamp:
    """Return the stamp of a block as JSON-RPC gives it. Raises Unreachable when it is none."""
    if not isinstance(block, dict) or not isinstance(block.get("hash"), str):
        raise Unreachable(f"the endpoint gave no block: {block!r:.60}")
    number = quantity(block.get("number"), "block number")
    return BlockStamp(number, block["hash"], quantity(block.get("timestamp"), "block timestamp"))


def quantity(answer: Any, name: str) -> int:
    """Return a number as JSON-RPC writes it, 0x-prefixed. Raises Unreachable when the answer is none."""
    try:
        return int(answer, 16)
    except (TypeError, ValueError):
        raise Unreachable(f"the endpoint gave no number for {name}: {answer!r:.60}") from None


async def read(rpc: Rpc, calls: Sequence[Call], block: BlockStamp) -> list[bytes]:
    """Return the answers of several view calls, all at exactly `block`, in one round trip.

    The block is named by hash (EIP-1898), so a reorganisation makes the read fail rather than mix two histories.
    Raises Refused when a call reverts or the block is no longer canonical.
    """
    at = {"blockHash": block.hash, "requireCanonical": True}
    requests = [("eth_call", ({"to": target, "data": data}, at)) for target, data in calls]
    return [_bytes(answer) for answer in await rpc.batch(requests)]


def _bytes(answer: Any) -> bytes:
    try:
        return bytes.fromhex(answer.removeprefix("0x"))
    except (AttributeError, ValueError):
        raise Unreachable(f"the endpoint gave no bytes for eth_call: {answer!r:.60}") from None


def _code(code: Any) -> int:
    """Return an error's code, 0 for what is none: some gateways send null or text."""
    return code if isinstance(code, int) else 0
