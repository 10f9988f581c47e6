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


async def check_steward(ground: Ground, own: Sequence[str]) -> list[Finding]:
    """Check what all markets share. `own` are the addresses whose keys this keeper holds."""
    return [*await _governance(ground), *await _quorum(ground, own)]


async def _governance(ground: Ground) -> list[Finding]:
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
    remedy = f"grant the default admin role to {expected}, and have every other holder give it up"
    return failed(subject, check, f"the default admin role is held by {_list(found)}", remedy)


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
        remedy = "have the timelock call update_delay on itself with at least a day"
        return failed("timelock", check, "a decision comes into force at once", remedy)
    return passed("timelock", check, f"{answer[0]} s")


async def _quorum(ground: Ground, own: Sequence[str]) -> list[Finding]:
    deployment = ground.deployment
    answer = await ground.view(deployment.steward, "quorum()", ["uint256", "address[]"])
    if answer is None:
        return [failed("quorum", "signers are named", "none is", "have governance call set_quorum on the steward")]
    threshold, signers = answer[0], [to_checksum_address(signer) for signer in answer[1]]
    recorded = [to_checksum_address(signer) for signer in deployment.signers]
    check, detail = "signers are as recorded", f"{threshold} of {_list(signers)}"
    if (threshold, signers) == (deployment.threshold, recorded):
        known = passed("quorum", check, detail)
    else:
        remedy = "write signers and threshold that are in force into the deployment file"
        known = failed("quorum", check, f"{detail} on chain, {deployment.threshold} of {_list(recorded)} there", remedy)
    return [known, *_own_keys(threshold, signers, own)]


def _own_keys(threshold: int, signers: Sequence[str], own: Sequence[str]) -> list[Finding]:
    if not own:
        return [noted("keys", "own keys sign", "no key is configured: a dry run")]
    found = []
    for address in own:
        if address in signers:
            found.append(passed("keys", "own keys sign", f"{address} is a signer"))
        else:
            remedy = "configure a signer's key, or have governance name this one by set_quorum"
            found.append(failed("keys", "own keys sign", f"{address} is no signer", remedy))
    held = len(set(own) & set(signers))
    check, detail = "own keys are enough", f"{held} of {threshold} signatures"
    if held < threshold:
        found.append(failed("keys", check, detail, f"configure the keys of {threshold - held} more signers"))
    else:
        found.append(passed("keys", check, detail))
    return found


def _list(addresses: Collection[str]) -> str:
    return ", ".join(addresses if isinstance(addresses, list) else sorted(addresses)) or "nobody"
