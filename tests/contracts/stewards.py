"""A steward over four knobs, and everyday acts on it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boa
from attestations import Domain, Message, Signature
from eth_abi import encode
from eth_utils import keccak
from policies import Parameter, Policy, selector

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

TARGETS = Path(__file__).parent / "targets"
INITIAL = (100, 100, 500, 600)
COOLDOWN = 3_600
PAIR = Parameter(minimum=50, maximum=200, max_step_up=20, max_step_down=10, cooldown=COOLDOWN, coupled=0b11)
SINGLE = Parameter(cooldown=COOLDOWN)
TURN = selector("turn(uint256,uint256)")


@dataclass(frozen=True, slots=True)
class Guard:
    """A steward with two signatures of three, over knobs 100, 100, 500 and 600.

    The first two are coupled and read one by one, the others are read together; the third never exceeds the fourth.
    """

    steward: Any
    registry: Any
    knobs: Any
    governance: str
    guardian: str
    signers: tuple[LocalAccount, ...]
    threshold: int = 2
    market: bytes = keccak(b"knobs")

    @property
    def domain(self) -> Domain:
        """Where signatures for this steward are good."""
        return Domain(self.steward.address, boa.env.evm.patch.chain_id)

    @property
    def policy(self) -> Policy:
        """The policy that the market starts with."""
        target = str(self.knobs.address)
        one = [(target, selector("knob(uint256)") + encode(["uint256"], [index])) for index in range(2)]
        return Policy(
            parameters=(PAIR, PAIR, SINGLE, SINGLE),
            positions=((0, 0), (1, 0), (2, 2), (2, 3)),
            reads=(*one, (target, selector("all_knobs()"))),
            calls=((target, TURN), (target, selector("turn_all(uint256[4])"))),
            invariants=((2, 1, 3, 1),),
        )

    def put(self, policy: Policy, market: bytes | None = None) -> str:
        """Store a policy and put it into force; returns where it stands."""
        stored = self.registry.store(policy.blob())
        self.steward.set_policy(market or self.market, stored, sender=self.governance)
        return stored

    def limit(self, limits: dict[int, dict[str, int]], **changes: Any) -> None:
        """Put the first policy into force again with some limits, or whole fields, changed."""
        self.put(replace(self.policy, **changes).limit(limits))

    def activate(self, market: bytes, policy: Policy) -> None:
        """Start another market."""
        self.put(policy, market)
        self.steward.activate(market, sender=self.governance)

    def state(self, market: bytes | None = None) -> Any:
        """What a keeper reads."""
        return self.steward.market_state(market or self.market)

    def call(self, index: int, to: int, signature: str = "turn(uint256,uint256)") -> tuple[str, bytes]:
        """A call that turns one knob."""
        return str(self.knobs.address), selector(signature) + encode(["uint256", "uint256"], [index, to])

    def message(self, changes: Any, **overrides: Any) -> Message:
        """A message that is right for the present state, except for overrides by field."""
        pairs = list(changes.items()) if isinstance(changes, dict) else changes
        market = overrides.get("market", self.market)
        if not {"sequence", "state_hash"} <= overrides.keys():
            state = self.state(market)
            overrides = {"sequence": state.sequence + 1, "state_hash": state.state_hash} | overrides
        fields = {
            "market": market,
            "ids": tuple(index for index, _ in pairs),
            "values": tuple(to for _, to in pairs),
            "calls": tuple(self.call(index, to) for index, to in pairs),
            "model_hash": b"\x06" * 32,
            "input_root": b"\x07" * 32,
            "probes": (),
            "max_liquidatable": 0,
            "deadline": boa.env.timestamp,
        }
        return Message(**fields | overrides)

    def sign(self, message: Message, kind: str = "Apply") -> list[Signature]:
        """As many signatures as it takes."""
        return self.domain.sign(message, self.signers[: self.threshold], kind)

    def send(self, kind: str, message: Message, signatures: list[Signature] | None = None) -> None:
        """Send a signed message as anyone."""
        signed = "Rollback" if kind == "rollback" else "Apply"
        getattr(self.steward, kind)(message.words(), self.sign(message, signed) if signatures is None else signatures)

    def apply(self, changes: Any, **overrides: Any) -> None:
        """Sign and apply changes, a mapping or a list of pairs."""
        self.send("apply", self.message(changes, **overrides))

    def rollback(self, changes: Any, **overrides: Any) -> None:
        """Sign a rollback that turns the knobs to the values given, and send it."""
        self.send("rollback", self.message(changes, **overrides))


def load_target(name: str, *arguments: Any) -> Any:
    """Deploy a protocol of `targets/`."""
    return boa.load(str(TARGETS / f"{name}.vy"), *arguments)


def make_guard(deployers: dict[str, Any], signers: tuple[LocalAccount, ...], governance: str) -> Guard:
    """Deploy a steward, its registry and knobs, name the signers and the guardian, and activate the market."""
    registry = deployers["policy_registry"].deploy()
    steward = deployers["risk_steward"].deploy(governance, registry.address)
    guard = Guard(steward, registry, load_target("knobs", INITIAL), governance, boa.env.generate_address(), signers)
    with boa.env.prank(governance):
        guard.steward.grantRole(guard.steward.GUARDIAN_ROLE(), guard.guardian)
        guard.steward.set_quorum(guard.threshold, [signer.address for signer in signers])
    guard.activate(guard.market, guard.policy)
    return guard
