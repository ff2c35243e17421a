"""`sam-edge segment`: outputs that other tools read, errors that say what to do."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco

from sam_edge.cli import main
from tests.fixtures.commands import Answer
from tests.storage.full_disk import little_room

SamEdge = Callable[..., Answer]
MODEL = ("--model", "../disc")


@pytest.fixture
def image(sam_edge: SamEdge) -> str:
    pixels = np.random.default_rng(0).integers(0, 256, (120, 200, 3), dtype=np.uint8)
    cv2.imwrite("cup.png", pixels)
    return "cup.png"


def test_json_npz_mask_and_overlay_agree(sam_edge: SamEdge, image: str) -> None:
    answer = sam_edge(
        "segment", image, "--point", "100,60", "--point", "5,5,0", "--multimask", *MODEL,
        "--json", "-", "--npz", "cup.npz", "--out", "mask.png", "--overlay", "seen.jpg",
    )  # fmt: skip
    assert (answer.code, answer.err) == (0, "disc on disc fp32: not verified here; run sam-edge verify\n")
    document = json.loads(answer.out)
    assert document["engine"] == "disc fp32"
    assert document["image_size"] == {"width": 200, "height": 120}
    assert set(document["timings_ms"]) == {"load", "encode", "decode", "masks"}
    with np.load("cup.npz") as arrays:
        assert set(arrays.files) == {"embedding", "logits", "iou", "masks"}
        assert arrays["masks"].shape == (3, 120, 200)
        for words, plane in zip(document["masks"], arrays["masks"], strict=True):
            np.testing.assert_array_equal(coco.decode(words["rle"]).astype(bool), plane)
            assert set(words) == {"rle", "bbox", "area", "predicted_iou", "stability_score"}
        best = arrays["masks"][document["best"]]
    np.testing.assert_array_equal(cv2.imread("mask.png", cv2.IMREAD_UNCHANGED), best * np.uint8(255))
    seen = cv2.imread("seen.jpg")
    assert seen is not None
    assert seen.shape == (120, 200, 3)


def test_json_to_a_file_and_a_table_to_the_reader(sam_edge: SamEdge, image: str) -> None:
    answer = sam_edge("segment", image, "--box", "50,30,150,90", *MODEL, "--json", "cup.json")
    assert answer.code == 0
    assert len(json.loads(Path("cup.json").read_text())["masks"]) == 3
    assert "IoU" in answer.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give --point X,Y or --box"),
        (("--point", "1"), "--point '1' is not of the form X,Y[,0|1]"),
        (("--point", "a,b"), "is not of the form"),
        (("--point", "1,2,0", "--point", "3,4,0"), "give one that is on it, or a --box"),
        (("--point", "1,2,3"), "--point '1,2,3': after X,Y comes 1 (on the object) or 0"),
        (("--point", "nan,3"), "--point 'nan,3': give finite numbers"),
        (("--box", "nan,1,2,3"), "--box 'nan,1,2,3': give finite numbers"),
        (("--point", "1000,5", "--out", "newdir/a/m.png"), "outside the image"),
        (("--point", "200.5,3"), "outside the image, which is 200 x 120"),
        (("--box", "1,2,3"), "--box '1,2,3' is not of the form"),
        (("--box", "9,9,3,3"), "empty"),
        (("--point", "1,1", "--out", "cup.png"), "output cup.png is an input"),
        (("--point", "1,1", "--json", "a", "--npz", "./a"), "given twice"),
        (("--point", "1,1", "--out", "m.png", "--overlay", "m.xyz"), "cannot write m.xyz as an image"),
        (("--point", "1,1", "--out", "m.png", "--json", "."), "cannot write .: it is a folder"),
        (("--point", "1,1", "--json", ""), "the name is empty"),
        (("--box", "1,1,1e10,1e10"), "reaches far beyond"),
        (("--point", "1,1", "--threads", "100000000000"), "--threads"),
        (("--point", "1,1", "--out", "mask"), "end its name in .png"),
        (("--point", "1,1", "--out", "/proc/mask.png"), "cannot write"),
        (("--point", "1,1", "--runtime", "tpu"), "unknown runtime 'tpu': choose one of disc"),
        (("--point", "1,1", "--threads", "0"), "--threads"),
        (("--point", "1,1", "--model", "nowhere"), "nowhere is not a model"),
        ((*("--point", "1,1") * 6,), "takes 4 points and a box at most"),
    ],
)
def test_bad_arguments(sam_edge: SamEdge, image: str, arguments: tuple[str, ...], message: str) -> None:
    answer = sam_edge("segment", image, *MODEL, *arguments)
    assert answer.code == 2
    assert answer.out == ""
    assert answer.err.startswith("error: ")
    assert answer.err.count("\n") == 1
    assert message in answer.err
    assert [file.name for file in Path().iterdir()] == [image]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tiff", ".webp"])
def test_truncated_images_are_one_line_too(tmp_path: Path, suffix: str) -> None:
    # In a process of its own, because OpenCV takes its orders on what to print when it is loaded.
    noise = np.random.default_rng(0).integers(0, 256, (100, 200, 3), dtype=np.uint8)
    whole = cv2.imencode(suffix, noise)[1].tobytes()
    bad = tmp_path / f"bad{suffix}"
    bad.write_bytes(whole[: len(whole) // 3])
    command = [sys.executable, "-m", "sam_edge", "segment", str(bad), "--point", "300,1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("content", [b"", b"no image", None])
def test_bad_images(sam_edge: SamEdge, content: bytes | None) -> None:
    if content is not None:
        Path("bad.png").write_bytes(content)
    answer = sam_edge("segment", "bad.png", "--point", "1,1", *MODEL)
    assert answer.code == 2
    assert "bad.png" in answer.err
    assert answer.err.count("\n") == 1


@pytest.mark.parametrize(("option", "name"), [("--npz", "a.npz"), ("--overlay", "a.png")])
def test_a_full_disk_names_the_file(sam_edge: SamEdge, image: str, option: str, name: str) -> None:
    with little_room(2000):
        answer = sam_edge("segment", image, "--point", "1,1", *MODEL, option, name)
    assert answer.code == 2
    assert f"error: cannot write {name}: File too large" in answer.err
    assert [file.name for file in Path().iterdir()] == [image]


def test_edited_model(sam_edge: SamEdge, image: str) -> None:
    Path("../disc/encoder.onnx").write_bytes(b"edited")
    answer = sam_edge("segment", image, "--point", "1,1", *MODEL)
    assert answer.code == 2
    assert "encoder.onnx was edited or damaged" in answer.err


@pytest.mark.parametrize("command", [[], ["segment"], ["run"], ["demo"], ["export"]])
def test_help_has_examples(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--help"]) == 0
    assert "Examples:" in capsys.readouterr().out


def test_unknown_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fly"]) == 2
    assert capsys.readouterr().err == "error: No such command 'fly'.\n"
