"""Build made-up price streams whose every return is known."""

import math
import random
from collections.abc import Sequence

from models.market import Bar

MONDAY = 1_599_436_800
"""2020-09-07 00:00 UTC."""


def bars_from(
    log_returns: Sequence[float], *, seconds: int = 86_400, asset: str = "x", price: float = 100.0, scale: float = 1.0
) -> list[Bar]:
    """One bar for each return; highs and lows stand a quarter of the move outside open and close."""
    bars = []
    for place, log_return in enumerate(log_returns):
        move = log_return * scale
        opened, closed = price, price * math.exp(move)
        edge = math.exp(0.25 * abs(move))
        bars.append(
            Bar(
                asset,
                MONDAY + place * seconds,
                seconds,
                opened,
                max(opened, closed) * edge,
                min(opened, closed) / edge,
                closed,
            )
        )
        price = closed
    return bars


def restless_returns(count: int, *, sd: float = 0.02, seed: int = 7) -> list[float]:
    """Student-t-like returns whose volatility clusters, as a GARCH(1,1) would."""
    draw = random.Random(seed)
    variance, returns = sd**2, []
    for _ in range(count):
        shock = draw.gauss(0, 1) * math.sqrt(3 / max(draw.gammavariate(2.5, 0.5) * 2.4, 0.3))
        returns.append(math.sqrt(variance) * shock)
        variance = sd**2 * 0.05 + 0.88 * variance + 0.07 * min(returns[-1] ** 2, 25 * sd**2)
    return returns
