"""Change a line of a binding that fits, and see that the check names the difference and the line."""

from __future__ import annotations

import json

import pytest
from checks import BINDING, POLICIES, SWAPPED, line_of, put_policy
from setups import STRANGER, settings_file
from trials import MARKET

from chain.anvil import KEYS
from config.load import load_protocol
from keeper.findings import Finding, Verdict
from keeper.terminal import EXIT_USAGE
from keeper.trial import write_deployment

pytestmark = pytest.mark.integration
pytest_plugins = ["chains", "bare_chains", "check_chains"]

# Binding against contracts


def test_examine__setter_that_does_not_exist__names_file_and_line(checked):
    report = checked(("set_parameters(uint256[6])", "set_all_parameters(uint256[6])"))
    failure = next(one for one in report.failures if one.check == "the functions exist")
    assert failure.detail == "market has no set_all_parameters(uint256[6])"
    assert failure.where == f"binding.toml:{line_of(BINDING, '[[setters]]')}"


def test_examine__getter_that_does_not_exist__is_named_with_its_parameter(checked):
    report = checked(
        ('getter = { function = "parameters()", word = 2', 'getter = { function = "parameter()", word = 2')
    )
    found = {failure.check: failure for failure in report.failures}
    line = f"binding.toml:{line_of(BINDING, 'word = 2')}"
    assert found["the functions exist"].where == found["the views answer"].where == line
    assert "shocked_vol.getter: parameter() is refused" in found["the views answer"].detail


def test_examine__word_past_the_answer__is_named_with_its_line(checked):
    report = checked(
        ('getter = { function = "parameters()", word = 5', 'getter = { function = "parameters()", word = 6')
    )
    failure = next(one for one in report.failures if one.check == "the views answer")
    assert "liquidation_penalty" in failure.detail
    assert failure.where == f"binding.toml:{line_of(BINDING, 'word = 5')}"


def test_examine__limits_of_the_protocol__are_read_and_shown(checked):
    report = checked(("[price]", '[[limits]]\nname = "ramp"\nfunction = "ramp_duration()"\n\n[price]'))
    shown = next(one for one in report.findings if one.check == "limit ramp")
    assert (shown.verdict, shown.detail) == (Verdict.OK, str(POLICIES.ramp_seconds))


# Setters against getters


@pytest.fixture
def swapped(bare, deployed, world, as_timelock, tmp_path):
    """Put a policy into force that was made of a binding with two arguments of its setter exchanged."""
    (tmp_path / "swapped.toml").write_text(BINDING.replace(*SWAPPED))
    put_policy(bare, deployed, world, as_timelock, binding=load_protocol("swapped.toml", tmp_path / "keeper.toml"))


def set_shocks(bare, world, up, down):
    """Let the owner set both shocks behind the steward."""
    owner, market, steward = bare.deployer.address, world["market"], world["steward"].address
    bare.act(owner, market, "set_parameter_setter", owner)
    bare.act(owner, market, "set_parameters", [up, down, *market.functions.parameters().call()[2:]])
    bare.act(owner, market, "set_parameter_setter", steward)


@pytest.mark.usefixtures("swapped")
def test_examine__two_arguments_of_a_setter_exchanged__names_both_values_and_the_line(bare, world, checked):
    set_shocks(bare, world, 1_000, 900)
    found = checked(SWAPPED).failures
    assert {one.check for one in found} == {"the setters write what the getters read"}
    assert [one.detail for one in found] == [
        "spot_shock_up is 1000, and 900 once all live values were written",
        "spot_shock_down is 900, and 1000 once all live values were written",
    ]
    assert {one.where for one in found} == {f"binding.toml:{line_of(BINDING, 'args = [[')}"}


@pytest.mark.usefixtures("swapped")
def test_examine__two_equal_values_exchanged__names_what_moved_instead(bare, world, checked):
    set_shocks(bare, world, 1_000, 1_000)
    assert [one.detail for one in checked(SWAPPED).failures] == [
        "spot_shock_up +1: spot_shock_down moved by +1",
        "spot_shock_up -1: spot_shock_down moved by -1",
        "spot_shock_down +1: spot_shock_up moved by +1",
        "spot_shock_down -1: spot_shock_up moved by -1",
    ]


@pytest.mark.usefixtures("swapped")
def test_examine__setter_role_elsewhere__is_rehearsed_from_there(bare, world, checked):
    bare.act(bare.deployer.address, world["market"], "set_parameter_setter", STRANGER)
    checks = {one.check for one in checked(SWAPPED).failures}
    assert "the setters write what the getters read" in checks
    assert f"the protocol takes settings from {world['steward'].address}" in checks


def test_examine__setter_that_nobody_may_call__does_not_ask_for_a_handover(bare, world, checked):
    report = checked(("set_parameters(uint256[6])", "set_all_parameters(uint256[6])"))
    failure = next(one for one in report.failures if one.check.startswith("the protocol takes settings from"))
    accounts = f"{world['steward'].address} and {bare.deployer.address}"
    assert failure.remedy.startswith(f"it refuses these calls from {accounts} as well: mend the binding's setter")


def test_examine__value_at_the_edge_of_its_corridor_and_an_invariant__moves_the_other_way(bare, world, checked):
    lowest, highest = POLICIES.limits["spot_shock_up"].minimum, POLICIES.limits["spot_shock_down"].maximum
    set_shocks(bare, world, lowest, highest)
    assert checked().ok


def test_examine__parameter_without_room_in_its_corridor__is_moved_all_the_same(
    bare, deployed, world, checked, as_timelock, tmp_path
):
    """The corridor is the steward's: to write past it on a copy of the chain harms nobody."""
    set_shocks(bare, world, 1_000, 1_000)
    (tmp_path / "swapped.toml").write_text(BINDING.replace(*SWAPPED))
    binding = load_protocol("swapped.toml", tmp_path / "keeper.toml")
    fixed = {
        name: POLICIES.limits[name].model_copy(update={"minimum": 1_000, "maximum": 1_000})
        for name in ("spot_shock_up", "spot_shock_down")
    }
    put_policy(bare, deployed, world, as_timelock, binding=binding, limits=fixed)
    assert "spot_shock_up +1: spot_shock_down moved by +1" in [one.detail for one in checked(SWAPPED).failures]


def test_examine__parameter_that_cannot_be_moved__is_noted_by_name_with_reason_and_line(bare, world, checked):
    set_shocks(bare, world, 1_000, 1_000)
    tied = 'invariants = ["spot_shock_up <= spot_shock_down", "spot_shock_down <= spot_shock_up"]'
    findings = checked(('invariants = ["liquidation_threshold <= maintenance_factor"]', tied)).findings
    found = [one for one in findings if one.check == "the setters write what the getters read"]
    assert [one.verdict for one in found] == [Verdict.NOTE, Verdict.NOTE, Verdict.OK]
    assert found[0].detail.startswith("spot_shock_up was not tried, it is not known what its setter writes: spot_shock")
    assert found[0].where == f"binding.toml:{line_of(BINDING, 'args = [[')}"
    assert found[2].detail.startswith("4 parameters were moved by one unit")


def test_examine__same_contract_under_two_names__fails(deployed, world, checked):
    twins = dict.fromkeys((MARKET, "TWIN"), deployed.markets[MARKET])
    report = checked(names=tuple(twins), markets=twins)
    (failure,) = [one for one in report.failures if one.check == "no other market writes its settings"]
    assert failure.subject == "TWIN"
    assert failure.detail.startswith(
        f"setter set_parameters(uint256[6]) of {world['market'].address} is that of SPX too"
    )


# At the start


def test_once__binding_does_not_fit__says_the_same_as_check_with_file_and_line(command, deployed, bare, tmp_path):
    write_deployment(tmp_path / "deployment.json", deployed)
    text = BINDING.replace("liquidatable_after_ramp", "liquidatable").replace("end_auction(address)", "end(address)")
    (tmp_path / "mine.toml").write_text(text)
    config = settings_file(tmp_path, bare.url, "mine.toml")
    document = json.loads(command("check", "-c", config, "--json", key=KEYS[1]).out)
    told = [Finding(**finding).sentence() for finding in document["findings"] if finding["verdict"] == "failed"]
    ended = command("once", "-c", config, key=KEYS[1])
    assert ended.code == EXIT_USAGE
    assert ended.err.splitlines() == [f"error: {told[0]}", *told[1:]]
    for table in ("[health]", "[end_auction]"):
        assert any(sentence.startswith(f"{tmp_path / 'mine.toml'}:{line_of(text, table)}: SPX: ") for sentence in told)


# Binding against the stored policy


def test_examine__words_of_two_parameters_exchanged__both_differ_from_the_policy(checked):
    getter = 'getter = {{ function = "parameters()", word = {} }}'
    report = checked(*((getter.format(old), getter.format(new)) for old, new in ((5, 9), (4, 5), (9, 4))))
    found = [one for one in report.failures if one.check == "the stored policy is the binding's"]
    names = ("liquidation_threshold", "liquidation_penalty")
    assert [one.detail.split(" is read from ")[0] for one in found] == list(names)
    assert [one.where for one in found] == [f"binding.toml:{line_of(BINDING, getter.format(word))}" for word in (4, 5)]


BINDING_DIFFERS = {
    "group": ('group = "liquidation"', 'group = "shocks"', "group is stored as"),
    "tightening": (
        'tightening = "up"\ngetter = { function = "parameters()", word = 5',
        'tightening = "down"\ngetter = { function = "parameters()", word = 5',
        "liquidation_penalty: tightening is stored as up, not down",
    ),
    "reversible": (
        'unit = "bps"',
        'unit = "bps"\nreversible = false',
        "spot_shock_up: reversible is stored as True, not False",
    ),
    "invariant": (
        "liquidation_threshold <= maintenance_factor",
        "liquidation_threshold * 2 <= maintenance_factor",
        "does not hold",
    ),
    "health": ("liquidatable_after_ramp(address)", "health(address)", "health is probed by"),
    "setter": ("set_parameters(uint256[6])", "set_all(uint256[6])", "which the binding does not"),
    "arguments": (
        '[[\n  "$spot_shock_up",\n  "$spot_shock_down"',
        '[[\n  "$spot_shock_down",\n  "$spot_shock_up"',
        "($1, $0, $2",
    ),
}


@pytest.mark.parametrize("case", BINDING_DIFFERS)
def test_examine__binding_is_not_the_policys__names_the_difference_and_the_line(checked, case):
    old, new, words = BINDING_DIFFERS[case]
    found = [one for one in checked((old, new)).failures if one.check == "the stored policy is the binding's"]
    assert any(words in one.detail for one in found), found
    assert all(one.where.startswith("binding.toml:") for one in found)
