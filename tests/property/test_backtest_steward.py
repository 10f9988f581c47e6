"""The simulated steward accepts, refuses and remembers what the real steward's bytecode does, over random histories."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from backtests import rules as market_rules
from steward_evm import PROBATION, Rules, Stewards, limits

from keeper.backtest.steward import SimulatedSteward
from keeper.limits import drift_left, largest_step
from keeper.messages import ProposalKind
from models.market import BlockStamp, Invariant

WALKS, CHANGES = 3, 120
WAITS = (60, 900, 43_199, 43_200, 50_000, 90_001, 302_400, 604_800)


def on_chain(obeyed) -> Rules:
    """The same limits as a policy of the real steward."""
    rows = []
    for index, parameter in enumerate(obeyed.protocol.parameters):
        limit, group = obeyed.policies.limits[parameter.name], obeyed.protocol.group_of(index)
        rows.append(
            limits(
                minimum=limit.minimum,
                maximum=limit.maximum,
                max_step_up=limit.max_step_up,
                max_step_down=limit.max_step_down,
                cooldown=limit.cooldown_seconds,
                drift_budget=limit.drift_budget,
                drift_window=limit.drift_window_seconds,
                coupled=sum(1 << other for other in group) if len(group) > 1 else 0,
            )
        )
    values = tuple(obeyed.policies.limits[parameter.name].initial for parameter in obeyed.protocol.parameters)
    return Rules(tuple(rows), values, (Invariant(*obeyed.protocol.inequalities()[0]),))


def drawn(random: Random, world, state):
    """A change of one group, within most limits, or the way back."""
    if random.random() < 0.15:
        return world.undo(state)
    group = random.choice([(0, 1), (2,), (3, 4), (5,)])
    changes = []
    for row in (state.parameters[index] for index in group):
        up = random.random() < 0.5
        most = min(largest_step(row, up=up), drift_left(row, world.house.now) or 0) + random.choice([0, 0, 0, 1])
        changes.append((row.id, max(row.value + (1 if up else -1) * random.randint(0, most), 0)))
    return world.change(*changes, state=state)


@pytest.mark.parametrize("seed", range(WALKS))
def test_simulated_steward__random_history__is_the_real_one(tmp_path, seed):
    random = Random(seed)
    obeyed = market_rules(tmp_path)
    obeyed = replace(obeyed, policies=obeyed.policies.model_copy(update={"probation_seconds": PROBATION}))
    house = Stewards()
    world = house.add(on_chain(obeyed))
    simulated = SimulatedSteward(obeyed, world.rules.values, house.now)
    made = refused = undone = 0
    for _ in range(CHANGES):
        house.wait(random.choice(WAITS))
        real = world.state()
        ours = simulated.state(BlockStamp(0, "", house.now), 1.0)
        assert (ours.sequence, ours.values, ours.last_good) == (real.sequence, real.values, real.last_good)
        assert ours.parameters == real.parameters
        proposal = drawn(random, world, real)
        same = replace(proposal, state_hash=ours.state_hash)
        refusal, finding = world.refusal(proposal), simulated.execute(same, ours, None)
        assert (refusal is None) == (finding is None), (refusal, finding, proposal)
        if refusal is None:
            world.submit(proposal)
        made += refusal is None
        refused += refusal is not None
        undone += refusal is None and proposal.kind is ProposalKind.ROLLBACK
    assert min(made, refused) > CHANGES // 10
    assert undone > 2
