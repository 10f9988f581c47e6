"""Deployment, markets and policies files are read back as they were written, or refused with name, key and rule."""

import json
import tomllib

import pytest
from bindings import RICH, loaded, replaced

from config.deployment import (
    MAX_SECONDS,
    MAX_VALUE,
    Deployment,
    Limits,
    MarketDeployment,
    Policies,
    load_deployment,
    load_markets,
)
from config.errors import ConfigError
from config.load import DEFAULT_SETTINGS, PACKAGE, load_policies, load_protocol

ADDRESS = "0x" + "aB" * 20
OTHER = "0x" + "cD" * 20
DEPLOYMENT = Deployment(
    chain_id=31_337,
    steward=ADDRESS,
    registry=ADDRESS,
    timelock=ADDRESS,
    governance=[ADDRESS],
    guardians=[ADDRESS],
    signers=[ADDRESS, OTHER],
    threshold=2,
    block=0,
    code_hashes={"steward": "0x" + "01" * 32},
    markets={"SPX": MarketDeployment(contracts={"market": ADDRESS}, keys={"board": 3}, executor=OTHER, policy=ADDRESS)},
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deployment.json"


def refusal(path, data: bytes) -> str:
    path.write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        load_deployment(path)
    return str(caught.value)


def test_load_deployment__file_that_was_written__is_read_back_equal(path):
    path.write_text(DEPLOYMENT.model_dump_json(), encoding="utf-8")
    assert load_deployment(path) == DEPLOYMENT


def test_load_deployment__absent__says_which_command_writes_it(path):
    with pytest.raises(ConfigError) as caught:
        load_deployment(path)
    assert str(caught.value) == f"{path}: cannot be read: No such file or directory; `keeper deploy` writes it"


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe{}", b'{"chain_id": "\xff"}', b"[" * 5_000])
def test_load_deployment__not_json__names_the_file(path, data):
    assert refusal(path, data).startswith(f"{path}: (file)")


def test_load_deployment__not_an_object__is_refused(path):
    assert refusal(path, b"[]") == f"{path}: (file) = (list): input should be an object"


def test_load_deployment__unknown_key__suggests_the_known_one(path):
    document = DEPLOYMENT.model_dump_json().replace('"timelock"', '"timelok"')
    message = refusal(path, document.encode())
    assert f"{path}: timelok: unknown key (did you mean timelock?)" in message
    assert f"{path}: timelock: missing, and it has no default" in message


@pytest.mark.parametrize("wrong", ["0x12", ADDRESS[2:], ADDRESS + "0", "0x" + "g" * 40, ADDRESS + "\\n", ""])
def test_load_deployment__malformed_address__names_key_and_rule(path, wrong):
    message = refusal(path, DEPLOYMENT.model_dump_json().replace(ADDRESS, wrong, 1).encode())
    assert message.startswith(f"{path}: steward = ")
    assert "string should match pattern" in message


def test_load_deployment__address_of_a_contract__is_named_with_market_and_contract(path):
    document = json.loads(DEPLOYMENT.model_dump_json())
    document["markets"]["SPX"]["contracts"]["market"] = "0x"
    message = refusal(path, json.dumps(document).encode())
    assert message.startswith(f"{path}: markets.SPX.contracts.market = '0x': string should match")


@pytest.mark.parametrize(
    ("old", "new"), [("31337", "0"), ("31337", '"31337"'), ("31337", "31337.5"), ('block":0', 'block":-1')]
)
def test_load_deployment__number_of_a_wrong_kind__is_refused(path, old, new):
    message = refusal(path, DEPLOYMENT.model_dump_json().replace(old, new).encode())
    assert "input should be" in message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"threshold": 3}, "threshold 3 asks for more than the 2 signers"),
        ({"signers": [OTHER, ADDRESS]}, "signers must be strictly ascending"),
        ({"signers": [ADDRESS, ADDRESS.lower()]}, "signers must be strictly ascending"),
        ({"signers": []}, "signers = (list): list should have at least 1 item"),
        ({"governance": []}, "governance = (list): list should have at least 1 item"),
        ({"threshold": 0}, "threshold = 0: input should be greater than 0"),
        ({"code_hashes": {"steward": "0x12"}}, "code_hashes.steward = '0x12': string should match"),
    ],
)
def test_load_deployment__roles_that_cannot_be__are_refused(path, change, words):
    document = json.loads(DEPLOYMENT.model_dump_json()) | change
    assert words in refusal(path, json.dumps(document).encode())


# Markets that stand


def markets(tmp_path, text):
    path = tmp_path / "markets.toml"
    path.write_text(text)
    try:
        return load_markets(path)
    except ConfigError as error:
        return str(error).replace(f"{tmp_path}/", "")


def test_load_markets__contracts_keys_and_safe__are_read(tmp_path):
    text = (
        f'[markets.SPX]\nexecutor = "{OTHER}"\nkeys = {{ board = 7, live = true }}\ncontracts = {{ m = "{ADDRESS}" }}\n'
    )
    found = markets(tmp_path, text)["SPX"]
    assert (found.contracts, found.keys, found.executor) == ({"m": ADDRESS}, {"board": 7, "live": True}, OTHER)


MARKETS_REFUSED = {
    "unknown key": (
        "[markets.SPX]\nexecutr = 1",
        "markets.toml:2: markets.SPX.executr: unknown key (did you mean executor?)",
    ),
    "no contracts": ("[markets.SPX]\n", "markets.toml:1: markets.SPX.contracts: missing"),
    "wrong address": ('[markets.SPX.contracts]\nm = "0x12"', "markets.toml:2: markets.SPX.contracts.m = '0x12'"),
    "no market": ("[markets]\n", "markets.toml:1: markets = (table)"),
    "not TOML": ("[markets", "markets.toml: not valid TOML"),
}


@pytest.mark.parametrize("case", MARKETS_REFUSED)
def test_load_markets__file_is_wrong__names_line_key_and_rule(tmp_path, case):
    text, words = MARKETS_REFUSED[case]
    assert words in markets(tmp_path, text)


def test_load_markets__absent__is_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load_markets(tmp_path / "none.toml")


# Policies

LIMITS = {"minimum": 100, "maximum": 1_000, "max_step_up": 50, "max_step_down": 20, "cooldown_seconds": 60}


def limits_refusal(**changes):
    with pytest.raises(ValueError, match="validation error") as caught:
        Limits.model_validate(LIMITS | changes)
    return str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"initial": 100},
        {"initial": 1_000},
        {"minimum": 1_000},
        {"drift_budget": 50, "drift_window_seconds": 60},
        {"drift_budget": 900, "drift_window_seconds": MAX_SECONDS, "max_step_up": 5_000},  # the corridor is no wider
        {"relative": True, "max_step_up": 100, "max_step_down": 100},
        {
            "relative": True,
            "max_step_up": 20_000,
            "max_step_down": 10_000,
            "drift_budget": 200,
            "drift_window_seconds": 60,
        },
        {"relative": True, "max_step_up": 0, "max_step_down": 0},
        {"maximum": MAX_VALUE, "notice_seconds": MAX_SECONDS},
    ],
)
def test_limits__that_can_be_held__are_taken(changes):
    limits = Limits.model_validate(LIMITS | changes)
    assert all(getattr(limits, name) == value for name, value in changes.items())


LIMITS_REFUSED = {
    "corridor": ({"minimum": 1_001}, "minimum must not be above maximum, got 1001 and 1000"),
    "initial below": ({"initial": 99}, "initial must be in minimum..maximum, got 99"),
    "initial above": ({"initial": 1_001}, "initial must be in minimum..maximum, got 1001"),
    "too large": ({"maximum": MAX_VALUE + 1}, "less than or equal to"),
    "window in seconds": ({"drift_budget": 50, "drift_window_seconds": 90}, "multiple of 60"),
    "window alone": ({"drift_window_seconds": 60}, "go together: both above 0, or neither"),
    "budget alone": ({"drift_budget": 60}, "go together: both above 0, or neither"),
    "budget": (
        {"drift_budget": 49, "drift_window_seconds": 60},
        "must hold one whole step (50 at the minimum), got 49",
    ),
    "relative budget": (
        {"relative": True, "max_step_up": 5_000, "drift_budget": 49, "drift_window_seconds": 60, "max_step_down": 100},
        "must hold one whole step (50 at the minimum), got 49",
    ),
    "step down to nothing": ({"relative": True, "max_step_down": 10_001}, "at most 10000 basis points, got 10001"),
    "stuck": (
        {"relative": True, "max_step_down": 100, "max_step_up": 99},
        "99 basis points of minimum 100 are less than 1",
    ),
    "year": ({"notice_seconds": MAX_SECONDS + 1}, "less than or equal to"),
    "negative": ({"max_step_up": -1}, "greater than or equal to 0"),
}


@pytest.mark.parametrize("case", LIMITS_REFUSED)
def test_limits__that_cannot_be_held__are_refused_with_the_rule(case):
    changes, words = LIMITS_REFUSED[case]
    assert words in limits_refusal(**changes)


def test_load_policies__limits_that_contradict_each_other__names_file_and_line(tmp_path):
    binding = load_protocol("options_market", DEFAULT_SETTINGS)
    text = (PACKAGE / "policies" / "options_market.toml").read_text()
    path = tmp_path / "policies.toml"
    path.write_text(text.replace("drift_budget = 12_000", "drift_budget = 12"))
    line = text[: text.index("[limits.shocked_vol]")].count("\n") + 1
    with pytest.raises(ConfigError) as caught:
        load_policies(binding, path)
    assert f"policies.toml:{line}: limits.shocked_vol" in str(caught.value)
    assert "drift_budget must hold one whole step (2000 at the minimum), got 12" in str(caught.value)


@pytest.mark.parametrize(
    ("argument", "limit"),
    [("uint16", 2**16 - 1), ("int24", 2**23 - 1), ("uint120", 2**120 - 1)],
)
def test_load_policies__corridor_past_the_type_of_the_setters_argument__names_file_line_value_and_rule(
    tmp_path, argument, limit
):
    text = (PACKAGE / "protocols" / "options_market.toml").read_text()
    (tmp_path / "mine.toml").write_text(text.replace("uint256[6]", f"{argument}[6]"))
    binding = load_protocol("mine.toml", tmp_path / "keeper.toml")
    shipped = (PACKAGE / "policies" / "options_market.toml").read_text()
    line = shipped[: shipped.index("maximum = 25_000")].count("\n") + 1
    path = tmp_path / "policies.toml"
    path.write_text(shipped.replace("maximum = 25_000", f"maximum = {limit}"))
    assert load_policies(binding, path).limits["shocked_vol"].maximum == limit
    path.write_text(shipped.replace("maximum = 25_000", f"maximum = {limit + 1}"))
    with pytest.raises(ConfigError) as caught:
        load_policies(binding, path)
    rule = f"does not fit {argument}, its argument of set_parameters({argument}[6]) (binding options_market)"
    assert str(caught.value) == f"{path}:{line}: limits.shocked_vol.maximum = {limit + 1}: {rule}"


def test_load_policies__corridor_of_one_argument_of_many__is_held_against_that_one_alone(tmp_path):
    binding = loaded(RICH, tmp_path)
    limits = "maximum = 70_000\nminimum = 1\nmax_step_up = 1\nmax_step_down = 1\ncooldown_seconds = 0\n"
    path = tmp_path / "policies.toml"
    path.write_text("probation_seconds = 5\n" + "".join(f"[limits.{one.name}]\n{limits}" for one in binding.parameters))
    assert set(load_policies(binding, path).limits) == {"ray", "wad", "count", "days"}
    narrow = replaced(RICH, ('set_one(uint256,uint256)"\nargs = [1', 'set_one(uint8,uint16)"\nargs = [1'))
    with pytest.raises(ConfigError) as caught:
        load_policies(loaded(narrow, tmp_path), path)
    (told,) = str(caught.value).split("\n")
    assert "limits.days.maximum = 70000: does not fit uint16, its argument of set_one(uint8,uint16)" in told


def test_load_policies__window_that_is_no_whole_minutes__names_file_line_and_rule(tmp_path):
    binding = load_protocol("options_market", DEFAULT_SETTINGS)
    text = (PACKAGE / "policies" / "options_market.toml").read_text()
    path = tmp_path / "policies.toml"
    path.write_text(text.replace("drift_window_seconds = 604_800", "drift_window_seconds = 604_801", 1))
    line = text[: text.index("drift_window_seconds")].count("\n") + 1
    with pytest.raises(ConfigError) as caught:
        load_policies(binding, path)
    key = "limits.spot_shock_up.drift_window_seconds"
    assert f"policies.toml:{line}: {key} = 604801: input should be a multiple of 60" in str(caught.value)


@pytest.mark.parametrize("name", ["options_market", "lyra_v1"])
def test_policies__shipped__hold_and_budget_a_few_steps_a_week(name):
    policies = load_policies(load_protocol(name, DEFAULT_SETTINGS))
    for parameter, limits in policies.limits.items():
        assert 3 <= limits.drift_budget / limits.largest_step <= 14, parameter
        assert limits.drift_window_seconds == 7 * 86_400


def test_policies__of_the_reference_market__stay_within_the_16_bits_that_it_stores():
    policies = load_policies(load_protocol("options_market", DEFAULT_SETTINGS))
    assert max(limits.maximum for limits in policies.limits.values()) < 2**16


@pytest.mark.parametrize(
    "change", [{"threshold": 0}, {"threshold": 17}, {"timelock_delay_seconds": 0}, {"probation_seconds": 0}]
)
def test_policies__threshold_delay_or_probation_impossible__are_refused(change):
    document = tomllib.loads((PACKAGE / "policies" / "options_market.toml").read_text())
    with pytest.raises(ValueError, match=next(iter(change))):
        Policies.model_validate(document | change)
