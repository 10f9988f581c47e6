"""Measure one run: does the margin cover, what does it tie up, how does it move, whom does it hurt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from keeper.messages import Reason
from models.coverage import christoffersen, kupiec
from models.forecaster import DAY

if TYPE_CHECKING:
    import numpy.typing as npt

    from keeper.backtest.series import Series

    Array = npt.NDArray[np.float64]
    Times = npt.NDArray[np.int64]
    Flags = npt.NDArray[np.bool_]

LEVEL = 0.01
"""Breach rate that each side of the margin claims."""

CAPITAL_RATE = 0.08
"""What locked collateral costs its owner a year."""

GWEI = 20.0
"""Gas price that a run's gas is shown at, in gwei."""

REFUSALS = frozenset(Reason) - {Reason.NO_EFFECT}
RISE_DAYS = 5
YEAR_DAYS = 365.25
BLOCK_DAYS = 30
RESAMPLES = 2_000

Metrics = dict[str, float | int | None]

UNITS = {
    "published_lower_rate": "% of days beyond the published lower 1 % margin",
    "published_upper_rate": "% of days beyond the published upper 1 % margin",
    "published_lower_kupiec": "p-value, unconditional coverage (Kupiec)",
    "published_upper_kupiec": "p-value, unconditional coverage (Kupiec)",
    "published_lower_christoffersen": "p-value, independence (Christoffersen)",
    "published_upper_christoffersen": "p-value, independence (Christoffersen)",
    "shock_down_rate": "% of margin periods whose fall exceeded the spot shock in effect at their start",
    "shock_up_rate": "% of margin periods whose rise exceeded the spot shock in effect at their start",
    "shock_down_kupiec": "p-value over margin periods that do not overlap",
    "shock_up_kupiec": "p-value over margin periods that do not overlap",
    "mean_shock": "% mean of the two spot shocks in effect",
    "locked": "% of notional that accounts have as collateral, mean",
    "peak_to_trough": "largest over smallest downward spot shock in effect",
    "five_day_rise": "% largest rise of the downward spot shock within five days",
    "changes": "changes applied",
    "changes_a_year": "changes applied a year",
    "mean_change": "% mean size of a changed parameter's move",
    "largest_change": "% largest move of a parameter in one change",
    "rollbacks": "rollbacks",
    "refused": "% of decisions and parameters that the guard refused",
    "liquidations": "accounts liquidated",
    "liquidations_caused": "auctions that the parameters of the day before would not have begun",
    "hit_by_changes": "accounts that changes made liquidatable by themselves",
    "bad_debt": "bps of notional a year owed beyond the collateral",
    "penalties": "bps of notional a year paid by liquidated accounts above the mark",
    "cost": f"% of notional a year: {CAPITAL_RATE:.0%} on the collateral, bad debt and penalties",
    "gas": "gas used",
    "gas_eth": f"ETH for gas at {GWEI:g} gwei",
    "confirmed": "jumps that an operator is taken to have confirmed",
    "decisions": "decisions made",
}
"""What each metric is, in the order of the table."""


def measure(series: Series, period_days: float) -> Metrics:
    """Return all metrics of one run; None where it is too short for one. `period_days` is the margin period."""
    years = max((series.at[-1] - series.at[0]) / DAY, 1.0) / YEAR_DAYS
    notional = float(series.notional.mean())
    tunes = [move for move in series.moves if move.kind == "tune"]
    sizes = [size for move in tunes for size in _sizes(move.before, move.after)]
    refused = sum(count for code, count in series.codes.items() if code in REFUSALS)
    gas = sum(move.gas for move in series.moves)
    bad_debt, penalties = (value / notional / years for value in (series.losses.bad_debt, series.losses.penalties))
    locked = float((series.locked / series.notional).mean())
    return {
        **_published(series),
        **_shocks(series, period_days),
        "mean_shock": 50.0 * float((series.shock_up + series.shock_down).mean()),
        "locked": 100.0 * locked,
        "peak_to_trough": float(series.shock_down.max() / series.shock_down.min()),
        "five_day_rise": 100.0 * rise(series.at, series.shock_down),
        "changes": len(tunes),
        "changes_a_year": len(tunes) / years,
        "mean_change": 100.0 * float(np.mean(sizes)) if sizes else 0.0,
        "largest_change": 100.0 * max(sizes, default=0.0),
        "rollbacks": sum(move.kind == "rollback" for move in series.moves),
        "refused": 100.0 * refused / (len(series.at) * len(series.parameters)),
        "liquidations": series.losses.liquidations,
        "liquidations_caused": series.losses.caused,
        "hit_by_changes": sum(move.hit for move in series.moves),
        "bad_debt": 1e4 * bad_debt,
        "penalties": 1e4 * penalties,
        "cost": 100.0 * (CAPITAL_RATE * locked + bad_debt + penalties),
        "gas": gas,
        "gas_eth": gas * GWEI * 1e-9,
        "confirmed": series.confirmed,
        "decisions": len(series.at),
    }


def realised(times: Times, prices: Array, horizon: int, slack: int) -> tuple[npt.NDArray[np.intp], Array]:
    """Return the rows whose horizon ends inside the data, and the simple return over it.

    The end is the first time at or after the horizon, at most `slack` seconds late: across a gap there is none.
    """
    ends = np.searchsorted(times, times + horizon)
    rows = np.flatnonzero(ends < len(times))
    rows = rows[times[ends[rows]] - times[rows] - horizon <= slack]
    return rows, prices[ends[rows]] / prices[rows] - 1.0


def daily(times: Times) -> npt.NDArray[np.intp]:
    """Return the rows of the last time in each UTC day, by what had ended."""
    days = (times - 1) // DAY
    return np.flatnonzero(np.diff(days, append=days[-1:] + 1))


def period_breaches(series: Series, period_days: float) -> tuple[Times, Array, Flags, Flags]:
    """Return for each day the start of its margin period, the move over it, and whether it left the shocks."""
    days = daily(series.at)
    period = round(period_days * DAY)
    rows, moves = realised(series.at[days], series.price[days], period, 4 * DAY)
    starts = days[rows]
    return series.at[starts], moves, moves < -series.shock_down[starts], moves > series.shock_up[starts]


def daily_breaches(series: Series) -> tuple[Times, Flags, Flags]:
    """Return the days' ends and whether the day left the margin published the evening before, lower and upper."""
    days = daily(series.ends)
    rows, moves = realised(series.ends[days], series.closes[days], DAY, 4 * DAY)
    logs = np.log1p(moves)
    said = series.published[days[rows]]
    return series.ends[days[rows]], logs < said[:, 0], logs > said[:, 1]


def rise(times: Times, values: Array) -> float:
    """Return the largest relative rise of a value within RISE_DAYS."""
    days = daily(times)
    at, held = times[days], values[days]
    ends = np.searchsorted(at, at + RISE_DAYS * DAY, side="right") - 1
    return float((held[ends] / held - 1.0).max())


def daily_cost(series: Series) -> tuple[Times, Array]:
    """Return the days and what each cost, % of notional a year: capital, and bad debt when it fell due."""
    days = daily(series.at)
    owed = np.diff(series.bad_debt[days], prepend=0.0) / series.notional[days] * YEAR_DAYS
    return series.at[days], 100.0 * (CAPITAL_RATE * series.locked[days] / series.notional[days] + owed)


def interval(differences: Array, seed: int) -> tuple[float, float]:
    """Return the 95 % interval of a mean by a bootstrap of blocks of BLOCK_DAYS rows (circular)."""
    rng = np.random.default_rng(seed)
    count = len(differences)
    length = min(BLOCK_DAYS, count)
    starts = rng.integers(0, count, (RESAMPLES, -(-count // length)))
    sums = np.concatenate([[0.0], np.cumsum(np.concatenate([differences, differences[:length]]))])
    means = (sums[starts + length] - sums[starts]).sum(axis=1) / (starts.shape[1] * length)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def _published(series: Series) -> Metrics:
    _, lower, upper = daily_breaches(series)
    found: Metrics = {}
    for side, breaches in (("lower", lower), ("upper", upper)):
        enough = len(breaches) > 0
        found[f"published_{side}_rate"] = 100.0 * float(breaches.mean()) if enough else None
        found[f"published_{side}_kupiec"] = kupiec(breaches, LEVEL) if enough else None
        found[f"published_{side}_christoffersen"] = christoffersen(breaches) if enough else None
    return found


def _shocks(series: Series, period_days: float) -> Metrics:
    starts, _, down, up = period_breaches(series, period_days)
    apart = _apart(starts, round(period_days * DAY))
    found: Metrics = {}
    for side, breaches in (("down", down), ("up", up)):
        enough = len(breaches) > 0
        found[f"shock_{side}_rate"] = 100.0 * float(breaches.mean()) if enough else None
        found[f"shock_{side}_kupiec"] = kupiec(breaches[apart], LEVEL) if enough else None
    return found


def _apart(starts: Times, seconds: int) -> list[int]:
    """Return rows of which each starts when the one before has ended."""
    rows: list[int] = []
    for row, start in enumerate(starts):
        if not rows or start >= starts[rows[-1]] + seconds:
            rows.append(row)
    return rows


def _sizes(before: tuple[int, ...], after: tuple[int, ...]) -> list[float]:
    return [abs(new - old) / max(abs(old), 1) for old, new in zip(before, after, strict=True) if new != old]
