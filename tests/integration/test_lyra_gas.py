"""Measure what a change of Lyra v1 costs through the steward, and hold the figures in docs/bindings.md to it."""

from __future__ import annotations

import re

import pytest
from lyra_steward import change, message
from processes import ROOT

from chain.rpc import Rpc, head
from keeper.propose import rollback

pytestmark = pytest.mark.integration
pytest_plugins = ["lyra_chains"]

ROUNDS = 3
"""Changes made before one is measured: by then no storage slot is written for the first time."""
COOLDOWN = 43_320
"""A little above that of the policies, which counts from whole minutes."""
MINUTE = 60
PROBED = 4
ROW = re.compile(r"^\| (?P<what>[^|]+) \| (?P<gas>\d[\d,]*) \|$", re.MULTILINE)
SHARE = 0.02
"""What the figures may be off: averages that Lyra keeps cost a little more or less each time."""


def figures():
    """Return the table of docs/bindings.md: gas by what it is for."""
    text = (ROOT / "docs" / "bindings.md").read_text()
    table = text[text.index("gas of a transaction on anvil") :]
    return {row["what"]: int(row["gas"].replace(",", "")) for row in ROW.finditer(table)}


class Bench:
    """A market of Lyra under the steward, to be changed again and again."""

    def __init__(self, guarded, market):
        self.guarded, self.market = guarded, market

    async def state(self):
        return await self.market.state(await head(self.market.rpc))

    async def loosen(self, probed):
        """Loosen all eight values by one unit; return the gas."""
        self.guarded.pass_time(COOLDOWN)
        state, binding = await self.state(), self.guarded.protocol
        pairs = zip(binding.parameters, state.values, strict=True)
        values = {one.name: value - 1 if one.tightening == "up" else value + 1 for one, value in pairs}
        proposal = change(binding, state, **values)
        return self.guarded.send(message(self.market, state, proposal, probed=probed), "apply")["gasUsed"]

    async def roll_back(self):
        """Undo the last change, which was made a minute ago; return the gas."""
        self.guarded.pass_time(MINUTE)
        state = await self.state()
        back = rollback(state, "a test says so", "0x" + "02" * 32, state.block.timestamp, 600)
        assert len(back.changes) == len(state.values)
        return self.guarded.send(message(self.market, state, back, probed=0), "rollback")["gasUsed"]

    async def set_alone(self):
        """Return the gas of the setter itself, called by the steward's address as an owner without a steward would."""
        lyra, owner = self.guarded.lyra, self.guarded.deployment.steward
        lyra.ask("anvil_impersonateAccount", owner)
        lyra.ask("anvil_setBalance", owner, hex(10**18))
        values = [value - 1 for value in (await self.state()).values]
        return lyra.send(lyra["OptionGreekCache"].functions.setMinCollateralParameters(values), owner)["gasUsed"]


async def test_gas__lyra_in_steady_state__is_what_the_page_says(guarded):
    async with Rpc(guarded.lyra.url) as rpc:
        bench = Bench(guarded, guarded.market(rpc))
        for _ in range(ROUNDS):
            await bench.loosen(0)
            await bench.roll_back()
        await bench.loosen(0)
        measured = {
            "all eight values changed, no account probed": await bench.loosen(0),
            "the same, four accounts probed": await bench.loosen(PROBED),
            "rollback of all eight, no account probed": await bench.roll_back(),
            "`setMinCollateralParameters` by its owner, without a steward": await bench.set_alone(),
        }
    shown = figures()
    assert shown == {what: pytest.approx(gas, rel=SHARE) for what, gas in measured.items()}, measured
