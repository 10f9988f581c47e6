"""What a check found is said with its place and remedy, and only a failure keeps the keeper from starting."""

from __future__ import annotations

import pytest
from rich.console import Console

from config.errors import ConfigError
from keeper.findings import Report, failed, noted, passed, render

REPORT = Report(
    (
        passed("SPX", "views answer", "3 of 3"),
        noted("SPX", "market logs Opened", "its code has not", "mine.toml:7"),
        failed("SPX", "health answers", "refused", "mend it", "mine.toml:9"),
    )
)


def shown(report, width=200):
    console = Console(width=width)
    with console.capture() as capture:
        for renderable in render(report):
            console.print(renderable, soft_wrap=True)
    return capture.get().splitlines()


def test_render__note_with_a_line__is_told_with_it_before_the_failures():
    *_, note, failure, summary = shown(REPORT)
    assert note == "mine.toml:7: SPX: market logs Opened: its code has not"
    assert failure == "mine.toml:9: SPX: health answers: refused; mend it"
    assert summary == "1 of 3 checks failed"


def test_render__terminal_of_80_columns__keeps_addresses_whole():
    steward = "0x" + "ab" * 20
    finding = failed("SPX", f"the protocol takes settings from {steward}", f"{steward} refuses it", f"ask {steward}")
    first, *_ = shown(Report((finding,)), width=80)
    assert first == f"failed  SPX: the protocol takes settings from {steward}: {steward} refuses it"


def test_render__notes_alone__pass():
    *_, note, summary = shown(Report(REPORT.findings[:2]))
    assert (note[:11], summary) == ("mine.toml:7", "all checks passed")


def test_require__failure__raises_its_sentence_and_no_note():
    with pytest.raises(ConfigError) as caught:
        REPORT.require()
    assert str(caught.value) == REPORT.findings[2].sentence()
    Report(REPORT.findings[:2]).require()
