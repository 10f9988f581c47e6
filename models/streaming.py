"""Speak the forecaster's JSON-lines protocol: one line in, at most one line out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from models.forecaster import DAY, TAUS
from models.market import Bar

if TYPE_CHECKING:
    from models.forecaster import Forecast, Forecaster, Tail

LONGEST_LINE = 10_000
LONGEST_TS = 2**53
"""Beyond this JSON readers of other languages round whole numbers."""

KEYS = {
    "reset": ("asset", "bar_seconds"),
    "bar": ("asset", "ts", "open", "high", "low", "close"),
}


class LineError(ValueError):
    """A line cannot be understood; the message names the key, its value and the rule."""


class ForecastStream:
    """Streams of any number of assets over one forecaster; a refused line changes nothing."""

    def __init__(self, forecaster: Forecaster) -> None:
        self._forecaster = forecaster
        self._bar_seconds: dict[str, int] = {}

    def answer(self, line: str) -> str | None:
        """Take one line; return the forecast of a bar, {"error": reason}, or None to a reset or a blank line."""
        if not line.strip():
            return None
        try:
            message = _parse(line)
            if message["type"] == "reset":
                self._reset(message)
                return None
            return json.dumps(_as_json(self._forecaster.update(self._bar(message))), allow_nan=False)
        except ValueError as error:
            return json.dumps({"error": str(error)})

    def _reset(self, message: dict[str, Any]) -> None:
        asset, seconds = _text(message, "asset"), _whole(message, "bar_seconds")
        self._forecaster.reset(asset, seconds)
        self._bar_seconds[asset] = seconds

    def _bar(self, message: dict[str, Any]) -> Bar:
        asset = _text(message, "asset")
        if asset not in self._bar_seconds:
            raise LineError(f"asset {_shown(asset)}: has had no reset")
        return Bar(
            asset=asset,
            start=_whole(message, "ts"),
            seconds=self._bar_seconds[asset],
            open=_number(message, "open"),
            high=_number(message, "high"),
            low=_number(message, "low"),
            close=_number(message, "close"),
            volume=_optional(message, "volume"),
            iv=_optional(message, "iv"),
        )


def _parse(line: str) -> dict[str, Any]:
    if len(line) > LONGEST_LINE:
        raise LineError(f"line of {len(line)} characters: at most {LONGEST_LINE}")
    try:
        message = json.loads(line, parse_constant=_refuse_constant)
    except RecursionError:
        raise LineError("line: nested too deeply") from None
    except json.JSONDecodeError as error:
        raise LineError(f"line: not JSON: {error}") from None
    if not isinstance(message, dict):
        raise LineError("line: must be a JSON object")
    kind = message.get("type")
    if not isinstance(kind, str) or kind not in KEYS:
        raise LineError(f"type {_shown(kind)}: must be one of {', '.join(KEYS)}")
    missing = [key for key in KEYS[kind] if key not in message]
    if missing:
        raise LineError(f"{kind}: missing {', '.join(missing)}")
    return message


def _refuse_constant(name: str) -> float:
    raise LineError(f"line: {name} is not a number of JSON")


def _text(message: dict[str, Any], key: str) -> str:
    value = message[key]
    if not isinstance(value, str) or not value:
        raise LineError(f"{key} {_shown(value)}: must be a non-empty string")
    return value


def _whole(message: dict[str, Any], key: str) -> int:
    value = message[key]
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < LONGEST_TS:
        raise LineError(f"{key} {_shown(value)}: must be a whole number of seconds, 0 or more")
    return value


def _number(message: dict[str, Any], key: str) -> float:
    value = message[key]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise LineError(f"{key} {_shown(value)}: must be a number")
    try:
        return float(value)
    except OverflowError:
        raise LineError(f"{key}: too large a number") from None


def _optional(message: dict[str, Any], key: str) -> float | None:
    return None if message.get(key) is None else _number(message, key)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:40] + "…"


def _as_json(forecast: Forecast) -> dict[str, Any]:
    lower, upper = forecast.published
    implied = forecast.iv_horizons
    return {
        "asset": forecast.asset,
        "ts": forecast.ts,
        "horizons": {str(horizon): _tail(tail) for horizon, tail in forecast.horizons.items()},
        "iv_horizons": None
        if implied is None
        else {str(horizon): {"quantiles": _by_tau(quantiles)} for horizon, quantiles in implied.items()},
        "published": {str(DAY): {"0.01": lower, "0.99": upper}},
    }


def _tail(tail: Tail) -> dict[str, Any]:
    return {"quantiles": _by_tau(tail.quantiles), "es": {"0.01": tail.es_lower, "0.99": tail.es_upper}}


def _by_tau(quantiles: tuple[float, ...]) -> dict[str, float]:
    return {str(tau): quantile for tau, quantile in zip(TAUS, quantiles, strict=True)}
