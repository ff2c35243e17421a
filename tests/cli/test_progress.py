"""Progress on a terminal and elsewhere."""

from __future__ import annotations

import io
import sys

import pytest

from sam_edge.cli.progress import lines, progress
from sam_edge.progress import part_of


class Terminal(io.StringIO):
    """Says that it is one."""

    def isatty(self) -> bool:
        return True


def test_elsewhere_a_step_is_a_line_and_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    with progress() as show:
        show("one", 0.0)
        show("one", 0.5)
        show("one")
        show("two")
        show("one", 1.0)
    assert capsys.readouterr() == ("", "one\ntwo\none\n")


def test_elsewhere_a_long_step_says_now_and_then_how_far_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    now_s = 0.0
    show = lines(lambda: now_s)
    for done in range(100):
        now_s += 0.3
        show("masking", done / 100)
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "masking"
    # 30 seconds.
    assert 4 <= len(said) - 1 <= 6
    assert all(line.startswith("masking ") and line.endswith("%") for line in said[1:])


def test_on_a_terminal_a_bar_grows_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress() as show:
        show("reading", 0.5)
        show("reading")
        show("reading", 0.4)  # never back
        halfway = terminal.getvalue()
        show("writing", 1.0)
    assert "50%" in halfway
    assert "40%" not in halfway
    assert "reading" in halfway
    assert "100%" in terminal.getvalue()
    assert "writing" in terminal.getvalue()


def test_a_part_takes_its_share_of_the_whole() -> None:
    shown: list[tuple[str, float | None]] = []

    def whole(step: str, done: float | None = None) -> None:
        shown.append((step, done))

    part_of(whole, 0.25, 0.75)("own words", 0.5)
    part_of(whole, 0.25, 0.75, "the whole's words")("own words")
    part_of(part_of(whole, 0.5, 1.0), 0.5, 1.0)("within", 1.0)
    assert shown == [("own words", 0.5), ("the whole's words", None), ("within", 1.0)]
