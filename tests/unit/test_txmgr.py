"""Check what is signed, what it may cost, and what is concluded from an endpoint's answers about a transaction."""

import pytest

from chain import txmgr
from chain.rpc import Refused, Rpc, Unreachable
from chain.txmgr import GWEI, Fate, FeeTooHigh, Receipt, TxCandidate, build, fate
from config.schema import ChainSettings
from models.market import BlockStamp

STEWARD = "0xdc64a140aa3e981100a9beca4e685f962f0cf6c9"
CANDIDATE = TxCandidate(STEWARD, "0x1234", 100_000)
SETTINGS = ChainSettings(max_fee_gwei=100.0, priority_fee_gwei=2.0)
HASH = "0x" + "ab" * 32
BLOCK = {"number": "0x10", "hash": HASH, "timestamp": "0x64", "baseFeePerGas": hex(5 * GWEI)}
RECEIPT = {"status": "0x1", "gasUsed": "0x5208", "logs": [{"data": "0x"}], "blockHash": HASH}


class Scripted(Rpc):
    """An endpoint whose answers by method are values, exceptions, or functions of the request's parameters."""

    def __init__(self, **answers):
        super().__init__("http://127.0.0.1:1")
        self.answers = answers
        self.asked = []

    async def batch(self, requests):
        self.asked += requests
        return [self._answer(method, params) for method, params in requests]

    def _answer(self, method, params):
        answer = self.answers[method]
        if callable(answer):
            answer = answer(*params)
        if isinstance(answer, Exception):
            raise answer
        return answer


def nonces(mined, pending):
    return lambda _, tag: {"latest": hex(mined), "pending": hex(pending)}[tag]


def refusal(message, data=None):
    return Refused("eth_sendRawTransaction", -32_000, message, data)


def test_build__low_base_fee__offers_twice_the_base_fee_and_the_tip():
    fields = build(CANDIDATE, 31_337, 7, 10 * GWEI, SETTINGS)
    assert (fields["maxFeePerGas"], fields["maxPriorityFeePerGas"]) == (22 * GWEI, 2 * GWEI)
    assert (fields["type"], fields["chainId"], fields["nonce"], fields["value"]) == (2, 31_337, 7, 0)
    assert fields["data"] == "0x1234"
    assert fields["to"].lower() == STEWARD


def test_build__gas__has_a_margin_over_what_was_simulated():
    assert build(CANDIDATE, 1, 0, GWEI, SETTINGS)["gas"] == 130_000


def test_build__twice_the_base_fee_over_the_cap__offers_the_cap():
    assert build(CANDIDATE, 1, 0, 60 * GWEI, SETTINGS)["maxFeePerGas"] == 100 * GWEI


def test_build__base_fee_and_tip_at_the_cap__is_still_built():
    assert build(CANDIDATE, 1, 0, 98 * GWEI, SETTINGS)["maxFeePerGas"] == 100 * GWEI


def test_build__one_wei_over_the_cap__is_fee_too_high():
    with pytest.raises(FeeTooHigh, match=r"chain\.max_fee_gwei = 100\.0"):
        build(CANDIDATE, 1, 0, 98 * GWEI + 1, SETTINGS)


async def test_nonces__of_a_sender__are_asked_in_one_request():
    rpc = Scripted(eth_getTransactionCount=nonces(3, 5))
    assert await txmgr.nonces(rpc, STEWARD) == (3, 5)


async def test_nonces__answer_is_no_number__is_unreachable():
    with pytest.raises(Unreachable, match="nonce"):
        await txmgr.nonces(Scripted(eth_getTransactionCount=lambda *_: None), STEWARD)


async def test_base_fee__of_a_block__is_in_wei():
    assert await txmgr.base_fee(Scripted(eth_getBlockByHash=BLOCK), BlockStamp(16, HASH, 100)) == 5 * GWEI


@pytest.mark.parametrize("header", [None, {}, {"baseFeePerGas": None}])
async def test_base_fee__node_that_lags__is_unreachable(header):
    with pytest.raises(Unreachable, match="base fee"):
        await txmgr.base_fee(Scripted(eth_getBlockByHash=header), BlockStamp(16, HASH, 100))


TAKEN_CARE_OF = (
    "already known",
    "ALREADY_EXISTS: already known",
    "transaction already imported",
    "Known transaction: 0xabc",
    "nonce too low: next nonce 8, tx nonce 7",
    "Nonce is too low",
    "OldNonce, Current nonce: 8, nonce of rejected tx: 7",
)


@pytest.mark.parametrize("message", TAKEN_CARE_OF)
async def test_broadcast__nonce_is_taken_care_of__is_no_refusal(message):
    rpc = Scripted(eth_sendRawTransaction=refusal(message))
    await txmgr.broadcast(rpc, "0x02")
    assert rpc.asked == [("eth_sendRawTransaction", ("0x02",))]


NOT_TAKEN = ("insufficient funds for gas * price + value", "replacement transaction underpriced", "nonce too high", "")


@pytest.mark.parametrize("message", NOT_TAKEN)
async def test_broadcast__endpoint_will_not_have_it__is_refused(message):
    with pytest.raises(Refused):
        await txmgr.broadcast(Scripted(eth_sendRawTransaction=refusal(message)), "0x02")


async def test_broadcast__no_answer__is_unreachable_and_sent_once():
    rpc = Scripted(eth_sendRawTransaction=Unreachable("gone"))
    with pytest.raises(Unreachable):
        await txmgr.broadcast(rpc, "0x02")
    assert len(rpc.asked) == 1


async def test_receipt__of_a_mined_transaction__has_stamp_gas_and_logs():
    rpc = Scripted(eth_getTransactionReceipt=RECEIPT, eth_getBlockByHash=BLOCK)
    assert await txmgr.receipt(rpc, "0x01") == Receipt(BlockStamp(16, HASH, 100), True, 21_000, ({"data": "0x"},))


async def test_receipt__status_zero__did_not_succeed():
    rpc = Scripted(eth_getTransactionReceipt=RECEIPT | {"status": "0x0"}, eth_getBlockByHash=BLOCK)
    assert (await txmgr.receipt(rpc, "0x01")).succeeded is False


async def test_receipt__block_not_known_yet__is_not_mined_yet():
    rpc = Scripted(eth_getTransactionReceipt=RECEIPT, eth_getBlockByHash=None)
    assert await txmgr.receipt(rpc, "0x01") is None


async def test_fate__nonce_not_reached__is_pending():
    rpc = Scripted(eth_getTransactionCount=nonces(7, 8), eth_getTransactionReceipt=None)
    assert await fate(rpc, STEWARD, 7, "0x01") is Fate.PENDING


async def test_fate__nonce_passed_without_a_receipt__is_nonce_spent():
    rpc = Scripted(eth_getTransactionCount=nonces(8, 8), eth_getTransactionReceipt=None)
    assert await fate(rpc, STEWARD, 7, "0x01") is Fate.NONCE_SPENT


async def test_fate__receipt_though_the_count_lags__is_the_receipt():
    rpc = Scripted(eth_getTransactionCount=nonces(7, 7), eth_getTransactionReceipt=RECEIPT, eth_getBlockByHash=BLOCK)
    assert isinstance(await fate(rpc, STEWARD, 7, "0x01"), Receipt)


async def test_fate__order_of_questions__is_nonce_first():
    """Asked the other way round, a transaction mined in between would look as if another had spent its nonce."""
    rpc = Scripted(eth_getTransactionCount=nonces(7, 7), eth_getTransactionReceipt=None)
    await fate(rpc, STEWARD, 7, "0x01")
    methods = [method for method, _ in rpc.asked]
    assert methods.index("eth_getTransactionCount") < methods.index("eth_getTransactionReceipt")
