from __future__ import annotations

import asyncio
import math
from contextlib import asynccontextmanager, suppress
from itertools import pairwise

import aiomqtt
import pytest
from brokers import Amqtt, Mosquitto, certificate, free_port, now_ms, password_file, until
from pydantic import SecretStr

from config.schema import FeedSettings, MarketSettings, MqttSettings, Settings
from keeper import feeds, mqtt
from keeper.broker import local_broker
from keeper.feeds import MqttFeed
from keeper.messages import QuoteFault
from keeper.mqtt import BrokerError
from keeper.publish import Reading, publish, publisher
from keeper.quotebook import REFUSALS_PER_WINDOW, WINDOW_SECONDS, QuoteBook
from keeper.quotes import UNKNOWN_FEED, encode
from models.market import Bar, Quote, QuoteKind

pytestmark = pytest.mark.integration

COMMON = {"underlying": "SPX", "max_age_seconds": 60, "minimum": 0.01, "maximum": 1e6, "max_jump": 3.0}
FEEDS = {
    "spx": FeedSettings(kind="spot", unit="USD", **COMMON),
    "vix": FeedSettings(kind="vol", unit="decimal", **COMMON),
}
MARKET = MarketSettings(name="SPX", spot_feed="spx", vol_feed="vix")


class Station:
    """A feed under test: what it was told, in order."""

    def __init__(self, url, **options):
        self.book = QuoteBook(FEEDS, "keeper/feeds", now_ms)
        self.quotes = []
        self.refused = []
        self.feed = MqttFeed(
            MqttSettings(url=SecretStr(url)),
            self.book,
            self.take,
            self.refuse,
            **{"sleep": self.sleep, **options},
        )

    @staticmethod
    async def sleep(_seconds):
        await asyncio.sleep(0.02)

    async def take(self, quote):
        self.quotes.append(quote)

    async def refuse(self, refused):
        self.refused.append(refused)


@asynccontextmanager
async def running(station):
    """Run the feed until the block ends, and see that it then stops cleanly."""
    task = asyncio.create_task(station.feed.run())
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        assert task.cancelled()
        assert not station.feed.connected


@asynccontextmanager
async def listening(station):
    async with running(station):
        await until(lambda: station.feed.connected)
        yield


@pytest.fixture(params=["amqtt", "mosquitto"])
async def broker(request, tmp_path):
    port = free_port()
    server = Amqtt(port) if request.param == "amqtt" else Mosquitto(port, tmp_path, "allow_anonymous true")
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def mosquitto(tmp_path):
    server = Mosquitto(free_port(), tmp_path, "allow_anonymous true")
    await server.start()
    yield server
    await server.stop()


@asynccontextmanager
async def publishing(url):
    async with publisher(MqttSettings(url=SecretStr(url)), FEEDS) as target:
        yield target


async def send_raw(url, *messages):
    """Publish payloads as they are, each to PREFIX/<name>."""
    async with mqtt.connection(mqtt.broker_address(SecretStr(url))) as client:
        for name, payload in messages:
            await client.publish(f"keeper/feeds/{name}", payload, qos=1)


def vix(sequence, value=0.2, age_ms=0):
    return encode(Quote("vix", "SPX", QuoteKind.VOL, value, now_ms() - age_ms, sequence), "decimal")


async def test_feed__quotes_published__arrive_in_order_and_newest_is_kept(broker):
    station = Station(broker.url)
    async with listening(station), publishing(broker.url) as target:
        sent = [await target.send(Reading("spx", 2700.0 + step, now_ms())) for step in range(50)]
        sent.append(await target.send(Reading("vix", 0.2, now_ms())))
        await until(lambda: len(station.quotes) == 51)
    assert station.quotes == sent
    assert station.book.newest("spx") == sent[49]
    assert station.book.newest("vix") == sent[50]
    assert station.refused == []


async def test_feed__started_after_the_publisher_left__gets_the_retained_quote(broker):
    async with publishing(broker.url) as target:
        sent = await target.send(Reading("vix", 0.2, now_ms()))
    station = Station(broker.url)
    async with listening(station):
        await until(lambda: station.quotes == [sent])


async def test_feed__connects_again__retained_quote_is_known_and_a_newer_one_is_taken(broker):
    station = Station(broker.url)
    async with listening(station), publishing(broker.url) as target:
        old = await target.send(Reading("vix", 0.2, now_ms()))
        await until(lambda: station.quotes == [old])
    async with listening(station), publishing(broker.url) as target:
        await until(lambda: station.book.refused["vix", QuoteFault.DUPLICATE] > 0)
        await target.send(Reading("vix", 0.3, now_ms()))
        await until(lambda: station.book.newest("vix").value == 0.3)
    assert station.feed.connects == 2


async def test_feed__broker_restarts_on_its_port__resubscribes_and_gets_newer_quotes(broker):
    station = Station(broker.url)
    async with listening(station):
        await send_raw(broker.url, ("vix", vix(1)))
        await until(lambda: station.book.newest("vix") is not None)
        await broker.stop()
        await until(lambda: not station.feed.connected)
        await until(lambda: "refused" in station.feed.last_error)
        await broker.start()
        await until(lambda: station.feed.connected)
        await send_raw(broker.url, ("vix", vix(2, value=0.4)))
        await until(lambda: station.book.newest("vix").value == 0.4)
    assert station.feed.connects == 2
    assert station.feed.last_error == ""


async def test_feed__bad_messages__each_is_counted_reported_and_not_used(broker):
    station = Station(broker.url)
    good = vix(10)
    bad = [
        (QuoteFault.MALFORMED, b"{"),
        (QuoteFault.MALFORMED, b"x" * 5000),
        (QuoteFault.WRONG_VERSION, good.replace(b'"version":1', b'"version":2')),
        (QuoteFault.MISLABELLED, good.replace(b'"SPX"', b'"BTC"')),
        (QuoteFault.DUPLICATE, good),
        (QuoteFault.OUT_OF_ORDER, vix(9)),
        (QuoteFault.OUT_OF_ORDER, vix(11, age_ms=30_000)),
        (QuoteFault.NOT_POSITIVE, vix(12, value=-0.2)),
        (QuoteFault.NOT_FINITE, vix(13).replace(b"0.2", b"NaN")),
        (QuoteFault.FUTURE_DATED, vix(14, age_ms=-60_000)),
    ]
    async with listening(station):
        await send_raw(broker.url, ("vix", good), *(("vix", payload) for _, payload in bad), ("dvol", good))
        await until(lambda: len(station.refused) == len(bad) + 1)
    assert [it.fault for it in station.refused] == [*(fault for fault, _ in bad), QuoteFault.UNKNOWN_FEED]
    assert station.refused[-1].feed == UNKNOWN_FEED
    assert station.book.refused.total() == len(bad) + 1
    assert [quote.sequence for quote in station.quotes] == [10]
    assert station.book.newest("vix").sequence == 10


async def test_feed__flood_of_bad_messages__is_counted_in_full_and_reported_in_part(mosquitto):
    now = [0.0]
    station = Station(mosquitto.url, clock=lambda: now[0])
    async with listening(station):
        await send_raw(mosquitto.url, *[("vix", b"junk")] * 200)
        await until(lambda: station.book.refused.total() == 200)
        now[0] = WINDOW_SECONDS
        await until(lambda: any(refused.suppressed for refused in station.refused))
    assert [refused.suppressed for refused in station.refused] == [0] * REFUSALS_PER_WINDOW + [140]


async def test_feed__cancelled_in_a_flood__reports_what_it_suppressed(mosquitto):
    station = Station(mosquitto.url)
    async with listening(station):
        await send_raw(mosquitto.url, *[("vix", b"junk")] * 70)
        await until(lambda: station.book.refused.total() == 70)
    assert station.refused[-1].suppressed == 10


async def test_feed__slow_callback__book_holds_the_newest_and_the_backlog_is_conflated(mosquitto, monkeypatch):
    monkeypatch.setattr(feeds, "BACKLOG_PER_FEED", 5)
    station, open_gate = Station(mosquitto.url), asyncio.Event()

    async def slow(quote):
        station.quotes.append(quote)
        await open_gate.wait()

    station.feed._on_quote = slow
    async with listening(station):
        await send_raw(mosquitto.url, ("vix", vix(1)))
        await until(lambda: len(station.quotes) == 1)
        await send_raw(mosquitto.url, *[("vix", vix(sequence)) for sequence in range(2, 101)])
        async with mqtt.connection(station.feed.address) as other:  # sees the last one after the feed did
            await other.subscribe("keeper/feeds/spx", qos=1)
            await send_raw(mosquitto.url, ("spx", b"end"))
            await anext(other.messages)
        open_gate.set()
        await until(lambda: station.book.newest("vix").sequence == 100)
        await until(lambda: station.quotes[-1].sequence == 100)
    assert station.book.accepted == {"vix": 100}
    assert len(station.quotes) + station.feed.conflated == 100
    assert station.feed.conflated > 0


async def test_feed__callback_raises__ends_the_run_with_that_error():
    async def fail(_quote):
        raise OSError("disk full")

    async with local_broker() as url:
        station = Station(url)
        station.feed._on_quote = fail
        task = asyncio.create_task(station.feed.run())
        await until(lambda: station.feed.connected)
        await send_raw(url, ("vix", vix(1)))
        with pytest.raises(OSError, match="disk full"):
            await asyncio.wait_for(task, 20)


async def test_feed__no_broker__waits_longer_after_each_failure():
    waits = []

    async def sleep(seconds):
        waits.append(seconds)
        await asyncio.sleep(0)

    async with running(Station(f"mqtt://127.0.0.1:{free_port()}", sleep=sleep)):
        await until(lambda: len(waits) >= 12)
    assert all(wait >= earlier for earlier, wait in pairwise(waits[:7]))
    assert max(waits) <= feeds.LAST_RETRY_SECONDS
    assert min(waits[7:]) >= feeds.LAST_RETRY_SECONDS / 2


async def test_feed__broker_hangs_without_closing__is_noticed_and_survived(mosquitto, monkeypatch):
    monkeypatch.setattr(mqtt, "KEEPALIVE_SECONDS", 1)
    station = Station(mosquitto.url)
    async with listening(station):
        mosquitto.freeze()
        await until(lambda: not station.feed.connected)
        mosquitto.thaw()
        await until(lambda: station.feed.connected)
        await send_raw(mosquitto.url, ("vix", vix(1)))
        await until(lambda: station.book.newest("vix") is not None)


async def test_feed__cancelled_while_a_server_accepts_and_says_nothing__stops_and_lets_go(monkeypatch):
    monkeypatch.setattr(mqtt, "KEEPALIVE_SECONDS", 1)
    accepted, left = asyncio.Event(), asyncio.Event()

    async def mute(reader, writer):
        accepted.set()
        await reader.read()
        writer.close()
        left.set()

    async with await asyncio.start_server(mute, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with running(Station(f"mqtt://127.0.0.1:{port}")):
            await asyncio.wait_for(accepted.wait(), 20)
        await asyncio.wait_for(left.wait(), 20)


async def test_feed__right_password__connects(tmp_path):
    passwords = password_file(tmp_path, "ann", "p@ss:/w#rd")
    server = Mosquitto(free_port(), tmp_path, "allow_anonymous false", f"password_file {passwords}")
    await server.start()
    try:
        url = f"mqtt://ann:p%40ss%3A%2Fw%23rd@127.0.0.1:{server.port}"
        station = Station(url)
        async with listening(station), publishing(url) as target:
            sent = await target.send(Reading("vix", 0.2, now_ms()))
            await until(lambda: station.quotes == [sent])
    finally:
        await server.stop()


async def test_feed__wrong_password__says_so_and_never_shows_it(tmp_path, caplog):
    passwords = password_file(tmp_path, "ann", "right-one")
    server = Mosquitto(free_port(), tmp_path, "allow_anonymous false", f"password_file {passwords}")
    await server.start()
    try:
        url = f"mqtt://ann:hunter2@127.0.0.1:{server.port}"
        station = Station(url)
        async with running(station):
            await until(lambda: "authori" in station.feed.last_error.lower())
        assert station.feed.connects == 0
        with pytest.raises(BrokerError, match=f"broker mqtt://127.0.0.1:{server.port}.*uthori") as caught:
            await publishing(url).__aenter__()
        shown = caplog.text + station.feed.last_error + repr(station.feed.address) + repr(caught.value)
        assert "Next attempt in" in shown
        assert "hunter2" not in shown
    finally:
        await server.stop()


async def test_feed__broker_refuses_the_subscription__is_not_taken_for_connected():
    async def refuse(reader, writer):
        await reader.readuntil(b"MQTT")
        writer.write(bytes.fromhex("20020000"))  # CONNACK: accepted
        packet = b""
        while b"keeper/feeds/+" not in packet:
            packet += await reader.read(1000)
        identifier = packet[packet.index(b"keeper/feeds/+") - 4 :][:2]
        writer.write(bytes.fromhex("9003") + identifier + bytes.fromhex("80"))  # SUBACK: failure
        await reader.read()
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        station = Station(f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        async with running(station):
            await until(lambda: "refused the subscription" in station.feed.last_error)
        assert station.feed.connects == 0


# paho leaves a socket whose handshake failed to the garbage collector, which closes it at once but complains.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("trusted", [True, False])
async def test_feed__mqtts__connects_only_to_a_trusted_certificate(tmp_path, monkeypatch, trusted):
    cert, key = certificate(tmp_path)
    server = Mosquitto(free_port(), tmp_path, f"certfile {cert}", f"keyfile {key}", "allow_anonymous true")
    await server.start()
    try:
        if trusted:
            monkeypatch.setenv("SSL_CERT_FILE", str(cert))
        station = Station(f"mqtts://127.0.0.1:{server.port}")
        async with running(station):
            await until(lambda: station.feed.connected or station.feed.last_error)
            assert station.feed.connected is trusted
            assert trusted or "certificate verify failed" in station.feed.last_error.lower()
    finally:
        await server.stop()


async def test_publish__recording_at_full_speed__every_quote_is_accepted(broker):
    start = 1_517_788_800
    bars = [Bar("spx", start + index * 3600, 3600, 100.0, 105.0, 95.0, 101.0, iv=0.2) for index in range(100)]
    settings = Settings(feeds=FEEDS, markets=[MARKET], mqtt=MqttSettings(url=SecretStr(broker.url)))
    station, counts = Station(broker.url), []
    async with listening(station):
        for restamp in (False, True):
            sent = await publish(
                bars,
                settings,
                MARKET,
                speed=math.inf,
                restamp=restamp,
                start=start + 3600,
                end=start + 50 * 3600,
                on_progress=lambda count, _reading: counts.append(count),
            )
            assert sent == 49 * 5
        await until(lambda: len(station.quotes) == 2 * 49 * 5)
    assert counts == [*range(1, 246)] * 2
    assert station.book.refused.total() == 0
    assert station.book.newest("spx").value == 101.0


async def test_publish__broker_dies_during_the_replay__raises_connection_error():
    broker = Amqtt(free_port())
    await broker.start()

    async def replay_into_a_dying_broker():
        async with publishing(broker.url) as target:
            await target.send(Reading("vix", 0.2, 1))
            await broker.stop()
            await target.send(Reading("vix", 0.2, 2))

    with pytest.raises(BrokerError, match=f"broker mqtt://127.0.0.1:{broker.port}"):
        await replay_into_a_dying_broker()


async def test_local_broker__several_at_once__take_ports_of_their_own():
    async with local_broker() as first, local_broker() as second:
        assert first != second


async def test_local_broker__given_port_is_taken__raises():
    async with local_broker() as url:
        with pytest.raises(OSError, match="in use"):
            async with local_broker(int(url.rpartition(":")[2])):
                pytest.fail("listened on a taken port")


async def test_local_broker__stopped_under_a_connected_client__leaves_no_task_behind():
    before = asyncio.all_tasks()
    with suppress(aiomqtt.MqttError):
        async with local_broker() as url, mqtt.connection(mqtt.broker_address(SecretStr(url))) as client:
            await client.subscribe("x", qos=1)
    await until(lambda: asyncio.all_tasks() == before)
