"""The accounts that the steward probes are the healthy ones nearest to liquidation, in every round that counts."""

from bindings import CONTRACTS, KEYS, RICH, built
from eth_abi import encode

from chain.protocol import BoundProtocol
from config.load import DEFAULT_SETTINGS, load_protocol
from keeper.probes import probes
from models.market import Account

MARKET = BoundProtocol(load_protocol("options_market", DEFAULT_SETTINGS), {"market": "0x" + "0a" * 20}, {})


def account(number: int, equity: int | None = 1_000, margin: int | None = 500, **fields) -> Account:
    return Account(f"0x{number:040x}", equity=equity, liquidation_margin=margin, **fields)


def named(*accounts: Account, number: int = 8) -> list[int]:
    """Return the numbers of the accounts named, which the reference market knows by address."""
    found = probes(MARKET, accounts, number)
    assert all(threshold == 0 for _, threshold in found)
    return [int.from_bytes(arguments) for arguments, _ in found]


def test_probes__account__is_named_by_the_arguments_of_the_health_view():
    assert probes(MARKET, [account(7)], 4) == [(encode(["address"], [f"0x{7:040x}"]), 0)]


def test_probes__several_accounts__are_named_by_their_cushion_as_a_share_of_the_margin():
    assert named(account(1, 1_000, 500), account(2, 90, 80), account(3, 9_000, 8_500)) == [3, 2, 1]


def test_probes__account_below_its_margin_that_is_not_liquidatable_yet__comes_first():
    assert named(account(1, 510, 500), account(2, 400, 500)) == [2, 1]


def test_probes__account_without_any_margin__comes_last():
    assert named(account(1, 10, 0), account(2, 9_000, 10)) == [2, 1]


def test_probes__liquidatable_account__is_not_named():
    assert named(account(1, 1, 500, liquidatable=True), account(2)) == [2]


def test_probes__protocol_that_shows_no_margins__names_the_first_ones():
    silent = [account(number, None, None) for number in (3, 1, 2)]
    assert named(*silent, number=2) == [3, 1]


def test_probes__more_accounts_than_the_number__names_that_many():
    assert named(*map(account, range(1, 20)), number=8) == list(range(1, 9))
    assert named(account(1), number=0) == []


def test_probes__account_with_oracle_rounds__is_named_in_each_with_its_threshold_but_never_beyond_the_number():
    rich = BoundProtocol(built(RICH), CONTRACTS, KEYS)
    feed = "0x" + "fe" * 32
    known = (("state", 1), ("series", 4), ("since", 8), ("floor", -7), ("feed", feed))
    rows = [Account(str(number), fields=known, rounds=(8, 9, 10)) for number in (5, 6)]
    expected = [
        (encode(["uint256", "bytes32", "uint256"], [number, bytes.fromhex(feed[2:]), round_id]), -7)
        for number, round_id in ((5, 8), (5, 9), (5, 10), (6, 8))
    ]
    assert probes(rich, rows, 4) == expected
