"""Gaze recordings: read as they are, refused with a cure, mended on request."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sam_edge.errors import InputError
from sam_edge.streaming.gaze import GazeSample, read_gaze_csv

HEADER = "t_s,x_norm,y_norm,confidence\n"


def write(folder: Path, text: str) -> Path:
    path = folder / "gaze.csv"
    path.write_text(text)
    return path


def test_times_start_at_zero_and_values_are_kept(tmp_path: Path) -> None:
    path = write(tmp_path, HEADER + "5.5,0.25,0.5,1\n5.505,-0.1,1.2,0.3\n")
    assert read_gaze_csv(path) == [
        GazeSample(0, 0.25, 0.5, 1.0),
        GazeSample(5_000_000, -0.1, 1.2, 0.3),
    ]


def test_confidence_and_column_order_are_free(tmp_path: Path) -> None:
    path = write(tmp_path, "y_norm,scene_frame, x_norm ,t_s\n0.2,7,0.1,3\n")
    assert read_gaze_csv(path) == [GazeSample(0, 0.1, 0.2, 1.0)]


def test_to_px() -> None:
    assert GazeSample(0, 0.25, 0.5).to_px((640, 360)) == (160.0, 180.0)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "0,0.1,0.2,1\n0.1,,0.2,1\n",
            r"line 3: x_norm is no number; mend it, or add --gaze-repair to treat it as a blink",
        ),
        (
            "0,0.1,0.2,1\n,0.1,0.2,1\n",
            r"line 3: t_s is no number; mend it, or add --gaze-repair to leave this row out",
        ),
        ("0,0.1,nan,1\n", r"line 2: y_norm is no number"),
        ("0,0.1,0.2,high\n", r"line 2: confidence is no number"),
        ("0,0.1\n", r"line 2: y_norm is no number"),
        ("0,0.1,0.2,1\n2,0.1,0.2,1\n1,0.1,0.2,1\n", r"line 4: time goes back; sort"),
        ("0,0.1,0.2,1\n0,0.1,0.2,1\n", r"line 3: repeats the time"),
        ("", "holds no gaze samples"),
        ("0,0.1,0.2,1\n\n\n0.1,x,0.2,1\n", r"line 5: x_norm is no number"),
        ("1e300,0.1,0.2,1\n", r"line 2: t_s is no number"),
        ("0,0.1,0.2,1\n5e6,0.1,0.2,1\n", "give t_s in seconds"),
        ("0,310,200,1\n", "look like pixels"),
        ("0,0.1,0.2,200\n", "confidence is outside 0 to 1"),
    ],
)
def test_unsound_recordings(tmp_path: Path, body: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_gaze_csv(write(tmp_path, HEADER + body))


def test_missing_columns_are_listed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no column x_norm, y_norm"):
        read_gaze_csv(write(tmp_path, "t_s,gaze_x\n0,1\n"))


def test_no_file() -> None:
    with pytest.raises(InputError, match="No such file"):
        read_gaze_csv("nowhere.csv")


def test_binary_file(tmp_path: Path) -> None:
    (tmp_path / "gaze.csv").write_bytes(bytes(range(256)))
    with pytest.raises(InputError, match="no CSV file"):
        read_gaze_csv(tmp_path / "gaze.csv")


def test_repair(tmp_path: Path) -> None:
    path = write(tmp_path, HEADER + "1.2,0.5,0.5,1\n1.1,0.1,0.1,1\n,0.9,0.9,1\n1.3,,0.5,1\n1.2,0.6,0.6,1\n")
    assert read_gaze_csv(path, repair=True) == [
        GazeSample(0, 0.1, 0.1, 1.0),
        GazeSample(100_000_000, 0.6, 0.6, 1.0),
        GazeSample(200_000_000, 0.0, 0.0, 0.0),
    ]


def test_nothing_to_repair(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no row with a time"):
        read_gaze_csv(write(tmp_path, HEADER + ",1,1,1\n"), repair=True)


cell = st.one_of(st.just(""), st.floats(-5, 5).map(str), st.sampled_from(["nan", "inf", "x", "1e999"]))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(cell, cell, cell, cell), min_size=1, max_size=30))
def test_whatever_is_read_has_rising_times_and_finite_values(
    tmp_path: Path, rows: list[tuple[str, str, str, str]]
) -> None:
    path = write(tmp_path, HEADER + "".join(",".join(row) + "\n" for row in rows))
    for repair in (False, True):
        try:
            samples = read_gaze_csv(path, repair=repair)
        except InputError:
            continue
        times = [sample.t_ns for sample in samples]
        assert times[0] == 0
        assert times == sorted(times)
        assert all(abs(sample.x_norm) <= 5 and abs(sample.y_norm) <= 5 for sample in samples)


@pytest.mark.shared
@pytest.mark.parametrize("name", ["neon_demo_recording", "neon_multi_part", "pupil_core_tutorial", "aria_zelo"])
def test_real_recordings_are_read(shared: Path, name: str) -> None:
    samples = read_gaze_csv(shared / "data" / "gaze" / f"{name}.csv", repair=True)
    assert len(samples) > 900
