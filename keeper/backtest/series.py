"""Turn a track into columns: what metrics, plots and the decisions file are made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from keeper.backtest.book import Losses
    from keeper.backtest.feed import Gap
    from keeper.backtest.track import Move, Track

    Array = npt.NDArray[np.float64]
    Times = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Series:
    """One run of one asset in columns.

    A row a decision: `at` (Unix seconds), `price`, `vol` (NaN where there was none), `values` (id order, on-chain
    units), `shock_up` and `shock_down` in effect, `locked`, `initial`, `notional` of the book, and the liquidations and
    the bad debt so far. A row a bar of the model: `ends`, `closes`, `published` and `raw` (lower, upper).
    """

    asset: str
    name: str
    model_id: str
    parameters: tuple[str, ...]
    gaps: tuple[Gap, ...]
    moves: tuple[Move, ...]
    losses: Losses
    confirmed: int
    codes: dict[str, int]
    at: Times
    price: Array
    vol: Array
    values: Array
    shock_up: Array
    shock_down: Array
    locked: Array
    initial: Array
    notional: Array
    liquidations: Array
    bad_debt: Array
    ends: Times
    closes: Array
    published: Array
    raw: Array


def series_of(track: Track) -> Series:
    """Return a finished track in columns."""
    decisions, totals = track.decisions, track.totals
    codes: dict[str, int] = {}
    for decision in decisions:
        for code in decision.codes:
            codes[code] = codes.get(code, 0) + 1
    pairs = [(bar.lower, bar.upper) for bar in track.published]
    raw = [(bar.raw_lower, bar.raw_upper) for bar in track.published]
    return Series(
        asset=track.asset,
        name=track.name,
        model_id=track.model_id,
        parameters=track.parameters,
        gaps=track.gaps,
        moves=tuple(track.moves),
        losses=track.losses,
        confirmed=track.confirmed,
        codes=dict(sorted(codes.items())),
        at=np.array([decision.at for decision in decisions], dtype=np.int64),
        price=_floats([decision.price for decision in decisions]),
        vol=_floats([decision.vol for decision in decisions]),
        values=_floats([decision.values for decision in decisions]),
        shock_up=_floats([up for up, _ in track.shocks]),
        shock_down=_floats([down for _, down in track.shocks]),
        locked=_floats(totals.locked),
        initial=_floats(totals.initial),
        notional=_floats(totals.notional),
        liquidations=_floats(totals.liquidations),
        bad_debt=_floats(totals.bad_debt),
        ends=np.array([bar.end for bar in track.published], dtype=np.int64),
        closes=_floats([bar.close for bar in track.published]),
        published=_floats(pairs).reshape(-1, 2),
        raw=_floats(raw).reshape(-1, 2),
    )


def decisions_table(track: Track) -> pa.Table:
    """Return a row a decision and parameter, in time and id order.

    Columns: run, asset, ts, block, parameter, reason, value (after the decision), target (null where none was
    computed), price, vol (null without one), detail (null without one). Values are on-chain units.
    """
    names, decisions = track.parameters, track.decisions
    width, rows = len(names), len(decisions)
    wide = [value for decision in decisions for value in decision.values]
    targets = [target for decision in decisions for target in decision.targets]
    reasons = [code.value for decision in decisions for code in decision.codes]
    each = np.repeat(np.arange(rows), width)
    return pa.table(
        {
            "run": pa.array([track.name] * (rows * width)).dictionary_encode(),
            "asset": pa.array([track.asset] * (rows * width)).dictionary_encode(),
            "ts": _repeated([decision.at for decision in decisions], each, pa.int64()),
            "block": _repeated([decision.block for decision in decisions], each, pa.int64()),
            "parameter": pa.array(list(names) * rows, pa.string()).dictionary_encode(),
            "reason": pa.array(reasons, pa.string()).dictionary_encode(),
            "value": _whole(wide),
            "target": _whole(targets),
            "price": _repeated([decision.price for decision in decisions], each, pa.float64()),
            "vol": _repeated([decision.vol for decision in decisions], each, pa.float64()),
            "detail": _repeated(
                [decision.detail or None for decision in decisions], each, pa.string()
            ).dictionary_encode(),
        }
    )


def _whole(values: Sequence[int | None]) -> pa.Array:
    """Return on-chain units as 64-bit integers, or as 39-digit decimals where one does not fit."""
    fits = all(value is None or abs(value) < 2**63 for value in values)
    return pa.array(values, pa.int64()) if fits else pa.array(values, pa.decimal256(39))


def _repeated(values: Sequence[object], each: Times, kind: pa.DataType) -> pa.Array:
    return pa.array(values, kind).take(pa.array(each))


def _floats(values: object) -> Array:
    return np.array(values, dtype=np.float64)
