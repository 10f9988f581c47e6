"""Draw series anew by blocks of calendar time, to say how far figures might be apart by chance."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from models.forecaster import DAY

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from models.gates import Series

BLOCK_SECONDS = 30 * DAY


def block_of(ends: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the number of the block that each moment (Unix seconds) lies in."""
    return ends // BLOCK_SECONDS


def resamples(series: Sequence[Series], draws: int, seed: int) -> Iterator[list[Series]]:
    """Yield the series `draws` times, made of as many blocks as there are, drawn with repetition.

    A block is drawn for all series and all their baselines together, since markets move together. A draw that holds
    none of a series' blocks leaves it out.
    """
    rows = [
        {int(block): np.flatnonzero(found == block) for block in np.unique(found)}
        for found in (block_of(one.model.ends) for one in series)
    ]
    blocks = sorted({block for each in rows for block in each})
    draw = np.random.default_rng(seed)
    for _ in range(draws):
        drawn = draw.choice(blocks, size=len(blocks))
        places = [[each[block] for block in drawn if block in each] for each in rows]
        yield [_taken(one, np.concatenate(parts)) for one, parts in zip(series, places, strict=True) if parts]


def _taken(one: Series, places: npt.NDArray[np.int64]) -> Series:
    baselines = {name: outcomes.where(places) for name, outcomes in one.baselines.items()}
    return replace(one, model=one.model.where(places), baselines=baselines)
