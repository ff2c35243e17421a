"""`sam-edge demo`: the whole pipeline, on a scene whose masks are known."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2

from tests.fixtures.commands import Answer

SamEdge = Callable[..., Answer]


def test_writes_everything_and_prints_a_latency_table(sam_edge: SamEdge) -> None:
    answer = sam_edge("demo", "--seconds", "1", "--model", "../disc")
    assert answer.code == 0
    for stage in (" frames ", "encode", "decode", "gaze_to_mask", "embedding_age", "p99", "mean IoU"):
        assert stage in answer.out
    lines = [json.loads(line) for line in Path("out/demo.jsonl").read_text().splitlines()]
    assert lines
    for line in lines:
        # The mask lies on the newest frame; what it was made from is as old or older.
        assert 0 <= line["frame_age_ms"] <= line["embedding_age_ms"]
        assert line["gaze_age_ms"] > 0
    assert len(Path("out/demo_gaze.csv").read_text().splitlines()) == 121
    capture = cv2.VideoCapture("out/demo.mp4")
    assert 0 < capture.get(cv2.CAP_PROP_FRAME_COUNT) <= 30
    capture.release()


def test_json(sam_edge: SamEdge) -> None:
    answer = sam_edge("demo", "--seconds", "0.5", "--model", "../disc", "--out", "here", "--json")
    report = json.loads(answer.out)
    assert report["frames"] <= 15
    assert report["errors"] == {}
    assert {Path(name).name for name in report["sinks"]} == {"demo.mp4", "demo.jsonl"}


def test_the_recording_of_a_demo_can_be_run(sam_edge: SamEdge) -> None:
    sam_edge("demo", "--seconds", "0.5", "--seed", "4", "--model", "../disc")
    answer = sam_edge("run", "scene:4", "again.jsonl", "--gaze", "out/demo_gaze.csv", "--model", "../disc")
    assert answer.code == 0
    assert len(Path("again.jsonl").read_text().splitlines()) == 60


def test_folder_that_cannot_be_written(sam_edge: SamEdge) -> None:
    answer = sam_edge("demo", "--seconds", "0.5", "--model", "../disc", "--out", "/proc/out")
    assert answer.code == 2
    assert "cannot write /proc/out" in answer.err
    assert answer.err.splitlines()[-1].startswith("error: cannot write /proc/out")
