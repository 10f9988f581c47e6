"""Put what was seen and what the model makes of it into one record that a decision can be checked against."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keeper.messages import Assessment
from keeper.objective import holdings
from models.forecaster import DAY, TAUS

if TYPE_CHECKING:
    from models.forecaster import Forecast
    from models.market import MarketState, Snapshot

LOWER, UPPER = TAUS.index(0.01), TAUS.index(0.99)


def assess(snapshot: Snapshot, forecast: Forecast | None, model_id: str, bars: int) -> Assessment:
    """Return the assessment of one tick, from inputs that the guard has passed.

    `bars` is how many bars the forecast was made from. Raises ValueError when an input is missing after all.
    """
    state, spot, vol = snapshot.state, snapshot.spot, snapshot.vol
    if spot is None or vol is None or forecast is None:
        raise ValueError("an assessment needs spot, vol and forecast")
    tail = forecast.horizons[DAY]
    implied = None if forecast.iv_horizons is None else forecast.iv_horizons[DAY]
    vol_rise = forecast.vol_rise
    if vol_rise is None and implied is not None:
        vol_rise = implied[UPPER]
    return Assessment(
        market=state.market,
        block=state.block,
        sequence=state.sequence,
        state_hash=state.state_hash,
        values=state.values,
        spot=spot,
        vol=vol,
        oracle_price=state.oracle_price,
        accounts=len(state.accounts),
        liquidatable=tuple(account.address for account in state.accounts if account.liquidatable),
        model_id=model_id,
        bars=bars,
        published=forecast.published,
        raw=(tail.quantiles[LOWER], tail.quantiles[UPPER]),
        vol_rise=vol_rise,
        tail=tail,
        vol_tail=implied,
        holdings=_holdings(state) if state.accounts else None,
    )


def _holdings(state: MarketState) -> tuple[tuple[float, float], ...] | None:
    """Return how the open accounts are covered, those whose protocol shows equity and initial margin."""
    return holdings(
        (account.equity, account.initial_margin)
        for account in state.accounts
        if account.equity is not None and account.initial_margin is not None
    )
