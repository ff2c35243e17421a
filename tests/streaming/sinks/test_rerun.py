"""What Rerun's viewer gets."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sam_edge.errors import InputError, MissingExtraError, OutputError
from sam_edge.streaming.sinks.rerun import (
    LABELS,
    label_image,
    rerun_file_sink,
    rerun_viewer_sink,
    viewer_address,
)
from tests.streaming.sinks.made import FRAME_NS, WH, masks, part, result

WHY = "rerun-sdk is not installed: it is 650 MB"


def test_masks_are_labels_of_their_freshness() -> None:
    labels = label_image([result(0, freshness="stale"), result(0, "no_gaze")], 1.0)
    assert labels is not None
    assert ((labels == LABELS["stale"]) == masks().binary[0]).all()
    half = label_image([result(0)], 0.5)
    assert half is not None
    assert half.shape == (32, 64)
    assert set(np.unique(half)) == {0, LABELS["fresh"]}
    assert label_image([result(0, "no_gaze")], 1.0) is None


def test_a_viewers_address() -> None:
    assert viewer_address("rerun:jetson.local:9876") == ("jetson.local", 9876)
    assert viewer_address("rerun:")[0] == "127.0.0.1"


@pytest.mark.parametrize("name", ["rerun:here", "rerun::9876", "rerun:here:0", "rerun:here:x", "rerun:a/b:1"])
def test_what_is_no_address(name: str) -> None:
    with pytest.raises(InputError, match="rerun:HOST:PORT"):
        viewer_address(name)


def test_the_missing_library_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rerun", None)
    path = str(tmp_path / "a.rrd")
    with pytest.raises(MissingExtraError, match=r"sam-edge\[rerun\]"), rerun_file_sink(path, WH, 25.0):
        pytest.fail("opened")


def test_a_file_that_rerun_reads(tmp_path: Path) -> None:
    pytest.importorskip("rerun", reason=WHY)
    path = tmp_path / "out.rrd"
    with rerun_file_sink(str(path), WH, 25.0) as sink:
        sink.write(part(0, [result(0), result(1, "no_gaze")], last=False))
        sink.write(part(0))
        sink.write(part(1, [result(FRAME_NS, freshness="carried", object_id=2)]))
    done = subprocess.run(
        [sys.executable, "-m", "rerun_cli", "rrd", "stats", str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    for entity in ("/camera:", "/camera/mask:", "/camera/gaze:", "/ages/pixels:", "/stages/decode:"):
        assert entity in done.stdout
    assert [file.name for file in tmp_path.iterdir()] == ["out.rrd"]


def test_no_viewer_is_said_before_the_run() -> None:
    pytest.importorskip("rerun", reason=WHY)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        # Bound and not listening: nobody can connect.
        name = f"rerun:127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(OutputError, match="no viewer listens"), rerun_viewer_sink(name, WH, 25.0):
            pytest.fail("opened")
