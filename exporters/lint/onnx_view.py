"""An ONNX file as a lint reads it: constants, element types, and which values reach which tensor."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, external_data_helper, helper, inliner, numpy_helper, shape_inference

SHAPES_ONLY = ("Shape", "Size")
"""What they give depends on how large their input is, not on what is in it."""


class OnnxView:
    """A model whose functions are inlined, with what follows from it. Weights beside the file are not read
    unless their values are asked for.

    Args:
        model: as `onnx.load(..., load_external_data=False)` gives it.
        folder: where its external weights lie.
    """

    def __init__(self, model: onnx.ModelProto, folder: Path) -> None:
        self.model = inliner.inline_local_functions(model) if model.functions else model
        self.folder = folder

    @cached_property
    def opset(self) -> int:
        """Version of ONNX's own operators, 0 where none is said."""
        return next((entry.version for entry in self.model.opset_import if entry.domain in {"", "ai.onnx"}), 0)

    @cached_property
    def nodes(self) -> tuple[onnx.NodeProto, ...]:
        """Every node, those of branches and loop bodies included, in order."""
        return tuple(_nodes(self.model.graph))

    @cached_property
    def weights(self) -> dict[str, TensorProto]:
        """Initializers by name."""
        return {tensor.name: tensor for tensor in self.model.graph.initializer}

    @cached_property
    def constants(self) -> dict[str, TensorProto]:
        """Initializers, and what `Constant` nodes give, by name."""
        found = dict(self.weights)
        for node in self.nodes:
            value = attribute(node, "value")
            if node.op_type == "Constant" and isinstance(value, TensorProto):
                found[node.output[0]] = value
        return found

    @cached_property
    def fixed(self) -> frozenset[str]:
        """Tensors that follow from constants alone: the builder folds them."""
        found = set(self.constants)
        for node in self.nodes:
            named = [name for name in node.input if name]
            if (named or node.op_type == "Constant") and found.issuperset(named):
                found.update(node.output)
        return frozenset(found)

    @cached_property
    def inputs(self) -> dict[str, onnx.ValueInfoProto]:
        """What a run must give, by name: without initializers, which may be replaced."""
        return {value.name: value for value in self.model.graph.input if value.name not in self.weights}

    @cached_property
    def producers(self) -> dict[str, onnx.NodeProto]:
        """Tensor -> the node that makes it."""
        return {name: node for node in self.nodes for name in node.output if name}

    @cached_property
    def values(self) -> dict[str, onnx.ValueInfoProto]:
        """Element type and shape of every tensor for which they can be inferred.

        Raises:
            onnx.shape_inference.InferenceError: types or shapes contradict each other.
        """
        graph = shape_inference.infer_shapes(
            self.model, check_type=True, strict_mode=True, data_prop=True
        ).graph
        return {value.name: value for value in (*graph.value_info, *graph.input, *graph.output)}

    @cached_property
    def origins(self) -> dict[str, frozenset[str]]:
        """Tensor -> the graph's inputs whose values (not only whose shapes) it is made from."""
        found = {name: frozenset((name,)) for name in self.inputs}
        for node in self.nodes:
            reached = frozenset().union(*(found.get(name, frozenset()) for name in node.input))
            kept = frozenset() if node.op_type in SHAPES_ONLY else reached
            found.update(dict.fromkeys(node.output, kept))
        return found

    def kind(self, name: str) -> int:
        """Element type (TensorProto.FLOAT, ...) of a tensor, UNDEFINED where unknown."""
        if name in self.constants:
            return self.constants[name].data_type
        return self.values[name].type.tensor_type.elem_type if name in self.values else TensorProto.UNDEFINED

    def rank(self, name: str) -> int | None:
        """How many axes a tensor has, where that is known."""
        if name in self.constants:
            return len(self.constants[name].dims)
        kind = self.values[name].type.tensor_type if name in self.values else None
        return len(kind.shape.dim) if kind is not None and kind.HasField("shape") else None

    def value(self, name: str) -> NDArray[Any] | None:
        """A constant as an array; None for what is not a constant, or lies in a file that cannot be read."""
        tensor = self.constants.get(name)
        if tensor is None:
            return None
        if external_data_helper.uses_external_data(tensor):
            tensor = TensorProto.FromString(tensor.SerializeToString())
            try:
                external_data_helper.load_external_data_for_tensor(tensor, str(self.folder))
            except (OSError, ValueError, onnx.checker.ValidationError):
                return None
        array: NDArray[Any] = numpy_helper.to_array(tensor)
        return array


def attribute(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    """An attribute's value, strings as `str`."""
    for item in node.attribute:
        if item.name == name:
            value = helper.get_attribute_value(item)
            return value.decode() if isinstance(value, bytes) else value
    return default


def argument(node: onnx.NodeProto, index: int) -> str:
    """Name of an input, "" where it is left out."""
    return str(node.input[index]) if index < len(node.input) else ""


def label(node: onnx.NodeProto) -> str:
    """What to call a node: its name, or that of what it makes."""
    return node.name or f"that makes {next(iter(node.output), '?')}"


def type_name(kind: int) -> str:
    """float32, int64, ... as numpy calls them where it can."""
    try:
        return str(np.dtype(helper.tensor_dtype_to_np_dtype(kind)).name)
    except (KeyError, TypeError):
        return str(TensorProto.DataType.Name(kind)).lower()


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for item in node.attribute:
            for inner in (item.g, *item.graphs):
                yield from _nodes(inner)
