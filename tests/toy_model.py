"""A model of a few ONNX nodes that behaves as one of the family does: prompts make cones, the image shows.

Its distances in squared pixels overflow float16, which is what engines get wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from sam_edge.bundle.folder import MANIFEST, Bundle, find_bundle, write_bundle
from sam_edge.bundle.manifest import Manifest, dump
from sam_edge.exporters.onnx_graph import describe_graph
from sam_edge.fidelity.differences import ReferenceAnswer
from sam_edge.fidelity.gate import Reference
from sam_edge.fidelity.self_test import ANSWERS, self_test_image, self_test_prompts, thin, write_self_test
from sam_edge.geometry import InputSize
from sam_edge.imaging.preprocess import Preprocess
from sam_edge.loading import load
from sam_edge.storage.files import sha256

SIDE_PX = 512
SLOTS = 6
MASK = SIDE_PX // 4
GRID = SIDE_PX // 16


def toy_bundle(folder: Path, weight: float = 0.5) -> Bundle:
    """Write the model to `folder`/toy; another `weight` is another model."""
    contents = folder / "toy-contents"
    contents.mkdir(parents=True)
    onnx.save(_encoder(weight), contents / "encoder.onnx")
    onnx.save(_decoder(), contents / "decoder.onnx")
    manifest = Manifest(
        name="toy",
        family="toy",
        checkpoint_sha256="0" * 64,
        licence="Apache-2.0",
        input_size=InputSize(SIDE_PX, SIDE_PX, square=True),
        preprocess=Preprocess((127.5, 127.5, 127.5), (64.0, 64.0, 64.0), "area"),
        graphs={
            "encoder": describe_graph(contents / "encoder.onnx", "encoder"),
            "decoder": describe_graph(contents / "decoder.onnx", "decoder"),
        },
    )
    return write_bundle(folder / "toy", manifest, contents)


def with_answers(toy: Bundle) -> Bundle:
    """The folder with the answers of its own graphs in the place of PyTorch's."""
    size = toy.manifest.input_size
    image = self_test_image(size)
    with load(toy.path, runtime="onnxruntime:cpu") as segmenter:
        embedding = segmenter.encode(image)
        answers = []
        for prompt, several in self_test_prompts(size, segmenter.max_points, takes_masks=segmenter.takes_masks):
            masks = segmenter.decode(embedding, prompt, multimask=several)
            answers.append(ReferenceAnswer(prompt, several, masks.logits, masks.predicted_iou))
    write_self_test(thin(Reference(image, np.asarray(embedding.tensors["embedding"])[0], answers)), toy.path)
    files = {**toy.manifest.files, ANSWERS: sha256(toy.path / ANSWERS)}
    (toy.path / MANIFEST).write_bytes(dump(replace(toy.manifest, files=files)))
    return find_bundle(toy.path)


def _encoder(weight: float) -> onnx.ModelProto:
    kernel = np.array([weight, 0.3, -0.2], np.float32).reshape(1, 3, 1, 1)
    nodes = [
        helper.make_node("AveragePool", ["image"], ["pooled"], kernel_shape=[16, 16], strides=[16, 16]),
        helper.make_node("Conv", ["pooled", "kernel"], ["embedding"]),
    ]
    inputs = {"image": (1, 3, SIDE_PX, SIDE_PX)}
    return _model(nodes, inputs, {"embedding": (1, 1, GRID, GRID)}, {"kernel": kernel})


def _decoder() -> onnx.ModelProto:
    steps = np.arange(MASK, dtype=np.float32) * 4 + 1.5
    weights = {
        "xs": steps.reshape(1, 1, 1, MASK),
        "ys": steps.reshape(1, 1, MASK, 1),
        "halves": np.array([1, 1], np.int64),
        "axes": np.array([2, 3], np.int64),
        "slots": np.array([1], np.int64),
        "zero": np.array(-0.5, np.float32),
        "limit": np.array(0.5, np.float32),
        "two": np.array(2.0, np.float32),
        "slope": np.array(-1 / 90, np.float32),
        "one": np.array(1.0, np.float32),
        "scales": np.array([1, 1, 4, 4], np.float32),
        "share": np.array(0.3, np.float32),
        "gains": np.array([1, 1.2, 0.8, 1.5], np.float32).reshape(1, 4, 1, 1),
        "offset": np.array(-0.3, np.float32),
    }

    def node(op_type: str, inputs: str, outputs: str, **attributes: int | str) -> onnx.NodeProto:
        made = helper.make_node(op_type, inputs.split(), outputs.split(), f"toy_{outputs}")
        made.attribute.extend(helper.make_attribute(key, value) for key, value in attributes.items())
        return made

    nodes = [
        node("Split", "point_coords halves", "x y", axis=2),
        node("Unsqueeze", "x slots3", "x4"),
        node("Unsqueeze", "y slots3", "y4"),
        node("Sub", "xs x4", "dx"),
        node("Sub", "ys y4", "dy"),
        node("Mul", "dx dx", "dx2"),
        node("Mul", "dy dy", "dy2"),
        node("Add", "dx2 dy2", "d2"),
        node("Sqrt", "d2", "distance"),
        node("Mul", "distance slope", "down"),
        node("Add", "down one", "cones"),
        node("Greater", "point_labels limit", "on"),
        node("Greater", "point_labels zero", "given"),
        node("Cast", "on", "on_number", to=TensorProto.FLOAT),
        node("Cast", "given", "given_number", to=TensorProto.FLOAT),
        node("Mul", "on_number two", "twice"),
        node("Sub", "twice given_number", "signs"),
        node("Unsqueeze", "signs axes", "signs4"),
        node("Mul", "cones signs4", "signed"),
        node("ReduceSum", "signed slots", "sum"),
        node("Resize", "embedding scales", "wide", mode="linear"),
        node("Mul", "wide share", "seen"),
        node("Add", "sum seen", "raw"),
        node("Add", "raw offset", "shifted"),
        node("Mul", "shifted gains", "logits"),
        node("ReduceMean", "logits axes", "iou", keepdims=0),
    ]
    nodes[20].input[:] = ["embedding", "", "scales"]
    weights["slots3"] = np.array([3], np.int64)
    inputs = {
        "embedding": (1, 1, GRID, GRID),
        "point_coords": (1, SLOTS, 2),
        "point_labels": (1, SLOTS),
    }
    return _model(nodes, inputs, {"logits": (1, 4, MASK, MASK), "iou": (1, 4)}, weights)


def _model(
    nodes: list[onnx.NodeProto],
    inputs: Mapping[str, tuple[int, ...]],
    outputs: Mapping[str, tuple[int, ...]],
    weights: Mapping[str, np.ndarray],
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model)
    return model
