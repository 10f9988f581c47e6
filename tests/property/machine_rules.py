"""The state machine: everything that anyone may do to two stewards, their markets and protocols."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

from eth_abi import encode
from hypothesis import strategies as st
from hypothesis.stateful import rule
from machine_author import FOR_EVER, Author
from machine_checks import Observed
from machine_flaws import CHANGE, EXECUTION, MOMENT, NUDGE, SEALS, Flaw, missed
from machine_ledger import ACTIVE, INACTIVE, PAUSED, epoch_end
from machine_malformed import FAULTS
from machine_markets import LINES
from machine_messages import SIGNERS, Attempt, words
from machine_model import NO_ROLE
from machine_policies import INITIAL, Policy
from machine_protocol import Mood, Values
from machine_records import policy_address
from machine_variants import TRAPS, VARIANTS, Variant, unchanged
from steward_evm import ANYONE, GOVERNANCE, GUARDIAN, Reverted

if TYPE_CHECKING:
    from machine_ledger import Line

AT = st.sampled_from((0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5, 6))
"""Positions in `LINES`, the latecomer's less often."""

STEWARD = st.integers(0, 1)
FUNCTION = st.sampled_from(("apply", "rollback", "announce"))
ANOTHER = st.sampled_from(("apply", "rollback", "announce", "nonsense"))
SEED = st.integers(0, 2**32 - 1)
SECONDS = st.sampled_from((1, 59, 60, 299, 300, 599, 600, 1_000, 1_200, 3_599, 3_600, 7_200, 86_400, 604_800))


class Machine(Observed):
    """One run, a step at a time."""

    # Messages

    @rule(at=AT, seed=SEED)
    def change(self, at: int, seed: int) -> None:
        """Send a change that should pass."""
        self.send("apply", self._author(seed).draft("apply", self.model.lines[at]).signed())

    @rule(at=AT, seed=SEED)
    def change_again(self, at: int, seed: int) -> None:
        """Let a moment pass, and send another."""
        author = self._author(seed)
        self.wait(author.random.choice((1, 60, 300, 600, 1_000)))
        self.send("apply", author.draft("apply", self.model.lines[at]).signed())

    @rule(at=AT, seed=SEED)
    def announce(self, at: int, seed: int) -> None:
        """Announce a change that mostly needs it."""
        self.send("announce", self._announcement(at, seed))

    @rule(at=AT, fate=st.sampled_from(("due", "early", "vetoed", "late", "twice", "hasty")), seed=SEED)
    def announce_and_apply(self, at: int, fate: str, seed: int) -> None:
        """Announce a change, and apply it: when it is due, a second before, after a veto, or after its deadline."""
        attempt = self._announcement(at, seed, hasty=fate == "hasty")
        notice = self.model.judge(attempt).notice
        if self.send("announce", attempt) is not None:
            return
        if fate == "twice":
            self.send("announce", attempt)
        if fate == "vetoed":
            address = self.model.stewards[attempt.steward].address
            self._veto(attempt.steward, attempt.message.digest("Apply", address))
        left = attempt.message.deadline - self.model.now
        self.wait(left + 1 if fate == "late" and left < FOR_EVER else notice - (fate == "early"))
        self.send("carry out", replace(attempt, function="apply"))

    @rule(at=AT, early=st.booleans(), seed=SEED)
    def rush(self, at: int, early: bool, seed: int) -> None:
        """Move a parameter that has a cooldown, and once more when that is over or a second before."""
        line, author = self.model.lines[at], self._author(seed)
        resting = [index for index, limits in enumerate(line.policy.limits) if limits.cooldown]
        if resting:
            index = author.random.choice(resting)
            if self.send("apply", author.move(line, index, author.farthest(line, index)).signed()) is None:
                self.wait(max(0, line.rests_until(index) - self.model.now - early))
                self.send("rush", author.move(line, index, author.live(line)[index] + 1).signed())

    @rule(at=AT, seed=SEED)
    def drain(self, at: int, seed: int) -> None:
        """Move a parameter as far as its budget lets it go within a window or two, and one further."""
        line, author = self.model.lines[at], self._author(seed)
        budgeted = [index for index, limits in enumerate(line.policy.limits) if limits.drift_window]
        if not budgeted:
            return
        index = author.random.choice(budgeted)
        window = line.policy.limits[index].drift_window
        for _ in range(author.random.randint(1, 4)):
            self.send("apply", author.move(line, index, author.farthest(line, index)).signed())
            left = epoch_end(window, self.model.now) - self.model.now
            self.wait(author.random.choice((0, 0, 1, window // 3, left, left + 1)))
        live = author.live(line)[index]
        low, high = line.room(index, live, self.model.now)
        self.send("drain", author.move(line, index, author.random.choice((max(0, low - 1), high + 1))).signed())

    @rule(at=AT, seed=SEED)
    def restore(self, at: int, seed: int) -> None:
        """Roll back to the last good version, if there is another."""
        self.send("rollback", self._author(seed).draft("rollback", self.model.lines[at]).signed())

    @rule(at=AT, seed=SEED)
    def change_and_restore(self, at: int, seed: int) -> None:
        """Send a change, and roll it back."""
        author = self._author(seed)
        if self.send("apply", author.draft("apply", self.model.lines[at]).signed()) is None:
            self.wait(author.random.choice((0, 1, 59, 599, 600, 3_599)))
            self.send("rollback", author.draft("rollback", self.model.lines[at]).signed())

    @rule(at=AT, function=FUNCTION, flaw=st.sampled_from(SEALS), seed=SEED)
    def sign_wrongly(self, at: int, function: str, flaw: Flaw, seed: int) -> None:
        """Send a message that the wrong ones have signed, or that is not what they have signed."""
        self._err(function, at, flaw, seed)

    @rule(at=AT, function=FUNCTION, flaw=st.sampled_from(MOMENT), seed=SEED)
    def miss_the_moment(self, at: int, function: str, flaw: Flaw, seed: int) -> None:
        """Send a message that is not for this market as it is now."""
        self._err(function, at, flaw, seed)

    @rule(at=AT, function=st.sampled_from(("apply", "apply", "announce")), flaw=st.sampled_from(CHANGE), seed=SEED)
    def overstep(self, at: int, function: str, flaw: Flaw, seed: int) -> None:
        """Send a change that breaks a limit."""
        self._err(function, at, flaw, seed)

    @rule(at=AT, function=st.sampled_from(("apply", "rollback")), flaw=st.sampled_from(EXECUTION), seed=SEED)
    def carry_out_wrongly(self, at: int, function: str, flaw: Flaw, seed: int) -> None:
        """Send a sound change with calls or accounts that are not."""
        self._err(function, at, flaw, seed)

    @rule(at=AT, seed=SEED)
    def restore_wrongly(self, at: int, seed: int) -> None:
        """Send a rollback to something else than the last good version."""
        self._err("rollback", at, missed, seed)

    @rule(seed=SEED, function=ANOTHER, elsewhere=st.booleans())
    def replay(self, seed: int, function: str, elsewhere: bool) -> None:
        """Send an old message again: as what it was or something else, here or to the other steward."""
        if not self.sent:
            return
        attempt = self.sent[-1 - seed % min(40, len(self.sent))]
        steward = 1 - attempt.steward if elsewhere else attempt.steward
        kind = function if seed & 1 else attempt.function
        self.send("replay", replace(attempt, function=kind, steward=steward))

    # Protocols

    @rule(seconds=SECONDS)
    def sleep(self, seconds: int) -> None:
        """Let time pass."""
        self.wait(seconds)

    @rule(protocol=st.integers(0, 3), seed=SEED)
    def poke(self, protocol: int, seed: int) -> None:
        """Change a protocol behind everybody's back."""
        numbers = self._numbers(self._random(seed), protocol)
        self.chain.act(self.chain.protocols[protocol], "poke(uint256[16])", words(numbers))
        self.model.poke(protocol, numbers)
        self.settle("poke", None, None)

    @rule(at=AT, mood=st.sampled_from(Mood), function=st.sampled_from(("apply", "rollback")), seed=SEED)
    def upset(self, at: int, mood: Mood, function: str, seed: int) -> None:
        """Send a message to a protocol in a mood, which mostly passes."""
        line = self.model.lines[at]
        self._be(line.policy.protocol, mood)
        self.send("upset", self._author(seed).draft(function, line).signed())
        if seed % 8:
            self._be(line.policy.protocol, Mood.HONEST)

    @rule(at=AT, to=AT, function=FUNCTION, seed=SEED)
    def reenter(self, at: int, to: int, function: str, seed: int) -> None:
        """Let a protocol pass on a sound message for another one while it is set."""
        line, other, author = self.model.lines[at], self.model.lines[to], self._author(seed)
        protocol = line.policy.protocol
        if other.policy.protocol == protocol:
            return
        errand = author.draft(function, other).signed()
        data = errand.calldata()
        padded = data.ljust(-(-len(data) // 32) * 32, b"\0")
        arguments = words((int(other.address, 16), 64, len(data))) + padded
        self.chain.act(self.chain.protocols[protocol], "send_on_errand(address,bytes)", arguments)
        self.model.protocols[protocol] = replace(self.model.protocols[protocol], errand=errand)
        self.storage = self.chain.storage()
        self.send("reenter", author.draft("apply", line).signed())

    # Governance and guardian

    @rule(at=AT, variant=st.sampled_from((unchanged, *VARIANTS, *TRAPS, None)), seed=SEED)
    def set_policy(self, at: int, variant: Variant | None, seed: int) -> None:
        """Put another policy into force, or one that must not be."""
        line, author = self.model.lines[at], self._author(seed)
        if variant is None:
            stranger = line.market + words((int(self.chain.registry, 16),))
            actual = self.chain.govern(line.steward, "set_policy(bytes32,address)", stranger)
            self.settle("set policy", "risk_steward: policy not stored", actual)
        else:
            base = line.policy if seed % 3 else LINES[at][2]
            live = author.live(replace(line, policy=base))
            self._put(line, variant(author.random, base, live))

    @rule(at=AT, act=st.sampled_from(("activate", "rebase", "hand_on", "retire")), seed=SEED)
    def govern(self, at: int, act: str, seed: int) -> None:
        """Start a market, take its values for proven, change its protocol as the steward; seldom end it."""
        line = self.model.lines[at]
        if act == "hand_on":
            self._hand_on(line, seed)
            return
        if act == "retire" and seed % 4:
            act = "activate"
        idle = [other for other in self.model.lines if other.status == INACTIVE]
        if act == "activate" and idle and seed % 2:
            line = idle[seed % len(idle)]
        expected = self.refusal(lambda: getattr(self.model, act)(line))
        self.settle(act, expected, self.chain.govern(line.steward, f"{act}(bytes32)", line.market))
        if act == "retire":
            self._put(line, line.policy)

    @rule(at=AT, seed=SEED)
    def store_wrongly(self, at: int, seed: int) -> None:
        """Store policies with one thing wrong each."""
        random = self._random(seed)
        for fault in random.sample(FAULTS, 3):
            records = self.chain.records(LINES[at][2])
            reason = fault(random, records)
            try:
                self.chain.store(records.blob())
            except Reverted as error:
                self.settle("store", f"policy_registry: {reason}", str(error))
            else:
                self.settle("store", f"policy_registry: {reason}", None)

    @rule(steward=STEWARD, seed=SEED)
    def veto(self, steward: int, seed: int) -> None:
        """Forbid a change that was announced, or that was not."""
        self._veto(steward, self._random(seed).choice([*self.model.stewards[steward].announced, bytes(32)]))

    @rule(steward=STEWARD, paused=st.sampled_from((True, False, False)), fits=st.booleans(), seed=SEED)
    def stop(self, steward: int, paused: bool, fits: bool, seed: int) -> None:
        """Pause markets, or let their changes through again: such as can be, or any."""
        random, status = self._random(seed), ACTIVE if paused else PAUSED
        lines = [line for line in self.model.lines if line.steward == steward and (line.status == status or not fits)]
        markets = [line.market for line in random.sample(lines, random.randint(0, len(lines)))]
        if not fits and random.random() < 0.3:
            markets.append(random.choice([bytes(32), *markets]))
        expected = self.refusal(lambda: self.model.set_paused(steward, markets, paused=paused))
        act, sender = ("pause", GUARDIAN) if paused else ("unpause", GOVERNANCE)
        arguments = encode(["bytes32[]"], [markets])
        self.settle(act, expected, self.chain.act(self.chain.stewards[steward], f"{act}(bytes32[])", arguments, sender))

    @rule(at=AT, seed=SEED)
    def trespass(self, at: int, seed: int) -> None:
        """Call what only governance or only the guardian may call."""
        line, random = self.model.lines[at], self._random(seed)
        market, someone, role = line.market, words((int(ANYONE, 16),)), bytes(32)
        calls = (
            ("pause(bytes32[])", encode(["bytes32[]"], [[market]]), GOVERNANCE),
            ("unpause(bytes32[])", encode(["bytes32[]"], [[market]]), GUARDIAN),
            ("veto(bytes32)", random.choice([*self.model.stewards[line.steward].announced, bytes(32)]), GOVERNANCE),
            ("set_policy(bytes32,address)", market + words((int(line.stored, 16),)), GUARDIAN),
            *((f"{act}(bytes32)", market, GUARDIAN) for act in ("activate", "rebase", "retire")),
            ("hand_on(address,bytes)", self._nudge_arguments(line, 0, 1), GUARDIAN),
            *((f"{act}(bytes32,address)", role + someone, GUARDIAN) for act in ("grantRole", "revokeRole")),
        )
        signature, arguments, insider = random.choice(calls)
        caller = random.choice((ANYONE, insider, *SIGNERS))
        actual = self.chain.act(line.address, signature, arguments, caller)
        self.settle("trespass", NO_ROLE, actual)

    # Steps of the rules

    def _err(self, function: str, at: int, flaw: Flaw, seed: int) -> None:
        author = self._author(seed)
        draft = author.draft(function, self.model.lines[at])
        flaw(author, draft)
        self.send(function, draft.signed())

    def _author(self, seed: int) -> Author:
        return Author(self.model, self._random(seed))

    def _random(self, seed: int) -> Random:
        """Draw by a seed and the moment: the engine likes to repeat itself, and what was refused can be shrunk away."""
        return Random(f"{seed} at {self.model.now} after {sum(line.sequence for line in self.model.lines)}")

    def _be(self, protocol: int, mood: Mood) -> None:
        self.chain.act(self.chain.protocols[protocol], "be(uint256)", words((mood,)))
        self.model.protocols[protocol] = replace(self.model.protocols[protocol], mood=mood)
        self.storage = self.chain.storage()
        self.check_views()

    def _numbers(self, random: Random, protocol: int) -> Values:
        """Choose what a protocol is changed to: ordinary, a little else than now, or anything."""
        numbers, share = list(self.model.protocols[protocol].numbers), random.random()
        if share < 0.6:
            return tuple(max(0, number + random.randint(-15, 15)) for number in INITIAL)
        place = random.randrange(len(numbers))
        numbers[place] = (
            random.choice((0, 1, 10**6, 2**128)) if share < 0.7 else max(0, numbers[place] + random.choice((-1, 1)))
        )
        return tuple(numbers)

    def _put(self, line: Line, policy: Policy) -> None:
        blob = self.chain.records(policy).blob()
        stored = self.chain.store(blob)
        assert stored == policy_address(self.chain.registry, blob)
        self.storage = self.chain.storage()
        expected = self.refusal(lambda: self.model.set_policy(line, policy, stored))
        arguments = line.market + words((int(stored, 16),))
        actual = self.chain.govern(line.steward, "set_policy(bytes32,address)", arguments)
        self.settle("set policy", expected, actual)

    def _hand_on(self, line: Line, seed: int) -> None:
        random, protocol = self._random(seed), line.policy.protocol
        if seed % 4 == 0:
            arguments = encode(["address", "bytes"], [random.choice(SIGNERS), b""])
            actual = self.chain.govern(line.steward, "hand_on(address,bytes)", arguments)
            self.settle("hand on", "risk_steward: target is no contract", actual)
            return
        numbers = list(self.model.protocols[protocol].numbers)
        place = random.choice(line.policy.order)
        numbers[place] = max(0, INITIAL[place] + random.randint(-15, 15))
        self.model.poke(protocol, tuple(numbers))
        arguments = self._nudge_arguments(line, place, numbers[place])
        self.settle("hand on", None, self.chain.govern(line.steward, "hand_on(address,bytes)", arguments))

    def _nudge_arguments(self, line: Line, place: int, number: int) -> bytes:
        protocol = self.chain.protocols[line.policy.protocol]
        return encode(["address", "bytes"], [protocol, NUDGE + words((place, number))])

    def _announcement(self, at: int, seed: int, *, hasty: bool = False) -> Attempt:
        """Write an announcement, mostly for a market where notice may be due; or one that expires too early for it."""
        lines = [line for line in self.model.lines if any(limits.notice for limits in line.policy.limits)]
        line = lines[at % len(lines)] if lines and seed % 8 else self.model.lines[at]
        draft = self._author(seed).draft("announce", line)
        if hasty:
            draft.fields["deadline"] = self.model.now + self.model.judge(draft.signed()).notice - 1
        return draft.signed()

    def _veto(self, steward: int, digest: bytes) -> None:
        expected = self.refusal(lambda: self.model.stewards[steward].veto(digest))
        self.settle("veto", expected, self.chain.act(self.chain.stewards[steward], "veto(bytes32)", digest, GUARDIAN))
