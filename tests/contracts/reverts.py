"""Expect a revert with exactly one reason, and look at all storage there is."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import boa
import pytest
from eth_abi import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ERROR = bytes.fromhex("08c379a0")


@contextmanager
def reverting(reason: str | bytes) -> Iterator[None]:
    """Expect a call to revert with this reason, or with just these bytes."""
    with pytest.raises(boa.BoaError) as caught:
        yield
    expected = reason if isinstance(reason, bytes) else revert_data(reason)
    assert caught.value.call_trace.output == expected, f"{caught.value.call_trace.output!r} is not {reason!r}"


def refusal(act: Callable[[], object]) -> bytes | None:
    """What a call's revert returns; None where it goes through."""
    try:
        act()
    except boa.BoaError as error:
        return error.call_trace.output
    return None


def revert_data(reason: str) -> bytes:
    """What a revert with this reason returns."""
    return ERROR + encode(["string"], [reason])


def rule(id_: int, broken: str) -> str:
    """Reason of a refusal that one parameter causes."""
    return f"risk_steward: parameter {id_}: {broken}"


def all_storage() -> dict[tuple[str, int], int]:
    """Every slot that was ever written, of every contract, and that is not zero."""
    written = ((address, slot) for address, slots in boa.env.sstore_trace.items() for slot in slots)
    values = ((key, boa.env.get_storage(*key)) for key in written)
    return {(str(address), slot): value for (address, slot), value in values if value}
