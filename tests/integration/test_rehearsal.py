"""Rehearse the setters of a protocol that has one for each parameter, and see what is told of those bound amiss."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from setups import STRANGER
from vyper.compiler import compile_code

from chain.overlap import shared_setters
from chain.protocol import BoundProtocol
from chain.rehearsal import Miswritten, makers_of, miswritten
from chain.rpc import Rpc, head, read
from config.load import load_protocol

pytestmark = pytest.mark.integration
pytest_plugins = ["chains", "bare_chains"]

TARGETS = Path(__file__).parent / "targets"
ROOM = [(1, 1_000)] * 3
VALUES = (100, 20, 30)
KEEPS = "positions: too wide"


@pytest.fixture(scope="module")
def market(fresh_chain):
    """The protocol, whose setters anyone may call."""
    output = compile_code((TARGETS / "positions.vy").read_text(), output_formats=["abi", "bytecode"])
    eth = fresh_chain.deployer.web3.eth
    factory = eth.contract(abi=output["abi"], bytecode=output["bytecode"])
    tx_hash = factory.constructor(VALUES).transact({"from": fresh_chain.deployer.address})
    receipt = eth.wait_for_transaction_receipt(tx_hash, poll_latency=0.01)
    return eth.contract(address=receipt["contractAddress"], abi=output["abi"])


@pytest.fixture
def bind(market, tmp_path):
    """Bind it, its file changed piece by piece."""

    def run(*replacements, board=7):
        text = (TARGETS / "positions.toml").read_text()
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new, 1)
        (tmp_path / "mine.toml").write_text(text)
        protocol = load_protocol("mine.toml", tmp_path / "keeper.toml")
        return BoundProtocol(protocol, {"market": market.address}, {"board": board})

    return run


@pytest.fixture
def rehearsed(bare):
    """Rehearse as an account that has no part in the protocol; return who refused it, and what was miswritten."""

    def run(bound, corridors=ROOM):
        async def go():
            async with Rpc(bare.url) as rpc:
                block = await head(rpc)
                values = bound.values(await read(rpc, bound.reads(), block))
                makers, missing = await makers_of(rpc, bound, values, STRANGER, block)
                return missing, await miswritten(rpc, bound, values, makers, corridors, block)

        return asyncio.run(go())

    return run


def test_miswritten__a_setter_for_each_parameter__writes_what_is_read(bind, rehearsed):
    assert rehearsed(bind()) == ([], [])


def test_miswritten__setter_of_another_parameter__is_told_by_the_value_that_changed(bind, rehearsed):
    _, wrong = rehearsed(bind(('args = ["$market.board", 1, "$second"]', 'args = ["$market.board", 0, "$second"]')))
    assert wrong == [Miswritten(0, "growth is 100, and 20 once all live values were written")]


def test_miswritten__getter_of_what_never_changes__tells_that_nothing_moved(bind, rehearsed):
    getter = 'getter = { function = "values_of(uint256)", args = ["$market.board"], word = 4 }'
    bound = bind((getter, 'getter = { function = "largest()", word = 1 }'))
    _, wrong = rehearsed(bound, [*ROOM[:2], (1, 2_000)])
    assert wrong == [Miswritten(2, f"third {move}: no parameter moved") for move in ("+1", "-1")]


def test_miswritten__protocol_takes_one_direction_alone__is_enough(bare, market, bind, rehearsed):
    bare.deployer.send(market, "keep_within", 10)
    assert rehearsed(bind()) == ([], [])


def test_miswritten__protocol_refuses_all_that_the_corridor_allows__is_told_as_unknown(bare, market, bind, rehearsed):
    bare.deployer.send(market, "keep_within", 10)
    _, wrong = rehearsed(bind(), [(1, 1_000), (1, 1_000), (30, 31)])
    assert wrong == [Miswritten(2, f"third +1: {KEEPS}", refused=True)]


def test_miswritten__corridor_is_one_value__is_not_moved(bare, market, bind, rehearsed):
    bare.deployer.send(market, "keep_within", 10)
    assert rehearsed(bind(), [(100, 100), (20, 20), (30, 30)]) == ([], [])


def test_makers_of__protocol_refuses_its_own_live_values__gives_its_reason_and_no_handover(
    bare, market, bind, rehearsed
):
    bare.deployer.send(market, "keep_within", 50)
    bare.deployer.send(market, "set_value", 7, 2, 70)
    bare.ask("anvil_setStorageAt", market.address, *_widest(bare, market, 9))
    ((refused,), _) = rehearsed(bind())
    assert (refused.reason, refused.maker, refused.handover) == (KEEPS, None, None)
    assert refused.remedy.startswith("it refuses these calls and names no owner: mend the binding's setter")


def _widest(bare, market, value):
    """Return the slot that holds 50, and what to write there."""
    eth = bare.deployer.web3.eth
    slot = next(slot for slot in range(32) if int.from_bytes(eth.get_storage_at(market.address, slot)) == 50)
    return hex(slot), "0x" + value.to_bytes(32).hex()


def test_shared_setters__same_contract_with_other_constants__are_none(bind):
    one, other = bind(), bind(board=8)
    assert list(shared_setters({"A": one, "B": other})) == []
    shared = list(shared_setters({"A": one, "B": bind(), "C": other}))
    assert [names[:2] for names in shared] == [("A", "B")] * 3
