# pragma version ~=0.4.3
"""
@title A protocol of sixteen numbers in one of many moods: it clamps, lies, meddles, refuses, or calls someone else
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
SHORT: constant(uint256) = 8  # answers a byte less than a word, or than four of all
BREAKING: constant(uint256) = 9  # answers until it is set
BROKEN: constant(uint256) = 10

numbers: uint256[16]
pretence: uint256[16]
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
def poke(numbers: uint256[16]):
    """
    @notice Change everything behind the setters' backs; it does wonders for the mood.
    """
    self.numbers = numbers
    self.mood = HONEST


@external
def nudge(index: uint256, number: uint256):
    """
    @notice Change one number behind the setters' backs, which does as much.
    """
    self.numbers[index] = number
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
def set_six(numbers: uint256[6]):
    """
    @notice Set the first six numbers, in their order.
    """
    for index: uint256 in range(6):
        self._set(index, numbers[index])


@external
def set_ten(first: uint256, numbers: uint256[10]):
    """
    @notice Set ten numbers from one on, in their order.
    """
    for index: uint256 in range(10):
        self._set(first + index, numbers[index])


@external
def set_one(index: uint256, number: uint256):
    """
    @notice Set one number.
    """
    self._set(index, number)


@external
def set_two(index: uint256, number: uint256, other_index: uint256, other_number: uint256):
    """
    @notice Set two numbers.
    """
    self._set(index, number)
    self._set(other_index, other_number)


@external
@view
@raw_return
def all() -> Bytes[512]:
    """
    @notice Every number.
    """
    return slice(abi_encode(self._shown()), 0, 127 if self.mood == SHORT else 512)


@external
@view
@raw_return
def one(index: uint256) -> Bytes[32]:
    """
    @notice One number.
    """
    return slice(abi_encode(self._shown()[index]), 0, 31 if self.mood == SHORT else 32)


@external
@view
def health(account: uint256) -> (int256, int256):
    """
    @notice By how much the first number, and the second, exceed an account's own.
    """
    own: int256 = convert(account, int256)
    return convert(self.numbers[0], int256) - own, convert(self.numbers[1], int256) - own


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
        self.numbers[(index + 1) % 16] += 1
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
def _shown() -> uint256[16]:
    assert self.mood != BROKEN, "target: broken"
    shown: uint256[16] = self.pretence if self.pretence_at == block.timestamp else self.numbers
    if self.mood == LYING:
        shown[0] += 1
    return shown
