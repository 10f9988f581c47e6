"""Say what two stewards, their markets and protocols must answer to anything, and keep their books when it is done."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from machine_ledger import (
    ACTIVE,
    INACTIVE,
    MINUTE,
    PAUSED,
    RETIRED,
    Line,
    check_corridor,
    check_invariants,
    check_within,
)
from machine_messages import KINDS, Attempt, Call, Message, Seal, hash_calls
from machine_protocol import Mood, Protocol, Refused, Values, require, settings

if TYPE_CHECKING:
    from machine_policies import Policy

VETOED = 2**256 - 1
LAST_TIME = MINUTE * (2**26 - 1)
"""An announcement is judged no later."""

NO_ROLE = "access_control: account is missing role"
FAILURES = {"high s": "ecdsa: invalid signature `s` value", "zero": "ecdsa: invalid signature"}
"""What is said of signatures that are none at all."""


def check_role(*, held: bool) -> None:
    """Refuse whoever may not. Raises Refused."""
    if not held:
        raise Refused(NO_ROLE)


@dataclass(slots=True)
class Steward:
    """What a steward knows that is no single market's."""

    address: str
    announced: dict[bytes, int] = field(default_factory=dict)

    def veto(self, digest: bytes) -> None:
        """Forbid an announced change. Raises Refused."""
        require(digest in self.announced, "not announced")
        self.announced[digest] = VETOED


@dataclass(slots=True)
class Trial:
    """What a message would do: protocols as they would be, changes to be noted, or the reason why it does nothing."""

    protocols: list[Protocol]
    busy: tuple[int, ...]
    """Stewards that are already at work, and take nothing else meanwhile."""

    attempt: Attempt
    reason: str | None = None
    digest: bytes = b""
    line: Line | None = None
    notice: int = 0
    before: Values = ()
    after: Values = ()
    others: list[Trial] = field(default_factory=list)
    """Messages that were taken on the way."""

    @property
    def function(self) -> str:
        """What the message was for."""
        return self.attempt.function

    @property
    def message(self) -> Message:
        """What was signed."""
        return self.attempt.message


class Model:
    """Everything that there is in one run of the machine."""

    def __init__(self, stewards: list[Steward], lines: list[Line], addresses: list[str], now: int) -> None:
        self.stewards = stewards
        self.lines = lines
        self.addresses = addresses
        self.protocols = [Protocol()] * len(addresses)
        self.used: set[bytes] = set()
        self.now = now

    def live(self, line: Line) -> Values:
        """A market's live values. Raises Refused where a getter fails."""
        return self.protocols[line.policy.protocol].read(line.policy, self.now)

    def judge(self, attempt: Attempt, protocols: list[Protocol] | None = None, busy: tuple[int, ...] = ()) -> Trial:
        """Say what comes of a message, and change nothing."""
        trial = Trial(list(protocols or self.protocols), (*busy, attempt.steward), attempt)
        try:
            require(attempt.steward not in busy, "busy")
            self._submit(attempt, trial)
        except Refused as refused:
            trial.reason = str(refused)
        return trial

    def commit(self, trial: Trial) -> None:
        """Note what a message has done."""
        self.protocols = trial.protocols
        for other in trial.others:
            self._note(other)
        self._note(trial)

    def set_policy(self, line: Line, policy: Policy, stored: str, *, governs: bool = True, known: bool = True) -> None:
        """Put a policy into force. Raises Refused."""
        check_role(held=governs)
        require(known, "policy not stored")
        require(line.status != RETIRED, "market retired")
        values = self.protocols[policy.protocol].read(policy, self.now)
        check_within(policy, values)
        alike = (line.policy.protocol, line.policy.access) == (policy.protocol, policy.access)
        require(line.status != ACTIVE or alike, "reads otherwise")
        line.put(policy, stored, self.now)
        if line.status == PAUSED and not alike:
            line.exhaust(self.now)
            line.advance(values, self.now, proven=True)

    def activate(self, line: Line) -> None:
        """Start a market. Raises Refused."""
        require(line.status == INACTIVE, "market already activated")
        values = self.live(line)
        check_within(line.policy, values)
        line.status = ACTIVE
        line.advance(values, self.now, proven=True)

    def rebase(self, line: Line) -> None:
        """Take the live values for proven. Raises Refused."""
        require(line.runs, "market not active")
        values = self.live(line)
        check_within(line.policy, values)
        line.advance(values, self.now, proven=True)

    def retire(self, line: Line) -> None:
        """End a market. Raises Refused."""
        require(line.runs, "market not active")
        line.status = RETIRED

    def set_paused(self, steward: int, markets: list[bytes], *, paused: bool) -> None:
        """Stop changes of those of these markets that are active, or let all of them through again. Raises Refused."""
        before, after = (ACTIVE, PAUSED) if paused else (PAUSED, ACTIVE)
        lines = [self.find(steward, market) for market in markets]
        known = all(line is not None and line.status != INACTIVE for line in lines)
        require(known or not paused, "market not active")
        fitting = [line for line in lines if line is not None and line.status == before]
        require(paused or len(fitting) == len(set(markets)) == len(markets), "market not in that status")
        for line in fitting:
            line.status = after

    def calls(self, policy: Policy, before: Values, after: Values, order: tuple[int, ...] = ()) -> tuple[Call, ...]:
        """The calls that a steward makes to turn some values into others, in the policy's order or another."""
        return tuple((self.addresses[policy.protocol], data) for data in policy.calldata(before, after, order))

    def poke(self, index: int, numbers: Values) -> None:
        """Change a protocol behind everybody's back."""
        self.protocols[index] = replace(self.protocols[index], numbers=numbers, mood=Mood.HONEST)

    def find(self, steward: int, market: bytes) -> Line | None:
        """Return a steward's market."""
        return next((line for line in self.lines if (line.steward, line.market) == (steward, market)), None)

    def _note(self, trial: Trial) -> None:
        line = trial.line
        if trial.function == "announce":
            self.stewards[line.steward].announced[trial.digest] = self.now
            return
        assert trial.digest not in self.used, "a message worked twice"
        self.used.add(trial.digest)
        if trial.function == "rollback":
            line.restore(self.now)
            return
        moved = [index for index, value in enumerate(trial.after) if value != trial.before[index]]
        corrected = line.corrected_by(moved, self.now)
        for index in moved:
            line.move(index, abs(trial.after[index] - trial.before[index]), self.now)
        line.advance(trial.after, self.now, corrected=corrected)

    def _submit(self, attempt: Attempt, trial: Trial) -> None:
        """Rules in the steward's order."""
        message, steward = attempt.message, self.stewards[attempt.steward]
        impossible = attempt.function == "nonsense" or (attempt.function == "announce" and any(message.order))
        require(not impossible, "unknown action")
        restores = attempt.function == "rollback"
        line = self.find(attempt.steward, message.market)
        require(line is not None and line.runs, "market not active")
        require(restores or line.status != PAUSED, "paused")
        require(self.now <= message.deadline, "deadline passed")
        require(message.sequence == line.sequence + 1, "wrong sequence")
        require(len(message.ids) == len(message.values), "lengths differ")
        policy = line.policy
        trial.digest = replace(message, policy=line.stored).digest(KINDS[attempt.function], steward.address)
        check_seals(policy, trial.digest, attempt.seals)
        trial.line, trial.before = line, trial.protocols[policy.protocol].read(policy, self.now)
        require(line.hash(trial.before) == message.state_hash, "state has changed")
        if restores:
            trial.after = self._restored(line, message, trial.before)
        else:
            announces = attempt.function == "announce"
            self._check_change(trial, message, min(message.deadline, LAST_TIME) if announces else self.now)
            if announces:
                self._check_announcement(steward, trial, message.deadline)
                return
            self._check_notice(steward, trial)
        self._execute(trial, message)

    def _check_change(self, trial: Trial, message: Message, at: int) -> None:
        """Refuse a change that breaks a limit; notes its values and the notice that is due. Raises Refused."""
        line, after = trial.line, list(trial.before)
        named: set[int] = set()
        for index, value in zip(message.ids, message.values, strict=True):
            _check_id(index, named, len(after))
            named.add(index)
            check_corridor(line.policy, index, value)
            if value != trial.before[index]:
                line.check_move(index, trial.before[index], value, at)
                after[index] = value
                limits = line.policy.limits[index]
                if (value > trial.before[index]) == limits.tightening_up:
                    trial.notice = max(trial.notice, limits.notice)
        trial.after = tuple(after)
        require(trial.after != trial.before, "nothing changes")
        coupled = {other for index in named for other in coupled_ids(line.policy, index)}
        require(coupled <= named, f"parameter {min(coupled - named, default=0)}: group incomplete")
        check_invariants(line.policy, trial.after)

    def _restored(self, line: Line, message: Message, live: Values) -> Values:
        """Return the values that a rollback leaves behind. Raises Refused."""
        after = list(live)
        named: set[int] = set()
        for index, value in zip(message.ids, message.values, strict=True):
            _check_id(index, named, len(after))
            named.add(index)
            after[index] = value
        good = line.last_good(self.now).values
        require(line.current.values == live, "changed behind the steward")
        require(good != live, "already at the last good version")
        require(tuple(after) == good, "not the last good version")
        for index, limits in enumerate(line.policy.limits):
            moved = after[index] != live[index]
            require(limits.reversible or not moved, f"parameter {index}: irreversible")
            check_corridor(line.policy, index, after[index])
        check_invariants(line.policy, good)
        return good

    def _check_announcement(self, steward: Steward, trial: Trial, deadline: int) -> None:
        require(trial.digest not in steward.announced, "already announced")
        require(trial.notice != 0, "no notice due")
        require(self.now + trial.notice <= deadline, "notice longer than deadline")

    def _check_notice(self, steward: Steward, trial: Trial) -> None:
        if trial.notice:
            require(trial.digest in steward.announced, "not announced")
            require(steward.announced[trial.digest] != VETOED, "vetoed")
            require(self.now >= steward.announced[trial.digest] + trial.notice, "notice not over")

    def _execute(self, trial: Trial, message: Message) -> None:
        """Make the calls, read back, probe. Raises Refused."""
        policy = trial.line.policy
        order = tuple(message.order) if any(message.order) else tuple(range(len(policy.setters)))
        # Places that are not named hold zeros: they name the first setter.
        order = (*order, *(0,) * len(policy.setters))[: len(policy.setters)]
        require(sorted(order) == list(range(len(policy.setters))), "bad order")
        calls = self.calls(policy, trial.before, trial.after, order)
        first_ids = policy.first_ids(trial.before, trial.after, order)
        for (_, data), first in zip(calls, first_ids, strict=True):
            for index, number in settings(data):
                self._set(trial, policy.protocol, index, number, first)
        require(hash_calls(calls) == message.calls_hash, "other calls than signed")
        found = trial.protocols[policy.protocol].read(policy, self.now)
        for index, value in enumerate(found):
            rule = "moved untouched" if trial.after[index] == trial.before[index] else "value not in place"
            require(value == trial.after[index], f"parameter {index}: {rule}")
        probes = [trial.protocols[policy.protocol].liquidatable(policy, probe) for probe in message.probes]
        require(sum(probes) <= message.max_liquidatable, "too many liquidatable")

    def _set(self, trial: Trial, protocol: int, index: int, number: int, first: int) -> None:
        """Set one number, for a call of which `first` is the first parameter; it may run an errand before."""
        before = trial.protocols[protocol]
        after = before.set(index, number, self.now, first)
        if before.errand is not None:
            other = self.judge(before.errand, trial.protocols, trial.busy)
            if other.reason is None:
                trial.protocols = other.protocols
                trial.others += [*other.others, other]
        trial.protocols[protocol] = replace(after, errand=None)


def check_seals(policy: Policy, digest: bytes, seals: tuple[Seal, ...]) -> None:
    """Refuse a message that too few of a policy's signers have signed. Raises Refused."""
    require(len(seals) >= policy.threshold, "too few signatures")
    last = -1
    for seal in seals:
        if seal.spoilt in FAILURES:
            raise Refused(FAILURES[seal.spoilt])
        genuine = seal.digest == digest and not seal.spoilt
        require(genuine and seal.key in policy.signers, "unknown signer")
        require(seal.key > last, "signers not strictly ascending")
        last = seal.key


def coupled_ids(policy: Policy, index: int) -> set[int]:
    """Return the ids that a change of a parameter has to name."""
    return {other for other in range(len(policy.limits)) if policy.limits[index].coupled >> other & 1}


def _check_id(index: int, named: set[int], count: int) -> None:
    require(index < count, f"parameter {index}: unknown")
    require(not any(other >= index for other in named), f"parameter {index}: id not ascending")
