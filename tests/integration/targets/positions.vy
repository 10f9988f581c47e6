# pragma version ~=0.4.3
"""
@title A protocol of numbered positions, whose parameters are set one at a time and read as a list
@license GPL-3.0-only
@notice The same positions can be had page by page. A position is liquidatable when its debt is above its limit.
"""

struct Position:
    state: uint8  # 0 none, 1 open, 2 closed
    owner: address
    series: uint256
    debt: int256

struct Row:
    account: uint256
    debt: int256
    liquidatable: bool

event AuctionStarted:
    auction: indexed(bytes32)
    position: uint256

next_id: public(uint256)
ended: public(bytes32)
_positions: HashMap[uint256, Position]
_limits: HashMap[uint256, int256]
_values: uint256[3]
_widest: uint256  # most that the last value may exceed the second; 0 = any
_highest: uint256  # most that the first value may exceed the second; 0 = any
_fussy: bool  # a value that is set already is refused
_held: uint256  # index of the value that stays as it is, and 1; 0 = none


@deploy
def __init__(values: uint256[3]):
    self._values = values
    self.next_id = 1


@external
def set_value(board: uint256, index: uint256, new_value: uint256):
    assert board == 7, "positions: other board"
    assert self._held != index + 1 or new_value == self._values[index], "positions: held"
    assert not self._fussy or new_value != self._values[index], "positions: unchanged"
    self._values[index] = new_value
    if self._widest != 0:
        assert self._values[2] - self._values[1] <= self._widest, "positions: too wide"
    if self._highest != 0:
        assert self._values[0] - self._values[1] <= self._highest, "positions: too high"


@external
def keep_within(widest: uint256):
    self._widest = widest


@external
def keep_below(highest: uint256):
    self._highest = highest


@external
def be_fussy():
    self._fussy = True


@external
def hold(index: uint256):
    self._held = index + 1


@external
@view
def values_of(board: uint256) -> DynArray[uint256, 3]:
    assert board == 7, "positions: other board"
    return [self._values[0], self._values[1], self._values[2]]


@external
@view
def price() -> uint256:
    return 42 * 10**18


@external
@view
def largest() -> (uint256, uint256):
    return (0, 1_000)


@external
def open_position(series: uint256, debt: int256, limit: int256):
    self._positions[self.next_id] = Position(state=1, owner=msg.sender, series=series, debt=debt)
    self._limits[series] = limit
    self.next_id += 1


@external
def close_position(id: uint256):
    self._positions[id].state = 2


@external
@view
def position(id: uint256) -> Position:
    return self._positions[id]


@external
@view
def series_limit(series: uint256) -> (String[8], int256):
    assert self._limits[series] != 0, "positions: no series"
    return ("limit", self._limits[series])


@external
@view
def debt_of(id: uint256) -> (bool, int256):
    """
    @notice Debt grown by the first parameter, in percent
    """
    return (True, self._debt_of(id))


@external
@view
def healthy(position: Position) -> bool:
    return position.debt <= self._limits[position.series]


@external
@view
def page(start: uint256, count: uint256) -> DynArray[Row, 4]:
    rows: DynArray[Row, 4] = []
    for offset: uint256 in range(4):
        id: uint256 = start + offset + 1
        if offset >= count or id >= self.next_id:
            break
        debt: int256 = self._debt_of(id)
        rows.append(Row(account=id, debt=debt, liquidatable=debt > self._limits[self._positions[id].series]))
    return rows


@external
def start_auction(auction: bytes32, id: uint256):
    log AuctionStarted(auction=auction, position=id)


@external
def end_auction(auction: bytes32):
    self.ended = auction


@internal
@view
def _debt_of(id: uint256) -> int256:
    return self._positions[id].debt * convert(self._values[0], int256) // 100
