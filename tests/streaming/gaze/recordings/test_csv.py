"""Gaze recordings are read as they are, refused with a hint, or repaired on request."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sam_edge.errors import InputError
from sam_edge.streaming.gaze.recordings.csv import read_gaze_csv
from sam_edge.streaming.gaze.sample import GazeSample

HEADER = "t_s,x_norm,y_norm,confidence\n"


def write(folder: Path, text: str) -> Path:
    path = folder / "gaze.csv"
    path.write_text(text)
    return path


def test_times_and_values_are_kept(tmp_path: Path) -> None:
    path = write(tmp_path, HEADER + "5.5,0.25,0.5,1\n5.505,-0.1,1.2,0.3\n")
    assert read_gaze_csv(path) == [
        GazeSample(5_500_000_000, 0.25, 0.5, 1.0),
        GazeSample(5_505_000_000, -0.1, 1.2, 0.3),
    ]


def test_confidence_and_column_order_are_free(tmp_path: Path) -> None:
    path = write(tmp_path, "y_norm,scene_frame, x_norm ,t_s\n0.2,7,0.1,3\n")
    assert read_gaze_csv(path) == [GazeSample(3_000_000_000, 0.1, 0.2, 1.0)]


def test_to_px() -> None:
    assert GazeSample(0, 0.25, 0.5).to_px((640, 360)) == (160.0, 180.0)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "0,0.1,0.2,1\n0.1,,0.2,1\n",
            r"line 3: x_norm is not a number: correct it, or add --gaze-repair to make it a blink",
        ),
        (
            "0,0.1,0.2,1\n,0.1,0.2,1\n",
            r"line 3: t_s is not a number: .* leave this row out",
        ),
        ("0,0.1,0.2,1\n1,0.1,nan,1\n", r"line 3: y_norm is not a number"),
        ("0,0.1,0.2,1\n1,0.1,0.2,high\n", r"line 3: confidence is not a number"),
        ("0,0.1,0.2,1\n1,0.1\n", r"line 3: y_norm is not a number"),
        ("0,0.1,0.2,1\n2,0.1,0.2,1\n1,0.1,0.2,1\n", r"line 4: time goes back: sort"),
        ("0,0.1,0.2,1\n0,0.1,0.2,1\n", r"line 3: repeats the time"),
        ("", "holds no gaze samples"),
        ("0,0.1,0.2,1\n\n\n0.1,x,0.2,1\n", r"line 5: x_norm is not a number"),
        ("0,0.1,0.2,1\n1e300,0.1,0.2,1\n", r"line 3: t_s is out of range"),
        ("0,0.1,0.2,1\n1,-1e999,0.2,1\n", r"line 3: x_norm is out of range"),
        ("0,0.1,0.2,1\n1,0.1,0.2,1,7\n", r"line 3 has 5 values for 4 columns"),
        ("0,310,200,1\n", "look like pixels"),
        ("0,0.1,0.2,200\n", "a confidence is 200"),
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
    with pytest.raises(InputError, match="is not a CSV file"):
        read_gaze_csv(tmp_path / "gaze.csv")


def test_repair(tmp_path: Path) -> None:
    path = write(tmp_path, HEADER + "1.2,0.5,0.5,1\n1.1,0.1,0.1,1\n,0.9,0.9,1\n1.3,,0.5,1\n1.2,0.6,0.6,1\n")
    assert read_gaze_csv(path, repair=True) == [
        GazeSample(1_100_000_000, 0.1, 0.1, 1.0),
        GazeSample(1_200_000_000, 0.6, 0.6, 1.0),
        GazeSample(1_300_000_000, 0.0, 0.0, 0.0),
    ]


@pytest.mark.parametrize("repair", [False, True])
@pytest.mark.parametrize(
    ("body", "column"),
    [
        (",1,1,1\n,1,1,1\n", "t_s"),
        ("0,x,1,1\n1,,1,1\n", "x_norm"),
        ("0,1,1,\n1,1,1,\n", "confidence"),
        ("0,1,1,good\n1,1,1,bad\n", "confidence"),
        ("0,1,1,Valid\n1,1,1,lost\n", "confidence"),
    ],
)
def test_a_column_without_a_number_is_a_wrong_file(
    tmp_path: Path, body: str, column: str, repair: bool
) -> None:
    with pytest.raises(InputError, match=f"the column {column} has no number"):
        read_gaze_csv(write(tmp_path, HEADER + body), repair=repair)


def test_words_of_validity_count_if_all_are_such_words(tmp_path: Path) -> None:
    path = write(tmp_path, HEADER + "0,0.1,0.1,Valid\n1,0.1,0.1,Invalid\n2,0.1,0.1,valid\n")
    assert [sample.confidence for sample in read_gaze_csv(path)] == [1, 0, 1]
    with pytest.raises(InputError, match="line 3: confidence is not a number"):
        read_gaze_csv(write(tmp_path, HEADER + "0,0.1,0.1,1\n1,0.1,0.1,Invalid\n"))


ROWS = [("T_S", "X_Norm", "y_norm", "Größe", "CONFIDENCE"), ("1.5", "0.25", "0.5", "7", "0.9")]
READ = [GazeSample(1_500_000_000, 0.25, 0.5, 0.9)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("hint", ["", "sep=%s\r\n"])
def test_what_spreadsheets_write(tmp_path: Path, encoding: str, separator: str, hint: str) -> None:
    comma = separator != ","
    lines = [separator.join(cell.replace(".", ",") if comma else cell for cell in row) for row in ROWS]
    text = hint.replace("%s", separator) + "\r\n".join(lines) + "\r\n"
    path = tmp_path / "gaze.csv"
    path.write_bytes(text.encode(encoding))
    assert read_gaze_csv(path) == READ


def test_lines_are_counted_as_an_editor_counts_them(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="line 4"):
        read_gaze_csv(write(tmp_path, "sep=;\nt_s;x_norm;y_norm\n0;0,5;0,5\n1;;0,5\n"))


@pytest.mark.parametrize("doubled", ["t_s", "X_NORM", "confidence"])
def test_a_doubled_column_is_refused(tmp_path: Path, doubled: str) -> None:
    with pytest.raises(InputError, match=f"has the column {doubled.lower()} 2 times"):
        read_gaze_csv(write(tmp_path, f"t_s,x_norm,y_norm,confidence,{doubled}\n0,1,1,1,1\n"))


def test_another_header_is_named_with_its_separator(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="with the separator ; it has 'time', 'x'"):
        read_gaze_csv(write(tmp_path, "time;x;y\n0;1;1\n"))


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
        assert times == sorted(times)
        assert all(abs(sample.x_norm) <= 5 and abs(sample.y_norm) <= 5 for sample in samples)


@pytest.mark.shared
@pytest.mark.parametrize("name", ["neon_demo_recording", "neon_multi_part", "pupil_core_tutorial", "aria_zelo"])
def test_real_recordings_are_read(shared: Path, name: str) -> None:
    samples = read_gaze_csv(shared / "data" / "gaze" / f"{name}.csv", repair=True)
    assert len(samples) > 900
