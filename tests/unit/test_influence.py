"""What moved the targets is told input by input, and the parts add up to the whole."""

import math

import pytest
from builders import NOW, assessment, binding, market_state, vol

from config.schema import ProposeSettings
from keeper.deliberation import PROPOSED, deliberation
from keeper.influence import INPUTS, SETTINGS, account_of, targets_of
from keeper.propose import Stay, plan
from keeper.targets import parameter_targets
from models.forecaster import Tail

RULES = ProposeSettings()
BEFORE = assessment(vol_rise=0.1)
VOL = 2


def considered(found=BEFORE, rules=RULES, **changes):
    state = market_state(**changes)
    return deliberation(plan(found, state, binding(), rules, NOW), found, state, binding(), rules)


def accounted(now, rules=RULES, before_rules=None):
    return account_of(BEFORE, now, considered().parameters, rules, before_rules)


def moves(account, name):
    return next(one.moves for one in account.influences if one.name == name)


def test_targets_of__journalled_rows__are_the_targets_that_were_journalled():
    rows = considered().parameters
    assert targets_of(BEFORE, rows, RULES) == parameter_targets(BEFORE, binding(), RULES)
    assert targets_of(BEFORE, rows, RULES) == {row.id: row.target for row in rows if row.role}


def test_account__nothing_changed__moves_nothing():
    account = accounted(BEFORE)
    assert not any(any(one.moves.values()) for one in account.influences)
    assert set(account.remainder.values()) == {0}


def test_account__volatility_alone__moves_the_shocked_vol_alone():
    account = accounted(assessment(vol=vol(0.2), vol_rise=0.1))
    assert moves(account, "implied volatility") == {
        0: 0,
        1: 0,
        VOL: math.ceil(12_500 * 0.2 * math.exp(0.1)) - math.ceil(12_500 * 0.144 * math.exp(0.1)),
        3: 0,
        4: 0,
    }
    assert set(account.remainder.values()) == {0}


def test_account__volatility_and_its_rise__leave_what_they_do_together():
    account = accounted(assessment(vol=vol(0.288), vol_rise=0.1 + math.log(2)))
    calm = 12_500 * 0.144 * math.exp(0.1)
    assert moves(account, "implied volatility")[VOL] == moves(account, "its daily rise, 99 %")[VOL]
    assert account.remainder[VOL] == pytest.approx(calm, abs=2)


@pytest.mark.parametrize(
    "now",
    [
        assessment(published=(-0.03, 0.01), raw=(-0.08, 0.01), vol=vol(0.4)),
        assessment(raw=(-0.01, 0.09), vol_rise=-0.2, tail=Tail((-0.03, -0.02, -0.01, 0.09, 0.1, 0.2), -0.02, 0.12)),
    ],
)
def test_account__many_inputs__sum_with_the_remainder_to_the_whole_way(now):
    account = accounted(now)
    for index in account.now:
        parts = sum(one.moves[index] for one in account.influences) + account.remainder[index]
        assert account.before[index] + parts == account.now[index]
    assert account.before != account.now


def test_account__other_settings__are_an_influence_of_their_own():
    account = accounted(BEFORE, ProposeSettings(vol_multiple=2.5), RULES)
    assert moves(account, SETTINGS)[VOL] == account.now[VOL] - account.before[VOL] > 0
    assert SETTINGS not in {one.name for one in accounted(BEFORE).influences}


def test_inputs__each__is_read_from_what_it_was_put_into():
    now = assessment(
        published=(-0.03, 0.01),
        raw=(-0.08, 0.01),
        vol=vol(0.4),
        vol_rise=0.3,
        tail=Tail((-0.03, -0.02, -0.01, 0.09, 0.1, 0.2), -0.02, 0.12),
    )
    for one in INPUTS:
        assert one.read(one.put(BEFORE, now)) == one.read(now) != one.read(BEFORE)


def test_deliberation__calm_market__has_a_reason_for_every_parameter():
    told = considered(assessment())
    assert [row.code for row in told.parameters] == [Stay.WITHIN_DEAD_BAND] * 5 + [Stay.NOT_TUNED]
    assert [row.name for row in told.parameters] == [row.name for row in binding().parameters]
    assert [row.before for row in told.parameters] == [None] * 6


def test_deliberation__moved_parameters__are_the_plan_s_own():
    found = assessment(vol=vol(0.3))
    told = considered(found)
    changes = plan(found, market_state(), binding(), RULES, NOW).changes
    assert {row.id: row.proposed for row in told.parameters if row.code == PROPOSED} == {
        change.id: change.value for change in changes if change.value != market_state().values[change.id]
    }
    assert told.settings["dead_band"] == RULES.dead_band
