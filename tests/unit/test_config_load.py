"""Settings and secrets are read once: validated, frozen, and silent about what must not be shown."""

import os
import tempfile
from pathlib import Path

import pytest
from builders import binding
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from config.errors import ConfigError
from config.load import (
    DEFAULT_SETTINGS,
    OVERRIDES,
    SECP256K1_ORDER,
    load_policies,
    load_protocol,
    load_secrets,
    load_settings,
    redact,
)
from config.schema import Settings

KEY = "0x" + "1f" * 32
DEFAULT = DEFAULT_SETTINGS.read_text()
ADDRESSES = {
    "KEEPER_JOURNAL_URL": "postgresql://user:secret@host/db",
    "KEEPER_MQTT_URL": "mqtts://user:secret@host",
    "KEEPER_RPC_URL": "https://host/v3/secret",
}


@pytest.fixture
def write(tmp_path):
    def write(text: str | bytes, name: str = "keeper.toml") -> Path:
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


def failure(path: Path, environ=None) -> str:
    with pytest.raises(ConfigError) as caught:
        load_settings(path, environ or {})
    return str(caught.value)


def changed(old: str, new: str) -> str:
    assert old in DEFAULT
    return DEFAULT.replace(old, new)


# Settings


def test_load_settings__file_as_shipped__is_valid_and_frozen():
    settings = load_settings(DEFAULT_SETTINGS, {})
    assert [market.name for market in settings.markets] == ["SPX"]
    assert set(settings.feeds) == {"spx", "vix"}
    with pytest.raises(ValidationError, match="frozen"):
        settings.keeper.tick_seconds = 1


def test_load_settings__deadline_a_second_longer_than_a_tick__is_enough(write):
    settings = load_settings(write(changed("tick_seconds = 60", "tick_seconds = 599")), {})
    assert settings.keeper.tick_seconds + 1 == settings.propose.deadline_seconds


def test_load_settings__every_value_in_the_file_as_shipped__is_what_the_schema_defaults_to():
    shipped = load_settings(DEFAULT_SETTINGS, {})
    bare = Settings(feeds=shipped.feeds, markets=shipped.markets)
    assert shipped == bare


def test_load_settings__feeds_and_markets_alone__is_enough(write):
    settings = load_settings(write(DEFAULT[DEFAULT.index("[feeds.spx]") :]), {})
    assert settings == load_settings(DEFAULT_SETTINGS, {})


@pytest.mark.parametrize(("variable", "place"), OVERRIDES.items())
def test_load_settings__address_in_the_environment__replaces_the_files(variable, place):
    settings = load_settings(DEFAULT_SETTINGS, {variable: ADDRESSES[variable]})
    table, key = place
    assert getattr(getattr(settings, table), key).get_secret_value() == ADDRESSES[variable]
    assert "host" not in repr(settings)


@pytest.mark.parametrize("variable", OVERRIDES)
def test_load_settings__empty_variable__counts_as_not_set(variable):
    assert load_settings(DEFAULT_SETTINGS, {variable: ""}) == load_settings(DEFAULT_SETTINGS, {})


@pytest.mark.parametrize(("variable", "place"), OVERRIDES.items())
def test_load_settings__file_without_the_table__takes_the_override(write, variable, place):
    path = write(DEFAULT[DEFAULT.index("[feeds.spx]") :])
    table, key = place
    loaded = getattr(load_settings(path, {variable: ADDRESSES[variable]}), table)
    assert getattr(loaded, key).get_secret_value() == ADDRESSES[variable]


@pytest.mark.parametrize(("variable", "place"), OVERRIDES.items())
@pytest.mark.parametrize("address", ["ftp://user:secret@host", "user:secret@host", " mqtt://user:secret@host"])
def test_load_settings__override_of_another_scheme__is_refused_without_being_shown(variable, place, address):
    message = failure(DEFAULT_SETTINGS, {variable: address})
    assert f"{'.'.join(place)}: must begin with " in message
    assert "secret" not in message
    assert "host" not in message


@pytest.mark.parametrize("rest", ["", "user:secret@", "host:0", "host:65536", "host:port", "[::1"])
def test_load_settings__override_without_host_or_legal_port__is_refused_without_being_shown(rest):
    message = failure(DEFAULT_SETTINGS, {"KEEPER_MQTT_URL": f"mqtt://{rest}"})
    assert message.endswith("mqtt.url: must name a host, with a port of 1..65535 if any, or a file")


@pytest.mark.parametrize(
    ("variable", "address"),
    [
        ("KEEPER_MQTT_URL", "mqtt://host:1"),
        ("KEEPER_MQTT_URL", "mqtt://host:65535"),
        ("KEEPER_MQTT_URL", "mqtts://[::1]:8883"),
        ("KEEPER_RPC_URL", "http://host"),
        ("KEEPER_JOURNAL_URL", "sqlite:////var/keeper.db"),
        ("KEEPER_JOURNAL_URL", "postgresql:///keeper"),
    ],
)
def test_load_settings__override_that_names_a_host_or_a_file__is_taken(variable, address):
    table, key = OVERRIDES[variable]
    settings = load_settings(DEFAULT_SETTINGS, {variable: address})
    assert getattr(getattr(settings, table), key).get_secret_value() == address


def test_load_settings__override_of_what_is_no_table__says_so(write):
    path = write("chain = 5\n" + DEFAULT[DEFAULT.index("[feeds.spx]") :])
    assert failure(path, {"KEEPER_RPC_URL": "http://user:secret@host"}) == f"{path}: chain: must be a table"


def test_load_settings__other_variables__are_ignored():
    environ = {"KEEPER_TICK_SECONDS": "1", "MQTT_URL": "mqtt://other"}
    assert load_settings(DEFAULT_SETTINGS, environ) == load_settings(DEFAULT_SETTINGS, {})


def test_load_settings__absent_file__says_so(tmp_path):
    path = tmp_path / "absent.toml"
    assert failure(path) == f"{path}: cannot be read: No such file or directory"


def test_load_settings__directory__says_so(tmp_path):
    assert failure(tmp_path) == f"{tmp_path}: cannot be read: Is a directory"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_load_settings__file_without_permission__says_so(write):
    path = write(DEFAULT)
    path.chmod(0)
    assert failure(path) == f"{path}: cannot be read: Permission denied"


def test_load_settings__not_utf_8__names_the_byte(write):
    path = write(b"[keeper]\n# caf\xe9\n")
    assert failure(path) == f"{path}: not UTF-8 at byte 14"


def test_load_settings__not_toml__names_line_and_column(write):
    message = failure(write("[keeper]\ntick_seconds = = 5\n"))
    assert "keeper.toml: not valid TOML: " in message
    assert "line 2, column 16" in message


@pytest.mark.parametrize("text", ["a = " + "[" * 5_000, "a = " + "1" * 5_000], ids=["nesting", "digits"])
def test_load_settings__toml_that_the_parser_cannot_follow__is_a_settings_error(write, text):
    assert "not valid TOML" in failure(write(text))


@pytest.mark.parametrize("protocol", ["options_market", "mine.toml", "bindings/mine.toml", "../mine.toml"])
def test_load_settings__protocol__may_be_a_name_or_a_path(write, protocol):
    path = write(changed('protocol = "options_market"', f'protocol = "{protocol}"'))
    assert load_settings(path, {}).markets[0].protocol == protocol


LITERAL = st.sampled_from(
    ["-1", "0", "1e999", "nan", "true", '""', '"x"', "[]", "{}", "[[]]", "1979-05-27", "0x" + "f" * 5_000, "9" * 400]
)
TOKENS = st.lists(
    st.sampled_from(
        [*DEFAULT.split(), "\n", "[", "]", "[[", "]]", "=", '"', "'", ".", "{", "}", "\x00", "é", "\u2028"]
    ),
    max_size=30,
).map(" ".join)


@st.composite
def nearly_settings(draw) -> bytes:
    """The file as shipped with one value replaced, or some bytes cut out and others put in."""
    lines = DEFAULT.split("\n")
    if draw(st.booleans()):
        place = draw(st.sampled_from([number for number, line in enumerate(lines) if " = " in line]))
        lines[place] = lines[place].split(" = ")[0] + " = " + draw(LITERAL)
        return "\n".join(lines).encode()
    data = DEFAULT.encode()
    start = draw(st.integers(0, len(data)))
    return data[:start] + draw(st.binary(max_size=20)) + data[start + draw(st.integers(0, 40)) :]


@given(st.one_of(nearly_settings(), nearly_settings(), TOKENS.map(str.encode), st.binary(max_size=200)))
@example(DEFAULT.replace('clock = "wall"', "clock = 0x" + "f" * 5_000).encode())
def test_load_settings__any_bytes__are_settings_or_a_settings_error(data):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "keeper.toml"
        path.write_bytes(data)
        try:
            assert isinstance(load_settings(path, {}), Settings)
        except ConfigError as error:
            assert str(error).startswith(str(path))  # noqa: PT017 - either end is right


# Secrets


def test_load_secrets__nothing_set__is_a_dry_run():
    assert load_secrets({}).private_key is None
    assert load_secrets({"KEEPER_PRIVATE_KEY": "  ", "KEEPER_PRIVATE_KEY_FILE": ""}).private_key is None


@pytest.mark.parametrize("value", [KEY, KEY[2:], KEY.upper().replace("X", "x"), f"  {KEY}\n"])
def test_load_secrets__32_bytes_of_hex__is_the_key(value):
    secrets = load_secrets({"KEEPER_PRIVATE_KEY": value})
    assert secrets.private_key.get_secret_value().lower() == KEY
    assert "1f1f" not in repr(secrets).lower()


@pytest.mark.parametrize("value", [KEY[:-1], KEY + "0", KEY[:-1] + "g", "0x", "hunter2", "٣" * 64, "0x0x" + "1f" * 31])
def test_load_secrets__anything_else__is_refused_without_being_shown(value):
    with pytest.raises(ConfigError) as caught:
        load_secrets({"KEEPER_PRIVATE_KEY": value})
    assert str(caught.value) == "KEEPER_PRIVATE_KEY: must be 32 bytes in hex (64 digits); its value is not shown"
    assert caught.value.__cause__ is None


def test_load_secrets__file__holds_the_key(write):
    environ = {"KEEPER_PRIVATE_KEY_FILE": str(write(KEY + "\n", "key"))}
    assert load_secrets(environ).private_key.get_secret_value() == KEY


def test_load_secrets__both__are_one_too_many(write):
    environ = {"KEEPER_PRIVATE_KEY": KEY, "KEEPER_PRIVATE_KEY_FILE": str(write("0x" + "22" * 32, "key"))}
    with pytest.raises(ConfigError) as caught:
        load_secrets(environ)
    assert str(caught.value) == "KEEPER_PRIVATE_KEY and KEEPER_PRIVATE_KEY_FILE: set one of them, not both"


@pytest.mark.parametrize("number", [1, SECP256K1_ORDER - 1])
def test_load_secrets__smallest_and_largest_key_of_the_curve__is_the_key(number):
    assert load_secrets({"KEEPER_PRIVATE_KEY": f"{number:#066x}"}).private_key is not None


@pytest.mark.parametrize("number", [0, SECP256K1_ORDER, 2**256 - 1])
def test_load_secrets__number_that_is_no_key_of_the_curve__is_refused_without_being_shown(number):
    with pytest.raises(ConfigError) as caught:
        load_secrets({"KEEPER_PRIVATE_KEY": f"{number:#066x}"})
    assert str(caught.value).startswith("KEEPER_PRIVATE_KEY: is no private key of secp256k1")
    assert str(caught.value).endswith("zero, or too large; its value is not shown")


def test_load_secrets__empty_file__is_a_dry_run(write):
    assert load_secrets({"KEEPER_PRIVATE_KEY_FILE": str(write("\n", "key"))}).private_key is None


def test_load_secrets__malformed_file__names_the_variable_and_shows_nothing(write):
    with pytest.raises(ConfigError) as caught:
        load_secrets({"KEEPER_PRIVATE_KEY_FILE": str(write("hunter2", "key"))})
    assert str(caught.value).startswith("KEEPER_PRIVATE_KEY_FILE: must be 32 bytes in hex")
    assert "hunter2" not in str(caught.value)


def test_load_secrets__absent_file__names_it(tmp_path):
    with pytest.raises(ConfigError, match="absent: cannot be read: No such file"):
        load_secrets({"KEEPER_PRIVATE_KEY_FILE": str(tmp_path / "absent")})


# Addresses


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://127.0.0.1:8545", "http://127.0.0.1:8545"),
        ("https://host/v3/secret?key=secret#secret", "https://host"),
        ("mqtt://user:secret@host:1883", "mqtt://host:1883"),
        ("mqtt://user:sec%40ret@host", "mqtt://host"),
        ("mqtt://user:sec/ret@host", "mqtt://"),
        ("mqtt://user:sec?ret@host", "mqtt://"),
        ("mqtt://user:sec#ret@host", "mqtt://"),
        ("mqtt://user:sec@ret@host", "mqtt://host"),
        ("http://user:secret@[::1]:8545", "http://::1:8545"),
        ("http://user:secret@host:port", "http://host"),
        ("http://user:secret@[::1", "(not an address)"),
        ("user:secret@host", "user://"),
        ("secret", "://"),
        ("sqlite:///keeper.db", "sqlite:///keeper.db"),
    ],
)
def test_redact__any_address__shows_scheme_host_and_port_at_most(url, shown):
    assert redact(url) == shown


@given(st.text(st.characters(codec="ascii", exclude_characters="s"), max_size=12))
def test_redact__any_password__is_not_shown(noise):
    assert "ssss" not in redact(f"mqtt://user:ssss{noise}@host:1883")


# Policies and bindings


def test_load_protocol__relative_path__is_found_beside_the_settings(write):
    text = (DEFAULT_SETTINGS.parent / "protocols" / "options_market.toml").read_text()
    write(text.replace('name = "options_market"', 'name = "mine"'), "mine.toml")
    assert load_protocol("mine.toml", write(DEFAULT)).name == "mine"


def test_load_protocol__unknown_name__names_the_file():
    with pytest.raises(ConfigError, match=r"protocols/nowhere\.toml: cannot be read"):
        load_protocol("nowhere", DEFAULT_SETTINGS)


POLICIES = (DEFAULT_SETTINGS.parent / "policies" / "options_market.toml").read_text()
SHOCKED_VOL, PENALTY = (
    POLICIES[POLICIES.index(f"[limits.{name}]") :].split("\n\n")[0] for name in ("shocked_vol", "liquidation_penalty")
)


def test_load_policies__as_shipped__limits_every_parameter():
    policies = load_policies(binding())
    assert set(policies.limits) == {parameter.name for parameter in binding().parameters}
    assert policies.ramp_seconds == 21_600


def test_load_policies__file_of_the_operators__is_read(write):
    path = write(POLICIES.replace("probation_seconds = 43_200", "probation_seconds = 5"), "mine.toml")
    assert load_policies(binding(), path).probation_seconds == 5


def test_load_policies__parameter_without_limits__is_named(write):
    path = write(POLICIES.replace(SHOCKED_VOL, ""), "mine.toml")
    with pytest.raises(
        ConfigError, match=r"mine\.toml: limits\.shocked_vol: missing, and every parameter needs limits"
    ):
        load_policies(binding(), path)


def test_load_policies__limits_of_no_parameter__is_named(write):
    path = write(POLICIES.replace("shocked_vol", "shocked_volume"), "mine.toml")
    with pytest.raises(ConfigError, match=r"limits\.shocked_vol: missing"):
        load_policies(binding(), path)
    path = write(POLICIES + "\n" + PENALTY.replace("liquidation_penalty", "extra"), "mine.toml")
    with pytest.raises(ConfigError, match=r"limits\.extra: unknown parameter \(binding options_market has "):
        load_policies(binding(), path)


def starting_at(initial):
    """The shipped policies with another start of the liquidation penalty, whose corridor is 100..1_000."""
    assert "\nminimum = 100\nmaximum = 1_000\n" in PENALTY
    return POLICIES.replace(PENALTY, PENALTY.replace("initial = 500", f"initial = {initial}"))


@pytest.mark.parametrize("initial", [99, 1_001])
def test_load_policies__start_outside_its_corridor__is_refused(write, initial):
    path = write(starting_at(initial), "m.toml")
    line = POLICIES[: POLICIES.index(PENALTY)].count("\n") + 1
    with pytest.raises(ConfigError, match=rf"m\.toml:{line}: limits\.liquidation_penalty.* got {initial}"):
        load_policies(binding(), path)


@pytest.mark.parametrize("initial", [100, 1_000])
def test_load_policies__start_on_the_edge_of_its_corridor__is_valid(write, initial):
    path = write(starting_at(initial), "m.toml")
    assert load_policies(binding(), path).limits["liquidation_penalty"].initial == initial
