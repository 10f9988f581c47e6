"""Check that an approved change lands exactly once, whatever happens between its signature and its receipt."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest
from eth_account import Account
from pydantic import SecretStr
from trials import (
    TIGHT,
    audited,
    decide,
    feed,
    keeper_of,
    rows,
    scripted,
)
from wires import DEATHS, SEND, Wire, killed_on_the_way, wired

from chain.anvil import CHAIN_ID, KEYS
from chain.attestation import attach
from chain.signer import LocalSigner
from keeper.journal import EntryKind
from keeper.messages import Applied, DryRun, Failed, Reason, Rejected
from keeper.verify import Agreement

pytestmark = pytest.mark.integration
pytest_plugins = ["chains"]


async def landed_once(keeper, trial):
    """Say whether exactly one attempt was made, and it is the one change on chain and in the journal."""
    attempts, applied = await rows(keeper, EntryKind.ATTEMPT), await rows(keeper, EntryKind.APPLIED)
    unfinished = await keeper.journal.unfinished_attempts()
    keys = {row.key for row in (*attempts, *applied)}
    return (len(attempts), len(applied), len(keys), unfinished, trial.nonce(), trial.sequence()) == (1, 1, 1, [], 1, 1)


def send_from_the_keepers_key(trial, nonce):
    """Let someone else use the keeper's key."""
    transaction = {
        "type": 2,
        "chainId": CHAIN_ID,
        "nonce": nonce,
        "to": trial.deployer.address,
        "value": 1,
        "gas": 21_000,
        "maxFeePerGas": 100 * 10**9,
        "maxPriorityFeePerGas": 10**9,
    }
    signed = Account.from_key(KEYS[1]).sign_transaction(transaction)
    return trial.ask(SEND, "0x" + signed.raw_transaction.hex().removeprefix("0x"))


async def test_execute__healthy_endpoint__lands_once(trial, tmp_path):
    async with wired(trial, tmp_path) as keeper:
        applied = await decide(keeper, trial)
        assert isinstance(applied, Applied)
        assert applied.values == trial.parameters()
        assert await landed_once(keeper, trial)
        assert await keeper.finish() == []


async def test_execute__at_the_moment_of_the_broadcast__the_attempt_is_on_disk(trial, tmp_path):
    found = []

    def look(wire):
        with contextlib.closing(sqlite3.connect(f"file:{tmp_path / 'keeper.db'}?mode=ro", uri=True)) as database:
            bodies = database.execute("SELECT body FROM journal WHERE kind = 'attempt'").fetchall()
        found.append(len(bodies) == 1 and wire.sent[0].encode() in bodies[0][0])

    async with wired(trial, tmp_path) as keeper:
        keeper.rpc.before = look
        assert isinstance(await decide(keeper, trial), Applied)
    assert found == [True]


async def test_execute__request_lost__is_in_flight_and_finish_lands_it_once(trial, tmp_path):
    async with wired(trial, tmp_path) as keeper:
        keeper.rpc.lost = "request"
        refused = await decide(keeper, trial)
        assert (type(refused), refused.reason) == (Rejected, Reason.IN_FLIGHT)
        assert trial.nonce() == 0
        keeper.rpc.lost = ""
        ended = await keeper.finish()
        assert [type(end) for end in ended] == [Applied]
        assert keeper.rpc.sent[0] == keeper.rpc.sent[-1]
        assert await landed_once(keeper, trial)


async def test_execute__answer_lost_after_the_node_took_it__is_applied_once(trial, tmp_path):
    async with wired(trial, tmp_path) as keeper:
        keeper.rpc.lost = "answer"
        assert isinstance(await decide(keeper, trial), Applied)
        assert await keeper.finish() == []
        assert await landed_once(keeper, trial)


async def test_execute__answer_lost_and_mined_a_moment_later__is_applied_in_the_same_tick(trial, tmp_path):
    async with wired(trial, tmp_path) as keeper:
        trial.ask("evm_setAutomine", False)
        keeper.rpc.lost = "answer"
        pauses = []

        async def mine_at_the_third(seconds):
            pauses.append(seconds)
            if len(pauses) == 3:
                trial.ask("evm_mine")

        keeper.executor.sleep = mine_at_the_third
        assert isinstance(await decide(keeper, trial), Applied)
        assert await landed_once(keeper, trial)


async def test_finish__node_already_knows_the_transaction__waits_and_lands_it_once(trial, tmp_path):
    async with wired(trial, tmp_path) as keeper:
        trial.ask("evm_setAutomine", False)
        keeper.rpc.lost = "answer"
        assert (await decide(keeper, trial)).reason is Reason.IN_FLIGHT
        keeper.rpc.lost = ""
        assert await keeper.finish() == []
        assert len(set(keeper.rpc.sent)) == 1
        assert len(keeper.rpc.sent) == 2
        trial.ask("evm_mine")
        assert [type(end) for end in await keeper.finish()] == [Applied]
        assert await landed_once(keeper, trial)


async def test_execute__earlier_attempt_unfinished__is_in_flight_and_signs_nothing(trial, tmp_path):
    async with wired(trial, tmp_path) as keeper:
        keeper.rpc.lost = "request"
        await decide(keeper, trial)
        approved = (await keeper.journal.last(EntryKind.APPROVED)).message()
        again = await keeper.executor.execute(approved, keeper.pipelines[0].market)
        attempts = await rows(keeper, EntryKind.ATTEMPT)
    assert (type(again), again.reason) == (Rejected, Reason.IN_FLIGHT)
    assert attempts[0].body["tx_hash"] in again.detail
    assert len(attempts) == 1


async def test_tick__earlier_attempt_unfinished__makes_no_second_one(trial, tmp_path):
    async with wired(trial, tmp_path) as keeper:
        keeper.rpc.lost = "request"
        outcomes = [await decide(keeper, trial) for _ in range(2)]
        assert [outcome.reason for outcome in outcomes] == [Reason.IN_FLIGHT] * 2
        keeper.rpc.lost = ""
        await decide(keeper, trial)
        assert await landed_once(keeper, trial)


async def test_finish__nonce_spent_by_another_transaction_of_the_key__is_failed_and_the_next_tick_applies(
    trial, tmp_path
):
    async with wired(trial, tmp_path) as keeper:
        keeper.rpc.lost = "request"
        await decide(keeper, trial)
        send_from_the_keepers_key(trial, 0)
        keeper.rpc.lost = ""
        assert await keeper.finish() == []
        failed = await rows(keeper, EntryKind.FAILED)
        assert [row.body["detail"] for row in failed] == ["nonce spent by another transaction"]
        assert trial.sequence() == 0
        assert isinstance(await decide(keeper, trial), Applied)
        assert (trial.nonce(), trial.sequence()) == (2, 1)


async def test_execute__foreign_transaction_of_the_key_pending__is_in_flight(trial, tmp_path):
    async with wired(trial, tmp_path) as keeper:
        trial.ask("evm_setAutomine", False)
        send_from_the_keepers_key(trial, 0)
        refused = await decide(keeper, trial)
        assert (type(refused), refused.reason) == (Rejected, Reason.IN_FLIGHT)
        assert "1 transactions of this key are pending" in refused.detail
        assert await rows(keeper, EntryKind.ATTEMPT) == []
        trial.ask("evm_mine")
        trial.ask("evm_setAutomine", True)
        assert isinstance(await decide(keeper, trial), Applied)


async def test_execute__state_changed_before_it_was_mined__is_failed_with_the_stewards_reason(trial, tmp_path):
    async with wired(trial, tmp_path) as keeper:
        keeper.rpc.before = lambda _: trial.set_behind_the_steward("set_parameters", [*trial.parameters()[:5], 400])
        failed = await decide(keeper, trial)
    assert isinstance(failed, Failed)
    assert failed.detail == "reverted: risk_steward: state has changed"
    assert failed.gas_used > 0
    assert trial.sequence() == 0


async def test_execute__reverted_attempt__does_not_block_the_next_one(trial, tmp_path):
    async with wired(trial, tmp_path) as keeper:
        keeper.rpc.before = lambda _: trial.set_behind_the_steward("set_parameters", [*trial.parameters()[:5], 400])
        assert isinstance(await decide(keeper, trial), Failed)
        keeper.rpc.before = None
        assert isinstance(await decide(keeper, trial), Applied)
    assert (trial.nonce(), trial.sequence()) == (2, 1)


async def test_execute__base_fee_over_the_cap__is_fee_too_high_and_no_attempt(trial, tmp_path):
    async with wired(trial, tmp_path) as keeper:
        trial.ask("anvil_setNextBlockBaseFeePerGas", hex(300 * 10**9))
        trial.ask("evm_mine")
        refused = await decide(keeper, trial)
        assert (type(refused), refused.reason) == (Rejected, Reason.FEE_TOO_HIGH)
        assert "300.000 gwei" in refused.detail
        assert await rows(keeper, EntryKind.ATTEMPT) == []
        assert keeper.rpc.sent == []
        trial.ask("anvil_setNextBlockBaseFeePerGas", hex(10**9))
        trial.ask("evm_mine")
        assert isinstance(await decide(keeper, trial), Applied)


async def test_finish__endpoint_refuses_until_the_deadline__is_failed_and_the_next_tick_applies(trial, tmp_path):
    async with wired(trial, tmp_path) as keeper:
        trial.ask("anvil_setBalance", trial.keeper, hex(0))
        assert (await decide(keeper, trial)).reason is Reason.IN_FLIGHT
        assert await keeper.finish() == []
        assert await rows(keeper, EntryKind.FAILED) == []
        trial.pass_time(601)
        await keeper.finish()
        failed = (await rows(keeper, EntryKind.FAILED))[0].body["detail"]
        assert failed.startswith("refused by the endpoint until its deadline passed: ")
        assert "funds" in failed.lower()
        trial.ask("anvil_setBalance", trial.keeper, hex(10**18))
        assert isinstance(await decide(keeper, trial), Applied)
        assert (trial.nonce(), trial.sequence()) == (1, 1)


async def test_finish__deadline_passed_before_the_broadcast__is_failed_and_nothing_changes(trial, tmp_path):
    before = trial.parameters()
    async with wired(trial, tmp_path) as keeper:
        keeper.rpc.lost = "request"
        await decide(keeper, trial)
        trial.pass_time(601)
        keeper.rpc.lost = ""
        await keeper.finish()
        failed = await rows(keeper, EntryKind.FAILED)
    assert [row.body["detail"] for row in failed] == ["reverted: risk_steward: deadline passed"]
    assert trial.parameters() == before


async def test_execute__dry_run__sends_nothing_and_names_the_exact_call(trial, tmp_path):
    async with keeper_of(trial, tmp_path, parts=scripted(TIGHT, open_rpc=Wire), key=None) as keeper:
        outcome = await decide(keeper, trial)
        approved = (await keeper.journal.last(EntryKind.APPROVED)).message()
        assert isinstance(outcome, DryRun)
        assert keeper.rpc.sent == []
    signature = LocalSigner(SecretStr(KEYS[1])).attest(approved.preflight.attestation)
    call = {"from": trial.keeper, "to": outcome.to, "data": attach(outcome.calldata, [signature])}
    assert trial.ask("eth_call", call, "latest") == "0x"
    assert (trial.nonce(), trial.sequence()) == (0, 0)


@pytest.mark.parametrize("death", DEATHS)
async def test_restart__killed_on_the_way__lands_once(trial, tmp_path, death):
    attempt = await killed_on_the_way(trial, tmp_path, death)
    assert not attempt.announces
    async with keeper_of(trial, tmp_path) as keeper:
        assert [type(end) for end in await keeper.finish()] == [Applied]
        assert await keeper.finish() == []
        assert await landed_once(keeper, trial)


async def test_finish__two_processes_on_one_journal_at_once__make_one_applied_row(trial, tmp_path):
    async with wired(trial, tmp_path) as ours, wired(trial, tmp_path) as theirs:
        trial.ask("evm_setAutomine", False)
        ours.rpc.lost = "request"
        assert (await decide(ours, trial)).reason is Reason.IN_FLIGHT
        ours.rpc.lost = ""
        ends = []

        async def let_the_other_finish(_):
            if not ends:
                trial.ask("evm_mine")
                ends.append(await theirs.finish())

        ours.executor.sleep = let_the_other_finish
        ends.append(await ours.finish())
        assert [[type(end) for end in finished] for finished in ends] == [[Applied], [Applied]]
        assert await landed_once(ours, trial)
        assert (await audited(ours, trial)).chain == Agreement(own=1, foreign=0, before=0)
        for keeper in (ours, theirs):
            assert keeper.pipelines[0].memory.promise.sequence == 1


async def test_restart__killed_twice_at_the_same_place__still_lands_once(trial, tmp_path):
    async with wired(trial, tmp_path) as keeper:
        keeper.rpc.lost = "request"
        await decide(keeper, trial)
    async with wired(trial, tmp_path) as keeper:
        keeper.rpc.lost = "request"
        assert await keeper.finish() == []
    async with wired(trial, tmp_path) as keeper:
        feed(keeper, *trial.quotes())
        await keeper.tick()
        assert await landed_once(keeper, trial)


async def test_roll_back__gas_over_the_cap__is_refused_until_it_falls(trial, tmp_path):
    before = trial.parameters()
    async with wired(trial, tmp_path) as keeper:
        assert isinstance(await decide(keeper, trial), Applied)
        trial.ask("anvil_setNextBlockBaseFeePerGas", hex(300 * 10**9))
        trial.ask("evm_mine")
        assert (await keeper.pipelines[0].roll_back("a test")).reason is Reason.FEE_TOO_HIGH
        trial.ask("anvil_setNextBlockBaseFeePerGas", hex(10**9))
        trial.ask("evm_mine")
        assert isinstance(await keeper.pipelines[0].roll_back("a test"), Applied)
    assert trial.parameters() == before
    assert trial.sequence() == 2
