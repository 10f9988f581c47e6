"""A binding that uses every kind of argument, and the means to change it line by line."""

from __future__ import annotations

import tomllib

import pytest

from config.errors import ConfigError
from config.load import DEFAULT_SETTINGS, load_protocol
from config.protocol import Protocol

SHIPPED = (DEFAULT_SETTINGS.parent / "protocols" / "options_market.toml").read_text()

RISK = "0x" + "ab" * 20
TOKEN = "0x" + "cd" * 20
ORACLE = "0x" + "0e" * 20
CONTRACTS = {"risk": RISK, "token": TOKEN, "oracle": ORACLE}
KEYS = {"board": 7, "asset": "0x" + "a5" * 32}

RICH = """\
name = "rich"
contracts = ["risk", "token", "oracle"]
keys = { board = "uint256", asset = "bytes32" }
invariants = ["ray * 0.8 <= wad", "count <= days"]

[[parameters]]
name = "ray"
unit = "ratio"
scale = 1e27
tightening = "up"
group = "ratios"
getter = { function = "get(uint256,bytes32)", args = ["$market.board", "$market.asset"], word = 3 }

[[parameters]]
name = "wad"
unit = "ratio"
scale = "1e18"
tightening = "down"
group = "ratios"
reversible = false
getter = { function = "get(uint256,bytes32)", args = ["$market.board", "$market.asset"], word = 1 }
effective = { function = "ramped()", word = 1 }

[[parameters]]
name = "count"
unit = "count"
scale = 1
tightening = "up"
getter = { contract = "oracle", function = "count(address)", args = ["$contract.token"] }

[[parameters]]
name = "days"
unit = "days"
scale = 1
tightening = "up"
getter = { contract = "oracle", function = "days()" }

[[setters]]
function = "set_pair(uint256,(uint256,uint128),bytes32)"
args = ["$market.board", ["$ray", "$wad"], { keccak = ["$market.asset", 5], types = ["bytes32", "uint8"] }]

[[setters]]
contract = "oracle"
function = "set_one(uint256,uint256)"
args = [0, "$count"]

[[setters]]
contract = "oracle"
function = "set_one(uint256,uint256)"
args = [1, "$days"]

[accounts.ids]
last = { contract = "token", function = "last_id()" }

[[accounts.lookups]]
contract = "token"
function = "position(uint256)"
args = ["$account"]
returns = ["uint8 state", "address", "uint256 series", "uint256 since", "int256 floor"]

[[accounts.lookups]]
function = "series(uint256)"
args = ["$account.series"]
returns = ["bytes32 feed"]

[accounts.open]
field = "state"
equals = 1

[health]
function = "surplus(uint256,bytes32,uint256)"
args = ["$account", "$account.feed", "$round"]
word = 1
liquidatable = "below"
threshold = "$account.floor"

[health.rounds]
latest = { contract = "oracle", function = "latest(bytes32)", args = ["$account.feed"] }
first = "$account.since"
max = 3

[price]
contract = "oracle"
function = "price(bytes32)"
args = ["$market.asset"]
scale = 1e8

[auctions]
event = "Started(uint256 indexed id, uint256 account, uint256 debt)"
account = "account"
id = "id"

[end_auction]
function = "end(uint256,uint256)"
args = ["$market.board", "$auction"]

[liquidation]
contract = "token"
function = "liquidate(uint256,uint256[])"
args = ["$account", ["$account.series", 9]]

[[limits]]
name = "largest-ray"
function = "largest()"
word = 2
"""


def replaced(text: str, *replacements: tuple[str, str]) -> str:
    for old, new in replacements:
        assert old in text, old
        text = text.replace(old, new, 1)
    return text


def loaded(text: str, folder) -> Protocol:
    (folder / "mine.toml").write_text(text)
    return load_protocol("mine.toml", folder / "keeper.toml")


def built(text: str = RICH, *replacements: tuple[str, str]) -> Protocol:
    return Protocol.model_validate(tomllib.loads(replaced(text, *replacements)))


def refused(text: str, folder) -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(text, folder)
    return str(caught.value).replace(f"{folder}/", "")
