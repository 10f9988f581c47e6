"""Declare how a protocol's accounts are found and described, and how one is seen to be liquidatable."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from config.abi import Identifier, Named, NamedEvent, NamedValue, Signature, argument_types
from config.calls import Function, Getter
from config.schema import Section
from config.templates import Argument, Constant, Scalar

ACCOUNT = "account"
"""The name of an account's key; its other values are `account.NAME`."""

MARGINS = ("equity", "initial_margin", "maintenance_margin", "liquidation_margin")
"""Values that are shown as the account's own."""

Names = Annotated[
    list[Identifier], Field(min_length=1), BeforeValidator(lambda raw: [raw] if isinstance(raw, str) else raw)
]
"""One name, or a list of them."""


class AccountsView(Section):
    """A paged view `function(start, count)` that returns an array of static structs, one an account."""

    contract: Identifier | None = None
    function: Signature
    count: Getter
    page: Annotated[int, Field(gt=0, le=1024)]
    returns: Annotated[list[NamedValue], Field(min_length=1)] = Field(description="The struct's members.")

    @model_validator(mode="after")
    def _paged(self) -> Self:
        if argument_types(self.function) != ("uint256", "uint256"):
            raise ValueError(f"function must take first index and count, two uint256, not {self.function}")
        if all(member.name != ACCOUNT for member in self.returns):
            raise ValueError("one of returns must be called account")
        return self

    def page_at(self, start: int) -> Function:
        """Return the call for the page that begins with account number `start`."""
        return Function(contract=self.contract, function=self.function, args=[Constant(start), Constant(self.page)])


class AccountIds(Section):
    """Accounts that are numbered: from `first` on, every `step`."""

    first: Annotated[int, Field(ge=0)] = 1
    step: Annotated[int, Field(gt=0)] = 1
    last: Getter | None = None
    next: Getter | None = Field(None, description="The id that comes next.")
    count: Getter | None = None

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if sum(getter is not None for getter in (self.last, self.next, self.count)) != 1:
            raise ValueError("exactly one of last, next and count says where the ids end")
        return self

    @property
    def end_key(self) -> Literal["last", "next", "count"]:
        """Which key says where the ids end."""
        return "last" if self.last is not None else "next" if self.next is not None else "count"

    @property
    def end(self) -> Getter:
        """The view that says where the ids end."""
        end: Getter = getattr(self, self.end_key)
        return end

    def ids(self, end: int) -> range:
        """Return the ids, given the answer of `end`."""
        if self.count is not None:
            return range(self.first, self.first + end * self.step, self.step)
        return range(self.first, end + (self.last is not None), self.step)


class LoggedEvent(Section):
    """An event, who logs it, and which of its fields are an account's key."""

    contract: Identifier | None = None
    event: NamedEvent
    account: Names

    @model_validator(mode="after")
    def _has_the_fields(self) -> Self:
        for name in self.account:
            self.type_of(name)
        return self

    def type_of(self, name: str) -> str:
        """Return the type of one field. Raises ValueError when there is none whose value is one word."""
        found = self.event.type_of(name)
        if found is None:
            raise ValueError(f"the event has no field {name} whose value is one word")
        return found


class Lookup(Function):
    """A view made for each account, whose named values are known as `account.NAME` from then on."""

    returns: Annotated[list[NamedValue], Field(min_length=1)]


class OpenCondition(Section):
    """A named value that tells accounts that count from those that do not."""

    field: Identifier
    equals: Scalar | None = None
    not_equals: Scalar | None = None

    @model_validator(mode="after")
    def _compares_once(self) -> Self:
        if (self.equals is None) == (self.not_equals is None):
            raise ValueError("exactly one of equals and not_equals is needed")
        return self

    @property
    def constant(self) -> Scalar:
        """What the value is compared with."""
        constant = self.not_equals if self.equals is None else self.equals
        assert constant is not None
        return constant

    def holds(self, value: Scalar) -> bool:
        """Return whether an account with this value counts. Hex is compared without regard to case."""
        same = _folded(value) == _folded(self.constant)
        return same if self.equals is not None else not same


class Accounts(Section):
    """Where the accounts are, what else is asked about each, and which of them count."""

    view: AccountsView | None = None
    ids: AccountIds | None = None
    events: LoggedEvent | None = None
    lookups: list[Lookup] = Field(default_factory=list)
    open: OpenCondition | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if sum(way is not None for way in (self.view, self.ids, self.events)) != 1:
            raise ValueError("exactly one of view, ids and events finds the accounts")
        names = [name for name, _ in self.fields]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"named values must be unique, repeated: {', '.join(repeated)}")
        return self

    @property
    def key_types(self) -> tuple[str, ...]:
        """The types of an account's key: one, but for events that need several fields."""
        if self.view is not None:
            return tuple(member.type for member in self.view.returns if member.name == ACCOUNT)
        if self.events is not None:
            return tuple(self.events.type_of(name) for name in self.events.account)
        return ("uint256",)

    @property
    def own_fields(self) -> tuple[tuple[str, str], ...]:
        """Names and types of the values that are known before any lookup."""
        if self.view is not None:
            return tuple(pair for pair in named(self.view.returns) if pair[0] != ACCOUNT)
        return tuple(zip(self.events.account, self.key_types, strict=True)) if self.events is not None else ()

    @property
    def fields(self) -> tuple[tuple[str, str], ...]:
        """Names and types of all values of an account, in the order in which they become known."""
        return self.own_fields + tuple(pair for lookup in self.lookups for pair in named(lookup.returns))

    def scope(self, lookups: int) -> dict[str, str]:
        """Return the types of what is known of an account after so many lookups."""
        found = [pair for lookup in self.lookups[:lookups] for pair in named(lookup.returns)]
        known = {f"{ACCOUNT}.{name}": type_text for name, type_text in (*self.own_fields, *found)}
        return {ACCOUNT: self.key_types[0], **known}


class Rounds(Section):
    """Oracle rounds in each of which an account must be healthy: from `first` to the latest, the newest `max`."""

    latest: Getter
    first: Argument
    max: Annotated[int, Field(gt=0, le=1024)]


class Health(Getter):
    """A view of one account whose word says whether it can be liquidated."""

    liquidatable: Literal["true", "false", "below", "above"]
    threshold: Argument | None = None
    rounds: Rounds | None = None

    @model_validator(mode="after")
    def _compares(self) -> Self:
        if self.threshold is not None and self.liquidatable in {"true", "false"}:
            raise ValueError("a threshold needs liquidatable = 'below' or 'above'")
        return self


class Auctions(LoggedEvent):
    """The event that begins an account's liquidation."""

    id: Identifier | None = Field(None, description="The field that is the auction's id, that of the account if None.")

    @model_validator(mode="after")
    def _has_the_id(self) -> Self:
        self.type_of(self.id_field)
        return self

    @property
    def id_field(self) -> str:
        """The field that is the auction's id."""
        return self.id or self.account[0]


def named(values: list[Named]) -> list[tuple[str, str]]:
    """Return names and types of the values that have a name."""
    return [(value.name, value.type) for value in values if value.name is not None]


def _folded(value: Scalar) -> Scalar:
    return value.lower() if isinstance(value, str) else value
