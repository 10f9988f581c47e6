"""An argument template becomes exactly the value that the ABI encoder takes, or is told what it does not fit."""

import pytest
from eth_abi import encode
from eth_abi.packed import encode_packed
from eth_utils import keccak
from hypothesis import given
from hypothesis import strategies as st

from config.calls import Function, placeholders
from config.templates import Reference, fill, findings, from_abi, parse_template, to_abi

ADDRESS = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
WRONG_CHECKSUM = "0x5aaeb6053F3E94C9b9A09f33669435E7Ef1BeAed"


def filled(raw, type_text, **values):
    template = parse_template(raw)
    scope = dict.fromkeys(values, "uint256")
    assert list(findings(template, type_text, scope)) == []
    return fill(template, type_text, values)


@pytest.mark.parametrize(
    ("raw", "type_text", "value"),
    [
        (5, "uint8", 5),
        (-128, "int8", -128),
        (2**256 - 1, "uint256", 2**256 - 1),
        (True, "bool", True),
        (ADDRESS, "address", ADDRESS),
        (ADDRESS.lower(), "address", ADDRESS.lower()),
        ("0x0102", "bytes2", b"\1\2"),
        ("0x", "bytes", b""),
        ("0x010203", "bytes", b"\1\2\3"),
        ("SPX", "string", "SPX"),
        ("0x01", "string", "0x01"),
        ([1, 2, 3], "uint8[]", (1, 2, 3)),
        ([], "uint8[]", ()),
        ([1, 2], "uint8[2]", (1, 2)),
        ([[1, True], [2, False]], "(uint8,bool)[]", ((1, True), (2, False))),
        ([1, [2, [3, 4]]], "(uint8,(uint8,uint8[2]))", (1, (2, (3, 4)))),
    ],
)
def test_fill__constant__is_typed_by_the_signature(raw, type_text, value):
    assert filled(raw, type_text) == value


@pytest.mark.parametrize(
    ("raw", "type_text", "rule"),
    [
        (256, "uint8", "does not fit uint8"),
        (-1, "uint8", "does not fit uint8"),
        (128, "int8", "does not fit int8"),
        (-129, "int8", "does not fit int8"),
        (True, "uint8", "does not make a uint8"),
        (1, "bool", "does not make a bool"),
        ("1", "uint8", "does not make a uint8"),
        ("true", "bool", "does not make a bool"),
        (WRONG_CHECKSUM, "address", "must be an address: 20 bytes in hex, in lower case or with a right checksum"),
        (ADDRESS[:-1], "address", "must be an address: 20 bytes in hex, in lower case or with a right checksum"),
        (5, "address", "does not make an address"),
        ("0x01", "bytes2", "does not make a bytes2: write 0x and two digits a byte"),
        ("0x010", "bytes", "does not make a bytes: write 0x and two digits a byte"),
        ("SPX", "bytes", "does not make a bytes: write 0x and two digits a byte"),
        ("0x01", "bytes1[]", "does not make a bytes1[]"),
        (5, "string", "does not make a string"),
        ([1], "uint8[2]", "1 items in a list do not make a uint8[2]"),
        ([1], "(uint8,uint8)", "1 items in a list do not make a (uint8,uint8)"),
        ([1], "uint8", "1 items in a list do not make a uint8"),
        ([1, 256], "uint8[]", "does not fit uint8"),
        ([], "uint8", "0 items in a list do not make a uint8"),
    ],
)
def test_findings__constant_that_does_not_fit__is_one_rule(raw, type_text, rule):
    assert list(findings(parse_template(raw), type_text, {})) == [rule]


@given(st.integers(1, 32), st.integers())
def test_to_abi__any_integer__fits_exactly_its_types_range(size, number):
    bits = 8 * size
    for type_text, low, high in ((f"uint{bits}", 0, 2**bits), (f"int{bits}", -(2 ** (bits - 1)), 2 ** (bits - 1))):
        if low <= number < high:
            assert to_abi(number, type_text) == number
        else:
            with pytest.raises(ValueError, match=f"does not fit {type_text}"):
                to_abi(number, type_text)


@pytest.mark.parametrize("packed", [False, True])
def test_fill__hash__is_of_the_items_encoding(packed):
    types = ["string", "uint8", "bytes32"]
    raw = {"keccak": ["SPX", "$board", "0x" + "07" * 32], "types": types, "packed": packed}
    expected = keccak((encode_packed if packed else encode)(types, ["SPX", 3, b"\7" * 32]))
    assert filled(raw, "bytes32", board=3) == expected
    assert filled(raw, "uint256", board=3) == int.from_bytes(expected)


def test_fill__hash_of_a_hash__nests_as_mappings_of_mappings_do():
    inner = {"keccak": ["$account", 2], "types": ["uint256", "uint256"]}
    outer = {"keccak": [9, inner], "types": ["uint256", "bytes32"]}
    expected = keccak(encode(["uint256", "bytes32"], [9, keccak(encode(["uint256", "uint256"], [4, 2]))]))
    assert filled(outer, "bytes32", account=4) == expected


def test_fill__hash_inside_a_struct_inside_an_array__is_found():
    raw = [[{"keccak": [1], "types": ["uint8"]}, "$n"]]
    assert filled(raw, "(bytes32,uint8)[]", n=5) == ((keccak(encode(["uint8"], [1])), 5),)


def test_fill__name_whose_value_does_not_fit__raises_the_rule():
    with pytest.raises(ValueError, match="does not fit uint8"):
        fill(Reference("n"), "uint8", {"n": 256})


@pytest.mark.parametrize(
    ("known", "wanted", "fits"),
    [
        ("uint256", "uint8", True),
        ("uint8", "int256", True),
        ("address", "address", True),
        ("bytes32", "bytes32", True),
        ("bytes32", "uint256", False),
        ("bytes4", "bytes32", False),
        ("address", "uint256", False),
        ("bool", "uint8", False),
        ("parameter", "uint8", True),
        ("parameter", "int128", True),
        ("parameter", "bytes32", False),
    ],
)
def test_findings__name__fits_its_own_type_and_integers_each_other(known, wanted, fits):
    assert (list(findings(Reference("n"), wanted, {"n": known})) == []) is fits


@pytest.mark.parametrize("raw", ["$", "$1", "$a b", "$a.", "$a..b", "$a.b c", "$$a"])
def test_parse_template__name_in_another_form__is_refused(raw):
    with pytest.raises(ValueError, match="is not a name"):
        parse_template(raw)


def test_from_abi__decoded_values__are_what_toml_would_write():
    assert from_abi(ADDRESS.lower(), "address") == ADDRESS
    assert from_abi(b"\1\xff", "bytes2") == "0x01ff"
    assert from_abi(-5, "int8") == -5
    assert from_abi(True, "bool") is True


def test_calldata__without_arguments__is_the_selector():
    assert Function(function="price()").calldata({}) == keccak(text="price()")[:4]


@given(st.lists(st.sampled_from(["uint256", "int8", "bool", "address", "bytes4", "bytes32"]), max_size=6))
def test_placeholders__any_types__make_calldata_of_the_size_of_every_other(types):
    names = [f"n{index}" for index in range(len(types))]
    function = Function(function=f"f({','.join(types)})", args=[f"${name}" for name in names])
    scope = dict(zip(names, types, strict=True))
    sizes = {len(function.calldata(placeholders(scope, number))) for number in (0, 1)}
    assert sizes == {4 + 32 * len(types)}
