"""Run the real steward over a protocol of plain numbers in a fast in-process EVM, and say what it says in our words."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from builders import NOW, tune
from coincurve import PrivateKey
from eth_abi import encode
from eth_utils import keccak, to_checksum_address
from eth_utils.abi import function_signature_to_4byte_selector as selector
from pyrevm import EVM, BlockEnv, CfgEnv, Env
from vyper import compile_code

from chain.attestation import Action, Message, attach
from chain.compiler import compile_contract
from chain.policy import NOBODY, HealthRule, ParameterLimits, Policy, SetterRule
from chain.signer import Signature
from chain.steward import PAUSED, announced_call, market_id, parse_view, revert_reason, state_hash, view_call
from keeper.messages import Proposal, ProposalKind, Reason
from keeper.propose import rollback
from models.market import BlockStamp, Invariant, MarketState, ParameterState

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from chain.rpc import Call

NUMBERS = """
# pragma version ~=0.4.3
numbers: uint256[16]

@external
@view
def all() -> uint256[16]:
    return self.numbers

@external
def set_low(numbers: uint256[8]):
    for index: uint256 in range(8):
        self.numbers[index] = numbers[index]

@external
def set_high(numbers: uint256[8]):
    for index: uint256 in range(8):
        self.numbers[8 + index] = numbers[index]
"""
SLOTS, HALF = 16, 8
ALL = selector("all()")
SETTERS = (selector("set_low(uint256[8])"), selector("set_high(uint256[8])"))
CHAIN = 31_337
MINUTE = 60
PROBATION = 50_000
GOVERNANCE, GUARDIAN, ANYONE = ("0x" + byte * 20 for byte in ("a1", "b2", "c3"))
SIGNER = PrivateKey(b"\x07" * 32)
SIGNER_ADDRESS = to_checksum_address(keccak(SIGNER.public_key.format(compressed=False)[1:])[12:])
NO_HASH = "0x" + "00" * 32
ACTIONS: dict[ProposalKind, Action] = {ProposalKind.TUNE: "apply", ProposalKind.ROLLBACK: "rollback"}

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
    "already announced": Reason.ALREADY_ANNOUNCED,
    "no notice due": Reason.NO_NOTICE_DUE,
    "notice longer than deadline": Reason.NOTICE_TOO_LONG,
    "too large": Reason.OUTSIDE_CORRIDOR,
    "changed behind the steward": Reason.CHANGED_BEHIND,
    "not the last good version": Reason.NOT_LAST_GOOD,
    "irreversible": Reason.IRREVERSIBLE,
}
"""What the steward says, without its own name and a parameter's or invariant's number, and the guard's word for it."""


class Reverted(Exception):
    """A call that the EVM took back. The message is the contract's own reason."""


def limits(**changes: Any) -> ParameterLimits:
    """What a policy says of one parameter: wide limits, changed by name."""
    wide = ParameterLimits(
        minimum=0,
        maximum=10_000,
        max_step_up=100,
        max_step_down=100,
        relative=False,
        cooldown=0,
        drift_budget=0,
        drift_window=0,
        tightening_up=True,
        notice=0,
        reversible=True,
        coupled=0,
    )
    return replace(wide, **changes)


@dataclass(frozen=True, slots=True)
class Rules:
    """Everything a market starts with: limits and values in id order, orderings between them."""

    limits: tuple[ParameterLimits, ...] = (limits(),) * 3
    values: tuple[int, ...] = (500, 500, 500)
    invariants: tuple[Invariant, ...] = ()

    def limit(self, index: int, **changes: Any) -> Rules:
        """The rules with some limits of one parameter changed."""
        rows = [replace(row, **changes) if at == index else row for at, row in enumerate(self.limits)]
        return replace(self, limits=tuple(rows))


class Stewards:
    """An EVM with a steward that markets are added to. Time begins with a minute."""

    def __init__(self) -> None:
        self.evm = EVM(env=Env(cfg=CfgEnv(chain_id=CHAIN)), spec_id="CANCUN")
        self.registry = self.evm.deploy(GOVERNANCE, compile_contract("policy_registry").bytecode)
        creation = compile_contract("risk_steward").bytecode
        self.steward = self.evm.deploy(
            GOVERNANCE, creation + encode(["address", "address"], [GOVERNANCE, self.registry])
        )
        self.numbers = bytes.fromhex(compile_code(NUMBERS, output_formats=["bytecode"])["bytecode"][2:])
        self.now = NOW + -NOW % MINUTE
        self.markets = 0
        self.wait(0)
        role = keccak(text="GUARDIAN_ROLE")
        self.send("grantRole(bytes32,address)", ["bytes32", "address"], [role, GUARDIAN])

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

    def ask(self, call: Call) -> bytes:
        """Make a call as the product encodes it."""
        target, data = call
        return self.call(target, bytes.fromhex(data[2:]))

    def send(self, signature: str, types: list[str], values: list[Any], sender: str = GOVERNANCE) -> bytes:
        """Call a function of the steward."""
        return self.call(self.steward, selector(signature) + encode(types, values), sender)

    def add(self, rules: Rules) -> World:
        """Put up a protocol and an active market over it."""
        self.markets += 1
        world = World(self, f"market {self.markets}", self.evm.deploy(GOVERNANCE, self.numbers), rules)
        world.write(rules.values)
        world.put(rules)
        self.send("activate(bytes32)", ["bytes32"], [market_id(world.market)])
        world.version(rules.values)
        return world


@dataclass
class World:
    """One market and its protocol."""

    house: Stewards
    market: str
    target: str
    rules: Rules
    versions: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def write(self, values: tuple[int, ...]) -> None:
        """Set the protocol's numbers behind the steward's back."""
        for call in self._calls(values, range(SLOTS)):
            self.house.ask(call)

    def put(self, rules: Rules) -> None:
        """Put a policy with these limits and invariants into force. Raises Reverted."""
        house = self.house
        blob = _policy(self.target, rules).blob()
        stored = house.call(house.registry, selector("store(bytes)") + encode(["bytes"], [blob]))
        words = [market_id(self.market), "0x" + stored[12:].hex()]
        house.send("set_policy(bytes32,address)", ["bytes32", "address"], words)
        self.rules = rules

    def version(self, values: tuple[int, ...]) -> None:
        """Remember the values of a version by the hash that the steward keeps of them."""
        self.versions[state_hash(self.house.steward, CHAIN, self.market, values)] = values

    def state(self) -> MarketState:
        """What the guard decides on, read from the steward."""
        view = parse_view(self.house.ask(view_call(self.house.steward, self.market)))
        rows = zip(view.values, self.rules.limits, view.remembered, strict=True)
        return MarketState(
            market=self.market,
            block=BlockStamp(0, "", self.house.now),
            sequence=view.sequence,
            state_hash=view.state_hash,
            paused=view.status == PAUSED,
            parameters=tuple(
                ParameterState(id=index, value=value, effective=value, **asdict(row), **asdict(remembered))
                for index, (value, row, remembered) in enumerate(rows)
            ),
            last_good=self.versions[view.good_hash],
            oracle_price=1.0,
            oracle_updated_at=self.house.now,
            accounts=(),
            invariants=self.rules.invariants,
            policy=view.policy,
            version_hash=view.version_hash,
        )

    def change(self, *changes: tuple[int, int], state: MarketState | None = None, **fields: Any) -> Proposal:
        """Return a proposal of (id, value) pairs that is right for the present state, except for fields by name."""
        live = state or self.state()
        bound = {"policy": live.policy, "sequence": live.sequence + 1, "state_hash": live.state_hash}
        right = bound | {"current": live.values, "deadline": self.house.now + 10**6}
        return tune(*changes, **right | fields)

    def undo(self, state: MarketState | None = None, **fields: Any) -> Proposal:
        """Return the rollback to the last good version, except for fields by name."""
        return replace(rollback(state or self.state(), "a test", "0x00", self.house.now, 10**6), **fields)

    def submit(self, proposal: Proposal) -> None:
        """Sign and carry out a proposal. Raises Reverted."""
        self._send(ACTIONS[proposal.kind], proposal)
        self.version(proposal.values)

    def refusal(self, proposal: Proposal, action: Action | None = None) -> str | None:
        """Return why the steward refuses a proposal, None if it takes it; either way nothing stays of it."""
        before = self.house.evm.snapshot()
        try:
            self._send(action or ACTIONS[proposal.kind], proposal)
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
        self.house.send("veto(bytes32)", ["bytes32"], [bytes.fromhex(self._digest(proposal)[2:])], GUARDIAN)

    def announced_at(self, proposal: Proposal) -> int | None:
        """Return when a proposal was announced, as the guard wants it."""
        if not any(row.notice for row in self.rules.limits):
            return None
        return int.from_bytes(self.house.ask(announced_call(self.house.steward, self._digest(proposal)))) or None

    def pause(self, *, on: bool = True) -> None:
        """Stop changes of the market, or let them through again."""
        name, sender = ("pause", GUARDIAN) if on else ("unpause", GOVERNANCE)
        self.house.send(f"{name}(bytes32[])", ["bytes32[]"], [[market_id(self.market)]], sender)

    def rebase(self) -> None:
        """Let governance take what is live as proven. Raises Reverted."""
        live = self.state().values
        self.house.send("rebase(bytes32)", ["bytes32"], [market_id(self.market)])
        self.version(live)

    def _send(self, action: Action, proposal: Proposal) -> None:
        message = self._message(proposal)
        digest = message.digest(action, self.house.steward, CHAIN)
        signed = SIGNER.sign_recoverable(bytes.fromhex(digest[2:]), hasher=None)
        signature = Signature(int.from_bytes(signed[:32]), signed[64] << 255 | int.from_bytes(signed[32:64]))
        self.house.ask((self.house.steward, attach(message.calldata(action), [signature])))

    def _digest(self, proposal: Proposal) -> str:
        return self._message(proposal).digest(ACTIONS[proposal.kind], self.house.steward, CHAIN)

    def _message(self, proposal: Proposal) -> Message:
        after = proposal.values
        changed = [index for index, value in enumerate(after) if value != proposal.current[index]]
        return Message(
            market=self.market,
            policy=proposal.policy,
            sequence=proposal.sequence,
            state_hash=proposal.state_hash,
            changes=tuple((change.id, change.value) for change in proposal.changes),
            calls=tuple(self._calls(after, changed)),
            model_hash=NO_HASH,
            input_root=NO_HASH,
            probes=(),
            max_liquidatable=0,
            deadline=proposal.deadline,
        )

    def _calls(self, values: Sequence[int], changed: Iterable[int]) -> list[Call]:
        """Return the calls that write some slots: of the lower half, of the upper half, or of both."""
        words = b"".join(value.to_bytes(32) for value in values).ljust(32 * SLOTS, b"\0")
        halves = sorted({index // HALF for index in changed})
        parts = {half: words[32 * HALF * half : 32 * HALF * (half + 1)] for half in halves}
        return [(self.target, "0x" + (SETTERS[half] + part).hex()) for half, part in parts.items()]


def in_our_words(refusal: str) -> tuple[Reason, int | None]:
    """Return the guard's reason for what the steward says, with the id of the parameter that it names."""
    matched = re.fullmatch(r"risk_steward: (?:parameter (\d+): |invariant \d+ )?(.*)", refusal)
    if matched is None or matched[2] not in REASONS:
        raise AssertionError(f"the steward says {refusal!r}, which the guard has no word for")
    return REASONS[matched[2]], None if matched[1] is None else int(matched[1])


def _policy(target: str, rules: Rules) -> Policy:
    """Return a policy whose parameters are words of one answer, which two setters write half each."""
    number = len(rules.limits)
    words = [(index, 0) if index < number else (None, 0) for index in range(SLOTS)]
    halves = [tuple(words[:HALF]), tuple(words[HALF:])][: 1 + (number > HALF)]
    return Policy(
        executor=NOBODY,
        probation=PROBATION,
        threshold=1,
        signers=(SIGNER_ADDRESS,),
        health=HealthRule(NOBODY, bytes(4), 0, 0),
        positions=tuple((0, index) for index in range(number)),
        parameters=rules.limits,
        reads=((target, ALL),),
        setters=tuple(SetterRule(target, name, half) for name, half in zip(SETTERS, halves, strict=False)),
        invariants=tuple((rule.a, rule.factor_a, rule.b, rule.factor_b) for rule in rules.invariants),
    )


def _reason(error: str) -> str:
    """Return the text of an Error(string) that pyrevm reports in hex, else what pyrevm says."""
    matched = re.search(r"output: (0x08c379a0[0-9a-f]+)", error)
    return error if matched is None else revert_reason(matched[1])
