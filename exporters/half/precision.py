"""An FP32 graph in float16, but for islands of nodes that stay in float32.

Graph inputs and outputs stay float32; weights that only float16 nodes read are stored as float16. A twin of the
same graph computes in float32 and rounds where the other one stores float16: it shows on any processor what
float16 hardware overflows and loses. (onnxruntime on CPUs drops the roundings between float16 nodes and
so hides both.)
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import AttributeProto, NodeProto, TensorProto, defs, helper, numpy_helper

from sam_edge.errors import InputError

NORMALISATIONS = ("LayerNormalization", "InstanceNormalization", "GroupNormalization")
"""Square their input inside: no output shows that it overflowed."""
SIZES = {"Resize": (1, 2)}
"""Operator -> indices of inputs that are float32 in every precision."""
INLINE_BYTES = 1_800_000_000
"""Weights above this go into a file beside the graph: protobuf ends at 2 GiB."""


@dataclass(frozen=True, eq=False)
class Source:
    """An FP32 graph, prepared: every node has its own name, constants are initializers."""

    model: onnx.ModelProto
    weights: dict[str, NDArray[np.generic]]
    """Initializers by name."""
    floats: frozenset[str]
    """Names of the float32 values, initializers included."""

    def computing(self) -> list[NodeProto]:
        """The nodes that read or write float32, in order."""
        return [
            node
            for node in self.model.graph.node
            if any(name in self.floats for name in (*node.input, *node.output))
        ]

    def bound(self) -> frozenset[str]:
        """Names of the nodes that have no float16 form, or would hide an overflow in it."""
        opset = next(item.version for item in self.model.opset_import if not item.domain)
        return frozenset(
            node.name
            for node in self.computing()
            if node.op_type in NORMALISATIONS or not _has_half_form(node.op_type, opset)
        )


def read_source(path: Path) -> Source:
    """Load an FP32 graph.

    Raises:
        InputError: a node of it has graphs of its own (If, Loop, Scan), or is not standard ONNX.
    """
    model = onnx.load(path, load_external_data=False)
    types = _types(model)
    onnx.load_external_data_for_model(model, str(path.parent))
    graph = model.graph
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    nodes, names = [], set[str]()
    for index, node in enumerate(graph.node):
        _check(node)
        value = _constant(node, weights)
        if value is not None:
            weights[node.output[0]] = value
            continue
        if not node.name or node.name in names:
            node.name = f"{node.op_type}_{index}"
        names.add(node.name)
        nodes.append(node)
    read = {name for node in nodes for name in node.input} | {value.name for value in graph.output}
    weights = {name: value for name, value in weights.items() if name in read}
    del graph.initializer[:], graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    floats = {name for name, kind in types.items() if kind == TensorProto.FLOAT}
    floats |= {name for name, value in weights.items() if value.dtype == np.float32}
    return Source(model, weights, frozenset(floats))


def halve(source: Source, islands: Collection[str], *, emulate: bool = False) -> onnx.ModelProto:
    """The graph in float16, but for the nodes named in `islands`; `emulate`: its float32 twin that rounds."""
    return _Halving(source, frozenset(islands) | source.bound(), emulate).model()


def save(model: onnx.ModelProto, path: Path) -> None:
    """Write a graph, its weights beside it if they are large."""
    # Not into what is there: it may be a link to a model that is in use.
    for old in (path, path.with_name(f"{path.name}.data")):
        old.unlink(missing_ok=True)
    size = sum(len(tensor.raw_data) for tensor in model.graph.initializer)
    onnx.save(model, path, save_as_external_data=size > INLINE_BYTES, location=f"{path.name}.data")


class _Halving:
    """One pass over the nodes; every value exists in the precisions in which some node reads it."""

    def __init__(self, source: Source, islands: frozenset[str], emulate: bool) -> None:
        self._source = source
        self._islands = islands
        self._emulate = emulate
        self._nodes: list[NodeProto] = []
        self._weights: dict[str, NDArray[np.generic]] = {}
        self._halves: set[str] = set()
        """Values that exist in float16."""
        self._only_half: set[str] = set()
        """Values that do not exist in float32 yet."""

    def model(self) -> onnx.ModelProto:
        computing = {node.name for node in self._source.computing()}
        for node in self._source.model.graph.node:
            self._append(node, half=node.name in computing and node.name not in self._islands)
        for value in self._source.model.graph.output:
            self._full(value.name)
        model = onnx.ModelProto()
        model.CopyFrom(self._source.model)
        del model.graph.node[:]
        model.graph.node.extend(self._nodes)
        model.graph.initializer.extend(
            numpy_helper.from_array(value, name) for name, value in self._weights.items()
        )
        return model

    def _append(self, node: NodeProto, *, half: bool) -> None:
        made = NodeProto()
        made.CopyFrom(node)
        for index, name in enumerate(node.input):
            stays = index in SIZES.get(node.op_type, ())
            made.input[index] = self._half(name) if half and not stays else self._full(name)
        rounded = [name for name in node.output if half and name in self._source.floats]
        if rounded and not self._emulate:
            _retype(made)
        for index, name in enumerate(node.output):
            if name in rounded:
                made.output[index] = f"{name}.raw" if self._emulate else f"{name}.float16"
        self._nodes.append(made)
        for name in rounded:
            self._halves.add(name)
            self._only_half.add(name)
            if self._emulate:
                self._round(f"{name}.raw", name)

    def _half(self, name: str) -> str:
        """Name of the value as a float16 node reads it."""
        if name not in self._source.floats:
            return self._full(name)
        half = f"{name}.float16"
        weight = self._source.weights.get(name)
        if weight is not None:
            with np.errstate(over="ignore"):
                small = weight.astype(np.float16)
            self._weights[half] = small.astype(np.float32) if self._emulate else small
        elif name not in self._halves:
            self._halves.add(name)
            if self._emulate:
                self._round(name, name)
            else:
                self._nodes.append(_cast(name, half, TensorProto.FLOAT16))
        return half

    def _full(self, name: str) -> str:
        """Name of the value as a float32 node reads it."""
        weight = self._source.weights.get(name)
        if weight is not None:
            self._weights[name] = weight
        elif name in self._only_half:
            self._only_half.remove(name)
            self._nodes.append(_cast(f"{name}.float16", name, TensorProto.FLOAT))
        return name

    def _round(self, value: str, name: str) -> None:
        """Make the float32 `name.float16` that holds what float16 would keep of `value`."""
        self._nodes.append(_cast(value, f"{name}.bits16", TensorProto.FLOAT16))
        self._nodes.append(_cast(f"{name}.bits16", f"{name}.float16", TensorProto.FLOAT))


def _cast(source: str, target: str, kind: int) -> NodeProto:
    return helper.make_node("Cast", [source], [target], f"{target}.cast", to=kind)


def _retype(node: NodeProto) -> None:
    """Let a node that names its output's type name float16."""
    for attribute in node.attribute:
        if attribute.name in ("to", "dtype") and attribute.i == TensorProto.FLOAT:
            attribute.i = TensorProto.FLOAT16
        if node.op_type == "ConstantOfShape" and attribute.name == "value":
            value = numpy_helper.to_array(attribute.t).astype(np.float16)
            attribute.t.CopyFrom(numpy_helper.from_array(value))


def _types(model: onnx.ModelProto) -> dict[str, int]:
    """Element type of every value, worked out without the weights' numbers."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    values = (*inferred.input, *inferred.value_info, *inferred.output)
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    for node in inferred.node:
        for name in node.output:
            if name and not types.get(name):
                raise InputError(f"the type of what node {node.name} ({node.op_type}) gives is not known")
    return types


def _constant(node: NodeProto, weights: dict[str, NDArray[np.generic]]) -> NDArray[np.generic] | None:
    """What a node gives if that does not depend on the inputs: a constant, or a weight stored in float16."""
    if node.op_type == "Constant":
        value = helper.get_attribute_value(node.attribute[0])
        if isinstance(value, TensorProto):
            return numpy_helper.to_array(value)
        return np.array(value, np.float32 if "float" in node.attribute[0].name else np.int64)
    if node.op_type == "Cast" and node.input[0] in weights:
        kind = next(attribute.i for attribute in node.attribute if attribute.name == "to")
        return weights[node.input[0]].astype(helper.tensor_dtype_to_np_dtype(kind))
    return None


def _check(node: NodeProto) -> None:
    if node.domain not in ("", "ai.onnx"):
        raise InputError(f"node {node.name} is {node.domain}.{node.op_type}: only standard ONNX can be fp16")
    if any(item.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for item in node.attribute):
        raise InputError(f"node {node.name} ({node.op_type}) has graphs of its own, which cannot be fp16")


def _has_half_form(op_type: str, opset: int) -> bool:
    schema = defs.get_schema(op_type, opset)
    kinds = [set(item.allowed_type_strs) for item in schema.type_constraints]
    return all("tensor(float16)" in kind for kind in kinds if "tensor(float)" in kind)
