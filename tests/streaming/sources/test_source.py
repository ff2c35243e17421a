"""Opening a source by its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from sam_edge.errors import InputError
from sam_edge.streaming.sources.source import SOURCES, open_source


@pytest.mark.parametrize("name", ["rstp://camera/live", "nope:3", "ftp://host/clip.mp4"])
def test_a_wrong_scheme_says_which_there_are(name: str) -> None:
    with pytest.raises(InputError) as error:
        open_source(name)
    assert all(key in str(error.value) for key in SOURCES if key.endswith(":"))


def test_a_file_with_a_colon_in_its_name_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("take:3.mp4").write_bytes(b"")
    with pytest.raises(InputError, match="empty"):
        open_source("take:3.mp4")


@pytest.mark.parametrize(
    "name",
    ["0?size=big", "0?fps=0", "0?fps=nan", "0?format=PNG", "/dev/video0?sise=1x1", "0?fps=1&fps=2", "0?fps"],
)
def test_a_wrong_option_is_named(name: str) -> None:
    with pytest.raises(InputError) as error:
        open_source(name)
    assert name in str(error.value)


@pytest.mark.parametrize("name", ["0", "rtsp://127.0.0.1:9/live", "http://127.0.0.1:9/", "gst:videotestsrc"])
def test_live_sources_have_a_rate_of_their_own(name: str) -> None:
    with pytest.raises(InputError, match="rate of its own"):
        open_source(name, rate_hz=10)
