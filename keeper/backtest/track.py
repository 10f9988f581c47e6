"""Keep what one simulated market decided and what came of it, a row a decision."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from keeper.messages import Reason
from keeper.propose import Stay

if TYPE_CHECKING:
    from keeper.backtest.book import Losses, Totals
    from keeper.backtest.feed import Gap


BLOCK_SECONDS = 12
"""A change is mined in the block after the one it was decided at."""


class Done(StrEnum):
    """What a decision did to a parameter."""

    APPLIED = "APPLIED"
    ANNOUNCED = "ANNOUNCED"
    ROLLED_BACK = "ROLLED_BACK"
    STATIC = "STATIC"


Code = Done | Stay | Reason
"""The one reason of a parameter at a decision: what was done, why it stayed, or why all was refused."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision: codes, values afterwards and targets in id order; targets are None where none was computed.

    `block` is the number of the block it was made at, `detail` for an operator.
    """

    at: int
    block: int
    price: float
    vol: float | None
    codes: tuple[Code, ...]
    values: tuple[int, ...]
    targets: tuple[int | None, ...]
    detail: str


@dataclass(frozen=True, slots=True)
class Move:
    """One change on the simulated chain: values before and after in id order, `at` the time of its block.

    `hit` are the accounts that the change itself makes liquidatable, now or when its ramp has ended.
    """

    at: int
    kind: str
    before: tuple[int, ...]
    after: tuple[int, ...]
    gas: int
    hit: int
    because: str


@dataclass(frozen=True, slots=True)
class Published:
    """One bar of the model: its end and close, and the forecast made from it (daily log-returns)."""

    end: int
    close: float
    lower: float
    upper: float
    raw_lower: float
    raw_upper: float


@dataclass(slots=True)
class Track:
    """Everything that one simulated market left behind. `name` says who decided, `model_id` by which model."""

    asset: str
    name: str
    model_id: str
    parameters: tuple[str, ...]
    gaps: tuple[Gap, ...]
    losses: Losses
    totals: Totals
    decisions: list[Decision] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    published: list[Published] = field(default_factory=list)
    shocks: list[tuple[float, float]] = field(default_factory=list)
    """Shock up and down as ratios that open positions obeyed, beside `decisions`."""
    initial: tuple[int, ...] = ()
    confirmed: int = 0
    """Quotes that jumped and that an operator is taken to have confirmed."""

    @property
    def last_block(self) -> int:
        """Time of the newest block that a decision of this run could have reached."""
        return self.decisions[-1].at + BLOCK_SECONDS if self.decisions else 0
