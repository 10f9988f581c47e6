"""Name every decision that passes between stages, and every reason a stage may give for refusing one.

All messages are frozen. `body` turns one into the JSON document that the journal keeps, `parse` turns it back.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, TypeVar

from pydantic import TypeAdapter

from models.forecaster import Tail
from models.market import Bar, BlockStamp, Quote

T = TypeVar("T")

ADDED = {"added": True}
"""Of a field that older journals do not have: left out of the document where it is None, so that their hashes hold."""


class Reason(StrEnum):
    """Why a decision was refused: exactly one per refusal. `REMEDIES` says what an operator can do."""

    MISSING_FEED = "MISSING_FEED"
    STALE_FEED = "STALE_FEED"
    FEED_OUT_OF_RANGE = "FEED_OUT_OF_RANGE"
    FEED_DIVERGES = "FEED_DIVERGES"
    FEED_JUMPED = "FEED_JUMPED"
    STALE_ORACLE = "STALE_ORACLE"
    STALE_BLOCK = "STALE_BLOCK"
    MODEL_NOT_FINITE = "MODEL_NOT_FINITE"
    MODEL_WARMING_UP = "MODEL_WARMING_UP"
    PAUSED = "PAUSED"
    SEQUENCE_TAKEN = "SEQUENCE_TAKEN"
    STATE_CHANGED = "STATE_CHANGED"
    POLICY_CHANGED = "POLICY_CHANGED"
    EXPIRED = "EXPIRED"
    NO_EFFECT = "NO_EFFECT"
    UNKNOWN_PARAMETER = "UNKNOWN_PARAMETER"
    NOT_ASCENDING = "NOT_ASCENDING"
    GROUP_SPLIT = "GROUP_SPLIT"
    OUTSIDE_CORRIDOR = "OUTSIDE_CORRIDOR"
    STEP_TOO_LARGE = "STEP_TOO_LARGE"
    COOLING_DOWN = "COOLING_DOWN"
    DRIFT_EXHAUSTED = "DRIFT_EXHAUSTED"
    INVARIANT_BROKEN = "INVARIANT_BROKEN"
    NOT_ANNOUNCED = "NOT_ANNOUNCED"
    NOTICE_RUNNING = "NOTICE_RUNNING"
    VETOED = "VETOED"
    ALREADY_ANNOUNCED = "ALREADY_ANNOUNCED"
    NO_NOTICE_DUE = "NO_NOTICE_DUE"
    NOTICE_TOO_LONG = "NOTICE_TOO_LONG"
    CHANGED_BEHIND = "CHANGED_BEHIND"
    NOT_LAST_GOOD = "NOT_LAST_GOOD"
    IRREVERSIBLE = "IRREVERSIBLE"
    SIMULATION_FAILED = "SIMULATION_FAILED"
    NOT_ATTESTED = "NOT_ATTESTED"
    SIMULATION_DISAGREES = "SIMULATION_DISAGREES"
    IMPACT_TOO_LARGE = "IMPACT_TOO_LARGE"
    IN_FLIGHT = "IN_FLIGHT"
    FEE_TOO_HIGH = "FEE_TOO_HIGH"
    ENDPOINT_FAILED = "ENDPOINT_FAILED"
    ACCOUNT_UNREADABLE = "ACCOUNT_UNREADABLE"


REMEDIES: dict[Reason, str] = {
    Reason.MISSING_FEED: "No message of this feed has been accepted yet: check the publisher and its topic.",
    Reason.STALE_FEED: "The newest message is older than max_age_seconds: check the publisher's clock and link.",
    Reason.FEED_OUT_OF_RANGE: "The value is outside the feed's minimum..maximum in keeper.toml.",
    Reason.FEED_DIVERGES: "Spot and the on-chain oracle disagree: find which of the two is wrong.",
    Reason.FEED_JUMPED: "It moved further than max_jump since the last one used: check it, then `keeper confirm` it.",
    Reason.STALE_ORACLE: "The on-chain price is older than max_oracle_age_seconds: check the oracle.",
    Reason.STALE_BLOCK: "The endpoint's head is older than max_block_age_seconds: check or replace the endpoint.",
    Reason.MODEL_NOT_FINITE: "The forecast holds NaN or infinity, or is not ordered: switch to a baseline model.",
    Reason.MODEL_WARMING_UP: "Too few bars for a forecast: give model.warmup a recording.",
    Reason.PAUSED: "The guardian paused the steward: governance unpauses it once the cause is known.",
    Reason.SEQUENCE_TAKEN: "Another change was applied first: the next tick decides on the new state.",
    Reason.STATE_CHANGED: "The live parameters are not those the proposal was computed for: the next tick decides.",
    Reason.POLICY_CHANGED: "Governance put another policy into force: what was signed before is void.",
    Reason.EXPIRED: "The deadline passed before the change could be sent: the next tick decides.",
    Reason.NO_EFFECT: "The proposal equals the live values.",
    Reason.UNKNOWN_PARAMETER: "The binding names a parameter the steward does not know: compare TOML and chain.",
    Reason.NOT_ASCENDING: "Parameter ids must be strictly ascending.",
    Reason.GROUP_SPLIT: "Coupled parameters move together or not at all.",
    Reason.OUTSIDE_CORRIDOR: "The value is outside the corridor set on chain: governance decides whether to move it.",
    Reason.STEP_TOO_LARGE: "The change is larger than one step may be.",
    Reason.COOLING_DOWN: "The parameter changed less than its cooldown ago: wait.",
    Reason.DRIFT_EXHAUSTED: "It has moved as far as its window allows: wait, or governance grants a larger budget.",
    Reason.INVARIANT_BROKEN: "The values would break an ordering that must hold between parameters.",
    Reason.NOT_ANNOUNCED: "This tightening must be announced on chain before it may be applied: announce it.",
    Reason.NOTICE_RUNNING: "It has been announced: it may be applied once its notice is over.",
    Reason.VETOED: "The guardian vetoed it: the like is held off for guard.veto_holdoff_seconds, time to ask why.",
    Reason.ALREADY_ANNOUNCED: "This very change was announced before: it is made, or vetoed, but not announced again.",
    Reason.NO_NOTICE_DUE: "Nothing in it has to be announced: apply it.",
    Reason.NOTICE_TOO_LONG: "Its notice would end after its deadline: raise propose.deadline_seconds.",
    Reason.CHANGED_BEHIND: "Someone changed the protocol past the steward: governance rebases, or sets it back itself.",
    Reason.NOT_LAST_GOOD: "A rollback restores the last good version and nothing else.",
    Reason.IRREVERSIBLE: "It differs from the last good version and cannot be set back: only governance can act.",
    Reason.SIMULATION_FAILED: "The exact calldata reverts on a copy of the chain: read the detail.",
    Reason.NOT_ATTESTED: "The steward wants more signatures, or other signers' than this key's: see `keeper check`.",
    Reason.SIMULATION_DISAGREES: "The simulated chain does not show the proposed values: do not trust the binding.",
    Reason.IMPACT_TOO_LARGE: "More open accounts would become liquidatable than guard.max_newly_liquidatable.",
    Reason.IN_FLIGHT: "An earlier transaction of this key is unfinished: it is finished first.",
    Reason.FEE_TOO_HIGH: "Gas costs more than chain.max_fee_gwei allows: raise it, or wait.",
    Reason.ENDPOINT_FAILED: "The endpoint gave no usable answer: the next tick asks again.",
    Reason.ACCOUNT_UNREADABLE: "A view of the account named reverts, and nothing is decided without it: find out why.",
}


class QuoteFault(StrEnum):
    """Why a feed message was refused."""

    MALFORMED = "MALFORMED"
    WRONG_VERSION = "WRONG_VERSION"
    UNKNOWN_FEED = "UNKNOWN_FEED"
    MISLABELLED = "MISLABELLED"
    NOT_FINITE = "NOT_FINITE"
    NOT_POSITIVE = "NOT_POSITIVE"
    DUPLICATE = "DUPLICATE"
    OUT_OF_ORDER = "OUT_OF_ORDER"
    FUTURE_DATED = "FUTURE_DATED"


class IncidentKind(StrEnum):
    """What the watch found wrong in the world after a change, or between changes."""

    READBACK_MISMATCH = "READBACK_MISMATCH"
    FOREIGN_CHANGE = "FOREIGN_CHANGE"
    ORACLE_DIVERGED = "ORACLE_DIVERGED"
    MARGIN_BREACHED = "MARGIN_BREACHED"
    UNEXPECTED_LIQUIDATIONS = "UNEXPECTED_LIQUIDATIONS"
    REORGED = "REORGED"
    STILL_APPLICABLE = "STILL_APPLICABLE"


class ProposalKind(StrEnum):
    """Whether a proposal tunes parameters or restores the last good version."""

    TUNE = "tune"
    ROLLBACK = "rollback"


@dataclass(frozen=True, slots=True)
class QuoteRefused:
    """A feed message that was not used. `payload` is its beginning, safe to print."""

    feed: str
    fault: QuoteFault
    detail: str
    payload: str
    suppressed: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """One parameter's new value in on-chain units."""

    id: int
    value: int


@dataclass(frozen=True, slots=True)
class Proposal:
    """A change of parameters bound to the state it was computed for.

    `policy` is the one in force, `sequence` the version it would create, `current` the live values in id order,
    `deadline` Unix seconds. `targets` are where the model wants the changed parameters to end up; `changes` is the
    admissible step there.
    `inputs` digests everything the decision was made from. `because` is one sentence for an operator.
    """

    market: str
    kind: ProposalKind
    policy: str
    sequence: int
    state_hash: str
    block: BlockStamp
    current: tuple[int, ...]
    changes: tuple[Change, ...]
    targets: tuple[Change, ...]
    inputs: str
    model_id: str
    deadline: int
    because: str

    @property
    def digest(self) -> str:
        """The idempotency key: 0x-prefixed SHA-256 of the canonical proposal."""
        return digest(self)

    @property
    def values(self) -> tuple[int, ...]:
        """The values in id order as they would be after the change."""
        changed = {change.id: change.value for change in self.changes}
        return tuple(changed.get(index, value) for index, value in enumerate(self.current))


@dataclass(frozen=True, slots=True)
class Preflight:
    """What a copy of the chain showed when `calldata` ran on it, now and when the ramp has ended.

    `calldata` is what is sent, to the byte but for the signatures, which are appended to it after approval: nothing
    encodes a second time. `attestation` is the EIP-712 digest that they sign.
    """

    block: BlockStamp
    calldata: str
    attestation: str
    gas: int
    values: tuple[int, ...]
    newly_liquidatable: tuple[str, ...]
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Approved:
    """A proposal that passed every rule, with the simulation that it passed on."""

    proposal: Proposal
    preflight: Preflight


@dataclass(frozen=True, slots=True)
class Rejected:
    """A refusal. `proposal` is None when the inputs already forbade a decision."""

    market: str
    reason: Reason
    detail: str
    block: BlockStamp
    proposal: Proposal | None = None


@dataclass(frozen=True, slots=True)
class NoChange:
    """A tick that had nothing to propose, and why."""

    market: str
    block: BlockStamp
    detail: str
    inputs: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """A signed transaction, on disk before the network sees it. `raw` is the signed bytes in hex.

    `announces` the change instead of making it: the notice that it is due begins.
    """

    market: str
    digest: str
    kind: ProposalKind
    chain_id: int
    sender: str
    to: str
    nonce: int
    tx_hash: str
    raw: str
    deadline: int
    announces: bool = False


@dataclass(frozen=True, slots=True)
class Announced:
    """A change that was announced on chain: it may be made from `applicable_at` on, Unix seconds.

    `attestation` is the EIP-712 digest under which the chain knows it.
    """

    market: str
    digest: str
    attestation: str
    applicable_at: int
    tx_hash: str
    block: BlockStamp
    gas_used: int


@dataclass(frozen=True, slots=True)
class Applied:
    """A mined change, read back from the chain at the block it was mined in."""

    market: str
    digest: str
    kind: ProposalKind
    sequence: int
    values: tuple[int, ...]
    tx_hash: str
    block: BlockStamp
    gas_used: int


@dataclass(frozen=True, slots=True)
class Failed:
    """An attempt with a definite end other than success: reverted, or its nonce spent by another transaction."""

    market: str
    digest: str
    tx_hash: str
    detail: str
    gas_used: int = 0


@dataclass(frozen=True, slots=True)
class Undone:
    """An applied change that a reorganisation took back: its attempt is unfinished again."""

    market: str
    digest: str
    tx_hash: str
    sequence: int


@dataclass(frozen=True, slots=True)
class QuoteConfirmed:
    """An operator's word that a quote which jumped is true: later quotes are held against it."""

    market: str
    quote: Quote
    because: str


@dataclass(frozen=True, slots=True)
class DryRun:
    """What would have been sent, had a key been configured."""

    market: str
    digest: str
    because: str
    to: str
    calldata: str


@dataclass(frozen=True, slots=True)
class Incident:
    """A promise the world did not keep, or one the keeper no longer makes but cannot take back.

    `demands_rollback` says whether the keeper acts on it, `digest` which proposal it is about, "" for none.
    """

    market: str
    kind: IncidentKind
    detail: str
    block: BlockStamp
    demands_rollback: bool
    promised: tuple[int, ...] = ()
    observed: tuple[int, ...] = ()
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Baseline:
    """The versions a market already had when this journal first met it: states a rollback may restore."""

    market: str
    block: BlockStamp
    sequence: int
    values: tuple[int, ...]
    last_good: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Assessment:
    """What one tick saw and what the model made of it: the inputs that a proposal's digest commits to.

    `published` is the model's limited daily pair (lower 1 %, upper 99 %) of the log-return, `raw` the same
    unlimited, `vol_rise` the 99 % daily log-change of implied volatility (None without a vol model). `tail` is the
    whole of the unlimited daily forecast, `vol_tail` that of implied volatility's log-change, at
    `models.forecaster.TAUS`.
    `holdings` says how the open accounts are covered, as in `keeper.objective.holdings`; None where none can be read.
    """

    market: str
    block: BlockStamp
    sequence: int
    state_hash: str
    values: tuple[int, ...]
    spot: Quote
    vol: Quote
    oracle_price: float
    accounts: int
    liquidatable: tuple[str, ...]
    model_id: str
    bars: int
    published: tuple[float, float]
    raw: tuple[float, float]
    vol_rise: float | None
    tail: Tail | None = field(default=None, metadata=ADDED)
    vol_tail: tuple[float, ...] | None = field(default=None, metadata=ADDED)
    holdings: tuple[tuple[float, float], ...] | None = field(default=None, metadata=ADDED)


@dataclass(frozen=True, slots=True)
class BarClosed:
    """A bar the model learnt from, with the margin it had published before (log-returns, None before the first)."""

    market: str
    bar: Bar
    published: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """The keeper started, stopped or halted."""

    event: str
    detail: str = ""
    settings: dict[str, Any] = field(default_factory=dict)


Outcome = Rejected | NoChange | Announced | Applied | Failed | DryRun
"""How a tick ends: exactly one of these."""


_ADAPTERS: dict[type, TypeAdapter[Any]] = {}


def _adapter(kind: type) -> TypeAdapter[Any]:
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


def body(message: Any) -> dict[str, Any]:
    """Return a message as the JSON document the journal keeps."""
    document: dict[str, Any] = _adapter(type(message)).dump_python(message, mode="json")
    for one in fields(message):
        if "added" in one.metadata and document[one.name] is None:
            del document[one.name]
    return document


def parse(kind: type[T], document: dict[str, Any]) -> T:
    """Rebuild a message from its journal document. Raises pydantic.ValidationError on a foreign one."""
    message: T = _adapter(kind).validate_python(document)
    return message


def canonical(document: Any) -> bytes:
    """Serialise to the one JSON text that hashes are taken over. Raises ValueError on NaN or infinity."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    return text.encode()


def digest(message: Any) -> str:
    """Return the 0x-prefixed SHA-256 of a message's canonical JSON."""
    return "0x" + hashlib.sha256(canonical(body(message))).hexdigest()
