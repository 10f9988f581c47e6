"""Check steward and timelock: who governs, who may pause, whose signatures count."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eth_utils.address import to_checksum_address

from chain.roles import DEFAULT_ADMIN_ROLE, GUARDIAN_ROLE, PROPOSER_ROLE, holders
from chain.rpc import Refused
from keeper.findings import Finding, failed, noted, passed

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from chain.roles import Holders
    from keeper.ground import Ground


async def check_steward(ground: Ground) -> list[Finding]:
    """Check what all markets share: who governs, and who may pause."""
    deployment = ground.deployment
    steward, timelock = deployment.steward, deployment.timelock
    try:
        roles = await holders(ground.rpc, steward, deployment.block, ground.block)
        delayed = await holders(ground.rpc, timelock, deployment.block, ground.block)
    except Refused as error:
        roles_found = [noted("steward", "roles", f"the endpoint does not serve the logs that tell: {error}")]
    else:
        roles_found = [
            _only("steward", "the timelock alone governs", roles, timelock),
            _only("timelock", "it alone governs itself", delayed, timelock),
            _as_recorded("timelock", "governance is as recorded", delayed, PROPOSER_ROLE, deployment.governance),
            _as_recorded("steward", "guardians are as recorded", roles, GUARDIAN_ROLE, deployment.guardians),
        ]
    return [*roles_found, await _delay(ground)]


def _only(subject: str, check: str, roles: Holders, expected: str) -> Finding:
    found = roles.get(DEFAULT_ADMIN_ROLE, frozenset())
    if found == {expected}:
        return passed(subject, check, expected)
    return failed(subject, check, f"the default admin role is held by {_list(found)}", _remedy(found, expected))


def _remedy(found: Collection[str], expected: str) -> str:
    if not found:
        return (
            "nobody can grant it any more, so this stays as it is: put up a new steward with `keeper deploy`, and have "
            "the protocol's owner, or its Safe, hand the setters to that one"
        )
    if expected in found:
        return "have every other holder revoke its own with revokeRole"
    return f"have a holder grant it to {expected} with grantRole, and then every holder but that one revoke its own"


def _as_recorded(subject: str, check: str, roles: Holders, role: str, recorded: Sequence[str]) -> Finding:
    """Governance may change these at any time, so a difference is told and stops nothing."""
    found, expected = roles.get(role, frozenset()), {to_checksum_address(one) for one in recorded}
    if found == expected:
        return passed(subject, check, _list(found))
    return noted(subject, check, f"{_list(found)} on chain, {_list(expected)} in the deployment file")


async def _delay(ground: Ground) -> Finding:
    answer = await ground.view(ground.deployment.timelock, "get_minimum_delay()", ["uint256"])
    check = "decisions of governance wait"
    if answer is None or answer[0] == 0:
        remedy = "give it a delay of at least a day: `keeper govern update_delay 86400 --send`"
        return failed("timelock", check, "a decision comes into force at once", remedy)
    return passed("timelock", check, f"{answer[0]} s")


def _list(addresses: Collection[str]) -> str:
    return ", ".join(addresses if isinstance(addresses, list) else sorted(addresses)) or "nobody"
