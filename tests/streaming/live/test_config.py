"""Thresholds from TOML."""

from __future__ import annotations

from pathlib import Path

import pytest

from sam_edge.errors import InputError
from sam_edge.streaming.live.config import StreamConfig


def read(tmp_path: Path, text: str) -> StreamConfig:
    path = tmp_path / "stream.toml"
    path.write_text(text)
    return StreamConfig.read(path)


def test_what_a_file_leaves_out_has_its_default(tmp_path: Path) -> None:
    assert read(tmp_path, "") == StreamConfig()
    config = read(
        tmp_path, "[gaze]\nnoise_deg = 0.4\n[freshness]\nmax_age_ms = 250\n[budget]\nmax_power_w = 7.5\n"
    )
    assert config.gaze.noise_deg == 0.4
    assert config.freshness.max_age_ms == 250
    assert config.budget.max_power_w == 7.5
    assert config.scheduler == StreamConfig().scheduler


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("gaze = 3", "gaze"),
        ("[gazes]\nnoise_deg = 1", "gazes"),
        ("[scheduler]\nrefreshes = 1", "scheduler.refreshes"),
        ('[scheduler]\nrefresh_s = "soon"', "scheduler.refresh_s"),
        ("[scheduler]\nrefresh_s = nan", "scheduler.refresh_s"),
        ("[scheduler]\nrefresh_s = true", "scheduler.refresh_s"),
        ("[gaze]\nnoise = 1", "noise"),
        ("[choice]\nmemory = -1", "memory"),
        ("[gaze", "not TOML"),
    ],
)
def test_what_there_is_not_is_named(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path, text)
    assert named in caught.value.what


def test_files_that_are_none(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere.toml"):
        with pytest.raises(InputError) as caught:
            StreamConfig.read(path)
        assert caught.value.path == str(path)
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError):
        StreamConfig.read(binary)
