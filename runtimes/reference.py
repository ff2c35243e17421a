"""ONNX's own reference evaluator: plain numpy, slow and right, for tests and for settling arguments."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from sam_edge.errors import BundleError, InputError
from sam_edge.sessions.backends import SessionLoader
from sam_edge.tensors import Arrays, TensorSpec, check_feeds


class ReferenceSession:
    """An ONNX graph, evaluated node by node."""

    def __init__(self, graph: Path, threads: int | None = None) -> None:
        try:
            self._evaluator: ReferenceEvaluator | None = ReferenceEvaluator(str(graph))
            model = onnx.load(str(graph), load_external_data=False)
        except Exception as error:  # protobuf, OS and evaluator errors share no base class
            line = " ".join(str(error).split())
            raise BundleError(f"the reference evaluator cannot load {graph}: {line}") from error
        self.inputs = tuple(_spec(value) for value in model.graph.input)
        self.outputs = tuple(_spec(value) for value in model.graph.output)

    def run(self, feeds: Arrays) -> Arrays:
        evaluator = self._evaluator
        if evaluator is None:
            raise InputError("the engine was closed", hint="open the graph again")
        arrays = check_feeds(self.inputs, feeds)
        given = {spec.name: array for spec, array in zip(self.inputs, arrays, strict=True)}
        names = [spec.name for spec in self.outputs]
        try:
            # Its Sigmoid computes both sides of a case and takes one; what overflows is the other.
            with np.errstate(over="ignore", invalid="ignore"):
                return dict(zip(names, evaluator.run(names, given), strict=True))
        except Exception as error:  # as above
            line = " ".join(str(error).split())
            raise InputError(f"the reference evaluator refuses the input: {line}") from error

    def close(self) -> None:
        self._evaluator = None


def _spec(value: onnx.ValueInfoProto) -> TensorSpec:
    tensor = value.type.tensor_type
    shape = tuple(item.dim_param or item.dim_value for item in tensor.shape.dim)
    return TensorSpec(value.name, shape, onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name)


_: SessionLoader = ReferenceSession
