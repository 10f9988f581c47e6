"""Check when a change is signed: after its approval and never before, exactly the bytes rehearsed, or not at all."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest
from eth_account.typed_transactions import TypedTransaction
from hexbytes import HexBytes
from pydantic import SecretStr
from trials import RISKY_PRICE, TIGHT, Trial, at_head, decide, keeper_of, refusal, rows
from wires import Wire, wired

from chain.anvil import KEYS
from chain.attestation import attach
from chain.signer import LocalSigner
from keeper.journal import EntryKind
from keeper.messages import Applied, Reason
from keeper.probes import probes
from keeper.submit import action_of, message_of

pytestmark = pytest.mark.integration
pytest_plugins = ["chains"]

OWN, OTHER = KEYS[1], KEYS[2]


class Watched(LocalSigner):
    """The keeper's key, which notes what is signed with it, and calls `before` first."""

    def __init__(self, before=None):
        super().__init__(SecretStr(OWN))
        self.attested, self.sent, self.before = [], [], before

    def attest(self, digest):
        if self.before is not None:
            self.before(digest)
        self.attested.append(digest)
        return super().attest(digest)

    def sign(self, transaction):
        self.sent.append(transaction)
        return super().sign(transaction)


def signature_words(attestation):
    """Return what of the keeper's signature of a digest could be found again, in hex: it is the same every time.

    Without its first digit `vs` is s as well.
    """
    signature = LocalSigner(SecretStr(OWN)).attest(attestation)
    return f"{signature.r:064x}", f"{signature.vs:064x}"[1:]


def bodies(folder, kind=None):
    """Read the bodies of the journal's rows, of one kind if given, as any other process can."""
    with closing(sqlite3.connect(f"file:{folder / 'keeper.db'}?mode=ro", uri=True)) as database:
        found = database.execute("SELECT kind, body FROM journal ORDER BY id").fetchall()
    return [body.decode() for of_kind, body in found if kind in (None, of_kind)]


def holds(folder, *texts):
    """Say whether any row of the journal holds one of the texts."""
    everything = bodies(folder)
    assert everything
    return any(text in body for body in everything for text in texts)


def attestations(folder):
    """Return the digests that approvals were given for, oldest first."""
    return [json.loads(body)["preflight"]["attestation"] for body in bodies(folder, "approved")]


async def test_tick__approved__is_signed_once_and_only_after_its_approval_is_in_the_journal(trial, tmp_path):
    async with keeper_of(trial, tmp_path, TIGHT) as keeper:
        approved_before_signing = []

        def look(digest):
            approved_before_signing.append(holds(tmp_path, f'"attestation":"{digest}"'))

        keeper.executor.signer = Watched(look)
        assert isinstance(await decide(keeper, trial), Applied)
        approved = (await keeper.journal.last(EntryKind.APPROVED)).message()
        assert keeper.executor.signer.attested == [approved.preflight.attestation]
    assert approved_before_signing == [True]


def near_liquidation(trial):
    trial.post_price(RISKY_PRICE)


def take_the_role_away(trial):
    """Let the steward refuse the exact calldata, for a reason that the guard cannot see."""
    trial.deployer.send(trial.market, "set_parameter_setter", trial.deployer.address)


REFUSED = {
    "by the guard": (Trial.pause, {}, Reason.PAUSED),
    "for its impact": (near_liquidation, {"spot": RISKY_PRICE}, Reason.IMPACT_TOO_LARGE),
    "by the simulation": (take_the_role_away, {}, Reason.SIMULATION_FAILED),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_tick__refused__signs_nothing_at_all(trial, tmp_path, case):
    arrange, quotes, reason = REFUSED[case]
    async with keeper_of(trial, tmp_path, TIGHT) as keeper:
        keeper.executor.signer = Watched()
        arrange(trial)
        assert await refusal(keeper, trial, **quotes) is reason
        proposal = (await keeper.journal.last(EntryKind.PROPOSAL)).message()
        assert (keeper.executor.signer.attested, keeper.executor.signer.sent) == ([], [])
        market = keeper.pipelines[0].market
        accounts = (await market.state(proposal.block)).accounts
        named = probes(market.protocol, accounts, keeper.settings.guard.probed_accounts)
    message = message_of(proposal, market, named, 0)
    words = signature_words(message.digest(action_of(proposal), market.steward, market.chain_id))
    assert not holds(tmp_path, *words)


async def test_tick__approved_but_gas_too_dear__leaves_no_signature_in_the_journal(trial, tmp_path):
    async with keeper_of(trial, tmp_path, TIGHT) as keeper:
        trial.ask("anvil_setNextBlockBaseFeePerGas", hex(300 * 10**9))
        trial.ask("evm_mine")
        assert await refusal(keeper, trial) is Reason.FEE_TOO_HIGH
        dear = (await keeper.journal.last(EntryKind.APPROVED)).message()
        trial.ask("anvil_setNextBlockBaseFeePerGas", hex(10**9))
        trial.ask("evm_mine")
        assert isinstance(await decide(keeper, trial), Applied)
        sent = (await keeper.journal.last(EntryKind.APPROVED)).message()
    assert not holds(tmp_path, *signature_words(dear.preflight.attestation))
    assert holds(tmp_path, *signature_words(sent.preflight.attestation))


def test_once__dry_run_with_a_key__shows_and_keeps_no_signature(command, config, tmp_path):
    ended = command("once", "-c", config, "--dry-run", "--json", key=OWN)
    assert ended.code == 0, ended
    (attestation,) = attestations(tmp_path)
    words = signature_words(attestation)
    assert not any(word in ended.out + ended.err for word in words)
    assert not holds(tmp_path, *words)
    applied = command("once", "-c", config, "--json", key=OWN)
    assert applied.code == 0, applied
    assert holds(tmp_path, *signature_words(attestations(tmp_path)[-1]))


async def test_execute__signed_bytes__are_rehearsed_exactly_as_they_are_sent(trial, tmp_path):
    class Noting(Wire):
        simulated = ()

        async def batch(self, requests):
            if requests[0][0] == "eth_simulateV1":
                first = requests[0][1][0]["blockStateCalls"][0]
                self.simulated = (*self.simulated, ("stateOverrides" in first, first["calls"][0]["data"]))
            return await super().batch(requests)

    async with wired(trial, tmp_path, wire=Noting) as keeper:
        keeper.rpc.simulated = ()
        assert isinstance(await decide(keeper, trial), Applied)
        approved = (await keeper.journal.last(EntryKind.APPROVED)).message()
        shown, rehearsed = keeper.rpc.simulated
        (raw,) = keeper.rpc.sent
    sent = HexBytes(TypedTransaction.from_bytes(HexBytes(raw)).as_dict()["data"]).to_0x_hex()
    assert shown == (True, approved.preflight.calldata)
    assert rehearsed == (False, sent)
    signature = LocalSigner(SecretStr(OWN)).attest(approved.preflight.attestation)
    assert sent == attach(approved.preflight.calldata, [signature])


async def test_execute__state_changed_between_simulation_and_rehearsal__is_simulation_failed_and_sends_nothing(
    trial, tmp_path
):
    def overtake(_):
        trial.set_behind_the_steward("set_parameters", [*trial.parameters()[:5], 400])

    async with wired(trial, tmp_path) as keeper:
        keeper.executor.signer = signer = Watched(overtake)
        refused = await decide(keeper, trial)
        assert (refused.reason, refused.detail) == (Reason.SIMULATION_FAILED, "risk_steward: state has changed")
        assert await rows(keeper, EntryKind.ATTEMPT) == []
        assert (len(signer.attested), signer.sent, keeper.rpc.sent) == (1, [], [])


async def test_tick__two_signatures_demanded__is_not_attested_until_one_is_enough_again(trial, tmp_path):
    async with wired(trial, tmp_path) as keeper:
        trial.signed_by(2, trial.keeper, trial.deployer.address)
        refused = await decide(keeper, trial)
        assert (refused.reason, refused.detail) == (Reason.NOT_ATTESTED, "risk_steward: too few signatures")
        assert await rows(keeper, EntryKind.ATTEMPT) == []
        assert keeper.rpc.sent == []
        assert (trial.nonce(), trial.sequence()) == (0, 0)
        trial.signed_by(1, trial.keeper)
        assert isinstance(await decide(keeper, trial), Applied)


async def test_execute__two_of_two_sign__the_steward_takes_ascending_signatures_alone(trial, rpc, tmp_path):
    """What this keeper signs is one of the signatures; a colleague's goes beside it in the order of addresses."""
    both = sorted((LocalSigner(SecretStr(key)) for key in (OWN, OTHER)), key=lambda one: int(one.address, 16))
    trial = trial.signed_by(2, *(one.address for one in both))
    async with keeper_of(trial, tmp_path, TIGHT, key=None) as keeper:
        await decide(keeper, trial)
        preflight = (await keeper.journal.last(EntryKind.APPROVED)).message().preflight
    signatures = [one.attest(preflight.attestation) for one in both]
    state = await at_head(rpc, trial)
    market = trial.bound(rpc)
    assert await market.rehearse(attach(preflight.calldata, signatures), trial.keeper, state.block) > 0
