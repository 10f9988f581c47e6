# pragma version ~=0.4.3
# pragma optimize gas
# pragma evm-version cancun
# pragma nonreentrancy on
"""
@title Cash, positions and series of a market
@license AGPL-3.0-only
@notice Positions are signed and sum to zero in every series until settlement.
"""


event SeriesCreated:
    series_id: indexed(uint256)
    expiry: uint256
    strike: uint256
    is_call: bool


struct Series:
    expiry: uint256
    strike: uint256
    is_call: bool
    open_interest: uint256  # size of all longs, equal to that of all shorts until settlement begins
    settlement_price: uint256  # 0 until fixed
    unsettled_short: uint256
    pool: uint256  # collected from shorts
    paid: uint256  # paid out to longs
    shortfall: uint256


struct Position:
    series_id: uint256
    size: int256


MAX_POSITIONS: constant(uint256) = 16
MAX_TENOR: constant(uint256) = 365 * 86_400
# Together with the parameters' bound this keeps the margin formula below 2**256.
MAX_SIZE: constant(uint256) = 10**27

# @notice Collateral credited to an account.
cash: public(HashMap[address, uint256])

# @notice Signed size of an account's position in a series, negative for a short.
position: public(HashMap[address, HashMap[uint256, int256]])

# @notice Number of accounts that ever held cash or a position.
account_count: public(uint256)

# @notice Accounts in order of first appearance, from index 0.
account_at: public(HashMap[uint256, address])

# @notice Number of series, the last one's id.
series_count: public(uint256)

# @notice Id of the series with this expiry, strike and side; 0 when there is none.
series_id_of: public(HashMap[uint256, HashMap[uint256, HashMap[bool, uint256]]])

# @notice What shorts have owed at settlement and could not pay.
bad_debt: public(uint256)

_series: HashMap[uint256, Series]
_open_series: HashMap[address, DynArray[uint256, MAX_POSITIONS]]
_is_known: HashMap[address, bool]


@external
def create_series(expiry: uint256, strike: uint256, is_call: bool) -> uint256:
    """
    @notice List a series; anyone may.
    @param expiry Unix seconds, in the future, at most 365 days ahead.
    @param strike Price in the oracle's decimals, above 0.
    @param is_call True for calls, False for puts.
    @return Sequential series id, from 1.
    """
    assert expiry > block.timestamp, "options_market: expiry not in the future"
    assert expiry <= block.timestamp + MAX_TENOR, "options_market: expiry beyond one year"
    assert strike > 0, "options_market: zero strike"
    assert strike <= MAX_SIZE, "options_market: strike too large"
    assert self.series_id_of[expiry][strike][is_call] == 0, "options_market: series exists"
    self.series_count += 1
    self.series_id_of[expiry][strike][is_call] = self.series_count
    self._series[self.series_count].expiry = expiry
    self._series[self.series_count].strike = strike
    self._series[self.series_count].is_call = is_call
    log SeriesCreated(series_id=self.series_count, expiry=expiry, strike=strike, is_call=is_call)
    return self.series_count


@external
@view
def positions_of(account: address) -> DynArray[Position, MAX_POSITIONS]:
    """
    @notice An account's open positions, in no order.
    """
    positions: DynArray[Position, MAX_POSITIONS] = []
    for series_id: uint256 in self._open_series[account]:
        positions.append(Position(series_id=series_id, size=self.position[account][series_id]))
    return positions


@external
@view
def series(series_id: uint256) -> Series:
    """
    @notice Terms and settlement of a series.
    """
    assert self._series[series_id].expiry != 0, "options_market: unknown series"
    return self._series[series_id]


@internal
def _register(account: address):
    """
    @dev Enumerate an account on its first deposit or position.
    """
    if not self._is_known[account]:
        self._is_known[account] = True
        self.account_at[self.account_count] = account
        self.account_count += 1


@internal
def _move(account: address, series_id: uint256, change: int256):
    """
    @dev Change a position before settlement; keeps the open interest and the list of open series in step.
    """
    self._register(account)
    before: int256 = self.position[account][series_id]
    after: int256 = before + change
    assert convert(abs(after), uint256) <= MAX_SIZE, "options_market: position too large"
    self.position[account][series_id] = after
    opened: uint256 = convert(max(-after, 0), uint256)
    closed: uint256 = convert(max(-before, 0), uint256)
    self._series[series_id].open_interest = self._series[series_id].open_interest + opened - closed
    if before == 0:
        assert len(self._open_series[account]) < MAX_POSITIONS, "options_market: too many positions"
        self._open_series[account].append(series_id)
    if after == 0:
        self._remove_series(account, series_id)


@internal
def _remove_series(account: address, series_id: uint256):
    """
    @dev Fill the gap in the list of open series with its last entry.
    """
    last: uint256 = self._open_series[account].pop()
    if last == series_id:
        return
    for index: uint256 in range(len(self._open_series[account]), bound=MAX_POSITIONS):
        if self._open_series[account][index] == series_id:
            self._open_series[account][index] = last
            return


@internal
@view
def _check_live(series_id: uint256):
    """
    @dev Throws unless the series exists and has not expired.
    """
    expiry: uint256 = self._series[series_id].expiry
    assert expiry != 0, "options_market: unknown series"
    assert block.timestamp < expiry, "options_market: series expired"


@internal
@view
def _has_short(account: address) -> bool:
    """
    @dev Whether any position of the account is short.
    """
    for series_id: uint256 in self._open_series[account]:
        if self.position[account][series_id] < 0:
            return True
    return False
