"""Two markets of one steward must not write the same setting, by whatever call they do it."""

from pathlib import Path

import pytest
from bindings import CONTRACTS, KEYS, SHIPPED, built
from eth_utils import to_checksum_address

from chain.overlap import shared_settings
from chain.protocol import BoundProtocol
from config.load import DEFAULT_SETTINGS

TARGETS = Path(__file__).parents[1] / "integration" / "targets"
POSITIONS = (TARGETS / "positions.toml").read_text()
VAULTS = (TARGETS / "vaults.toml").read_text()
LYRA = (DEFAULT_SETTINGS.parent / "protocols" / "lyra_v1.toml").read_text()
HERE, THERE = "0x" + "ab" * 20, "0x" + "cd" * 20
ASSET = "0x" + "a5" * 32
BOTH = ("ONE", "TWO")
NAMES = (("growth", 2), ("second", 3), ("third", 4))

OTHER_INDICES = tuple((f'["$market.board", {index},', f'["$market.board", {index + 8},') for index in range(3))
OTHER_WORDS = tuple((f"word = {word}", f"word = {word + 8}") for word in (2, 3, 4))


def shared(one, two):
    return list(shared_settings(dict(zip(BOTH, (one, two), strict=True))))


def positions(*replacements, board=7, at=HERE):
    return BoundProtocol(built(POSITIONS, *replacements), {"market": at}, {"board": board})


def vaults(asset=ASSET, *, is_put=True):
    return BoundProtocol(built(VAULTS), {"pool": HERE, "controller": HERE}, {"asset": asset, "is_put": is_put})


def lyra(cache, beneficiary=HERE):
    contracts = {"option_greek_cache": cache, "option_token": HERE, "option_market": HERE, "synthetix_adapter": HERE}
    return BoundProtocol(built(LYRA), contracts, {"reward_beneficiary": beneficiary})


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (positions(), positions(board=8)),
        (positions(), positions(at=THERE)),
        (vaults(), vaults(is_put=False)),
        (vaults(), vaults("0x" + "a6" * 32)),
        (lyra(HERE), lyra(THERE)),
        (BoundProtocol(built(SHIPPED), {"market": HERE}), BoundProtocol(built(SHIPPED), {"market": THERE})),
        (BoundProtocol(built(), CONTRACTS, KEYS), positions()),
    ],
    ids=["board", "contract", "hashed bool", "hashed asset", "lyra's cache", "reference market", "other protocol"],
)
def test_shared_settings__another_key_or_contract__are_none(one, two):
    assert shared(one, two) == []


@pytest.mark.parametrize(
    ("one", "two", "setters"),
    [
        (positions(), positions(at=HERE.upper().replace("X", "x")), 3),
        (vaults(), vaults(), 1),
        (lyra(HERE), lyra(HERE, beneficiary=THERE), 1),
    ],
    ids=["positions", "vaults", "lyra with another key that no setter has"],
)
def test_shared_settings__same_calls__are_told_once_a_setter(one, two, setters):
    found = shared(one, two)
    assert [names[:2] for names in found] == [BOTH] * setters
    assert all(what.startswith("setter set") for *_, what in found)


def test_shared_settings__calls_differ_in_a_constant_and_read_the_same__are_told_by_what_is_read():
    found = shared(positions(), positions(*OTHER_INDICES))
    where = f"of values_of(uint256) of {to_checksum_address(HERE)},"
    assert found == [(*BOTH, f"{name}, word {word} {where}") for name, word in NAMES]


def test_shared_settings__calls_differ_in_a_constant_and_read_other_words__are_none():
    assert shared(positions(), positions(*OTHER_INDICES, *OTHER_WORDS)) == []


def test_shared_settings__other_function_that_writes_what_the_first_reads__is_told_by_what_is_read():
    renamed = [("set_value(uint256,uint256,uint256)", "force_value(uint256,uint256,uint256)")] * 3
    assert [what.split(",")[0] for *_, what in shared(positions(), positions(*renamed))] == [name for name, _ in NAMES]


def test_shared_settings__constant_of_one_is_a_value_of_the_other__is_shared():
    free = ('["$market.board", 8, "$growth"]', '["$market.board", "$growth", 5]')
    found = shared(positions(), positions(*OTHER_INDICES, free, *OTHER_WORDS))
    assert found == [(*BOTH, f"setter set_value(uint256,uint256,uint256) of {to_checksum_address(HERE)}")]
