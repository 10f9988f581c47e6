"""A TOML binding becomes exact calldata at the market's addresses, and answers become numbers."""

import pytest
from bindings import CONTRACTS, KEYS, ORACLE, RICH, RISK, SHIPPED, TOKEN, built
from builders import CALM_VALUES
from eth_abi import decode, encode
from eth_utils import keccak, to_checksum_address
from hypothesis import given
from hypothesis import strategies as st

from chain.protocol import BindingError, BoundProtocol, word
from config.errors import ConfigError
from config.protocol import Setter
from models.market import Account

MARKET = "0x" + "11" * 20
SHIPPED_BOUND = BoundProtocol(built(SHIPPED), {"market": MARKET})
BOUND = BoundProtocol(built(), CONTRACTS, KEYS)
FEED = "0x" + "fe" * 32
ACCOUNT = Account(
    "5", fields=(("state", 1), ("series", 8), ("since", 40), ("floor", -3), ("feed", FEED)), rounds=(41, 42)
)
HOLDER = Account(to_checksum_address("0x" + "77" * 20))


def selector(signature: str) -> bytes:
    return keccak(text=signature)[:4]


def arguments(data: str | bytes, signature: str, types: list[str] | None = None) -> tuple:
    raw = bytes.fromhex(data[2:]) if isinstance(data, str) else data
    assert raw[:4] == selector(signature)
    return decode(types or [text for text in signature[signature.index("(") + 1 : -1].split(",") if text], raw[4:])


def words(*numbers: int) -> bytes:
    return b"".join((number % 2**256).to_bytes(32) for number in numbers)


def bound(*replacements: tuple[str, str], keys=None) -> BoundProtocol:
    return BoundProtocol(built(RICH, *replacements), CONTRACTS, KEYS | (keys or {}))


# The market's addresses and keys


def test_bound__contract_or_key_missing__names_both():
    with pytest.raises(ConfigError, match=r"^binding rich needs contracts\.oracle, keys\.asset of the market's deploy"):
        BoundProtocol(built(), {"risk": RISK, "token": TOKEN}, {"board": 7})


def test_bound__more_contracts_than_the_binding_names__are_allowed():
    assert BoundProtocol(built(), {**CONTRACTS, "other": RISK}, {**KEYS, "other": 1}).address == RISK


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [("board", -1, "does not fit uint256"), ("board", "7", "does not make a uint256"), ("asset", "0x00", "a bytes32")],
)
def test_bound__key_of_another_type__is_told(key, value, rule):
    with pytest.raises(ConfigError, match=rf"^keys\.{key}: .*{rule}.* \(binding rich\)$"):
        BoundProtocol(built(), CONTRACTS, KEYS | {key: value})


# Reads


def test_reads__getters_shared_by_parameters__are_called_once():
    (target, data), (counter, count), (other, days) = BOUND.reads()
    assert arguments(data, "get(uint256,bytes32)") == (7, b"\xa5" * 32)
    assert arguments(count, "count(address)") == (TOKEN,)
    assert arguments(days, "days()") == ()
    assert (target, counter, other) == (RISK, ORACLE, ORACLE)
    assert BOUND.positions() == ((0, 3), (0, 1), (1, 0), (2, 0))


def test_reads__shipped_binding__take_one_call_for_all_parameters():
    assert SHIPPED_BOUND.reads() == ((MARKET, "0x" + selector("parameters()").hex()),)
    assert SHIPPED_BOUND.effective_reads() == ((MARKET, "0x" + selector("effective_parameters()").hex()),)
    assert SHIPPED_BOUND.positions() == tuple((0, index) for index in range(6))


def test_values__answers__are_the_words_that_the_binding_names():
    assert BOUND.values([words(0, 11, 0, 10), words(12), words(13)]) == (10, 11, 12, 13)


def test_effective_values__parameter_that_does_not_ramp__is_its_getter():
    assert [data[:10] for _, data in BOUND.effective_reads()] == [
        "0x" + selector(one).hex() for one in ("get(uint256,bytes32)", "ramped()", "count(address)", "days()")
    ]
    assert BOUND.effective_values([words(0, 11, 0, 10), words(0, 21), words(12), words(13)]) == (10, 21, 12, 13)


def test_values__short_answer__names_the_parameter():
    with pytest.raises(BindingError, match=r"^ray: the answer has 64 bytes, word 3 was asked for$"):
        BOUND.values([words(0, 11), words(12), words(13)])


def test_word__exactly_long_enough__is_read_and_one_byte_less_is_not():
    assert word(words(1, 2**256 - 1), 1, "x") == 2**256 - 1
    with pytest.raises(BindingError, match="x: the answer has 63 bytes, word 1"):
        word(words(1, 2)[:-1], 1, "x")


# Setters


def test_setter_calls__one_of_two_changed__writes_both_in_one_call():
    ((target, data),) = BOUND.setter_calls((10, 11, 12, 13), [1])
    assert target == RISK
    signature = "set_pair(uint256,(uint256,uint128),bytes32)"
    key = keccak(encode(["bytes32", "uint8"], [b"\xa5" * 32, 5]))
    assert arguments(data, signature, ["uint256", "(uint256,uint128)", "bytes32"]) == (7, (10, 11), key)


def test_setter_calls__function_that_takes_one_of_many__is_called_once_for_each():
    calls = BOUND.setter_calls((10, 11, 12, 13), [2, 3])
    assert [(target, arguments(data, "set_one(uint256,uint256)")) for target, data in calls] == [
        (ORACLE, (0, 12)),
        (ORACLE, (1, 13)),
    ]


def test_setter_calls__everything_changed__calls_each_setter_once_in_order():
    assert [data[:10] for _, data in BOUND.setter_calls((10, 11, 12, 13), range(4))] == [
        "0x" + selector(one).hex()
        for one in ("set_pair(uint256,(uint256,uint128),bytes32)", *["set_one(uint256,uint256)"] * 2)
    ]


def test_setter_calls__nothing_changed__calls_nothing():
    assert BOUND.setter_calls((10, 11, 12, 13), []) == ()


def test_setter_calls__shipped_binding__is_one_array_of_all_six():
    ((target, data),) = SHIPPED_BOUND.setter_calls(CALM_VALUES, [2])
    assert (target, arguments(data, "set_parameters(uint256[6])")) == (MARKET, (CALM_VALUES,))


def test_setter_calls__value_that_its_argument_does_not_hold__is_a_binding_error():
    assert len(BOUND.setter_calls((0, 2**128 - 1, 0, 0), [1])) == 1
    with pytest.raises(
        BindingError, match=r"^set_pair\(uint256,\(uint256,uint128\),bytes32\): an argument does not fit ui"
    ):
        BOUND.setter_calls((0, 2**128, 0, 0), [1])


# What the steward is set up with


def test_setter_words__struct_key_and_hash__are_values_and_constants_in_their_order():
    key = keccak(encode(["bytes32", "uint8"], [b"\xa5" * 32, 5]))
    pair = ((None, 7), (0, 0), (1, 0), (None, int.from_bytes(key)))
    one = selector("set_one(uint256,uint256)")
    assert BOUND.setter_words() == (
        (RISK, selector("set_pair(uint256,(uint256,uint128),bytes32)"), pair),
        (ORACLE, one, ((None, 0), (2, 0))),
        (ORACLE, one, ((None, 1), (3, 0))),
    )


def test_setter_words__dynamic_array__has_offset_and_length_as_constants():
    ids = bound(('"set_one(uint256,uint256)"\nargs = [0, "$count"]', '"set(uint256[])"\nargs = [["$count", 9]]'))
    assert ids.setter_words()[1] == (ORACLE, selector("set(uint256[])"), ((None, 32), (None, 2), (2, 0), (None, 9)))


def test_setter_words__negative_constant__is_its_word():
    signed = bound(('"set_one(uint256,uint256)"\nargs = [0, "$count"]', '"set(int8,int256)"\nargs = [-1, "$count"]'))
    assert signed.setter_words()[1][2] == ((None, 2**256 - 1), (2, 0))


def test_setter_words__shipped_binding__are_the_six_values():
    words_of = tuple((index, 0) for index in range(6))
    assert SHIPPED_BOUND.setter_words() == ((MARKET, selector("set_parameters(uint256[6])"), words_of),)


def test_setter_words__market_key_that_its_argument_does_not_hold__is_a_binding_error():
    with pytest.raises(BindingError, match=r"does not fit uint8"):
        bound(("set_pair(uint256,", "set_pair(uint8,"), keys={"board": 256}).setter_words()


INTEGERS = st.sampled_from(["uint128", "uint256", "int136", "int256"])
CONSTANTS = st.sampled_from(
    [
        *[(5, "uint8"), (-5, "int16"), (True, "bool"), ("text", "string"), ("0x" + "ab" * 33, "bytes")],
        *[("$market.board", "uint256"), ({"keccak": ["$market.asset"], "types": ["bytes32"]}, "bytes32")],
    ]
)
WRAPPERS = (
    lambda item, kind, _: (item, kind),
    lambda item, kind, _: ([item], f"{kind}[1]"),
    lambda item, kind, _: ([item], f"{kind}[]"),
    lambda item, kind, other: ([other[0], item], f"({other[1]},{kind})"),
    lambda item, kind, other: ([[item, other[0]]], f"({kind},{other[1]})[]"),
)
"""Ways to put an argument into others."""


@st.composite
def setters(draw):
    """Draw setters that write all four parameters: each in some integer type, inside some structs and arrays."""
    names = draw(st.permutations(["ray", "wad", "count", "days"]))
    sizes = draw(st.sampled_from([(4,), (1, 3), (2, 2), (1, 1, 1, 1)]))
    found = []
    for size in sizes:
        arguments, names = names[:size], names[size:]
        pairs = [(f"${name}", draw(INTEGERS)) for name in arguments] + draw(st.lists(CONSTANTS, max_size=2))
        wrapped = [draw(st.sampled_from(WRAPPERS))(*pair, draw(CONSTANTS)) for pair in draw(st.permutations(pairs))]
        signature = f"set({','.join(kind for _, kind in wrapped)})"
        found.append(Setter(function=signature, args=[item for item, _ in wrapped]))
    return found


VALUES = st.tuples(*[st.integers(0, 2**128 - 1)] * 4)


@given(setters(), VALUES, st.sets(st.integers(0, 3)))
def test_setter_words__any_setters_and_values__make_the_calls_of_setter_calls(drawn, values, changed):
    market = BoundProtocol(built().model_copy(update={"setters": drawn}), CONTRACTS, KEYS)
    calls = [
        (target, "0x" + (head + words(*(number if index is None else values[index] for index, number in told))).hex())
        for target, head, told in market.setter_words()
        if changed & {index for index, _ in told}
    ]
    assert tuple(calls) == market.setter_calls(values, changed)


def test_coupled_mask__of_a_group__has_its_members_bits_and_none_for_one_alone():
    assert [BOUND.coupled_mask(index) for index in range(4)] == [0b0011, 0b0011, 0, 0]
    assert [SHIPPED_BOUND.coupled_mask(index) for index in range(6)] == [3, 3, 0, 24, 24, 0]


def test_invariants__shipped_and_scaled__are_the_bindings():
    assert SHIPPED_BOUND.invariants() == ((4, 1, 3, 1),)
    assert BOUND.invariants()[0] == (0, 1, 1, 1_250_000_000)


# Health


@pytest.mark.parametrize(("kind", "mode"), [("below", 3), ("above", 4)])
def test_health_rule__signed_number__has_target_selector_word_and_mode(kind, mode):
    changed = bound(('liquidatable = "below"', f'liquidatable = "{kind}"'))
    assert changed.health_rule() == (RISK, selector("surplus(uint256,bytes32,uint256)"), 1, mode)


@pytest.mark.parametrize(("kind", "mode"), [("true", 1), ("false", 2)])
def test_health_rule__boolean__has_its_mode(kind, mode):
    changed = bound(('liquidatable = "below"\nthreshold = "$account.floor"', f'liquidatable = "{kind}"'))
    assert changed.health_rule()[3] == mode


def test_probe__account_and_round__are_the_arguments_without_the_selector():
    data, threshold = BOUND.probe(ACCOUNT, 41)
    assert decode(["uint256", "bytes32", "uint256"], data) == (5, b"\xfe" * 32, 41)
    assert threshold == -3
    assert BOUND.health_call(ACCOUNT, 41) == (RISK, "0x" + (selector("surplus(uint256,bytes32,uint256)") + data).hex())


@pytest.mark.parametrize(("written", "threshold"), [("", 0), ("threshold = -7\n", -7)])
def test_probe__threshold__is_a_constant_or_zero(written, threshold):
    assert bound(('threshold = "$account.floor"\n', written)).probe(ACCOUNT, 41)[1] == threshold


def test_probe__threshold_that_is_no_int256__is_a_binding_error():
    wide = bound(("int256 floor", "uint256 floor"))
    account = Account("5", fields=(*ACCOUNT.fields[:3], ("floor", 2**255), ("feed", FEED)))
    with pytest.raises(BindingError, match=r"^rich: a number does not fit int256$"):
        wide.probe(account, 41)


def test_probe__shipped_binding__is_the_account_alone():
    assert SHIPPED_BOUND.probe(HOLDER, None) == (words(int(HOLDER.address, 16)), 0)


@pytest.mark.parametrize(
    ("kind", "number", "threshold", "verdict"),
    [
        ("true", 1, 0, True),
        ("true", 0, 0, False),
        ("true", 2**255, 0, True),
        ("false", 0, 0, True),
        ("false", 1, 0, False),
        ("below", -1, 0, True),
        ("below", 0, 0, False),
        ("below", -3, -3, False),
        ("below", -4, -3, True),
        ("below", 2**255 - 1, 0, False),
        ("above", 1, 0, True),
        ("above", 0, 0, False),
        ("above", -1, 0, False),
        ("above", -2, -3, True),
    ],
)
def test_is_liquidatable__word_against_threshold__is_read_as_the_steward_reads_it(kind, number, threshold, verdict):
    changed = bound(('liquidatable = "below"\nthreshold = "$account.floor"', f'liquidatable = "{kind}"'))
    assert changed.is_liquidatable(words(99, number), threshold) is verdict


def test_is_liquidatable__short_answer__is_a_binding_error():
    with pytest.raises(BindingError, match=r"^health: the answer has 32 bytes, word 1 was asked for$"):
        BOUND.is_liquidatable(words(1), 0)


# Price, ramp, limits


def test_price__answer__is_scaled_and_dated():
    assert SHIPPED_BOUND.price_call() == (MARKET, "0x" + selector("price()").hex())
    assert SHIPPED_BOUND.price(words(4_000 * 10**8 + 10**7, 1_700_000_000)) == (4_000.1, 1_700_000_000)


def test_price__of_the_block_itself__has_no_date():
    assert BOUND.price(words(123 * 10**6)) == (1.23, None)


def test_price__short_answer__names_the_word():
    with pytest.raises(BindingError, match=r"price\.updated_word: the answer has 32 bytes"):
        SHIPPED_BOUND.price(words(1))


def test_ramp__protocol_with_and_without_one():
    assert SHIPPED_BOUND.ramp_call() == (MARKET, "0x" + selector("ramp_duration()").hex())
    assert SHIPPED_BOUND.ramp_seconds(words(3_600)) == 3_600
    assert BOUND.ramp_call() is None


def test_limits__each__has_name_call_and_word():
    assert BOUND.limits() == (("largest-ray", (RISK, "0x" + selector("largest()").hex()), 2),)
    assert SHIPPED_BOUND.limits() == ()


# Auctions and liquidation


def topic(number: int) -> str:
    return "0x" + words(number).hex()


STARTED = topic(int.from_bytes(keccak(text="Started(uint256,uint256,uint256)")))


def test_auction_filter__event__is_asked_for_at_its_contract():
    assert BOUND.auction_filter() == {"address": RISK, "topics": [STARTED]}
    block = RICH[RICH.index("[auctions]") : RICH.index("[liquidation]")]
    assert bound((block, "")).auction_filter() is None


def test_auction_of__log__is_account_and_id_as_text():
    assert BOUND.auction_of({"topics": [STARTED, topic(31)], "data": "0x" + words(5, 900).hex()}) == ("5", "31")


def test_auction_of__shipped_binding__is_the_account_twice():
    log = {"topics": [topic(0), topic(int(HOLDER.address, 16))], "data": "0x" + words(-5, 900).hex()}
    assert SHIPPED_BOUND.auction_of(log) == (HOLDER.address, HOLDER.address)


@pytest.mark.parametrize(
    "log",
    [
        {"topics": [STARTED], "data": "0x" + words(31, 5, 900).hex()},
        {"topics": [STARTED, topic(31), topic(5)], "data": "0x" + words(900).hex()},
        {"topics": [STARTED, topic(31)], "data": "0x" + words(5).hex()},
    ],
)
def test_auction_of__log_with_other_fields_indexed__is_a_binding_error(log):
    with pytest.raises(
        BindingError, match=r"^Started\(uint256,uint256,uint256\): a log does not decode with these ind"
    ):
        BOUND.auction_of(log)


def test_end_auction_calls__ids__are_a_call_each():
    calls = BOUND.end_auction_calls(["31", "32"])
    assert [(target, arguments(data, "end(uint256,uint256)")) for target, data in calls] == [
        (RISK, (7, 31)),
        (RISK, (7, 32)),
    ]
    ((target, data),) = SHIPPED_BOUND.end_auction_calls([HOLDER.address])
    assert (target, arguments(data, "end_auction(address)")) == (MARKET, (HOLDER.address.lower(),))


def test_end_auction_calls__protocol_without_such_a_call__is_none():
    block = RICH[RICH.index("[end_auction]") : RICH.index("[liquidation]")]
    assert bound((block, "")).end_auction_calls(["31"]) == ()


def test_end_auction_calls__id_of_another_type__is_a_binding_error():
    with pytest.raises(BindingError, match="'0x31' is no key of type uint256"):
        BOUND.end_auction_calls(["0x31"])


def test_liquidation_call__account__fills_constants_and_fields():
    target, data = BOUND.liquidation_call(ACCOUNT)
    assert target == TOKEN
    assert arguments(data, "liquidate(uint256,uint256[])") == (5, (8, 9))
    block = RICH[RICH.index("[liquidation]") : RICH.index("[[limits]]")]
    assert bound((block, "")).liquidation_call(ACCOUNT) is None
