"""Who must have signed a change, and for what: every field, one chain, one steward, k of n signers in order."""

from dataclasses import replace

import boa
import pytest
from attestations import CURVE_ORDER, LARGEST_S, Message, compact, made_for_s, make_signers
from reverts import reverting
from stewards import make_guard

CHANGE = {3: 650}
FEW = "risk_steward: too few signatures"
ORDER = "risk_steward: signers not strictly ascending"
UNKNOWN = "risk_steward: unknown signer"
INVALID = "ecdsa: invalid signature"
HIGH_S = "ecdsa: invalid signature `s` value"
# A compact signature has 255 bits for s.
PARITY = 2**255
DIGEST = b"\x07" * 32
OTHER = {
    "market": b"\x01" * 32,
    "sequence": 2,
    "state_hash": b"\x01" * 32,
    "ids": (2,),
    "values": (651,),
    "calls": (("0x" + "11" * 20, b"\x01"),),
    "model_hash": b"\x01" * 32,
    "input_root": b"\x01" * 32,
    "probes": ((b"\x01", 0),),
    "max_liquidatable": 1,
    "deadline": 2**256 - 1,
    "policy": "0x" + "11" * 20,
}


@pytest.fixture
def chain_id():
    """Set the chain's id; it is set back afterwards."""
    before = boa.env.evm.patch.chain_id

    def change(to):
        boa.env.evm.patch.chain_id = to

    yield change
    change(before)


@pytest.fixture(scope="session")
def attestation(deployers):
    """The steward's check of signatures, for any quorum and digest."""
    return deployers["attestation"].deploy().internal._check_signatures


@pytest.fixture
def signed(guard):
    """The change with a signature of each signer."""
    message = guard.message(CHANGE)
    return message, guard.domain.sign(message, guard.signers)


class TestQuorum:
    @pytest.mark.parametrize("indices", [(0, 1), (0, 2), (1, 2), (0, 1, 2)])
    def test_apply__enough_signers_in_order__succeeds(self, guard, signed, indices):
        message, signatures = signed
        guard.send("apply", message, [signatures[index] for index in indices])
        assert guard.knobs.knob(3) == 650

    @pytest.mark.parametrize(
        ("indices", "reason"),
        [((), FEW), ((0,), FEW), ((2,), FEW), ((0, 0), ORDER), ((2, 2), ORDER), ((1, 0), ORDER), ((0, 2, 1), ORDER)],
    )
    def test_apply__too_few_or_out_of_order__reverts(self, signed, refused, indices, reason):
        _, signatures = signed
        refused(reason, CHANGE, signatures=[signatures[index] for index in indices])

    @pytest.mark.parametrize("others", [1, 2])
    def test_apply__stranger_among_the_signers__reverts_wherever_it_stands(self, guard, refused, others):
        message = guard.message(CHANGE)
        stranger = next(account for account in make_signers(9) if account not in guard.signers)
        signers = sorted((*guard.signers[:others], stranger), key=lambda signer: int(signer.address, 16))
        refused(UNKNOWN, CHANGE, signatures=guard.domain.sign(message, signers))

    @pytest.mark.parametrize("kind", ["rollback", "announce"])
    def test_other_entry_points__too_few_signatures__revert(self, guard, kind):
        guard.apply(CHANGE)
        message = guard.message({3: 600})
        with reverting(FEW):
            guard.send(kind, message, guard.sign(message, "Rollback" if kind == "rollback" else "Apply")[:1])

    def test_apply__one_of_one__is_a_configuration(self, guard, refused):
        first, second, _ = guard.signers
        guard.limit({}, quorum=(1, (first.address,)))
        message = guard.message(CHANGE)
        refused(UNKNOWN, CHANGE, signatures=guard.domain.sign(message, [second]))
        guard.send("apply", message, guard.domain.sign(message, [first]))

    def test_apply__sixteen_of_sixteen__succeeds(self, guard):
        signers = make_signers(16)
        guard.limit({}, quorum=(16, tuple(signer.address for signer in signers)))
        message = guard.message(CHANGE)
        with reverting(FEW):
            guard.send("apply", message, guard.domain.sign(message, signers[:15]))
        guard.send("apply", message, guard.domain.sign(message, signers))

    def test_apply__signed_by_signers_replaced_since__reverts(self, guard, signed, refused):
        _, second, third = guard.signers
        guard.limit({}, quorum=(2, (second.address, third.address)))
        refused(UNKNOWN, CHANGE, signatures=signed[1][:2])
        guard.send("apply", message := guard.message(CHANGE), guard.domain.sign(message, (second, third)))

    def test_apply__more_signatures_than_it_takes__reverts(self, guard, refused):
        signers = make_signers(16)
        guard.limit({}, quorum=(1, tuple(signer.address for signer in signers)))
        signatures = guard.domain.sign(guard.message(CHANGE), signers)
        refused(b"", CHANGE, signatures=[*signatures, signatures[-1]])
        guard.send("apply", guard.message(CHANGE), signatures)

    def test_apply__each_market__has_signers_of_its_own(self, guard, refused):
        market = b"other".ljust(32)
        others = tuple(account for account in make_signers(7) if account not in guard.signers)
        guard.activate(market, replace(guard.policy, quorum=(3, tuple(signer.address for signer in others))))
        message = guard.message(CHANGE, market=market)
        refused(UNKNOWN, CHANGE, market=market, signatures=guard.domain.sign(message, guard.signers))
        refused(FEW, CHANGE, market=market, signatures=guard.domain.sign(message, others[:2]))
        refused(UNKNOWN, CHANGE, signatures=guard.domain.sign(guard.message(CHANGE), others[:2]))
        guard.send("apply", message, guard.domain.sign(message, others[1:]))

    def test_apply__sent_by_anyone__counts_for_what_was_signed(self, guard, signed):
        with boa.env.prank(boa.env.generate_address()):
            guard.send("apply", signed[0], signed[1][:2])
        assert guard.knobs.knob(3) == 650

    @pytest.mark.parametrize("who", ["governance", "guardian"])
    def test_apply__sent_by_a_role_without_signatures__reverts(self, guard, who):
        message = guard.message(CHANGE)
        with boa.env.prank(getattr(guard, who)), reverting(FEW):
            guard.send("apply", message, [])


class TestSignature:
    @pytest.mark.parametrize("s", [LARGEST_S, LARGEST_S - 1, CURVE_ORDER - PARITY + 1])
    def test_check__other_signature_of_the_same_key__reverts_for_its_high_s(self, attestation, s):
        """The few whose complement has room in 255 bits: a key is made for one of them, after the digest."""
        signer, low, high = made_for_s(DIGEST, s)
        assert LARGEST_S < high[1] % PARITY == CURVE_ORDER - s
        quorum = [1, int(signer.address, 16), *([0] * 15)]
        with reverting(HIGH_S):
            attestation(quorum, DIGEST, [high])
        attestation(quorum, DIGEST, [low])

    def test_apply__other_signature_of_an_ordinary_key__has_no_room_for_its_s(self, signed, refused):
        """Its highest bit is taken for the parity, and what remains is of nobody known."""
        _, (first, (r, vs), _) = signed
        complement = compact(28 - (vs >> 255), r, CURVE_ORDER - vs % PARITY)[1]
        for other in (complement % 2**256, complement ^ PARITY):
            refused(UNKNOWN, CHANGE, signatures=[first, (r, other % 2**256)])

    @pytest.mark.parametrize("s", [LARGEST_S + 1, PARITY - 1])
    @pytest.mark.parametrize("parity", [0, PARITY])
    def test_apply__any_high_s__reverts_wherever_it_stands(self, signed, refused, s, parity):
        _, (first, second, _) = signed
        refused(HIGH_S, CHANGE, signatures=[(first[0], parity | s), second])
        refused(HIGH_S, CHANGE, signatures=[first, (second[0], parity | s)])

    @pytest.mark.parametrize("s", [LARGEST_S, 1])
    def test_apply__lowest_and_highest_low_s__recover_a_stranger(self, signed, refused, s):
        _, (first, second, _) = signed
        refused(UNKNOWN, CHANGE, signatures=[first, (second[0], s)])

    def test_apply__other_parity__recovers_a_stranger(self, signed, refused):
        _, (first, (r, vs), _) = signed
        refused(UNKNOWN, CHANGE, signatures=[first, (r, vs ^ PARITY)])

    @pytest.mark.parametrize(("r", "s"), [(0, 1), (1, 0), (CURVE_ORDER, 1), (0, 0)])
    @pytest.mark.parametrize("parity", [0, PARITY])
    def test_apply__no_point_of_the_curve__reverts(self, signed, refused, r, s, parity):
        refused(INVALID, CHANGE, signatures=[signed[1][0], (r, parity | s)])


class TestBinding:
    def test_other__fields__are_all_of_the_message(self):
        assert list(OTHER) == list(Message.__slots__)

    @pytest.mark.parametrize("field", OTHER)
    def test_apply__another_field_was_signed__reverts(self, guard, refused, field):
        other = replace(guard.message(CHANGE), **{field: OTHER[field]})
        refused(UNKNOWN, CHANGE, signatures=guard.sign(other))

    @pytest.mark.parametrize(
        "domain", [{"chain": 5}, {"steward": "0x" + "11" * 20}, {"name": "Keeper"}, {"version": "2"}]
    )
    def test_apply__signed_for_another_domain__reverts(self, guard, refused, domain):
        signatures = replace(guard.domain, **domain).sign(guard.message(CHANGE), guard.signers[:2])
        refused(UNKNOWN, CHANGE, signatures=signatures)

    @pytest.mark.parametrize(
        ("kind", "signed_as"), [("apply", "Rollback"), ("announce", "Rollback"), ("rollback", "Apply")]
    )
    def test_any__signed_as_the_other_kind__reverts(self, guard, kind, signed_as):
        guard.apply(CHANGE)
        message = guard.message({3: 600})
        with reverting(UNKNOWN):
            guard.send(kind, message, guard.sign(message, signed_as))

    def test_apply__signed_under_the_policy_before__reverts_though_the_signers_are_the_same(self, guard, signed):
        """Nothing that was signed, seen or vetoed under one policy is good under another."""
        guard.limit({3: {"max_step_up": 300}})
        with reverting(UNKNOWN):
            guard.send("apply", *signed)
        guard.put(guard.policy)
        guard.send("apply", *signed)

    def test_apply__same_message_twice__reverts(self, guard, signed):
        message, signatures = signed
        guard.send("apply", message, signatures)
        with reverting("risk_steward: wrong sequence"):
            guard.send("apply", message, signatures)

    def test_apply__after_a_fork_to_another_chain_id__needs_new_signatures(self, guard, signed, refused, chain_id):
        chain_id(7)
        refused(UNKNOWN, CHANGE, signatures=signed[1])
        guard.apply(CHANGE)

    def test_apply__at_a_second_steward_of_the_same_protocol__needs_new_signatures(self, guard, signed, deployers):
        twin = make_guard(deployers, guard.signers, guard.governance)
        assert twin.state().values == guard.state().values
        with reverting(UNKNOWN):
            twin.send("apply", twin.message(CHANGE), signed[1])
        twin.apply(CHANGE)

    def test_apply__same_values_in_another_market__need_new_signatures(self, guard, signed, refused):
        market = b"other".ljust(32)
        guard.activate(market, guard.policy)
        refused(UNKNOWN, CHANGE, market=market, signatures=signed[1])
        guard.apply(CHANGE, market=market)
