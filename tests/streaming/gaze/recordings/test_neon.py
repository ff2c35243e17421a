"""Exports of Neon and Invisible: pixels of the right camera, blinks, and the video's own zero."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from sam_edge.errors import InputError
from sam_edge.streaming.gaze.clock import choose_clock, to_frame_clock
from sam_edge.streaming.gaze.recordings.csv import read_gaze_csv
from sam_edge.streaming.gaze.recordings.neon import read_neon
from sam_edge.streaming.gaze.sample import GazeSample
from sam_edge.streaming.sources.source import SourceInfo

HEADER = (
    "section id,recording id,timestamp [ns],gaze x [px],gaze y [px],worn,fixation id,blink id,"
    "azimuth [deg],elevation [deg]\n"
)
T0 = 1_760_676_790_466_000_123
NEON, INVISIBLE = (1600, 1200, 890.0), (1088, 1080, 766.0)


def row(
    t_ns: int, x_px: float, y_px: float, *, worn: str = "1.0", blink: str = "", recording: str = "r1",
    camera: tuple[int, int, float] = NEON,
) -> str:  # fmt: skip
    width, height, focal = camera
    azimuth = math.degrees(math.atan((x_px - width / 2 - 9) / focal))
    elevation = -math.degrees(math.atan((y_px - height / 2) / focal))
    return f"s1,{recording},{t_ns},{x_px},{y_px},{worn},1,{blink},{azimuth},{elevation}\n"


def export(folder: Path, *rows: str, world_ns: int | None = None) -> str:
    (folder / "gaze.csv").write_text(HEADER + "".join(rows))
    if world_ns is not None:
        lines = "".join(f"s1,r1,{world_ns + k * 33_333_333}\n" for k in range(3))
        (folder / "world_timestamps.csv").write_text(f"section id,recording id,timestamp [ns]\n{lines}")
    return str(folder / "gaze.csv")


def test_pixels_blinks_and_worn(tmp_path: Path) -> None:
    name = export(
        tmp_path,
        row(T0, 800, 300),
        row(T0 + 5, 1200, 600, blink="4"),
        row(T0 + 10, 400, 900, worn="0.0"),
        row(T0 + 15, 400, 900, worn="True"),
        f"s1,r1,{T0 + 20},,,1.0,,,,\n",
    )
    assert [(s.t_ns - T0, s.x_norm, s.y_norm, s.confidence) for s in read_neon(name)] == [
        (0, 0.5, 0.25, 1.0), (5, 0.75, 0.5, 0.0), (10, 0.25, 0.75, 0.0), (15, 0.25, 0.75, 1.0), (20, 0, 0, 0),
    ]  # fmt: skip


@pytest.mark.parametrize("camera", [NEON, INVISIBLE])
def test_the_camera_is_told_by_its_matrix_or_by_the_gaze(
    tmp_path: Path, camera: tuple[int, int, float]
) -> None:
    width, height, focal = camera
    points = np.random.default_rng(3).uniform(0.2, 0.8, (50, 2))
    rows = [row(T0 + k, x * width, y * height, camera=camera) for k, (x, y) in enumerate(points)]
    name = export(tmp_path, *rows)
    read = np.array([(s.x_norm, s.y_norm) for s in read_neon(name)])
    np.testing.assert_allclose(read, points)

    # Without angles only the matrix is left.
    (tmp_path / "gaze.csv").write_text(f"timestamp [ns],gaze x [px],gaze y [px],worn\n{T0},{width / 4},0,1\n")
    with pytest.raises(InputError, match=r"scene_camera\.json"):
        read_neon(name)
    matrix = [[focal, 0, width / 2 + 31.4], [0, focal, height / 2 - 10.1], [0, 0, 1]]
    (tmp_path / "scene_camera.json").write_text(json.dumps({"camera_matrix": matrix, "serial_number": "1"}))
    assert read_neon(name)[0].x_norm == 0.25


@pytest.mark.parametrize("text", ["", "[]", '{"camera_matrix": 1}', '{"camera_matrix": [[1]]}', "[" * 9999])
def test_a_damaged_camera_file_is_named(tmp_path: Path, text: str) -> None:
    name = export(tmp_path, row(T0, 1, 1))
    (tmp_path / "scene_camera.json").write_text(text)
    with pytest.raises(InputError, match=r"scene_camera\.json"):
        read_neon(name)


def test_world_timestamps_are_the_zero_of_the_video(tmp_path: Path) -> None:
    """To the nanosecond, whatever the clock of the phone shows and wherever the video's first frame stands."""
    name = export(tmp_path, row(T0, 1, 1), row(T0 + 5_000_001, 1, 1), world_ns=T0 - 250_000_000)
    samples = read_neon(name)
    info = SourceInfo((1600, 1200), 30.0, 300, start_ns=40_000_000)
    mapping = choose_clock(samples, info)
    assert mapping.clock == "first-frame"
    moved = to_frame_clock(samples, mapping)
    assert [s.t_ns for s in moved] == [290_000_000, 295_000_001]
    assert all(s.t_ns - s.offset_ns == T0 + d for s, d in zip(moved, (0, 5_000_001), strict=True))
    later = to_frame_clock(samples, choose_clock(samples, info, offset_s=0.5))
    assert [s.t_ns for s in later] == [790_000_000, 795_000_001]
    first = to_frame_clock(samples, choose_clock(samples, info, clock="first-sample"))
    assert [s.t_ns for s in first] == [40_000_000, 45_000_001]
    taken = SourceInfo((1600, 1200), 30.0, 300, unix_ns=T0 - 10)
    assert to_frame_clock(samples, choose_clock(samples, taken, clock="unix"))[0].t_ns == 10


def test_without_them_times_are_unix_times(tmp_path: Path) -> None:
    samples = read_neon(export(tmp_path, row(T0, 1, 1), row(T0 + 7, 1, 1)))
    assert [s.t_ns for s in samples] == [T0, T0 + 7]
    mapping = choose_clock(samples, SourceInfo((1600, 1200), 30.0, 300))
    assert mapping.clock == "first-sample"


def test_world_timestamps_without_a_time(tmp_path: Path) -> None:
    name = export(tmp_path, row(T0, 1, 1))
    for text in ("timestamp [ns]\nx\n", "frame\n1\n", ""):
        (tmp_path / "world_timestamps.csv").write_text(text)
        with pytest.raises(InputError, match=r"world_timestamps\.csv"):
            read_neon(name)


def test_several_recordings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds 2 recordings"):
        read_neon(export(tmp_path, row(T0, 1, 1), row(T0 + 1, 1, 1, recording="r2")))


def test_faults_are_refused_or_repaired(tmp_path: Path) -> None:
    name = export(tmp_path, row(T0 + 9, 1, 1), row(T0, 800, 1))
    with pytest.raises(InputError, match=r"line 3: time goes back"):
        read_neon(name)
    assert [s.t_ns - T0 for s in read_neon(name, repair=True)] == [0, 9]
    name = export(tmp_path, row(T0, 800, 1), "s1,r1,,1,1,1,,,,\n")
    with pytest.raises(InputError, match=r"line 3: there is no time"):
        read_neon(name)
    assert len(read_neon(name, repair=True)) == 1
    with pytest.raises(InputError, match="no gaze samples"):
        read_neon(export(tmp_path, ""))


@pytest.mark.shared
@pytest.mark.parametrize("name", ["neon_demo_recording", "neon_multi_part"])
def test_a_real_recording_written_as_pupil_cloud_writes_it(shared: Path, tmp_path: Path, name: str) -> None:
    expected = read_gaze_csv(shared / "data" / "gaze" / f"{name}.csv")
    rows = [row(T0 + s.t_ns, s.x_norm * 1600, s.y_norm * 1200, worn=f"{s.confidence:.1f}") for s in expected]
    read = read_neon(export(tmp_path, *rows, world_ns=T0))
    assert [s.t_ns for s in read] == [s.t_ns for s in expected]
    np.testing.assert_allclose(points(read), points(expected), atol=1e-9)


def points(samples: list[GazeSample]) -> list[tuple[float, float]]:
    return [(s.x_norm, s.y_norm) for s in samples]
