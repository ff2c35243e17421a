"""A model small enough to reason about: its masks are discs around the points."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from sam_edge.bundle.folder import Bundle, write_bundle
from sam_edge.bundle.manifest import Graph, Manifest
from sam_edge.geometry import InputSize
from sam_edge.imaging.preprocess import Preprocess
from sam_edge.segmenter import Segmenter
from sam_edge.sessions.base import BaseSession
from sam_edge.sessions.session import SessionOptions
from sam_edge.tensors import Array, Arrays, TensorSpec

SLOTS = 6
RADIUS_PX = 20.0


class DiscSession(BaseSession):
    """Answers the first foreground point with a disc; mask k has k times the radius and rising IoU."""

    def __init__(self, graph: Path, options: SessionOptions = SessionOptions()) -> None:
        self._graph = graph.stem
        super().__init__(GRAPHS[self._graph].inputs, GRAPHS[self._graph].outputs)

    def compute(self, feeds: Mapping[str, Array]) -> Arrays:
        given = {name: np.asarray(array) for name, array in feeds.items()}
        if self._graph == "encoder":
            height, width = given["image"].shape[2:]
            embedding = np.zeros((1, 1, height // 16, width // 16), np.float32)
            return {"embedding": embedding + given["image"].mean()}
        height, width = (16 * side for side in given["embedding"].shape[2:])
        ys, xs = np.mgrid[2:height:4, 2:width:4].astype(np.float32)
        logits = []
        for index, labels in enumerate(given["point_labels"]):
            x, y = given["point_coords"][index, int(np.argmax(labels >= 1))]
            distance = np.hypot(xs - x, ys - y)
            planes = np.stack([RADIUS_PX * k - distance for k in (1, 1, 2, 3)]) / 4
            logits.append(planes + given["has_mask"][index] * given["mask_logits"][index])
        return {
            "logits": np.stack(logits).astype(np.float32),
            "iou": np.array([[0.5, 0.9, 0.7, 0.6]] * len(logits), np.float32),
        }

    def release(self) -> None:
        """Nothing is held."""


GRAPHS = {
    "encoder": Graph(
        "encoder.onnx",
        (TensorSpec("image", (1, 3, "height", "width")),),
        (TensorSpec("embedding", (1, 1, "h16", "w16")),),
        "encoder",
    ),
    "decoder": Graph(
        "decoder.onnx",
        (
            TensorSpec("embedding", (1, 1, "h16", "w16")),
            TensorSpec("point_coords", ("prompts", SLOTS, 2)),
            TensorSpec("point_labels", ("prompts", SLOTS)),
            TensorSpec("mask_logits", ("prompts", 1, "h4", "w4")),
            TensorSpec("has_mask", ("prompts",)),
        ),
        (TensorSpec("logits", ("prompts", 4, "h4", "w4")), TensorSpec("iou", ("prompts", 4))),
        "decoder",
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
