"""Every worked example of docs/bindings.md is a valid part of a binding, and the page names every key of the schema."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from bindings import RICH

from config.accounts import (
    AccountIds,
    Accounts,
    AccountsView,
    Auctions,
    Health,
    LoggedEvent,
    Lookup,
    OpenCondition,
    Rounds,
)
from config.calls import Function, Getter
from config.protocol import Limit, Parameter, Price, Protocol, Setter

PAGE = (Path(__file__).parents[2] / "docs" / "bindings.md").read_text()
EXAMPLES = dict(re.findall(r"### ([^\n]+)\n(?:(?!###)[\s\S])*?```toml\n([\s\S]*?)```", PAGE))
TABLES = [
    *[Accounts, AccountIds, AccountsView, Auctions, Function, Getter, Health, Limit, LoggedEvent, Lookup],
    *[OpenCondition, Parameter, Price, Protocol, Rounds, Setter],
]
BASE = tomllib.loads(RICH)
BASE = {key: BASE[key] for key in ("name", "contracts", "keys", "parameters", "setters", "price")} | {
    "accounts": {"ids": {"last": {"function": "last()"}}},
    "health": {"function": "bad(uint256)", "args": ["$account"], "liquidatable": "true"},
}


def test_page__has_examples():
    assert len(EXAMPLES) == 8


@pytest.mark.parametrize("title", EXAMPLES)
def test_page__example__is_a_valid_part_of_a_binding(title):
    Protocol.model_validate(BASE | tomllib.loads(EXAMPLES[title]))


def test_page__invariant_example__means_what_the_page_says():
    binding = Protocol.model_validate(BASE | tomllib.loads(EXAMPLES["Invariants across scales"]))

    def holds(initial: int, maintenance: int) -> bool:
        values = (initial, maintenance)
        return all(values[a] * factor_a <= values[b] * factor_b for a, factor_a, b, factor_b in binding.inequalities())

    ray = 10**27
    assert holds(8 * ray // 10, 8_000)
    assert holds(12 * ray // 10, 8_000)
    assert not holds(8 * ray // 10 - 1, 8_000)
    assert not holds(12 * ray // 10 + 1, 8_000)


@pytest.mark.parametrize("table", TABLES)
def test_page__every_key_of_the_schema__is_named(table):
    schema = PAGE[: PAGE.index("## Worked examples")]
    for key in table.model_fields:
        assert re.search(rf"`{key}`|\[(?:\w+\.)?{key}\]", schema), key
