"""What the tests of `keeper check` share: the set-up that is checked, and how one thing in it is changed."""

from __future__ import annotations

from setups import ADDRESSES, ascending
from trials import MARKET

from chain.policy import Policy
from chain.rollout import Charge, Roles
from chain.steward import market_id
from config.load import DEFAULT_SETTINGS, PACKAGE, load_policies, load_protocol
from keeper.findings import Verdict

BINDING = (PACKAGE / "protocols" / "options_market.toml").read_text()
PROTOCOL = load_protocol("options_market", DEFAULT_SETTINGS)
POLICIES = load_policies(PROTOCOL)
SWAPPED = ('"$spot_shock_up",\n  "$spot_shock_down"', '"$spot_shock_down",\n  "$spot_shock_up"')
"""Exchanges two arguments of the binding's setter."""

SIGNERS = tuple(ascending(*ADDRESSES[1:3]))
ROLES = Roles(SIGNERS, 1, (ADDRESSES[2],), (ADDRESSES[3],), POLICIES.timelock_delay_seconds)


def only_failure(report):
    """Return the one finding that failed."""
    (failure,) = report.failures
    return failure


def line_of(text, piece, nth=0):
    """Return the 1-based line of the `nth` occurrence of a piece of text."""
    return [number for number, line in enumerate(text.split("\n"), start=1) if piece in line][nth]


def notes_of(report):
    """Return the findings to be read, by their checks."""
    return {finding.check: finding for finding in report.findings if finding.verdict is Verdict.NOTE}


def put_policy(bare, deployed, world, govern, **changes):
    """Store a policy, made of a `binding` or `limits` or else as shipped, and let governance put it into force."""
    charge = Charge(MARKET, deployed.markets[MARKET], changes.get("binding", PROTOCOL), POLICIES)
    limits = dict(POLICIES.limits) | changes.get("limits", {})
    policies = POLICIES.model_copy(update={"limits": limits})
    policy = Policy.of(charge.bound, policies, *changes.get("quorum", (1, SIGNERS)), changes.get("executor"))
    receipt = bare.deployer.send(world["registry"], "store", policy.blob())
    stored = world["registry"].events.PolicyStored().process_receipt(receipt)[0]["args"]["policy"]
    govern(world["steward"], "set_policy", market_id(MARKET), stored)
    return stored
