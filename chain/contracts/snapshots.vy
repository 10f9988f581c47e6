# pragma version ~=0.4.3
# pragma optimize codesize
# pragma evm-version cancun
"""
@title Snapshots: the versions of a market, and which of them a rollback may restore
@license AGPL-3.0-only
@notice A version is kept as the hash of its values; the values themselves are in the log of the block that is kept
        beside it. Two are kept: the current one, and the newest before it that outlived its probation. A version
        that outlives its probation is the last good one itself, until the next is made.
"""


struct Line:
    sequence: uint256  # of the current version; activation makes version 0
    applied_at: uint256  # Unix seconds, current version
    applied_in: uint256  # block number, current version
    good_sequence: uint256  # of the newest proven version before the current, or the current when proven at once
    good_in: uint256  # its block number
    slot: uint256  # which of the two hashes is the current version's
    status: uint256


INACTIVE: constant(uint256) = 0
ACTIVE: constant(uint256) = 1
RETIRED: constant(uint256) = 2

MASK: constant(uint256) = 2**40 - 1

# Packed: sequence 40, applied_at 40, applied_in 40, good_sequence 40, good_in 40, slot 1, status 2 bits.
_lines: HashMap[bytes32, uint256]
_hashes: HashMap[bytes32, bytes32[2]]


@internal
@view
def _line(market: bytes32) -> Line:
    """
    @dev A market's line of versions; all zeros before activation.
    """
    word: uint256 = self._lines[market]
    return Line(
        sequence=word & MASK,
        applied_at=(word >> 40) & MASK,
        applied_in=(word >> 80) & MASK,
        good_sequence=(word >> 120) & MASK,
        good_in=(word >> 160) & MASK,
        slot=(word >> 200) & 1,
        status=word >> 201,
    )


@internal
def _store(market: bytes32, line: Line):
    """
    @dev Write a line back. Block numbers and times fit 40 bits for 34,000 years.
    """
    self._lines[market] = (
        line.sequence
        | line.applied_at << 40
        | line.applied_in << 80
        | line.good_sequence << 120
        | line.good_in << 160
        | line.slot << 200
        | line.status << 201
    )


@internal
def _begin(market: bytes32, hash: bytes32):
    """
    @dev Make version 0, proven at once.
    """
    line: Line = empty(Line)
    line.applied_at = block.timestamp
    line.applied_in = block.number
    line.good_in = block.number
    line.status = ACTIVE
    self._hashes[market][0] = hash
    self._store(market, line)


@internal
def _advance(market: bytes32, previous: Line, probation: uint256, hash: bytes32):
    """
    @dev Make the next version; the current one is kept if it is proven, else replaced.
    """
    line: Line = previous
    if self._is_proven(previous, probation):
        line.good_sequence = previous.sequence
        line.good_in = previous.applied_in
        line.slot = 1 - previous.slot
    line.sequence = previous.sequence + 1
    line.applied_at = block.timestamp
    line.applied_in = block.number
    self._hashes[market][line.slot] = hash
    self._store(market, line)


@internal
def _prove(market: bytes32):
    """
    @dev Make the current version proven at once.
    """
    line: Line = self._line(market)
    line.good_sequence = line.sequence
    line.good_in = line.applied_in
    self._store(market, line)


@internal
def _retire(market: bytes32):
    """
    @dev End a line for ever.
    """
    line: Line = self._line(market)
    line.status = RETIRED
    self._store(market, line)


@internal
@view
def _current_hash(market: bytes32, line: Line) -> bytes32:
    """
    @dev Hash of the current version's values.
    """
    return self._hashes[market][line.slot]


@internal
@view
def _last_good(market: bytes32, line: Line, probation: uint256) -> (uint256, bytes32, uint256):
    """
    @dev Sequence, hash and block number of the version that a rollback would restore now.
    """
    if self._is_proven(line, probation):
        return line.sequence, self._hashes[market][line.slot], line.applied_in
    return line.good_sequence, self._hashes[market][1 - line.slot], line.good_in


@internal
@view
def _is_proven(line: Line, probation: uint256) -> bool:
    """
    @dev Whether the current version is one that a rollback may restore later.
    """
    return line.good_sequence == line.sequence or block.timestamp - line.applied_at >= probation
