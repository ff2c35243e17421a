"""ONNX's own reference evaluator: plain numpy, slow and right, for tests and for settling arguments."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sam_edge.errors import BundleError, InputError
from sam_edge.sessions.base import BaseSession
from sam_edge.sessions.session import SessionLoader, SessionOptions
from sam_edge.tensors import Array, Arrays, TensorSpec

if TYPE_CHECKING:
    import onnx


class ReferenceSession(BaseSession):
    """An ONNX graph, evaluated node by node on one core.

    Args:
        graph: the ONNX file.
        options: of no effect.

    Raises:
        BundleError: the file is missing or damaged, or has an operation that the evaluator lacks.
    """

    def __init__(self, graph: Path, options: SessionOptions = SessionOptions()) -> None:
        import onnx
        from onnx.reference import ReferenceEvaluator

        try:
            self._evaluator: ReferenceEvaluator | None = ReferenceEvaluator(str(graph))
            model = onnx.load(str(graph), load_external_data=False)
        except Exception as error:  # protobuf, OS and evaluator errors share no base class
            line = " ".join(str(error).split())
            raise BundleError(f"the reference evaluator cannot load {graph}: {line}", path=graph) from error
        super().__init__([*map(_spec, model.graph.input)], [*map(_spec, model.graph.output)])

    def compute(self, feeds: Mapping[str, Array]) -> Arrays:
        import numpy as np

        evaluator = self._evaluator
        assert evaluator is not None, "closed sessions are refused before"
        names = [spec.name for spec in self.outputs]
        try:
            # Its Sigmoid computes both sides of a case and takes one; what overflows is the other.
            with np.errstate(over="ignore", invalid="ignore"):
                return dict(zip(names, evaluator.run(names, dict(feeds)), strict=True))
        except Exception as error:  # as above
            line = " ".join(str(error).split())
            raise InputError(f"the reference evaluator refuses the input: {line}") from error

    def release(self) -> None:
        self._evaluator = None


def _spec(value: onnx.ValueInfoProto) -> TensorSpec:
    import onnx

    tensor = value.type.tensor_type
    shape = tuple(item.dim_param or item.dim_value for item in tensor.shape.dim)
    return TensorSpec(value.name, shape, onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name)


_: SessionLoader = ReferenceSession
