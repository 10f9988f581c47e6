"""Check that signing is by the given key, reproducible, and never shows it."""

import itertools
import traceback

import pytest
from eth_account import Account
from eth_account.typed_transactions import TypedTransaction
from hexbytes import HexBytes
from pydantic import SecretStr

from chain.signer import LocalSigner

KEY = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d"
ADDRESS = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
TRANSACTION = {
    "type": 2,
    "chainId": 31_337,
    "nonce": 7,
    "to": ADDRESS,
    "data": "0x1234",
    "value": 0,
    "gas": 100_000,
    "maxFeePerGas": 3 * 10**9,
    "maxPriorityFeePerGas": 10**9,
}


def test_signer__of_a_known_key__has_its_address():
    assert LocalSigner(SecretStr(KEY)).address == ADDRESS


def test_sign__transaction__is_recovered_to_the_signer():
    signed = LocalSigner(SecretStr(KEY)).sign(TRANSACTION)
    assert Account.recover_transaction(signed.raw) == ADDRESS


def test_sign__transaction__carries_the_fields_that_were_given():
    signed = LocalSigner(SecretStr(KEY)).sign(TRANSACTION)
    fields = TypedTransaction.from_bytes(HexBytes(signed.raw)).as_dict()
    assert {name: fields[name] for name in ("chainId", "nonce", "gas", "maxFeePerGas", "maxPriorityFeePerGas")} == {
        name: TRANSACTION[name] for name in ("chainId", "nonce", "gas", "maxFeePerGas", "maxPriorityFeePerGas")
    }
    assert HexBytes(fields["data"]) == HexBytes("0x1234")


DIGESTS = [f"{number:#066x}" for number in range(1, 21)]
HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0


def test_attest__many_digests__is_recovered_to_the_signer_from_the_compact_form_of_either_parity():
    signer, parities = LocalSigner(SecretStr(KEY)), set()
    for digest in DIGESTS:
        signature = signer.attest(digest)
        parity, s = divmod(signature.vs, 2**255)
        assert Account._recover_hash(digest, vrs=(27 + parity, signature.r, s)) == ADDRESS
        assert 0 < s <= HALF_ORDER
        parities.add(parity)
    assert parities == {0, 1}


def test_attest__example_of_the_standard__is_its_compact_form():
    """The first test case of EIP-2098: the message is "Hello World", hashed as a personal one."""
    signer = LocalSigner(SecretStr("0x" + "1234567890" * 6 + "1234"))
    digest = "0xa1de988600a42c4b4ab089b619297c17d53cffae5d5120d82d8a92d0bb3b78f2"
    signature = signer.attest(digest)
    assert signature.r == 0x68A020A209D3D56C46F38CC50A33F704F4A9A10A59377F8DD762AC66910E9B90
    assert signature.vs == 0x7E865AD05C4035AB5792787D4A0297A43617AE897930A6FE4D822B8FAEA52064


def test_attest__same_digest_twice__is_the_same_and_another_digest_another():
    signer = LocalSigner(SecretStr(KEY))
    assert signer.attest(DIGESTS[0]) == signer.attest(DIGESTS[0])
    assert all(signer.attest(one) != signer.attest(other) for one, other in itertools.pairwise(DIGESTS))


def test_sign__same_transaction_twice__gives_the_same_bytes_and_hash():
    first, second = (LocalSigner(SecretStr(KEY)).sign(TRANSACTION) for _ in range(2))
    assert first == second
    assert first.tx_hash.startswith("0x")
    assert len(first.tx_hash) == 66


def test_sign__another_nonce__gives_another_hash():
    signer = LocalSigner(SecretStr(KEY))
    assert signer.sign(TRANSACTION).tx_hash != signer.sign(TRANSACTION | {"nonce": 8}).tx_hash


def test_signer__printed_in_any_way__shows_the_address_alone():
    signer = LocalSigner(SecretStr(KEY))
    for text in (repr(signer), str(signer), f"{signer}"):
        assert text == f"LocalSigner({ADDRESS})"
    assert KEY[2:] not in str(vars(signer))


def test_sign__transaction_it_cannot_sign__fails_without_the_key_in_the_traceback():
    signer = LocalSigner(SecretStr(KEY))
    with pytest.raises((TypeError, ValueError)) as caught:
        signer.sign({"type": 2, "nonce": "seven"})
    assert KEY[2:] not in "".join(traceback.format_exception(caught.value))
