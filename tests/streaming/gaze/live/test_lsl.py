"""The Lab Streaming Layer, with an outlet in this process."""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam_edge.errors import InputError
from sam_edge.streaming.gaze.live.lsl import Channels, find_channels, open_lsl, parse_name
from sam_edge.streaming.gaze.live.tracker import RejectedError
from sam_edge.streaming.gaze.sample import GazeSample

Channel = tuple[str, str, str]
"""Label, type, unit."""
CAPTURE: tuple[Channel, ...] = (
    ("confidence", "Confidence", "normalized"),
    ("norm_pos_x", "ScreenX", "normalized"),
    ("norm_pos_y", "ScreenY", "normalized"),
    ("gaze_point_3d_x", "DirectionX", "mm"),
)
"""What Pupil Capture's relay declares."""


@pytest.fixture
def pylsl() -> Any:
    try:
        import pylsl
    except ImportError:
        pytest.skip("pylsl is not installed")
    except (RuntimeError, OSError):
        pytest.skip("pylsl brings no liblsl for this machine")
    return pylsl


@pytest.fixture
def name() -> str:
    """Of a stream that is nobody else's."""
    return f"sam-edge-{uuid.uuid4()}"


def outlet(pylsl: Any, name: str, channels: Sequence[Channel], kind: str = "Gaze") -> Any:
    info = pylsl.StreamInfo(name, kind, len(channels), 200, pylsl.cf_double64, name)
    described = info.desc().append_child("channels")
    for channel in channels:
        node = described.append_child("channel")
        for key, text in zip(("label", "type", "unit"), channel, strict=True):
            node.append_child_value(key, text)
    return pylsl.StreamOutlet(info)


def exchange(
    pylsl: Any, out: Any, address: str, *samples: Sequence[float]
) -> tuple[list[GazeSample], list[float]]:
    """What arrives of some samples, and when they were stamped."""

    def push() -> list[float]:
        assert out.wait_for_consumers(20)
        stamps_s = [pylsl.local_clock() + k / 1e3 for k in range(len(samples))]
        for values, stamp_s in zip(samples, stamps_s, strict=True):
            out.push_sample(list(values), stamp_s)
        return stamps_s

    with ThreadPoolExecutor(1) as pool, closing(open_lsl(address)) as tracker:
        pushed = pool.submit(push)
        return list(islice(tracker, len(samples))), pushed.result()


def test_a_stream_by_its_name(pylsl: Any, name: str) -> None:
    out = outlet(pylsl, name, CAPTURE)
    rows = [(0.9, 0.25, 0.75, 1.0), (0.0, math.nan, math.nan, math.nan), (1.0, 0.5, -0.5, 1.0)]
    samples, stamps_s = exchange(pylsl, out, f"lsl:{name}", *rows)
    # Capture's y counts from the bottom; an eye that is not found is NaN.
    assert [(s.x_norm, s.y_norm, s.confidence) for s in samples] == [
        (0.25, 0.25, 0.9),
        (0, 0, 0),
        (0.5, 1.5, 1),
    ]
    for sample, stamp_s in zip(samples, stamps_s, strict=True):
        assert sample.clock == "host"
        assert sample.t_ns - sample.offset_ns == pytest.approx(stamp_s * 1e9, abs=1000)
        # One machine: the stream's clock is ours.
        assert sample.offset_ns == pytest.approx(0, abs=1e9)
        assert 0 < sample.receive_ns <= time.monotonic_ns()


def test_pixels_of_a_size_that_is_told(pylsl: Any, name: str) -> None:
    out = outlet(pylsl, name, [("x", "ScreenX", "pixels"), ("y", "ScreenY", "pixels")])
    samples, _ = exchange(pylsl, out, f"lsl:{name}?size=640x480", (320, 120))
    assert [(s.x_norm, s.y_norm, s.confidence) for s in samples] == [(0.5, 0.25, 1)]


def test_the_stream_is_looked_for_again(pylsl: Any, name: str, caplog: pytest.LogCaptureFixture) -> None:
    """What is there has no gaze; then it is replaced."""
    wrong = outlet(pylsl, name, [("Fz", "EEG", "microvolts")])
    with ThreadPoolExecutor(1) as pool, closing(open_lsl(f"lsl:{name}")) as tracker:
        first = pool.submit(lambda: next(iter(tracker)))
        assert wrong.wait_for_consumers(20)
        del wrong
        out = outlet(pylsl, name, CAPTURE)
        assert out.wait_for_consumers(20)
        out.push_sample([1.0, 0.5, 0.5, 0.0])
        assert first.result(20).x_norm == 0.5
    assert name in caplog.text


def test_a_format_of_text(pylsl: Any, name: str) -> None:
    channels = Channels(0, 1, None)
    with pytest.raises(RejectedError):
        channels.sample(["left", "right"], 0, 0, 0)


def described(*channels: Channel, eyes: Sequence[str] = ()) -> list[dict[str, str]]:
    keys = ("label", "type", "unit")
    found = [dict(zip(keys, channel, strict=True)) for channel in channels]
    for channel, eye in zip(found, eyes, strict=False):
        channel["eye"] = eye
    return found


def test_channels_by_type_by_label_and_of_both_eyes() -> None:
    assert find_channels(described(*CAPTURE), "s", None) == Channels(1, 2, 0, from_bottom=True)
    by_label = described(("Gaze_X", "", "norm"), ("gaze_y", "", "norm"), ("Confidence", "", ""))
    assert find_channels(by_label, "s", None) == Channels(0, 1, 2)
    eyes = described(
        *(("", f"Screen{axis}", "normalized") for axis in "XYXY"), eyes=("left", "left", "both", "both")
    )
    assert find_channels(eyes, "s", None) == Channels(2, 3, None)


def test_pixels_of_pupil_labs_cameras() -> None:
    pixels = described(("x", "ScreenX", "pixels"), ("y", "ScreenY", "pixels"))
    assert find_channels(pixels, "pupil_invisible", None).size == (1088, 1080)
    assert find_channels(pixels, "Neon Companion_Neon Gaze", None).size == (1600, 1200)
    assert find_channels(pixels, "pupil_invisible", (10, 20)).size == (10, 20)
    with pytest.raises(ConnectionError, match="size"):
        find_channels(pixels, "tracker", None)
    with pytest.raises(ConnectionError, match="ScreenX"):
        find_channels(described(("Fz", "EEG", "")), "eeg", None)


def test_names() -> None:
    assert parse_name("lsl:") == ("", None)
    assert parse_name("lsl://") == ("", None)
    assert parse_name("lsl:my gaze") == ("my gaze", None)
    assert parse_name("lsl:?size=1600x1200") == ("", (1600, 1200))
    with pytest.raises(InputError):
        parse_name("lsl:a?size=x")


@given(
    st.lists(st.one_of(st.floats(), st.text(max_size=3), st.none(), st.integers()), max_size=4),
    st.floats(0.1, 4000),
    st.booleans(),
)
def test_nothing_that_comes_raises(values: list[object], width: float, from_bottom: bool) -> None:
    channels = Channels(0, 1, 2, (width, 1.0), from_bottom)
    try:
        sample = channels.sample(values, 0, 0, 0)
    except RejectedError:
        return
    assert math.isfinite(sample.x_norm + sample.y_norm)
