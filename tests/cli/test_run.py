"""`sam-edge run`: a video and a gaze recording in, videos and JSON lines out."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.fixtures.commands import Answer
from tests.storage.full_disk import little_room

SamEdge = Callable[..., Answer]
MODEL = ("--model", "../disc")


@pytest.fixture
def clip(sam_edge: SamEdge) -> str:
    writer = cv2.VideoWriter("clip.avi", cv2.VideoWriter.fourcc(*"MJPG"), 25, (128, 64))
    for shade in range(10):
        writer.write(np.full((64, 128, 3), 10 * shade, np.uint8))
    writer.release()
    return "clip.avi"


@pytest.fixture
def gaze() -> str:
    lines = [f"{7 + t * 0.01:.3f},0.25,0.5,1" for t in range(100)]
    Path("gaze.csv").write_text("\n".join(["t_s,x_norm,y_norm,confidence", *lines]) + "\n")
    return "gaze.csv"


def test_writes_video_and_lines_and_sums_up(sam_edge: SamEdge, clip: str, gaze: str) -> None:
    answer = sam_edge("run", clip, "out/a.mp4", "out/a.jsonl", "--gaze", gaze, *MODEL, "--json")
    assert answer.code == 0
    assert "disc on disc fp32: not verified here; run sam-edge verify\n" in answer.err
    report = json.loads(answer.out)
    assert (report["frames"], report["samples"], report["masks"]) == (10, 40, 40)
    assert (report["gaze_clock"], report["gaze_offset_s"]) == ("first-sample", -7.0)
    assert "gaze clock: first-sample, as the first gaze time (7.000 s) is after the video's end" in answer.err
    assert set(report["latency_ms"]) == {"encode", "decode", "write"}
    lines = Path("out/a.jsonl").read_text().splitlines()
    assert [json.loads(line)["x_px"] for line in lines] == [32.0] * 40


def test_lines_to_standard_output(sam_edge: SamEdge, clip: str, gaze: str) -> None:
    answer = sam_edge("run", clip, "-", "--gaze", gaze, *MODEL)
    assert len([json.loads(line) for line in answer.out.splitlines()]) == 40
    assert "10 frames" in answer.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere.mp4", "out.mp4"), "cannot read nowhere.mp4"),
        (("gaze.csv", "out.mp4"), "gaze.csv is not a video"),
        (("clip.avi", "clip.avi"), "output clip.avi is an input"),
        (("clip.avi", "gaze.csv"), "output gaze.csv is an input"),
        (("clip.avi", "new/out.gif"), "cannot tell what to write to new/out.gif"),
        (("clip.avi", "out.mp4", "--min-confidence", "2", "--model", "nowhere"), "--min-confidence"),
        (("clip.avi", "out.mp4", "--min-confidence", "nan", "--model", "nowhere"), "not a finite number"),
        (("clip.avi", "out.gif"), "cannot tell what to write to out.gif"),
        (("clip.avi", "/proc/out.mp4"), "cannot write /proc/out.mp4"),
        (("clip.avi", "-", "--json"), "both want standard output"),
        (("clip.avi", "out.mp4", "--gaze", "clip.avi"), "clip.avi is not a CSV file"),
        (("scene:x", "out.mp4"), "scene:x"),
        (("clip.avi", "out.mp4", "--rate", "30"), "leave --rate out"),
        (("clip.avi", "out.mp4", "--start", "1"), "no frame from 1.000 s"),
        (("clip.avi", "out.mp4", "--gaze-clock", "unix"), "does not say when it was taken"),
        (("clip.avi", "out.mp4", "--gaze-clock", "video"), "no gaze sample falls into the video"),
        (("clip.avi", "out.mp4", "--gaze-offset", "nan"), "gaze offset is nan"),
    ],
)
def test_bad_arguments(
    sam_edge: SamEdge, clip: str, gaze: str, arguments: tuple[str, ...], message: str
) -> None:
    before = Path(clip).read_bytes()
    answer = sam_edge("run", "--gaze", gaze, *MODEL, *arguments)
    assert answer.code == 2
    assert message in answer.err
    assert answer.err.count("\n") == 1
    assert sorted(file.name for file in Path().iterdir()) == ["clip.avi", "gaze.csv"]
    assert Path(clip).read_bytes() == before


def write_gaze(times_s: list[float]) -> str:
    lines = [f"{time_s:.6f},0.25,0.5" for time_s in times_s]
    Path("times.csv").write_text("\n".join(["t_s,x_norm,y_norm", *lines]) + "\n")
    return "times.csv"


@pytest.mark.parametrize(
    ("first_s", "options", "expected_ms", "clock", "offset_s"),
    [
        (0.15, (), 150, "video", 0),
        (-0.1, (), 0, "video", 0),
        (7.0, (), 0, "first-sample", -7),
        (0.15, ("--gaze-clock", "first-sample"), 0, "first-sample", -0.15),
        (0.15, ("--gaze-offset", "0.1"), 250, "video", 0.1),
        (150, ("--gaze-unit", "ms"), 150, "video", 0),
        (-0.1, ("--start", "0.2"), 200, "video", 0),
    ],
)
def test_gaze_meets_the_right_moment(
    sam_edge: SamEdge,
    clip: str,
    first_s: float,
    options: tuple[str, ...],
    expected_ms: float,
    clock: str,
    offset_s: float,
) -> None:
    step_s = 10 if "--gaze-unit" in options else 0.01
    gaze = write_gaze([first_s + k * step_s for k in range(100)])
    answer = sam_edge("run", clip, "a.jsonl", "--gaze", gaze, *options, *MODEL, "--json")
    assert answer.code == 0, answer.err
    lines = [json.loads(line) for line in Path("a.jsonl").read_text().splitlines()]
    assert lines[0]["t_ms"] == pytest.approx(expected_ms)
    assert lines[0]["frame"] == expected_ms // 40
    for found in (lines[0], json.loads(answer.out)):
        assert (found["gaze_clock"], found["gaze_offset_s"]) == (clock, pytest.approx(offset_s))
    assert f"gaze clock: {clock}" in answer.err


def test_milliseconds_are_refused_by_name(sam_edge: SamEdge, clip: str) -> None:
    answer = sam_edge("run", clip, "a.jsonl", "--gaze", write_gaze([3e6 + k for k in range(300)]), *MODEL)
    assert answer.code == 2
    assert "milliseconds" in answer.err
    assert "--gaze-unit ms" in answer.err


def test_a_part_of_a_video(sam_edge: SamEdge, clip: str) -> None:
    gaze = write_gaze([k * 0.01 for k in range(100)])
    arguments = ("--start", "0.12", "--seconds", "0.08", "--json")
    answer = sam_edge("run", clip, "a.jsonl", "--gaze", gaze, *MODEL, *arguments)
    assert answer.code == 0, answer.err
    report = json.loads(answer.out)
    assert (report["frames"], report["samples"], report["lost_frames"]) == (2, 8, 0)
    lines = [json.loads(line) for line in Path("a.jsonl").read_text().splitlines()]
    assert {line["frame"] for line in lines} == {3, 4}


def test_lost_frames_are_said(sam_edge: SamEdge) -> None:
    writer = cv2.VideoWriter("hole.mp4", cv2.VideoWriter.fourcc(*"mp4v"), 25, (160, 128))
    random = np.random.default_rng(0)
    for _ in range(60):
        writer.write(random.integers(0, 255, (128, 160, 3), np.uint8))
    writer.release()
    data = bytearray(Path("hole.mp4").read_bytes())
    start, end = int(0.35 * len(data)), int(0.55 * len(data))
    data[start:end] = bytes(end - start)
    Path("hole.mp4").write_bytes(data)
    gaze = write_gaze([k * 0.1 for k in range(24)])
    answer = sam_edge("run", "hole.mp4", "a.jsonl", "--gaze", gaze, *MODEL, "--json")
    report = json.loads(answer.out)
    assert report["frames"] + report["lost_frames"] == 60
    assert report["lost_frames"] > 0
    assert f"{report['lost_frames']} frames of about 60 could not be read" in answer.err
    last = json.loads(Path("a.jsonl").read_text().splitlines()[-1])
    assert (last["t_ms"], last["frame_age_ms"]) == (2300, 20)


def test_unsound_gaze_names_the_line_and_the_hint(sam_edge: SamEdge, clip: str, gaze: str) -> None:
    with Path(gaze).open("a") as file:
        file.write("1,0.5,0.5,1\n")
    answer = sam_edge("run", clip, "out.mp4", "--gaze", gaze, *MODEL)
    assert answer.code == 2
    assert "gaze.csv line 102: time goes back" in answer.err
    assert "--gaze-repair" in answer.err
    assert sam_edge("run", clip, "out.mp4", "--gaze", gaze, "--gaze-repair", *MODEL).code == 0


def test_a_full_disk_names_the_lines(sam_edge: SamEdge, clip: str, gaze: str) -> None:
    with little_room(6000):
        answer = sam_edge("run", clip, "out.jsonl", "--gaze", gaze, *MODEL)
    assert answer.code == 2
    assert "error: cannot write out.jsonl: File too large" in answer.err
    assert sorted(file.name for file in Path().iterdir()) == ["clip.avi", "gaze.csv"]


HEAD = """
import sys
import threading
from sam_edge.sessions import choice
from sam_edge.cli import main
from tests.fixtures.tables import backend

choice.backends = lambda: {"disc": backend("disc")}
sys.exit(main(sys.argv[1:]))
"""


def test_a_reader_may_leave(sam_edge: SamEdge, clip: str) -> None:
    # More lines than a pipe holds, so that the run cannot end before its reader leaves.
    gaze = write_gaze([k * 0.0003 for k in range(2000)])
    process = subprocess.Popen(
        [sys.executable, "-c", HEAD, "run", clip, "-", "--gaze", gaze, *MODEL],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())["frame"] == 0
        process.stdout.close()
        said = process.stderr.read().decode()
    assert process.returncode == 0, said
    assert "Error" not in said
    # What the run did not come to is not outside of the video.
    assert "note" not in said


# A process of its own, because the signal is meant for it. It prints when it has begun, and its
# source waits until the signal was sent, so nothing depends on how fast the machine is.
INTERRUPTED = """
import sys
import threading
from sam_edge.sessions import choice
from sam_edge.cli import main
from tests.fixtures.tables import backend
from sam_edge.streaming.sources import video as video_source

choice.backends = lambda: {"disc": backend("disc")}
every = video_source.VideoSource.__iter__

def waits(self):
    for frame in every(self):
        if frame.index == 5:
            print("begun", flush=True)
            sys.stdin.readline()
        yield frame

video_source.VideoSource.__iter__ = waits
sys.exit(main(sys.argv[1:]))
"""


def test_ctrl_c_leaves_a_playable_video(sam_edge: SamEdge, clip: str, gaze: str) -> None:
    arguments = ["run", clip, "out.mp4", "out.jsonl", "--gaze", gaze, *MODEL]
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(root)},
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGINT)
        rest = process.communicate("go on\n")[0]
    assert process.returncode == 130
    assert "interrupted after 5 frames" in rest
    capture = cv2.VideoCapture("out.mp4")
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 5
    assert all(capture.read()[0] for _ in range(5))
    capture.release()
    assert all(json.loads(line) for line in Path("out.jsonl").read_text().splitlines())
    assert sorted(file.name for file in Path().iterdir()) == [
        "clip.avi", "gaze.csv", "out.jsonl", "out.mp4",
    ]  # fmt: skip


def test_live_plays_a_recording_in_real_time(sam_edge: SamEdge, clip: str, gaze: str) -> None:
    answer = sam_edge("run", clip, "live.jsonl", "--gaze", gaze, "--live", *MODEL, "--json")
    assert answer.code == 0, answer.err
    report = json.loads(answer.out)
    # Late frames are left out on a busy machine.
    assert 0 < report["frames"] <= 10
    assert report["errors"] == {}
    lines = [json.loads(line) for line in Path("live.jsonl").read_text().splitlines()]
    assert {line["freshness"] for line in lines if line["mask"]} <= {"fresh", "carried", "stale"}
    # Ages are of this run, not of the recording.
    assert all(line["gaze_age_ms"] > 0 for line in lines)


def test_a_tracker_that_runs_now(sam_edge: SamEdge, clip: str) -> None:
    ended = threading.Event()
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def send() -> None:
        while not ended.wait(0.005):
            sender.sendto(b'{"x_norm": 0.25, "y_norm": 0.5}', ("127.0.0.1", port))

    thread = threading.Thread(target=send)
    thread.start()
    try:
        answer = sam_edge("run", clip, "now.jsonl", "--gaze", f"udp://127.0.0.1:{port}", *MODEL, "--json")
    finally:
        ended.set()
        thread.join()
        sender.close()
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["gaze_samples"] > 0
    lines = [json.loads(line) for line in Path("now.jsonl").read_text().splitlines()]
    assert [line["x_px"] for line in lines if line["mask"]] == pytest.approx([32.0] * len(lines), abs=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("clip.avi", "o.jsonl", "--gaze", "tcp://here"), "tcp:// is not a gaze source"),
        (("ftp://here", "o.jsonl", "--gaze", "udp://127.0.0.1:0"), "ftp: is not a frame source"),
        (("clip.avi", "o.jsonl", "--live", "--config", "nowhere.toml"), "cannot read nowhere.toml"),
        (("clip.avi", "o.jsonl"), "no gaze to follow"),
        (("clip.avi", "o.jsonl", "--live", "--reuse-distance", "0.1"), "--reuse-distance is for"),
        (("clip.avi", "o.jsonl", "--gaze", "udp://127.0.0.1:0", "--gaze-unit", "ms"), "--gaze-unit is for"),
        (("clip.avi", "o.jsonl", "--record", "o.mcap"), "--record is for live runs"),
    ],
)
def test_live_bad_input(
    sam_edge: SamEdge, clip: str, gaze: str, arguments: tuple[str, ...], message: str
) -> None:
    given = (
        arguments if "--gaze" in arguments or message.startswith("no gaze") else (*arguments, "--gaze", gaze)
    )
    answer = sam_edge("run", *given, *MODEL)
    assert (answer.code, answer.out) == (2, "")
    assert message in answer.err
    assert not Path("o.jsonl").exists()


def test_the_pipeline_of_a_jetson_camera_is_shown(sam_edge: SamEdge) -> None:
    answer = sam_edge("run", "csi://0?size=1920x1080", "--dry-run")
    assert answer.code == 0
    assert answer.out.startswith("nvarguscamerasrc")
    assert "width=1920" in answer.out
