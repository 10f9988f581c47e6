"""Find markets that write the same setting: its cooldown and its drift budget would count once for each of them."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

from eth_utils.address import to_checksum_address

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from chain.protocol import BoundProtocol, SetterWord

Place = tuple[str, str, int]
"""Target, calldata and word of the answer of a getter: where one setting is read."""


def shared_settings(markets: Mapping[str, BoundProtocol]) -> Iterator[tuple[str, str, str]]:
    """Yield each two markets, by name, that write the same setting, and by what that is known.

    Two calls of the same function of a contract may write the same unless a word that is constant in both differs, as
    a market's key does. A constant may also be no more than a flag, so what is read in the same place is the same too.
    """
    for (one, first), (other, second) in combinations(markets.items(), 2):
        shared = list(_shared_setters(first, second))
        for function, target, _ in shared:
            yield one, other, f"setter {function} of {target}"
        written = {name for *_, names in shared for name in names}
        places = _places(first)
        for place, name in _places(second).items():
            if place in places and name not in written:
                function, target = second.binding.parameters[second.binding.id_of(name)].getter.function, place[0]
                yield one, other, f"{name}, word {place[2]} of {function} of {target},"


def _shared_setters(first: BoundProtocol, second: BoundProtocol) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Yield function, target and parameters, by the second market's names, of its setters that the first has too."""
    setters = zip(second.binding.setters, second.setter_words(), strict=True)
    theirs = first.setter_words()
    for setter, (target, selector, words) in setters:
        there = to_checksum_address(target)
        if any(
            (to_checksum_address(known), same) == (there, selector) and _may_agree(others, words)
            for known, same, others in theirs
        ):
            yield setter.function, there, tuple(setter.parameters)


def _may_agree(words: tuple[SetterWord, ...], others: tuple[SetterWord, ...]) -> bool:
    """Say whether two calls can be the same: a parameter's value may become any constant of the other."""
    pairs = zip(words, others, strict=False)
    return all(one[1] == other[1] for one, other in pairs if one[0] is None and other[0] is None)


def _places(bound: BoundProtocol) -> dict[Place, str]:
    """Return the parameters by where they are read."""
    reads = bound.reads()
    pairs = zip(bound.binding.parameters, bound.positions(), strict=True)
    return {(to_checksum_address(reads[at][0]), reads[at][1], word): one.name for one, (at, word) in pairs}
