"""Check that what governance and earlier changes left on chain is what the next decision goes by."""

from __future__ import annotations

import pytest
from trials import CALM, LOOSE, TIGHT, at_head, decide, keeper_of, refusal, rows, scripted

from chain.rpc import Rpc, Unreachable, head
from keeper.journal import EntryKind
from keeper.messages import Applied, NoChange, ProposalKind, Reason

pytestmark = pytest.mark.integration
pytest_plugins = ["chains"]

WEEK = 604_800
SHOCKS = ("spot_shock_up", "spot_shock_down")


# Policies


async def test_tick__governance_narrows_a_step_between_two_ticks__the_next_change_keeps_it(trial, tmp_path):
    before = trial.parameters()
    async with keeper_of(trial, tmp_path, TIGHT) as keeper:
        assert isinstance(await decide(keeper, trial, vol=0.16), Applied)
        middle = trial.parameters()
        trial.limit("shocked_vol", max_step_up=7, cooldown_seconds=0)
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
    # Each move's share of the budget is rounded up on chain, so that the last unit may stay unused.
    assert moved in ([30, 60], [30, 59])


# The last good version


class Listening(Rpc):
    """An endpoint that counts questions for logs of single blocks, and may answer them as `lie` makes of it."""

    asked = 0
    lie = staticmethod(lambda logs: logs)

    async def batch(self, requests):
        answers = await super().batch(requests)
        method, params = requests[0]
        if method != "eth_getLogs" or params[0]["fromBlock"] != params[0]["toBlock"] or len(requests) > 1:
            return answers
        self.asked += 1
        return [self.lie(answers[0])]


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
        assert rpc.asked == 0


async def test_state__last_good_version_is_an_earlier_one__is_found_in_the_log_of_its_block_and_kept(trial, folders):
    good = await loosened(trial, folders[1])
    async with Listening(trial.url) as rpc:
        market = trial.bound(rpc)
        for _ in range(2):
            state = await market.state(await head(rpc))
            assert (state.last_good, state.values) == (good, trial.parameters())
        assert rpc.asked == 1


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
        assert (state.last_good, rpc.asked) == (good, 1)
        assert trial.parameters() != good


def _other_values(logs):
    """Return the logs with one digit of the values changed."""
    return [
        log | {"data": log["data"][:-65] + ("1" if log["data"][-65] == "0" else "0") + log["data"][-64:]}
        for log in logs
    ]


LIES = {
    "nothing": (lambda _: [], r"the endpoint has no log of version 0"),
    "other values": (_other_values, r"no log of block \d+ has the values of 0x"),
}


@pytest.mark.parametrize("lie", LIES)
async def test_roll_back__endpoint_lies_about_the_last_good_version__is_refused_and_restores_nothing(
    trial, folders, lie
):
    answer, words = LIES[lie]
    await loosened(trial, folders[1])
    loose = trial.parameters()
    async with keeper_of(trial, folders[0], parts=scripted(CALM, open_rpc=Listening)) as keeper:
        keeper.rpc.lie = answer
        with pytest.raises(Unreachable, match=words):
            await keeper.pipelines[0].roll_back("a test asks for it")
        assert await refusal(keeper, trial) is Reason.ENDPOINT_FAILED
        assert await rows(keeper, EntryKind.PROPOSAL) == []
        keeper.rpc.lie = Listening.lie
        assert isinstance(await keeper.pipelines[0].roll_back("a test asks for it"), Applied)
    assert trial.parameters() != loose
