"""Accounts are found by view, ids or events, described by lookups, left out when closed, and judged in every round."""

import pytest
from bindings import CONTRACTS, KEYS, RICH, RISK, SHIPPED, TOKEN, built
from eth_abi import decode, encode
from eth_utils import keccak, to_checksum_address

from chain.accounts import (
    MAX_ACCOUNTS,
    health_calls,
    liquidatable,
    logged_accounts,
    looked_up,
    lookup_calls,
    numbered_accounts,
    page_calls,
    paged_accounts,
    round_calls,
    rounds_of,
    with_rounds,
)
from chain.protocol import BindingError, BoundProtocol
from models.market import Account

MARKET = "0x" + "11" * 20
FIRST, SECOND = (to_checksum_address("0x" + byte * 20) for byte in ("a1", "b2"))
STRUCT = "(address,int256,uint256,uint256,uint256,bool,uint256)[]"
POSITION = ["uint8", "address", "uint256", "uint256", "int256"]
IDS = 'last = { contract = "token", function = "last_id()" }'
VIEW = BoundProtocol(built(SHIPPED), {"market": MARKET})
BOUND = BoundProtocol(built(), CONTRACTS, KEYS)
FEED = "0x" + "fe" * 32


def bound(*replacements: tuple[str, str]) -> BoundProtocol:
    return BoundProtocol(built(RICH, *replacements), CONTRACTS, KEYS)


def page(*rows: tuple) -> bytes:
    return encode([STRUCT], [list(rows)])


def words(*numbers: int) -> bytes:
    return b"".join((number % 2**256).to_bytes(32) for number in numbers)


# A paged view


@pytest.mark.parametrize(("count", "starts"), [(0, []), (1, [0]), (256, [0]), (257, [0, 256]), (700, [0, 256, 512])])
def test_page_calls__any_count__covers_every_account_once(count, starts):
    calls = page_calls(VIEW, count)
    assert all(
        target == MARKET and data[:10] == "0x" + keccak(text="accounts(uint256,uint256)")[:4].hex()
        for target, data in calls
    )
    assert [decode(["uint256", "uint256"], bytes.fromhex(data[10:])) for _, data in calls] == [(s, 256) for s in starts]


def test_paged_accounts__pages__are_facts_in_order():
    first = page((FIRST, -5, 900, 800, 700, True, 1), (SECOND, 5, 9, 8, 7, False, 2))
    assert paged_accounts(VIEW, [first, page(), page((FIRST, 1, 2, 3, 4, False, 0))]) == (
        Account(FIRST, -5, 900, 800, 700, liquidatable=True, fields=(("auction_started_at", 1),)),
        Account(SECOND, 5, 9, 8, 7, liquidatable=False, fields=(("auction_started_at", 2),)),
        Account(FIRST, 1, 2, 3, 4, liquidatable=False, fields=(("auction_started_at", 0),)),
    )
    assert paged_accounts(VIEW, []) == ()


def test_paged_accounts__view_without_margins__shows_none_of_them():
    text = (
        SHIPPED[: SHIPPED.index('  "int256 equity"')] + '  "uint8 state",\n]' + SHIPPED[SHIPPED.index("\n[health]") :]
    )
    (account,) = paged_accounts(
        BoundProtocol(built(text), {"market": MARKET}), [encode(["(address,uint8)[]"], [[(FIRST, 3)]])]
    )
    assert account == Account(FIRST, None, None, None, None, fields=(("state", 3),))


def test_paged_accounts__closed_one__is_left_out():
    only_new = built(SHIPPED, ("[health]", '[accounts.open]\nfield = "auction_started_at"\nnot_equals = 0\n[health]'))
    pages = [page((FIRST, 1, 2, 3, 4, False, 0), (SECOND, 1, 2, 3, 4, False, 9))]
    assert [one.address for one in paged_accounts(BoundProtocol(only_new, {"market": MARKET}), pages)] == [SECOND]


@pytest.mark.parametrize("answer", [b"", words(32), page((FIRST, 1, 2, 3, 4, False, 0))[:-1]])
def test_paged_accounts__answer_that_is_no_such_array__names_view_and_struct(answer):
    with pytest.raises(BindingError, match=r"^accounts\.view: accounts\(uint256,uint256\) does not return \(address,"):
        paged_accounts(VIEW, [answer])


@pytest.mark.parametrize("number", [MAX_ACCOUNTS + 1, 2**256 - 1])
def test_page_calls__number_beyond_belief__is_a_binding_error(number):
    with pytest.raises(BindingError, match="says it has"):
        page_calls(VIEW, number)


# Running ids


@pytest.mark.parametrize(
    ("keys", "end", "found"),
    [
        ("last = E", 3, [1, 2, 3]),
        ("last = E", 0, []),
        ("next = E", 3, [1, 2]),
        ("next = E", 1, []),
        ("next = E", 0, []),
        ("count = E", 3, [1, 2, 3]),
        ("count = E", 0, []),
        ("first = 0\nlast = E", 2, [0, 1, 2]),
        ("first = 10\nstep = 5\nlast = E", 20, [10, 15, 20]),
        ("first = 10\nstep = 5\nnext = E", 20, [10, 15]),
        ("first = 10\nstep = 5\ncount = E", 3, [10, 15, 20]),
        ("first = 10\nlast = E", 9, []),
    ],
)
def test_numbered_accounts__any_way_to_say_the_end__names_every_id_once(keys, end, found):
    numbered = bound((IDS, keys.replace("E", '{ function = "end()" }')))
    assert [int(one.address) for one in numbered_accounts(numbered, end)] == found


@pytest.mark.parametrize("key", ["last", "next", "count"])
def test_numbered_accounts__number_beyond_belief__is_a_binding_error(key):
    numbered = bound((IDS, IDS.replace("last =", f"{key} =")))
    with pytest.raises(BindingError, match="rich says it has"):
        numbered_accounts(numbered, 2**256 - 1)
    assert len(numbered_accounts(numbered, MAX_ACCOUNTS)) in {MAX_ACCOUNTS, MAX_ACCOUNTS - 1}


def test_numbered_accounts__wide_steps__are_counted_as_accounts_and_not_as_numbers():
    by_last = bound((IDS, IDS.replace("last =", "step = 2\nlast =")))
    assert len(numbered_accounts(by_last, 2 * MAX_ACCOUNTS)) == MAX_ACCOUNTS
    by_count = bound((IDS, IDS.replace("last =", "step = 2\ncount =")))
    with pytest.raises(BindingError, match="rich says it has"):
        numbered_accounts(by_count, MAX_ACCOUNTS + 1)


# Events


def events(account: str) -> BoundProtocol:
    table = (
        f'[accounts.events]\nevent = "Opened(address indexed owner, uint256 number, bytes note)"\naccount = {account}'
    )
    lookups = RICH[RICH.index("[[accounts.lookups]]") : RICH.index("[health]")]
    health = RICH[RICH.index("[health]") : RICH.index("[price]")]
    check = '[health]\nfunction = "bad(address)"\nargs = ["$account"]\nliquidatable = "true"\n\n'
    liquidation = RICH[RICH.index("[liquidation]") : RICH.index("[[limits]]")]
    return bound(
        ("[accounts.ids]\n" + IDS, table),
        (lookups, ""),
        (health, check),
        (liquidation, '[liquidation]\nfunction = "f(address)"\nargs = ["$account"]\n\n'),
    )


def opened(owner: str, number: int) -> dict:
    data = encode(["uint256", "bytes"], [number, b"note"])
    return {"topics": ["0x" + "00" * 32, "0x" + words(int(owner, 16)).hex()], "data": "0x" + data.hex()}


LOGS = [opened(SECOND, 1), opened(FIRST, 1), opened(SECOND, 2), opened(SECOND, 1)]


def test_logged_accounts__one_field__names_each_account_once_as_first_seen():
    one = events('"owner"')
    found = logged_accounts(one, one.binding.accounts.events, LOGS)
    assert found == (Account(SECOND, fields=(("owner", SECOND),)), Account(FIRST, fields=(("owner", FIRST),)))


def test_logged_accounts__key_of_two_fields__tells_an_owners_accounts_apart():
    both = events('["owner", "number"]')
    found = logged_accounts(both, both.binding.accounts.events, LOGS)
    assert [one.address for one in found] == [f"{SECOND}/1", f"{FIRST}/1", f"{SECOND}/2"]
    assert both.known_of(found[2]) == {
        "account": SECOND,
        "account.liquidatable": False,
        "account.owner": SECOND,
        "account.number": 2,
    }


def test_logged_accounts__log_that_does_not_decode__is_a_binding_error():
    one = events('"owner"')
    with pytest.raises(BindingError, match=r"^Opened\(address,uint256,bytes\): a log does not decode"):
        logged_accounts(one, one.binding.accounts.events, [{"topics": ["0x00"], "data": "0x"}])


# Lookups


def test_lookups__fields_of_one__fill_the_next_and_closed_accounts_stop_at_it():
    accounts = numbered_accounts(BOUND, 3)
    calls = lookup_calls(BOUND, 0, accounts)
    assert [(target, int(data[10:], 16)) for target, data in calls] == [(TOKEN, 1), (TOKEN, 2), (TOKEN, 3)]
    answers = [encode(POSITION, [state, FIRST, 70 + state, 40, -3]) for state in (1, 2, 1)]
    accounts = looked_up(BOUND, 0, accounts, answers)
    assert accounts == tuple(
        Account(key, fields=(("state", 1), ("series", 71), ("since", 40), ("floor", -3))) for key in ("1", "3")
    )
    assert [(target, int(data[10:], 16)) for target, data in lookup_calls(BOUND, 1, accounts)] == [
        (RISK, 71),
        (RISK, 71),
    ]
    told = looked_up(BOUND, 1, accounts, [bytes.fromhex(FEED[2:])] * 2)
    assert [dict(one.fields)["feed"] for one in told] == [FEED, FEED]


def test_lookups__margins_among_the_values__are_the_accounts_own():
    own = bound(("int256 floor", "int256 equity"), ('threshold = "$account.floor"', 'threshold = "$account.equity"'))
    (account,) = looked_up(own, 0, [Account("1")], [encode(POSITION, [1, FIRST, 7, 40, -3])])
    assert account.equity == -3
    assert "equity" not in dict(account.fields)
    with_feed = looked_up(own, 1, [account], [bytes.fromhex(FEED[2:])])
    assert own.probe(with_feed[0], 41)[1] == -3


def test_lookups__answer_of_another_shape__names_lookup_account_and_types():
    with pytest.raises(
        BindingError, match=r"^accounts\.lookups\.0: position\(uint256\) of 9 does not return uint8,addr"
    ):
        looked_up(BOUND, 0, [Account("9")], [words(1)])


@pytest.mark.parametrize(("condition", "kept"), [("equals = 1", [1]), ("not_equals = 1", [0, 2])])
def test_open__either_comparison__keeps_the_accounts_it_holds_for(condition, kept):
    chosen = bound(("equals = 1", condition))
    answers = [encode(POSITION, [state, FIRST, 7, 40, 0]) for state in (0, 1, 2)]
    found = looked_up(chosen, 0, [Account(str(index)) for index in range(3)], answers)
    assert [int(one.address) for one in found] == kept


def test_open__address_in_another_case__is_the_same():
    chosen = bound(
        ('"address", ', '"address owner", '),
        ('field = "state"\nequals = 1', f'field = "owner"\nequals = "{FIRST.lower()}"'),
    )
    found = looked_up(
        chosen, 0, [Account("1"), Account("2")], [encode(POSITION, [0, one, 7, 40, 0]) for one in (FIRST, SECOND)]
    )
    assert [one.address for one in found] == ["1"]


# Rounds and health


def described(key: str, since: int = 40, floor: int = 0, **changes) -> Account:
    return Account(
        key, fields=(("state", 1), ("series", 7), ("since", since), ("floor", floor), ("feed", FEED)), **changes
    )


@pytest.mark.parametrize(
    ("since", "latest", "rounds"),
    [(40, 42, (40, 41, 42)), (40, 43, (41, 42, 43)), (42, 42, (42,)), (0, 0, (0,)), (0, 1, (0, 1))],
)
def test_with_rounds__from_the_accounts_first_to_the_latest__are_the_newest_few(since, latest, rounds):
    account = described("1", since)
    ((target, data),) = round_calls(BOUND, [account])
    assert (target, data[10:]) == (CONTRACTS["oracle"], FEED[2:])
    (checked,) = with_rounds(BOUND, [account], [words(latest)])
    assert rounds_of(checked) == checked.rounds == rounds


def test_with_rounds__first_after_the_latest__is_a_binding_error_and_not_health():
    words_said = r"health\.rounds\.first = 43 for account 1: must not be above the latest round, which is 42"
    with pytest.raises(BindingError, match=words_said):
        with_rounds(BOUND, [described("1", 43)], [words(42)])


def test_with_rounds__first_of_another_type__is_a_binding_error():
    signed = bound(('first = "$account.since"', 'first = "$account.floor"'))
    with pytest.raises(BindingError, match="a number does not fit uint256"):
        with_rounds(signed, [described("1", floor=-1)], [words(42)])


def test_rounds_of__account_that_needs_none__is_checked_once():
    assert rounds_of(Account("1")) == (None,)


def test_health__any_bad_round__makes_the_account_liquidatable_and_no_other():
    accounts = [described("1", rounds=(41, 42)), described("2", rounds=()), described("3", floor=-9, rounds=(42,))]
    calls = health_calls(BOUND, accounts)
    assert [decode(["uint256", "bytes32", "uint256"], bytes.fromhex(data[10:]))[::2] for _, data in calls] == [
        (1, 41),
        (1, 42),
        (3, 42),
    ]
    assert liquidatable(BOUND, accounts, [words(0, -1), words(0, 5), words(0, -9)]) == (True, False, False)
    assert liquidatable(BOUND, accounts, [words(0, 5), words(0, -1), words(0, -10)]) == (True, False, True)


def test_liquidatable__wrong_number_of_answers__is_a_fault():
    with pytest.raises(ValueError, match="1 answers to 2 health views"):
        liquidatable(BOUND, [described("1", rounds=(41, 42))], [words(0, 1)])
