"""Tell where a rollback under the policy in force would do other than an operator expects of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keeper.findings import Finding, noted, passed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chain.policy import Policy
    from config.protocol import Protocol
    from keeper.ground import Source


STEPS = 3
"""Changes of one parameter that fit between the last good version and now, where no cooldown is below the probation."""


def check_rollback(market: str, source: Source, policy: Policy) -> Iterator[Finding]:
    """Yield what is found: nothing here keeps a market from working, so nothing fails."""
    yield _few_steps(market, source.binding, policy)
    yield from _mixed_groups(market, source, policy)


def _few_steps(market: str, binding: Protocol, policy: Policy) -> Finding:
    """What came after the last good version is undone together, and that lies two probations and a change back at most.

    A version is good when for a probation after it was made nothing was rolled back and nothing in it changed again too
    early; with a probation no longer than any cooldown the latter cannot be.
    """
    names = [parameter.name for parameter in binding.parameters]
    cooldown, name = min((limits.cooldown, name) for limits, name in zip(policy.parameters, names, strict=True))
    check = f"a rollback undoes at most {STEPS} steps of a parameter"
    values = f"probation is {policy.probation} s, cooldown of {name} {cooldown} s"
    if policy.probation > cooldown:
        return noted(market, check, f"{values}: more may follow before one is proven, and are undone at once")
    return passed(market, check, f"{values}, the shortest")


def _mixed_groups(market: str, source: Source, policy: Policy) -> Iterator[Finding]:
    for group in dict.fromkeys(limits.coupled for limits in policy.parameters if limits.coupled):
        members = [
            (index, parameter.name, policy.parameters[index].reversible)
            for index, parameter in enumerate(source.binding.parameters)
            if group >> index & 1
        ]
        lasting = [(index, name) for index, name, reversible in members if not reversible]
        others = [name for _, name, reversible in members if reversible]
        if lasting and others:
            names = ", ".join(name for _, name in lasting)
            detail = (
                f"{names} cannot be set back, {', '.join(others)} could: once the former changed none is rolled back"
            )
            where = source.where(("parameters", lasting[0][0], "reversible"))
            yield noted(market, "a group is rolled back as a whole", detail, where)
