"""What holds at the edges: of the time that can be remembered, and of how often a getter is asked."""

import boa
from policies import selector

# The steward remembers minutes in 26 bits.
LAST_SECOND = 60 * (2**26 - 1)


def test_apply__last_second_that_can_be_remembered__is_remembered(guard):
    boa.env.timestamp = LAST_SECOND
    guard.apply({3: 650})
    assert (guard.state().states[0] >> (42 * 3 + 16)) & (2**26 - 1) == 2**26 - 1


def test_apply__second_that_cannot_be_remembered__reverts(refused):
    boa.env.timestamp = LAST_SECOND + 1
    refused("risk_steward: time out of range", {3: 650})


def test_rebase__second_that_does_not_fit__reverts_and_the_one_before_succeeds(guard):
    boa.env.timestamp = 2**32 - 1
    guard.steward.rebase(guard.market, sender=guard.governance)
    assert guard.state().applied_at == 2**32 - 1


def test_market_state__parameters_that_share_a_getter__are_read_with_one_call(guard):
    guard.state()
    called = [bytes(child.msg.data)[:4] for child in guard.steward._computation.children]
    assert called.count(selector("all_knobs()")) == 1
    assert called.count(selector("knob(uint256)")) == 2
