"""Declare how a TOML file binds a protocol: its contracts, parameters, setters, accounts and what must hold of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from config.abi import ElementaryType, Identifier  # noqa: TC001 - pydantic reads the annotations at run time
from config.accounts import Accounts, Auctions, Health  # noqa: TC001 - likewise
from config.binding_rules import broken_rules
from config.calls import Function, Getter
from config.schema import Name, Section
from config.templates import PARAMETER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from config.errors import Place

MAX_GETTER_BYTES = 100
MAX_SETTER_BYTES = 4 + 12 * 32
MAX_PROBE_BYTES = 4 + 288
"""Limits of the steward on calldata, selectors included."""

INVARIANT = re.compile(r"(\w+)(?: \* (\d+(?:\.\d+)?|\d+/\d+))? <= (\w+)")

Role = Literal["spot_shock_up", "spot_shock_down", "shocked_vol", "maintenance_factor", "liquidation_threshold"]
"""What a parameter means to the proposer; a parameter without a role is left alone."""


def exact_integer(raw: Any) -> Any:
    """Read `10_000`, `1e18` or `"1e27"` as an integer, never a digit off. Raises ValueError where that is in doubt."""
    if isinstance(raw, bool) or not isinstance(raw, float | str):
        return raw
    try:
        number = Decimal(repr(raw) if isinstance(raw, float) else raw)
    except InvalidOperation:
        raise ValueError("must be a whole number, such as 10_000, 1e18 or '1e27'") from None
    if not number.is_finite() or number.adjusted() > 77 or number != number.to_integral_value():
        raise ValueError("must be a whole number of less than 256 bits")
    if isinstance(raw, float) and len("".join(map(str, number.as_tuple().digits)).rstrip("0")) > 15:
        raise ValueError("has more digits than such a number keeps: write it without point and exponent")
    return int(number)


def as_written(raw: Any) -> Any:
    """Read a number as the decimal that stands in the file."""
    return Decimal(repr(raw)) if isinstance(raw, int | float) and not isinstance(raw, bool) else raw


Scale = Annotated[int, BeforeValidator(exact_integer), Field(gt=0)]
"""How many on-chain units are 1.0."""

Offset = Annotated[Decimal, BeforeValidator(as_written), Field(ge=0, max_digits=36, decimal_places=18)]
"""A real value, exactly as it is written."""


class Parameter(Section):
    """One tunable number of the protocol. `scale` on-chain units are 1.0."""

    name: Identifier
    unit: Name
    scale: Scale
    tightening: Literal["up", "down"] = Field(description="Direction in which margins grow.")
    group: Name | None = Field(None, description="Parameters of one group move together or not at all.")
    role: Role | None = None
    offset: Offset = Field(
        Decimal(0), description="Real value that the role's ratio is added to, or taken from where lower is tighter."
    )
    reversible: bool = True
    getter: Getter
    effective: Getter | None = Field(None, description="What open positions obey while a change ramps.")

    @property
    def origin(self) -> Fraction:
        """The offset in on-chain units: where the value stands when the role's ratio is 0."""
        return _in_units(self.offset, self.scale)


@lru_cache
def _in_units(value: Decimal, scale: int) -> Fraction:
    """Return a real value in on-chain units, exactly; asked for every parameter at every decision."""
    return Fraction(value) * scale


class Setter(Function):
    """A function that writes one or more parameters."""

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters it writes, in order."""
        return tuple(name for name in self.names if "." not in name)


class Price(Function):
    """The protocol's own price of the underlying: value and, where it has one, time of its last update."""

    scale: Scale
    value_word: Annotated[int, Field(ge=0)] = 0
    updated_word: Annotated[int, Field(ge=0)] | None = Field(None, description="Word with Unix seconds.")


class Limit(Getter):
    """A limit that holds on chain, to be shown."""

    name: Name


@dataclass(frozen=True, slots=True)
class Use:
    """Where a binding names a function, the types of the names its arguments may use, and its largest calldata."""

    place: Place
    function: Function
    scope: Mapping[str, str]
    limit: int | None = None


class Protocol(Section):
    """The whole of config/protocols/<name>.toml. Parameter ids are positions in `parameters`."""

    name: Name
    contracts: Annotated[list[Identifier], Field(min_length=1)] = Field(description="The first is the default.")
    keys: dict[Identifier, ElementaryType] = Field(default_factory=dict, description="Per-market constants.")
    parameters: Annotated[list[Parameter], Field(min_length=1, max_length=16)]
    setters: Annotated[list[Setter], Field(min_length=1)]
    invariants: Annotated[list[Annotated[str, Field(pattern=rf"^{INVARIANT.pattern}$")]], Field(max_length=16)] = Field(
        default_factory=list
    )
    accounts: Accounts
    health: Health
    price: Price
    ramp: Getter | None = Field(None, description="Seconds a tightening takes to reach open positions.")
    auctions: Auctions | None = None
    end_auction: Function | None = None
    liquidation: Function | None = None
    limits: list[Limit] = Field(default_factory=list)

    @model_validator(mode="wrap")
    @classmethod
    def _consistent(cls, raw: Any, handler: ModelWrapValidatorHandler[Protocol]) -> Protocol:
        protocol = handler(raw)
        errors = [
            InitErrorDetails(
                type=PydanticCustomError("binding", "{rule}", {"rule": rule}), loc=place, input=_at(raw, place)
            )
            for place, rule in broken_rules(protocol)
        ]
        if errors:
            raise ValidationError.from_exception_data(cls.__name__, errors)
        return protocol

    def id_of(self, name: str) -> int:
        """Return the id of the parameter called `name`."""
        return next(index for index, parameter in enumerate(self.parameters) if parameter.name == name)

    def group_of(self, parameter_id: int) -> tuple[int, ...]:
        """Return the ids that must move together with a parameter, itself included, ascending."""
        group = self.parameters[parameter_id].group
        if group is None:
            return (parameter_id,)
        return tuple(index for index, parameter in enumerate(self.parameters) if parameter.group == group)

    def inequalities(self) -> tuple[tuple[int, int, int, int], ...]:
        """Return the invariants as (a, factor_a, b, factor_b): value[a] * factor_a <= value[b] * factor_b, exactly."""
        return tuple(self.inequality(line) for line in self.invariants)

    def inequality(self, invariant: str) -> tuple[int, int, int, int]:
        """Return one invariant as (a, factor_a, b, factor_b). Raises ZeroDivisionError for a fraction of nothing."""
        low, multiple, high = INVARIANT.fullmatch(invariant).groups()  # type: ignore[union-attr]
        low_id, high_id = self.id_of(low), self.id_of(high)
        scales = Fraction(self.parameters[high_id].scale, self.parameters[low_id].scale)
        ratio = Fraction(multiple or 1) * scales
        return (low_id, ratio.numerator, high_id, ratio.denominator)

    def uses(self) -> Iterator[Use]:
        """Yield every function that the binding names, in the order of the schema."""
        static = self.static_scope
        for index, parameter in enumerate(self.parameters):
            for key, getter in (("getter", parameter.getter), ("effective", parameter.effective)):
                if getter is not None:
                    yield Use(("parameters", index, key), getter, static, MAX_GETTER_BYTES)
        proposed = static | {parameter.name: PARAMETER for parameter in self.parameters}
        for index, setter in enumerate(self.setters):
            yield Use(("setters", index), setter, proposed, MAX_SETTER_BYTES)
        yield from self._account_uses(static)
        yield Use(("price",), self.price, static)
        if self.ramp is not None:
            yield Use(("ramp",), self.ramp, static)
        if self.end_auction is not None:
            yield Use(("end_auction",), self.end_auction, static | self.auction_scope)
        if self.liquidation is not None:
            yield Use(("liquidation",), self.liquidation, static | self.account_scope)
        for index, limit in enumerate(self.limits):
            yield Use(("limits", index), limit, static)

    def _account_uses(self, static: dict[str, str]) -> Iterator[Use]:
        accounts, rounds = self.accounts, self.health.rounds
        if accounts.view is not None:
            yield Use(("accounts", "view", "count"), accounts.view.count, static)
            yield Use(("accounts", "view"), accounts.view.page_at(0), static)
        if accounts.ids is not None:
            yield Use(("accounts", "ids", accounts.ids.end_key), accounts.ids.end, static)
        for index, lookup in enumerate(accounts.lookups):
            yield Use(("accounts", "lookups", index), lookup, static | accounts.scope(index))
        known = static | self.account_scope
        yield Use(("health",), self.health, known if rounds is None else known | {"round": "uint256"}, MAX_PROBE_BYTES)
        if rounds is not None:
            yield Use(("health", "rounds", "latest"), rounds.latest, known)

    @property
    def static_scope(self) -> dict[str, str]:
        """Types of what is known of a market before anything is read."""
        keys = {f"market.{name}": type_text for name, type_text in self.keys.items()}
        return keys | {f"contract.{name}": "address" for name in self.contracts}

    @property
    def account_scope(self) -> dict[str, str]:
        """Types of an account's key and of all of its named values."""
        return self.accounts.scope(len(self.accounts.lookups))

    @property
    def auction_scope(self) -> dict[str, str]:
        """Type of an auction's id, where auctions are bound."""
        return {} if self.auctions is None else {"auction": self.auctions.type_of(self.auctions.id_field)}


def _at(raw: Any, place: Place) -> Any:
    """Return what stands at a place of the document, or what is nearest to it."""
    for part in place:
        try:
            raw = raw[part]
        except (KeyError, IndexError, TypeError):
            return raw
    return raw
