"""Rehearse the setters of a protocol that has one for each parameter, and see what is told of those bound amiss."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from setups import STRANGER
from vyper.compiler import compile_code

from chain.protocol import BoundProtocol
from chain.rehearsal import Miswritten, Rehearsal, Untried, makers_of, rehearse
from chain.rpc import Rpc, head, read
from config.load import load_protocol

pytestmark = pytest.mark.integration
pytest_plugins = ["chains", "bare_chains"]

TARGETS = Path(__file__).parent / "targets"
VALUES = (100, 20, 30)
KEEPS = "positions: too wide"
HELD = "positions: held"
BETWEEN = ('name = "positions"', 'name = "positions"\ninvariants = ["second <= third", "third <= growth"]')
FIXED = ('function = "values_of(uint256)", args = ["$market.board"], word = 4', 'function = "largest()", word = 1')


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

    def run(*replacements):
        text = (TARGETS / "positions.toml").read_text()
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new, 1)
        (tmp_path / "mine.toml").write_text(text)
        protocol = load_protocol("mine.toml", tmp_path / "keeper.toml")
        return BoundProtocol(protocol, {"market": market.address}, {"board": 7})

    return run


@pytest.fixture
def rehearsed(bare):
    """Rehearse as an account that has no part in the protocol; return who refused it, and what came of it."""

    def run(bound, maker=STRANGER):
        async def go():
            async with Rpc(bare.url) as rpc:
                block = await head(rpc)
                values = bound.values(await read(rpc, bound.reads(), block))
                makers, missing = await makers_of(rpc, bound, values, maker, block)
                return missing, await rehearse(rpc, bound, values, makers, block)

        return asyncio.run(go())

    return run


def test_rehearse__a_setter_for_each_parameter__writes_what_is_read(bind, rehearsed):
    assert rehearsed(bind()) == ([], Rehearsal())


def test_rehearse__protocol_that_refuses_a_value_that_is_set_already__is_rehearsed_by_others(
    bare, market, bind, rehearsed
):
    """The steward never sets what is set: the protocol is bound well, and what is bound amiss is still seen."""
    bare.deployer.send(market, "be_fussy")
    assert rehearsed(bind()) == ([], Rehearsal())
    _, found = rehearsed(bind(('args = ["$market.board", 1, "$second"]', 'args = ["$market.board", 0, "$second"]')))
    assert found.wrong != ()


def test_rehearse__setter_of_another_parameter__is_told_by_the_value_that_changed(bind, rehearsed):
    _, found = rehearsed(bind(('args = ["$market.board", 1, "$second"]', 'args = ["$market.board", 0, "$second"]')))
    assert found == Rehearsal((Miswritten(0, "growth is 100, and 20 once all live values were written"),))


def test_rehearse__getter_of_what_never_changes__tells_that_nothing_moved(bind, rehearsed):
    _, found = rehearsed(bind(FIXED))
    assert found.wrong == tuple(Miswritten(2, f"third {move}: no parameter moved") for move in ("+1", "-1"))


def test_rehearse__protocol_takes_one_direction_alone__is_enough(bare, market, bind, rehearsed):
    bare.deployer.send(market, "keep_within", 10)
    assert rehearsed(bind()) == ([], Rehearsal())


def test_rehearse__neither_direction_can_be_taken__is_told_as_not_tried_and_why(bare, market, bind, rehearsed):
    bare.deployer.send(market, "set_value", 7, 2, 0)
    bare.deployer.send(market, "hold", 2)
    _, found = rehearsed(bind())
    assert found == Rehearsal(untried=(Untried("third", 2, f"third -1: below 0; third +1: {HELD}"),))


def test_rehearse__nobody_is_known_who_may_set_it__is_told_as_not_tried(market, bind, rehearsed):
    _, found = rehearsed(bind(), maker=None)
    assert [one.parameter for one in found.untried] == ["growth", "second", "third"]
    assert found.untried[0].reason.startswith(f"growth +1: nobody is known from whom {market.address} takes it")


@pytest.fixture
def equal(bare, market):
    """All three are 1,000, the most that the protocol says there is; the first is counted in hundredths."""
    for index, value in enumerate((100_000, 1_000, 1_000)):
        bare.deployer.send(market, "set_value", 7, index, value)


@pytest.mark.usefixtures("equal")
def test_rehearse__orderings_allow_neither_direction_alone__moves_what_it_is_ordered_against_too(bind, rehearsed):
    assert rehearsed(bind(BETWEEN)) == ([], Rehearsal())
    _, found = rehearsed(bind(BETWEEN, FIXED))
    assert [wrong.sentence for wrong in found.wrong] == [
        "growth +102, third +1: growth moved by +102",
        "growth +102, third +1: growth moved by +102",
        "second -2, third -1: second moved by -2",
        "second -2, third -1: second moved by -2",
    ]


@pytest.mark.usefixtures("equal")
def test_rehearse__orderings_allow_no_move_at_all__is_told_as_not_tried(bind, rehearsed):
    tied = (BETWEEN[0], BETWEEN[1].replace("third <= growth", "third <= second"))
    _, found = rehearsed(bind(tied))
    assert found.wrong == ()
    assert [one.parameter for one in found.untried] == ["second", "third"]
    assert "third +1: breaks 'third <= second'" in found.untried[1].reason


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
