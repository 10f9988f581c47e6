"""What an endpoint refuses is told in its own words, not as the object that carried them."""

from __future__ import annotations

import pytest
from web3.exceptions import ContractLogicError, TimeExhausted, Web3RPCError

from chain.deploy import DeployError, asking
from chain.remedies import REMEDIES

LOW = {"code": -32000, "message": "insufficient funds for gas"}

CASES = {
    "object": (Web3RPCError(repr(LOW), rpc_response={"error": LOW}), "insufficient funds for gas (code -32000)"),
    "no code": (Web3RPCError("{}", rpc_response={"error": {"message": "limit exceeded"}}), "limit exceeded"),
    "text": (Web3RPCError("'too many'", rpc_response={"error": "too many requests"}), "too many requests"),
    "no words": (Web3RPCError("Bad response", rpc_response=None), "Bad response"),
    "revert": (
        ContractLogicError("execution reverted: risk_steward: paused"),
        f"execution reverted: risk_steward: paused\nwhat to do: {REMEDIES['risk_steward: paused']}",
    ),
    "bare revert": (ContractLogicError(None), "reverted without a reason"),
    "no answer": (OSError("http://user:hunter2@host/"), "the endpoint gave no usable answer: OSError"),
    "late": (TimeExhausted("http://user:hunter2@host/"), "the endpoint gave no usable answer: TimeExhausted"),
}


@pytest.mark.parametrize("case", CASES)
def test_asking__endpoint_refuses__raises_the_step_and_its_words(case):
    error, words = CASES[case]
    with pytest.raises(DeployError) as caught, asking("deploy timelock"):
        raise error
    assert str(caught.value) == f"deploy timelock: {words}"
