"""Graphs with free axes: named alike in inputs and outputs, and right for every size."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from torch import nn

from sam_edge.bundle.folder import find_bundle
from sam_edge.exporters.onnx_graph import describe_graph
from sam_edge.fidelity.images import textured_image
from sam_edge.modeling.checkpoint import load_model
from sam_edge.modeling.exportable import BATCH, Exportable, GraphSource
from sam_edge.modeling.nano.export import NanoExport
from sam_edge.modeling.nano.model import Nano
from sam_edge.modeling.sam_export import SamExport
from sam_edge.runtimes.onnxruntime.session import OnnxRuntimeSession
from sam_edge.runtimes.reference.session import ReferenceSession
from sam_edge.sessions.session import SessionOptions
from sam_edge.tensors import Arrays
from tests.kept_graphs import kept_graph
from tests.modeling.tiny_sam import SIDE_PX, tiny_sam

WEIGHTS = Path(__file__).parents[2] / "training" / "weights" / "nano.safetensors"
SIDES_PX = {"sam": (SIDE_PX, SIDE_PX), "nano": (64, 96)}
"""Height and width of the inputs that are tried: nano's is not the one that it was traced with."""


def batched_graph(model: Exportable) -> GraphSource:
    """The decoder that takes any number of prompts."""
    graphs = {source.name: source for source in model.graphs()}
    return graphs.get(BATCH, graphs["decoder"])


@pytest.fixture(scope="module", params=["sam", "nano decoder", "nano decoder_many"])
def decoder(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Exportable, Path]:
    """A family, the model, and a batched decoder of it as a file: traced now, or a shipped one."""
    family, _, graph = request.param.partition(" ")
    if family == "sam":
        model = SamExport(tiny_sam())
        return "sam", model, kept_graph(batched_graph(model), tmp_path_factory.mktemp("batched"))
    return "nano", NanoExport(cast(Nano, load_model(WEIGHTS, "nano")[1])), find_bundle("nano").graph(graph)


def random_feeds(family: str, model: Exportable, path: Path, prompts: int) -> dict[str, np.ndarray]:
    """Feeds for `prompts` prompts, among them boxes, empty slots and, where the graph takes them, masks."""
    rng = np.random.default_rng(prompts)
    height, width = SIDES_PX[family]
    pixels = textured_image((width, height)).astype(np.float32) / 128 - 1
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    (encoder,) = (source for source in model.graphs() if source.name == "encoder")
    given = dict(zip(encoder.outputs, (x.numpy() for x in encoder.module(image)), strict=True))
    shapes = {spec.name: spec.shape for spec in describe_graph(path, "decoder").inputs}
    slots = int(shapes["point_labels"][1])
    given["point_coords"] = rng.uniform(0, (width, height), (prompts, slots, 2)).astype(np.float32)
    given["point_labels"] = rng.choice([1.0, 0.0, -2.0], (prompts, slots)).astype(np.float32)
    given["point_labels"][::2, :2] = [2.0, 3.0]
    given["point_coords"][::2, :2] = [(8, 8), (width / 2, height / 2)]
    given["mask_logits"] = rng.normal(0, 4, (prompts, 1, height // 4, width // 4)).astype(np.float32)
    given["has_mask"] = (np.arange(prompts) % 2).astype(np.float32)
    return {name: given[name] for name in shapes}


def row(feeds: dict[str, np.ndarray], index: int) -> dict[str, np.ndarray]:
    """The feeds of one prompt."""
    prompts = ("point_coords", "point_labels", "mask_logits", "has_mask")
    return {name: x[index : index + 1] if name in prompts else x for name, x in feeds.items()}


def arrays(answer: Arrays) -> dict[str, np.ndarray]:
    return {name: np.asarray(value) for name, value in answer.items()}


@pytest.mark.parametrize("prompts", [1, 2, 5])
def test_prompts_of_a_batch_are_answered_as_one_by_one_and_as_by_pytorch(
    decoder: tuple[str, Exportable, Path], prompts: int
) -> None:
    family, model, path = decoder
    feeds = random_feeds(family, model, path, prompts)
    module: nn.Module = batched_graph(model).module
    logits, iou = (x.numpy() for x in module(*map(torch.from_numpy, feeds.values())))
    # onnxruntime's sigmoid is exact to 1e-7 and not to 7 digits, which nearly empty masks multiply.
    for session, within in (
        (OnnxRuntimeSession(path, SessionOptions(threads=1)), 5e-3),
        (ReferenceSession(path), 1e-4),
    ):
        together = arrays(session.run(feeds))
        np.testing.assert_allclose(together["logits"], logits, atol=within)
        np.testing.assert_allclose(together["iou"], iou, atol=1e-4)
        for index in range(prompts):
            one = arrays(session.run(row(feeds, index)))
            np.testing.assert_allclose(one["logits"][0], together["logits"][index], atol=within)
            np.testing.assert_allclose(one["iou"][0], together["iou"][index], atol=1e-4)


def test_free_axes_have_the_same_names_in_inputs_and_outputs(decoder: tuple[str, Exportable, Path]) -> None:
    family, _, path = decoder
    graph = describe_graph(path, "decoder")
    free = {"sam": (4 * 8, 4 * 8), "nano": ("8*rows", "8*columns")}[family]
    assert {spec.name: spec.shape for spec in graph.outputs} == {
        "logits": ("prompts", 4, *free),
        "iou": ("prompts", 4),
    }
    images = [spec for spec in graph.inputs if spec.name in ("tokens", "keys", "embedding", "skip4")]
    assert images
    assert all(spec.shape[0] == 1 for spec in images)
