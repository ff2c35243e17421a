"""An MCAP recording holds what a run can be repeated from, and is read by the format's own library."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco

from sam_edge.errors import MissingExtraError, OutputError
from sam_edge.streaming.gaze.sample import GazeSample
from sam_edge.streaming.result import FrameResult
from sam_edge.streaming.sinks.mcap import McapSink, mcap_sink
from sam_edge.streaming.sources.source import Frame
from tests.streaming.sinks.made import FRAME_NS, WH, masks, part, result

pytest.importorskip("foxglove", reason="foxglove-sdk is not installed")
mcap_reader = pytest.importorskip("mcap.reader", reason="mcap is not installed")


def messages(path: Path) -> dict[str, list[tuple[int, bytes]]]:
    """Channel -> (log time, bytes) of each message, in the file's order."""
    found: dict[str, list[tuple[int, bytes]]] = {}
    with path.open("rb") as file:
        for _, channel, message in mcap_reader.make_reader(file).iter_messages(log_time_order=False):
            found.setdefault(channel.topic, []).append((message.log_time, message.data))
    return found


def objects(path: Path, topic: str) -> list[dict[str, Any]]:
    return [json.loads(data) for _, data in messages(path)[topic]]


def jpeg_of(data: bytes) -> np.ndarray:
    """The image in a protobuf message that holds one."""
    image = cv2.imdecode(np.frombuffer(data[data.index(b"\xff\xd8") :], np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image


def test_all_that_a_run_needs_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "out.mcap"
    gaze = GazeSample(10**18 + 7, 0.123456789012345, -0.5, 0.25, "source", -3, 10**18 + 9)
    asked = [
        result(1_000_003),
        replace(result(1_000_004, "no_gaze"), gaze=gaze),
        result(FRAME_NS + 1, object_id=3),
    ]
    with mcap_sink(str(path), WH, 25.0) as sink:
        sink.describe({"model": "nano-1234", "config": "min_confidence = 0.6\n"})
        sink.write(part(0, asked[:1], last=False))
        sink.write(part(0, asked[1:2]))
        sink.write(part(1, asked[2:]))
    with path.open("rb") as file:
        metadata = {one.name: one.metadata for one in mcap_reader.make_reader(file).iter_metadata()}
    assert metadata["run"] == {"model": "nano-1234", "config": "min_confidence = 0.6\n"}
    assert (metadata["sam_edge"]["format"], metadata["sam_edge"]["frame_width"]) == ("1", "128")
    # Samples come back as they came, to the last digit; those of tracked objects have none.
    samples = [GazeSample(**one) for one in objects(path, "/gaze")]
    assert samples == [one.gaze for one in asked if one.gaze]
    frames = objects(path, "/frames")
    assert [(one["index"], one["capture_ns"], one["stored"]) for one in frames] == [
        (0, 0, True),
        (1, FRAME_NS, True),
    ]
    results = objects(path, "/results")
    assert [one.get("object_id") for one in results] == [None, None, 3]
    assert (coco.decode(results[0]["mask"]["rle"]) == masks().binary[0]).all()
    assert [time for time, _ in messages(path)["/results"]] == [one.t_ns for one in asked]
    image = jpeg_of(messages(path)["/camera"][1][1])
    assert image.shape == (64, 128, 3)
    assert np.ptp(image) < 5


def test_foxglove_knows_the_schemas(tmp_path: Path) -> None:
    path = tmp_path / "out.mcap"
    with mcap_sink(str(path), WH, 25.0) as sink:
        sink.write(part(0, [result(0), result(1, "no_gaze")]))
    with path.open("rb") as file:
        summary = mcap_reader.make_reader(file).get_summary()
    schemas = {
        channel.topic: (summary.schemas[channel.schema_id].name, channel.message_encoding)
        for channel in summary.channels.values()
    }
    assert schemas["/camera"] == ("foxglove.CompressedImage", "protobuf")
    assert schemas["/annotations"] == ("foxglove.ImageAnnotations", "protobuf")
    assert {schemas[topic][1] for topic in ("/frames", "/gaze", "/results")} == {"json"}


def test_images_are_bounded_in_size_and_rate_and_frames_are_all_told(tmp_path: Path) -> None:
    path = tmp_path / "out.mcap"
    image = np.zeros((100, 2560, 3), np.uint8)
    with mcap_sink(str(path), (2560, 100), 100.0) as sink:
        for index in range(20):
            sink.write(FrameResult(Frame(image, index, index * 10_000_000), None, (), True))
    found = messages(path)
    assert (len(found["/frames"]), len(found["/camera"])) == (20, 7)
    assert jpeg_of(found["/camera"][0][1]).shape == (50, 1280, 3)
    stored = [one["stored"] for one in objects(path, "/frames")]
    assert stored == [index % 3 == 0 for index in range(20)]


def test_a_failure_leaves_nothing_and_harms_nothing(tmp_path: Path) -> None:
    path = tmp_path / "out.mcap"
    path.write_bytes(b"the last good run")

    def fail() -> None:
        with mcap_sink(str(path), WH, 25.0) as sink:
            sink.write(part(0))
            raise RuntimeError("camera unplugged")

    with pytest.raises(RuntimeError, match="camera"):
        fail()
    assert path.read_bytes() == b"the last good run"
    assert [file.name for file in tmp_path.iterdir()] == ["out.mcap"]


PROGRAM = """
import os, resource, signal, sys
import numpy as np
from sam_edge.errors import OutputError
from sam_edge.streaming.result import FrameResult
from sam_edge.streaming.sinks.mcap import mcap_sink
from sam_edge.streaming.sources.source import Frame

path, limit = sys.argv[1:]
if int(limit):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
random = np.random.default_rng(0)
try:
    with mcap_sink(path, (320, 240), 25.0) as sink:
        for index in range(60):
            noise = random.integers(0, 256, (240, 320, 3), np.uint8)
            sink.write(FrameResult(Frame(noise, index, index * 40_000_000), None, (), True))
        if not int(limit):
            os.kill(os.getpid(), signal.SIGKILL)
except OutputError as error:
    print(error.what)
"""


def run(path: Path, limit: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PROGRAM, str(path), str(limit)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_file_that_cannot_grow_is_said_and_not_kept(tmp_path: Path) -> None:
    done = run(tmp_path / "out.mcap", 300_000)
    assert done.stdout.startswith(f"cannot write {tmp_path / 'out.mcap'}"), done.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_a_crash_leaves_can_be_read_to_the_last_second(tmp_path: Path) -> None:
    assert run(tmp_path / "out.mcap", 0).returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    stream = pytest.importorskip("mcap.stream_reader")
    records = pytest.importorskip("mcap.records")
    found = 0
    with left.open("rb") as file:
        reader = stream.StreamReader(file, record_size_limit=os.stat(left).st_size)
        # The chunk at the end is half written.
        with suppress(Exception):
            for record in reader.records:
                found += isinstance(record, records.Message)
    # 60 frames at 25 a second, each an image and its facts: 2.4 seconds, of which the first two are safe.
    assert found >= 2 * 50


def test_full_disk_is_found_while_the_old_file_is_safe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.mcap"
    path.write_bytes(b"the last good run")
    full = os.statvfs_result([4096, 4096, 9, 9, 0, 9, 9, 9, 0, 255])
    monkeypatch.setattr("sam_edge.streaming.sinks.room.os.statvfs", lambda place: full)

    def write() -> None:
        with mcap_sink(str(path), WH, 25.0) as sink:
            sink.write(part(0))

    with pytest.raises(OutputError, match="the disk is full"):
        write()
    assert path.read_bytes() == b"the last good run"


def test_the_missing_library_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "foxglove", None)
    with (
        pytest.raises(MissingExtraError, match=r"sam-edge\[mcap\]"),
        mcap_sink(str(tmp_path / "a.mcap"), WH, 25),
    ):
        pytest.fail("opened")


def test_two_recordings_at_once_do_not_mix(tmp_path: Path) -> None:
    paths = [tmp_path / "a.mcap", tmp_path / "b.mcap"]
    with mcap_sink(str(paths[0]), WH, 25.0) as first, mcap_sink(str(paths[1]), WH, 25.0) as second:
        first.write(part(0))
        for index in range(3):
            second.write(part(index))
    assert [len(messages(path)["/frames"]) for path in paths] == [1, 3]
    assert isinstance(first, McapSink)
