"""The demonstration's page names its acts as the terminal does, and is no wider than the window that shows it."""

from __future__ import annotations

import re

import pytest

from config.load import DEFAULT_SETTINGS, load_protocol
from keeper.demo.report import Act, Day, write_html

NAMES = [parameter.name for parameter in load_protocol("options_market", DEFAULT_SETTINGS).parameters]
ACTS = [Act(f"act {number}", True, "as expected", "0" * 64, (), 918_183) for number in range(7)]
DAYS = [Day(f"2018-01-{day}", 2_800.0, 0.12, (1,) * len(NAMES), None, "no change") for day in (17, 18)]


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "report.html"
    write_html(path, ACTS, DAYS, NAMES, 1.0)
    return path.read_text()


def test_write_html__acts__carry_their_letters(page):
    assert re.findall(r"<td>\((\w)\) act (\d)</td>", page) == list(zip("abcdefg", "0123456", strict=True))


def test_write_html__tables__scroll_by_themselves_and_break_long_words(page):
    assert re.findall(r"(.*)\n<table", page) == ['<div class="wide">'] * 2
    assert re.search(r"\.acts td \{[^}]*overflow-wrap: anywhere", page)
