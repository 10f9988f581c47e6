"""An ensemble small enough to fit in a test: one of each kind of member, on made-up hours and days."""

from functools import cache

import numpy as np

from models.bundle import Bundle
from models.fitting import Rows, fit_log_linear, fit_network, fit_trees
from models.inputs import INPUTS


def made_rows(count: int = 3_000, seed: int = 5) -> Rows:
    """Returns whose scale depends on the first input."""
    draw = np.random.default_rng(seed)
    inputs = draw.normal(0, 0.7, (count, len(INPUTS)))
    inputs[:, 3] = 0.5  # constant, as a season is on daily bars
    z = np.exp(0.5 * inputs[:, 0]) * draw.standard_t(5, count) * 0.77
    return Rows(inputs, z, np.arange(count, dtype=float))


@cache
def small_bundle() -> Bundle:
    """One of each kind for days and for two hourly horizons, and one for the days of implied volatility."""
    rows = made_rows()
    heard: list[str] = []
    members = []
    for daily, horizons in ((True, (86_400,)), (False, (3_600, 86_400))):
        for horizon in horizons:
            members.append(fit_log_linear(rows, daily_bars=daily, horizon=horizon))
            members.append(fit_trees(rows, daily_bars=daily, horizon=horizon, seed=0))
        tables = dict.fromkeys(horizons, rows)
        members.append(fit_network(tables, daily_bars=daily, serves=horizons, seed=0, heard=heard.append))
    implied = fit_log_linear(rows, daily_bars=True, horizon=86_400)
    return Bundle(tuple(members), {"heard": len(heard)}, (implied,))
