import json
import math

import pytest
from walks import MONDAY, bars_from, restless_returns

from models.forecaster import TAUS
from models.registry import load_forecaster
from models.streaming import ForecastStream

RESET = '{"type":"reset","asset":"x1","bar_seconds":3600}'
BAR = {
    "type": "bar", "asset": "x1", "ts": MONDAY, "open": 100.0, "high": 101.0, "low": 99.0, "close": 100.5,
    "volume": None, "iv": None,
}  # fmt: skip


@pytest.fixture(params=["ewma-fhs", "default"])
def stream(request) -> ForecastStream:
    started = ForecastStream(load_forecaster(request.param))
    assert started.answer(RESET) is None
    return started


def line(**changes) -> str:
    return json.dumps(BAR | changes)


def error(answer: str | None) -> str:
    assert answer is not None
    message = json.loads(answer)
    assert list(message) == ["error"]
    return message["error"]


def test_answer__bar_of_an_hourly_stream__has_the_documented_shape(stream):
    answer = json.loads(stream.answer(line(iv=0.65)))
    assert list(answer) == ["asset", "ts", "horizons", "iv_horizons", "published"]
    assert (answer["asset"], answer["ts"]) == ("x1", MONDAY)
    assert set(answer["horizons"]) == {"3600", "14400", "86400"}
    for tail in answer["horizons"].values():
        assert list(tail["quantiles"]) == ["0.001", "0.005", "0.01", "0.99", "0.995", "0.999"]
        assert list(tail["es"]) == ["0.01", "0.99"]
    assert set(answer["iv_horizons"]) == {"3600", "86400"}
    assert len(answer["iv_horizons"]["3600"]["quantiles"]) == len(TAUS)
    assert set(answer["published"]) == {"86400"}
    assert answer["published"]["86400"]["0.01"] < 0 < answer["published"]["86400"]["0.99"]


def test_answer__bar_without_volume_and_iv__is_taken(stream):
    bare = {key: value for key, value in BAR.items() if key not in ("volume", "iv")}
    assert json.loads(stream.answer(json.dumps(bare)))["iv_horizons"] is None


@pytest.mark.parametrize("blank", ["", "  \n"])
def test_answer__blank_line__is_passed_over(stream, blank):
    assert stream.answer(blank) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not JSON"),
        ("[]", "must be a JSON object"),
        ("[" * 9_000, "line:"),
        (" " * 10_000 + "{}", "at most 10000"),
        ("{}", "type None: must be one of reset, bar"),
        ('{"type":["bar"]}', "must be one of"),
        ('{"type":"bar","asset":"x1"}', "bar: missing ts, open"),
        ('{"type":"reset","asset":"x1"}', "reset: missing bar_seconds"),
        ('{"type":"reset","asset":"x1","bar_seconds":7}', "bar_seconds 7: must divide a day"),
        ('{"type":"reset","asset":"x1","bar_seconds":0}', "bar_seconds 0: must divide a day"),
        ('{"type":"reset","asset":"x1","bar_seconds":3600.0}', "bar_seconds 3600.0: must be a whole"),
        ('{"type":"reset","asset":"","bar_seconds":3600}', "asset '': must be a non-empty string"),
        (line(asset="stranger"), "asset 'stranger': has had no reset"),
        (line(asset=5), "asset 5: must be a non-empty string"),
        (line(ts=-1), "ts -1: must be a whole number"),
        (line(ts=True), "ts True"),
        (line(ts="1600000000"), "ts '1600000000'"),
        (line(ts=10**30), "must be a whole number"),
        (line(close=math.nan), "NaN is not a number"),
        (line(high=math.inf), "Infinity is not a number"),
        (line(close="100"), "close '100': must be a number"),
        (line(close=None), "close None: must be a number"),
        (line(close=False), "close False: must be a number"),
        (line(high=10**400), "high: too large"),
        (line(low=-5), "low -5.0: must be a finite number above 0"),
        (line(close=0), "close 0.0: must be a finite number above 0"),
        (line(high=100.2), "high 100.2: must not be below"),
        (line(low=100.2), "low 100.2: must not be above"),
        (line(volume=-1), "volume -1.0"),
        (line(iv=0), "iv 0.0: must be a finite decimal above 0"),
        (line(iv="0.6"), "iv '0.6': must be a number"),
        (line().replace("101.0", "1e999"), "high inf: must be a finite number"),
    ],
)
def test_answer__bad_line__says_why_and_changes_nothing(stream, text, words):
    bars = [
        json.dumps(
            BAR | {"ts": bar.start, "open": bar.open, "high": bar.high, "low": bar.low, "close": bar.close, "iv": 0.5}
        )
        for bar in bars_from(restless_returns(6), seconds=3_600)
    ]
    clean = [stream.answer(bar) for bar in bars]
    assert stream.answer(RESET) is None
    disturbed = []
    for bar in bars:
        assert words in error(stream.answer(text))
        disturbed.append(stream.answer(bar))
    assert disturbed == clean


def test_answer__time_standing_still_or_going_back__is_refused(stream):
    stream.answer(line())
    assert "must be above the previous" in error(stream.answer(line()))
    assert "must be above the previous" in error(stream.answer(line(ts=MONDAY - 3_600)))
    assert "horizons" in json.loads(stream.answer(line(ts=MONDAY + 3_600)))


def test_answer__reset_of_a_running_asset__starts_it_afresh(stream):
    first = stream.answer(line())
    stream.answer(line(ts=MONDAY + 3_600, close=99.5))
    stream.answer(RESET)
    assert stream.answer(line()) == first


def test_answer__assets_interleaved__are_answered_as_if_alone(stream):
    alone = [stream.answer(line(ts=MONDAY + i * 3_600, close=100 + i / 10)) for i in range(5)]
    stream.answer(RESET)
    stream.answer('{"type":"reset","asset":"x2","bar_seconds":86400}')
    mixed = []
    for i in range(5):
        stream.answer(line(asset="x2", ts=MONDAY + i * 86_400, close=99.5))
        mixed.append(stream.answer(line(ts=MONDAY + i * 3_600, close=100 + i / 10)))
    assert mixed == alone
