"""Run the real steward over a protocol of plain numbers in a fast in-process EVM, and say what it says in our words."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any

from builders import NOW, tune
from coincurve import PrivateKey
from eth_abi import encode
from eth_abi.abi import decode
from eth_utils import keccak
from pyrevm import EVM, BlockEnv, CfgEnv, Env
from vyper import compile_code

from chain.compiler import compile_contract
from keeper.messages import Proposal, ProposalKind, Reason
from keeper.propose import rollback
from models.market import BlockStamp, Invariant, MarketState, ParameterState

NUMBERS = """
# pragma version ~=0.4.3
numbers: uint256[6]

@external
@view
def all() -> uint256[6]:
    return self.numbers

@external
def set_all(numbers: uint256[6]):
    self.numbers = numbers
"""
SLOTS = 6
CHAIN = 31_337
PROBATION = 50_000
GOVERNANCE, GUARDIAN, ANYONE = ("0x" + byte * 20 for byte in ("a1", "b2", "c3"))
NOBODY = "0x" + "00" * 20
SIGNER = PrivateKey(b"\x07" * 32)
SIGNER_ADDRESS = "0x" + keccak(SIGNER.public_key.format(compressed=False)[1:])[12:].hex()

HEADER = "(address,uint256,uint256,uint256,uint256,uint256,uint256,address,uint256,bytes4)"
LIMITS = "(uint256,uint256,uint256,uint256,bool,uint256,uint256,uint256,bool,uint256,bool,uint256)"
MESSAGE = (
    "(bytes32,uint256,bytes32,uint256[],uint256[],(address,bytes)[],bytes32,bytes32,(bytes,int256)[],uint256,uint256)"
)
VIEW = "(uint256,address,bool,uint256,uint256,bytes32,uint256,bytes32,uint256,bytes32,uint256[],uint256[4])"
FIELDS = (
    "(bytes32 market,uint256 sequence,bytes32 stateHash,uint256[] ids,uint256[] values,bytes32 callsHash,"
    "bytes32 modelHash,bytes32 inputRoot,bytes32 probesHash,uint256 maxLiquidatable,uint256 deadline)"
)
DOMAIN = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
KINDS = {ProposalKind.TUNE: "Apply", ProposalKind.ROLLBACK: "Rollback"}
NO_PROBES = keccak(encode(["(bytes,int256)[]"], [()]))

REASONS = {
    "paused": Reason.PAUSED,
    "deadline passed": Reason.EXPIRED,
    "wrong sequence": Reason.SEQUENCE_TAKEN,
    "state has changed": Reason.STATE_CHANGED,
    "unknown": Reason.UNKNOWN_PARAMETER,
    "id not ascending": Reason.NOT_ASCENDING,
    "below corridor": Reason.OUTSIDE_CORRIDOR,
    "above corridor": Reason.OUTSIDE_CORRIDOR,
    "step too large": Reason.STEP_TOO_LARGE,
    "cooldown not over": Reason.COOLING_DOWN,
    "drift budget spent": Reason.DRIFT_EXHAUSTED,
    "nothing changes": Reason.NO_EFFECT,
    "already at the last good version": Reason.NO_EFFECT,
    "group incomplete": Reason.GROUP_SPLIT,
    "broken": Reason.INVARIANT_BROKEN,
    "not announced": Reason.NOT_ANNOUNCED,
    "vetoed": Reason.VETOED,
    "notice not over": Reason.NOTICE_RUNNING,
    "changed behind the steward": Reason.CHANGED_BEHIND,
    "not the last good version": Reason.NOT_LAST_GOOD,
    "irreversible": Reason.IRREVERSIBLE,
}
"""What the steward says, without its own name and a parameter's or invariant's number, and the guard's word for it."""


class Reverted(Exception):
    """A call that the EVM took back. The message is the contract's own reason."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a policy says of one parameter, in the order of its record."""

    minimum: int = 0
    maximum: int = 10_000
    max_step_up: int = 100
    max_step_down: int = 100
    relative: bool = False
    cooldown: int = 0
    drift_budget: int = 0
    drift_window: int = 0
    tightening_up: bool = True
    notice: int = 0
    reversible: bool = True
    coupled: int = 0

    def words(self) -> tuple[Any, ...]:
        """The record's fields."""
        return tuple(getattr(self, name) for name in self.__slots__)


@dataclass(frozen=True, slots=True)
class Rules:
    """Everything a market starts with: limits and values in id order, orderings between them."""

    limits: tuple[Limits, ...] = (Limits(),) * 3
    values: tuple[int, ...] = (500, 500, 500)
    invariants: tuple[Invariant, ...] = ()

    def limit(self, index: int, **changes: Any) -> Rules:
        """The rules with some limits of one parameter changed."""
        rows = [replace(row, **changes) if at == index else row for at, row in enumerate(self.limits)]
        return replace(self, limits=tuple(rows))


class Stewards:
    """An EVM with a steward that markets are added to."""

    def __init__(self) -> None:
        self.evm = EVM(env=Env(cfg=CfgEnv(chain_id=CHAIN)), spec_id="CANCUN")
        self.registry = self.evm.deploy(GOVERNANCE, compile_contract("policy_registry").bytecode)
        creation = compile_contract("risk_steward").bytecode
        self.steward = self.evm.deploy(
            GOVERNANCE, creation + encode(["address", "address"], [GOVERNANCE, self.registry])
        )
        self.numbers = bytes.fromhex(compile_code(NUMBERS, output_formats=["bytecode"])["bytecode"][2:])
        self.now = NOW
        self.markets = 0
        self.domain = self._domain()
        self.wait(0)
        role = keccak(text="GUARDIAN_ROLE")
        self.send("grantRole(bytes32,address)", ["bytes32", "address"], [role, GUARDIAN])
        self.send("set_quorum(uint256,address[])", ["uint256", "address[]"], [1, [SIGNER_ADDRESS]])

    def _domain(self) -> bytes:
        texts = [keccak(text=text) for text in (DOMAIN, "Keeper risk steward", "1")]
        return keccak(encode(["bytes32"] * 3 + ["uint256", "address"], [*texts, CHAIN, self.steward]))

    def wait(self, seconds: int) -> None:
        """Let time pass; a block a second."""
        self.now += seconds
        self.evm.set_block_env(BlockEnv(number=self.now - NOW + 1, timestamp=self.now))

    def call(self, target: str, data: bytes, sender: str = ANYONE) -> bytes:
        """Send calldata as a transaction. Raises Reverted."""
        try:
            return self.evm.message_call(sender, target, calldata=data)
        except RuntimeError as error:
            raise Reverted(_reason(str(error))) from None

    def send(self, signature: str, types: list[str], values: list[Any], sender: str = GOVERNANCE) -> bytes:
        """Call a function of the steward."""
        return self.call(self.steward, _selector(signature) + encode(types, values), sender)

    def add(self, rules: Rules) -> World:
        """Put up a protocol and an active market over it."""
        self.markets += 1
        market = keccak(text=f"market {self.markets}")
        target = self.evm.deploy(GOVERNANCE, self.numbers)
        world = World(self, market, target, rules)
        world.write(rules.values)
        world.put(rules)
        self.send("activate(bytes32)", ["bytes32"], [market])
        world.version(rules.values)
        return world


@dataclass
class World:
    """One market and its protocol."""

    house: Stewards
    market: bytes
    target: str
    rules: Rules
    versions: dict[bytes, tuple[int, ...]] = field(default_factory=dict)

    def write(self, values: tuple[int, ...]) -> None:
        """Set the protocol's numbers behind the steward's back."""
        self.house.call(self.target, self._setter(values))

    def put(self, rules: Rules) -> None:
        """Put a policy with these limits and invariants into force. Raises Reverted."""
        house = self.house
        stored = house.call(house.registry, STORE + encode(["bytes"], [_blob(self.target, rules)]))
        house.send("set_policy(bytes32,address)", ["bytes32", "address"], [self.market, "0x" + stored[12:].hex()])
        self.rules = rules

    def version(self, values: tuple[int, ...]) -> None:
        """Remember the values of a version by the hash that the steward keeps of them."""
        types = ["address", "uint256", "bytes32", "uint256[]"]
        self.versions[keccak(encode(types, [self.house.steward, CHAIN, self.market, values]))] = values

    def state(self) -> MarketState:
        """What the guard decides on, read from the steward."""
        answer = self.house.send("market_state(bytes32)", ["bytes32"], [self.market])
        _, policy, paused, sequence, _, left, _, good, _, live, values, packed = decode([VIEW], answer)[0]
        rows = zip(self.rules.limits, values, strict=True)
        return MarketState(
            market="a market",
            block=BlockStamp(0, "", self.house.now),
            sequence=sequence,
            state_hash="0x" + live.hex(),
            paused=paused,
            parameters=tuple(_parameter(index, *row, packed) for index, row in enumerate(rows)),
            last_good=self.versions[good],
            oracle_price=1.0,
            oracle_updated_at=self.house.now,
            accounts=(),
            invariants=self.rules.invariants,
            policy=policy,
            version_hash="0x" + left.hex(),
        )

    def change(self, *changes: tuple[int, int], state: MarketState | None = None, **fields: Any) -> Proposal:
        """Return a proposal of (id, value) pairs that is right for the present state, except for fields by name."""
        live = state or self.state()
        right = {"sequence": live.sequence + 1, "state_hash": live.state_hash, "current": live.values}
        return tune(*changes, **right | {"deadline": self.house.now + 10**6} | fields)

    def undo(self, state: MarketState | None = None, **fields: Any) -> Proposal:
        """Return the rollback to the last good version, except for fields by name."""
        return replace(rollback(state or self.state(), "a test", "0x00", self.house.now, 10**6), **fields)

    def submit(self, proposal: Proposal) -> None:
        """Sign and carry out a proposal. Raises Reverted."""
        self._send("apply" if proposal.kind is ProposalKind.TUNE else "rollback", proposal)
        self.version(proposal.values)

    def refusal(self, proposal: Proposal) -> str | None:
        """Return why the steward refuses a proposal, None if it takes it; either way nothing stays of it."""
        before = self.house.evm.snapshot()
        try:
            self._send("apply" if proposal.kind is ProposalKind.TUNE else "rollback", proposal)
        except Reverted as error:
            return str(error)
        finally:
            self.house.evm.revert(before)
        return None

    def announce(self, proposal: Proposal) -> None:
        """Give notice of a proposal. Raises Reverted."""
        self._send("announce", proposal)

    def veto(self, proposal: Proposal) -> None:
        """Let the guardian forbid a proposal that was announced."""
        self.house.send("veto(bytes32)", ["bytes32"], [self._digest(proposal)], GUARDIAN)

    def announced_at(self, proposal: Proposal) -> int | None:
        """Return when a proposal was announced, as the guard wants it."""
        if not any(limits.notice for limits in self.rules.limits):
            return None
        answer = self.house.send("announced_at(bytes32)", ["bytes32"], [self._digest(proposal)])
        return int.from_bytes(answer) or None

    def pause(self, *, on: bool = True) -> None:
        """Stop changes of every market, or let them through again."""
        self.house.send("pause()" if on else "unpause()", [], [], GUARDIAN if on else GOVERNANCE)

    def rebase(self) -> None:
        """Let governance take what is live as proven. Raises Reverted."""
        live = self.state().values
        self.house.send("rebase(bytes32)", ["bytes32"], [self.market])
        self.version(live)

    def _send(self, function: str, proposal: Proposal) -> None:
        calls = [(self.target, self._setter(proposal.values))]
        message = (*self._head(proposal), calls, bytes(32), bytes(32), [], 0, proposal.deadline)
        signed = SIGNER.sign_recoverable(self._digest(proposal), hasher=None)
        signature = (signed[64] + 27, int.from_bytes(signed[:32]), int.from_bytes(signed[32:64]))
        arguments = encode([MESSAGE, "(uint256,uint256,uint256)[]"], [message, [signature]])
        self.house.call(self.house.steward, FUNCTIONS[function] + arguments)

    def _head(self, proposal: Proposal) -> tuple[Any, ...]:
        ids, values = [change.id for change in proposal.changes], [change.value for change in proposal.changes]
        return self.market, proposal.sequence, bytes.fromhex(proposal.state_hash[2:]), ids, values

    def _digest(self, proposal: Proposal) -> bytes:
        """Return the EIP-712 digest that is signed."""
        market, sequence, state_hash, ids, values = self._head(proposal)
        calls = keccak(encode(["(address,bytes)[]"], [[(self.target, self._setter(proposal.values))]]))
        lists = [keccak(b"".join(word.to_bytes(32) for word in words)) for words in (ids, values)]
        words = [
            TYPES[proposal.kind], market, sequence.to_bytes(32), state_hash, *lists, calls,
            bytes(32), bytes(32), NO_PROBES, bytes(32), proposal.deadline.to_bytes(32),
        ]  # fmt: skip
        return keccak(b"\x19\x01" + self.house.domain + keccak(b"".join(words)))

    def _setter(self, values: tuple[int, ...]) -> bytes:
        padded = [*values, *[0] * (SLOTS - len(values))]
        return SET_ALL + b"".join(value.to_bytes(32) for value in padded)


def in_our_words(refusal: str) -> tuple[Reason, int | None]:
    """Return the guard's reason for what the steward says, with the id of the parameter that it names."""
    matched = re.fullmatch(r"risk_steward: (?:parameter (\d+): |invariant \d+ )?(.*)", refusal)
    if matched is None or matched[2] not in REASONS:
        raise AssertionError(f"the steward says {refusal!r}, which the guard has no word for")
    return REASONS[matched[2]], None if matched[1] is None else int(matched[1])


def _selector(signature: str) -> bytes:
    return keccak(text=signature)[:4]


SET_ALL = _selector("set_all(uint256[6])")
STORE = _selector("store(bytes)")
FUNCTIONS = {
    name: _selector(f"{name}({MESSAGE},(uint256,uint256,uint256)[])") for name in ("apply", "rollback", "announce")
}
TYPES = {kind: keccak(text=name + FIELDS) for kind, name in KINDS.items()}


def _blob(target: str, rules: Rules) -> bytes:
    """Return the policy's records: all parameters are words of one answer, which one setter writes."""
    number = len(rules.limits)
    layout = sum(index << (16 * index) for index in range(number))
    header = (NOBODY, PROBATION, layout, number, 1, 1, len(rules.invariants), NOBODY, 0, bytes(4))
    return b"".join(
        [
            encode([HEADER], [header]),
            *(encode([LIMITS], [row.words()]) for row in rules.limits),
            encode(["(address,bytes)"], [(target, _selector("all()"))]).ljust(256, b"\0"),
            encode(["(address,bytes)"], [(target, SET_ALL)]).ljust(224, b"\0"),
            *(encode(["uint256"] * 4, [rule.a, rule.factor_a, rule.b, rule.factor_b]) for rule in rules.invariants),
        ]
    )


def _parameter(index: int, limits: Limits, value: int, packed: tuple[int, ...]) -> ParameterState:
    memory = packed[index // 4] >> (64 * (index % 4))
    return ParameterState(
        index,
        value,
        value,
        limits.minimum,
        limits.maximum,
        limits.max_step_up,
        limits.max_step_down,
        limits.cooldown,
        changed_at=memory >> 32 & 0xFFFFFFFF,
        relative=limits.relative,
        drift_budget=limits.drift_budget,
        drift_window=limits.drift_window,
        tightening_up=limits.tightening_up,
        notice=limits.notice,
        reversible=limits.reversible,
        coupled=limits.coupled,
        drift_used=memory >> 16 & 0xFFFF,
        drift_before=memory & 0xFFFF,
    )


def _reason(error: str) -> str:
    """Return the text of an Error(string) that pyrevm reports in hex, else what pyrevm says."""
    matched = re.search(r"output: 0x08c379a0([0-9a-f]+)", error)
    return error if matched is None else decode(["string"], bytes.fromhex(matched[1]))[0]
