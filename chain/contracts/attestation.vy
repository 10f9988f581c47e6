# pragma version ~=0.4.3
# pragma optimize codesize
# pragma evm-version cancun
"""
@title Attestation: who stands behind a change
@license AGPL-3.0-only
@notice A change is an EIP-712 message that k of n signers have signed: bound to chain, steward, market, sequence and
        live state, so that a signature works once and nowhere else. Who sends it to the chain does not matter. The
        signers are stored as the code of a contract that cannot run, like a policy.
"""

from snekmate.utils import ecdsa

from . import policy


event QuorumSet:
    threshold: uint256
    signers: DynArray[address, MAX_SIGNERS]


event PauseSet:
    account: indexed(address)
    paused: bool


struct Call:
    target: address
    data: Bytes[MAX_CALL_DATA]


struct Probe:
    data: Bytes[MAX_PROBE_DATA]  # arguments of the policy's health view: account, market, oracle round
    threshold: int256


struct Message:
    market: bytes32
    sequence: uint256  # the current version's number plus one
    state_hash: bytes32  # of the live values that the change was computed for
    ids: DynArray[uint256, MAX_PARAMETERS]  # strictly ascending
    values: DynArray[uint256, MAX_PARAMETERS]
    calls: DynArray[Call, MAX_CALLS]  # bring the values about, in order
    model_hash: bytes32  # the model that the change comes from; recorded, not judged
    input_root: bytes32  # commits to what the change was decided on; recorded, not judged
    probes: DynArray[Probe, MAX_PROBES]  # accounts whose health is probed after the calls
    max_liquidatable: uint256  # of them
    deadline: uint256  # last Unix second at which it may be applied


struct Signature:
    v: uint256
    r: uint256
    s: uint256


struct Quorum:
    threshold: uint256
    signers: address[MAX_SIGNERS]


MAX_PARAMETERS: constant(uint256) = policy.MAX_PARAMETERS
MAX_CALLS: constant(uint256) = 8
MAX_CALL_DATA: constant(uint256) = 388
MAX_PROBES: constant(uint256) = 16
MAX_PROBE_DATA: constant(uint256) = 288
MAX_SIGNERS: constant(uint256) = 16
QUORUM_SIZE: constant(uint256) = 544
ADDRESS_MASK: constant(uint256) = 2**160 - 1

APPLY: constant(bytes32) = keccak256(
    "Apply(bytes32 market,uint256 sequence,bytes32 stateHash,uint256[] ids,uint256[] values,bytes32 callsHash,"
    "bytes32 modelHash,bytes32 inputRoot,bytes32 probesHash,uint256 maxLiquidatable,uint256 deadline)"
)
ROLLBACK: constant(bytes32) = keccak256(
    "Rollback(bytes32 market,uint256 sequence,bytes32 stateHash,uint256[] ids,uint256[] values,bytes32 callsHash,"
    "bytes32 modelHash,bytes32 inputRoot,bytes32 probesHash,uint256 maxLiquidatable,uint256 deadline)"
)

DOMAIN_TYPE: constant(bytes32) = keccak256(
    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
NAME: constant(bytes32) = keccak256("Keeper risk steward")
VERSION: constant(bytes32) = keccak256("1")

_CREATE: constant(Bytes[12]) = x"600B5981380380925939F300"

# 160 bits: where the signers stand; the next bit: whether changes are paused. Read together by every change.
_gate: uint256


@external
@view
def paused() -> bool:
    """
    @notice Whether changes are stopped; rollbacks are not.
    """
    return self._is_paused()


@external
@view
def quorum() -> (uint256, DynArray[address, MAX_SIGNERS]):
    """
    @notice How many signatures a change needs, and of whom.
    """
    quorum: Quorum = self._quorum()
    signers: DynArray[address, MAX_SIGNERS] = []
    for signer: address in quorum.signers:
        if signer != empty(address):
            signers.append(signer)
    return quorum.threshold, signers


@external
@view
def quorum_code() -> address:
    """
    @notice Where the signers stand: a STOP byte, then the ABI encoding of (uint256 threshold, address[16] signers).
    """
    return self._gate_address()


@internal
def _set_quorum(threshold: uint256, signers: DynArray[address, MAX_SIGNERS]):
    """
    @dev Replace the signers: strictly ascending, at least `threshold` of them, at least one.
    """
    assert threshold > 0 and threshold <= len(signers), "risk_steward: threshold out of range"
    quorum: Quorum = empty(Quorum)
    quorum.threshold = threshold
    last: uint256 = 0
    for index: uint256 in range(len(signers), bound=MAX_SIGNERS):
        assert convert(signers[index], uint256) > last, "risk_steward: signers not strictly ascending"
        last = convert(signers[index], uint256)
        quorum.signers[index] = signers[index]
    stored: address = raw_create(concat(_CREATE, abi_encode(quorum)))
    self._gate = convert(stored, uint256) | (self._gate >> 160) << 160
    log QuorumSet(threshold=threshold, signers=signers)


@internal
def _set_paused(paused: bool):
    """
    @dev Stop changes or let them through.
    """
    self._gate = (self._gate & ADDRESS_MASK) | convert(paused, uint256) << 160
    log PauseSet(account=msg.sender, paused=paused)


@internal
@view
def _is_paused() -> bool:
    """
    @dev Whether changes are stopped.
    """
    return self._gate >> 160 != 0


@internal
@view
def _gate_address() -> address:
    """
    @dev Where the signers stand.
    """
    return convert(convert(self._gate & ADDRESS_MASK, uint160), address)


@internal
@view
def _quorum() -> Quorum:
    """
    @dev The signers in force.
    """
    return abi_decode(slice(self._gate_address().code, 1, QUORUM_SIZE), Quorum)


@internal
@view
def _check_signatures(digest: bytes32, signatures: DynArray[Signature, MAX_SIGNERS]):
    """
    @dev Throws unless enough signers, all different, have signed the digest, with low s.
    """
    quorum: Quorum = self._quorum()
    assert len(signatures) >= quorum.threshold, "risk_steward: too few signatures"
    last: uint256 = 0
    for signature: Signature in signatures:
        signer: address = ecdsa._recover_vrs(digest, signature.v, signature.r, signature.s)
        known: bool = False
        for allowed: address in quorum.signers:
            if allowed == signer:
                known = True
                break
        assert known, "risk_steward: unknown signer"
        assert convert(signer, uint256) > last, "risk_steward: signers not strictly ascending"
        last = convert(signer, uint256)


@internal
@view
def _digest(fields: bytes32) -> bytes32:
    """
    @dev What is signed: the EIP-712 hash of a message whose fields hash to this.
    """
    domain: bytes32 = keccak256(abi_encode(DOMAIN_TYPE, NAME, VERSION, chain.id, self))
    return keccak256(concat(x"1901", domain, fields))


@internal
@pure
def _hash_words(words: DynArray[uint256, MAX_PARAMETERS]) -> bytes32:
    """
    @dev EIP-712 hash of an array: its words without offset and length.
    """
    return keccak256(slice(abi_encode(words), 64, 32 * len(words)))
