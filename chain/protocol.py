"""Turn a protocol's TOML binding into calldata, and the contract's answers into facts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from eth_abi.abi import decode, encode
from eth_utils.abi import function_signature_to_4byte_selector
from eth_utils.address import to_checksum_address

from config.errors import KnownFault
from models.market import Account

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chain.rpc import Call
    from config.protocol import Getter, Protocol, Setter

WORD = 32


class BindingError(KnownFault):
    """The contract does not answer as the binding says it would."""


@dataclass(frozen=True, slots=True)
class BoundProtocol:
    """A binding together with the address of the contract that it describes."""

    binding: Protocol
    address: str

    def setter_calls(self, values: Sequence[int], changed: Sequence[int]) -> tuple[Call, ...]:
        """Return the calls that write `values` (id order), of the setters that touch a changed parameter."""
        names = {self.binding.parameters[index].name for index in changed}
        setters = [setter for setter in self.binding.setters if names & set(setter.parameters)]
        return tuple((self.address, self._fill(setter, values)) for setter in setters)

    def getters(self) -> list[Call]:
        """Return one call per parameter for its value."""
        return [self._get(parameter.getter) for parameter in self.binding.parameters]

    def effective_getters(self) -> list[Call]:
        """Return one call per parameter for what open positions obey."""
        return [self._get(parameter.effective or parameter.getter) for parameter in self.binding.parameters]

    def getter_words(self, answers: Sequence[bytes], *, effective: bool = False) -> tuple[int, ...]:
        """Return the value in each getter's answer. Raises BindingError on a short one."""
        pairs = zip(self.binding.parameters, answers, strict=True)
        return tuple(
            word(answer, ((p.effective or p.getter) if effective else p.getter).word, p.name) for p, answer in pairs
        )

    def price_call(self) -> Call:
        """Return the call for the protocol's own price."""
        return (self.address, _calldata(self.binding.price.function, []))

    def price(self, answer: bytes) -> tuple[float, int]:
        """Return price and Unix time of its last update."""
        price = self.binding.price
        value = word(answer, price.value_word, "price.value_word")
        return value / price.scale, word(answer, price.updated_word, "price.updated_word")

    def ramp_call(self) -> Call | None:
        """Return the call for the ramp's length in seconds, None for a protocol without a ramp."""
        return None if self.binding.ramp is None else self._get(self.binding.ramp)

    def account_count_call(self) -> Call:
        """Return the call for the number of accounts."""
        return (self.address, _calldata(self.binding.accounts.count, []))

    def account_pages(self, count: int) -> list[Call]:
        """Return the calls that read `count` accounts, a page each."""
        accounts = self.binding.accounts
        starts = range(0, count, accounts.page)
        return [(self.address, _calldata(accounts.view, [start, accounts.page])) for start in starts]

    def accounts(self, pages: Sequence[bytes]) -> tuple[Account, ...]:
        """Return the accounts in the pages' answers. Raises BindingError when they do not decode."""
        layout = self.binding.accounts
        struct = f"({','.join(layout.members)})[]"
        try:
            rows = [row for page in pages for row in decode([struct], page)[0]]
        except Exception as error:
            raise BindingError(f"accounts.view: {layout.view} does not return {struct}: {error}") from error
        return tuple(
            Account(
                address=to_checksum_address(row[layout.address]),
                equity=row[layout.equity],
                initial_margin=row[layout.initial_margin],
                maintenance_margin=row[layout.maintenance_margin],
                liquidation_margin=row[layout.liquidation_margin],
                liquidatable=bool(row[layout.liquidatable]),
            )
            for row in rows
        )

    def _get(self, getter: Getter) -> Call:
        return (self.address, _calldata(getter.function, getter.args))

    def _fill(self, setter: Setter, values: Sequence[int]) -> str:
        arguments = [values[self.binding.id_of(a[1:])] if isinstance(a, str) else a for a in setter.args]
        return _calldata(setter.function, arguments)


def word(answer: bytes, index: int, name: str) -> int:
    """Return one unsigned word of return data. Raises BindingError naming the parameter when it is missing."""
    if len(answer) < (index + 1) * WORD:
        raise BindingError(f"{name}: the answer has {len(answer)} bytes, word {index} was asked for")
    return int.from_bytes(answer[index * WORD : (index + 1) * WORD])


def _calldata(signature: str, arguments: Sequence[int]) -> str:
    inner = signature[signature.index("(") + 1 : -1]
    types = inner.split(",") if inner else []
    return "0x" + (function_signature_to_4byte_selector(signature) + encode(types, arguments)).hex()
