# pragma version ~=0.4.3
"""
@title Four parameters of a protocol that can misbehave in every way a steward has to expect
@license AGPL-3.0-only
@notice Each misbehaviour has a switch; with all of them off it is an honest protocol that anyone may set.
"""

struct Outgoing:
    target: address
    data: Bytes[4096]


struct Outcome:
    success: bool
    answer: Bytes[256]


knobs: public(uint256[4])
owner: public(address)  # the only one who may turn, or nobody in particular
ceiling: public(uint256)
side_effect: public(uint256)
broken: public(bool)
breaks_when_turned: public(bool)
mute: public(bool)
shouts: public(bool)
frozen: public(bool)
pretends: public(bool)
pretence: uint256[4]
pretence_at: uint256
reentries: DynArray[Outgoing, 4]
outcomes: public(DynArray[Outcome, 4])


@deploy
def __init__(initial: uint256[4]):
    self.knobs = initial
    self.ceiling = max_value(uint256)


@external
def set_owner(owner: address):
    """
    @notice Hand the setter role on, as owned protocols do it.
    """
    assert self.owner in [empty(address), msg.sender], "knobs: not the owner"
    self.owner = owner


@external
def set_ceiling(ceiling: uint256):
    """
    @notice Silently take the ceiling for whatever is above it.
    """
    self.ceiling = ceiling


@external
def set_side_effect(size: uint256):
    """
    @notice Move the last knob by so much whenever any other is turned.
    """
    self.side_effect = size


@external
def set_broken(now: bool, when_turned: bool):
    """
    @notice Let every getter revert, at once or from the next turn on.
    """
    self.broken = now
    self.breaks_when_turned = when_turned


@external
def set_mute(mute: bool, shouts: bool):
    """
    @notice Revert without a reason, or with one that is longer than anyone wants to hear.
    """
    self.mute = mute
    self.shouts = shouts


@external
def set_frozen(frozen: bool, pretends: bool):
    """
    @notice Take a turn and do nothing; or, as well, answer the getters as if until the second is over.
    """
    self.frozen = frozen
    self.pretends = pretends


@external
def reenter(target: address, data: Bytes[4096]):
    """
    @notice Make this call as well, when a knob is next turned.
    """
    self.reentries.append(Outgoing(target=target, data=data))


@external
def turn(index: uint256, to: uint256):
    """
    @notice Set one knob.
    """
    self._check()
    assert to != 666, "knobs: refused"
    self._reenter()
    self._turn(index, to)
    self.knobs[3] += self.side_effect


@external
def turn_all(to: uint256[4]):
    """
    @notice Set all knobs.
    """
    self._check()
    for index: uint256 in range(4):
        self._turn(index, to[index])


@external
def other(index: uint256, to: uint256):
    """
    @notice A setter that no policy allows.
    """
    self.knobs[index] = to


@external
@view
def knob(index: uint256) -> uint256:
    """
    @notice One knob.
    """
    assert not self.broken, "knobs: broken"
    return self._knob(index)


@external
@view
def all_knobs() -> uint256[4]:
    """
    @notice All knobs.
    """
    assert not self.broken, "knobs: broken"
    return [self._knob(0), self._knob(1), self._knob(2), self._knob(3)]


@external
@view
@raw_return
def one_byte_short() -> Bytes[31]:
    """
    @notice The first knob without its last byte.
    """
    return slice(convert(self.knobs[0], bytes32), 0, 31)


@external
@view
@raw_return
def many_words() -> Bytes[2048]:
    """
    @notice The first knob and 63 words more.
    """
    return concat(convert(self.knobs[0], bytes32), abi_encode(empty(uint256[63])))


@external
def turn_at_length(index: uint256, to: uint256) -> uint256[64]:
    """
    @notice Turn one knob, and say more about it than anyone wants to hear.
    """
    self._check()
    self._turn(index, to)
    return empty(uint256[64])


@internal
def _check():
    if self.owner != empty(address):
        assert msg.sender == self.owner, "knobs: not the owner"
    if self.mute:
        raw_revert(b"")
    if self.shouts:
        raw_revert(abi_encode(empty(uint256[256])))


@internal
def _turn(index: uint256, to: uint256):
    if self.pretends:
        self._pretend(index, to)
    if not self.frozen:
        self.knobs[index] = min(to, self.ceiling)
    self.broken = self.breaks_when_turned


@internal
def _pretend(index: uint256, to: uint256):
    if self.pretence_at != block.timestamp:
        self.pretence = self.knobs
        self.pretence_at = block.timestamp
    self.pretence[index] = to


@internal
@view
def _knob(index: uint256) -> uint256:
    return self.pretence[index] if self.pretence_at == block.timestamp else self.knobs[index]


@internal
def _reenter():
    outgoing: DynArray[Outgoing, 4] = self.reentries
    self.reentries = []
    for call: Outgoing in outgoing:
        success: bool = False
        answer: Bytes[256] = b""
        success, answer = raw_call(call.target, call.data, max_outsize=256, revert_on_failure=False)
        self.outcomes.append(Outcome(success=success, answer=answer))
