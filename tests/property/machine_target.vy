# pragma version ~=0.4.3
"""
@title A protocol of six numbers in one of many moods: it clamps, lies, meddles, refuses, or calls someone else
@license AGPL-3.0-only
@notice Only its setters set, but anyone may choose its mood or change it behind their backs.
"""

MAX_ERRAND: constant(uint256) = 4_096

HONEST: constant(uint256) = 0
CLAMPING: constant(uint256) = 1  # takes no number above the present one
FROZEN: constant(uint256) = 2  # takes no number at all
PRETENDING: constant(uint256) = 3  # nor this, but answers until the second is over as if it did
LYING: constant(uint256) = 4  # answers one too many for the first number
MEDDLING: constant(uint256) = 5  # moves the next number along
REFUSING: constant(uint256) = 6
MUTE: constant(uint256) = 7  # refuses without a reason
SHORT: constant(uint256) = 8  # answers a byte less than a word
BREAKING: constant(uint256) = 9  # answers until it is set
BROKEN: constant(uint256) = 10

numbers: uint256[6]
pretence: uint256[6]
pretence_at: uint256
mood: uint256
setters: HashMap[address, bool]
errand_to: address
errand: Bytes[MAX_ERRAND]


@external
def allow(setter: address):
    """
    @notice Let an account set.
    """
    self.setters[setter] = True


@external
def poke(numbers: uint256[6]):
    """
    @notice Change everything behind the setters' backs; it does wonders for the mood.
    """
    self.numbers = numbers
    self.mood = HONEST


@external
def be(mood: uint256):
    """
    @notice Choose a mood.
    """
    self.mood = mood


@external
def send_on_errand(target: address, data: Bytes[MAX_ERRAND]):
    """
    @notice Make this call as well when a number is next set, whatever comes of it.
    """
    self.errand_to = target
    self.errand = data


@external
def set_all(numbers: uint256[6]):
    """
    @notice Set every number, in their order.
    """
    for index: uint256 in range(6):
        self._set(index, numbers[index])


@external
def set_one(index: uint256, number: uint256):
    """
    @notice Set one number.
    """
    self._set(index, number)


@external
@view
@raw_return
def all() -> Bytes[192]:
    """
    @notice Every number.
    """
    return slice(abi_encode(self._shown()), 0, self._length(192))


@external
@view
@raw_return
def one(index: uint256) -> Bytes[32]:
    """
    @notice One number.
    """
    return slice(abi_encode(self._shown()[index]), 0, self._length(32))


@external
@view
def health(account: uint256) -> int256:
    """
    @notice By how much the first number exceeds an account's own.
    """
    return convert(self.numbers[0], int256) - convert(account, int256)


@internal
def _set(index: uint256, number: uint256):
    assert self.setters[msg.sender], "target: not a setter"
    assert self.mood != REFUSING, "target: refused"
    if self.mood == MUTE:
        raw_revert(b"")
    self._run_errand()
    if self.mood == PRETENDING:
        if self.pretence_at != block.timestamp:
            self.pretence = self.numbers
            self.pretence_at = block.timestamp
        self.pretence[index] = number
    elif self.mood == CLAMPING:
        self.numbers[index] = min(number, self.numbers[index])
    elif self.mood != FROZEN:
        self.numbers[index] = number
    if self.mood == MEDDLING:
        self.numbers[(index + 1) % 6] += 1
    if self.mood == BREAKING:
        self.mood = BROKEN


@internal
def _run_errand():
    target: address = self.errand_to
    if target != empty(address):
        self.errand_to = empty(address)
        success: bool = raw_call(target, self.errand, revert_on_failure=False)


@internal
@view
def _shown() -> uint256[6]:
    assert self.mood != BROKEN, "target: broken"
    shown: uint256[6] = self.pretence if self.pretence_at == block.timestamp else self.numbers
    if self.mood == LYING:
        shown[0] += 1
    return shown


@internal
@view
def _length(right: uint256) -> uint256:
    return 31 if self.mood == SHORT else right
