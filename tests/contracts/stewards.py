"""A steward over four knobs, and everyday acts on it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boa
from attestations import Domain, Message, Signature
from eth_abi import encode
from eth_utils import keccak, to_checksum_address
from policies import Parameter, Policy, Setter, Value, selector

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eth_account.signers.local import LocalAccount

TARGETS = Path(__file__).parent / "targets"
INITIAL = (100, 100, 500, 600)
MINUTE = 60
COOLDOWN = 3_600
PAIR = Parameter(minimum=50, maximum=200, max_step_up=20, max_step_down=10, cooldown=COOLDOWN, coupled=0b11)
SINGLE = Parameter(cooldown=COOLDOWN)
TURN, TURN_ALL = "turn(uint256,uint256)", "turn_all(uint256[4])"
WIDE = b"wide".ljust(32)
ACTIONS = {"apply": 0, "announce": 1, "rollback": 2}
INACTIVE, ACTIVE, RETIRED, PAUSED = range(4)


@dataclass(frozen=True, slots=True)
class Guard:
    """A steward with two signatures of three, over knobs 100, 100, 500 and 600.

    The first two are coupled and read one by one, the others are read together; the third never exceeds the fourth.
    Each has a setter of its own. `stored` has what was stored, by address.
    """

    steward: Any
    registry: Any
    knobs: Any
    governance: str
    guardian: str
    signers: tuple[LocalAccount, ...]
    threshold: int = 2
    market: bytes = keccak(b"knobs")
    stored: dict[str, Policy] = field(default_factory=dict)

    @property
    def domain(self) -> Domain:
        """Where signatures for this steward are good."""
        return Domain(self.steward.address, boa.env.evm.patch.chain_id)

    @property
    def quorum(self) -> tuple[int, tuple[str, ...]]:
        """How many of whom sign."""
        return self.threshold, tuple(signer.address for signer in self.signers)

    @property
    def policy(self) -> Policy:
        """The policy that the market starts with."""
        target = str(self.knobs.address)
        one = [(target, selector("knob(uint256)") + encode(["uint256"], [index])) for index in range(2)]
        return Policy(
            parameters=(PAIR, PAIR, SINGLE, SINGLE),
            positions=((0, 0), (1, 0), (2, 2), (2, 3)),
            reads=(*one, (target, selector("all_knobs()"))),
            setters=tuple(Setter(target, TURN, (index, Value(index))) for index in range(4)),
            quorum=self.quorum,
            invariants=((2, 1, 3, 1),),
        )

    @property
    def all_at_once(self) -> Setter:
        """A setter of all four knobs."""
        return Setter(str(self.knobs.address), TURN_ALL, tuple(Value(id_) for id_ in range(4)))

    def store(self, policy: Policy) -> str:
        """Store a policy; returns where it stands."""
        stored = self.registry.store(policy.blob())
        self.stored[stored] = policy
        return stored

    def put(self, policy: Policy, market: bytes | None = None) -> None:
        """Store a policy and put it into force."""
        self.steward.set_policy(market or self.market, self.store(policy), sender=self.governance)

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

    def call(self, index: int, to: int, signature: str = TURN) -> tuple[str, bytes]:
        """A call that turns one knob."""
        return str(self.knobs.address), selector(signature) + encode(["uint256", "uint256"], [index, to])

    def message(self, changes: Any, **overrides: Any) -> Message:
        """A message that is right for the present state, except for overrides by field.

        Where sequence and state hash are given there need be no state, and the message has no calls but given ones.
        """
        pairs = list(changes.items()) if isinstance(changes, dict) else changes
        market = overrides.get("market", self.market)
        if not {"sequence", "state_hash"} <= overrides.keys():
            state = self.state(market)
            after = [dict(pairs).get(id_, value) for id_, value in enumerate(state.values)]
            calls = self.stored[state.policy].calls(state.values, after)
            present = {"sequence": state.sequence + 1, "state_hash": state.state_hash, "calls": calls}
            overrides = present | overrides
        fields = {
            "market": market,
            "ids": tuple(index for index, _ in pairs),
            "values": tuple(to for _, to in pairs),
            "calls": (),
            "model_hash": b"\x06" * 32,
            "input_root": b"\x07" * 32,
            "probes": (),
            "max_liquidatable": 0,
            "deadline": boa.env.timestamp,
            "policy": str(self.steward.policy_of(market)),
        }
        return Message(**fields | overrides)

    def sign(self, message: Message, kind: str = "Apply") -> list[Signature]:
        """As many signatures as it takes."""
        return self.domain.sign(message, self.signers[: self.threshold], kind)

    def submission(
        self, kind: str, message: Message, signatures: list[Signature] | None = None, order: Sequence[int] = ()
    ) -> tuple[int, tuple[Any, ...], list[Signature]]:
        """Arguments of the steward's `submit`; an order names setters, the first to be called first."""
        signed = "Rollback" if kind == "rollback" else "Apply"
        action = ACTIONS[kind] + sum(setter << (4 + 4 * place) for place, setter in enumerate(order))
        return action, message.words(), self.sign(message, signed) if signatures is None else signatures

    def send(
        self, kind: str, message: Message, signatures: list[Signature] | None = None, order: Sequence[int] = ()
    ) -> None:
        """Send a signed message as anyone."""
        self.steward.submit(*self.submission(kind, message, signatures, order))

    def apply(self, changes: Any, **overrides: Any) -> None:
        """Sign and apply changes, a mapping or a list of pairs."""
        self.send("apply", self.message(changes, **overrides))

    def rollback(self, changes: Any, **overrides: Any) -> None:
        """Sign a rollback that turns the knobs to the values given, and send it."""
        self.send("rollback", self.message(changes, **overrides))

    def made(self) -> list[tuple[str, bytes]]:
        """The calls, other than reads, that the steward's last transaction made, in their order."""
        children = [child.msg for child in self.steward._computation.children]
        return [(to_checksum_address(item.to), item.data_as_bytes) for item in children if not item.is_static]


def memory(states: Sequence[int]) -> list[tuple[int, int, int]]:
    """Of each of sixteen parameters: minute of the last change, shares used in that epoch and in the one before."""
    parts = [(states[id_ // 6] >> (42 * (id_ % 6))) & (2**42 - 1) for id_ in range(16)]
    assert all(word >> (6 * 42) == 0 for word in states)
    return [(part >> 16, (part >> 8) & 0xFF, part & 0xFF) for part in parts]


def load_target(name: str, *arguments: Any) -> Any:
    """Deploy a protocol of `targets/`."""
    return boa.load(str(TARGETS / f"{name}.vy"), *arguments)


def make_guard(deployers: dict[str, Any], signers: tuple[LocalAccount, ...], governance: str) -> Guard:
    """Deploy a steward, its registry and knobs, name the guardian, and activate the market as a minute begins."""
    boa.env.timestamp += -boa.env.timestamp % MINUTE
    registry = deployers["policy_registry"].deploy()
    steward = deployers["risk_steward"].deploy(governance, registry.address)
    guard = Guard(steward, registry, load_target("knobs", INITIAL), governance, boa.env.generate_address(), signers)
    steward.grantRole(steward.GUARDIAN_ROLE(), guard.guardian, sender=governance)
    guard.activate(guard.market, guard.policy)
    return guard
