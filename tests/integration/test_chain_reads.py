"""Check that every read of a decision is of one block, and that an endpoint's faults are named without its secrets."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from aiohttp import web
from processes import SECRETS, closed_port, http_server
from trials import MARKET, RISKY_DEPOSIT, SPOT, at_head

from chain import rpc as rpc_module
from chain.anvil import CHAIN_ID
from chain.protocol import BindingError
from chain.rpc import Refused, Rpc, RpcError, Unreachable, WrongChain, block_at, head, require_chain
from chain.steward import market_id
from config.abi import Named

pytestmark = pytest.mark.integration
pytest_plugins = ["chains"]


async def test_state__at_head__shows_steward_market_price_and_accounts(trial, rpc):
    state = await at_head(rpc, trial)
    assert (state.market, state.sequence, state.paused) == ("SPX", 0, False)
    assert state.values == trial.parameters() == state.last_good
    assert state.oracle_price == SPOT
    assert state.block == await head(rpc)
    limits = state.parameters[0]
    assert (limits.minimum, limits.maximum, limits.max_step_up, limits.max_step_down) == (200, 4_000, 200, 50)


async def test_state__book_of_three_pages__has_every_account_once(trial, rpc):
    accounts = (await at_head(rpc, trial)).accounts
    count = trial.market.functions.account_count().call()
    assert [account.address for account in accounts] == [
        trial.market.functions.account_at(index).call() for index in range(count)
    ]
    assert count == 5
    risky = next(account for account in accounts if account.address == trial.risky)
    assert risky.equity == RISKY_DEPOSIT
    health = trial.market.functions.health(trial.risky).call()
    assert (risky.initial_margin, risky.maintenance_margin, risky.liquidation_margin) == tuple(health[2:5])


def with_view(protocol, **changes):
    """Return a binding whose view of all accounts is another."""
    view = protocol.accounts.view.model_copy(update=changes)
    return protocol.model_copy(update={"accounts": protocol.accounts.model_copy(update={"view": view})})


async def test_state__whole_pages__equals_one_page(trial, rpc):
    whole = trial.bound(rpc, with_view(trial.protocol, page=256))
    block = await head(rpc)
    assert (await whole.state(block)).accounts == (await trial.bound(rpc).state(block)).accounts


async def test_state__chain_moved_on__still_shows_the_stamped_block(trial, rpc):
    block = await head(rpc)
    trial.post_price(SPOT + 10)
    assert (await trial.bound(rpc).state(block)).oracle_price == SPOT
    assert (await at_head(rpc, trial)).oracle_price == SPOT + 10


async def test_state__block_reorged_away_after_the_stamp__is_refused(trial, rpc):
    trial.ask("evm_mine")
    block = await head(rpc)
    trial.reorganise()
    assert (await block_at(rpc, block.number)).hash != block.hash
    with pytest.raises(RpcError):
        await trial.bound(rpc).state(block)


async def test_state__reorg_between_its_two_round_trips__is_refused(trial):
    trial.ask("evm_mine")

    class Reorging(Rpc):
        reads = 0

        async def batch(self, requests):
            answers = await super().batch(requests)
            if requests[0][0] == "eth_call":
                self.reads += 1
                if self.reads == 1:
                    trial.reorganise()
            return answers

    async with Reorging(trial.url) as rpc:
        with pytest.raises(RpcError):
            await at_head(rpc, trial)
        assert rpc.reads == 1


async def test_state__getters_swapped_in_the_binding__is_a_binding_error(trial, rpc):
    first, second, *others = trial.protocol.parameters
    swapped = [
        first.model_copy(update={"getter": second.getter}),
        second.model_copy(update={"getter": first.getter}),
        *others,
    ]
    market = trial.bound(rpc, trial.protocol.model_copy(update={"parameters": swapped}))
    with pytest.raises(BindingError, match="not the same getters"):
        await market.state(await head(rpc))


async def test_state__account_layout_of_another_contract__is_a_binding_error(trial, rpc):
    wider = [*trial.protocol.accounts.view.returns, Named("uint256", "more")]
    market = trial.bound(rpc, with_view(trial.protocol, returns=wider))
    with pytest.raises(BindingError, match=r"accounts\.view"):
        await market.state(await head(rpc))


async def test_state__steward_address_without_code__is_a_binding_error(trial, rpc):
    elsewhere = replace(trial.bound(rpc), steward=trial.deployer.address)
    with pytest.raises(BindingError, match="steward"):
        await elsewhere.state(await head(rpc))


async def test_state__market_without_policies__is_refused_with_the_stewards_words(trial, rpc):
    unknown = replace(trial.bound(rpc), name="NDX")
    with pytest.raises(Refused, match="risk_steward: no policy"):
        await unknown.state(await head(rpc))


async def test_state__market_that_governance_retired__is_a_binding_error(trial, rpc):
    trial.govern("retire", market_id(MARKET))
    with pytest.raises(BindingError, match="SPX: the steward has no active market of that name"):
        await at_head(rpc, trial)


async def test_state__market_that_the_guardian_paused__says_so_until_governance_lifts_it(trial, rpc):
    trial.pause()
    assert (await at_head(rpc, trial)).paused
    trial.unpause()
    assert not (await at_head(rpc, trial)).paused


async def test_require_chain__other_chain__names_both(rpc):
    with pytest.raises(WrongChain, match=f"serves chain {CHAIN_ID}, chain.chain_id is 1$"):
        await require_chain(rpc, 1)
    await require_chain(rpc, CHAIN_ID)


async def test_block_at__above_the_head__is_none(rpc):
    assert await block_at(rpc, (await head(rpc)).number + 1) is None


def _json(body, status=200):
    async def answer(_):
        return web.json_response(body, status=status)

    return answer


def _text(body, status=200):
    async def answer(_):
        return web.Response(body=body, status=status, content_type="text/html")

    return answer


RATE_LIMIT = {"jsonrpc": "2.0", "id": None, "error": {"code": -32005, "message": "rate limit exceeded"}}
FAULTS = {
    "http_500": (_text(b"oops", 500), Unreachable, "HTTP 500"),
    "http_429": (_json(RATE_LIMIT, 429), Unreachable, "HTTP 429"),
    "no_json": (_text(b"<html>gateway</html>"), Unreachable, "gave no answer"),
    "not_text": (_text(b"\xff\xfe\x00"), Unreachable, "gave no answer"),
    "empty": (_text(b""), Unreachable, "unanswered"),
    "a_number": (_json(7), Unreachable, "unanswered"),
    "null": (_json(None), Unreachable, "unanswered"),
    "empty_list": (_json([]), Unreachable, "unanswered"),
    "other_id": (_json({"jsonrpc": "2.0", "id": 999_999, "result": "0x1"}), Unreachable, "unanswered"),
    "rate_limit_without_id": (_json(RATE_LIMIT), Refused, r"rate limit exceeded \(code -32005\)"),
    "rate_limit_as_list": (_json([RATE_LIMIT]), Refused, "rate limit exceeded"),
    "error_as_text": (_json({"error": "too many requests"}), Refused, "too many requests"),
    "error_with_odd_code": (_json({"error": {"code": None, "message": "busy"}}), Refused, "busy"),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_head__endpoint_answers_badly__is_a_known_fault_without_secrets(fault):
    answer, kind, words = FAULTS[fault]
    async with http_server(answer) as url, Rpc(url) as rpc:
        with pytest.raises(kind, match=words) as caught:
            await head(rpc)
        assert not any(secret in str(caught.value) for secret in SECRETS)
        assert caught.value.__cause__ is None


ODD_BLOCKS = (None, {}, "0x1", {"number": "seven", "hash": "0x", "timestamp": "0x0"}, {"number": 7, "hash": "0x"})


@pytest.mark.parametrize("block", ODD_BLOCKS)
async def test_head__answer_is_no_block__is_unreachable(block):
    async def answer(request):
        return web.json_response({"jsonrpc": "2.0", "id": (await request.json())["id"], "result": block})

    async with http_server(answer) as url, Rpc(url) as rpc:
        with pytest.raises(Unreachable, match=r"block|number"):
            await head(rpc)


async def test_require_chain__answer_is_no_number__is_unreachable():
    async def answer(request):
        return web.json_response({"jsonrpc": "2.0", "id": (await request.json())["id"], "result": None})

    async with http_server(answer) as url, Rpc(url) as rpc:
        with pytest.raises(Unreachable, match="eth_chainId"):
            await require_chain(rpc, CHAIN_ID)


async def test_batch__one_of_two_unanswered__is_unreachable():
    async def answer(request):
        first = (await request.json())[0]
        return web.json_response([{"jsonrpc": "2.0", "id": first["id"], "result": "0x1"}])

    async with http_server(answer) as url, Rpc(url) as rpc:
        with pytest.raises(Unreachable, match="left eth_gasPrice unanswered"):
            await rpc.batch([("eth_chainId", ()), ("eth_gasPrice", ())])


async def test_batch__answers_out_of_order__come_back_in_order():
    async def answer(request):
        asked = await request.json()
        return web.json_response([{"id": one["id"], "result": one["method"]} for one in reversed(asked)])

    async with http_server(answer) as url, Rpc(url) as rpc:
        assert await rpc.batch([("a", ()), ("b", ()), ("c", ())]) == ["a", "b", "c"]


async def test_call__endpoint_hangs__is_unreachable(monkeypatch):
    monkeypatch.setattr(rpc_module, "TIMEOUT_SECONDS", 0.2)
    released = asyncio.Event()

    async def hang(_):
        await released.wait()
        return web.Response()

    async with http_server(hang) as url, Rpc(url) as rpc:
        with pytest.raises(Unreachable, match="gave no answer") as caught:
            await rpc.call("eth_chainId")
        released.set()
    assert not any(secret in str(caught.value) for secret in SECRETS)


async def test_call__nothing_listens__is_unreachable_without_secrets():
    async with Rpc(f"http://operator:hunter2@127.0.0.1:{closed_port()}/v3/apikey-1234") as rpc:
        with pytest.raises(Unreachable) as caught:
            await rpc.call("eth_chainId")
    assert not any(secret in str(caught.value) for secret in SECRETS)
    assert not any(secret in rpc.name for secret in SECRETS)
