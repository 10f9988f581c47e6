"""Say where the MQTT broker is and open a connection to it, without ever showing its password."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urlsplit

import aiomqtt

from config.errors import ConfigError, KnownFault

if TYPE_CHECKING:
    from pydantic import SecretStr

KEEPALIVE_SECONDS = 10  # a dead peer is noticed after at most two of these
DEFAULT_PORTS = {"mqtt": 1883, "mqtts": 8883}


class BrokerError(KnownFault):
    """A broker cannot be reached, refuses us or was lost. The message never shows its credentials."""


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """The parts of a broker URL. As text it is the URL without the credentials."""

    host: str
    port: int
    tls: bool
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"


def broker_address(url: SecretStr) -> BrokerAddress:
    """Read mqtt://[user:password@]host[:port] or mqtts://…; user and password are percent-decoded.

    Raises ConfigError that names the rule and shows nothing of the URL, since any part of a mistyped one may be the
    password.
    """
    split = _split(url)
    if split.scheme not in DEFAULT_PORTS:
        raise ConfigError("mqtt.url: must begin with mqtt:// or mqtts://")
    if split.path not in ("", "/") or split.query or split.fragment:
        raise ConfigError("mqtt.url: nothing may follow host and port; write / ? # in a password as %2F %3F %23")
    if split.password and not split.username:
        raise ConfigError("mqtt.url: a password needs a user name before it")
    return BrokerAddress(
        host=_host(split),
        port=_port(split),
        tls=split.scheme == "mqtts",
        username=unquote(split.username) if split.username else None,
        password=unquote(split.password) if split.password else None,
    )


def connection(address: BrokerAddress) -> aiomqtt.Client:
    """Return a client that connects when entered. Private certificate authorities are read from SSL_CERT_FILE."""
    return aiomqtt.Client(
        address.host,
        address.port,
        username=address.username,
        password=address.password,
        keepalive=KEEPALIVE_SECONDS,
        tls_context=ssl.create_default_context() if address.tls else None,
        max_queued_incoming_messages=0,  # unbounded: a bounded queue would drop the newest message
    )


def _split(url: SecretStr) -> SplitResult:
    try:
        return urlsplit(url.get_secret_value())
    except ValueError:  # its text repeats the URL
        raise ConfigError("mqtt.url: not a URL of the form mqtt://[user:password@]host[:port]") from None


def _host(split: SplitResult) -> str:
    try:
        host = (split.hostname or "").encode("idna").decode()
    except UnicodeError:
        host = ""
    if not host or any(character.isspace() for character in host):
        raise ConfigError("mqtt.url: needs a host name or address") from None
    return host


def _port(split: SplitResult) -> int:
    try:
        port = split.port
    except ValueError:  # its text repeats the port, which a stray ':' or '@' may fill with the password
        port = 0
    if port == 0:
        raise ConfigError("mqtt.url: the port must be an integer of 1..65535") from None
    return port or DEFAULT_PORTS[split.scheme]
