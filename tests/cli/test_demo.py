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
    # Without a terminal, progress is a line.
    assert answer.err.count("\n") <= 2
    assert "30 frames" in answer.out
    for stage in ("encode", "decode", "p99", "mean IoU"):
        assert stage in answer.out
    lines = [json.loads(line) for line in Path("out/demo.jsonl").read_text().splitlines()]
    recorded = Path("out/demo_gaze.csv").read_text().splitlines()
    assert len(lines) == len(recorded) - 1 == 120
    capture = cv2.VideoCapture("out/demo.mp4")
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 30
    capture.release()


def test_json(sam_edge: SamEdge) -> None:
    answer = sam_edge("demo", "--seconds", "0.5", "--model", "../disc", "--out", "here", "--json")
    report = json.loads(answer.out)
    assert report["frames"] == 15
    assert report["interrupted"] is False


def test_the_recording_of_a_demo_can_be_run(sam_edge: SamEdge) -> None:
    sam_edge("demo", "--seconds", "0.5", "--seed", "4", "--model", "../disc")
    answer = sam_edge("run", "scene:4", "again.jsonl", "--gaze", "out/demo_gaze.csv", "--model", "../disc")
    assert answer.code == 0
    first = [json.loads(line)["mask"] for line in Path("out/demo.jsonl").read_text().splitlines()]
    again = [json.loads(line)["mask"] for line in Path("again.jsonl").read_text().splitlines()]
    # The last frame of a shorter video stands for its own time only; until then all is the same.
    assert again[:50] == first[:50]


def test_folder_that_cannot_be_written(sam_edge: SamEdge) -> None:
    answer = sam_edge("demo", "--seconds", "0.5", "--model", "../disc", "--out", "/proc/out")
    assert answer.code == 2
    assert "cannot write /proc/out" in answer.err
    assert answer.err.count("\n") == 1
