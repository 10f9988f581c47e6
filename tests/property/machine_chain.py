"""An in-process chain with two stewards, four moody protocols and a Safe: what it answers, and all that it stores."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from eth_abi import encode
from eth_utils import keccak
from machine_ledger import Line
from machine_markets import LATECOMER, LINES
from machine_messages import words
from machine_model import Model, Steward
from machine_policies import INITIAL, Policy, selector
from machine_protocol import Refused, Values
from machine_records import Records, records
from machine_safe import deploy_safe
from steward_evm import ANYONE, GOVERNANCE, GUARDIAN, NOBODY, Reverted, Stewards
from vyper import compile_code

from chain.compiler import compile_contract

if TYPE_CHECKING:
    from machine_messages import Attempt

TARGET = Path(__file__).parent / "machine_target.vy"
GUARDIAN_ROLE = keccak(text="GUARDIAN_ROLE")
Slot = tuple[str, int]


class View(NamedTuple):
    """What a steward says of a market; addresses and hashes as numbers, and what it remembers as it is stored."""

    status: int
    policy: int
    sequence: int
    applied_at: int
    version_hash: int
    good_hash: int
    good_at: int
    state_hash: int
    values: Values
    memory: Values


class Chain:
    """The chain as every run of the machine finds it."""

    def __init__(self) -> None:
        self.house = Stewards()
        self.evm, self.start = self.house.evm, self.house.now
        self.registry = self.house.registry
        self.stewards = (self.house.steward, self._second_steward())
        code = compile_code(TARGET.read_text(), output_formats=["bytecode"])["bytecode"]
        self.protocols = tuple(self.evm.deploy(GOVERNANCE, bytes.fromhex(code[2:])) for _ in range(4))
        self.safe = deploy_safe(self.house, self.stewards[0])
        for protocol in self.protocols:
            self.act(protocol, "poke(uint256[16])", words(INITIAL))
            for setter in {*self.stewards, self.safe}:
                self.act(protocol, "allow(address)", words((int(setter, 16),)))
        self.stored = tuple(self._start(*line) for line in LINES)
        self.slots: list[Slot] = []
        self.discover()
        self.first_slots = tuple(self.slots)
        self.checkpoint = self.evm.snapshot()

    def begin(self) -> Model:
        """Undo everything since the start, and return a model of it."""
        self.evm.revert(self.checkpoint)
        self.checkpoint = self.evm.snapshot()
        self.slots = list(self.first_slots)
        self.house.wait(self.start - self.house.now)
        lines = [
            Line(steward, self.stewards[steward], market, policy, stored)
            for (steward, market, policy), stored in zip(LINES, self.stored, strict=True)
        ]
        stewards = [Steward(address) for address in self.stewards]
        model = Model(stewards, lines, list(self.protocols), self.start)
        for line in lines[:-1]:
            model.activate(line)
        return model

    def act(self, target: str, signature: str, arguments: bytes = b"", sender: str = ANYONE) -> str | None:
        """Call a function; returns the reason why it reverts, or nothing."""
        return self.submit(target, selector(signature) + arguments, sender)

    def submit(self, target: str, data: bytes, sender: str = ANYONE) -> str | None:
        """Send a transaction; returns the reason why it reverts, or nothing."""
        try:
            self.house.call(target, data, sender)
        except Reverted as error:
            return str(error)
        finally:
            self.evm.reset_transient_storage()
        return None

    def govern(self, steward: int, signature: str, arguments: bytes) -> str | None:
        """Call a steward's function as governance."""
        return self.act(self.stewards[steward], signature, arguments, GOVERNANCE)

    def attempt(self, attempt: Attempt) -> str | None:
        """Send a message as anyone."""
        return self.submit(self.stewards[attempt.steward], attempt.calldata())

    def records(self, policy: Policy) -> Records:
        """A policy's records with the addresses of this chain."""
        executor = self.safe if policy.through_safe else NOBODY
        return records(policy, self.protocols[policy.protocol], executor)

    def store(self, blob: bytes) -> str:
        """Store a policy; returns where it stands. Raises Reverted."""
        return "0x" + self.house.call(self.registry, selector("store(bytes)") + encode(["bytes"], [blob]))[12:].hex()

    def view(self, line: Line) -> View | str:
        """What a steward says of a market, or why it does not."""
        try:
            answer = self.house.call(line.address, selector("market_state(bytes32)") + line.market)
        except Reverted as error:
            return str(error)
        found = [int.from_bytes(answer[start : start + 32]) for start in range(32, len(answer), 32)]
        return View(*found[:8], tuple(found[13:]), tuple(found[9:12]))

    def last_log(self) -> tuple[list[bytes], bytes] | None:
        """Topics and data of the last event of the last transaction."""
        logs = self.evm.result.logs
        if not logs:
            return None
        topics, data = logs[-1].data
        return topics, data

    def announced_at(self, steward: int, digest: bytes) -> int:
        """When a steward noted an announcement, 0 for never."""
        return int.from_bytes(self.house.call(self.stewards[steward], selector("announced_at(bytes32)") + digest))

    def storage(self) -> tuple[int, ...]:
        """Every known slot, and the number of contracts that each steward and the registry have made."""
        made = [self.evm.basic(address).nonce for address in (*self.stewards, self.registry)]
        return (*made, *(self.evm.storage(address, slot) for address, slot in self.slots))

    def discover(self) -> None:
        """Learn of slots that were touched for the first time."""
        known = set(self.slots)
        state = self.evm.journal_str.partition("transient_storage: {")[0].split(", storage: {")
        for account, following in pairwise(state):
            end = account.rfind(": Account {")
            address = account[end - 42 : end]
            for entry in following.partition("}, status:")[0].split("}, "):
                slot = entry.partition(":")[0]
                if slot.isdigit() and (address, int(slot)) not in known:
                    self.slots.append((address, int(slot)))

    def _second_steward(self) -> str:
        creation = compile_contract("risk_steward").bytecode
        address = self.evm.deploy(GOVERNANCE, creation + words((int(GOVERNANCE, 16), int(self.registry, 16))))
        guardian = GUARDIAN_ROLE + words((int(GUARDIAN, 16),))
        self.act(address, "grantRole(bytes32,address)", guardian, GOVERNANCE)
        return address

    def _start(self, steward: int, market: bytes, policy: Policy) -> str:
        stored = self.store(self.records(policy).blob())
        self.govern(steward, "set_policy(bytes32,address)", market + words((int(stored, 16),)))
        if policy is not LATECOMER:
            self.govern(steward, "activate(bytes32)", market)
        return stored


def expected_view(model: Model, line: Line) -> View | str:
    """What `Chain.view` has to say."""
    try:
        live = model.live(line)
    except Refused as refused:
        return str(refused)
    head = (line.status, int(line.stored, 16), line.sequence)
    state_hash = int.from_bytes(line.hash(live))
    if not line.versions:
        return View(*head, 0, 0, 0, 0, state_hash, live, line.memory())
    current, good = line.current, line.last_good(model.now)
    left, best = (int.from_bytes(line.hash(version.values)) for version in (current, good))
    return View(*head, current.at, left, best, good.at, state_hash, live, line.memory())


@cache
def the_chain() -> Chain:
    """The one chain of this process."""
    return Chain()
