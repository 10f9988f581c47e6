"""The steward's calldata, view and events are encoded and read back exactly."""

import pytest
from builders import HASH
from eth_abi import decode, encode
from eth_utils import keccak

from chain.protocol import BindingError
from chain.rpc import Refused
from chain.steward import (
    ACTIVATED,
    ANNOUNCED,
    APPLIED,
    MARKET_STATE,
    NO_DIGEST,
    REBASED,
    ROLLED_BACK,
    VIEW_TYPE,
    Remembered,
    StewardEvent,
    StewardView,
    announced_call,
    applicable_at,
    change_filter,
    market_id,
    parse_event,
    parse_view,
    revert_reason,
    state_hash,
    version_filter,
    version_values,
    view_call,
)

STEWARD = "0x" + "cd" * 20
DIGEST = "0x" + "0d" * 32


def selector(signature: str) -> bytes:
    return keccak(text=signature)[:4]


def arguments(data: str, signature: str) -> tuple:
    raw = bytes.fromhex(data[2:])
    assert raw[:4] == selector(signature)
    return decode(signature[signature.index("(") + 1 : -1].split(","), raw[4:])


def words(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(32) for number in numbers)


MINUTES = (28_333_334, 2**26 - 1, 0, 1, 28_333_335, 28_333_336, 28_333_337)
"""When each of seven parameters last changed: their states fill a word and begin the next."""

VIEW = StewardView(
    status=3,
    policy=STEWARD,
    sequence=3,
    applied_at=1_700_000_000,
    version_hash="0x" + "01" * 32,
    good_hash="0x" + "02" * 32,
    good_at=1_600_000_000,
    state_hash=HASH,
    values=(1, 2, 3, 4, 5, 6, 7),
    remembered=tuple(Remembered(60 * minute, 240 - index, 30 + index) for index, minute in enumerate(MINUTES)),
)


def test_view_call__market__is_asked_for_by_the_hash_of_its_name():
    target, data = view_call(STEWARD, "SPX")
    assert target == STEWARD
    assert arguments(data, MARKET_STATE) == (keccak(text="SPX"),)


def test_parse_view__answer__is_every_field_in_its_place():
    states = [0, 0, 0]
    for index, (one, minute) in enumerate(zip(VIEW.remembered, MINUTES, strict=True)):
        packed = minute << 16 | one.drift_used << 8 | one.drift_before
        states[index // 6] |= packed << (42 * (index % 6))
    plain = [getattr(VIEW, name) for name in StewardView.__slots__[:8]]
    raw = [bytes.fromhex(one[2:]) if isinstance(one, str) and len(one) == 66 else one for one in plain]
    assert parse_view(encode([VIEW_TYPE], [(*raw, list(VIEW.values), states)])) == VIEW


def test_announced_call__digest__is_asked_for():
    target, data = announced_call(STEWARD, DIGEST)
    assert target == STEWARD
    assert arguments(data, "announced_at(bytes32)") == (bytes.fromhex(DIGEST[2:]),)


def test_state_hash__values__are_bound_to_steward_chain_and_market():
    types = ["address", "uint256", "bytes32", "uint256[]"]
    expected = keccak(encode(types, [STEWARD, 31_337, keccak(text="SPX"), [4, 5]]))
    assert state_hash(STEWARD, 31_337, "SPX", (4, 5)) == "0x" + expected.hex()


@pytest.mark.parametrize("answer", [b"", words(1), b"\xff" * 320])
def test_parse_view__another_contract__is_said_to_be_no_steward(answer):
    with pytest.raises(BindingError, match=r"the steward does not answer market_state\(bytes32\) as expected"):
        parse_view(answer)


def topic(signature: str) -> str:
    return "0x" + keccak(text=signature).hex()


def log(signature: str, data: bytes) -> dict:
    return {
        "topics": [topic(signature), "0x" + market_id("SPX").hex(), hex(4), DIGEST],
        "data": "0x" + data.hex(),
        "transactionHash": "0xfeed",
        "blockNumber": "0x9",
    }


def test_parse_event__applied__is_a_tune():
    found = parse_event("SPX", log(APPLIED, encode(["uint256[]"], [[440, 550]])))
    assert found == StewardEvent("SPX", 4, DIGEST, (440, 550), "tune", "0xfeed", 9)


def test_parse_event__rolled_back__is_a_rollback():
    data = encode(["uint256[]"], [[400, 500]])
    assert parse_event("SPX", log(ROLLED_BACK, data)) == StewardEvent(
        "SPX", 4, DIGEST, (400, 500), "rollback", "0xfeed", 9
    )


def test_parse_event__rebased__is_governances_version_without_a_proposal():
    entry = log(REBASED, encode(["uint256[]", "bytes32"], [[440, 550], b"\1" * 32]))
    entry["topics"] = entry["topics"][:3]
    found = parse_event("SPX", entry)
    assert (found.kind, found.values, found.digest) == ("rebase", (440, 550), NO_DIGEST)


def test_change_filter__market__asks_for_every_event_of_it_alone():
    where = change_filter(STEWARD, "SPX")
    assert where == {
        "address": STEWARD,
        "topics": [[topic(APPLIED), topic(ROLLED_BACK), topic(REBASED)], "0x" + market_id("SPX").hex()],
    }


@pytest.mark.parametrize(
    ("signature", "types", "fields"),
    [
        (ACTIVATED, ["uint256[]", "bytes32"], [[440, 550], b"\1" * 32]),
        (APPLIED, ["uint256[]"], [[440, 550]]),
        (REBASED, ["uint256[]", "bytes32"], [[440, 550], b"\1" * 32]),
        (ROLLED_BACK, ["uint256[]"], [[440, 550]]),
    ],
)
def test_version_values__any_event_that_makes_a_version__is_its_values(signature, types, fields):
    entry = log(signature, encode(types, fields))
    assert entry["topics"][0] in version_filter(STEWARD, "SPX", 9, 12)["topics"][0]
    assert version_values(entry) == (440, 550)


def test_version_filter__blocks__are_the_only_ones_asked_for():
    where = version_filter(STEWARD, "SPX", 9, 12)
    assert (where["address"], where["fromBlock"], where["toBlock"]) == (STEWARD, "0x9", "0xc")
    assert where["topics"][1] == "0x" + market_id("SPX").hex()


def test_applicable_at__announced__is_when_the_notice_is_over():
    entry = log(ANNOUNCED, encode(["uint256[]", "uint256[]", "uint256"], [[0], [450], 1_700_003_600]))
    assert applicable_at(entry) == 1_700_003_600


@pytest.mark.parametrize(
    ("data", "message", "reason"),
    [
        (selector("Error(string)") + encode(["string"], ["risk_steward: paused"]), "x", "risk_steward: paused"),
        (selector("Panic(uint256)") + encode(["uint256"], [0x11]), "x", "panic 0x11"),
        (selector("Other()"), "execution reverted", "execution reverted"),
        (b"", "execution reverted", "execution reverted"),
        (b"", "", "reverted without a reason"),
        (selector("Error(string)") + b"\xff" * 40, "execution reverted", "execution reverted"),
    ],
    ids=["error", "panic", "custom", "bare", "nothing", "garbled"],
)
def test_revert_reason__any_data__is_the_contracts_own_words_or_the_message(data, message, reason):
    assert revert_reason(Refused("eth_call", 3, message, "0x" + data.hex())) == reason


def test_revert_reason__bare_return_data__is_read_the_same_way():
    text = selector("Error(string)") + encode(["string"], ["no"])
    assert revert_reason("0x" + text.hex()) == "no"
    assert revert_reason("") == "reverted without a reason"
