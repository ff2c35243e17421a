"""Any recording is opened by name: its header line, or what lies in the folder, tells who wrote it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sam_edge.errors import InputError
from sam_edge.streaming.gaze.recordings.csv import read_gaze_csv
from sam_edge.streaming.gaze.sample import GazeSample
from sam_edge.streaming.gaze.source import GAZE_SOURCES, open_gaze

OURS = "t_s,x_norm,y_norm\n5.5,0.25,0.5\n"
CORE = "gaze_timestamp,world_index,confidence,norm_pos_x,norm_pos_y,base_data\n7.5,0,0.9,0.25,0.75,0-1\n"
TOBII = "Recording timestamp [ms]\tGaze point X [MCS px]\tGaze point Y [MCS px]\n20\t960\t270\n"


@pytest.mark.parametrize(
    ("text", "sample"),
    [
        (OURS, GazeSample(5_500_000_000, 0.25, 0.5)),
        (CORE, GazeSample(7_500_000_000, 0.25, 0.25, 0.9)),
        (TOBII, GazeSample(20_000_000, 0.5, 0.25)),
    ],
)
@pytest.mark.parametrize("name", ["gaze.csv", "gaze.tsv", "gaze.TXT", "gaze"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_the_header_tells(tmp_path: Path, text: str, sample: GazeSample, name: str, encoding: str) -> None:
    path = tmp_path / name
    path.write_text(text, encoding=encoding)
    assert open_gaze(str(path)) == [sample]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("gaze_positions.csv", CORE),
        ("exports/000/gaze_positions.csv", CORE),
        ("Participant1 Data export.tsv", TOBII),
        ("gaze.csv", OURS),
    ],
)
def test_a_folder_is_searched(tmp_path: Path, name: str, text: str) -> None:
    folder = tmp_path / "2026-01-31_12-00-00.d1"
    path = folder / name
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert open_gaze(str(folder)) == open_gaze(str(path))


def test_a_folder_without_a_recording_or_with_several(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no gaze recording"):
        open_gaze(str(tmp_path))
    for export in ("000", "001"):
        (tmp_path / "exports" / export).mkdir(parents=True)
        (tmp_path / "exports" / export / "gaze_positions.csv").write_text(CORE)
    with pytest.raises(InputError, match="name one of exports/000"):
        open_gaze(str(tmp_path))


@pytest.mark.parametrize(
    ("header", "tool", "hint"),
    [
        ("RecordingTimestamp\tGazePointX (ADCSpx)\tGazePointY (ADCSpx)", "Tobii Studio", "/ 1000"),
        ("RECORDING_SESSION_LABEL\tTIMESTAMP\tRIGHT_GAZE_X\tRIGHT_GAZE_Y", "EyeLink", "TIMESTAMP / 1000"),
        ("** CONVERTED FROM a.edf using edfapi 4.2", "EyeLink", "/ 1000"),
    ],
)
def test_what_is_not_read_yet_is_named_with_advice(tmp_path: Path, header: str, tool: str, hint: str) -> None:
    path = tmp_path / "gaze.tsv"
    path.write_text(header + "\n1\t2\t3\n")
    with pytest.raises(InputError) as refused:
        open_gaze(str(path))
    assert tool in refused.value.what
    assert hint in (refused.value.hint or "")


def test_a_scheme_of_the_table_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "gaze.csv"
    path.write_text(OURS)
    assert open_gaze(str(path)) == read_gaze_csv(path)
    monkeypatch.setattr(
        "sam_edge.streaming.gaze.source.GAZE_SOURCES", {**GAZE_SOURCES, "odd:": f"{__name__}:odd"}
    )
    assert open_gaze("odd:gaze.csv") == []


def odd(name: str, *, repair: bool = False) -> list[GazeSample]:
    return []


def test_nothing_there() -> None:
    with pytest.raises(InputError, match="No such file"):
        open_gaze("nowhere.csv")


cell = st.one_of(
    st.just(""),
    st.floats().map(str),
    st.integers().map(str),
    st.sampled_from(["x", "Valid", "Invalid", "1e999", '"']),
)
HEADERS = {
    "neon": "timestamp [ns],gaze x [px],gaze y [px],worn,blink id,azimuth [deg]",
    "core": "gaze_timestamp,norm_pos_x,norm_pos_y,confidence",
    "tobii": "Recording timestamp,Gaze point X,Gaze point Y,Validity left,"
    "Recording media width,Recording media height",
}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(list(HEADERS)), st.lists(st.lists(cell, min_size=4, max_size=6), max_size=12))
def test_whatever_is_read_has_rising_times_and_finite_values(
    tmp_path: Path, form: str, rows: list[list[str]]
) -> None:
    path = tmp_path / "gaze.csv"
    path.write_text("\n".join([HEADERS[form], *(",".join(row) for row in rows)]) + "\n")
    for repair in (False, True):
        try:
            samples = open_gaze(str(path), repair=repair)
        except InputError:
            continue
        times = [sample.t_ns for sample in samples]
        assert times == sorted(set(times))
        assert all(math.isfinite(s.x_norm + s.y_norm) and 0 <= s.confidence <= 1 for s in samples)
