"""A TOML binding becomes exact calldata, the contract's answers become facts, and a wrong binding is refused."""

import pytest
from builders import CALM_VALUES, HASH
from eth_abi import decode, encode
from eth_utils import keccak, to_checksum_address
from hypothesis import given
from hypothesis import strategies as st

from chain.protocol import BindingError, BoundProtocol, word
from chain.rpc import Refused
from chain.steward import (
    APPLIED,
    APPLY,
    APPLY_TYPES,
    CALLS,
    MARKET_STATE,
    NO_DIGEST,
    REBASED,
    ROLLBACK,
    ROLLBACK_TYPES,
    ROLLED_BACK,
    VIEW_TYPE,
    StewardEvent,
    StewardView,
    apply_calldata,
    change_filter,
    market_id,
    parse_event,
    parse_view,
    revert_reason,
    role_call,
    rollback_calldata,
    view_call,
)
from config.errors import ConfigError
from config.load import DEFAULT_SETTINGS, load_protocol
from models.market import Account

PROTOCOL = "0x" + "ab" * 20
STEWARD = "0x" + "cd" * 20
DIGEST = "0x" + "0d" * 32
TEXT = (DEFAULT_SETTINGS.parent / "protocols" / "options_market.toml").read_text()
UINTS = st.integers(0, 2**256 - 1)
BINDING = load_protocol("options_market", DEFAULT_SETTINGS)
BOUND = BoundProtocol(BINDING, PROTOCOL)


def selector(signature: str) -> bytes:
    return keccak(text=signature)[:4]


def arguments(data: str, signature: str) -> tuple:
    raw = bytes.fromhex(data[2:])
    assert raw[:4] == selector(signature)
    return decode(signature[signature.index("(") + 1 : -1].split(","), raw[4:])


def words(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(32) for number in numbers)


@pytest.fixture
def load(tmp_path):
    def load(*replacements: tuple[str, str]):
        text = TEXT
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new, 1)
        (tmp_path / "mine.toml").write_text(text)
        return load_protocol("mine.toml", tmp_path / "keeper.toml")

    return load


@pytest.fixture
def refusal(load):
    def refusal(*replacements: tuple[str, str]) -> str:
        with pytest.raises(ConfigError) as caught:
            load(*replacements)
        return str(caught.value)

    return refusal


# The file


def test_binding__ids__are_positions_in_the_file():
    assert [BINDING.id_of(parameter.name) for parameter in BINDING.parameters] == [0, 1, 2, 3, 4, 5]


def test_binding__groups__are_whole_ascending_and_alone_without_a_name():
    assert [BINDING.group_of(index) for index in range(6)] == [(0, 1), (0, 1), (2,), (3, 4), (3, 4), (5,)]


def test_binding__two_parameters_without_a_group__are_not_coupled(load):
    last = 'tightening = "up"\ngroup = "liquidation"\nrole = "maintenance_factor"'
    other = 'tightening = "up"\ngroup = "liquidation"\nrole = "liquidation_threshold"'
    loose = load(
        (last, last.replace('group = "liquidation"\n', "")), (other, other.replace('group = "liquidation"\n', ""))
    )
    assert [loose.group_of(index) for index in (3, 4, 5)] == [(3,), (4,), (5,)]


def test_binding__invariants__are_pairs_of_ids():
    assert BINDING.ordered_pairs() == ((4, 3),)


def test_binding__parameter_named_twice__is_refused(refusal):
    assert "must be unique, repeated: spot_shock_up" in refusal(('"spot_shock_down"', '"spot_shock_up"'))


def test_binding__setter_of_an_unknown_parameter__is_refused(refusal):
    assert "shock is not a parameter of this binding" in refusal(('"$shocked_vol"', '"$shock"'))


def test_binding__invariant_on_an_unknown_parameter__is_refused(refusal):
    message = refusal(("liquidation_threshold <=", "threshold <="))
    assert "threshold is not a parameter of this binding (parameters: spot_shock_up," in message


@pytest.mark.parametrize("invariant", ["a < b", "a <= b <= c", "a<=b", ""])
def test_binding__invariant_in_another_form__is_refused(refusal, invariant):
    message = refusal(("liquidation_threshold <= maintenance_factor", invariant))
    assert "mine.toml:5: invariants.0 = " in message
    assert "string should match pattern" in message


def test_binding__parameter_without_a_setter__is_refused(refusal):
    assert "parameter liquidation_penalty must be written by exactly one setter, not 0" in refusal(
        ('args = ["$liquidation_penalty"]', "args = [5]"),
    )


def test_binding__parameter_with_two_setters__is_refused(refusal):
    assert "parameter shocked_vol must be written by exactly one setter, not 2" in refusal(
        ('args = ["$liquidation_penalty"]', 'args = ["$liquidation_penalty", "$shocked_vol"]'),
    )


def test_binding__argument_without_a_dollar__is_refused(refusal):
    assert "setters.2.args.0." in refusal(('args = ["$liquidation_penalty"]', 'args = ["xliquidation_penalty"]'))


def test_binding__group_of_which_only_some_have_a_role__is_refused(refusal):
    message = refusal(('role = "spot_shock_down"\n', ""))
    assert "group shocks moves together, so all of its parameters need a role, or none" in message


def test_binding__group_of_which_none_has_a_role__is_valid(load):
    load(('role = "maintenance_factor"\n', ""), ('role = "liquidation_threshold"\n', ""))


@pytest.mark.parametrize(
    "member", ["address", "equity", "initial_margin", "maintenance_margin", "liquidation_margin", "liquidatable"]
)
def test_binding__account_field_past_the_struct__is_refused(refusal, load, member):
    line = next(line for line in TEXT.split("\n") if line.startswith(f"{member} = "))
    assert f"accounts.{member} is past the end of accounts.members" in refusal((f"\n{line}\n", f"\n{member} = 7\n"))
    load((f"\n{line}\n", f"\n{member} = 6\n"))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("scale = 10_000", "scale = 0", "parameters.0.scale = 0: input should be greater than 0"),
        ('tightening = "up"', 'tightening = "sideways"', "parameters.0.tightening = 'sideways': input should be"),
        ('role = "spot_shock_up"', 'role = "spot"', "parameters.0.role = 'spot': input should be"),
        ("parameter(uint256)", "parameter", "parameters.0.getter.function = 'parameter': string should match"),
        ("page = 256", "page = 0", "accounts.page = 0: input should be greater than 0"),
        ("page = 256", "page = 1025", "accounts.page = 1025: input should be less than or equal to 1024"),
        ('"int256"', '"int8"', "accounts.members.1 = 'int8': input should be"),
    ],
)
def test_binding__value_that_breaks_a_rule__is_told_with_its_line(refusal, old, new, said):
    line = next(number for number, text in enumerate(TEXT.split("\n"), start=1) if old in text)
    message = refusal((old, new))
    assert f"mine.toml:{line}: {said}" in message


# Calldata


def test_setter_calls__shocks_changed__writes_all_three_in_one_call():
    ((target, data),) = BOUND.setter_calls((440, 550, 1_900, 1, 2, 3), [0])
    assert target == PROTOCOL
    assert arguments(data, "set_shocks(uint256,uint256,uint256)") == (440, 550, 1_900)


def test_setter_calls__everything_changed__calls_each_setter_once_in_order():
    calls = BOUND.setter_calls(CALM_VALUES, range(6))
    names = (
        "set_shocks(uint256,uint256,uint256)",
        "set_liquidation(uint256,uint256)",
        "set_liquidation_penalty(uint256)",
    )
    assert [data[:10] for _, data in calls] == ["0x" + selector(name).hex() for name in names]
    assert arguments(calls[1][1], names[1]) == (6_000, 4_500)


def test_setter_calls__nothing_changed__calls_nothing():
    assert BOUND.setter_calls(CALM_VALUES, []) == ()


def test_setter_calls__constant_argument__is_passed_as_it_is(load):
    mine = load(
        ("set_liquidation_penalty(uint256)", "set_liquidation_penalty(uint256,uint256)"),
        ('args = ["$liquidation_penalty"]', 'args = [7, "$liquidation_penalty"]'),
    )
    ((_, data),) = BoundProtocol(mine, PROTOCOL).setter_calls(CALM_VALUES, [5])
    assert arguments(data, "set_liquidation_penalty(uint256,uint256)") == (7, 500)


def test_getters__each_parameter__is_asked_for_by_its_id():
    found = [arguments(data, "parameter(uint256)") for target, data in BOUND.getters() if target == PROTOCOL]
    assert found == [(index,) for index in range(6)]
    assert [arguments(data, "effective_parameter(uint256)") for _, data in BOUND.effective_getters()] == found


def test_effective_getters__parameter_that_does_not_ramp__is_its_getter(load):
    bound = BoundProtocol(
        load(('effective = { function = "effective_parameter(uint256)", args = [0] }\n', "")), PROTOCOL
    )
    assert bound.effective_getters()[0] == bound.getters()[0]
    assert bound.effective_getters()[1] != bound.getters()[1]


def test_getter_words__answers__are_the_words_that_the_binding_names(load):
    mine = load(("args = [0] }", "args = [0], word = 1 }"), ('effective_parameter(uint256)", args = [0]', 'e()"'))
    bound = BoundProtocol(mine, PROTOCOL)
    answers = [words(9, 10), *(words(n, 99) for n in range(1, 6))]
    assert bound.getter_words(answers) == (10, 1, 2, 3, 4, 5)
    assert bound.getter_words(answers, effective=True) == (9, 1, 2, 3, 4, 5)


def test_getter_words__short_answer__names_the_parameter():
    answers = [words(1), words(2), b"", words(4), words(5), words(6)]
    with pytest.raises(BindingError, match="shocked_vol: the answer has 0 bytes, word 0 was asked for"):
        BOUND.getter_words(answers)


def test_word__exactly_long_enough__is_read_and_one_byte_less_is_not():
    assert word(words(1, 2**256 - 1), 1, "x") == 2**256 - 1
    with pytest.raises(BindingError, match="x: the answer has 63 bytes, word 1"):
        word(words(1, 2)[:-1], 1, "x")


def test_price__answer__is_scaled_and_dated():
    target, data = BOUND.price_call()
    assert (target, data) == (PROTOCOL, "0x" + selector("price()").hex())
    assert BOUND.price(words(4_000 * 10**8 + 10**7, 1_700_000_000)) == (4_000.1, 1_700_000_000)


def test_price__short_answer__names_the_word():
    with pytest.raises(BindingError, match=r"price\.updated_word: the answer has 32 bytes"):
        BOUND.price(words(1))


def test_ramp_call__protocol_with_and_without_a_ramp(load):
    assert BOUND.ramp_call() == (PROTOCOL, "0x" + selector("ramp_duration()").hex())
    without = load(('[ramp]\nfunction = "ramp_duration()"', ""))
    assert BoundProtocol(without, PROTOCOL).ramp_call() is None


# Accounts

STRUCT = "(address,int256,uint256,uint256,uint256,bool,uint256)[]"


def page(*rows: tuple) -> bytes:
    return encode([STRUCT], [list(rows)])


def test_account_count_call__is_the_bindings_view():
    assert BOUND.account_count_call() == (PROTOCOL, "0x" + selector("account_count()").hex())


@pytest.mark.parametrize(("count", "starts"), [(0, []), (1, [0]), (256, [0]), (257, [0, 256]), (700, [0, 256, 512])])
def test_account_pages__any_count__covers_every_account_once(count, starts):
    calls = [arguments(data, "accounts(uint256,uint256)") for _, data in BOUND.account_pages(count)]
    assert calls == [(start, 256) for start in starts]


def test_accounts__pages__are_facts_in_order():
    first = page((PROTOCOL, -5, 900, 800, 700, True, 1), (STEWARD, 5, 9, 8, 7, False, 2))
    assert BOUND.accounts([first, page(), page((PROTOCOL, 1, 2, 3, 4, False, 0))]) == (
        Account(to_checksum_address(PROTOCOL), -5, 900, 800, 700, liquidatable=True),
        Account(to_checksum_address(STEWARD), 5, 9, 8, 7, liquidatable=False),
        Account(to_checksum_address(PROTOCOL), 1, 2, 3, 4, liquidatable=False),
    )
    assert BOUND.accounts([]) == ()


@pytest.mark.parametrize("answer", [b"", words(32), page((PROTOCOL, 1, 2, 3, 4, False, 0))[:-1]])
def test_accounts__answer_that_is_no_such_array__names_view_and_struct(answer):
    with pytest.raises(BindingError, match=r"accounts\.view: accounts\(uint256,uint256\) does not return \(address,"):
        BOUND.accounts([answer])


# The steward

VIEW = StewardView(
    sequence=3,
    state_hash=HASH,
    paused=True,
    values=(1, 2),
    last_good=(3, 4),
    minimum=(5, 6),
    maximum=(7, 8),
    max_step_up=(9, 10),
    max_step_down=(11, 12),
    cooldown=(13, 14),
    changed_at=(15, 16),
    group=(0, 1),
    tightening_up=(True, False),
)


def test_view_call__market__is_asked_for_by_the_hash_of_its_name():
    target, data = view_call(STEWARD, "SPX")
    assert target == STEWARD
    assert arguments(data, MARKET_STATE) == (keccak(text="SPX"),)


def test_parse_view__answer__is_every_list_in_its_place():
    columns = [list(getattr(VIEW, name)) for name in StewardView.__slots__[3:]]
    answer = encode([VIEW_TYPE], [(3, bytes.fromhex(HASH[2:]), True, *columns)])
    assert parse_view(answer) == VIEW


def test_role_call__account__is_asked_for_the_keeper_role():
    target, data = role_call(STEWARD, PROTOCOL)
    assert target == STEWARD
    assert arguments(data, "hasRole(bytes32,address)") == (keccak(text="KEEPER_ROLE"), PROTOCOL)


@pytest.mark.parametrize("answer", [b"", words(1), b"\xff" * 320])
def test_parse_view__another_contract__is_said_to_be_no_steward(answer):
    with pytest.raises(BindingError, match=r"the steward does not answer market_state\(bytes32\) as expected"):
        parse_view(answer)


CALL_LISTS = st.lists(
    st.tuples(st.binary(min_size=20, max_size=20).map(lambda raw: "0x" + raw.hex()), st.binary(max_size=70)), max_size=4
)


@given(UINTS, st.lists(st.tuples(UINTS, UINTS), max_size=5), CALL_LISTS, UINTS)
def test_apply_calldata__any_change__decodes_to_itself(sequence, changes, calls, deadline):
    raw = [(target, "0x" + data.hex()) for target, data in calls]
    data = bytes.fromhex(apply_calldata("SPX", sequence, HASH, changes, raw, DIGEST, deadline)[2:])
    assert data[:4] == selector(APPLY)
    market, *rest = decode(APPLY_TYPES, data[4:])
    assert market == market_id("SPX")
    expected = [sequence, bytes.fromhex(HASH[2:]), tuple(changes), tuple(calls), bytes.fromhex(DIGEST[2:]), deadline]
    assert rest == expected


@given(UINTS, CALL_LISTS, UINTS)
def test_rollback_calldata__any_calls__decodes_to_itself(sequence, calls, deadline):
    raw = [(target, "0x" + data.hex()) for target, data in calls]
    data = bytes.fromhex(rollback_calldata("SPX", sequence, HASH, raw, DIGEST, deadline)[2:])
    assert data[:4] == selector(ROLLBACK)
    assert decode(ROLLBACK_TYPES, data[4:]) == (
        market_id("SPX"),
        sequence,
        bytes.fromhex(HASH[2:]),
        tuple(calls),
        bytes.fromhex(DIGEST[2:]),
        deadline,
    )


def test_calldata_types__apply_and_rollback__share_their_lists_of_calls():
    assert f"apply(bytes32,uint256,bytes32,(uint256,uint256)[],{CALLS},bytes32,uint256)" == APPLY
    assert f"rollback(bytes32,uint256,bytes32,{CALLS},bytes32,uint256)" == ROLLBACK


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
    found = parse_event("SPX", log(APPLIED, encode(["uint256[]", "bytes32"], [[440, 550], b"\1" * 32])))
    assert found == StewardEvent("SPX", 4, DIGEST, (440, 550), "tune", "0xfeed", 9)


def test_parse_event__rolled_back__is_a_rollback():
    data = encode(["uint256", "uint256[]", "bytes32"], [2, [400, 500], b"\1" * 32])
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
    ("data", "message", "reason"),
    [
        (selector("Error(string)") + encode(["string"], ["risk_steward: paused"]), "x", "risk_steward: paused"),
        (selector("Panic(uint256)") + encode(["uint256"], [0x11]), "x", "panic 0x11"),
        (selector("Other()"), "execution reverted", "execution reverted"),
        (b"", "execution reverted", "execution reverted"),
        (b"", "", "reverted without a reason"),
    ],
    ids=["error", "panic", "custom", "bare", "nothing"],
)
def test_revert_reason__any_data__is_the_contracts_own_words_or_the_message(data, message, reason):
    assert revert_reason(Refused("eth_call", 3, message, "0x" + data.hex())) == reason


def test_revert_reason__bare_return_data__is_read_the_same_way():
    text = selector("Error(string)") + encode(["string"], ["no"])
    assert revert_reason("0x" + text.hex()) == "no"
    assert revert_reason("") == "reverted without a reason"
