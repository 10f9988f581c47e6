# pragma version ~=0.4.3
# pragma optimize gas
# pragma evm-version cancun
"""
@title Attestation: who stands behind a change
@license AGPL-3.0-only
@notice A change is an EIP-712 message that k of n signers have signed: bound to chain, steward, market, policy in
        force, sequence and live state, so that a signature works once and nowhere else. Who sends it to the chain
        does not matter. The policy says who the signers are, and another policy voids whatever was signed before.
"""

from snekmate.utils import ecdsa

from . import policy


struct Probe:
    data: Bytes[MAX_PROBE_DATA]  # arguments of the policy's health view: account, market, oracle round
    threshold: int256


struct Message:
    market: bytes32
    sequence: uint256  # the current version's number plus one
    state_hash: bytes32  # of the live values that the change was computed for
    ids: DynArray[uint256, MAX_PARAMETERS]  # strictly ascending
    values: DynArray[uint256, MAX_PARAMETERS]
    calls_hash: bytes32  # of the calls that bring the values about, see targets.vy
    model_hash: bytes32  # the model that the change comes from; in the calldata for the record, not judged
    input_root: bytes32  # commits to what the change was decided on; recorded, not judged
    probes: DynArray[Probe, MAX_PROBES]  # accounts whose health is probed after the calls
    max_liquidatable: uint256  # of them
    deadline: uint256  # last Unix second at which it may be applied


struct Signature:  # compact, EIP-2098
    r: uint256
    vs: uint256


MAX_PARAMETERS: constant(uint256) = policy.MAX_PARAMETERS
MAX_PROBES: constant(uint256) = 8
MAX_PROBE_DATA: constant(uint256) = 288
MAX_SIGNERS: constant(uint256) = policy.MAX_SIGNERS

APPLY: constant(bytes32) = keccak256(
    "Apply(bytes32 market,address policy,uint256 sequence,bytes32 stateHash,bytes32 changesHash,"
    "bytes32 callsHash,bytes32 modelHash,bytes32 inputRoot,bytes32 probesHash,uint256 maxLiquidatable,uint256 deadline)"
)
ROLLBACK: constant(bytes32) = keccak256(
    "Rollback(bytes32 market,address policy,uint256 sequence,bytes32 stateHash,bytes32 changesHash,"
    "bytes32 callsHash,bytes32 modelHash,bytes32 inputRoot,bytes32 probesHash,uint256 maxLiquidatable,uint256 deadline)"
)

DOMAIN_TYPE: constant(bytes32) = keccak256(
    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
NAME: constant(bytes32) = keccak256("Keeper risk steward")
VERSION: constant(bytes32) = keccak256("1")


@internal
@pure
def _check_signatures(
    quorum: uint256[policy.QUORUM_WORDS], digest: bytes32, signatures: DynArray[Signature, MAX_SIGNERS]
):
    """
    @dev Throws unless enough of a policy's signers, all different, have signed the digest, with low s.
    """
    assert len(signatures) >= quorum[0], "risk_steward: too few signatures"
    last: uint256 = 0
    for signature: Signature in signatures:
        signer: uint256 = convert(ecdsa._try_recover_r_vs(digest, signature.r, signature.vs), uint256)
        known: bool = False
        for index: uint256 in range(1, policy.QUORUM_WORDS):
            if quorum[index] == signer:
                known = True
                break
        assert known, "risk_steward: unknown signer"
        assert signer > last, "risk_steward: signers not strictly ascending"
        last = signer


@internal
@view
def _digest(fields: bytes32) -> bytes32:
    """
    @dev What is signed: the EIP-712 hash of a message whose fields hash to this.
    """
    domain: bytes32 = keccak256(abi_encode(DOMAIN_TYPE, NAME, VERSION, chain.id, self))
    return keccak256(concat(x"1901", domain, fields))
