"""`sam-edge eval`: tables for people, JSON for machines."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sam_edge.errors import OutputError
from tests.fixtures.commands import Answer
from tests.fixtures.labelled import labelled_set

__all__ = ["labelled_set"]

SamEdge = Callable[..., Answer]
MODEL = ("--model", "../disc")


@pytest.mark.parametrize(
    ("command", "score", "objects"),
    [
        ("points --counts 1,3", "3_point", 4),
        ("gaze-noise", "2_deg", 4),
        ("boxes", "single", 4),
        ("video", "iou", 2),
    ],
)
def test_table_json_and_images(
    sam_edge: SamEdge, labelled_set: Path, command: str, score: str, objects: int
) -> None:
    answer = sam_edge(
        "eval", *command.split(), str(labelled_set), *MODEL, "--json", "a.json", "--sheet", "a.png"
    )
    assert (answer.code, answer.err) == (0, "evaluating shapes\n")
    assert score in answer.out
    assert "mean IoU" in answer.out
    (document,) = json.loads(Path("a.json").read_text()).values()
    assert document["sets"]["shapes"]["objects"] == objects
    assert set(document["sets"]["shapes"]["scores"][score]) == {"mean", "low", "high", "objects"}
    assert Path("a.png").stat().st_size > 1000


def test_the_disc_model_finds_the_disc(sam_edge: SamEdge, labelled_set: Path) -> None:
    answer = sam_edge(
        "eval", "points", str(labelled_set), *MODEL, "--group-by", "category", "--json", "-", "--counts", "1"
    )
    (document,) = json.loads(answer.out).values()
    assert document["groups"]["disc"]["scores"]["1_point"]["mean"] > 0.9
    assert document["groups"]["box"]["scores"]["1_point"]["mean"] < 0.6


def test_baselines_stand_beside_the_model(sam_edge: SamEdge, labelled_set: Path) -> None:
    answer = sam_edge(
        "eval", "points", str(labelled_set), *MODEL, "--baseline", "floodfill", "--counts", "1", "--json", "-"
    )
    model, baseline = json.loads(answer.out)
    assert model.startswith("disc-")
    assert baseline == "floodfill"


def test_counting_clicks_says_what_the_model_takes(sam_edge: SamEdge, labelled_set: Path) -> None:
    answer = sam_edge("eval", "points", str(labelled_set), *MODEL, "--counts", "1", "--noc", "--json", "-")
    assert answer.code == 0
    assert "note: this model takes 4 points" in answer.err
    (document,) = json.loads(answer.out).values()
    assert document["sets"]["shapes"]["scores"]["noc_90"]["mean"] > 4


def test_average_precision(sam_edge: SamEdge, labelled_set: Path) -> None:
    answer = sam_edge("eval", "boxes", str(labelled_set), *MODEL, "--ap", "--json", "-")
    (document,) = json.loads(answer.out).values()
    # None of its objects is small or large.
    assert set(document["coco_ap"]["shapes"]) == {"AP", "AP50", "AP75", "AP_medium"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("points", "nowhere"), "nowhere has no images"),
        (("points",), "Missing argument"),
        (("points", "DATA", "--counts", "0"), "--counts '0': give whole numbers from 1"),
        (("points", "DATA", "--counts", "1", "--group-by", "mood"), "choose one of category, size, split"),
        (("points", "DATA", "--min-area", "999999", "--counts", "1"), "no object was measured"),
        (
            ("points", "DATA", "--counts", "1,20", "--json", "a"),
            "20 points are more than the 4 that this model takes",
        ),
        (("points", "DATA", "--counts", "1.7"), "--counts '1.7': give whole numbers from 1"),
        (("points", "DATA", "--counts", ""), "--counts '': give whole numbers from 1"),
        (("points", "DATA", "--seed", "-1"), "--seed"),
        (("points", "DATA", "--min-area", "-5"), "--min-area"),
        (("points", "DATA", "DATA/../shapes"), "has images of a set named before it"),
        (("points", "DATA", "DATA:val"), "has images of a set named before it"),
        (("video", "DATA", "--error", "-1"), "--error"),
        (("video", "DATA", "--error", "nan"), "not a finite number"),
        (("gaze-noise", "DATA", "--px-per-degree", "nan"), "not a finite number"),
        (("gaze-noise", "DATA", "--degrees", "1,-1"), "give numbers from 0"),
        (("gaze-noise", "DATA", "--degrees", "nan"), "give numbers from 0"),
        (("boxes", "DATA", "--detections", "x.json"), "add --ap"),
        (("boxes", "DATA", "--ap", "--detections", "x.json"), "cannot read x.json"),
    ],
)
def test_bad_arguments(sam_edge: SamEdge, labelled_set: Path, arguments: tuple[str, ...], message: str) -> None:
    filled = [text.replace("DATA", str(labelled_set)) for text in arguments]
    answer = sam_edge("eval", *filled, *MODEL)
    assert answer.code == 2
    assert message in answer.err.splitlines()[-1]
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("points", "--sheet", "p.txt"), "cannot write p.txt as an image"),
        (("points", "--json", "/proc/a.json"), "cannot write /proc/a.json"),
        (("points", "--json", "a", "--sheet", "./a"), "given twice"),
        (
            ("points", "--group-by", "mood"),
            "no object has the field 'mood': choose one of",
        ),
        (("video", "--group-by", "mood"), "choose one of category, sequence, size, split"),
        (("points", "--baseline", "slic"), "pip install 'sam-edge[eval]'"),
        (("points", "--counts", "0"), "give whole numbers from 1"),
        (("boxes", "--ap", "--detections", "b.json", "--json", "b.json"), "output b.json is an input"),
        (("boxes", "--ap", "--detections", "b.json"), "cannot read b.json"),
    ],
)
def test_is_refused_before_the_model_is_loaded(
    sam_edge: SamEdge,
    labelled_set: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.setitem(sys.modules, "skimage", None)
    answer = sam_edge("eval", *arguments, str(labelled_set), "--model", "nowhere")
    assert answer.code == 2
    assert message in answer.err
    assert list(Path().iterdir()) == []


def test_results_are_written_before_images_are_drawn(
    sam_edge: SamEdge, labelled_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OutputError("no room for images")

    monkeypatch.setattr("sam_edge.benchmarks.quality.command.write_sheet", full)
    answer = sam_edge("eval", "video", str(labelled_set), *MODEL, "--json", "a.json", "--sheet", "a.png")
    assert (answer.code, answer.err.splitlines()[-1]) == (2, "error: no room for images")
    assert json.loads(Path("a.json").read_text())
