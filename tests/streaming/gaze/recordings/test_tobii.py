"""Exports of Tobii Pro Lab: units, sizes, and the rows that are no gaze."""

from __future__ import annotations

from pathlib import Path

import pytest

from sam_edge.errors import InputError
from sam_edge.streaming.gaze.recordings.tobii import read_tobii

GLASSES = (
    "Recording timestamp [μs]\tSensor\tRecording name\tEvent\tGaze point X [MCS px]\tGaze point Y [MCS px]\t"
    "Validity left\tValidity right\tRecording media width\tRecording media height\n"
    "0\t\tRecording1\tRecordingStart\t\t\t\t\t1920\t1080\n"
    "20000\tEye Tracker\tRecording1\t\t960\t270\tValid\tInvalid\t1920\t1080\n"
    "25000\tGyroscope\tRecording1\t\t\t\t\t\t1920\t1080\n"
    "40000\tEye Tracker\tRecording1\t\t\t\tInvalid\tInvalid\t1920\t1080\n"
    "60000\tEye Tracker\tRecording1\t\t480\t540\tInvalid\tInvalid\t1920\t1080\n"
)


def write(folder: Path, text: str, encoding: str = "utf-16") -> str:
    path = folder / "Data export.tsv"
    path.write_text(text, encoding=encoding)
    return str(path)


def read(folder: Path, text: str) -> list[tuple[float, float, float, float]]:
    return [(s.t_ns / 1e6, s.x_norm, s.y_norm, s.confidence) for s in read_tobii(write(folder, text))]


def test_glasses(tmp_path: Path) -> None:
    assert read(tmp_path, GLASSES) == [(20, 0.5, 0.25, 1), (40, 0, 0, 0), (60, 0.25, 0.5, 0)]


def test_events_are_left_out_without_a_column_of_sensors(tmp_path: Path) -> None:
    lines = [line.split("\t") for line in GLASSES.splitlines()]
    text = "\n".join("\t".join(cells[:1] + cells[2:]) for cells in lines)
    assert read(tmp_path, text) == [(20, 0.5, 0.25, 1), (40, 0, 0, 0), (60, 0.25, 0.5, 0)]


@pytest.mark.parametrize(("unit", "step"), [(" [ms]", 1), (" [μs]", 1000), ("", 20), ("", 20_000), ("", 833)])
def test_the_unit_of_time(tmp_path: Path, unit: str, step: int) -> None:
    """Where the header is silent, the tracker's rate tells."""
    rows = "".join(f"{k * step}\t960\t540\n" for k in range(4))
    times = [
        t
        for t, *_ in read(
            tmp_path, f"Recording timestamp{unit}\tGaze point X [MCS px]\tGaze point Y [MCS px]\n{rows}"
        )
    ]
    per_ms = 1 if unit == " [ms]" or (not unit and step < 200) else 1000
    assert times == [k * step / per_ms for k in range(4)]


@pytest.mark.parametrize(
    ("system", "more", "row"),
    [
        ("[MCS px]", "", "960\t270"),
        ("[MCS norm]", "", "0.5\t0.25"),
        ("[MCS norm]", "", "0,5\t0,25"),
        (
            "[DACS px]",
            "\tRecording resolution width [px]\tRecording resolution height [px]",
            "1280\t360\t2560\t1440",
        ),
        ("[MCS px]", "\tPresented Media width [px]\tPresented Media height [px]", "200\t50\t400\t200"),
        ("", "\tRecording resolution height\tRecording resolution width", "1280\t360\t1440\t2560"),
    ],
)
def test_what_the_points_are_shares_of(tmp_path: Path, system: str, more: str, row: str) -> None:
    x, y = (f"Gaze point {axis} {system}".strip() for axis in "XY")
    assert read(tmp_path, f"Recording timestamp [ms]\t{x}\t{y}{more}\n5\t{row}\n") == [(5, 0.5, 0.25, 1)]


def test_a_size_that_is_not_told(tmp_path: Path) -> None:
    header = "Recording timestamp [ms]\tGaze point X [DACS px]\tGaze point Y [DACS px]\n5\t1\t1\n"
    with pytest.raises(InputError, match="Recording resolution width"):
        read(tmp_path, header)


def test_several_recordings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds 2 recordings"):
        read(tmp_path, GLASSES + "1\tEye Tracker\tRecording2\t\t1\t1\tValid\tValid\t1920\t1080\n")
