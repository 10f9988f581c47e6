"""What is signed is what EIP-712 says, and what is sent is what was signed: held against eth-account and eth-abi."""

from __future__ import annotations

from dataclasses import replace

import pytest
from eth_abi import decode, encode
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_utils import keccak
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from chain.attestation import MESSAGE, PROBES, SIGNATURES, Message, announcing, attach, calls_hash
from chain.signer import LocalSigner, Signature

KEYS = tuple(f"{number:#066x}" for number in (1, 2, 3))
HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0

FIELDS = [
    {"name": name, "type": kind}
    for name, kind in (
        ("market", "bytes32"),
        ("policy", "address"),
        ("sequence", "uint256"),
        ("stateHash", "bytes32"),
        ("changesHash", "bytes32"),
        ("callsHash", "bytes32"),
        ("modelHash", "bytes32"),
        ("inputRoot", "bytes32"),
        ("probesHash", "bytes32"),
        ("maxLiquidatable", "uint256"),
        ("deadline", "uint256"),
    )
]
DOMAIN = [
    {"name": name, "type": kind}
    for name, kind in (
        ("name", "string"),
        ("version", "string"),
        ("chainId", "uint256"),
        ("verifyingContract", "address"),
    )
]

uints = st.integers(0, 2**256 - 1)
hashes = st.binary(min_size=32, max_size=32).map(lambda raw: "0x" + raw.hex())
addresses = st.binary(min_size=20, max_size=20).map(lambda raw: "0x" + raw.hex())
messages = st.builds(
    Message,
    market=st.text(min_size=1, max_size=64),
    policy=addresses,
    sequence=uints,
    state_hash=hashes,
    changes=st.lists(st.tuples(uints, uints), max_size=16).map(tuple),
    calls=st.lists(st.tuples(addresses, st.binary(max_size=388).map(lambda raw: "0x" + raw.hex())), max_size=8).map(
        tuple
    ),
    model_hash=hashes,
    input_root=hashes,
    probes=st.lists(st.tuples(st.binary(max_size=288), st.integers(-(2**255), 2**255 - 1)), max_size=8).map(tuple),
    max_liquidatable=uints,
    deadline=uints,
    order=st.integers(0, 8).flatmap(lambda count: st.permutations(range(count))).map(tuple),
)
actions = st.sampled_from(["apply", "announce", "rollback"])
signatures = st.lists(st.builds(Signature, uints, uints), max_size=16)


def raw(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def chained(message: Message) -> bytes:
    """Return the hash of the calls as the steward's documentation says, by hand: words of 32 bytes, hashed in turn."""
    found = b"\0" * 32
    for target, data in message.calls:
        found = keccak(found + b"\0" * 12 + raw(target) + keccak(raw(data)))
    return found


def arrays(*columns: list[int]) -> bytes:
    """Return arrays of numbers as the ABI lays them out, by hand: an offset each, then length and numbers each."""
    tails = [b"".join(number.to_bytes(32) for number in (len(column), *column)) for column in columns]
    starts = [32 * len(columns) + sum(map(len, tails[:index])) for index in range(len(tails))]
    return b"".join([*(start.to_bytes(32) for start in starts), *tails])


def typed(message: Message, action: str, steward: str, chain_id: int) -> dict:
    """Return a message as the document that any wallet signs."""
    kind = "Rollback" if action == "rollback" else "Apply"
    return {
        "types": {"EIP712Domain": DOMAIN, kind: FIELDS},
        "primaryType": kind,
        "domain": {
            "name": "Keeper risk steward",
            "version": "1",
            "chainId": chain_id,
            "verifyingContract": steward,
        },
        "message": {
            "market": keccak(text=message.market),
            "policy": message.policy,
            "sequence": message.sequence,
            "stateHash": raw(message.state_hash),
            "changesHash": keccak(arrays([index for index, _ in message.changes], [new for _, new in message.changes])),
            "callsHash": chained(message),
            "modelHash": raw(message.model_hash),
            "inputRoot": raw(message.input_root),
            "probesHash": keccak(encode([PROBES], [message.probes])),
            "maxLiquidatable": message.max_liquidatable,
            "deadline": message.deadline,
        },
    }


@given(messages, actions, addresses, uints)
def test_digest__any_message__is_the_eip_712_hash_that_a_wallet_makes_of_it(message, action, steward, chain_id):
    wallets = encode_typed_data(full_message=typed(message, action, steward, chain_id))
    expected = keccak(b"\x19\x01" + wallets.header + wallets.body)
    assert message.digest(action, steward, chain_id) == "0x" + expected.hex()


@given(messages, actions, addresses, uints, st.sampled_from(KEYS))
def test_attest__digest_of_any_message__is_the_signature_that_a_wallet_gives(message, action, steward, chain_id, key):
    signature = LocalSigner(SecretStr(key)).attest(message.digest(action, steward, chain_id))
    wallets = Account.from_key(key).sign_typed_data(full_message=typed(message, action, steward, chain_id))
    assert (27 + (signature.vs >> 255), signature.r, signature.vs % 2**255) == (wallets.v, wallets.r, wallets.s)
    assert signature.vs % 2**255 <= HALF_ORDER


CALM = Message(
    market="SPX",
    policy="0x" + "0c" * 20,
    sequence=4,
    state_hash="0x" + "01" * 32,
    changes=((0, 440), (1, 550)),
    calls=(("0x" + "02" * 20, "0x1234"),),
    model_hash="0x" + "03" * 32,
    input_root="0x" + "04" * 32,
    probes=((b"\x05" * 32, -6),),
    max_liquidatable=1,
    deadline=1_700_000_600,
)
STEWARD = "0x" + "07" * 20
OTHERS = {
    "market": "NDX",
    "policy": "0x" + "0d" * 20,
    "sequence": 5,
    "state_hash": "0x" + "09" * 32,
    "changes": ((0, 440), (1, 551)),
    "calls": (("0x" + "02" * 20, "0x1235"),),
    "model_hash": "0x" + "0a" * 32,
    "input_root": "0x" + "0b" * 32,
    "probes": ((b"\x05" * 32, -7),),
    "max_liquidatable": 2,
    "deadline": 1_700_000_601,
}


@pytest.mark.parametrize("field", OTHERS)
def test_digest__any_field_changed__is_another(field):
    changed = replace(CALM, **{field: OTHERS[field]})
    assert {*OTHERS, "order"} == set(Message.__slots__)
    assert changed.digest("apply", STEWARD, 1) != CALM.digest("apply", STEWARD, 1)


def test_digest__other_steward_chain_or_purpose__is_another():
    digests = [
        CALM.digest("apply", STEWARD, 1),
        CALM.digest("apply", "0x" + "08" * 20, 1),
        CALM.digest("apply", STEWARD, 2),
        CALM.digest("rollback", STEWARD, 1),
    ]
    assert len(set(digests)) == len(digests)


def test_digest__announcement__is_that_of_the_change_itself():
    assert CALM.digest("announce", STEWARD, 1) == CALM.digest("apply", STEWARD, 1)


@given(messages)
def test_calls_hash__any_calls__is_the_chain_of_their_hashes(message):
    assert calls_hash(message.calls) == chained(message)


@given(messages.filter(lambda message: len(set(message.calls)) > 1))
def test_calls_hash__other_order_or_one_left_out__is_another(message):
    found = calls_hash(message.calls)
    assert calls_hash(message.calls[:-1]) != found
    assert calls_hash(message.calls[1:]) != found
    assert calls_hash(message.calls[::-1]) != found or message.calls[::-1] == message.calls


SELECTOR = keccak(text=f"submit(uint256,{MESSAGE},{SIGNATURES})")[:4]
CODES = {"apply": 0, "announce": 1, "rollback": 2}


def code_of(action: str, order: tuple[int, ...]) -> int:
    """Return the submission's first argument as its documented digits: purpose last, before it each setter."""
    places = "" if action == "announce" else "".join(f"{setter:x}" for setter in reversed(order))
    return int(f"{places}{CODES[action]:x}", 16)


@given(messages, actions, signatures)
def test_attach__any_signatures__is_what_an_encoder_makes_of_message_and_signatures(message, action, given_signatures):
    fields = (
        keccak(text=message.market),
        message.sequence,
        raw(message.state_hash),
        tuple(index for index, _ in message.changes),
        tuple(value for _, value in message.changes),
        chained(message),
        raw(message.model_hash),
        raw(message.input_root),
        message.probes,
        message.max_liquidatable,
        message.deadline,
    )
    code = code_of(action, message.order)
    rows = tuple((one.r, one.vs) for one in given_signatures)
    data = raw(attach(message.calldata(action), given_signatures))
    assert data[:4] == SELECTOR
    assert data[4:] == encode(["uint256", MESSAGE, SIGNATURES], [code, fields, rows])
    assert decode(["uint256", MESSAGE, SIGNATURES], data[4:]) == (code, fields, rows)


@given(messages, signatures)
def test_announcing__signed_message__changes_the_purpose_and_nothing_else(message, given_signatures):
    data = attach(message.calldata("apply"), given_signatures)
    assert announcing(data) == attach(message.calldata("announce"), given_signatures)
    assert raw(announcing(data)) == SELECTOR + (1).to_bytes(32) + raw(data)[36:]


def test_attach__calldata_that_has_signatures__is_refused():
    data = attach(CALM.calldata("apply"), [Signature(1, 2)])
    with pytest.raises(AssertionError):
        attach(data, [Signature(1, 2)])
