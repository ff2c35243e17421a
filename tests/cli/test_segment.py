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
        (("--point", "1,2,0", "--point", "3,4,0"), "every point says where the object is not"),
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
        (("--box", "200,1,300,40"), "box (200, 1, 300, 40) lies outside the image, which is 200 x 120"),
        (("--box", "1,1,20,30", "--window", "100,50,40,40"), "outside the window that was encoded"),
        (("--point", "1,1", "--window", "100,50,40,40"), "outside the window that was encoded"),
        (("--point", "1,1", "--window", "1,1,40"), "--window '1,1,40' is not of the form X,Y,W,H"),
        (("--point", "1,1", "--window", "0,0,1.5,9"), "--window '0,0,1.5,9': give whole pixels"),
        (("--point", "1,1", "--window", "0,0,0,9"), "--window '0,0,0,9' shows nothing"),
        (("--point", "1,1", "--window", "0,0,9,-9"), "--window '0,0,9,-9' shows nothing"),
        (("--point", "1,1", "--window", "0,0,nan,9"), "give finite numbers"),
        (("--point", "1,1", "--window", "0,0,201,9"), "does not lie inside the image, which is 200 x 120"),
        (("--point", "1,1", "--window=-1,0,20,9"), "does not lie inside the image"),
        (("--point", "1,1", "--window", "900,900,20,9"), "does not lie inside the image"),
        (("--point", "1,1", "--window", "1e30,0,20,9"), "does not lie inside the image"),
        (("cup.png", "--point", "1,1", "--out", "m.png"), "for one image: give --out-dir"),
        (("cup.png", "--point", "1,1", "--out-dir", "d"), "two images are called cup"),
        (("--point", "1,1", "--out-dir", "d", "--out", "m.png"), "leave --out and --overlay out"),
        (("--point", "1,1", "--out-dir", "cup.png"), "cannot write"),
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


@pytest.mark.parametrize(
    ("box", "cut"),
    [("50,30,150,90", None), ("150,30,300,875", [150, 30, 200, 120]), ("-1e300,-9,1e10,60", [0, 0, 200, 60])],
)
def test_a_box_that_reaches_outside_is_cut_and_said(
    sam_edge: SamEdge, image: str, box: str, cut: list[int] | None
) -> None:
    answer = sam_edge("segment", image, f"--box={box}", *MODEL, "--json", "-", "--overlay", "seen.png")
    assert answer.code == 0
    document = json.loads(answer.out)
    assert document["cut"] == cut
    assert ("was cut to" in answer.err) == (cut is not None)
    if cut:
        given = sam_edge("segment", image, "--box", ",".join(map(str, cut)), *MODEL, "--json", "-")
        assert json.loads(given.out)["masks"] == document["masks"]


def test_only_the_window_is_seen(sam_edge: SamEdge, image: str) -> None:
    answer = sam_edge(
        "segment",
        image,
        "--point",
        "120,70",
        "--window",
        "100,50,40,30",
        *MODEL,
        "--json",
        "-",
        "--npz",
        "a.npz",
    )
    assert answer.code == 0
    document = json.loads(answer.out)
    assert document["window"] == [100, 50, 40, 30]
    assert document["image_size"] == {"width": 200, "height": 120}
    with np.load("a.npz") as arrays:
        assert arrays["masks"].shape == (3, 120, 200)
        ys, xs = np.nonzero(arrays["masks"].any(axis=0))
    assert (xs.min() >= 100, xs.max() < 140, ys.min() >= 50, ys.max() < 80) == (True,) * 4
    whole = sam_edge("segment", image, "--point", "120,70", *MODEL, "--json", "-")
    assert json.loads(whole.out)["window"] == [0, 0, 200, 120]


def test_a_panorama_says_how_small_the_model_sees_it(sam_edge: SamEdge) -> None:
    cv2.imwrite("wide.png", np.zeros((100, 4000, 3), np.uint8))
    whole = sam_edge("segment", "wide.png", "--point", "2000,50", *MODEL)
    assert "note: the model sees this image of 4000 x 100 pixels as 256 x 6" in whole.err
    part = sam_edge("segment", "wide.png", "--point", "2000,50", "--window", "1950,0,150,100", *MODEL)
    assert (part.code, "note:" in part.err) == (0, False)


def test_several_images_into_a_folder_and_an_array(sam_edge: SamEdge, image: str) -> None:
    cv2.imwrite("mug.png", np.zeros((90, 80, 3), np.uint8))
    answer = sam_edge(
        "segment", image, "mug.png", "--point", "40,60", *MODEL, "--out-dir", "masks", "--json", "-"
    )
    assert answer.code == 0
    assert [document["image"] for document in json.loads(answer.out)] == [image, "mug.png"]
    assert answer.err.count("not verified here") == 1
    names = ["cup_mask.png", "cup_overlay.png", "mug_mask.png", "mug_overlay.png"]
    assert sorted(file.name for file in Path("masks").iterdir()) == names
    alone = json.loads(sam_edge("segment", "mug.png", "--point", "40,60", *MODEL, "--json", "-").out)
    assert alone["masks"] == json.loads(answer.out)[1]["masks"]


@pytest.mark.parametrize("order", [["bad.png", "cup.png", "low.png"], ["cup.png", "low.png", "bad.png"]])
def test_a_bad_image_does_not_lose_the_others(sam_edge: SamEdge, image: str, order: list[str]) -> None:
    Path("bad.png").write_bytes(b"no image")
    cv2.imwrite("low.png", np.zeros((30, 200, 3), np.uint8))
    answer = sam_edge(
        "segment", *order, "--point", "100,60", *MODEL, "--out-dir", "masks", "--json", "all.json"
    )
    assert answer.code == 2
    errors = [line for line in answer.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 2
    assert all(sum(name in line for line in errors) == 1 for name in ("bad.png", "low.png"))
    documents = {document["image"]: document for document in json.loads(Path("all.json").read_text())}
    assert list(documents) == order
    assert {name for name, document in documents.items() if "error" in document} == {"bad.png", "low.png"}
    assert sorted(file.name for file in Path("masks").iterdir()) == ["cup_mask.png", "cup_overlay.png"]
    assert "predicted IoU" in answer.out


def test_without_an_image_that_can_be_read_no_model_is_opened(sam_edge: SamEdge) -> None:
    answer = sam_edge("segment", "gone.png", "lost.png", "--point", "1,1", "--model", "nowhere")
    assert answer.code == 2
    assert answer.err.count("No such file") == 2
    assert "nowhere" not in answer.err


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
