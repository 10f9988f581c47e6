"""Put up the whole of Lyra v1 from its published bytecode, with a board of options and traders who are short on it.

Only Synthetix below it is a mock, the one in the package.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import lyra_defaults as defaults
from lyra_defaults import BASE, QUOTE, UNIT
from third_party import Package, linked
from web3 import HTTPProvider, Web3

PACKAGE = "lyrafinance-protocol-0.1.3-alpha"
RESOLVED = {
    "ProxySynthetix": "TestSynthetixReturnZero",
    "Exchanger": "TestExchanger",
    "ExchangeRates": "TestExchangeRates",
    "CollateralShort": "TestCollateralShort",
    "DelegateApprovals": "TestDelegateApprovals",
}
"""What Lyra asks Synthetix' address resolver for, and the mock that answers."""


class OptionType(IntEnum):
    """OptionMarket.OptionType."""

    LONG_CALL = 0
    LONG_PUT = 1
    SHORT_CALL_BASE = 2
    SHORT_CALL_QUOTE = 3
    SHORT_PUT_QUOTE = 4


class Position(IntEnum):
    """The positions of the book, by their running ids."""

    RISKY_CALL = 1
    """A short call that holds 103 % of its minimum collateral."""
    SOUND_PUT = 2
    """A short put that holds twice its minimum collateral."""
    COVERED_CALL = 3
    """A short call covered in full by the base asset."""
    LONG_CALL = 4
    CLOSED_PUT = 5


@dataclass(frozen=True, slots=True)
class Lyra:
    """A chain with Lyra on it. Account 0 owns every contract, account 5 is the trader."""

    url: str
    web3: Web3
    contracts: dict[str, Any]

    def __getitem__(self, name):
        """Return a contract by its name in Solidity; the tokens are `base` and `quote`."""
        return self.contracts[name]

    def addresses(self):
        """Return the address of every contract by its name."""
        return {name: contract.address for name, contract in self.contracts.items()}

    def ask(self, method, *params):
        """Ask the node for something that web3 has no name for."""
        answer = self.web3.provider.make_request(method, list(params))
        assert "error" not in answer, answer
        return answer["result"]

    def send(self, call, sender=0):
        """Send a call from one of anvil's accounts (or from an address that it impersonates); return the receipt."""
        sender = sender if isinstance(sender, str) else self.web3.eth.accounts[sender]
        return self.confirm(call.build_transaction({"from": sender, "gas": 0}))

    def confirm(self, transaction):
        """Send a transaction with as much gas as it takes, and return its receipt. Raises ContractCustomError."""
        transaction.pop("gas", None)
        # Lyra's averages take more gas if another second begins before the block that it was estimated for.
        gas = 2 * self.web3.eth.estimate_gas(transaction)
        tx_hash = self.web3.eth.send_transaction(transaction | {"gas": gas})
        receipt = self.web3.eth.wait_for_transaction_receipt(tx_hash, poll_latency=0.005)
        assert receipt["status"] == 1
        return receipt

    def now(self):
        """Return the time of the latest block, Unix seconds."""
        return self.web3.eth.get_block("latest")["timestamp"]

    def min_collateral(self, position):
        """Return the collateral that a position must hold now (base for a covered call, else quote), 18 digits."""
        _, strike_id, option_type, amount, _, _ = self["OptionToken"].functions.positions(position).call()
        return self._min_collateral(strike_id, option_type, amount)

    def can_liquidate(self, position):
        """Ask Lyra itself whether anyone may liquidate a position now."""
        token, market = self["OptionToken"], self["OptionMarket"]
        held = token.functions.getOptionPosition(position).call()
        strike, expiry = market.functions.getStrikeAndExpiry(held[1]).call()
        return token.functions.canLiquidate(held, expiry, strike, self.spot()).call()

    def spot(self):
        """Return the price of the base asset, 18 digits."""
        return self["SynthetixAdapter"].functions.getSpotPriceForMarket(self["OptionMarket"].address).call()

    def hand_over(self, owner):
        """Make `owner` the owner of OptionGreekCache in the two steps that it takes, as anvil lets anyone do."""
        cache = self["OptionGreekCache"]
        self.send(cache.functions.nominateNewOwner(owner))
        self.ask("anvil_setBalance", owner, hex(UNIT))
        self.ask("anvil_impersonateAccount", owner)
        self.send(cache.functions.acceptOwnership(), owner)
        self.ask("anvil_stopImpersonatingAccount", owner)

    def open(self, option_type, strike_id, amount, *, collateral=0, cover=None):
        """Trade as the trader, with `collateral`, or `cover` percent of the minimum for it."""
        if cover is not None:
            collateral = self._min_collateral(strike_id, option_type, amount) * cover // 100
        self.send(self["OptionMarket"].functions.openPosition(_trade(strike_id, 0, option_type, amount, collateral)), 5)

    def close(self, position):
        """Close a position of the trader in full."""
        _, strike_id, option_type, amount, _, _ = self["OptionToken"].functions.positions(position).call()
        call = self["OptionMarket"].functions.closePosition(_trade(strike_id, position, option_type, amount, 0))
        self.send(call, 5)

    def _min_collateral(self, strike_id, option_type, amount):
        strike, expiry = self["OptionMarket"].functions.getStrikeAndExpiry(strike_id).call()
        view = self["OptionGreekCache"].functions.getMinCollateral(option_type, strike, expiry, self.spot(), amount)
        return view.call()


def _trade(strike_id, position, option_type, amount, collateral):
    return {
        "strikeId": strike_id,
        "positionId": position,
        "iterations": 1,
        "optionType": option_type,
        "amount": amount,
        "setCollateralTo": collateral,
        "minTotalCost": 0,
        "maxTotalCost": 2**256 - 1,
    }


def put_up(url):
    """Put Lyra and its traders on the chain at `url`."""
    lyra = Lyra(url, Web3(HTTPProvider(url)), {})
    for step in (deploy, set_up_synthetix, connect, set_parameters, open_book):
        step(lyra)
    return lyra


def deploy(lyra):
    """Create every contract, in the order of the package's own test system."""
    package = Package(PACKAGE)

    def create(folder, name, *arguments, known_as=None):
        artefact = package.artefact(f"dist/artifacts/contracts/{folder}{name}.sol/{name}.json")
        factory = lyra.web3.eth.contract(abi=artefact["abi"], bytecode=linked(artefact, lyra.addresses()))
        address = lyra.send(factory.constructor(*arguments))["contractAddress"]
        lyra.contracts[known_as or name] = lyra.web3.eth.contract(address=address, abi=artefact["abi"])

    create("libraries/", "GWAV")
    create("libraries/", "BlackScholes")
    for name in ("TestAddressResolver", *RESOLVED.values()):
        create("test-helpers/", name)
    create("test-helpers/", "TestERC20Fail", "Synthetic USD", "sUSD", known_as="quote")
    create("test-helpers/", "TestERC20Fail", "Synthetic ETH", "sETH", known_as="base")
    for name in (
        "SynthetixAdapter",
        "OptionMarket",
        "OptionMarketPricer",
        "OptionGreekCache",
        "LiquidityPool",
        "ShortCollateral",
        "ShortPoolHedger",
    ):
        create("", name)
    create("", "LiquidityToken", "sUSD/sETH Pool Tokens", "LyraELPT")
    create("", "OptionToken", "sUSD/sETH Option Tokens", "LyraEOT")


def set_up_synthetix(lyra):
    """Wire the mocks of Synthetix, and Lyra's adapter to them."""
    at, market = lyra.addresses(), lyra["OptionMarket"].address
    synthetix, shorts, exchanger = (lyra[f"Test{n}"] for n in ("SynthetixReturnZero", "CollateralShort", "Exchanger"))
    adapter = lyra["SynthetixAdapter"].functions
    calls = [
        adapter.initialize(),
        synthetix.functions.init(at["SynthetixAdapter"], at["quote"], at["TestAddressResolver"]),
        shorts.functions.init(at["SynthetixAdapter"], at["quote"]),
        lyra["TestAddressResolver"].functions.setAddresses(
            [name.encode().ljust(32, b"\0") for name in RESOLVED], [at[mock] for mock in RESOLVED.values()]
        ),
        adapter.setAddressResolver(at["TestAddressResolver"]),
        adapter.updateSynthetixAddresses(),
        adapter.setGlobalsForContract(market, QUOTE, BASE, defaults.SECURITY_MODULE, bytes(32)),
        exchanger.functions.setFeeRateForExchange(BASE, QUOTE, defaults.FEE_OF_BASE),
        exchanger.functions.setFeeRateForExchange(QUOTE, BASE, defaults.FEE_OF_QUOTE),
        lyra["TestExchangeRates"].functions.setRateAndInvalid(BASE, defaults.SPOT, False),
    ]
    for minter in (synthetix, shorts):
        calls.append(minter.functions.addBaseAsset(BASE, at["base"], market))
        calls += [lyra[token].functions.permitMint(minter.address, True) for token in ("quote", "base")]
    for call in calls:
        lyra.send(call)


def connect(lyra):
    """Connect Lyra's contracts with one another."""
    at, adapter, tokens = lyra.addresses(), "SynthetixAdapter", ("quote", "base")
    pool, pricer, cache = "LiquidityPool", "OptionMarketPricer", "OptionGreekCache"
    wiring = {
        "OptionMarket": (adapter, pool, pricer, cache, "ShortCollateral", "OptionToken", *tokens),
        pricer: ("OptionMarket", cache),
        cache: (adapter, "OptionMarket", pricer),
        pool: (adapter, "OptionMarket", "LiquidityToken", cache, "ShortPoolHedger", "ShortCollateral", *tokens),
        "LiquidityToken": (pool,),
        "ShortPoolHedger": (adapter, "OptionMarket", cache, pool, *tokens),
        "ShortCollateral": ("OptionMarket", pool, "OptionToken", adapter, *tokens),
        "OptionToken": ("OptionMarket", cache, "ShortCollateral", adapter),
    }
    for name, parts in wiring.items():
        lyra.send(lyra[name].functions.init(*(at[part] for part in parts)))


def set_parameters(lyra):
    """Set the parameters of Lyra's own test system."""
    pricer, cache = lyra["OptionMarketPricer"].functions, lyra["OptionGreekCache"].functions
    for call in (
        lyra["OptionMarket"].functions.setOptionMarketParams(defaults.OPTION_MARKET),
        lyra["LiquidityPool"].functions.setLiquidityPoolParameters(defaults.LIQUIDITY_POOL),
        lyra["ShortPoolHedger"].functions.setPoolHedgerParams(defaults.POOL_HEDGER),
        lyra["ShortPoolHedger"].functions.setShortBuffer(defaults.SHORT_BUFFER),
        cache.setGreekCacheParameters(defaults.GREEK_CACHE),
        cache.setMinCollateralParameters(defaults.MIN_COLLATERAL),
        cache.setForceCloseParameters(defaults.FORCE_CLOSE),
        pricer.setPricingParams(defaults.PRICING),
        pricer.setTradeLimitParams(defaults.TRADE_LIMITS),
        pricer.setVarianceFeeParams(defaults.VARIANCE_FEE),
        lyra["OptionToken"].functions.setPartialCollateralParams(defaults.PARTIAL_COLLATERAL),
    ):
        lyra.send(call)


def open_book(lyra):
    """Fund the pool, list a board of three strikes, and open the positions of `Position` on it."""
    owner, trader = lyra.web3.eth.accounts[0], lyra.web3.eth.accounts[5]
    market, quote, base = lyra["OptionMarket"], lyra["quote"], lyra["base"]
    lyra.send(quote.functions.mint(owner, defaults.POOL_DEPOSIT))
    lyra.send(quote.functions.approve(lyra["LiquidityPool"].address, defaults.POOL_DEPOSIT))
    lyra.send(lyra["LiquidityPool"].functions.initiateDeposit(owner, defaults.POOL_DEPOSIT))
    lyra.send(lyra["ShortPoolHedger"].functions.openShortAccount())
    expiry = lyra.now() + defaults.BOARD_DURATION
    strikes, skews = list(defaults.BOARD_STRIKES), list(defaults.BOARD_SKEWS)
    lyra.send(market.functions.createOptionBoard(expiry, defaults.BOARD_IV, strikes, skews, False))
    for token in (quote, base):
        lyra.send(token.functions.mint(trader, 100_000 * UNIT))
        lyra.send(token.functions.approve(market.address, 100_000 * UNIT), 5)
    low, middle, _ = market.functions.getBoardStrikes(1).call()
    lyra.open(OptionType.SHORT_CALL_QUOTE, middle, 2 * UNIT, cover=103)
    lyra.open(OptionType.SHORT_PUT_QUOTE, low, UNIT, cover=200)
    lyra.open(OptionType.SHORT_CALL_BASE, middle, UNIT, collateral=UNIT)
    lyra.open(OptionType.LONG_CALL, middle, UNIT)
    lyra.open(OptionType.SHORT_PUT_QUOTE, low, UNIT, cover=150)
    lyra.close(Position.CLOSED_PUT)
