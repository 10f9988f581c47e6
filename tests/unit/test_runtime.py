"""Code that stands on a chain is told from other code, and a function is found in it or not."""

import pytest

from chain.compiler import compile_contract
from chain.runtime import has_function, runtime_of

MARKET = "options_market"


@pytest.fixture(scope="module")
def deployed():
    """The market as it would stand: its code with immutables of some value."""
    runtime = runtime_of(MARKET)
    return runtime, runtime.code + b"\xee" * runtime.immutables


def test_difference__code_with_any_immutables__is_none(deployed):
    runtime, code = deployed
    assert runtime.immutables > 0
    assert runtime.difference(code) == ""
    assert runtime.difference(runtime.code + b"\x00" * runtime.immutables) == ""


@pytest.mark.parametrize("at", [0, 1_000, -1])
def test_difference__one_byte_changed__names_it(deployed, at):
    runtime, code = deployed
    place = at % len(runtime.code)
    changed = code[:place] + bytes([code[place] ^ 1]) + code[place + 1 :]
    assert runtime.difference(changed) == f"the code differs from byte {place} on"


def test_difference__shorter_longer_or_no_code__is_told(deployed):
    runtime, code = deployed
    assert runtime.difference(code[:-1]) == f"{len(code) - 1} bytes of code, the source compiles to {len(code)}"
    assert runtime.difference(code + b"\0") == f"{len(code) + 1} bytes of code, the source compiles to {len(code)}"
    assert runtime.difference(b"") == "no code stands there"


def test_runtime_of__every_contract__is_a_part_of_the_creation_code():
    for name in ("price_feed", "collateral_token", MARKET):
        assert runtime_of(name).code in compile_contract(name).bytecode


def test_has_function__every_function_of_the_abi__is_found(deployed):
    _, code = deployed
    functions = [item for item in compile_contract(MARKET).abi if item["type"] == "function"]
    names = [f"{item['name']}({','.join(one['type'] for one in item['inputs'])})" for item in functions]
    assert len(names) > 20
    assert [name for name in names if not has_function(code, name)] == []


@pytest.mark.parametrize("name", ["set_parameters(uint256[7])", "nothing()", "transferOwnership(uint256)"])
def test_has_function__other_signature__is_not_found(deployed, name):
    assert not has_function(deployed[1], name)


def test_has_function__selector_with_leading_zeros__is_found_in_a_shorter_push():
    signature = "aeq()"  # 0x009d9f32
    assert has_function(bytes.fromhex("629d9f32"), signature)
    assert not has_function(bytes.fromhex("629d9f33"), signature)
