"""Read an address as people write it, strictly: one account has one spelling afterwards."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from eth_utils.address import to_checksum_address

from config.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")


def address_of(text: str, option: str = "") -> str:
    """Return an account's address, checksummed. Raises ConfigError, naming the option it was given to.

    Letters of both cases are a checksum, which must be right; the zero address is nobody's.
    """
    if not ADDRESS.fullmatch(text) or (_has_checksum(text) and text != to_checksum_address(text)):
        raise ConfigError(f"{option} {text}: must be an address, 0x and 40 hex digits, its checksum right".lstrip())
    if int(text, 16) == 0:
        raise ConfigError(f"{option} {text}: must not be the zero address".lstrip())
    return str(to_checksum_address(text))


def _has_checksum(text: str) -> bool:
    digits = text[2:]
    return digits not in {digits.lower(), digits.upper()}


def addresses_of(texts: Sequence[str], option: str) -> tuple[str, ...]:
    """Return several such addresses. Raises ConfigError as well when one is given twice."""
    addresses = tuple(address_of(text, option) for text in texts)
    for index, address in enumerate(addresses):
        if address in addresses[:index]:
            raise ConfigError(f"{option} {address}: is given twice")
    return addresses
