"""Turn a protocol's TOML binding into calldata, and the contracts' answers into numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from eth_abi.abi import decode
from eth_utils.crypto import keccak

from config.abi import WORD
from config.errors import ConfigError, KnownFault
from config.templates import fill, from_abi, to_abi

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from chain.rpc import Call
    from config.accounts import LoggedEvent
    from config.calls import Function, Getter
    from config.protocol import Protocol, Setter
    from config.templates import Scalar, Template
    from models.market import Account

SetterWord = tuple[int | None, int]
"""One argument word of a setter: (id, 0) for a parameter's value, (None, number) for a constant."""

HEALTH_MODES = {"true": 1, "false": 2, "below": 3, "above": 4}
"""How the steward reads the health word."""


class BindingError(KnownFault):
    """The contract does not answer as the binding says it would, or a value does not fit a call of the binding."""


@dataclass(frozen=True, slots=True)
class BoundProtocol:
    """A binding together with one market's contracts, by name, and the values of its keys.

    Raises ConfigError when a contract or key of the binding is missing or a key's value is not of its type.
    """

    binding: Protocol
    contracts: Mapping[str, str]
    keys: Mapping[str, Scalar] = field(default_factory=dict)

    def __post_init__(self) -> None:
        missing = [f"contracts.{name}" for name in self.binding.contracts if name not in self.contracts]
        missing += [f"keys.{name}" for name in self.binding.keys if name not in self.keys]
        if missing:
            raise ConfigError(f"binding {self.binding.name} needs {', '.join(missing)} of the market's deployment")
        for name, type_text in self.binding.keys.items():
            try:
                to_abi(self.keys[name], type_text)
            except ValueError as error:
                raise ConfigError(f"keys.{name}: {error} (binding {self.binding.name})") from None

    @property
    def address(self) -> str:
        """The address of the contract that is meant where a function names none."""
        return self.contracts[self.binding.contracts[0]]

    # Parameters

    def reads(self) -> tuple[Call, ...]:
        """Return the distinct calls whose answers hold the live values."""
        return self._reads(self._getters(effective=False))

    def positions(self) -> tuple[tuple[int, int], ...]:
        """Return, for each parameter, the index of its read and the word of the answer."""
        return self._positions(self._getters(effective=False))

    def values(self, answers: Sequence[bytes]) -> tuple[int, ...]:
        """Return the live values in id order from the answers to `reads`. Raises BindingError on a short one."""
        return self._values(answers, self.positions())

    def effective_reads(self) -> tuple[Call, ...]:
        """Return the distinct calls whose answers hold what open positions obey."""
        return self._reads(self._getters(effective=True))

    def effective_values(self, answers: Sequence[bytes]) -> tuple[int, ...]:
        """Return what open positions obey, in id order, from the answers to `effective_reads`."""
        return self._values(answers, self._positions(self._getters(effective=True)))

    def _getters(self, *, effective: bool) -> list[Getter]:
        return [(p.effective or p.getter) if effective else p.getter for p in self.binding.parameters]

    def _reads(self, getters: Sequence[Getter]) -> tuple[Call, ...]:
        return tuple(dict.fromkeys(self.call(getter) for getter in getters))

    def _positions(self, getters: Sequence[Getter]) -> tuple[tuple[int, int], ...]:
        reads = self._reads(getters)
        return tuple((reads.index(self.call(getter)), getter.word) for getter in getters)

    def _values(self, answers: Sequence[bytes], positions: Sequence[tuple[int, int]]) -> tuple[int, ...]:
        pairs = zip(self.binding.parameters, positions, strict=True)
        return tuple(word(answers[read], index, parameter.name) for parameter, (read, index) in pairs)

    def setter_calls(
        self, values: Sequence[int], changed: Sequence[int], order: Sequence[int] = ()
    ) -> tuple[Call, ...]:
        """Return the calls that write `values` (id order), of the setters that write one of the parameters `changed`.

        The steward makes them of those whose values differ, in the binding's order or the one given.
        Raises BindingError when a value does not fit the setter's argument.
        """
        return self.calls_of(self.setters_writing(changed, order), values)

    def setters_writing(self, changed: Sequence[int], order: Sequence[int] = ()) -> tuple[int, ...]:
        """Return the positions of the setters that write one of the parameters `changed`, in the order given."""
        names = {self.binding.parameters[index].name for index in changed}
        setters = self.binding.setters
        return tuple(index for index in order or range(len(setters)) if names & set(setters[index].parameters))

    def calls_of(self, setters: Sequence[int], values: Sequence[int]) -> tuple[Call, ...]:
        """Return the calls of setters, by position, that write `values` (id order). Raises BindingError."""
        proposed = {p.name: value for p, value in zip(self.binding.parameters, values, strict=True)}
        return tuple(self.call(self.binding.setters[index], proposed) for index in setters)

    # What the steward is set up with

    def setter_words(self) -> tuple[tuple[str, bytes, tuple[SetterWord, ...]], ...]:
        """Return target, selector and argument words of each setter, of which the steward makes its calls."""
        return tuple(self._setter_words(setter) for setter in self.binding.setters)

    def _setter_words(self, setter: Setter) -> tuple[str, bytes, tuple[SetterWord, ...]]:
        """Tell values from constants by the word that changes with a value: the binding's rules give each its own."""
        zeros = dict.fromkeys(setter.parameters, 0)
        target, empty = self.call(setter, zeros)
        constants = _argument_words(empty)
        words: list[SetterWord] = [(None, number) for number in constants]
        for name in setter.parameters:
            _, one = self.call(setter, zeros | {name: 1})
            pairs = zip(_argument_words(one), constants, strict=True)
            place = next(index for index, (number, constant) in enumerate(pairs) if number != constant)
            words[place] = (self.binding.id_of(name), 0)
        return target, setter.selector, tuple(words)

    def invariants(self) -> tuple[tuple[int, int, int, int], ...]:
        """Return the invariants as (a, factor_a, b, factor_b): value[a] * factor_a <= value[b] * factor_b."""
        return self.binding.inequalities()

    def coupled_mask(self, parameter_id: int) -> int:
        """Return the bits of all ids that a change of this parameter must name, 0 for one that moves alone."""
        group = self.binding.group_of(parameter_id)
        return sum(1 << member for member in group) if len(group) > 1 else 0

    # Health

    def health_rule(self) -> tuple[str, bytes, int, int]:
        """Return target, selector, word and mode (1 not zero, 2 zero, 3 below, 4 above the threshold) of the probe."""
        health = self.binding.health
        return self._target(health), health.selector, health.word, HEALTH_MODES[health.liquidatable]

    def health_call(self, account: Account, round_id: int | None) -> Call:
        """Return the view that says whether an account can be liquidated (in an oracle round, where those count)."""
        return self.call(self.binding.health, self.known_of(account, round_id))

    def probe(self, account: Account, round_id: int | None) -> tuple[bytes, int]:
        """Return the arguments of the health view, without its selector, and the threshold."""
        _, data = self.health_call(account, round_id)
        return bytes.fromhex(data[10:]), self.threshold_of(account)

    def threshold_of(self, account: Account) -> int:
        """Return what the health word of an account is held against, 0 where only its truth counts."""
        threshold = self.binding.health.threshold
        return 0 if threshold is None else self.number(threshold, "int256", self.known_of(account))

    def is_liquidatable(self, answer: bytes, threshold: int) -> bool:
        """Return what the health view's answer says. Raises BindingError on a short one."""
        _, _, index, mode = self.health_rule()
        number = word(answer, index, "health")
        signed = number - 2**256 if number >= 2**255 else number
        return {1: number != 0, 2: number == 0, 3: signed < threshold, 4: signed > threshold}[mode]

    # Price, ramp, auctions, limits

    def price_call(self) -> Call:
        """Return the call for the protocol's own price."""
        return self.call(self.binding.price)

    def price(self, answer: bytes) -> tuple[float, int | None]:
        """Return price and Unix time of its last update, None where it is of the block itself."""
        price = self.binding.price
        value = word(answer, price.value_word, "price.value_word") / price.scale
        if price.updated_word is None:
            return value, None
        return value, word(answer, price.updated_word, "price.updated_word")

    def ramp_call(self) -> Call | None:
        """Return the call for the ramp's length, None for a protocol without a ramp."""
        return None if self.binding.ramp is None else self.call(self.binding.ramp)

    def ramp_seconds(self, answer: bytes) -> int:
        """Return the seconds a tightening takes to reach open positions."""
        assert self.binding.ramp is not None
        return word(answer, self.binding.ramp.word, "ramp")

    def auction_filter(self) -> dict[str, Any] | None:
        """Return the log filter for auctions that began, None where the binding names no such event."""
        return None if self.binding.auctions is None else self.log_filter(self.binding.auctions)

    def auction_of(self, log: Mapping[str, Any]) -> tuple[str, str]:
        """Return account and auction id, as text, of one log of the filter. Raises BindingError."""
        auctions = self.binding.auctions
        assert auctions is not None
        fields = log_fields(auctions, log)
        return account_key(*(fields[name] for name in auctions.account)), account_key(fields[auctions.id_field])

    def end_auction_calls(self, ids: Sequence[str]) -> tuple[Call, ...]:
        """Return the calls that end auctions, by their ids as text; none where the protocol has no such call."""
        end = self.binding.end_auction
        if end is None:
            return ()
        type_text = self.binding.auction_scope["auction"]
        return tuple(self.call(end, {"auction": scalar_of(one, type_text)}) for one in ids)

    def liquidation_call(self, account: Account) -> Call | None:
        """Return the call that liquidates an account, None where the binding names none."""
        liquidation = self.binding.liquidation
        return None if liquidation is None else self.call(liquidation, self.known_of(account))

    def limits(self) -> tuple[tuple[str, Call, int], ...]:
        """Return name, call and word of each limit that holds on chain."""
        return tuple((limit.name, self.call(limit), limit.word) for limit in self.binding.limits)

    # Calls

    def call(self, function: Function, values: Mapping[str, Scalar] | None = None) -> Call:
        """Return target and calldata, where `values` are the names known beside the market's own.

        Raises BindingError when a value does not fit its argument.
        """
        try:
            data = function.calldata({**self._known(), **(values or {})})
        except ValueError as error:
            raise BindingError(f"{function.function}: an argument {error}") from None
        return self._target(function), "0x" + data.hex()

    def number(self, template: Template, type_text: str, values: Mapping[str, Scalar]) -> int:
        """Return the number that a template stands for. Raises BindingError when it does not fit the type."""
        try:
            number: int = fill(template, type_text, {**self._known(), **values})
        except ValueError as error:
            raise BindingError(f"{self.binding.name}: a number {error}") from None
        return number

    def log_filter(self, logged: LoggedEvent) -> dict[str, Any]:
        """Return the log filter for an event of the binding."""
        target = self.contracts[logged.contract or self.binding.contracts[0]]
        return {"address": target, "topics": ["0x" + keccak(text=logged.event.signature).hex()]}

    def known_of(self, account: Account, round_id: int | None = None) -> dict[str, Scalar]:
        """Return the values that templates may name for one account and, where one is checked, an oracle round."""
        key_type = self.binding.accounts.key_types[0]
        known = {"account": scalar_of(account.address.split("/")[0], key_type)}
        known |= {f"account.{name}": value for name, value in account.named_values()}
        return known if round_id is None else known | {"round": round_id}

    def _known(self) -> dict[str, Scalar]:
        known = {f"contract.{name}": self.contracts[name] for name in self.binding.contracts}
        return known | {f"market.{name}": self.keys[name] for name in self.binding.keys}

    def _target(self, function: Function) -> str:
        return self.contracts[function.contract or self.binding.contracts[0]]


def word(answer: bytes, index: int, name: str) -> int:
    """Return one unsigned word of return data. Raises BindingError naming the parameter when it is missing."""
    if len(answer) < (index + 1) * WORD:
        raise BindingError(f"{name}: the answer has {len(answer)} bytes, word {index} was asked for")
    return int.from_bytes(answer[index * WORD : (index + 1) * WORD])


def account_key(*parts: Scalar) -> str:
    """Return an account's key as text: an address, a decimal number or 0x-prefixed hex; several with a / between."""
    return "/".join(str(part) for part in parts)


def scalar_of(text: str, type_text: str) -> Scalar:
    """Return one part of such a key as a template takes it. Raises BindingError when it is not of the type."""
    if "int" not in type_text:
        return text
    try:
        return int(text)
    except ValueError:
        raise BindingError(f"{text!r:.80} is no key of type {type_text}") from None


def log_fields(logged: LoggedEvent, log: Mapping[str, Any]) -> dict[str, Scalar]:
    """Return the fields of a log whose values are one word, by name. Raises BindingError when it does not decode."""
    event = logged.event
    indexed = [one for one in event.fields if one.indexed]
    plain = [one for one in event.fields if not one.indexed]
    try:
        topics = [bytes.fromhex(topic[2:]) for topic in log["topics"][1:]]
        pairs = [(one, topic) for one, topic in zip(indexed, topics, strict=True) if event.type_of(one.name)]
        found = {one.name: (one.type, decode([one.type], topic)[0]) for one, topic in pairs}
        data = decode([one.type for one in plain], bytes.fromhex(log["data"][2:]))
        found |= {
            one.name: (one.type, value) for one, value in zip(plain, data, strict=True) if event.type_of(one.name)
        }
    except Exception as error:
        raise BindingError(f"{event.signature}: a log does not decode with these indexed fields: {error}") from error
    return {name: from_abi(value, type_text) for name, (type_text, value) in found.items()}


def _argument_words(data: str) -> list[int]:
    """Return the argument words of calldata."""
    raw = bytes.fromhex(data[10:])
    return [int.from_bytes(raw[start : start + WORD]) for start in range(0, len(raw), WORD)]
