"""What stories of announced changes share: how long a notice is, and the keeper's two steps."""

from __future__ import annotations

from trials import decide

from keeper.messages import Announced, Applied

NOTICE = 3_600
"""Far longer than a proposal without notice lives, far shorter than quotes do."""

DEADLINE = 600
"""`propose.deadline_seconds` as shipped: how long after its notice a change may still be made."""


async def announced(keeper, trial, **quotes):
    """Let the keeper announce its tightening; return that."""
    outcome = await decide(keeper, trial, **quotes)
    assert isinstance(outcome, Announced), outcome
    return outcome


async def made(keeper, trial, seconds=NOTICE):
    """Let the rest of the notice pass and the keeper make the announced change; return that."""
    trial.pass_time(seconds)
    outcome = await decide(keeper, trial)
    assert isinstance(outcome, Applied), outcome
    return outcome


def pass_until(trial, timestamp):
    """Mine one block of exactly this time, Unix seconds, however long the test has taken so far."""
    trial.ask("evm_setNextBlockTimestamp", timestamp)
    trial.ask("evm_mine")
