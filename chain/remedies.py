"""Say what to do about a revert of the steward, its timelock or their roles, by the words in which it is told."""

from __future__ import annotations

REMEDIES = {
    "access_control: account is missing role": "this takes a key with the role: a guardian pauses and vetoes, a "
    "proposer schedules and an executor executes (guardians and governance in the deployment file had them at first)",
    "risk_steward: already announced": "wait until its notice is over, or have a guardian veto it",
    "risk_steward: already at the last good version": "nothing is to be restored: the live values are that version",
    "risk_steward: bad order": "the call is malformed: take the one that the keeper shows",
    "risk_steward: call failed": "the target refuses the call: mend the target or the calldata",
    "risk_steward: changed behind the steward": "governance takes what stands now as a version: keeper govern rebase",
    "risk_steward: deadline passed": "the next tick signs anew; if it recurs, raise propose.deadline_seconds",
    "risk_steward: health view failed": "an account's health cannot be read: `keeper check` names it",
    "risk_steward: lengths differ": "the call is malformed: take the one that the keeper shows",
    "risk_steward: market already activated": "activate is for a new market: after a change past the steward, rebase",
    "risk_steward: market not active": "see `keeper check`: it was never activated, or is retired",
    "risk_steward: market not in that status": "unpause takes paused markets alone: `keeper status` says which are, "
    "and --force schedules it for a pause that is yet to come",
    "risk_steward: market retired": "a retired market never comes back: deploy it anew",
    "risk_steward: no health view": "the binding names none: mend [health], and set a policy made of it",
    "risk_steward: no notice due": "it need not be announced: the next tick makes it",
    "risk_steward: no policy": "put a policy into force first: keeper policy, then keeper govern set_policy",
    "risk_steward: not announced": "a digest is what `keeper once` and the Announced log name, not the journal's own "
    "`digest`; what waits no more cannot be vetoed and need not be",
    "risk_steward: not the last good version": "the last good version has changed: the next tick decides anew",
    "risk_steward: nothing changes": "the live values are these already",
    "risk_steward: notice longer than deadline": "raise propose.deadline_seconds above the notice",
    "risk_steward: notice not over": "wait until the time that the announcement gives",
    "risk_steward: other calls than signed": "the policy makes other calls than the binding: see `keeper check`",
    "risk_steward: paused": "governance lifts it through the timelock: keeper govern unpause MARKET --send",
    "risk_steward: policy not stored": "give the address that `keeper policy` printed, stored in this registry",
    "risk_steward: reads otherwise": "a policy with other getters takes a paused market: keeper pause, then set_policy",
    "risk_steward: signers not strictly ascending": "the signatures are not in the order of their signers' addresses",
    "risk_steward: state has changed": "another change came first: the next tick decides anew",
    "risk_steward: target is no contract": "mend the address: no contract stands there",
    "risk_steward: too few signatures": "the policy asks for more signatures than were given: see `keeper check`",
    "risk_steward: too many liquidatable": "it would liquidate more accounts than was signed: the next tick decides",
    "risk_steward: unknown action": "the call is malformed: take the one that the keeper shows",
    "risk_steward: unknown signer": "the key is no signer of the policy in force: see `keeper check`",
    "risk_steward: vetoed": "it can never be made: ask the guardian why; the keeper proposes another later",
    "risk_steward: wrong sequence": "another version came first: the next tick decides anew",
    "timelock_controller: insufficient delay": "the delay was raised meanwhile: ask for the call again",
    "timelock_controller: operation already scheduled": "it waits or is done; --salt N repeats the decision",
    "timelock_controller: operation cannot be cancelled": "only what is scheduled and not executed can be cancelled",
    "timelock_controller: operation is not ready": "wait for the delay; `keeper govern` without --send says until when",
    "timelock_controller: underlying transaction reverted": "the steward refuses the call now: `keeper govern` without "
    "--send says why",
}
"""What to do, by a contract's own words."""


def remedy_of(text: str) -> str | None:
    """Return what to do about the revert that a text tells of; None where it tells of none that is known."""
    return next((REMEDIES[words] for words in sorted(REMEDIES, key=len, reverse=True) if words in text), None)


def with_remedy(text: str) -> str:
    """Return a text with the remedy on a line of its own, where there is one."""
    remedy = remedy_of(text)
    return text if remedy is None else f"{text}\nwhat to do: {remedy}"
