from __future__ import annotations

import random

import pytest
from pydantic import SecretStr

from config.errors import ConfigError
from config.schema import MqttSettings
from keeper.feeds import LAST_RETRY_SECONDS, MqttFeed, conflate, retry_seconds
from keeper.messages import QuoteFault, QuoteRefused
from keeper.mqtt import BrokerAddress, broker_address
from keeper.quotebook import QuoteBook
from models.market import Quote, QuoteKind


def address(url):
    return broker_address(SecretStr(url))


def quote(feed, sequence):
    return Quote(feed, "SPX", QuoteKind.SPOT, 2700.0, sequence, sequence)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("mqtt://broker", BrokerAddress("broker", 1883, tls=False)),
        ("mqtts://broker/", BrokerAddress("broker", 8883, tls=True)),
        ("mqtt://10.0.0.7:2000", BrokerAddress("10.0.0.7", 2000, tls=False)),
        ("mqtt://[::1]:2000", BrokerAddress("::1", 2000, tls=False)),
        ("mqtt://ann@broker", BrokerAddress("broker", 1883, tls=False, username="ann")),
        ("mqtt://ann:p%40ss%3A@broker", BrokerAddress("broker", 1883, False, "ann", "p@ss:")),
    ],
)
def test_broker_address__valid_url__is_read(url, expected):
    assert address(url) == expected


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("", "must begin with mqtt://"),
        ("http://ann:hunter2@broker", "must begin with mqtt://"),
        ("ann:hunter2@broker", "must begin with mqtt://"),
        ("mqtt://", "host"),
        ("mqtt://ann:hunter2@", "host"),
        ("mqtt://ann:hunter2@bro ker", "host"),
        ("mqtt://ann:hunter2@" + "b" * 64 + ".net", "host"),
        ("mqtt://broker:hunter2", "port"),
        ("mqtt://broker:0", "port"),
        ("mqtt://broker:65536", "port"),
        ("mqtt://ann:hunter2@broker/topic", "nothing may follow"),
        ("mqtt://ann:1#hunter2@broker", "nothing may follow"),
        ("mqtt://ann:hunter2@broker?x=1", "nothing may follow"),
        ("mqtt://:hunter2@broker", "user name"),
        ("mqtt://ann:hunter2@[broker", "not a URL"),
        ("mqtt://ann:hunter2@brok\u2100er", "not a URL"),
    ],
)
def test_broker_address__bad_url__error_names_the_rule_and_no_part_of_the_url(url, rule):
    with pytest.raises(ConfigError, match=r"mqtt\.url") as caught:
        address(url)
    assert rule in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_broker_address__shown_as_text__hides_the_credentials():
    shown = address("mqtts://ann:hunter2@[::1]:2000")
    assert str(shown) == "mqtts://[::1]:2000"
    assert "hunter2" not in repr(shown)
    assert "ann" not in repr(shown)


async def test_mqtt_feed__bad_url__is_refused_at_construction():
    async def ignore(_message):
        return None

    settings = MqttSettings(url=SecretStr("mqtt://broker/topic"))
    with pytest.raises(ConfigError, match=r"mqtt\.url"):
        MqttFeed(settings, QuoteBook({}, "keeper/feeds", lambda: 0), ignore, ignore)


def test_retry_seconds__more_failures__double_up_to_the_cap():
    rng = random.Random(7)
    for failures, ceiling in [(1, 0.5), (2, 1.0), (3, 2.0), (7, 30.0), (10_000, LAST_RETRY_SECONDS)]:
        waits = [retry_seconds(failures, rng) for _ in range(200)]
        assert ceiling / 2 <= min(waits) < max(waits) <= ceiling


def test_conflate__backlog_above_the_limit__keeps_the_newest_of_each_feed_and_every_refusal():
    refused = QuoteRefused("spx", QuoteFault.MALFORMED, "", "")
    backlog = [quote("vix", 1), refused, *(quote("spx", number) for number in range(10)), refused]
    assert conflate(backlog, 2) == [quote("vix", 1), refused, quote("spx", 8), quote("spx", 9), refused]
