"""The viewer's decoder is timed in a real browser."""

from __future__ import annotations

import shutil

import pytest
from click.testing import CliRunner

pytest.importorskip("playwright.sync_api", reason="playwright drives the browser")
pytest.importorskip("aiohttp", reason="the page's headers stand beside its server")

from sam_edge.benchmarks.speed.browser import main, measure


@pytest.mark.skipif(shutil.which("chromium") is None, reason="Debian's chromium is not installed")
def test_a_prompt_is_timed_from_question_to_mask() -> None:
    found = measure("nano", (320, 240), 3, "chromium")
    ms = found["ms"]
    assert ms["whole"]["median"] > ms["decode"]["median"] > 0
    assert ms["masks"]["median"] >= 0


def test_a_missing_browser_is_one_line() -> None:
    result = CliRunner().invoke(main, ["--chromium", "no-such-browser"])
    assert result.exit_code == 2
    assert "apt-get install chromium" in result.output
