"""Check that what governance and earlier changes left on chain is what the next decision goes by."""

from __future__ import annotations

from dataclasses import replace

import pytest
from eth_utils import keccak
from trials import CALM, LOOSE, MARKET, TIGHT, at_head, decide, keeper_of, refusal, rows, scripted

from chain.rpc import Rpc, Unreachable, block_at, head
from chain.steward import ACTIVATED, market_id
from keeper.journal import EntryKind
from keeper.messages import Applied, NoChange, ProposalKind, Reason

pytestmark = pytest.mark.integration
pytest_plugins = ["chains"]

WEEK = 604_800
MINUTE = 60
SHOCKS = ("spot_shock_up", "spot_shock_down")


# Policies


async def test_tick__governance_narrows_a_step_between_two_ticks__the_next_change_keeps_it(trial, tmp_path):
    before = trial.parameters()
    async with keeper_of(trial, tmp_path, TIGHT) as keeper:
        assert isinstance(await decide(keeper, trial, vol=0.16), Applied)
        middle = trial.parameters()
        trial.limit("shocked_vol", max_step_up=7, cooldown_seconds=0)
        trial.pass_time(MINUTE)
        assert isinstance(await decide(keeper, trial, vol=0.25), Applied)
    assert (middle[2] - before[2], trial.parameters()[2] - middle[2]) == (200, 7)


async def test_tick__governance_lowers_a_corridor_between_two_ticks__the_next_change_is_refused(trial, tmp_path):
    async with keeper_of(trial, tmp_path, CALM) as keeper:
        assert isinstance(await decide(keeper, trial), NoChange)
        trial.limit("shocked_vol", maximum=trial.parameters()[2] + 100)
        refused = await decide(keeper, trial, vol=0.25)
    assert (refused.reason, refused.detail.split(":")[0]) == (Reason.OUTSIDE_CORRIDOR, "shocked_vol")
    assert trial.sequence() == 0


async def test_state__policy_in_force__is_read_once_and_the_next_one_when_it_comes(trial):
    class Counting(Rpc):
        codes = 0

        async def batch(self, requests):
            self.codes += sum(method == "eth_getCode" for method, _ in requests)
            return await super().batch(requests)

    async with Counting(trial.url) as rpc:
        market = trial.bound(rpc)
        first = [await market.state(await head(rpc)) for _ in range(2)]
        assert rpc.codes == 1
        trial.limit("shocked_vol", maximum=9_999)
        second = await market.state(await head(rpc))
        assert rpc.codes == 2
    assert first[0].policy == first[1].policy != second.policy
    assert (first[0].parameters[2].maximum, second.parameters[2].maximum) == (25_000, 9_999)


async def test_tick__drift_budget_spent_on_chain__moves_no_further_until_its_window_has_passed(trial, tmp_path):
    start = trial.parameters()[:2]
    trial.limit(*SHOCKS, cooldown_seconds=0, drift_budget=60, drift_window_seconds=WEEK)
    async with keeper_of(trial, tmp_path, TIGHT) as keeper:
        assert isinstance(await decide(keeper, trial), Applied)
        assert [new - old for new, old in zip(trial.parameters()[:2], start, strict=True)] == [60, 60]
        trial.pass_time(MINUTE)
        spent = await decide(keeper, trial)
        assert isinstance(spent, NoChange)
        assert spent.detail.startswith(
            "spot_shock_up+spot_shock_down cannot move: the drift budget of spot_shock_up is spent"
        )
    trial.pass_time(2 * WEEK)
    trial.post_price(2_800)
    async with keeper_of(trial, tmp_path, TIGHT) as keeper:
        assert isinstance(await decide(keeper, trial), Applied)
        assert trial.parameters()[:2] == (400, 450)


async def test_tick__half_of_the_drift_budget_used__leaves_the_other_half(trial, tmp_path):
    trial.limit(*SHOCKS, cooldown_seconds=0, drift_budget=60, drift_window_seconds=WEEK, max_step_up=30)
    start = trial.parameters()[0]
    async with keeper_of(trial, tmp_path, TIGHT) as keeper:
        moved = []
        while isinstance(await decide(keeper, trial), Applied):
            moved.append(trial.parameters()[0] - start)
            trial.pass_time(MINUTE)
    assert moved == [30, 60]


async def test_tick__no_cooldown__moves_again_once_the_minute_of_the_last_change_is_over(trial, tmp_path):
    """The steward remembers whole minutes, rounded up."""
    trial.limit(*SHOCKS, cooldown_seconds=0, max_step_up=30)
    trial.pass_time(MINUTE - trial.now() % MINUTE + 5)
    async with keeper_of(trial, tmp_path, TIGHT) as keeper:
        first = await decide(keeper, trial)
        assert isinstance(first, Applied)
        over = -(-first.block.timestamp // MINUTE) * MINUTE
        waiting = await decide(keeper, trial)
        assert isinstance(waiting, NoChange)
        left = over - waiting.block.timestamp
        assert waiting.detail.startswith(f"spot_shock_up+spot_shock_down cools down for another {left} s")
        trial.pass_time(over - trial.now())
        assert isinstance(await decide(keeper, trial), Applied)


# The last good version


class Listening(Rpc):
    """An endpoint that notes between which blocks it is asked for the versions of a moment, and may lie.

    `lie` makes other logs of the answers, `late` makes blocks later than they are. The history of versions is no such
    question: it is asked for together with that of auctions.
    """

    lie = staticmethod(lambda logs: logs)
    late = 0

    def __init__(self, url):
        super().__init__(url)
        self.asked, self.searched = [], []

    async def batch(self, requests):
        answers = await super().batch(requests)
        (method, params), *others = requests
        if others:
            return answers
        if method == "eth_getBlockByNumber" and params[0] != "latest":
            self.searched.append(int(params[0], 16))
            return [answer | {"timestamp": hex(int(answer["timestamp"], 16) + self.late)} for answer in answers]
        if method == "eth_getLogs":
            self.asked.append((int(params[0]["fromBlock"], 16), int(params[0]["toBlock"], 16)))
            return [self.lie(answers[0])]
        return answers


async def loosened(trial, folder):
    """Let a keeper loosen within the probation; return what is the last good version since."""
    before = trial.parameters()
    async with keeper_of(trial, folder, LOOSE) as keeper:
        assert isinstance(await decide(keeper, trial), Applied)
    assert trial.parameters() != before
    return before


async def test_state__last_good_version_is_the_live_one__needs_no_log(trial):
    async with Listening(trial.url) as rpc:
        assert (await at_head(rpc, trial)).last_good == trial.parameters()
        assert (rpc.asked, rpc.searched) == ([], [])


async def test_state__last_good_version_is_an_earlier_one__is_found_in_the_log_of_its_block_and_kept(trial, folders):
    good = await loosened(trial, folders[1])
    async with Listening(trial.url) as rpc:
        market = trial.bound(rpc)
        for _ in range(2):
            state = await market.state(await head(rpc))
            assert (state.last_good, state.values) == (good, trial.parameters())
        assert len(rpc.asked) == 1


async def test_roll_back__keeper_that_never_saw_the_version__restores_it_from_the_log(trial, folders):
    good = await loosened(trial, folders[1])
    async with keeper_of(trial, folders[0], CALM) as keeper:
        outcome = await keeper.pipelines[0].roll_back("a test asks for it")
    assert (type(outcome), outcome.kind) == (Applied, ProposalKind.ROLLBACK)
    assert trial.parameters() == good


async def test_state__version_that_was_applied_is_the_last_good_one__is_found_in_the_log_of_its_block(trial, folders):
    await loosened(trial, folders[1])
    good = trial.parameters()
    trial.pass_time(86_400)
    trial.post_price(2_800)
    async with keeper_of(trial, folders[0], TIGHT) as keeper:
        assert isinstance(await decide(keeper, trial), Applied)
    async with Listening(trial.url) as rpc:
        state = await at_head(rpc, trial)
        assert (state.last_good, len(rpc.asked)) == (good, 1)
        assert trial.parameters() != good


async def test_state__version_that_a_rollback_made_is_the_last_good_one__is_found_in_the_log_of_its_block(
    trial, folders
):
    trial.limit(cooldown_seconds=0)
    good = await loosened(trial, folders[0])
    async with keeper_of(trial, folders[0], LOOSE) as keeper:
        back = await keeper.pipelines[0].roll_back("a test asks for it")
        trial.pass_time(MINUTE)
        assert isinstance(await decide(keeper, trial), Applied)
    async with Listening(trial.url) as rpc:
        state = await at_head(rpc, trial)
        ((first, last),) = rpc.asked
    assert (state.last_good, state.sequence) == (good, 3)
    assert first <= back.block.number <= last


async def test_roll_back__change_of_a_moment_ago__is_remembered_no_more_than_before_and_leaves_nothing_to_undo(
    trial, rpc, tmp_path
):
    trial.limit(drift_budget=2_000, drift_window_seconds=WEEK)
    async with keeper_of(trial, tmp_path, TIGHT) as keeper:
        assert isinstance(await decide(keeper, trial), Applied)
        tightened = await at_head(rpc, trial)
        trial.pass_time(2 * MINUTE)
        assert isinstance(await keeper.pipelines[0].roll_back("a test asks for it"), Applied)
        restored = await at_head(rpc, trial)
        again = await keeper.pipelines[0].roll_back("a test asks for it once more")
    remembered = [
        [(row.changed_at, row.drift_used, row.drift_before) for row in state.parameters]
        for state in (tightened, restored)
    ]
    assert remembered[0] == remembered[1]
    assert remembered[0][0][0] >= tightened.block.timestamp
    assert 0 < remembered[0][0][1] < 240
    assert restored.values == restored.last_good != tightened.values
    assert again.reason is Reason.NO_EFFECT
    assert trial.sequence() == 2


def activation(trial):
    """Return the block in which the market was activated: version 0."""
    topic = "0x" + keccak(text=ACTIVATED).hex()
    where = {"address": trial.steward.address, "topics": [topic], "fromBlock": "0x0", "toBlock": "latest"}
    (log,) = trial.ask("eth_getLogs", where)
    return int(log["blockNumber"], 16)


async def test_state__history_that_begins_with_the_last_good_version__is_searched_from_there_on(trial, folders):
    good, begin = await loosened(trial, folders[1]), activation(trial)
    async with Listening(trial.url) as rpc:
        market, block = trial.bound(rpc), await head(rpc)
        assert (await replace(market, since_block=begin).state(block)).last_good == good
        assert rpc.asked[0][0] == begin
        assert all(begin <= number <= block.number for number in rpc.searched)
        assert all(begin <= first <= last <= block.number for first, last in rpc.asked)
        late = replace(market, since_block=block.number, versions={})
        with pytest.raises(Unreachable, match=r"no log of block \d+ has the values of 0x"):
            await late.state(block)


async def test_state__two_versions_and_other_blocks_of_one_second__the_last_good_one_is_told_by_its_hash(
    trial, folders
):
    trial.limit(cooldown_seconds=0)
    trial.pass_time(MINUTE)
    trial.ask("anvil_setBlockTimestampInterval", 0)
    try:
        async with keeper_of(trial, folders[0], LOOSE) as keeper:
            assert isinstance(await decide(keeper, trial), Applied)
        trial.set_behind_the_steward("set_parameters", [*trial.parameters()[:5], 400])
        trial.govern("rebase", market_id(MARKET))
        trial.ask("evm_mine")
    finally:
        trial.ask("anvil_removeBlockTimestampInterval")
    good, second = trial.parameters(), trial.now()
    trial.pass_time(MINUTE)
    async with keeper_of(trial, folders[1], TIGHT) as keeper:
        assert isinstance(await decide(keeper, trial), Applied)
    async with Listening(trial.url) as rpc:
        state = await at_head(rpc, trial)
        ((first, last),) = rpc.asked
        times = {number: (await block_at(rpc, number)).timestamp for number in range(first - 1, last + 2)}
    assert (state.last_good, state.sequence) == (good, 3)
    assert [number for number, time in times.items() if time == second] == list(range(first, last + 1))
    assert last - first >= 5


def _other_values(logs):
    """Return the logs with one digit of the values changed."""
    return [
        log | {"data": log["data"][:-65] + ("1" if log["data"][-65] == "0" else "0") + log["data"][-64:]}
        for log in logs
    ]


LIES = {
    "nothing": {"lie": lambda _: []},
    "other values": {"lie": _other_values},
    "other times": {"late": WEEK},
}


@pytest.mark.parametrize("lie", LIES)
async def test_roll_back__endpoint_lies_about_the_last_good_version__is_refused_and_restores_nothing(
    trial, folders, lie
):
    await loosened(trial, folders[1])
    loose = trial.parameters()
    async with keeper_of(trial, folders[0], parts=scripted(CALM, open_rpc=Listening)) as keeper:
        vars(keeper.rpc).update(LIES[lie])
        with pytest.raises(Unreachable, match=r"no log of block \d+ has the values of 0x"):
            await keeper.pipelines[0].roll_back("a test asks for it")
        assert await refusal(keeper, trial) is Reason.ENDPOINT_FAILED
        assert await rows(keeper, EntryKind.PROPOSAL) == []
        vars(keeper.rpc).update(lie=Listening.lie, late=0)
        assert isinstance(await keeper.pipelines[0].roll_back("a test asks for it"), Applied)
    assert trial.parameters() != loose
