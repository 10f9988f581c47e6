"""Check how answers of an endpoint are matched to requests, and what becomes of those that are none."""

import itertools

import pytest

from chain.rpc import (
    Refused,
    Rpc,
    RpcError,
    Unreachable,
    block_at,
    blocks_at,
    head,
    quantity,
    read,
    require_chain,
    stamp,
)
from config.errors import KnownFault
from models.market import BlockStamp

URL = "https://operator:hunter2@rpc.example:8545/v3/apikey-1234?token=hunter3"
HASH = "0x" + "ab" * 32
BLOCK = {"number": "0x10", "hash": HASH, "timestamp": "0x5a5e9a00"}
STAMP = BlockStamp(16, HASH, 0x5A5E9A00)


class Answering(Rpc):
    """An endpoint that answers each request by method name, or as `garble` makes of the right answers."""

    def __init__(self, results=None, garble=lambda answers: answers):
        super().__init__(URL)
        self.results = results or {}
        self.garble = garble
        self.asked = []

    async def _post(self, payload):
        requests = payload if isinstance(payload, list) else [payload]
        self.asked += requests
        return self.garble([{"id": one["id"], "result": self.results[one["method"]]} for one in requests])


def test_name__of_a_url_with_credentials__is_scheme_host_and_port():
    assert Rpc(URL).name == "https://rpc.example:8545"


async def test_call__outside_its_context__is_a_programming_error():
    with pytest.raises(RuntimeError, match="outside its context"):
        await Rpc(URL).call("eth_chainId")


async def test_call__result_that_is_null__is_none():
    assert await Answering({"a": None}).call("a") is None


async def test_batch__several_requests__have_ids_of_their_own():
    rpc = Answering({"a": 1, "b": 2})
    assert await rpc.batch([("a", ()), ("b", (1, 2)), ("a", ())]) == [1, 2, 1]
    assert len({request["id"] for request in rpc.asked}) == 3
    assert [request["params"] for request in rpc.asked] == [[], [1, 2], []]


async def test_batch__answers_reversed__are_matched_by_id():
    rpc = Answering({"a": 1, "b": 2, "c": 3}, garble=lambda answers: answers[::-1])
    assert await rpc.batch([("a", ()), ("b", ()), ("c", ())]) == [1, 2, 3]


async def test_batch__one_answer_missing__names_the_method():
    rpc = Answering({"a": 1, "b": 2}, garble=lambda answers: answers[:1])
    with pytest.raises(Unreachable, match="left b unanswered"):
        await rpc.batch([("a", ()), ("b", ())])


async def test_batch__strange_entries_beside_the_answers__are_ignored():
    rpc = Answering({"a": 1, "b": 2}, garble=lambda answers: [None, 7, "text", *answers])
    assert await rpc.batch([("a", ()), ("b", ())]) == [1, 2]


async def test_call__neither_result_nor_error__is_unreachable():
    rpc = Answering({"a": 1}, garble=lambda answers: [{"id": answers[0]["id"]}])
    with pytest.raises(Unreachable, match="neither result nor error"):
        await rpc.call("a")


async def test_call__error_object__keeps_code_message_and_data():
    error = {"code": 3, "message": "execution reverted", "data": "0x08c379a0"}
    rpc = Answering({"a": 1}, garble=lambda answers: [{"id": answers[0]["id"], "error": error}])
    with pytest.raises(Refused, match=r"^a refused: execution reverted \(code 3\)$") as caught:
        await rpc.call("a")
    assert (caught.value.code, caught.value.message, caught.value.data) == (3, "execution reverted", "0x08c379a0")


ODD_ERRORS = {
    "text": ("slow down", 0, "slow down", None),
    "no_code": ({"message": "slow down"}, 0, "slow down", None),
    "null_code": ({"code": None, "message": "slow down"}, 0, "slow down", None),
    "code_as_text": ({"code": "E_LIMIT", "message": "slow down"}, 0, "slow down", None),
    "no_message": ({"code": -32_000}, -32_000, "no message", None),
    "data_as_object": ({"code": 1, "message": "m", "data": {"a": 1}}, 1, "m", None),
}


@pytest.mark.parametrize("case", ODD_ERRORS)
async def test_call__odd_error_object__is_still_a_refusal(case):
    error, code, message, data = ODD_ERRORS[case]
    rpc = Answering({"a": 1}, garble=lambda answers: [{"id": answers[0]["id"], "error": error}])
    with pytest.raises(Refused) as caught:
        await rpc.call("a")
    assert (caught.value.code, caught.value.message, caught.value.data) == (code, message, data)


async def test_call__error_without_an_id__is_the_requests_own():
    rpc = Answering({"a": 1}, garble=lambda _: [{"id": None, "error": {"code": -32_005, "message": "rate limit"}}])
    with pytest.raises(Refused, match="rate limit"):
        await rpc.call("a")


@pytest.mark.parametrize("kind", [Unreachable, Refused, RpcError])
def test_rpc_errors__of_every_kind__are_known_faults(kind):
    assert issubclass(kind, RpcError)
    assert issubclass(RpcError, KnownFault)


def test_stamp__of_a_block__has_number_hash_and_time():
    assert stamp(BLOCK) == STAMP


@pytest.mark.parametrize("block", [None, [], "0x10", {}, BLOCK | {"hash": None}, BLOCK | {"number": "0xzz"}])
def test_stamp__of_no_block__is_unreachable(block):
    with pytest.raises(Unreachable, match=r"block|number"):
        stamp(block)


@pytest.mark.parametrize(("text", "number"), [("0x0", 0), ("0xff", 255), ("0x" + "f" * 64, 2**256 - 1)])
def test_quantity__of_hex__is_the_number(text, number):
    assert quantity(text, "x") == number


@pytest.mark.parametrize("answer", [None, 7, "", "0x", "seven", [], {}])
def test_quantity__of_anything_else__is_unreachable_and_named(answer):
    with pytest.raises(Unreachable, match="no number for the nonce"):
        quantity(answer, "the nonce")


def test_quantity__of_a_long_answer__shows_its_beginning_only():
    with pytest.raises(Unreachable) as caught:
        quantity("z" * 10_000, "x")
    assert len(str(caught.value)) < 200


async def test_head__of_a_chain__is_the_latest_stamp():
    rpc = Answering({"eth_getBlockByNumber": BLOCK})
    assert await head(rpc) == STAMP
    assert rpc.asked[0]["params"] == ["latest", False]


async def test_block_at__height_without_a_block__is_none():
    rpc = Answering({"eth_getBlockByNumber": None})
    assert await block_at(rpc, 99) is None
    assert rpc.asked[0]["params"] == ["0x63", False]


class Timed(Rpc):
    """A chain whose block `first` + i was made at `times[i]`; it notes which blocks it is asked for."""

    def __init__(self, times, first=0):
        super().__init__(URL)
        self.times, self.first = times, first
        self.asked = []

    async def batch(self, requests):
        self.asked += [int(params[0], 16) for _, params in requests]
        return [self._block(number) for number in self.asked[-len(requests) :]]

    def _block(self, number):
        index = number - self.first
        if not 0 <= index < len(self.times):
            return None
        return {"number": hex(number), "hash": HASH, "timestamp": hex(self.times[index])}


TIMES = [times for length in range(1, 6) for times in itertools.combinations_with_replacement((2, 3, 5), length)]


@pytest.mark.parametrize("timestamp", [2, 3, 5])
async def test_blocks_at__every_chain_of_up_to_five_blocks__are_just_those_of_the_time(timestamp):
    for times in TIMES:
        if timestamp in times:
            found = [number for number, time in enumerate(times, start=7) if time == timestamp]
            assert await blocks_at(Timed(times, first=7), timestamp, 7, 6 + len(times)) == (found[0], found[-1])


ABSENT = {
    "before the first": ((3, 3, 5), 2, (7, 7)),
    "between two": ((2, 5, 5), 3, (8, 8)),
    "after the last": ((2, 3), 5, (8, 8)),
}


@pytest.mark.parametrize("case", ABSENT)
async def test_blocks_at__time_of_no_block__is_the_nearest_block_within_the_bounds(case):
    times, timestamp, expected = ABSENT[case]
    assert await blocks_at(Timed(times, first=7), timestamp, 7, 6 + len(times)) == expected


async def test_blocks_at__same_time_outside_the_bounds__is_not_looked_at():
    rpc = Timed((3,) * 10)
    assert await blocks_at(rpc, 3, 4, 6) == (4, 6)
    assert set(rpc.asked) <= {4, 5, 6}


async def test_blocks_at__bounds_of_one_block__is_that_block():
    assert await blocks_at(Timed((2, 3, 5)), 3, 1, 1) == (1, 1)


async def test_blocks_at__million_blocks__takes_two_binary_searches():
    rpc = Timed(range(0, 12_000_000, 12))
    assert await blocks_at(rpc, 12 * 777_777, 0, 999_999) == (777_777, 777_777)
    assert len(rpc.asked) <= 2 * 20


async def test_blocks_at__endpoint_that_does_not_know_the_newest_blocks__takes_them_for_later_ones():
    rpc = Timed((2, 3, 3, 5), first=7)
    assert await blocks_at(rpc, 3, 7, 99) == (8, 9)


async def test_require_chain__the_configured_one__passes():
    await require_chain(Answering({"eth_chainId": "0x7a69"}), 31_337)


async def test_read__of_several_calls__pins_each_to_the_blocks_hash():
    rpc = Answering({"eth_call": "0x" + "00" * 31 + "2a"})
    answers = await read(rpc, [("0xaa", "0x01"), ("0xbb", "0x02")], STAMP)
    assert [int.from_bytes(answer) for answer in answers] == [42, 42]
    pinned = {"blockHash": HASH, "requireCanonical": True}
    assert [request["params"] for request in rpc.asked] == [
        [{"to": "0xaa", "data": "0x01"}, pinned],
        [{"to": "0xbb", "data": "0x02"}, pinned],
    ]


@pytest.mark.parametrize("answer", [None, 7, "0xzz", "0x123", {}])
async def test_read__answer_is_no_bytes__is_unreachable(answer):
    with pytest.raises(Unreachable, match="no bytes"):
        await read(Answering({"eth_call": answer}), [("0xaa", "0x01")], STAMP)
