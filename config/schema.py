"""Declare every setting an operator may change, with its unit and what is allowed. Frozen and strict."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

Seconds = Annotated[int, Field(gt=0)]
Ratio = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]


def url_of(*beginnings: str) -> AfterValidator:
    """Return a check that a URL begins in one of these ways and has a legal port. It never shows the URL."""

    def check(url: SecretStr) -> SecretStr:
        text = url.get_secret_value()
        if not text.startswith(beginnings):
            raise ValueError(f"must begin with {' or '.join(beginnings)}")
        try:
            parts = urlsplit(text)
            legal = parts.port is None or 0 < parts.port < 65_536
        except ValueError:
            legal = False
        if not legal or not (parts.hostname or parts.path.strip("/")):
            raise ValueError("must name a host, with a port of 1..65535 if any, or a file")
        return url

    return AfterValidator(check)


class Section(BaseModel):
    """A table of the TOML file: unknown keys are errors, values are never coerced."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class KeeperSettings(Section):
    """When the keeper decides and which clock it goes by."""

    tick_seconds: Seconds = Field(60, description="Seconds between decisions.")
    clock: Literal["wall", "chain"] = Field(
        "wall",
        description="'chain' takes the latest block's time as now, for replaying recorded data.",
    )
    deployment: str = Field(
        "deployment.json", description="File that `keeper deploy` writes; relative to the working directory."
    )


class JournalSettings(Section):
    """Where the journal is kept."""

    url: Annotated[SecretStr, url_of("sqlite:///", "postgresql://")] = Field(
        SecretStr("sqlite:///keeper.db"), description="sqlite:///FILE or postgresql://user:password@host/database."
    )


class MqttSettings(Section):
    """The broker that feeds arrive from."""

    url: Annotated[SecretStr, url_of("mqtt://", "mqtts://")] = Field(
        SecretStr("mqtt://127.0.0.1:1883"), description="mqtt://[user:password@]host[:port], or mqtts://…"
    )
    topic_prefix: Annotated[str, Field(pattern=r"^[^#+\x00]+$")] = Field(
        "keeper/feeds", description="Feeds are read from PREFIX/<feed>."
    )


class FeedSettings(Section):
    """One feed: what its messages must say and how old, how far off and how jumpy they may be."""

    underlying: Name
    kind: Literal["spot", "vol"]
    unit: Annotated[str, Field(min_length=1, max_length=32)] = Field(
        description="Spot: the quote currency, such as USD. Vol: 'decimal' (.2 is 20 % a year)."
    )
    max_age_seconds: Seconds = Field(description="Older messages make the feed stale.")
    max_future_seconds: Annotated[int, Field(ge=0)] = Field(5, description="Tolerated clock skew of the producer.")
    minimum: Ratio = Field(description="Values below are refused by the guard.")
    maximum: Ratio = Field(description="Values above are refused by the guard.")
    max_jump: Annotated[float, Field(gt=1, allow_inf_nan=False)] = Field(
        description="Largest ratio, up or down, between two values used in consecutive decisions."
    )

    @model_validator(mode="after")
    def _ordered(self) -> FeedSettings:
        if self.minimum >= self.maximum:
            raise ValueError(f"minimum must be below maximum, got {self.minimum} and {self.maximum}")
        if self.kind == "vol" and self.unit != "decimal":
            raise ValueError(f"unit of a vol feed must be 'decimal', got {self.unit!r}")
        return self


class ChainSettings(Section):
    """The endpoint, the chain it must be, and what a transaction may cost."""

    rpc_url: Annotated[SecretStr, url_of("http://", "https://")] = Field(
        SecretStr("http://127.0.0.1:8545"), description="HTTP(S) JSON-RPC endpoint."
    )
    chain_id: Annotated[int, Field(gt=0)] = Field(31_337, description="Refuse to run on any other chain.")
    max_block_age_seconds: Seconds = Field(90, description="An older head is a lagging endpoint.")
    max_fee_gwei: Ratio = Field(200.0, description="Cap on maxFeePerGas; above it nothing is sent.")
    priority_fee_gwei: Ratio = Field(1.0, description="maxPriorityFeePerGas.")
    receipt_timeout_seconds: Seconds = Field(
        120, description="How long a tick, or a command, waits for its transaction."
    )


class ModelSettings(Section):
    """Which forecaster runs and what it is warmed up with."""

    model: str = Field(
        "default",
        description="'default', a baseline such as 'ewma-fhs', a trained model's file, or a folder: its champion.",
    )
    bar_seconds: Literal[3600, 86_400] = Field(86_400, description="Length of the bars built from spot quotes.")
    warmup: str = Field("builtin:spx", description="Recording the model is fed before the first quote, or ''.")
    min_bars: Annotated[int, Field(ge=0)] = Field(250, description="Fewer bars than this: no proposals.")
    save_bars: Annotated[int, Field(gt=0)] = Field(
        24, description="Bars after which what the model has learned is saved, so that a restart need not replay them."
    )


class ProposeSettings(Section):
    """How a forecast becomes parameters."""

    margin_period_days: Annotated[float, Field(gt=0, le=365)] = Field(
        5.0, description="Margin period of risk: spot shock = published daily 1 % / 99 % move x its square root."
    )
    vol_multiple: Ratio = Field(1.25, description="Shocked vol = multiple x implied vol after its 99 % daily rise.")
    liquidation_days: Ratio = Field(1.0, description="Days a liquidation takes, of the margin period of risk.")
    maintenance_gap: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.25, description="Share of the way from liquidation threshold to full margin that maintenance keeps."
    )
    dead_band: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.1, description="Relative distance from the live value below which nothing is proposed."
    )
    margin_cost: Ratio = Field(0.1, description="Cost of margin: of each unit tied up, a year.")
    shortfall_weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = Field(
        None,
        description="Weight of each unit of expected loss beyond the margin, a margin period; more of it may ask for "
        "more margin than the published. Left out: the weight at which the published margin is just right.",
    )
    change_cost: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        0.0001, description="Cost of change: of each unit of margin that a change calls or sets free."
    )
    deadline_seconds: Seconds = Field(
        600,
        description="A proposal not mined by then, or by then after its notice, is void. Above keeper.tick_seconds.",
    )


class GuardSettings(Section):
    """Limits the keeper adds to those that hold on chain."""

    max_oracle_deviation: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.05, description="Largest relative distance between spot feed and on-chain oracle."
    )
    max_oracle_age_seconds: Seconds = Field(90_000, description="An older on-chain price forbids decisions.")
    max_newly_liquidatable: Annotated[int, Field(ge=0)] = Field(
        0, description="Open accounts that a change may make liquidatable, now or when its ramp ends."
    )
    probed_accounts: Annotated[int, Field(ge=0, le=8)] = Field(
        4, description="Healthy accounts nearest to liquidation that the steward probes on chain after a change."
    )
    veto_holdoff_seconds: Seconds = Field(
        86_400, description="How long after a veto nothing tightens what the vetoed change would have tightened."
    )


class WatchSettings(Section):
    """When the world's answer to a change counts as an anomaly."""

    breach_window: Annotated[int, Field(gt=0)] = Field(250, description="Bars over which margin breaches are counted.")
    persistence_ticks: Annotated[int, Field(gt=0)] = Field(
        3, description="Ticks in a row that feed and oracle must differ before that is acted on."
    )
    breach_rate: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.02, description="Share of bars expected to leave the published margin, both tails together."
    )
    breach_significance: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.001, description="So many breaches or more must be less likely than this to count as an anomaly."
    )


class MarketSettings(Section):
    """One market the keeper looks after."""

    name: Name
    protocol: Annotated[str, Field(pattern=r"^[A-Za-z0-9_./-]{1,255}$")] = Field(
        "options_market",
        description="Binding in config/protocols/<protocol>.toml, or a path ending in .toml, relative to this file.",
    )
    spot_feed: Name
    vol_feed: Name


class Settings(Section):
    """The whole of keeper.toml."""

    keeper: KeeperSettings = KeeperSettings()
    journal: JournalSettings = JournalSettings()
    mqtt: MqttSettings = MqttSettings()
    chain: ChainSettings = ChainSettings()
    model: ModelSettings = ModelSettings()
    propose: ProposeSettings = ProposeSettings()
    guard: GuardSettings = GuardSettings()
    watch: WatchSettings = WatchSettings()
    feeds: dict[Name, FeedSettings]
    markets: Annotated[list[MarketSettings], Field(min_length=1)]

    @model_validator(mode="after")
    def _decided_in_time(self) -> Settings:
        deadline, tick = self.propose.deadline_seconds, self.keeper.tick_seconds
        if deadline <= tick:
            raise ValueError(
                f"propose.deadline_seconds = {deadline} must exceed keeper.tick_seconds = {tick}: "
                "an announced change would expire between two decisions"
            )
        return self

    @model_validator(mode="after")
    def _feeds_exist(self) -> Settings:
        names = [market.name for market in self.markets]
        if len(set(names)) != len(names):
            raise ValueError(f"market names must be unique, got {names}")
        for market in self.markets:
            for key, kind in (("spot_feed", "spot"), ("vol_feed", "vol")):
                feed = getattr(market, key)
                if feed not in self.feeds:
                    raise ValueError(f"{key} of market {market.name} names no [feeds.{feed}]")
                if self.feeds[feed].kind != kind:
                    raise ValueError(f"{key} of market {market.name} names {feed}, whose kind is not {kind}")
            underlyings = {self.feeds[market.spot_feed].underlying, self.feeds[market.vol_feed].underlying}
            if len(underlyings) > 1:
                raise ValueError(
                    f"the feeds of market {market.name} have underlyings {' and '.join(sorted(underlyings))}"
                )
        return self
