"""Record where contracts stand, and what limits they were put up with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, ValidationError, model_validator

from config.errors import ConfigError, explain
from config.schema import Name, Section

if TYPE_CHECKING:
    from pathlib import Path

Address = Annotated[str, Field(pattern=r"^0x[0-9a-fA-F]{40}$")]
Units = Annotated[int, Field(ge=0)]


class Limits(Section):
    """One parameter's start and the limits the steward will hold it to, all in on-chain units."""

    initial: Units
    minimum: Units
    maximum: Units
    max_step_up: Units
    max_step_down: Units
    cooldown_seconds: Units

    @model_validator(mode="after")
    def _inside(self) -> Limits:
        if not self.minimum <= self.initial <= self.maximum:
            raise ValueError(f"initial must be in minimum..maximum, got {self.initial}")
        return self


class Policies(Section):
    """The whole of config/policies/<protocol>.toml: what `keeper deploy` sets up."""

    probation_seconds: Units = Field(description="How long a version must live to become the last good one.")
    ramp_seconds: Units = Field(description="How long a tightening takes to reach open positions.")
    max_price_age_seconds: Annotated[int, Field(gt=0)] = Field(description="Older oracle prices stop trading.")
    limits: dict[Name, Limits]


class MarketDeployment(Section):
    """One market's contracts."""

    market: Address
    oracle: Address
    collateral: Address


class Deployment(Section):
    """What `keeper deploy` wrote: addresses on one chain, and the block to read history from."""

    chain_id: Annotated[int, Field(gt=0)]
    steward: Address
    keeper: Address = Field(description="The address that holds the keeper role.")
    block: Units = Field(description="Block in which the steward was created.")
    code_hashes: dict[str, str] = Field(description="keccak256 of each contract's runtime code.")
    markets: dict[Name, MarketDeployment]


def load_deployment(path: Path) -> Deployment:
    """Read a deployment file. Raises ConfigError naming file, key and rule."""
    try:
        document = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}; `keeper deploy` writes it") from None
    try:
        return Deployment.model_validate_json(document)
    except ValidationError as error:
        raise explain(error, file=str(path), text="", schema=Deployment) from None
