"""Evaluations give the numbers that can be worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from sam_edge.benchmarks.quality.boxes import box_of, evaluate_ap, evaluate_boxes, read_detections
from sam_edge.benchmarks.quality.candidates import BASELINES, Baseline
from sam_edge.benchmarks.quality.gaze_noise import evaluate_gaze_noise
from sam_edge.benchmarks.quality.labelled import open_dataset
from sam_edge.benchmarks.quality.points import PointProtocol, evaluate_points
from sam_edge.benchmarks.quality.scores import Row, report, summarize, table
from sam_edge.benchmarks.quality.sheet import write_sheet
from sam_edge.benchmarks.quality.video import carried, evaluate_video, motion
from sam_edge.embedding import Embedding
from sam_edge.errors import InputError
from sam_edge.geometry import View
from sam_edge.imaging.overlap import mask_iou
from sam_edge.masks import Masks
from sam_edge.progress import silent
from sam_edge.prompt import Prompt
from tests.fixtures.labelled import BOX, DISC, labels


def half_of(number: int) -> np.ndarray:
    """Everything of an object that lies left of its middle."""
    truth: np.ndarray = labels() == number
    truth &= np.arange(truth.shape[1]) < np.mean(np.nonzero(truth)[1])
    return truth


class Oracle:
    """Knows the labels: the object under the last point, or a chosen share of it until enough are given."""

    max_points = 20

    def __init__(self, needs: int = 1) -> None:
        self.needs = needs

    def encode(self, image: np.ndarray) -> Embedding:
        size = (image.shape[1], image.shape[0])
        return Embedding({}, View(size, (0, 0, *size), size, size), 0, "oracle")

    def decode(self, embedding: Embedding, prompt: Prompt, *, multimask: bool | None = None) -> Masks:
        xy = prompt.points_px[0] if prompt.box_px is None else prompt.box_px.reshape(2, 2).mean(axis=0)
        truth = labels() == labels()[int(xy[1]), int(xy[0])]
        if prompt.tokens - 1 < self.needs:
            truth = half_of(int(labels()[int(xy[1]), int(xy[0])]))
        count = 1 if multimask is False or (multimask is None and prompt.tokens > 2) else 3
        planes = [truth, ~truth, truth & False][:count]
        logits = np.stack(planes).astype(np.float32) * 2 - 1
        return Masks(logits, np.array([0.9, 0.8, 0.7], np.float32)[:count], embedding.view)


def test_points_of_an_oracle_are_all_right(labelled_set: Path) -> None:
    rows = evaluate_points(Oracle(), [open_dataset(str(labelled_set))], PointProtocol((1, 3)), silent)
    # Two images with a disc and a box; the third object is smaller than 32 x 32 pixels.
    assert [row.number for row in rows] == [DISC, BOX, DISC, BOX]
    assert all(set(row.scores) == {"1_point", "1_point_oracle", "3_point"} for row in rows)
    assert all(value == 1 for row in rows for value in row.scores.values())


@pytest.mark.parametrize("feedback", [True, False])
def test_the_answer_goes_back_in_with_the_next_click(labelled_set: Path, feedback: bool) -> None:
    prompts: list[Prompt] = []

    class Listening(Oracle):
        def decode(self, embedding: Embedding, prompt: Prompt, *, multimask: bool | None = None) -> Masks:
            prompts.append(prompt)
            return super().decode(embedding, prompt, multimask=multimask)

    protocol = PointProtocol((3,), feedback=feedback)
    evaluate_points(Listening(needs=2), [open_dataset(str(labelled_set), limit=1)], protocol, silent)
    first, second, third = prompts[:3]
    assert first.mask_logits is None
    if not feedback:
        assert second.mask_logits is None
        return
    # Half of the object, then all of it.
    assert second.mask_logits is not None
    assert third.mask_logits is not None
    np.testing.assert_array_equal(second.mask_logits > 0, half_of(DISC))
    np.testing.assert_array_equal(third.mask_logits > 0, labels() == DISC)


def test_clicks_are_counted_until_the_target(labelled_set: Path) -> None:
    protocol = PointProtocol((1, 5), noc=True, feedback=False)
    rows = evaluate_points(Oracle(needs=4), [open_dataset(str(labelled_set), limit=1)], protocol, silent)
    assert [row.number for row in rows] == [DISC, BOX]
    for row in rows:
        assert row.scores["1_point"] == pytest.approx(0.5, abs=0.05)
        assert row.scores["5_point"] == 1
        assert [row.scores[f"noc_{target}"] for target in (80, 85, 90)] == [4, 4, 4]


def test_a_hopeless_object_takes_all_clicks(labelled_set: Path) -> None:
    protocol = PointProtocol((1,), noc=True, feedback=False)
    (row, _) = evaluate_points(Oracle(99), [open_dataset(str(labelled_set), limit=1)], protocol, silent)
    assert row.scores["noc_80"] == 20


class Narrow(Oracle):
    """Takes three points."""

    max_points = 3


def test_clicks_that_a_model_cannot_take_count_as_the_cap_of_all(labelled_set: Path) -> None:
    datasets = [open_dataset(str(labelled_set), limit=1)]
    protocol = PointProtocol((1, 3), noc=True, feedback=False)
    rows = [evaluate_points(one, datasets, protocol, silent)[0] for one in (Narrow(99), Oracle(99), Narrow(2))]
    assert [row.scores["noc_80"] for row in rows] == [20, 20, 2]
    assert all("3_point" in row.scores for row in rows)


def test_points_beyond_the_cap_are_measured_too(labelled_set: Path) -> None:
    wide = Oracle(22)
    wide.max_points = 24
    protocol = PointProtocol((1, 24), noc=True, feedback=False)
    row = evaluate_points(wide, [open_dataset(str(labelled_set), limit=1)], protocol, silent)[0]
    assert (row.scores["24_point"], row.scores["noc_80"]) == (1, 20)


def test_more_points_than_a_model_takes_are_refused_first(labelled_set: Path) -> None:
    measured: list[None] = []
    datasets = [open_dataset(str(labelled_set))]
    with pytest.raises(InputError, match=r"4 points are more than the 3 .* export --max-points 4"):
        evaluate_points(
            Narrow(), datasets, PointProtocol((1, 4)), lambda step, done=None: measured.append(None)
        )
    assert not measured


def test_gaze_noise_moves_the_point(labelled_set: Path) -> None:
    rows = evaluate_gaze_noise(
        Oracle(), [open_dataset(str(labelled_set))], silent, degrees=(0, 10), px_per_degree=6
    )
    # 60 px are off the disc, whose radius is 20.
    (disc, *_) = rows
    assert disc.scores["0_deg"] == 1
    assert disc.scores["10_deg"] == 0


def test_a_photo_is_as_wide_as_a_scene_camera_sees(labelled_set: Path) -> None:
    rows = evaluate_gaze_noise(Oracle(), [open_dataset(str(labelled_set))], silent, degrees=(6, 16))
    # 256 px are 103 degrees: 15 px off is inside the disc, whose radius is 20; 40 px are outside.
    assert rows[0].scores["6_deg"] == 1
    assert rows[0].scores["16_deg"] == 0


def test_boxes(labelled_set: Path) -> None:
    rows = evaluate_boxes(Oracle(), [open_dataset(str(labelled_set))], silent)
    assert all(row.scores == {"single": 1, "most_confident": 1, "oracle": 1} for row in rows)
    assert box_of(labels() == BOX) == (150, 20, 230, 70)


def test_average_precision(labelled_set: Path) -> None:
    dataset = open_dataset(str(labelled_set), limit=1)
    assert evaluate_ap(Oracle(), dataset, silent)["AP"] == pytest.approx(1)
    # A detector that finds the disc only: one of two categories.
    (labelled_set / "boxes.json").write_text(
        json.dumps([{"image": "00000", "bbox": [60, 70, 40, 40], "category": "disc", "score": 0.9}])
    )
    found = read_detections(labelled_set / "boxes.json")
    assert evaluate_ap(Oracle(), dataset, silent, found)["AP"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    "content",
    [
        '[{"image": "a"}]',
        '[{"image": "a", "bbox": [1, 2, 0, 4], "category": "c", "score": 1}]',
        '[{"image": "a", "bbox": [1, 2, NaN, 4], "category": "c", "score": 1}]',
        "no json",
    ],
)
def test_files_that_are_not_detections(tmp_path: Path, content: str) -> None:
    (tmp_path / "boxes.json").write_text(content)
    with pytest.raises(InputError, match="is not a list of detections"):
        read_detections(tmp_path / "boxes.json")


def test_video_flicker_is_what_motion_does_not_explain(labelled_set: Path) -> None:
    dataset = open_dataset(str(labelled_set))
    first, second = evaluate_video(Oracle(), [dataset], silent, error_deg=0)
    assert np.isnan(first.scores["flicker"])
    assert second.scores == {"iou": 1, "oracle": 1, "flicker": 0, "flicker_of_truth": 0}
    half, _ = Oracle(), None
    answers = iter([Oracle(), Oracle(needs=2)])

    class Flickering:
        max_points = 20

        def encode(self, image: np.ndarray) -> Embedding:
            return half.encode(image)

        def decode(self, embedding: Embedding, prompt: Prompt, *, multimask: bool | None = None) -> Masks:
            return next(answers).decode(embedding, prompt, multimask=multimask)

    _, flickers = evaluate_video(Flickering(), [dataset], silent, error_deg=0)
    assert flickers.scores["flicker"] == pytest.approx(0.5, abs=0.05)


def test_frames_that_do_not_follow_have_no_flicker(labelled_set: Path) -> None:
    for kind in ("images", "labels"):
        folder = labelled_set / kind / "val"
        (folder / "00001.png").rename(folder / "00005.png")
    rows = evaluate_video(Oracle(), [open_dataset(str(labelled_set))], silent, error_deg=0)
    assert [np.isnan(row.scores["flicker"]) for row in rows] == [True, True]


def test_flow_carries_a_mask_along() -> None:
    rng = np.random.default_rng(0)
    texture = cv2.resize(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8), (320, 240)).astype(np.uint8)
    shifted = np.roll(texture, (4, 6), axis=(0, 1))
    mask = np.zeros((240, 320), bool)
    mask[80:160, 100:200] = True
    moved = carried(mask, motion(texture, shifted))
    assert mask_iou(moved, np.roll(mask, (4, 6), axis=(0, 1))) > 0.9


@pytest.mark.parametrize("name", BASELINES)
def test_baselines_find_a_plain_shape(labelled_set: Path, name: str) -> None:
    baseline = Baseline(name)
    rows = evaluate_points(baseline, [open_dataset(str(labelled_set), limit=1)], PointProtocol((1,)), silent)
    assert max(row.scores["1_point_oracle"] for row in rows) > 0.7


def test_unknown_baseline() -> None:
    with pytest.raises(InputError, match="choose one of grabcut, slic, floodfill, disc"):
        Baseline("magic")


def row(image: str, value: float, size: str = "large") -> Row:
    return Row("set", image, 1, {"size": size}, {"iou": value})


def test_interval_holds_the_mean_and_shrinks_with_images() -> None:
    rng = np.random.default_rng(0)
    few = summarize([row(str(k), float(rng.uniform())) for k in range(10)])["iou"]
    many = summarize([row(str(k), float(rng.uniform())) for k in range(400)])["iou"]
    assert few["low"] < few["mean"] < few["high"]
    assert many["high"] - many["low"] < (few["high"] - few["low"]) / 3


def test_objects_of_one_image_count_together() -> None:
    spread = [row(str(k), float(k % 2)) for k in range(40)]
    clustered = [row(str(k % 2), float(k % 2)) for k in range(40)]
    assert summarize(clustered)["iou"]["high"] > summarize(spread)["iou"]["high"]


def test_what_cannot_be_said_is_left_out() -> None:
    rows = [row("a", float("nan")), row("b", 0.5)]
    assert summarize(rows)["iou"]["mean"] == 0.5
    assert summarize(rows[:1]) == {}
    document = report(rows[:1])
    assert document["sets"]["set"]["unknown"] == ["iou"]
    assert table(document).splitlines()[1].split() == ["iou", "-", "nothing", "to", "measure", "it", "on"]
    assert report(rows)["sets"]["set"]["unknown"] == []


def test_columns_have_heads() -> None:
    scores = {"1_point": 0.5, "3_point": 0.75, "noc_80": 4.0}
    lines = table(report([Row("set", "a", 1, {}, scores), Row("other", "b", 1, {}, scores)])).splitlines()
    assert lines[0] == "other: 1 objects on 1 images"
    assert lines[1].split() == ["score", "mean", "IoU", "95", "%", "interval", "objects"]
    assert lines[3].split() == ["3_point", "0.750", "[0.750,", "0.750]", "1"]
    assert lines[4].split() == ["score", "mean", "clicks", "95", "%", "interval", "objects"]
    assert lines[5].split() == ["noc_80", "4.000", "[4.000,", "4.000]", "1"]
    # Numbers end where their heads do.
    assert lines[1].index("IoU") + len("IoU") == lines[3].index("0.750") + len("0.750")
    assert len(lines[1]) == len(lines[3])
    assert [lines[-5].split(), lines[-2].split()] == [["score", "mean", kind] for kind in ("IoU", "clicks")]


def test_groups() -> None:
    document = report([row("a", 1.0), row("b", 0.0, "small")], "size")
    assert document["groups"]["small"]["scores"]["iou"]["mean"] == 0
    assert document["sets"]["set"]["objects"] == 2
    assert "small: 1 objects on 1 images" in table(document)
    # What was measured for hours is not lost for a field that only objects too small to count have.
    assert list(report([row("a", 1.0)], "colour")["groups"]) == ["(none)"]


def test_no_objects() -> None:
    with pytest.raises(InputError, match="no object was measured"):
        report([])


def test_sheet_shows_best_median_and_worst(labelled_set: Path, tmp_path: Path) -> None:
    datasets = [open_dataset(str(labelled_set))]
    rows = evaluate_points(Oracle(), datasets, PointProtocol((1,)), silent)
    write_sheet(tmp_path / "sheet.png", Oracle(), datasets, rows, "1_point")
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    assert sheet is not None
    assert sheet.shape == (3 * 256, 6 * 256, 3)
    # The first tile: tinted where the disc is.
    assert int(sheet[90, 66, 1]) > int(sheet[90, 66, 2]) + 30
