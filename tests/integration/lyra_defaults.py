"""State the parameters that Lyra's own test system is put up with (dist/test/utils/defaultParams.js of its package)."""

from eth_utils.address import to_checksum_address

HOUR = 3_600
DAY = 24 * HOUR
WEEK = 7 * DAY
UNIT = 10**18

BASE, QUOTE = b"sETH".ljust(32, b"\0"), b"sUSD".ljust(32, b"\0")
ZERO = "0x" + 40 * "0"
SECURITY_MODULE = to_checksum_address("0x" + 13 * "efe" + "e")


def decimal(text):
    """Return a decimal number in the protocol's 18-digit fixed point."""
    whole, _, fraction = text.partition(".")
    return int(whole + fraction.ljust(18, "0"))


SPOT = decimal("1742.01337")
POOL_DEPOSIT = decimal("500000")
FEE_OF_BASE, FEE_OF_QUOTE = decimal("0.0075"), decimal("0.005")
SHORT_BUFFER = decimal("2")

MIN_COLLATERAL = {
    "minStaticQuoteCollateral": decimal("200"),
    "minStaticBaseCollateral": decimal("0.2"),
    "shockVolA": decimal("2.5"),
    "shockVolPointA": 2 * WEEK,
    "shockVolB": decimal("1.8"),
    "shockVolPointB": 8 * WEEK,
    "callSpotPriceShock": decimal("1.2"),
    "putSpotPriceShock": decimal("0.8"),
}

DISASTERS = {
    "near-zero vol": {"shockVolA": 1, "shockVolB": 0},
    "hundred-fold shock": {"callSpotPriceShock": 100 * UNIT},
    "puts priced at nothing": {"putSpotPriceShock": 1},
    "no static collateral": {"minStaticQuoteCollateral": 1, "minStaticBaseCollateral": 1},
}
"""What an owner of OptionGreekCache may set without a word from it."""

GREEK_CACHE = {
    "maxStrikesPerBoard": 30,
    "acceptableSpotPricePercentMove": decimal("0.05"),
    "staleUpdateDuration": 3 * HOUR,
    "varianceIvGWAVPeriod": DAY,
    "varianceSkewGWAVPeriod": 3 * DAY,
    "optionValueIvGWAVPeriod": DAY,
    "optionValueSkewGWAVPeriod": 3 * DAY,
    "gwavSkewFloor": decimal("0.5"),
    "gwavSkewCap": decimal("2"),
    "rateAndCarry": decimal("0.05"),
}

FORCE_CLOSE = {
    "ivGWAVPeriod": 12 * HOUR,
    "skewGWAVPeriod": DAY,
    "shortVolShock": decimal("1.2"),
    "shortPostCutoffVolShock": decimal("1.4"),
    "longVolShock": decimal("0.8"),
    "longPostCutoffVolShock": decimal("0.5"),
    "liquidateVolShock": decimal("1.3"),
    "liquidatePostCutoffVolShock": decimal("1.6"),
    "shortSpotMin": decimal("0.01"),
    "liquidateSpotMin": decimal("0.02"),
}

LIQUIDITY_POOL = {
    "minDepositWithdraw": UNIT,
    "depositDelay": WEEK,
    "withdrawalDelay": WEEK,
    "withdrawalFee": decimal("0.01"),
    "liquidityCBThreshold": decimal("0.01"),
    "liquidityCBTimeout": 3 * DAY,
    "ivVarianceCBThreshold": decimal("0.1"),
    "skewVarianceCBThreshold": decimal("0.35"),
    "ivVarianceCBTimeout": 12 * HOUR,
    "skewVarianceCBTimeout": 12 * HOUR,
    "guardianMultisig": ZERO,
    "guardianDelay": 2 * WEEK,
    "boardSettlementCBTimeout": 6 * HOUR,
    "maxFeePaid": decimal("0.01"),
}

PRICING = {
    "optionPriceFeeCoefficient": decimal("0.01"),
    "optionPriceFee1xPoint": 6 * WEEK,
    "optionPriceFee2xPoint": 16 * WEEK,
    "spotPriceFeeCoefficient": decimal("0.01"),
    "spotPriceFee1xPoint": 6 * WEEK,
    "spotPriceFee2xPoint": 12 * WEEK,
    "vegaFeeCoefficient": decimal("100"),
    "standardSize": decimal("5"),
    "skewAdjustmentFactor": decimal("0.75"),
}

TRADE_LIMITS = {
    "maxBaseIV": decimal("2"),
    "maxSkew": decimal("1.5"),
    "minBaseIV": decimal("0.35"),
    "minSkew": decimal("0.5"),
    "minDelta": decimal("0.15"),
    "minForceCloseDelta": decimal("0.25"),
    "minVol": decimal("0.55"),
    "maxVol": decimal("3"),
    "tradingCutoff": DAY // 2,
    "absMaxSkew": decimal("5"),
    "absMinSkew": decimal("0.15"),
    "capSkewsToAbs": False,
}

VARIANCE_FEE = {
    "defaultVarianceFeeCoefficient": decimal("0.25"),
    "forceCloseVarianceFeeCoefficient": decimal("0.25"),
    "skewAdjustmentCoefficient": decimal("3"),
    "referenceSkew": UNIT,
    "minimumStaticSkewAdjustment": UNIT,
    "vegaCoefficient": decimal("0.01"),
    "minimumStaticVega": 0,
    "ivVarianceCoefficient": decimal("1.5"),
    "minimumStaticIvVariance": UNIT,
}

OPTION_MARKET = {
    "maxBoardExpiry": 48 * WEEK,
    "securityModule": SECURITY_MODULE,
    "feePortionReserved": decimal("0.1"),
    "staticBaseSettlementFee": FEE_OF_BASE,
}

PARTIAL_COLLATERAL = {
    "penaltyRatio": decimal("0.2"),
    "liquidatorFeeRatio": decimal("0.4"),
    "smFeeRatio": decimal("0.3"),
    "minLiquidationFee": decimal("15"),
}

POOL_HEDGER = {"interactionDelay": DAY, "hedgeCap": 2**256 - 1}

BOARD_STRIKES = (decimal("1500"), decimal("2000"), decimal("2500"))
BOARD_SKEWS = (decimal("0.9"), UNIT, decimal("1.1"))
BOARD_IV = UNIT
BOARD_DURATION = 28 * DAY
