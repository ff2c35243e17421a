"""Progress on a terminal and elsewhere."""

from __future__ import annotations

import io
import sys

import pytest

from sam_edge.cli.progress import Lines, progress


class Terminal(io.StringIO):
    """Says that it is one."""

    def isatty(self) -> bool:
        return True


def test_elsewhere_a_step_is_a_line_and_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    with progress() as bar:
        bar.show("one", 0.0)
        bar.show("one", 0.5)
        bar.advance()
        bar.say("two")
        bar.show("one", 1.0)
    assert capsys.readouterr() == ("", "one\ntwo\none\n")


def test_elsewhere_a_long_step_says_now_and_then_how_far_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    now_s = 0.0
    lines = Lines(lambda: now_s)
    for done in range(100):
        now_s += 0.3
        lines.show("masking", done / 100)
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "masking"
    # 30 seconds.
    assert 4 <= len(said) - 1 <= 6
    assert all(line.startswith("masking ") and line.endswith("%") for line in said[1:])


def test_on_a_terminal_a_bar_grows_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress(4) as bar:
        bar.say("reading")
        bar.advance(2)
        halfway = terminal.getvalue()
        bar.show("writing", 1.0)
    assert "50%" in halfway
    assert "reading" in halfway
    assert "100%" in terminal.getvalue()
    assert "writing" in terminal.getvalue()
