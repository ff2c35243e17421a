"""One module as one ONNX file."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx
import onnx_ir
import torch
from torch.export import Dim, ExportedProgram

from sam_edge.bundle.manifest import Graph, Role
from sam_edge.modeling.exportable import GraphSource
from sam_edge.tensors import TensorSpec

OPSET = 20
"""The newest opset that TensorRT 10.3, the floor of JetPack 6, reads. Attention stays decomposed in it."""
INLINE_BYTES = 1_800_000_000
"""Weights above this go into a file beside the graph: protobuf ends at 2 GiB."""


def write_graph(source: GraphSource, folder: Path) -> Path:
    """Trace the module and write `<name>.onnx` into `folder`, and `<name>.onnx.data` if it is too large."""
    path = folder / f"{source.name}.onnx"
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            source.module,
            kwargs=dict(source.inputs),
            input_names=list(source.inputs),
            output_names=list(source.outputs),
            dynamic_shapes=_dynamic_shapes(source),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    assert program.exported_program is not None
    graph = program.model.graph
    _name_sizes(graph, _size_names(program.exported_program, source))
    # The exporter notes in every node which lines of which files on this machine it came from.
    graph.metadata_props.clear()
    for node in graph.all_nodes():
        node.metadata_props.clear()
        for value in node.outputs:
            value.metadata_props.clear()
    for value in (*graph.inputs, *graph.initializers.values()):
        value.metadata_props.clear()
    weights = [value.const_value for value in graph.initializers.values()]
    size = sum(weight.nbytes for weight in weights if weight is not None)
    program.save(path, external_data=size > INLINE_BYTES)
    return path


def describe_graph(path: Path, role: Role) -> Graph:
    """The graph's inputs and outputs, as the manifest lists them."""
    graph = onnx.load(path, load_external_data=False).graph
    return Graph(path.name, _specs(graph.input), _specs(graph.output), role)


def _specs(values: list[onnx.ValueInfoProto]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(
            value.name,
            tuple(axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim),
            onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type).name,
        )
        for value in values
    )


def _dynamic_shapes(source: GraphSource) -> dict[str, dict[int, object]] | None:
    if not source.dynamic:
        return None
    sizes: dict[str, Dim] = {}
    return {
        name: {axis: _size(text, sizes) for axis, text in source.dynamic.get(name, {}).items()}
        for name in source.inputs
    }


def _size(text: str, sizes: dict[str, Dim]) -> object:
    """ "8*rows" as eight times the size "rows", which all axes that name it share."""
    factor, _, name = text.rpartition("*")
    size = sizes.setdefault(name, Dim(name, min=2, max=128))
    return int(factor) * size if factor not in ("", "1") else size


def _size_names(program: ExportedProgram, source: GraphSource) -> dict[str, str]:
    """The tracer's symbol of each free size -> the name that the source gives it: "s30" -> "rows"."""
    names = {}
    for node in program.graph.find_nodes(op="placeholder"):
        for axis, text in source.dynamic.get(node.name, {}).items():
            (symbol,) = node.meta["val"].shape[axis].node.expr.free_symbols
            names[str(symbol)] = text.rpartition("*")[2]
    return names


def _name_sizes(graph: onnx_ir.Graph, names: dict[str, str]) -> None:
    """Call the free sizes of all tensors what they are called in the inputs: "2*rows" for "2*s30"."""
    for node in graph.all_nodes():
        for value in node.outputs:
            for axis, size in enumerate(value.shape or ()):
                if isinstance(size, onnx_ir.SymbolicDim) and size.value is not None and value.shape is not None:
                    value.shape[axis] = re.sub(r"\w+", lambda word: names.get(word[0], word[0]), size.value)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's talk about torchvision and its own deprecations from the user."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
