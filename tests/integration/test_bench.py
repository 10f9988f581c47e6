"""Check that the measurement of the steward's gas runs as a user runs it, and that the steward keeps its bounds."""

from __future__ import annotations

import json

import pytest
from processes import environment, run_keeper

from config.schema import GuardSettings
from keeper.bench import PROBED

pytestmark = pytest.mark.integration

FIGURES = {
    "direct_setter",
    "apply_6_params_1_sig",
    "apply_6_params_3_sigs",
    "apply_6_params_3_sigs_4_probes",
    "rollback",
    "apply_on_probation",
    "rollback_of_two",
    "per_param_at_10_markets",
    "apply_over_direct",
}
TRANSACTION = 21_000
"""What any transaction costs: no figure of a whole transaction can be below."""

LEAST_PER_PROBE = 10_000
"""The health view of an account with a short reads its position, the series, the price and the parameters."""


async def test_bench_gas__as_json_in_any_folder__keeps_the_bounds_of_change_and_rollback(tmp_path):
    """Gas is the same on every machine, so these are no timings."""
    ended = await run_keeper("bench", "gas", "--json", cwd=tmp_path, env=environment(key=None), seconds=110)
    assert ended.code == 0, ended.err
    gas = json.loads(ended.out)
    assert set(gas) == FIGURES
    assert gas["apply_6_params_3_sigs"] <= 120_000
    assert gas["rollback"] <= 110_000
    assert gas["rollback"] < gas["rollback_of_two"] < gas["apply_on_probation"]
    assert TRANSACTION < gas["direct_setter"] < gas["apply_6_params_1_sig"] < gas["apply_6_params_3_sigs"]
    per_probe = (gas["apply_6_params_3_sigs_4_probes"] - gas["apply_6_params_3_sigs"]) / PROBED
    assert LEAST_PER_PROBE < per_probe < gas["direct_setter"]
    assert gas["apply_over_direct"] == round(gas["apply_6_params_3_sigs"] / gas["direct_setter"], 2)
    # Markets differ by a few bytes of their calldata alone.
    assert gas["per_param_at_10_markets"] == pytest.approx(gas["apply_6_params_3_sigs"] / 6, rel=0.01)
    assert list(tmp_path.iterdir()) == []


def test_bench__accounts_probed__are_as_many_as_a_keeper_as_shipped_names():
    assert GuardSettings.model_fields["probed_accounts"].default == PROBED
