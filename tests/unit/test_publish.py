from __future__ import annotations

import math

import pytest
from pydantic import SecretStr

from config.errors import ConfigError
from config.schema import FeedSettings, MarketSettings, MqttSettings, Settings
from keeper.publish import Publisher, Reading, publish, readings_of, replay
from keeper.quotes import admit, parse
from models.market import Bar, Quote

DAY = 86_400
START = 1_517_788_800
COMMON = {"underlying": "SPX", "max_age_seconds": 90_000, "minimum": 0.01, "maximum": 1e6, "max_jump": 3.0}
FEEDS = {
    "spx": FeedSettings(kind="spot", unit="USD", **COMMON),
    "vix": FeedSettings(kind="vol", unit="decimal", **COMMON),
}
MARKET = MarketSettings(name="SPX", spot_feed="spx", vol_feed="vix")


class Wire:
    """Stands where the connection to a broker stands, and keeps what would be sent."""

    def __init__(self):
        self.sent = []

    async def publish(self, topic, payload, *, qos, retain):
        assert (qos, retain) == (1, True)
        self.sent.append((topic, payload))


class Time:
    """A clock that only sleeping moves."""

    def __init__(self, now_ms):
        self.now = now_ms

    def now_ms(self):
        return math.floor(self.now)

    async def sleep(self, seconds):
        self.now += seconds * 1000


def bar(index, close=101.0, iv=0.2, seconds=DAY):
    return Bar("spx", START + index * seconds, seconds, 100.0, 105.0, 95.0, close, iv=iv)


async def replayed(readings, speed, *, restamp, time=None):
    wire, time = Wire(), time or Time(2_000_000_000_000)
    progress = []
    sent = await replay(
        readings,
        Publisher(wire, "keeper/feeds", FEEDS),
        speed=speed,
        restamp=restamp,
        now_ms=time.now_ms,
        sleep=time.sleep,
        on_progress=lambda count, reading: progress.append((count, reading)),
    )
    assert sent == len(wire.sent) == len(progress)
    return [parse(topic.removeprefix("keeper/feeds/"), payload, FEEDS) for topic, payload in wire.sent]


def test_readings_of__bar_that_rose__visits_low_before_high():
    values = [reading.value for reading in readings_of([bar(0)], "spx", "vix")]
    assert values == [100.0, 95.0, 105.0, 101.0, 0.2]


def test_readings_of__bar_that_fell__visits_high_before_low():
    values = [reading.value for reading in readings_of([bar(0, close=99.0)], "spx", "vix")]
    assert values == [100.0, 105.0, 95.0, 99.0, 0.2]


def test_readings_of__bar_without_vol__gives_the_spot_path_only():
    assert {reading.feed for reading in readings_of([bar(0, iv=None)], "spx", "vix")} == {"spx"}


def test_readings_of__consecutive_bars__stay_inside_their_bar_in_order():
    stamps = [reading.timestamp_ms for reading in readings_of([bar(0), bar(1)], "spx", "vix")]
    assert stamps == sorted(stamps)
    assert [stamp // 1000 >= START + DAY for stamp in stamps] == [False] * 5 + [True] * 5


async def test_replay__recorded_timestamps__every_message_is_admitted():
    readings = list(readings_of([bar(index) for index in range(50)], "spx", "vix"))
    last: dict[str, Quote] = {}
    for quote in await replayed(readings, math.inf, restamp=False):
        assert admit(quote, last.get(quote.feed), quote.timestamp_ms, FEEDS[quote.feed]) is quote
        last[quote.feed] = quote
    assert last["spx"].timestamp_ms == readings[-1].timestamp_ms


async def test_replay__restamped__starts_now_and_divides_the_spacing():
    readings = list(readings_of([bar(0), bar(1)], "spx", "vix"))
    quotes = await replayed(readings, 3600.0, restamp=True, time=Time(2_000_000_000_000))
    assert quotes[0].timestamp_ms == 2_000_000_000_000
    assert quotes[5].timestamp_ms - quotes[0].timestamp_ms == DAY * 1000 // 3600


async def test_replay__restamped__no_message_is_dated_after_it_is_sent():
    time = Time(2_000_000_000_000)
    wire = Wire()

    def on_progress(count, _reading):
        _topic, payload = wire.sent[count - 1]
        assert f'"timestamp":{time.now_ms()}' in payload.decode()

    await replay(
        readings_of([bar(0), bar(1)], "spx", "vix"),
        Publisher(wire, "keeper/feeds", FEEDS),
        speed=977.0,
        restamp=True,
        now_ms=time.now_ms,
        sleep=time.sleep,
        on_progress=on_progress,
    )
    assert len(wire.sent) == 10


async def test_replay__twice_with_restamp__second_run_continues_above_the_first():
    readings = list(readings_of([bar(index) for index in range(200)], "spx", "vix"))
    first = await replayed(readings, math.inf, restamp=True, time=Time(2_000_000_000_000))
    second = await replayed(readings, math.inf, restamp=True, time=Time(2_000_000_000_500))
    assert min(quote.sequence for quote in second) > max(quote.sequence for quote in first)


@pytest.mark.parametrize("speed", [0.0, -1.0, math.nan])
async def test_replay__speed_not_above_zero__raises(speed):
    with pytest.raises(ConfigError, match="speed must be above 0"):
        await replayed([Reading("spx", 100.0, 0)], speed, restamp=False)


async def test_send__feed_without_settings__raises():
    with pytest.raises(KeyError, match="dvol"):
        await Publisher(Wire(), "keeper/feeds", FEEDS).send(Reading("dvol", 0.5, 0))


async def test_send__value_not_finite__raises_and_uses_no_sequence():
    target = Publisher(Wire(), "keeper/feeds", FEEDS)
    with pytest.raises(ValueError, match="JSON compliant"):
        await target.send(Reading("vix", math.nan, 1))
    assert (await target.send(Reading("vix", 0.2, 1))).sequence == 1000


async def test_publish__no_bar_in_the_range__raises_before_it_connects():
    settings = Settings(feeds=FEEDS, markets=[MARKET], mqtt=MqttSettings(url=SecretStr("mqtt://nowhere")))
    with pytest.raises(ConfigError, match="no bar that opens in"):
        await publish([bar(0)], settings, MARKET, start=START + 1)
