"""Which nodes of a graph float16 would spoil, found by running it on real inputs.

Beside every node a shadow computes the same from inputs rounded to float16, and its answer is rounded too. A
node whose values come near the end of float16, or whose shadow is off by more than a few roundings (small
values that go denormal, differences of large ones, angles of large coordinates), stays in float32. What a
node sums up inside counts as well: means of large maps overflow although their result is small.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import onnxruntime as ort
from onnx import NodeProto, TensorProto, helper, numpy_helper

from sam_edge.tensors import Arrays

from .precision import SIZES, Source, save

LARGEST = 65504.0
SAFE_SHARE = 0.5
"""Share of the largest float16 that values may reach: on other images they may be twice as large."""
LOSS_LIMIT = 3e-3
"""Relative RMS. Rounding inputs and output costs 3e-4 to 6e-4, so this is several bits beyond rounding."""
MOVERS = ("Reshape", "Transpose", "Unsqueeze", "Squeeze", "Concat", "Slice", "Split", "Expand", "Identity")
"""Only move values: between two islands they would cost two casts and save nothing."""
MEANS = ("ReduceMean", "GlobalAveragePool")
"""Sum up inside before they divide."""
TINY, PLANE = "probe.tiny", "probe.plane"
"""Constants of the probe: what keeps a division from 0 / 0, and the axes of a map."""


@dataclass(frozen=True)
class Range:
    """What one node did on all inputs."""

    peak: float
    """The largest magnitude of its output, or of a sum inside."""
    loss: float
    """Relative RMS difference of its output when it alone is in float16."""

    @property
    def safe(self) -> bool:
        """Whether float16 can hold it; False for NaN."""
        return self.peak <= SAFE_SHARE * LARGEST and self.loss <= LOSS_LIMIT


def find_islands(source: Source, feeds: Iterable[Arrays]) -> frozenset[str]:
    """Names of the nodes that must stay in float32, judged by what they do on `feeds`."""
    found = measure_ranges(source, feeds)
    islands = {name for name, range_ in found.items() if not range_.safe} | source.bound()
    return frozenset(islands | _enclosed(source, islands))


def measure_ranges(source: Source, feeds: Iterable[Arrays]) -> dict[str, Range]:
    """Node -> its range over all `feeds`, each of which names every input of the graph."""
    probed, names = _Probe(source).model()
    options = ort.SessionOptions()
    # Optimisation would merge the nodes that are to be watched.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    # In the order of the graph each probe follows its node, and what it compares is freed. The default order
    # puts probes off: ViT-B took more than 24 GB, not 11. Memory kept between images would double it.
    options.execution_order = ort.ExecutionOrder.PRIORITY_BASED
    options.enable_cpu_mem_arena = options.enable_mem_pattern = False
    options.log_severity_level = 3
    with TemporaryDirectory(prefix="sam-edge-ranges-") as folder:
        path = Path(folder) / "probed.onnx"
        save(probed, path)
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    wanted = [f"{name}.{what}" for name in names for what in ("peak", "loss")]
    peaks, losses = np.zeros(len(names)), np.zeros(len(names))
    for feed in feeds:
        values = np.array([float(value.reshape(())) for value in session.run(wanted, dict(feed))])
        # np.maximum keeps NaN.
        peaks, losses = np.maximum(peaks, values[0::2]), np.maximum(losses, values[1::2])
    return {
        name: Range(float(peak), float(loss)) for name, peak, loss in zip(names, peaks, losses, strict=True)
    }


class _Probe:
    """The graph with a shadow beside every node, and two numbers a node as its outputs."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._nodes: list[NodeProto] = []
        self._rounded: set[str] = set()

    def model(self) -> tuple[onnx.ModelProto, list[str]]:
        watched = {node.name for node in self._source.computing()} - self._source.bound()
        names = []
        for node in self._source.model.graph.node:
            self._nodes.append(node)
            if node.name in watched:
                self._watch(node)
                names.append(node.name)
        model = onnx.ModelProto()
        model.CopyFrom(self._source.model)
        graph = model.graph
        del graph.node[:], graph.output[:]
        graph.node.extend(self._nodes)
        graph.initializer.extend(
            numpy_helper.from_array(value, name) for name, value in self._source.weights.items()
        )
        for name, constant in ((TINY, np.array(1e-30, np.float32)), (PLANE, np.array([2, 3]))):
            graph.initializer.append(numpy_helper.from_array(constant, name))
        for name in names:
            for what in ("peak", "loss"):
                graph.output.append(helper.make_tensor_value_info(f"{name}.{what}", TensorProto.FLOAT, None))
        return model, names

    def _watch(self, node: NodeProto) -> None:
        shadow = NodeProto()
        shadow.CopyFrom(node)
        shadow.name = f"{node.name}.shadow"
        for index, name in enumerate(node.input):
            if name in self._source.floats and index not in SIZES.get(node.op_type, ()):
                shadow.input[index] = self._round(name)
        for index, name in enumerate(node.output):
            shadow.output[index] = f"{name}.shadow" if name else ""
        self._nodes.append(shadow)
        name, plain = node.output[0], node.output[0]
        theirs = f"{name}.shadow"
        if name in self._source.floats:
            theirs = self._round(theirs)
        else:
            plain = self._add("Cast", [plain], f"{name}.number", to=TensorProto.FLOAT)
            theirs = self._add("Cast", [theirs], f"{theirs}.number", to=TensorProto.FLOAT)
        off = self._mean_square(self._add("Sub", [plain, theirs], f"{name}.off"))
        size = self._add("Max", [self._mean_square(plain), TINY], f"{name}.size")
        share = self._add("Div", [off, size], f"{name}.share")
        self._add("Sqrt", [share], f"{node.name}.loss")
        self._peak(node, plain)

    def _peak(self, node: NodeProto, value: str) -> None:
        watched = value
        if node.op_type in MEANS:
            watched = f"{value}.total"
            summed = self._add("Abs", [node.input[0]], f"{value}.summands")
            axes = [PLANE] if node.op_type == "GlobalAveragePool" else list(node.input[1:])
            self._add("ReduceSum", [summed, *axes], watched)
        magnitude = self._add("Abs", [watched], f"{watched}.magnitude")
        self._add("ReduceMax", [magnitude], f"{node.name}.peak", keepdims=0)

    def _mean_square(self, value: str) -> str:
        squared = self._add("Mul", [value, value], f"{value}.squared")
        return self._add("ReduceMean", [squared], f"{value}.mean", keepdims=0)

    def _round(self, value: str) -> str:
        rounded = f"{value}.rounded"
        if value not in self._rounded:
            self._rounded.add(value)
            self._add("Cast", [value], f"{value}.bits16", to=TensorProto.FLOAT16)
            self._add("Cast", [f"{value}.bits16"], rounded, to=TensorProto.FLOAT)
        return rounded

    def _add(self, op_type: str, inputs: list[str], output: str, **attributes: int) -> str:
        node = helper.make_node(op_type, inputs, [output], f"{output}.probe")
        node.attribute.extend(helper.make_attribute(key, value) for key, value in attributes.items())
        self._nodes.append(node)
        return output


def _enclosed(source: Source, islands: set[str]) -> set[str]:
    """Nodes that only move values, from islands to islands."""
    makers = {name: node.name for node in source.computing() for name in node.output}
    readers: dict[str, list[str]] = {}
    for node in source.computing():
        for name in node.input:
            readers.setdefault(name, []).append(node.name)
    found: set[str] = set()
    for node in source.computing():
        if node.op_type not in MOVERS or node.name in islands:
            continue
        before = {makers[name] for name in node.input if name in makers and name in source.floats}
        after = {reader for name in node.output for reader in readers.get(name, [])}
        if before and before <= islands | found and after and after <= islands:
            found.add(node.name)
    return found
