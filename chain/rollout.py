"""Put up steward and timelock over markets, step by step, and leave the timelock as the only governance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eth_utils.crypto import keccak
from web3 import Web3
from web3.logs import DISCARD

from chain.deploy import DeployError
from chain.policy import Policy
from chain.protocol import BoundProtocol
from chain.steward import ACTIVE, market_id
from config.deployment import Deployment, MarketContracts, MarketDeployment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from web3.contract import Contract

    from chain.deploy import Steps
    from config.deployment import Policies
    from config.protocol import Protocol

DEFAULT_ADMIN_ROLE = b"\0" * 32
GUARDIAN_ROLE = keccak(text="GUARDIAN_ROLE")
OWN = ("policy_registry", "risk_steward", "timelock")
"""What we put up beside a protocol, in this order, by the names of the sources."""


@dataclass(frozen=True, slots=True)
class Roles:
    """Who will hold what: addresses, and how long governance's decisions are readable before they come into force."""

    signers: tuple[str, ...]
    threshold: int
    guardians: tuple[str, ...]
    governance: tuple[str, ...]
    delay_seconds: int

    @classmethod
    def held_by(cls, account: str, policies: Mapping[str, Policies]) -> Roles:
        """Give every role to one account: for a trial alone."""
        delay = max(policy.timelock_delay_seconds for policy in policies.values())
        return cls((account,), 1, (account,), (account,), delay)

    def ascending(self) -> list[str]:
        """The signers, checksummed, in the order that the steward keeps them in."""
        return sorted((Web3.to_checksum_address(signer) for signer in self.signers), key=lambda one: int(one, 16))


@dataclass(frozen=True, slots=True)
class Charge:
    """A market to be put under the steward: where it stands, how it is spoken to, and its limits."""

    name: str
    contracts: MarketContracts
    binding: Protocol
    policies: Policies

    def policy(self, threshold: int, signers: Sequence[str]) -> Policy:
        """The policy that the steward is to hold the market to, with the quorum given."""
        return Policy.of(self.bound, self.policies, threshold, signers, self.contracts.executor)

    @property
    def bound(self) -> BoundProtocol:
        """The binding at the market's addresses."""
        return BoundProtocol(self.binding, self.contracts.contracts, self.contracts.keys)


def put_up_trial_market(steps: Steps, name: str, price: float, binding: Protocol, policies: Policies) -> Charge:
    """Put up the reference protocol with a token and a price feed of its own, priced at `price` now.

    The policies must have `initial` values, `ramp_seconds` and `max_price_age_seconds`.
    """
    deployer = steps.deployer
    token, _ = steps.create(f"{name}: deploy collateral_token", "collateral_token")
    feed, _ = steps.create(f"{name}: deploy price_feed", "price_feed", f"{name} / USD")
    _, now = deployer.head()
    steps.call(f"{name}: post the price", feed, "post", round(price * binding.price.scale), now)
    market, block = steps.create(
        f"{name}: deploy options_market",
        "options_market",
        name,
        token.address,
        feed.address,
        [policies.limits[parameter.name].initial for parameter in binding.parameters],
        policies.ramp_seconds,
        policies.max_price_age_seconds,
    )
    addresses = {"market": str(market.address), "oracle": str(feed.address), "collateral": str(token.address)}
    return Charge(name, MarketContracts(contracts=addresses, since_block=block), binding, policies)


def put_up_steward(steps: Steps, charges: Sequence[Charge], roles: Roles, *, trial: bool) -> Deployment:
    """Put up timelock and steward, put every market under its policy and activate it at its live values.

    Until the last step the deployer is governance. In a trial the deployer owns the markets and hands the setter role
    over. Raises DeployError naming the step that was refused.
    """
    deployer = steps.deployer
    governance = [str(Web3.to_checksum_address(account)) for account in roles.governance]
    registry, _ = steps.create("deploy policy_registry", "policy_registry")
    steward, block = steps.create("deploy risk_steward", "risk_steward", deployer.address, registry.address)
    timelock, _ = steps.create("deploy timelock", "timelock", roles.delay_seconds, governance, governance)
    markets = {charge.name: _put_under(steps, registry, steward, charge, roles, trial=trial) for charge in charges}
    for guardian in roles.guardians:
        _grant(steps, steward, GUARDIAN_ROLE, guardian, f"make {guardian} a guardian")
    _hand_to_timelock(steps, steward, timelock.address)
    own = {contract: at.address for contract, at in zip(OWN, (registry, steward, timelock), strict=True)}
    theirs = {f"{n}.{key}": at for n, market in markets.items() for key, at in market.contracts.items()}
    return Deployment(
        chain_id=deployer.web3.eth.chain_id,
        steward=steward.address,
        registry=registry.address,
        timelock=timelock.address,
        governance=governance,
        guardians=[Web3.to_checksum_address(guardian) for guardian in roles.guardians],
        signers=roles.ascending(),
        threshold=roles.threshold,
        block=block,
        code_hashes={name: deployer.code_hash(address) for name, address in (own | theirs).items()},
        markets=markets,
    )


def store_policy(steps: Steps, registry: Contract, name: str, policy: Policy) -> str:
    """Store a market's policy and return where it stands. Anyone may; governance alone puts it into force."""
    receipt = steps.call(f"{name}: store the policy", registry, "store", policy.blob())
    stored = registry.events.PolicyStored().process_receipt(receipt, errors=DISCARD)
    if len(stored) != 1:
        raise DeployError(f"{name}: store the policy: the registry logged no PolicyStored")
    return str(stored[0]["args"]["policy"])


def _put_under(
    steps: Steps, registry: Contract, steward: Contract, charge: Charge, roles: Roles, *, trial: bool
) -> MarketDeployment:
    name, key = charge.name, market_id(charge.name)
    policy = store_policy(steps, registry, name, charge.policy(roles.threshold, roles.ascending()))
    in_force = _view(steward, "policy_of", key)
    steps.call_unless(
        lambda: in_force() == policy, f"{name}: put the policy into force", steward, "set_policy", key, policy
    )
    if trial:
        market = steps.deployer.at("options_market", charge.contracts.contracts["market"])
        setter = _view(market, "parameter_setter")
        steps.call_unless(
            lambda: setter() == steward.address,
            f"{name}: hand over the setter role",
            market,
            "set_parameter_setter",
            steward.address,
        )
    state = _view(steward, "market_state", key)
    steps.call_unless(lambda: state()[0] == ACTIVE, f"{name}: activate", steward, "activate", key)
    return MarketDeployment(policy=policy, **charge.contracts.model_dump())


def _grant(steps: Steps, steward: Contract, role: bytes, account: str, step: str) -> None:
    holder = Web3.to_checksum_address(account)
    steps.call_unless(_view(steward, "hasRole", role, holder), step, steward, "grantRole", role, holder)


def _hand_to_timelock(steps: Steps, steward: Contract, timelock: str) -> None:
    """Grant before giving up, so that a run which ends in between leaves a steward that someone governs."""
    _grant(steps, steward, DEFAULT_ADMIN_ROLE, timelock, "make the timelock governance")
    deployer = steps.deployer.address
    still = _view(steward, "hasRole", DEFAULT_ADMIN_ROLE, deployer)
    step = "give up the deployer's own governance"
    steps.call_unless(lambda: not still(), step, steward, "revokeRole", DEFAULT_ADMIN_ROLE, deployer)


def _view(contract: Contract, function: str, *arguments: Any) -> Any:
    """Return a function that reads a view."""
    return contract.get_function_by_name(function)(*arguments).call
