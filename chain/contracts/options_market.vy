# pragma version ~=0.4.3
# pragma optimize gas
# pragma evm-version cancun
# pragma nonreentrancy on
"""
@title Cash-settled European options on one underlying, margined in one ERC-20
@license AGPL-3.0-only
@notice Accounts hold cash and signed positions in series (expiry, strike, call or put). Each short is
        margined at a shocked spot and a shocked volatility; longs carry no margin credit. An account below
        its liquidation margin is auctioned at a discount that grows from zero until it is back at its
        maintenance margin. At expiry shorts pay into
        their series' pool and longs share it, so that a loss stays inside its series.
        Sizes are scaled by 1e18, prices and strikes by the oracle's decimals, amounts of money by the
        collateral's. The collateral must transfer exact amounts: no fees, no rebasing.
"""

from ethereum.ercs import IERC20
from snekmate.auth import ownable

from . import ledger
from . import liquidation
from . import margin
from . import margin_parameters
from . import option_value
from . import price_source
from . import settlement

initializes: ownable
initializes: price_source
initializes: ledger
initializes: margin_parameters[ownable := ownable]
initializes: margin[ledger := ledger, margin_parameters := margin_parameters, price_source := price_source]
initializes: liquidation[
    ledger := ledger, margin := margin, margin_parameters := margin_parameters, price_source := price_source
]
initializes: settlement[ledger := ledger, margin := margin, ownable := ownable, price_source := price_source]

exports: (ownable.owner, ownable.transfer_ownership)
exports: ledger.__interface__
exports: liquidation.__interface__
exports: margin.__interface__
exports: margin_parameters.__interface__
exports: price_source.__interface__
exports: settlement.__interface__


event Deposited:
    account: indexed(address)
    payer: indexed(address)
    amount: uint256


event Withdrawn:
    account: indexed(address)
    amount: uint256


event OfferWritten:
    offer_id: indexed(uint256)
    seller: indexed(address)
    series_id: indexed(uint256)
    size: uint256
    premium: uint256


event OfferCancelled:
    offer_id: indexed(uint256)


event Bought:
    offer_id: indexed(uint256)
    buyer: indexed(address)
    series_id: indexed(uint256)
    size: uint256
    paid: uint256


struct Offer:
    seller: address
    series_id: uint256
    size: uint256  # what is left of it
    premium: uint256  # per whole option


WAD: constant(uint256) = 10**18

# @notice Name of the underlying, for example "ETH".
underlying: public(String[16])

# @notice The ERC-20 that margins and settles everything.
collateral: public(immutable(address))

# @notice Offers by id; size 0 when filled or cancelled.
offers: public(HashMap[uint256, Offer])

# @notice Number of offers ever written, the last one's id.
offer_count: public(uint256)


@deploy
def __init__(
    name: String[16],
    collateral_: address,
    oracle: address,
    initial: uint256[6],
    ramp_duration: uint256,
    max_price_age: uint256,
):
    """
    @notice Open a market; the deployer becomes its owner and has yet to name a parameter setter.
    @param name Name of the underlying.
    @param collateral_ ERC-20 with at most 18 decimals.
    @param oracle AggregatorV3 feed with at most 18 decimals.
    @param initial Parameters by id, basis points.
    @param ramp_duration Seconds a tightening takes to reach open positions.
    @param max_price_age Seconds a price stays fresh.
    """
    ownable.__init__()
    price_source.__init__(oracle, max_price_age)
    margin_parameters.__init__(initial, ramp_duration)
    margin.__init__(collateral_)
    self.underlying = name
    collateral = collateral_


@external
def deposit(amount: uint256):
    """
    @notice Add collateral to the caller's account.
    """
    self._deposit(msg.sender, amount)


@external
def deposit_for(account: address, amount: uint256):
    """
    @notice Add the caller's collateral to another account.
    """
    self._deposit(account, amount)


@external
def withdraw(amount: uint256):
    """
    @notice Take collateral out, as far as the initial margin of the caller's shorts leaves it free.
    """
    assert amount <= ledger.cash[msg.sender], "options_market: not enough cash"
    ledger.cash[msg.sender] -= amount
    if ledger._has_short(msg.sender):
        margin._check_initial_margin(msg.sender, margin._scenario(price_source._fresh_price()))
    log Withdrawn(account=msg.sender, amount=amount)
    assert extcall IERC20(collateral).transfer(
        msg.sender, amount, default_return_value=True
    ), "options_market: transfer failed"


@external
def write(series_id: uint256, size: uint256, premium: uint256) -> uint256:
    """
    @notice Offer options for sale; margin is checked when the offer is bought.
    @param series_id A series that has not expired.
    @param size Options, scaled by 1e18.
    @param premium Price of one whole option, in collateral units.
    @return Sequential offer id, from 1.
    """
    ledger._check_live(series_id)
    assert size > 0 and size <= ledger.MAX_SIZE, "options_market: size out of range"
    assert premium <= ledger.MAX_SIZE, "options_market: premium too large"
    self.offer_count += 1
    self.offers[self.offer_count] = Offer(seller=msg.sender, series_id=series_id, size=size, premium=premium)
    log OfferWritten(
        offer_id=self.offer_count, seller=msg.sender, series_id=series_id, size=size, premium=premium
    )
    return self.offer_count


@external
def cancel(offer_id: uint256):
    """
    @notice Withdraw what is left of the caller's own offer.
    """
    assert msg.sender == self.offers[offer_id].seller, "options_market: not the seller"
    self.offers[offer_id].size = 0
    log OfferCancelled(offer_id=offer_id)


@external
def buy(offer_id: uint256, size: uint256):
    """
    @notice Buy from an offer. Whoever ends with a short must meet its initial margin at the target
            parameters; a buyer who closes some of its short may stay below it, if its cash over its initial
            margin does not fall.
    @param offer_id An offer of someone else.
    @param size Options, scaled by 1e18, at most what is left of the offer.
    """
    offer: Offer = self.offers[offer_id]
    assert size > 0 and size <= offer.size, "options_market: size not on offer"
    assert msg.sender != offer.seller, "options_market: own offer"
    ledger._check_live(offer.series_id)
    scenario: margin.Scenario = margin._scenario(price_source._fresh_price())
    cost: uint256 = option_value._ceil_div(size * offer.premium, WAD)
    assert cost <= ledger.cash[msg.sender], "options_market: not enough cash"
    is_closing: bool = ledger.position[msg.sender][offer.series_id] < 0
    cash_before: uint256 = ledger.cash[msg.sender]
    initial_before: uint256 = margin._requirement(msg.sender, scenario).initial if is_closing else 0
    self.offers[offer_id].size = offer.size - size
    ledger.cash[msg.sender] -= cost
    ledger.cash[offer.seller] += cost
    ledger._move(offer.seller, offer.series_id, -convert(size, int256))
    ledger._move(msg.sender, offer.series_id, convert(size, int256))
    margin._check_initial_margin(offer.seller, scenario)
    if is_closing:
        margin._check_reduction(msg.sender, scenario, cash_before, initial_before)
    else:
        margin._check_initial_margin(msg.sender, scenario)
    log Bought(offer_id=offer_id, buyer=msg.sender, series_id=offer.series_id, size=size, paid=cost)


@internal
def _deposit(account: address, amount: uint256):
    """
    @dev Pull from the sender, credit `account`.
    """
    assert amount > 0, "options_market: zero amount"
    assert account != empty(address), "options_market: zero account"
    ledger._register(account)
    ledger.cash[account] += amount
    log Deposited(account=account, payer=msg.sender, amount=amount)
    assert extcall IERC20(collateral).transferFrom(
        msg.sender, self, amount, default_return_value=True
    ), "options_market: transfer failed"
