"""An address is taken in the spellings that name one account for certain, and has one spelling afterwards."""

from __future__ import annotations

import pytest

from config.addresses import address_of, addresses_of
from config.errors import ConfigError

ADDRESS = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
LOWER, UPPER = ADDRESS.lower(), "0x" + ADDRESS[2:].upper()


@pytest.mark.parametrize("text", [ADDRESS, LOWER, UPPER])
def test_address_of__one_account__has_one_spelling(text):
    assert address_of(text) == ADDRESS


@pytest.mark.parametrize(
    "text",
    [
        ADDRESS[2:],
        "0X" + ADDRESS[2:],
        ADDRESS[:-1],
        ADDRESS + "0",
        ADDRESS + "\n",
        " " + ADDRESS,
        ADDRESS.replace("C51812", "c51812"),
        "0x" + "g" * 40,
        "",
    ],
)
def test_address_of__no_address__is_refused(text):
    with pytest.raises(ConfigError, match="must be an address, 0x and 40 hex digits, its checksum right"):
        address_of(text, "--signer")


def test_address_of__zero__is_refused_with_the_option():
    zero = "0x" + "00" * 20
    with pytest.raises(ConfigError, match=f"^--signer {zero}: must not be the zero address$"):
        address_of(zero, "--signer")


def test_addresses_of__one_account_in_two_spellings__is_given_twice():
    assert addresses_of([ADDRESS, "0x" + "12" * 20], "--signer") == (ADDRESS, "0x" + "12" * 20)
    with pytest.raises(ConfigError, match=f"^--signer {ADDRESS}: is given twice$"):
        addresses_of([LOWER, "0x" + "12" * 20, UPPER], "--signer")
