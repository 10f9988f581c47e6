"""Keep one stream for each asset: what every forecaster whose streams are independent of each other has in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from models.steps import check_bar_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from models.forecaster import Forecast
    from models.market import Bar


class Stream(Protocol):
    """One asset's forecast."""

    @property
    def bar_seconds(self) -> int:
        """Length of its bars."""
        ...

    def update(self, bar: Bar) -> Forecast:
        """Take one closed bar. Raises ValueError, with the stream unchanged, on a bar it cannot take."""
        ...


class StreamForecaster:
    """A forecaster of independent streams; `open_stream` makes one for bars of so many seconds."""

    def __init__(self, model_id: str, open_stream: Callable[[int], Stream]) -> None:
        self.model_id = model_id
        self._open = open_stream
        self._streams: dict[str, Stream] = {}

    @property
    def streams(self) -> Mapping[str, Stream]:
        """Streams by asset."""
        return self._streams

    def reset(self, asset: str, bar_seconds: int) -> None:
        """Forget `asset` and start a new stream. Raises ValueError unless the bars fill a day exactly."""
        check_bar_seconds(bar_seconds)
        self._streams[asset] = self._open(bar_seconds)

    def update(self, bar: Bar) -> Forecast:
        """Take one closed bar. Raises ValueError, with the stream unchanged, on a bar it cannot take."""
        if bar.asset not in self._streams:
            raise ValueError(f"asset {bar.asset}: has had no reset")
        return self._streams[bar.asset].update(bar)
