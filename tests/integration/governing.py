"""What the tests of governance and guardians share: who holds what, and acts on the steward's markets."""

from __future__ import annotations

from pydantic import SecretStr
from trials import MARKET

from chain.anvil import CHAIN_ID, KEYS
from chain.attestation import Message, attach
from chain.protocol import BoundProtocol
from chain.signer import LocalSigner
from chain.steward import market_id, parse_view, view_call
from config.load import DEFAULT_SETTINGS, load_policies, load_protocol

PROTOCOL = load_protocol("options_market", DEFAULT_SETTINGS)
POLICIES = load_policies(PROTOCOL)
DELAY = POLICIES.timelock_delay_seconds
GUARDIAN, GOVERNANCE = KEYS[2], KEYS[3]
OTHER = "NDX"


def pass_time(bare, seconds):
    bare.ask("evm_increaseTime", seconds)
    bare.ask("evm_mine")


def statuses(steward):
    return [steward.functions.market_state(market_id(name)).call()[0] for name in (MARKET, OTHER)]


def change(bare, governed, action, *keys, market=MARKET, seconds=600):
    """Sign a change that moves every parameter up by one and submit it; return its EIP-712 digest."""
    view = parse_view(bare.deployer.call_raw(*view_call(governed.steward, market)))
    values = [value + 1 for value in view.values]
    bound = BoundProtocol(PROTOCOL, governed.markets[market].contracts)
    message = Message(
        market=market,
        policy=view.policy,
        sequence=view.sequence + 1,
        state_hash=view.state_hash,
        changes=tuple(enumerate(values)),
        calls=bound.setter_calls(values, range(len(values))),
        model_hash="0x" + "01" * 32,
        input_root="0x" + "02" * 32,
        probes=(),
        max_liquidatable=0,
        deadline=bare.deployer.head()[1] + seconds,
    )
    digest = message.digest(action, governed.steward, CHAIN_ID)
    signers = sorted((LocalSigner(SecretStr(key)) for key in keys), key=lambda one: int(one.address, 16))
    data = attach(message.calldata(action), [signer.attest(digest) for signer in signers])
    bare.deployer.send_raw(action, governed.steward, data)
    return message, digest, signers
