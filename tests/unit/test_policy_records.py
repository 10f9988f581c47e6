"""A policy is read back from its records as it was written, and anything else is refused."""

from dataclasses import replace

import pytest

from chain.policy import HealthRule, ParameterLimits, Policy, PolicyError
from chain.protocol import BoundProtocol
from config.load import DEFAULT_SETTINGS, load_policies, load_protocol

MARKET = "0x" + "12" * 20
SAFE = "0x" + "34" * 20
BINDING = load_protocol("options_market", DEFAULT_SETTINGS)
BOUND = BoundProtocol(BINDING, {"market": MARKET})
POLICY = Policy.of(BOUND, load_policies(BINDING), SAFE)


def test_policy__of_a_binding__has_its_limits_couplings_and_sizes():
    limits = load_policies(BINDING).limits["maintenance_factor"]
    assert POLICY.parameters[3] == ParameterLimits(
        minimum=limits.minimum,
        maximum=limits.maximum,
        max_step_up=limits.max_step_up,
        max_step_down=limits.max_step_down,
        relative=False,
        cooldown=limits.cooldown_seconds,
        drift_budget=limits.drift_budget,
        drift_window=limits.drift_window_seconds,
        tightening_up=True,
        notice=0,
        reversible=True,
        coupled=0b11000,
    )
    assert (POLICY.executor, POLICY.positions[5]) == (SAFE, (0, 5))


def test_policy__written_and_read__is_equal():
    assert Policy.read(b"\0" + POLICY.blob()) == POLICY


def test_policy__every_field_of_its_own_value__is_read_back():
    limits = ParameterLimits(1, 2, 3, 4, True, 5, 6, 7, False, 8, False, 9)
    policy = Policy(
        executor=SAFE,
        probation=10,
        health=HealthRule(MARKET, b"\x01\x02\x03\x04", 11, 4),
        positions=((1, 31), (0, 12)),
        parameters=(limits, replace(limits, notice=13, relative=False)),
        reads=((MARKET, b"\x05" * 4), (SAFE, b"\x06" * 100)),
        calls=((MARKET, b"\x07" * 68), (SAFE, b"\x08" * 4)),
        invariants=((0, 14, 1, 15), (1, 2**127, 0, 1)),
    )
    blob = policy.blob()
    assert Policy.read(b"\0" + blob) == policy
    assert len(blob) == 320 + 2 * (384 + 256 + 224 + 128)


def test_policy__of_no_safe__is_called_by_the_steward_itself():
    assert Policy.of(BOUND, load_policies(BINDING), None).executor == "0x" + "00" * 20


@pytest.mark.parametrize("length", [0, 1, 200, 320, 321, 500, 2_000])
def test_policy__cut_off__is_refused(length):
    with pytest.raises(PolicyError, match="that are no policy"):
        Policy.read((b"\0" + POLICY.blob())[:length])


@pytest.mark.parametrize("code", [b"\xff" * 400, b"\0" * 100, bytes(range(256)) * 4])
def test_policy__other_code__is_refused(code):
    with pytest.raises(PolicyError, match="that are no policy"):
        Policy.read(code)
