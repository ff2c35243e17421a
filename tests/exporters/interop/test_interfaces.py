"""Programs written for other exports of SAM run on ours: each step is one that such a program takes."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from sam_edge.bundle.manifest import Interface
from sam_edge.errors import FidelityError, InputError
from sam_edge.exporters import export as export_module
from sam_edge.exporters.export import ExportSettings, export
from sam_edge.exporters.interop import interfaces as foreign
from sam_edge.exporters.interop.interfaces import FILES, check_interface, make_interface
from sam_edge.geometry import InputSize
from sam_edge.loading import load
from sam_edge.modeling.families import FAMILIES, SAM_PREPROCESS
from sam_edge.prompt import Prompt
from tests.kept_graphs import kept_graph
from tests.modeling.tiny_sam import DIM, GRID, SIDE_PX, TINY, tiny_sam

pytestmark = pytest.mark.slow

Array = NDArray[np.float32]
IMAGES_HW = [(96, 128), (150, 84), (61, 200)]


@pytest.fixture(scope="module")
def interfaces(
    tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Mapping[str, Interface]]:
    folder = tmp_path_factory.mktemp("foreign")
    shutil.copy(tiny_bundle / "encoder.onnx", folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(foreign, "write_graph", kept_graph)
        return folder, {name: make_interface(name, tiny_sam(), TINY, folder) for name in FILES}


@pytest.fixture(scope="module")
def sessions(interfaces: tuple[Path, Mapping[str, Interface]]) -> dict[str, ort.InferenceSession]:
    folder, made = interfaces
    files = [file for interface in made.values() for file in interface.files.values()]
    return {file: ort.InferenceSession(folder / file) for file in files}


class OfficialClient:
    """The steps of segment_anything's ONNX example, on a square of SIDE_PX."""

    def __init__(self, decoder: ort.InferenceSession, embedding: Array, image_hw: tuple[int, int]) -> None:
        self.decoder = decoder
        self.embedding = embedding
        self.image_hw = image_hw

    def apply_coords(self, coords: NDArray[np.float64]) -> NDArray[np.float64]:
        """As ResizeLongestSide(SIDE_PX) does."""
        height, width = self.image_hw
        scale = SIDE_PX * 1.0 / max(height, width)
        new_height, new_width = int(height * scale + 0.5), int(width * scale + 0.5)
        return np.multiply(coords, (new_width / width, new_height / height))

    def predict(
        self,
        points: list[tuple[float, float]],
        labels: list[int],
        box: list[float] | None = None,
        mask: Array | None = None,
    ) -> list[Array]:
        extra = np.array([[0.0, 0.0]]) if box is None else np.array(box).reshape(2, 2)
        coords = np.concatenate([np.array(points, np.float64).reshape(-1, 2), extra])[None]
        marks = np.concatenate([np.array(labels, np.float64), [-1] if box is None else [2, 3]])[None]
        answer: list[Array] = self.decoder.run(
            None,
            {
                "image_embeddings": self.embedding,
                "point_coords": self.apply_coords(coords).astype(np.float32),
                "point_labels": marks.astype(np.float32),
                "mask_input": np.zeros((1, 1, SIDE_PX // 4, SIDE_PX // 4), np.float32)
                if mask is None
                else mask,
                "has_mask_input": np.array([mask is not None], np.float32),
                "orig_im_size": np.array(self.image_hw, np.float32),
            },
        )
        return answer


def photo(size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    coarse = np.random.default_rng(3).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, size_hw[::-1], interpolation=cv2.INTER_CUBIC))


def near(ours: Array, theirs: Array) -> bool:
    assert ours.shape == theirs.shape
    return float(np.abs(ours - theirs).max()) < 2e-4


def test_signature_is_the_official_one(sessions: Mapping[str, ort.InferenceSession]) -> None:
    for file, masks in (("official.decoder.onnx", 4), ("official.decoder.single.onnx", 1)):
        inputs = {item.name: (item.shape, item.type) for item in sessions[file].get_inputs()}
        assert list(inputs) == [
            "image_embeddings",
            "point_coords",
            "point_labels",
            "mask_input",
            "has_mask_input",
            "orig_im_size",
        ]
        assert {kind for _, kind in inputs.values()} == {"tensor(float)"}
        assert inputs["point_coords"][0] == [1, "num_points", 2]
        assert inputs["image_embeddings"][0] == [1, DIM, *GRID]
        outputs = {item.name: item.shape for item in sessions[file].get_outputs()}
        assert list(outputs) == ["masks", "iou_predictions", "low_res_masks"]
        assert outputs["iou_predictions"] == [1, masks]
        assert outputs["low_res_masks"] == [1, masks, SIDE_PX // 4, SIDE_PX // 4]


@pytest.mark.parametrize("image_hw", IMAGES_HW)
def test_the_official_example_gets_the_segmenters_masks(
    image_hw: tuple[int, int], sessions: Mapping[str, ort.InferenceSession], tiny_bundle: Path
) -> None:
    height, width = image_hw
    image = photo(image_hw)
    point, box = (0.4 * width, 0.6 * height), [0.2 * width, 0.1 * height, 0.8 * width, 0.9 * height]
    with load(tiny_bundle, runtime="onnxruntime") as segmenter:
        embedding = segmenter.encode(image)
        seen = np.asarray(embedding.tensors["embedding"])
        several = OfficialClient(sessions["official.decoder.onnx"], seen, image_hw)
        single = OfficialClient(sessions["official.decoder.single.onnx"], seen, image_hw)
        earlier = segmenter.decode(embedding, Prompt.points([point]), multimask=False).logits
        asked: list[tuple[Any, dict[str, Any], Prompt]] = [
            (([point], [1]), {}, Prompt.points([point])),
            (([point, (1.0, 2.0)], [1, 0]), {}, Prompt.points([point, (1.0, 2.0)], [1, 0])),
            (([], []), {"box": box}, Prompt.box(box)),
            (([point], [1]), {"box": box}, Prompt.points([point], box=box)),
            (([point], [1]), {"mask": earlier[None]}, Prompt.points([point], mask_logits=earlier)),
        ]
        for positional, named, prompt in asked:
            masks, iou, low = several.predict(*positional, **named)
            for multimask, picked in ((False, slice(0, 1)), (True, slice(1, 4))):
                ours = segmenter.decode(embedding, prompt, multimask=multimask)
                assert near(low[0, picked], ours.logits)
                assert near(iou[0, picked], ours.predicted_iou)
                assert near(masks[0, picked], ours.frame_logits)
            best = segmenter.decode(embedding, prompt).best()
            masks, iou, low = single.predict(*positional, **named)
            assert near(low[0], best.logits)
            assert near(iou[0], best.predicted_iou)
            assert near(masks[0], best.frame_logits)
            assert masks.shape == (1, 1, height, width)


@pytest.mark.parametrize("count", [1, 2, 3, 60])
def test_any_number_of_points_is_pytorchs_answer(
    count: int, sessions: Mapping[str, ort.InferenceSession]
) -> None:
    sam = tiny_sam()
    torch.manual_seed(count)
    embedding, mask = torch.randn(1, DIM, *GRID), torch.randn(1, 1, SIDE_PX // 4, SIDE_PX // 4)
    coords, labels = torch.rand(1, count, 2) * SIDE_PX, torch.randint(-1, 4, (1, count)).float()
    for has_mask in (0.0, 1.0):
        given = (embedding, coords, labels, mask, torch.tensor([has_mask]), torch.tensor([70.0, 90.0]))
        names = [item.name for item in sessions["official.decoder.onnx"].get_inputs()]
        feeds = {name: value.numpy() for name, value in zip(names, given, strict=True)}
        _, iou, low = sessions["official.decoder.onnx"].run(None, feeds)
        expected = sam.decode(embedding, coords, labels, mask if has_mask else None)
        assert near(low, expected[0].numpy())
        assert near(iou, expected[1].numpy())
        _, iou, low = sessions["official.decoder.single.onnx"].run(None, feeds)
        scores = expected[1][0] + (count - 2.5) * torch.tensor([1000.0, 0.0, 0.0, 0.0])
        assert near(low[0, 0], expected[0][0, scores.argmax()].numpy())
        assert near(iou[0, 0], expected[1][0, scores.argmax()].numpy())


@pytest.mark.parametrize("image_hw", IMAGES_HW)
def test_samexporters_steps_give_the_segmenters_masks(
    image_hw: tuple[int, int], sessions: Mapping[str, ort.InferenceSession], tiny_bundle: Path
) -> None:
    height, width = image_hw
    bgr = np.ascontiguousarray(photo(image_hw)[..., ::-1])
    encoder, decoder = sessions["samexporter.encoder.onnx"], sessions["samexporter.decoder.onnx"]
    (only,) = encoder.get_inputs()
    assert (only.name, only.shape[2], len(only.shape)) == ("input_image", 3, 3)
    scale = SIDE_PX / max(height, width)
    resized_wh = (int(width * scale + 0.5), int(height * scale + 0.5))
    rgb = Image.fromarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)).resize(resized_wh, Image.Resampling.BILINEAR)
    embedding = encoder.run(None, {only.name: np.asarray(rgb).astype(np.float32)})[0]
    point = (0.4 * width, 0.6 * height)
    low = OfficialClient(decoder, embedding, image_hw).predict([point], [1])[2][0, 0]
    upscaled = cv2.resize(low, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_LINEAR)
    cropped = upscaled[: resized_wh[1], : resized_wh[0]]
    mask = cv2.resize(cropped, (width, height), interpolation=cv2.INTER_LINEAR)
    with load(tiny_bundle, runtime="onnxruntime") as segmenter:
        seen = segmenter.encode(photo(image_hw))
        assert near(embedding, np.asarray(seen.tensors["embedding"]))
        best = segmenter.decode(seen, Prompt.points([point])).best()
    assert near(mask, best.frame_logits[0])


def test_the_encoder_carries_nothing_it_does_not_need(interfaces: tuple[Path, Mapping[str, Interface]]) -> None:
    folder, _ = interfaces
    ours, whole = (onnx.load(folder / name) for name in ("samexporter.encoder.onnx", "encoder.onnx"))
    onnx.checker.check_model(ours, full_check=True)
    assert [output.name for output in ours.graph.output] == ["image_embeddings"]
    assert 0 < len(ours.graph.initializer) < len(whole.graph.initializer)
    used = {name for node in ours.graph.node for name in node.input}
    assert {tensor.name for tensor in ours.graph.initializer} <= used


def test_large_weights_are_shared_with_the_models_encoder(
    interfaces: tuple[Path, Mapping[str, Interface]], tmp_path: Path
) -> None:
    folder, _ = interfaces
    source = onnx.load(folder / "encoder.onnx")
    onnx.save(
        source,
        tmp_path / "encoder.onnx",
        save_as_external_data=True,
        location="encoder.onnx.data",
        size_threshold=256,
    )
    bare = onnx.load(tmp_path / "encoder.onnx", load_external_data=False)
    onnx.save(foreign.image_encoder(bare, SIDE_PX, SAM_PREPROCESS), tmp_path / "samexporter.encoder.onnx")
    assert {path.name for path in tmp_path.iterdir()} == {
        "encoder.onnx",
        "encoder.onnx.data",
        "samexporter.encoder.onnx",
    }
    given = {"input_image": photo((96, 128)).astype(np.float32)}
    shared, inline = (
        ort.InferenceSession(place / "samexporter.encoder.onnx").run(None, given)[0]
        for place in (tmp_path, folder)
    )
    assert near(shared, inline)


def test_what_was_measured_is_kept(interfaces: tuple[Path, Mapping[str, Interface]]) -> None:
    _, made = interfaces
    assert set(made["official"].fidelity) == {"logits_rms", "masks_rms", "iou_max", "mask_disagreement"}
    assert set(made["samexporter"].fidelity) == {*made["official"].fidelity, "embedding_rms"}
    assert all(0 <= value < 1e-4 for interface in made.values() for value in interface.fidelity.values())


def test_graphs_that_differ_are_not_written(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(tiny_bundle / "encoder.onnx", tmp_path)
    brighter = replace(TINY, preprocess=replace(SAM_PREPROCESS, mean=(120.0, 116.28, 103.53)))
    monkeypatch.setattr(foreign, "write_graph", kept_graph)
    right = foreign.image_encoder
    monkeypatch.setattr(
        foreign, "image_encoder", lambda encoder, side, _: right(encoder, side, brighter.preprocess)
    )
    with pytest.raises(FidelityError, match=r"--interface samexporter differ .* embedding_rms"):
        make_interface("samexporter", tiny_sam(), TINY, tmp_path)


@pytest.mark.parametrize(
    ("name", "size", "reason"),
    [
        ("official", InputSize(1024, 16, False, fixed_wh=(1024, 576)), "leave out --input"),
        ("official", InputSize(1024, 16, True, fit="squash"), "pads images into a square"),
        ("samexporter", InputSize(1024, 64, True, encoder_stride=2), "use --interface official"),
        ("onnx", InputSize(1024, 16, True), "choose official or samexporter"),
    ],
)
def test_what_cannot_be_behind_an_interface(name: str, size: InputSize, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        check_interface(name, tiny_sam(), replace(TINY, input_size=size))


def test_only_sams_have_the_interface() -> None:
    with pytest.raises(InputError, match="SAM's decoder: leave it out"):
        check_interface("official", nn.Identity(), FAMILIES["nano"])


def test_exported_folder(tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (export_module, foreign):
        monkeypatch.setattr(module, "write_graph", kept_graph)
    folder = export(tiny_checkpoint, tmp_path / "model", settings=ExportSettings(interface="official"))
    with load(folder, runtime="onnxruntime") as segmenter:
        manifest = segmenter.manifest
        assert manifest.interfaces["official"].files == FILES["official"]
        assert set(FILES["official"].values()) < set(manifest.files)
        assert segmenter.decode(
            segmenter.encode(photo((96, 128))), Prompt.points([(40, 40)])
        ).predicted_iou.shape == (3,)
