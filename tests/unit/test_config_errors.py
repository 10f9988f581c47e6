"""Every mistake in a settings file is told with file, line, key, value and rule, and never with a secret."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.deployment import Policies
from config.errors import ConfigError, find_line
from config.load import DEFAULT_SETTINGS, load_settings
from config.protocol import Protocol
from config.schema import Settings

DEFAULT = DEFAULT_SETTINGS.read_text()
WITHOUT_JOURNAL = DEFAULT.replace('[journal]\nurl = "sqlite:///keeper.db"\n', "")


@pytest.fixture
def complaint(tmp_path):
    def complaint(*replacements: tuple[str, str], text: str = DEFAULT) -> str:
        """What is said about the shipped file with pieces replaced, without the folder's name."""
        for old, new in replacements:
            assert text.count(old) >= 1
            text = text.replace(old, new, 1)
        path = tmp_path / "keeper.toml"
        path.write_text(text)
        with pytest.raises(ConfigError) as caught:
            load_settings(path, {})
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__
        return str(caught.value).replace(f"{tmp_path}/", "")

    return complaint


def line_of(piece: str, text: str = DEFAULT) -> int:
    (number,) = [number for number, line in enumerate(text.split("\n"), start=1) if piece in line]
    return number


# Unknown and missing keys


def test_unknown_key__near_a_known_one__suggests_it(complaint):
    line = line_of("tick_seconds")
    message = complaint(("tick_seconds", "tick_second"))
    assert message == f"keeper.toml:{line}: keeper.tick_second: unknown key (did you mean tick_seconds?)"


def test_unknown_key__like_nothing__lists_what_is_allowed(complaint):
    message = complaint(("tick_seconds", "zzz"))
    assert message.endswith("keeper.zzz: unknown key (allowed: clock, deployment, tick_seconds)")


def test_unknown_key__in_a_table_of_names__suggests_from_that_tables_schema(complaint):
    line = line_of("[feeds.vix]") + 4
    message = complaint(("max_age_seconds = 90000\nminimum = 0.03", "max_age = 90000\nminimum = 0.03"))
    assert f"keeper.toml:{line}: feeds.vix.max_age: unknown key (did you mean max_age_seconds?)" in message


def test_unknown_key__in_a_list__suggests_from_its_items_schema(complaint):
    message = complaint(("vol_feed", "vol_fed"))
    assert f"keeper.toml:{line_of('vol_feed')}: markets.0.vol_fed: unknown key (did you mean vol_feed?)" in message


def test_unknown_key__of_a_feed_named_like_a_key__is_suggested_for_all_the_same(complaint):
    message = complaint(("[feeds.spx]", "[feeds.unit]\nmax_agee = 1"), ('spot_feed = "spx"', 'spot_feed = "unit"'))
    assert "feeds.unit.max_agee: unknown key (did you mean max_age_seconds?)" in message


def test_unknown_table__near_a_known_one__suggests_it(complaint):
    message = complaint(("[watch]", "[wacth]"))
    assert message == f"keeper.toml:{line_of('[watch]')}: wacth: unknown key (did you mean watch?)"


def test_missing_key__in_a_table__names_the_tables_line(complaint):
    message = complaint(("max_jump = 3.0\n", ""))
    assert message == f"keeper.toml:{line_of('[feeds.vix]')}: feeds.vix.max_jump: missing, and it has no default"


def test_missing_table__has_no_line_to_name(complaint):
    message = complaint(text=DEFAULT[: DEFAULT.index("[feeds.spx]")])
    assert message == (
        "keeper.toml: feeds: missing, and it has no default\nkeeper.toml: markets: missing, and it has no default"
    )


# Types and ranges


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("tick_seconds = 60", 'tick_seconds = "60"', "keeper.tick_seconds = '60': input should be a valid integer"),
        ("tick_seconds = 60", "tick_seconds = true", "keeper.tick_seconds = True: input should be a valid integer"),
        ("tick_seconds = 60", "tick_seconds = 0", "keeper.tick_seconds = 0: input should be greater than 0"),
        ('clock = "wall"', 'clock = "sun"', "keeper.clock = 'sun': input should be 'wall' or 'chain'"),
        ("dead_band = 0.1", "dead_band = 1.0", "propose.dead_band = 1.0: input should be less than 1"),
        ("margin_period_days = 5.0", "margin_period_days = 366.0", "input should be less than or equal to 365"),
        ("bar_seconds = 86400", "bar_seconds = 60", "model.bar_seconds = 60: input should be 3600 or 86400"),
        ("max_fee_gwei = 200.0", "max_fee_gwei = nan", "chain.max_fee_gwei = nan: input should be a finite number"),
        ("max_fee_gwei = 200.0", "max_fee_gwei = inf", "chain.max_fee_gwei = inf: input should be a finite number"),
        ("breach_rate = 0.02", "breach_rate = 0.0", "watch.breach_rate = 0.0: input should be greater than 0"),
        ("breach_rate = 0.02", "breach_rate = [1]", "watch.breach_rate = (list): input should be a valid number"),
        ("breach_rate = 0.02", "breach_rate = {a=1}", "watch.breach_rate = (table): input should be a valid number"),
        ("max_jump = 1.5", "max_jump = 1.0", "feeds.spx.max_jump = 1.0: input should be greater than 1"),
        (
            "max_newly_liquidatable = 0",
            "probed_accounts = 9\nmax_newly_liquidatable = 0",
            "guard.probed_accounts = 9: input should be less than or equal to 8",
        ),
    ],
)
def test_value__of_a_wrong_type_or_out_of_range__is_told_with_line_value_and_rule(complaint, old, new, said):
    message = complaint((old, new))
    assert message.startswith(f"keeper.toml:{line_of(old)}: ")
    assert said in message


def test_value__very_long__is_cut_short(complaint):
    message = complaint(('clock = "wall"', f'clock = "{"z" * 500}"'))
    assert "zzz...: input should be" in message
    assert len(message) < 200


@pytest.mark.parametrize(("length", "shown"), [(78, "'" + "z" * 78 + "'"), (79, "'" + "z" * 76 + "...")])
def test_value__of_80_characters_with_its_quotes__is_the_longest_shown_whole(complaint, length, shown):
    assert f"keeper.clock = {shown}: input" in complaint(('clock = "wall"', f'clock = "{"z" * length}"'))


def test_value__number_too_long_to_print__is_only_described(complaint):
    assert "(a number of more than 256 bits)" in complaint(('clock = "wall"', "clock = 0x" + "f" * 5_000))


def test_two_mistakes__are_two_lines(complaint):
    message = complaint(("tick_seconds = 60", "tick_seconds = 0"), ("breach_rate = 0.02", "breach_rate = 2.0"))
    lines = [str(line_of("tick_seconds")), str(line_of("breach_rate"))]
    assert [line.split(":")[1] for line in message.split("\n")] == lines


# Rules between values


def test_feed__minimum_not_below_maximum__is_told(complaint):
    message = complaint(("maximum = 1e6", "maximum = 1.0"))
    rule = "minimum must be below maximum, got 1.0 and 1.0"
    assert message == f"keeper.toml:{line_of('[feeds.spx]')}: feeds.spx = (table): {rule}"


def test_vol_feed__in_another_unit__is_told(complaint):
    assert "unit of a vol feed must be 'decimal', got 'percent'" in complaint(
        ('unit = "decimal"', 'unit = "percent"'),
    )


@pytest.mark.parametrize(("key", "feed"), [("spot_feed", "spx"), ("vol_feed", "vix")])
def test_market__names_a_feed_that_is_not_there__is_told(complaint, key, feed):
    message = complaint((f'{key} = "{feed}"', f'{key} = "ghost"'))
    assert f"{key} of market SPX names no [feeds.ghost]" in message


@pytest.mark.parametrize(("key", "feed", "other"), [("spot_feed", "spx", "vix"), ("vol_feed", "vix", "spx")])
def test_market__takes_a_feed_of_the_wrong_kind__is_told(complaint, key, feed, other):
    message = complaint((f'{key} = "{feed}"', f'{key} = "{other}"'))
    assert f"{key} of market SPX names {other}, whose kind is not {key.split('_', maxsplit=1)[0]}" in message


def test_market__whose_feeds_measure_different_things__is_told(complaint):
    message = complaint(('underlying = "SPX"\nkind = "vol"', 'underlying = "NDX"\nkind = "vol"'))
    assert "the feeds of market SPX have underlyings NDX and SPX" in message


def test_markets__of_the_same_name__are_told(complaint):
    again = DEFAULT + '[[markets]]\nname = "SPX"\nspot_feed = "spx"\nvol_feed = "vix"\n'
    assert "market names must be unique, got ['SPX', 'SPX']" in complaint(text=again)


@pytest.mark.parametrize(("tick", "deadline"), [(600, 600), (601, 600), (60, 60), (60, 59)])
def test_deadline__no_longer_than_a_tick__names_both_keys_and_values(complaint, tick, deadline):
    message = complaint(
        ("tick_seconds = 60", f"tick_seconds = {tick}"), ("deadline_seconds = 600", f"deadline_seconds = {deadline}")
    )
    assert f"propose.deadline_seconds = {deadline} must exceed keeper.tick_seconds = {tick}" in message


def test_markets__none__are_told(complaint):
    message = complaint(text="markets = []\n" + DEFAULT[: DEFAULT.index("[[markets]]")])
    assert message.startswith("keeper.toml:1: markets = (list): list should have at least 1 item")


@pytest.mark.parametrize("name", ["", "a b", "../x", "x" * 65, "-x"])
def test_feed_name__with_anything_but_plain_characters__is_told_with_its_line(complaint, name):
    message = complaint(("[feeds.spx]", f'[feeds."{name}"]'))
    assert f"keeper.toml:{line_of('[feeds.spx]')}: feeds.{name}" in message
    assert "string should match pattern" in message


# Secrets

SECRET = "postgresql://user:secret@host/db"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('url = "sqlite:///keeper.db"', f'url = ["{SECRET}"]'),
        ('url = "sqlite:///keeper.db"', f'url = {{ is = "{SECRET}" }}'),
        ('url = "sqlite:///keeper.db"', f'uri = "{SECRET}"'),
        ('topic_prefix = "keeper/feeds"', f'topic_prefix = "{SECRET}#"'),
        ("tick_seconds = 60", f'tick_seconds = "{SECRET}"'),
        ('spot_feed = "spx"', f'spot_feed = "{SECRET}"'),
        ('protocol = "options_market"', f'protocol = "{SECRET}"'),
        ("chain_id = 31337", 'chain_id = "' + "5e" * 32 + '"'),
        ('clock = "wall"', 'clock = "0x' + "5e" * 32 + '"'),
    ],
)
def test_secret__under_any_key__is_not_shown(complaint, old, new):
    message = complaint((old, new))
    assert message.startswith(f"keeper.toml:{line_of(old)}: ")
    assert "secret" not in message
    assert "5e5e" not in message


def test_secret__in_place_of_a_table__is_not_shown(complaint):
    message = complaint(text=f'journal = "{SECRET}"\n{WITHOUT_JOURNAL}')
    assert message.startswith("keeper.toml:1: journal = (not shown): input should be a valid dictionary")


def test_url__of_a_wrong_type__is_named_without_its_value(complaint):
    message = complaint(('url = "sqlite:///keeper.db"', "url = 424242"))
    assert message == f"keeper.toml:{line_of('sqlite')}: journal.url: input should be a valid string"


# Lines

NESTED = """\
# [parameters] in a comment
name = "nested"
"quoted.name" = 1
[[parameters]]
name = "a"
getter = { function = "f()", args = [0] }
[[parameters]]
name = "b"
[parameters.getter]
function = "g()"
args = [
  1,
]
[parameters.effective]
function = "h()"
[[parameters.notes]]
text = "b0"
[[parameters.notes]]
text = "b1"
[[parameters]]
name = "c"
[parameters.effective]
function = "i()"
[[parameters.notes]]
text = "c0"
[feeds."x.y"]
  kind = "spot"
[ feeds . 'z' ]
a.b = 1
after = 2
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("name",), 2),
        (("quoted.name",), 3),
        (("parameters", 0, "name"), 5),
        (("parameters", 0, "getter", "function"), 6),
        (("parameters", 0, "getter", "args", 0), 6),
        (("parameters", 1, "name"), 8),
        (("parameters", 1, "getter"), 9),
        (("parameters", 1, "getter", "function"), 10),
        (("parameters", 1, "getter", "args", 0), 11),
        (("parameters", 1, "effective", "function"), 15),
        (("parameters", 1, "notes", 0, "text"), 17),
        (("parameters", 1, "notes", 1, "text"), 19),
        (("parameters", 2, "name"), 21),
        (("parameters", 2, "effective", "function"), 23),
        (("parameters", 2, "notes", 0, "text"), 25),
        (("parameters", 2, "notes", 0, "missing"), 24),
        (("parameters", 2, "missing"), 20),
        (("parameters",), 4),
        (("feeds", "x.y", "kind"), 27),
        (("feeds", "x.y", "missing"), 26),
        (("feeds", "z"), 28),
        (("feeds", "z", "a", "b"), 29),
        (("feeds", "z", "after"), 30),
        (("nowhere",), None),
        ((), None),
    ],
)
def test_find_line__nested_and_array_tables__is_the_line_of_the_key_or_of_what_holds_it(path, line):
    assert find_line(NESTED, path) == line


@pytest.mark.parametrize("separator", ["\u2028", "\u0085", "\x0c", "\r"])
def test_find_line__characters_that_end_no_line_in_toml__do_not_count(separator):
    text = f'a = "x{separator}y"\nb = 1\n'
    assert find_line(text, ("b",)) == 2


def test_find_line__windows_line_ends__count_once():
    assert find_line(DEFAULT.replace("\n", "\r\n"), ("watch", "breach_rate")) == line_of("breach_rate")


def test_find_line__every_key_of_the_shipped_files__is_where_it_stands():
    folder = Path(DEFAULT_SETTINGS).parent
    protocol = (folder / "protocols" / "options_market.toml").read_text()
    policies = (folder / "policies" / "options_market.toml").read_text()
    assert find_line(protocol, ("parameters", 5, "name")) == line_of('name = "liquidation_penalty"', protocol)
    assert find_line(protocol, ("accounts", "view", "page")) == line_of("page = 256", protocol)
    assert find_line(policies, ("limits", "shocked_vol")) == line_of("shocked_vol", policies)
    assert find_line(policies, ("limits", "shocked_vol", "maximum")) == line_of("maximum = 25_000", policies)


@given(st.text(max_size=60), st.lists(st.text(max_size=5) | st.integers(0, 3), max_size=4))
def test_find_line__any_text__is_one_of_its_lines_or_none(text, path):
    line = find_line(text, path)
    assert line is None or 1 <= line <= text.count("\n") + 1


@pytest.mark.parametrize("schema", [Settings, Protocol, Policies])
def test_schema__any_table__refuses_unknown_keys_and_changes(schema):
    assert schema.model_config["extra"] == "forbid"
    assert schema.model_config["frozen"]
    assert schema.model_config["strict"]
