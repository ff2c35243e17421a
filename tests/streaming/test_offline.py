"""Frames and gaze are joined by time."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sam_edge.embedding import Embedding
from sam_edge.errors import InputError
from sam_edge.masks import Masks
from sam_edge.prompt import Prompt
from sam_edge.segmenter import Segmenter
from sam_edge.streaming.gaze.sample import GazeSample
from sam_edge.streaming.offline import run_offline
from sam_edge.streaming.sources.source import Frame
from tests.disc_model import disc_segmenter

IMAGE = np.zeros((64, 128, 3), np.uint8)


@pytest.fixture
def segmenter(tmp_path: Path) -> Segmenter:
    return disc_segmenter(tmp_path)


def frames(*times_ns: int) -> list[Frame]:
    return [Frame(IMAGE, index, time_ns) for index, time_ns in enumerate(times_ns)]


def test_each_sample_meets_the_newest_frame_before_it(segmenter: Segmenter) -> None:
    gaze = [GazeSample(t, 0.5, 0.5) for t in (0, 9, 10, 11, 19, 20, 29, 30)]
    steps = list(run_offline(segmenter, frames(0, 10, 20), gaze))
    assert [[result.t_ns for result in frame_result.results] for frame_result in steps] == [
        [0, 9],
        [10, 11, 19],
        # The last frame stands as long as the one before it, then the video is over.
        [20, 29],
    ]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 10**9), min_size=1, max_size=8, unique=True).map(sorted),
    st.lists(st.integers(0, 10**9), max_size=20, unique=True).map(sorted),
)
def test_ages_are_never_negative_and_no_sample_is_answered_twice(
    segmenter: Segmenter, frame_times: list[int], gaze_times: list[int]
) -> None:
    gaze = [GazeSample(t, 0.5, 0.5) for t in gaze_times]
    steps = list(run_offline(segmenter, frames(*frame_times), gaze))
    results = [result for frame_result in steps for result in frame_result.results]
    # A frame with very many samples comes in several parts.
    assert [frame_result.last for frame_result in steps].count(True) == len(frame_times)
    assert all(result.frame_age_ms >= 0 for result in results)
    answered = [result.t_ns for result in results]
    assert answered == sorted(set(answered))
    wanted = [t for t in gaze_times if frame_times[0] <= t < frame_times[-1]]
    assert answered[: len(wanted)] == wanted


def test_a_frame_that_stands_long_comes_in_pieces(segmenter: Segmenter) -> None:
    gaze = [GazeSample(t, 0.5, 0.5) for t in range(40)]
    steps = list(run_offline(segmenter, frames(0, 40), gaze))
    assert [
        (frame_result.frame.index, len(frame_result.results), frame_result.last) for frame_result in steps
    ] == [
        (0, 16, False),
        (0, 16, False),
        (0, 8, True),
        (1, 0, True),
    ]


@pytest.mark.parametrize("confidence", [-0.1, 60.0, float("nan")])
def test_impossible_numbers(segmenter: Segmenter, confidence: float) -> None:
    with pytest.raises(InputError, match=r"min_confidence .* give 0 to 1"):
        next(run_offline(segmenter, frames(0), [], min_confidence=confidence))
    with pytest.raises(InputError, match=r"reuse_distance .* give 0 to 1"):
        next(run_offline(segmenter, frames(0), [], reuse_distance=confidence))


class Counting:
    """A segmenter that counts what it does."""

    def __init__(self, segmenter: Segmenter) -> None:
        self.encoded: list[int] = []
        self.decoded = 0
        self._segmenter = segmenter

    def encode(self, image: np.ndarray, *, capture_ns: int) -> Embedding:
        self.encoded.append(capture_ns)
        return self._segmenter.encode(image, capture_ns=capture_ns)

    def decode(self, embedding: Embedding, prompt: Prompt) -> Masks:
        self.decoded += 1
        return self._segmenter.decode(embedding, prompt)


@pytest.mark.parametrize(
    ("gaze", "encoded"),
    [
        # A gap, and a tracker slower than the camera.
        ([GazeSample(t, 0.5, 0.5) for t in (0, 5, 35)], [0, 30]),
        ([GazeSample(t, 0.5, 0.5) for t in (0, 20, 40)], [0, 20, 40]),
        # A blink and a look past the image need no mask.
        ([GazeSample(0, 0.5, 0.5, 0.1), GazeSample(10, 1.5, 0.5), GazeSample(20, 0.5, 0.5)], [20]),
        ([], []),
    ],
)
def test_a_frame_that_no_sample_needs_is_not_encoded(
    segmenter: Segmenter, gaze: list[GazeSample], encoded: list[int]
) -> None:
    counting = Counting(segmenter)
    steps = list(run_offline(cast(Segmenter, counting), frames(0, 10, 20, 30, 40), gaze))
    assert counting.encoded == encoded
    assert [step.frame.capture_ns for step in steps if step.encode_ms is not None] == encoded
    assert len(steps) == 5


def test_samples_on_nearly_the_same_point_of_a_frame_share_a_mask(segmenter: Segmenter) -> None:
    # The frame is 128 pixels wide: 0.02 of it are 2.56.
    gaze = [GazeSample(t, x / 128, 0.5) for t, x in enumerate([30, 32.5, 33, 31, 60, 30])]
    counting = Counting(segmenter)
    steps = list(run_offline(cast(Segmenter, counting), frames(0, 5), gaze, reuse_distance=0.02))
    results = [result for step in steps for result in step.results]
    # The third is too far from the first, which was decoded; the last is on another frame.
    assert [result.reused for result in results] == [False, True, False, True, False, False]
    assert counting.decoded == 4
    assert results[1].masks is results[0].masks
    assert (results[1].decode_ms, results[1].x_px) == (0, 32.5)
    with_each = Counting(segmenter)
    list(run_offline(cast(Segmenter, with_each), frames(0, 5), gaze, reuse_distance=0))
    assert with_each.decoded == 6


def test_mask_lies_under_the_gaze(segmenter: Segmenter) -> None:
    (frame_result,) = run_offline(segmenter, frames(0), [GazeSample(5, 0.25, 0.5)])
    (result,) = frame_result.results
    assert (result.x_px, result.y_px) == (32.0, 32.0)
    assert result.masks is not None
    assert result.masks.binary[0, 32, 32]
    assert result.frame_age_ms == pytest.approx(5e-6)


@pytest.mark.parametrize(
    ("sample", "status"),
    [
        (GazeSample(0, 0.5, 0.5, 0.59), "no_gaze"),
        (GazeSample(0, 0.5, 0.5, 0.60), "mask"),
        (GazeSample(0, -0.01, 0.5, 1.0), "outside"),
        (GazeSample(0, 0.5, 1.01, 1.0), "outside"),
        (GazeSample(0, 1.0, 1.0, 1.0), "mask"),
    ],
)
def test_status(segmenter: Segmenter, sample: GazeSample, status: str) -> None:
    (frame_result,) = run_offline(segmenter, frames(0), [sample])
    assert frame_result.results[0].status == status
    assert (frame_result.results[0].masks is not None) == (status == "mask")
