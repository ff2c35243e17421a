"""`sam-edge run --record`, and the recorded run once more."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.fixtures.commands import Answer

pytest.importorskip("foxglove", reason="foxglove-sdk is not installed")
pytest.importorskip("mcap_protobuf", reason="mcap-protobuf-support is not installed")

SamEdge = Callable[..., Answer]
MODEL = ("--model", "../disc")


@pytest.fixture
def recorded(sam_edge: SamEdge) -> str:
    writer = cv2.VideoWriter("clip.avi", cv2.VideoWriter.fourcc(*"MJPG"), 25, (128, 64))
    for shade in range(10):
        writer.write(np.full((64, 128, 3), 10 * shade, np.uint8))
    writer.release()
    lines = [f"{t * 0.01:.3f},0.25,0.5,1" for t in range(40)]
    Path("gaze.csv").write_text("\n".join(["t_s,x_norm,y_norm,confidence", *lines]) + "\n")
    options = ("--gaze", "gaze.csv", "--live", "--record", "session.mcap")
    answer = sam_edge("run", "clip.avi", "live.jsonl", *options, *MODEL)
    assert answer.code == 0, answer.err
    return "session.mcap"


def masks(path: str) -> list[object]:
    lines = [json.loads(line) for line in Path(path).read_text().splitlines()]
    return [(line["t_ms"], line["frame"], line["status"], line["freshness"], line["mask"]) for line in lines]


def test_a_recorded_run_is_repeated_to_the_bit(sam_edge: SamEdge, recorded: str) -> None:
    answer = sam_edge("run", recorded, "again.jsonl", "again.mp4", *MODEL)
    assert answer.code == 0, answer.err
    assert "the same to the bit" in answer.out
    again, live = masks("again.jsonl"), masks("live.jsonl")
    assert again
    # The live run's sink may have missed some.
    assert set(map(str, live)) <= set(map(str, again))
    assert cv2.VideoCapture("again.mp4").isOpened()
    report = json.loads(sam_edge("run", recorded, *MODEL, "--json").out)
    assert (report["equal"], report["other"]) == (len(again), 0)


def test_a_recording_is_a_source_and_gaze_as_any_other(sam_edge: SamEdge, recorded: str) -> None:
    answer = sam_edge("run", recorded, "again.jsonl", "--gaze", recorded, *MODEL, "--json")
    assert answer.code == 0, answer.err
    report = json.loads(answer.out)
    assert report["frames"] > 0
    assert report["masks"] == len(Path("again.jsonl").read_text().splitlines()) > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("session.mcap", "--live"), "session.mcap is repeated as it was recorded: give --gaze"),
        (("session.mcap", "session.mcap"), "output session.mcap is an input"),
        (("clip.avi", "--gaze", "gaze.csv", "--record", "a.mcap"), "--record is for live runs"),
        (("clip.avi", "--gaze", "gaze.csv", "--record", "a.mp4"), "cannot record to a.mp4"),
        (("clip.avi", "a.mcap", "--gaze", "gaze.csv", "--record", "a.mcap"), "output a.mcap is given twice"),
        (("nowhere.mcap",), "cannot read nowhere.mcap"),
    ],
)
def test_what_cannot_be_is_said(
    sam_edge: SamEdge, recorded: str, arguments: tuple[str, ...], message: str
) -> None:
    answer = sam_edge("run", *arguments, *MODEL)
    assert answer.code == 2
    assert message in answer.err
    assert not Path("a.mcap").exists()


def test_another_model_is_refused_before_an_output_is_begun(sam_edge: SamEdge, recorded: str) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    answer = sam_edge("run", recorded, "again.jsonl", "--model", "nano")
    assert answer.code == 2
    assert "was recorded with the model disc" in answer.err
    assert not Path("again.jsonl").exists()
