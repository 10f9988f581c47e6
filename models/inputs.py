"""Gather what the learned members see of one stream at the close of a bar."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.features import FEATURES, Features
from models.implied import IMPLIED_RATIOS, ImpliedRatios
from models.volume import VOLUME_RATIOS, VolumeRatios

if TYPE_CHECKING:
    from models.market import Bar
    from models.steps import Step

INPUTS = (*FEATURES, *VOLUME_RATIOS, *IMPLIED_RATIOS)
"""Names in the order of `Inputs.vector`."""

MIRROR_SIGNS = tuple(-1.0 if name.startswith(("downside_share", "trend", "last_return")) else 1.0 for name in INPUTS)
"""What each input is multiplied by when every return changes its sign."""


class Inputs:
    """Causal state of one stream: the scale-free features, the volume's and the implied volatility's ratios."""

    def __init__(self, bar_seconds: int) -> None:
        self.features = Features(bar_seconds)
        self._volume = VolumeRatios(bar_seconds)
        self._implied = ImpliedRatios(bar_seconds)
        self._ratios: tuple[float, ...] = (0.0,) * (len(VOLUME_RATIOS) + len(IMPLIED_RATIOS))

    def update(self, step: Step, bar: Bar) -> None:
        """Take one accepted bar."""
        self.features.update(step)
        # Until there is a realised volatility to hold it against, an implied one says nothing.
        iv = bar.iv if self.features.warm else None
        implied = self._implied.update(iv, self.features.bar_sd)
        self._ratios = (*self._volume.update(bar.volume), *implied)

    def vector(self, horizon: int, end: int) -> tuple[float, ...]:
        """Return the inputs in the order of INPUTS for a forecast over `horizon` seconds from `end` (Unix seconds)."""
        return (*self.features.vector(horizon, end), *self._ratios)
