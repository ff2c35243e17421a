"""onnxruntime on CPUs."""

from __future__ import annotations

from pathlib import Path

import onnxruntime as ort

from sam_edge.errors import BundleError, InputError
from sam_edge.runtime import OpenRuntime
from sam_edge.tensors import Arrays, TensorSpec

_DTYPES = {"tensor(float)": "float32"}


class OnnxRuntime:
    """An ONNX graph in an onnxruntime session."""

    def __init__(self, graph: Path, threads: int | None = None) -> None:
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.inter_op_num_threads = 1
        options.intra_op_num_threads = threads or 0
        # Idle workers of one graph must not spin on the cores that the other graph needs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # The arena keeps its largest size for ever; a wearable shares its memory.
        options.enable_cpu_mem_arena = False
        try:
            self._session = ort.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own errors share no base class
            line = " ".join(str(error).split())
            raise BundleError(f"onnxruntime cannot load {graph}: {line}") from error
        self.inputs = tuple(_spec(node) for node in self._session.get_inputs())
        self.outputs = tuple(_spec(node) for node in self._session.get_outputs())
        self._names = [spec.name for spec in self.outputs]

    def run(self, feeds: Arrays) -> Arrays:
        try:
            return dict(zip(self._names, self._session.run(self._names, dict(feeds)), strict=True))
        except Exception as error:  # as above
            line = " ".join(str(error).split())
            raise InputError(f"onnxruntime refuses the input: {line}") from error

    def close(self) -> None:
        del self._session


def _spec(node: ort.NodeArg) -> TensorSpec:
    return TensorSpec(node.name, tuple(node.shape), _DTYPES.get(node.type, node.type))


_: OpenRuntime = OnnxRuntime
