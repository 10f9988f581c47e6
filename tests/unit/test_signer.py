"""Check that signing is by the given key, reproducible, and never shows it."""

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
