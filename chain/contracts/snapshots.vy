# pragma version ~=0.4.3
# pragma optimize gas
# pragma evm-version cancun
"""
@title Snapshots: the versions of a market, and which of them a rollback may restore
@license AGPL-3.0-only
@notice A version is kept as the hash of its values; the values themselves are in the log of the block that has its
        time. A version has outlived its probation when, for so long after it was made, nothing was rolled back and no
        change in it was corrected; others may have followed. A parameter that changes twice within a probation is
        corrected by the second change, and no version made from the first on, before the second, is ever proven.
        Three are kept: the current one, the newest before it that is known to have outlived its probation, and a
        candidate that is about to. The last good version is the current one once that has outlived its probation, else
        the candidate once it has, else the one known; so it lies no further back than two probations and the time
        between two changes, however many parameters change in turn, unless some are corrected. A market's line of versions
        is kept in one word together with the policy in force.
"""


struct Line:
    stored: address  # the policy in force
    sequence: uint256  # of the current version; activation makes version 0
    has_candidate: bool
    applied_at: uint256  # Unix seconds, current version
    good_at: uint256  # Unix seconds, newest proven version before the current one
    slot: uint256  # which of the two hashes is the current version's
    is_good: bool  # the current version was proven when it was made
    status: uint256


struct Candidate:
    hash: bytes32
    made_at: uint256  # Unix seconds


INACTIVE: constant(uint256) = 0
ACTIVE: constant(uint256) = 1
RETIRED: constant(uint256) = 2
PAUSED: constant(uint256) = 3

ADDRESS_MASK: constant(uint256) = 2**160 - 1
SEQUENCE_MASK: constant(uint256) = 2**27 - 1
TIME_MASK: constant(uint256) = 2**32 - 1

# Packed, lowest bits first: policy 160, sequence 27, has_candidate 1, applied_at 32, good_at 32, slot 1, is_good 1,
# status 2.
_lines: HashMap[bytes32, uint256]
_hashes: HashMap[bytes32, bytes32[2]]
_candidates: HashMap[bytes32, Candidate]


@internal
@view
def _line(market: bytes32) -> Line:
    """
    @dev A market's line of versions; all zeros before a policy is set.
    """
    word: uint256 = self._lines[market]
    return Line(
        stored=convert(word & ADDRESS_MASK, address),
        sequence=(word >> 160) & SEQUENCE_MASK,
        has_candidate=(word >> 187) & 1 == 1,
        applied_at=(word >> 188) & TIME_MASK,
        good_at=(word >> 220) & TIME_MASK,
        slot=(word >> 252) & 1,
        is_good=(word >> 253) & 1 == 1,
        status=word >> 254,
    )


@internal
def _store(market: bytes32, line: Line):
    """
    @dev Write a line back. Throws in the year 2106, or after 134 million versions.
    """
    fits: bool = max(line.applied_at, line.good_at) <= TIME_MASK and line.sequence <= SEQUENCE_MASK
    assert fits, "risk_steward: line is full"
    self._lines[market] = (
        convert(line.stored, uint256)
        | line.sequence << 160
        | convert(line.has_candidate, uint256) << 187
        | line.applied_at << 188
        | line.good_at << 220
        | line.slot << 252
        | convert(line.is_good, uint256) << 253
        | line.status << 254
    )


@internal
def _begin(market: bytes32, previous: Line, hash: bytes32):
    """
    @dev Make version 0, proven at once.
    """
    line: Line = previous
    line.applied_at = block.timestamp
    line.is_good = True
    line.status = ACTIVE
    # What is not used yet is written as well, so that no later change pays for fresh storage.
    self._hashes[market] = [hash, hash]
    self._candidates[market] = Candidate(hash=hash, made_at=block.timestamp)
    self._store(market, line)


@internal
def _advance(
    market: bytes32, previous: Line, probation: uint256, hash: bytes32, is_good: bool, corrected: uint256
):
    """
    @dev Make the next version; the current one is kept if it is proven, or as the candidate if there is none. Neither
            it nor the candidate is if it was made in the minute `corrected` or later.
    """
    line: Line = previous
    if self._is_proven(previous, probation):
        line.good_at = previous.applied_at
        line.slot = 1 - previous.slot
        line.has_candidate = False
    else:
        line = self._matured(market, previous, probation)
        if line.has_candidate and self._minute(self._candidates[market].made_at) >= corrected:
            line.has_candidate = False
        if not line.has_candidate and self._minute(line.applied_at) < corrected:
            self._candidates[market] = Candidate(hash=self._hashes[market][line.slot], made_at=line.applied_at)
            line.has_candidate = True
    line.sequence = previous.sequence + 1
    line.applied_at = block.timestamp
    line.is_good = is_good
    self._hashes[market][line.slot] = hash
    self._store(market, line)


@internal
def _return_to_good(market: bytes32, previous: Line, probation: uint256):
    """
    @dev Make the next version of the last good one's values, proven at once; its hash is kept already. A candidate that
            is left means nothing any more: the version after a proven one does not look for any.
    """
    line: Line = self._matured(market, previous, probation)
    line.sequence = previous.sequence + 1
    line.applied_at = block.timestamp
    line.slot = 1 - previous.slot
    line.is_good = True
    self._store(market, line)


@internal
def _matured(market: bytes32, previous: Line, probation: uint256) -> Line:
    """
    @dev The line with its candidate, if there is one that has outlived its probation, as the version known to have.
    """
    line: Line = previous
    if not line.has_candidate:
        return line
    made_at: uint256 = self._candidates[market].made_at
    if block.timestamp - made_at >= probation:
        self._hashes[market][1 - line.slot] = self._candidates[market].hash
        line.good_at = made_at
        line.has_candidate = False
    return line


@internal
@pure
def _minute(time: uint256) -> uint256:
    """
    @dev The minute, rounded up, as the memory of the limits has it.
    """
    return (time + 59) // 60


@internal
@view
def _current_hash(market: bytes32, line: Line) -> bytes32:
    """
    @dev Hash of the current version's values.
    """
    return self._hashes[market][line.slot]


@internal
@view
def _last_good(market: bytes32, line: Line, probation: uint256) -> (bytes32, uint256):
    """
    @dev Hash and time of the version that a rollback would restore now.
    """
    if self._is_proven(line, probation):
        return self._hashes[market][line.slot], line.applied_at
    if line.has_candidate:
        made_at: uint256 = self._candidates[market].made_at
        if block.timestamp - made_at >= probation:
            return self._candidates[market].hash, made_at
    return self._hashes[market][1 - line.slot], line.good_at


@internal
@view
def _is_proven(line: Line, probation: uint256) -> bool:
    """
    @dev Whether the current version is one that a rollback may restore later.
    """
    return line.is_good or block.timestamp - line.applied_at >= probation
