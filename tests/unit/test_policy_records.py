"""A policy is read back from its records as it was written, and anything else is refused."""

from dataclasses import fields, replace

import pytest
from eth_utils.address import to_checksum_address

from chain.policy import HealthRule, ParameterLimits, Policy, PolicyError, SetterRule
from chain.protocol import BoundProtocol
from config.load import DEFAULT_SETTINGS, load_policies, load_protocol

MARKET = "0x" + "12" * 20
SAFE = "0x" + "34" * 20
BINDING = load_protocol("options_market", DEFAULT_SETTINGS)
BOUND = BoundProtocol(BINDING, {"market": MARKET})
SIGNERS = ("0x" + "00" * 19 + "05", "0x" + "0a" * 20, "0x" + "fF" * 20)
POLICY = Policy.of(
    BOUND, load_policies(BINDING), 2, (SIGNERS[2], SIGNERS[0], SIGNERS[1].upper().replace("X", "x")), SAFE
)
SIZES = {"frame": 320, "quorum": 544, "rules": 16 * 96, "read": 192, "setter": 544, "invariant": 128}
LIMITS = ParameterLimits(1, 2, 3, 4, True, 5, 6, 7, False, 8, False, 9)


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


def test_policy__of_signers_in_any_order__keeps_them_ascending_and_checksummed():
    assert (POLICY.threshold, POLICY.signers) == (2, tuple(map(to_checksum_address, SIGNERS)))


def test_policy__of_a_binding__calls_its_setter_with_every_parameter_in_its_place():
    (setter,) = POLICY.setters
    assert (setter.target, setter.words) == (MARKET, tuple((index, 0) for index in range(6)))


def test_policy__written_and_read__is_equal():
    assert Policy.read(b"\0" + POLICY.blob()) == POLICY


def test_policy__every_field_of_its_own_value__is_read_back():
    policy = Policy(
        executor=SAFE,
        probation=10,
        threshold=1,
        signers=(MARKET, SAFE),
        health=HealthRule(MARKET, b"\x01\x02\x03\x04", 11, 4),
        positions=((1, 31), (0, 12)),
        parameters=(LIMITS, replace(LIMITS, notice=13, relative=False)),
        reads=((MARKET, b"\x05" * 4), (SAFE, b"\x06" * 100)),
        setters=(
            SetterRule(MARKET, b"\x07" * 4, ((1, 0), (None, 2**256 - 1), (1, 0))),
            SetterRule(SAFE, b"\x08" * 4, ((None, 0),) * 11 + ((0, 0),)),
        ),
        invariants=((0, 14, 1, 15), (1, 2**127, 0, 1)),
    )
    blob = policy.blob()
    assert Policy.read(b"\0" + blob) == policy
    assert len(blob) == sum(SIZES.values()) + SIZES["read"] + SIZES["setter"] + SIZES["invariant"]


@pytest.mark.parametrize("field", [field.name for field in fields(ParameterLimits)])
def test_parameter_limits__one_field_at_its_largest__leaves_its_neighbours_alone(field):
    flags = {"relative", "tightening_up", "reversible"}
    times = dict.fromkeys(("cooldown", "drift_window", "notice"), 2**32 - 1)
    largest = True if field in flags else ({"coupled": 2**16 - 1} | times).get(field, 2**128 - 1)
    nothing = ParameterLimits(*(False if one.name in flags else 0 for one in fields(ParameterLimits)))
    limits = replace(nothing, **{field: largest})
    assert ParameterLimits.of_words(*limits.words()) == limits
    assert sum(word.bit_count() for word in limits.words()) == int(largest).bit_length()


def test_policy__unsigned__differs_in_its_quorum_alone_and_is_read_back():
    unsigned = POLICY.unsigned()
    assert unsigned == replace(POLICY, threshold=0, signers=())
    assert Policy.read(b"\0" + unsigned.blob()) == unsigned


def test_setter_record__says_which_parameters_it_writes():
    record = SetterRule(MARKET, b"\x07" * 4, ((2, 0), (None, 9), (0, 0), (2, 0))).record()
    words = [int.from_bytes(record[at : at + 32]) for at in range(0, len(record), 32)]
    assert words[2:9] == [4, 0b101, 0x02_00_FF_02, 0, 9, 0, 0]


def test_policy__of_no_safe__is_called_by_the_steward_itself():
    assert Policy.of(BOUND, load_policies(BINDING), 1, SIGNERS, None).executor == "0x" + "00" * 20


@pytest.mark.parametrize("length", [0, 1, 200, 320, 321, 500, 2_000, 2_401, 2_593, -128, -32, -1])
def test_policy__cut_off__is_refused(length):
    with pytest.raises(PolicyError, match="that are no policy"):
        Policy.read((b"\0" + POLICY.blob())[:length])


def test_policy__longer_than_it_says__is_refused():
    with pytest.raises(PolicyError, match=f"its records take {len(POLICY.blob()) + 1} bytes"):
        Policy.read(b"\0" + POLICY.blob() + bytes(32))


@pytest.mark.parametrize(("word", "most"), [(3, 16), (4, 16), (5, 8), (6, 16)])
@pytest.mark.parametrize("more", [1, 2**255])
def test_policy__more_records_than_the_steward_takes__is_refused_at_once(word, most, more):
    blob = bytearray(POLICY.blob())
    blob[32 * word : 32 * word + 32] = (most + more).to_bytes(32)
    with pytest.raises(PolicyError, match=f"says .*{most + more}"):
        Policy.read(b"\0" + blob)


def test_policy__setter_of_more_words_than_the_steward_takes__is_refused():
    blob = bytearray(POLICY.blob())
    start = len(blob) - len(POLICY.invariants) * SIZES["invariant"] - SIZES["setter"] + 64
    blob[start : start + 32] = (2**255).to_bytes(32)
    with pytest.raises(PolicyError, match=f"a setter of {2**255} words"):
        Policy.read(b"\0" + blob)


@pytest.mark.parametrize("word", [11, 12, 75])
def test_policy__signer_or_target_that_is_no_address__is_refused(word):
    blob = bytearray(POLICY.blob())
    blob[32 * word] = 1
    with pytest.raises(PolicyError, match="that are no policy"):
        Policy.read(b"\0" + blob)


@pytest.mark.parametrize("code", [b"\xff" * 400, b"\0" * 100, bytes(range(256)) * 4])
def test_policy__other_code__is_refused(code):
    with pytest.raises(PolicyError, match="that are no policy"):
        Policy.read(code)
