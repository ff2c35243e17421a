"""Finding what opens a name."""

from __future__ import annotations

from pathlib import Path

import pytest

from sam_edge.streaming.openers import find_opener

TABLE = {
    "-": "builtins:abs",
    "scene:": "builtins:all",
    "0": "builtins:any",
    "/dev/video": "builtins:bin",
    "/": "builtins:dict",
    ".mp4": "builtins:float",
    "": "builtins:int",
}


@pytest.mark.parametrize(
    ("name", "opener"),
    [
        ("-", abs),
        ("scene:7", all),
        ("scene:/dev/video0", all),
        ("0", any),
        ("12?fps=30", any),
        ("/dev/video0", bin),
        ("/dev/video0?size=1280x720", bin),
        ("folder", dict),
        ("folder?fps=10", dict),
        ("clip.MP4", float),
        ("clip.avi", int),
        ("0.avi", int),
        ("", int),
    ],
)
def test_a_name_finds_its_opener(
    name: str, opener: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    assert find_opener(name, TABLE) is opener


def test_what_no_key_fits_finds_nothing() -> None:
    assert find_opener("0", {".mp4": "builtins:float"}) is None
