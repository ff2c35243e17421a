"""Inputs of one aspect: which are allowed, what they cost, and that the graphs compute what PyTorch does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from sam_edge.errors import InputError
from sam_edge.exporters import export as export_module
from sam_edge.exporters.export import ExportSettings, export
from sam_edge.exporters.rectangular import as_exportable, fixed_input, measure_cost, prompts, scenes, shaped
from sam_edge.geometry import InputSize
from sam_edge.imaging.image import encoder_input
from sam_edge.loading import load
from sam_edge.modeling.encoders.image_encoder_vit import ImageEncoderViT
from sam_edge.modeling.families import FAMILIES, SAM_PREPROCESS
from sam_edge.modeling.sam_export import SamExport
from sam_edge.prompt import Prompt
from tests.kept_graphs import kept_graph
from tests.modeling.tiny_sam import SIDE_PX, TINY, tiny_sam

SQUARE = InputSize(1024, 16, square=True)
WIDE = InputSize(SIDE_PX, 16, square=False, fixed_wh=(SIDE_PX, 80))


def test_a_rectangle_inside_the_square() -> None:
    size = fixed_input("sam", SQUARE, (1024, 576))
    assert size == InputSize(1024, 16, square=False, fixed_wh=(1024, 576))
    assert size.view((1280, 720)).scale == pytest.approx(SQUARE.view((1280, 720)).scale)
    assert fixed_input("sam", SQUARE, (1024, 1024)) is SQUARE
    assert fixed_input("sam", SQUARE, (512, 512)).view((640, 360)).content_wh == (512, 288)


def test_a_free_input_becomes_static() -> None:
    assert fixed_input("nano", InputSize(512, 32, square=False), (640, 384)).view((1280, 720)).input_wh == (
        640,
        384,
    )


def test_nanos_graphs_become_static() -> None:
    own = FAMILIES["nano"]
    chosen = shaped("nano", own, (512, 288))
    sources = as_exportable(own.build(), chosen).graphs()
    assert {source.name: source.dynamic for source in sources if source.dynamic} == {
        "decoder_batch": {
            name: {0: "prompts"} for name in ("point_coords", "point_labels", "mask_logits", "has_mask")
        }
    }
    assert sources[0].inputs["image"].shape == (1, 3, 288, 512)
    assert sources[1].inputs["mask_logits"].shape == (1, 1, 72, 128)
    assert all(source.dynamic for source in as_exportable(own.build(), own).graphs())


@pytest.mark.parametrize(
    ("input_wh", "hint"),
    [
        ((1000, 576), "multiples of 16: take 992x576"),
        ((1024, 570), "multiples of 16: take 1024x576"),
        ((1280, 720), "larger than the 1024 that sam takes: take 1024x576"),
        ((1030, 576), "larger than the 1024 that sam takes: take 1024x576"),
        ((3, 0), "smaller than 32 pixels: take 32x32"),
        ((1024, 16), "smaller than 32 pixels: take 1024x32"),
    ],
)
def test_a_bad_size_is_refused_with_a_good_one(input_wh: tuple[int, int], hint: str) -> None:
    with pytest.raises(InputError, match=f"--input {input_wh[0]}x{input_wh[1]}.* {hint}"):
        fixed_input("sam", SQUARE, input_wh)


@given(st.integers(-5, 3000), st.integers(-5, 3000), st.sampled_from([16, 32, 64]))
def test_every_cure_is_a_cure(width: int, height: int, multiple: int) -> None:
    own = InputSize(1024, multiple, square=True)
    try:
        size = fixed_input("sam", own, (width, height))
    except InputError as error:
        hint = str(error).rpartition(" ")[2].split("x")
        size = fixed_input("sam", own, (int(hint[0]), int(hint[1])))
    assert size.sides_wh is not None
    assert all(0 < side <= 1024 and side % multiple == 0 for side in size.sides_wh)


def test_no_padding_no_rectangle() -> None:
    with pytest.raises(InputError, match="no padding is wasted: leave it out"):
        fixed_input("efficient_sam_ti", InputSize(1024, 16, square=True, fit="squash"), (1024, 576))


def test_prompts_lie_in_the_image() -> None:
    for seed in range(20):
        asked = prompts((160, 90), seed)
        view = SQUARE.view((160, 90))
        for prompt in asked:
            prompt.check_inside(view)
    assert len({prompt.tokens for prompt in asked}) == 2


def test_scenes_are_of_the_inputs_shape() -> None:
    assert [image.shape for image in scenes((SIDE_PX, 80))] == [(80, SIDE_PX, 3)] * 4
    assert scenes((48, 192))[0].shape == (192, 96, 3)


def test_the_cost_is_measured_in_masks_and_work() -> None:
    images = [np.random.default_rng(0).integers(0, 256, (80, SIDE_PX, 3), dtype=np.uint8)]
    chosen = shaped("tiny", TINY, (SIDE_PX, 80))
    model = as_exportable(tiny_sam(), chosen)
    assert next(iter(model.graphs())).inputs["image"].shape == (1, 3, 80, SIDE_PX)
    cost = measure_cost(model, TINY, chosen, images)
    assert cost["prompts"] == len(prompts((SIDE_PX, 80), 0))
    assert 0.3 < cost["square_mask_iou_p1"] <= cost["square_mask_iou_mean"] < 1.0
    share = cost["encoder_gflop"] / cost["square_encoder_gflop"]
    assert 0.5 < share < 80 / SIDE_PX + 0.01
    assert measure_cost(model, TINY, shaped("tiny", TINY, (SIDE_PX, SIDE_PX))) == {}


def test_the_same_input_costs_nothing() -> None:
    images = [np.random.default_rng(0).integers(0, 256, (SIDE_PX, SIDE_PX, 3), dtype=np.uint8)]
    same = replace(TINY, input_size=InputSize(SIDE_PX, 16, square=False, fixed_wh=(SIDE_PX, SIDE_PX)))
    cost = measure_cost(SamExport(tiny_sam()), TINY, same, images)
    assert cost["square_mask_iou_mean"] == cost["square_mask_iou_p1"] == 1.0
    assert cost["encoder_gflop"] == cost["square_encoder_gflop"] > 0


def test_positions_are_cropped_not_rescaled() -> None:
    sam = tiny_sam()
    side = SIDE_PX // 16
    square = sam.prompt_encoder.positions((side, side)).reshape(side, side, -1)
    wide = sam.prompt_encoder.positions((5, side)).reshape(5, side, -1)
    assert torch.equal(wide, square[:5])


def test_without_attention_to_the_padding_a_rectangle_is_a_part_of_the_square() -> None:
    """What a token sees of the padding is the whole difference: with windows only, far windows agree."""
    sam = tiny_sam()
    encoder = sam.image_encoder
    assert isinstance(encoder, ImageEncoderViT)
    encoder.blocks = encoder.blocks[:1]  # the windowed one; windows of three tokens
    image = torch.randn(1, 3, SIDE_PX, SIDE_PX)
    image[:, :, 96:] = 0
    square, wide = encoder(image), encoder(image[:, :, :96])
    # Six rows of tokens are two whole windows; the neck's convolution blurs the last of them.
    assert torch.allclose(square[:, :, :5], wide[:, :, :5], atol=1e-5)
    assert not torch.allclose(square[:, :, 5], wide[:, :, 5], atol=1e-3)


ENCODERS = (
    "sam_vit_b",
    "mobile_sam",
    "repvit_sam",
    "edge_sam",
    "efficient_sam_ti",
    "efficientvit_sam_l0",
    "efficientvit_sam_xl0",
    "nano_sam",
)


@pytest.mark.parametrize("name", ENCODERS)
def test_every_encoder_takes_rectangles_or_says_why_not(name: str) -> None:
    own = FAMILIES[name]
    if own.input_size.fit == "squash":
        with pytest.raises(InputError, match="no padding is wasted"):
            shaped(name, own, (1024, 576))
        return
    with torch.device("meta"):
        encoder = own.build().eval().get_submodule("image_encoder")
    flops = []
    smallest = (2 * own.input_size.multiple, 3 * own.input_size.multiple)
    for width, height in ((1024, 576), (1024, 1024), smallest):
        view = shaped(name, own, (width, height)).input_size.view((1280, 720))
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            embedding = encoder(torch.empty(1, 3, *view.encoder_wh[::-1], device="meta"))
        assert embedding.shape == (1, 256, height // 16, width // 16)
        flops.append(counter.get_total_flops())
    # 9/16 of the tokens, and less still where attention sees them all; padded windows take some of it back.
    assert 0.5 < flops[0] / flops[1] < 0.575


def test_a_size_that_cannot_be_is_refused_before_the_work(tiny_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="multiples of 16: take 128x80"):
        export(tiny_checkpoint, tmp_path / "out", settings=ExportSettings(input_wh=(128, 85)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_exported_rectangle(tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_module, "write_graph", kept_graph)
    folder = export(tiny_checkpoint, tmp_path / "wide", settings=ExportSettings(input_wh=(SIDE_PX, 80)))
    with load(folder, runtime="onnxruntime") as segmenter:
        assert segmenter.manifest.input_size == WIDE
        assert set(segmenter.manifest.input_cost) >= {"square_mask_iou_mean", "square_mask_iou_p1"}
        assert segmenter.manifest.graphs["encoder"].inputs[0].shape == (1, 3, 80, SIDE_PX)
        for height, width in ((90, 144), (144, 90), (50, 200)):
            image = np.random.default_rng(2).integers(0, 256, (height, width, 3), dtype=np.uint8)
            embedding = segmenter.encode(image)
            masks = segmenter.decode(embedding, Prompt.points([(width / 2, height / 2)]))
            assert masks.logits.shape == (3, 20, SIDE_PX // 4)
            assert masks.binary.shape == (3, height, width)
            again = Prompt.points([(1, 1)], mask_logits=masks.logits[:1])
            assert segmenter.decode(embedding, again).logits.shape == masks.logits.shape


@pytest.mark.slow
def test_rectangular_graphs_are_rectangular_pytorch(tmp_path: Path) -> None:
    model = SamExport(tiny_sam(), input_hw=(80, SIDE_PX))
    graphs = {
        source.name: kept_graph(source, tmp_path) for source in model.graphs() if source.name != "decoder_many"
    }
    image = np.random.default_rng(1).integers(0, 256, (90, 160, 3), dtype=np.uint8)
    view = WIDE.view((160, 90))
    tensor = encoder_input(image, view, SAM_PREPROCESS)
    assert tensor.shape == (1, 3, 80, SIDE_PX)
    sessions = {name: ort.InferenceSession(path) for name, path in graphs.items()}
    names = [output.name for output in sessions["encoder"].get_outputs()]
    prepared = dict(zip(names, sessions["encoder"].run(None, {"image": tensor}), strict=True))
    embedding = prepared.pop("embedding")
    assert embedding.shape[2:] == (5, SIDE_PX // 16)
    with torch.inference_mode():
        features = model.encode(torch.from_numpy(tensor))
        assert np.abs(embedding - features["embedding"].numpy()).max() < 1e-4
        for prompt in prompts((160, 90), 0)[:10]:
            coords, labels = prompt.slots(view, prompt.tokens)
            logits, iou = model.decode(features, torch.from_numpy(coords), torch.from_numpy(labels), None)
            feeds = {**prepared, "point_coords": coords, "point_labels": labels}
            ours = sessions["decoder"].run(None, feeds)
            assert ours[0].shape == (1, 4, 20, SIDE_PX // 4)
            assert np.abs(ours[0] - logits.numpy()).max() < 1e-4
            assert np.abs(ours[1] - iou.numpy()).max() < 1e-4
        mask = logits[:, :1]
        refined = sessions["refine"].run(None, {"embedding": embedding, "mask_logits": mask.numpy()})
        feeds = {**dict(zip(prepared, refined, strict=True)), "point_coords": coords, "point_labels": labels}
        ours = sessions["decoder"].run(None, feeds)
        expected, _ = model.decode(features, torch.from_numpy(coords), torch.from_numpy(labels), mask)
        assert np.abs(ours[0] - expected.numpy()).max() < 1e-4
