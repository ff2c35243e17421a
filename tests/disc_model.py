"""A model small enough to reason about: its masks are discs around the points."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sam_edge.bundle.folder import Bundle, write_bundle
from sam_edge.bundle.manifest import Graph, Manifest
from sam_edge.geometry import InputSize
from sam_edge.imaging.preprocess import Preprocess
from sam_edge.segmenter import Segmenter
from sam_edge.tensors import Arrays, TensorSpec

SLOTS = 6
RADIUS_PX = 20.0


class DiscSession:
    """Answers the first foreground point with a disc; mask k has k times the radius and rising IoU."""

    def __init__(self, graph: Path, threads: int | None = None) -> None:
        self._graph = graph.stem
        specs = GRAPHS[self._graph]
        self.inputs, self.outputs = specs.inputs, specs.outputs

    def run(self, feeds: Arrays) -> Arrays:
        assert set(feeds) == {spec.name for spec in self.inputs}
        if self._graph == "encoder":
            height, width = feeds["image"].shape[2:]
            embedding = np.zeros((1, 1, height // 16, width // 16), np.float32)
            return {"embedding": embedding + feeds["image"].mean()}
        height, width = (16 * side for side in feeds["embedding"].shape[2:])
        ys, xs = np.mgrid[2:height:4, 2:width:4].astype(np.float32)
        labels = feeds["point_labels"][0]
        x, y = feeds["point_coords"][0, int(np.argmax(labels >= 1))]
        distance = np.hypot(xs - x, ys - y)
        logits = np.stack([RADIUS_PX * k - distance for k in (1, 1, 2, 3)]) / 4
        logits += feeds["has_mask"][0] * feeds["mask_logits"][0]
        return {
            "logits": logits[None].astype(np.float32),
            "iou": np.array([[0.5, 0.9, 0.7, 0.6]], np.float32),
        }

    def close(self) -> None:
        pass


GRAPHS = {
    "encoder": Graph(
        "encoder.onnx",
        (TensorSpec("image", (1, 3, "height", "width")),),
        (TensorSpec("embedding", (1, 1, "h16", "w16")),),
        role="encoder",
    ),
    "decoder": Graph(
        "decoder.onnx",
        (
            TensorSpec("embedding", (1, 1, "h16", "w16")),
            TensorSpec("point_coords", (1, SLOTS, 2)),
            TensorSpec("point_labels", (1, SLOTS)),
            TensorSpec("mask_logits", (1, 1, "h4", "w4")),
            TensorSpec("has_mask", (1,)),
        ),
        (TensorSpec("logits", (1, 4, "h4", "w4")), TensorSpec("iou", (1, 4))),
        role="decoder",
    ),
}


def disc_manifest() -> Manifest:
    return Manifest(
        name="disc",
        family="disc",
        checkpoint_sha256="0" * 64,
        licence="Apache-2.0",
        input_size=InputSize(long_side=256, multiple=32, square=False),
        preprocess=Preprocess((127.5, 127.5, 127.5), (50.0, 50.0, 50.0), "area"),
        graphs=GRAPHS,
        tools={"numpy": np.__version__},
        fidelity={"disc": {"iou": 1.0}},
    )


def disc_bundle(folder: Path) -> Bundle:
    contents = folder / "contents"
    contents.mkdir(parents=True)
    for graph in GRAPHS.values():
        (contents / graph.file).write_bytes(b"a graph called " + graph.file.encode())
    return write_bundle(folder / "disc", disc_manifest(), contents)


def disc_segmenter(folder: Path) -> Segmenter:
    return Segmenter(disc_bundle(folder), DiscSession)
