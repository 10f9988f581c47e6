"""Declare how a TOML file binds a protocol: its parameters, setters, accounts and the orderings that must hold."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, model_validator

from config.schema import Name, Section

Signature = Annotated[str, Field(pattern=r"^[a-zA-Z_]\w*\([a-z0-9_,\[\]()]*\)$")]
"""A function's canonical signature, such as `set_shocks(uint256,uint256,uint256)`."""

Argument = int | Annotated[str, Field(pattern=r"^\$")]
"""A constant, or `$name` for the proposed value of a parameter."""

Role = Literal["spot_shock_up", "spot_shock_down", "shocked_vol", "maintenance_factor", "liquidation_threshold"]
"""What a parameter means to the proposer; a parameter without a role is left alone."""


class Getter(Section):
    """A view and which 32-byte word of its answer counts."""

    function: Signature
    args: list[int] = Field(default_factory=list)
    word: Annotated[int, Field(ge=0)] = 0


class Parameter(Section):
    """One tunable number of the protocol. `scale` on-chain units are 1.0."""

    name: Name
    unit: Name
    scale: Annotated[int, Field(gt=0)]
    tightening: Literal["up", "down"] = Field(description="Direction in which margins grow.")
    group: Name | None = Field(None, description="Parameters of one group move together or not at all.")
    role: Role | None = None
    reversible: bool = True
    getter: Getter
    effective: Getter | None = Field(None, description="What open positions obey while a change ramps.")


class Setter(Section):
    """A function that writes one or more parameters."""

    function: Signature
    args: list[Argument]

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters it writes."""
        return tuple(arg[1:] for arg in self.args if isinstance(arg, str))


class Accounts(Section):
    """A paged view of all margin accounts: `view(start, count)` returning an array of static structs.

    The fields are indices of the struct's members.
    """

    count: Signature
    view: Signature
    page: Annotated[int, Field(gt=0, le=1024)]
    members: list[Literal["address", "uint256", "int256", "bool"]]
    address: Annotated[int, Field(ge=0)]
    equity: Annotated[int, Field(ge=0)]
    initial_margin: Annotated[int, Field(ge=0)]
    maintenance_margin: Annotated[int, Field(ge=0)]
    liquidation_margin: Annotated[int, Field(ge=0)]
    liquidatable: Annotated[int, Field(ge=0)]
    auction_event: Signature | None = Field(
        None, description="Event that begins a liquidation; its first indexed argument is the account."
    )


class Price(Section):
    """The protocol's own price of the underlying: value and time of its last update (Unix seconds)."""

    function: Signature
    scale: Annotated[int, Field(gt=0)]
    value_word: Annotated[int, Field(ge=0)] = 0
    updated_word: Annotated[int, Field(ge=0)] = 1


class Protocol(Section):
    """The whole of config/protocols/<name>.toml. Parameter ids are positions in `parameters`."""

    name: Name
    parameters: Annotated[list[Parameter], Field(min_length=1, max_length=16)]
    setters: Annotated[list[Setter], Field(min_length=1)]
    invariants: list[Annotated[str, Field(pattern=r"^\w+ <= \w+$")]] = Field(default_factory=list)
    accounts: Accounts
    price: Price
    ramp: Getter | None = Field(None, description="Seconds a tightening takes to reach open positions.")

    @model_validator(mode="after")
    def _consistent(self) -> Protocol:
        names = [parameter.name for parameter in self.parameters]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"parameter names must be unique, repeated: {', '.join(repeated)}")
        written = [name for setter in self.setters for name in setter.parameters]
        for name in [*written, *(side for line in self.invariants for side in re.split(" <= ", line))]:
            if name not in names:
                raise ValueError(f"{name} is not a parameter of this binding (parameters: {', '.join(names)})")
        for name in names:
            if written.count(name) != 1:
                raise ValueError(f"parameter {name} must be written by exactly one setter, not {written.count(name)}")
        for group in sorted({parameter.group for parameter in self.parameters if parameter.group}):
            with_role = {parameter.role is not None for parameter in self.parameters if parameter.group == group}
            if len(with_role) > 1:
                raise ValueError(f"group {group} moves together, so all of its parameters need a role, or none")
        for member in (
            "address",
            "equity",
            "initial_margin",
            "maintenance_margin",
            "liquidation_margin",
            "liquidatable",
        ):
            if getattr(self.accounts, member) >= len(self.accounts.members):
                raise ValueError(f"accounts.{member} is past the end of accounts.members")
        return self

    def id_of(self, name: str) -> int:
        """Return the id of the parameter called `name`."""
        return next(index for index, parameter in enumerate(self.parameters) if parameter.name == name)

    def group_of(self, parameter_id: int) -> tuple[int, ...]:
        """Return the ids that must move together with a parameter, itself included, ascending."""
        group = self.parameters[parameter_id].group
        if group is None:
            return (parameter_id,)
        return tuple(index for index, parameter in enumerate(self.parameters) if parameter.group == group)

    def ordered_pairs(self) -> tuple[tuple[int, int], ...]:
        """Return the invariants as pairs of ids (a, b) meaning value[a] <= value[b]."""
        sides = (line.split(" <= ") for line in self.invariants)
        return tuple((self.id_of(low), self.id_of(high)) for low, high in sides)
