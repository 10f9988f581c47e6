"""Find markets that write the same setting: its cooldown and its drift budget would count once for each of them."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

from eth_utils.address import to_checksum_address

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from chain.protocol import BoundProtocol

Setting = tuple[str, bytes, tuple[int | None, ...]]
"""Target, selector and argument words of a setter, None where a parameter's value goes."""


def shared_setters(markets: Mapping[str, BoundProtocol]) -> Iterator[tuple[str, str, str]]:
    """Yield each two markets, by name, that make the same call but for its values, and the call."""
    settings = {name: _settings(bound) for name, bound in markets.items()}
    for one, other in combinations(markets, 2):
        for setting in settings[one].keys() & settings[other].keys():
            yield one, other, settings[one][setting]


def _settings(bound: BoundProtocol) -> dict[Setting, str]:
    found: dict[Setting, str] = {}
    for setter, (target, selector, words) in zip(bound.binding.setters, bound.setter_words(), strict=True):
        constants = tuple(number if index is None else None for index, number in words)
        found[to_checksum_address(target), selector, constants] = f"{setter.function} of {target}"
    return found
