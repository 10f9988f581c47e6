"""Record where contracts stand, and what limits they are put up with."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, ValidationError, model_validator

from config.errors import ConfigError, explain
from config.schema import Name, Section

if TYPE_CHECKING:
    from pathlib import Path

BPS = 10_000
MAX_VALUE = 2**128 - 1
DAY = 86_400
MAX_SECONDS = 366 * DAY
MAX_PROBATION_SECONDS = 30 * DAY
MAX_SIGNERS = 16
"""What the steward takes; it refuses more."""

Address = Annotated[str, Field(pattern=r"^0x[0-9a-fA-F]{40}$")]
CodeHash = Annotated[str, Field(pattern=r"^0x[0-9a-f]{64}$")]
Units = Annotated[int, Field(ge=0, le=MAX_VALUE)]
Duration = Annotated[int, Field(ge=0, le=MAX_SECONDS)]
Minutes = Annotated[int, Field(ge=0, le=MAX_SECONDS, multiple_of=60)]


class Limits(Section):
    """One parameter's limits, in on-chain units, as the steward will hold it to them; 0 seconds means no such rule."""

    initial: Units | None = Field(None, description="Start of a trial market; a market that stands has live values.")
    minimum: Units
    maximum: Units
    max_step_up: Units
    max_step_down: Units
    relative: bool = Field(default=False, description="Steps are basis points of the live value, else on-chain units.")
    cooldown_seconds: Duration
    drift_budget: Units = Field(0, description="Most movement, up and down added, in any window; on-chain units.")
    drift_window_seconds: Minutes = Field(0, description="Whole minutes: the steward keeps its time in them.")
    notice_seconds: Duration = Field(0, description="How long a tightening must have been announced.")

    @model_validator(mode="after")
    def _inside(self) -> Limits:
        if self.minimum > self.maximum:
            raise ValueError(f"minimum must not be above maximum, got {self.minimum} and {self.maximum}")
        if self.initial is not None and not self.minimum <= self.initial <= self.maximum:
            raise ValueError(f"initial must be in minimum..maximum, got {self.initial}")
        return self

    @model_validator(mode="after")
    def _steps_can_be_made(self) -> Limits:
        if not self.relative:
            return self
        if self.max_step_down > BPS:
            raise ValueError(f"max_step_down is relative: at most {BPS} basis points, got {self.max_step_down}")
        for name in ("max_step_up", "max_step_down"):
            step = getattr(self, name)
            if step > 0 and self.minimum * step < BPS:
                raise ValueError(f"{name} is relative: {step} basis points of minimum {self.minimum} are less than 1")
        return self

    @model_validator(mode="after")
    def _budget_holds_a_step(self) -> Limits:
        if (self.drift_budget > 0) != (self.drift_window_seconds > 0):
            raise ValueError("drift_budget and drift_window_seconds go together: both above 0, or neither")
        if self.drift_budget and self.drift_budget < self.largest_step:
            raise ValueError(
                f"drift_budget must hold one whole step ({self.largest_step} at the minimum), got {self.drift_budget}"
            )
        return self

    @property
    def largest_step(self) -> int:
        """The larger of the two steps at `minimum`, where relative steps are smallest; on-chain units."""
        step = max(self.max_step_up, self.max_step_down)
        return min(self.minimum * step // BPS if self.relative else step, self.maximum - self.minimum)


class Policies(Section):
    """The whole of config/policies/<protocol>.toml: what `keeper deploy` sets up."""

    probation_seconds: Annotated[int, Field(gt=0, le=MAX_PROBATION_SECONDS)] = Field(
        description="How long a version must live to become the last good one."
    )
    threshold: Annotated[int, Field(gt=0, le=MAX_SIGNERS)] = Field(1, description="Signatures that a change needs.")
    timelock_delay_seconds: Annotated[int, Field(gt=0, le=MAX_SECONDS)] = Field(
        2 * DAY, description="How long what governance decides is readable on chain before it can come into force."
    )
    ramp_seconds: Duration | None = Field(
        None, description="Trial market: how long a tightening takes to reach open positions."
    )
    max_price_age_seconds: Annotated[int, Field(gt=0, le=MAX_SECONDS)] | None = Field(
        None, description="Trial market: older oracle prices stop trading."
    )
    limits: dict[Name, Limits]


class MarketContracts(Section):
    """One market of a protocol that stands: the addresses and keys that its binding names."""

    contracts: Annotated[dict[Name, Address], Field(min_length=1)] = Field(description="By the binding's names.")
    keys: dict[Name, int | str | bool] = Field(default_factory=dict, description="Values of the binding's market keys.")
    executor: Address | None = Field(
        None, description="A Safe that owns the protocol and has the steward as a module; none: the steward calls."
    )
    since_block: Annotated[int, Field(ge=0)] | None = Field(
        None, description="Where logs of accounts begin; `keeper deploy` looks where their contract was created."
    )


class MarketDeployment(MarketContracts):
    """One market as it was put under the steward."""

    policy: Address = Field(description="Where the policy that came into force at deployment is stored.")


class Deployment(Section):
    """What `keeper deploy` wrote: addresses on one chain, and the block to read history from."""

    chain_id: Annotated[int, Field(gt=0)]
    steward: Address
    registry: Address = Field(description="Where the steward's policies are stored.")
    timelock: Address = Field(description="Governance of the steward: holds its default admin role.")
    governance: Annotated[list[Address], Field(min_length=1)] = Field(
        description="Who may schedule, cancel and execute in the timelock."
    )
    guardians: list[Address] = Field(description="Who may pause and veto.")
    signers: Annotated[list[Address], Field(min_length=1, max_length=MAX_SIGNERS)] = Field(description="Ascending.")
    threshold: Annotated[int, Field(gt=0, le=MAX_SIGNERS)]
    block: Annotated[int, Field(ge=0)] = Field(description="Block in which the steward was created.")
    code_hashes: dict[str, CodeHash] = Field(description="keccak256 of each contract's runtime code.")
    markets: dict[Name, MarketDeployment]

    @model_validator(mode="after")
    def _quorum(self) -> Deployment:
        if self.threshold > len(self.signers):
            raise ValueError(f"threshold {self.threshold} asks for more than the {len(self.signers)} signers")
        numbers = [int(signer, 16) for signer in self.signers]
        if numbers != sorted(set(numbers)):
            raise ValueError("signers must be strictly ascending")
        return self


class MarketsFile(Section):
    """The whole of what `keeper deploy --markets` reads."""

    markets: Annotated[dict[Name, MarketContracts], Field(min_length=1)]


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


def load_markets(path: Path) -> dict[str, MarketContracts]:
    """Read the markets of protocols that stand, by name. Raises ConfigError naming file, line, key and rule."""
    try:
        text = path.read_text(encoding="utf-8")
        document = tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # not UTF-8, not TOML, or a number of too many digits
        raise ConfigError(f"{path}: not valid TOML: {error}") from None
    try:
        return MarketsFile.model_validate(document).markets
    except ValidationError as error:
        raise explain(error, file=str(path), text=text, schema=MarketsFile) from None
