"""onnxruntime on CPUs, and on NVIDIA GPUs through its CUDA and TensorRT execution providers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import onnxruntime as ort

from sam_edge.errors import EngineError, SamEdgeError
from sam_edge.host.cores import usable_cores
from sam_edge.host.machine import this_machine
from sam_edge.sessions.base import BaseSession
from sam_edge.sessions.session import SessionLoader, SessionOptions
from sam_edge.tensors import Array, Arrays, TensorSpec

from .binding import NUMPY_TYPE, DeviceArray, Placed, run_bound
from .errors import load_error, run_error
from .providers import check_device, default_device, start
from .tensorrt_plans import ProviderPlans, plan_entry


class OnnxRuntimeSession(BaseSession):
    """An ONNX graph in an onnxruntime session.

    Args:
        graph: the ONNX file.
        options: `device` is cpu, cuda or tensorrt; None is CUDA where it can be had, otherwise the CPU.
            tensorrt wants NVIDIA_TF32_OVERRIDE=0 in the environment on GPUs that have TensorFloat-32 (compute
            capability 8.0 and later): onnxruntime has no option by which float32 stays float32 there.
        resident: outputs that are not in `options.host_outputs` stay on the device. None: on all but the CPU.

    Raises:
        BundleError: the file is not a graph, or has an operator that onnxruntime lacks.
        EngineError: the device, its driver or its memory.
    """

    def __init__(
        self,
        graph: Path,
        options: SessionOptions = SessionOptions(),
        *,
        resident: bool | None = None,
    ) -> None:
        self.device = options.device or default_device(this_machine())
        self._memory = "cpu" if self.device == "cpu" else "cuda"
        check_device(self.device)
        self._kept = ProviderPlans(plan_entry(graph)) if self.device == "tensorrt" else None
        session = _open(graph, options.threads, self.device, self._kept)
        super().__init__([*map(_spec, session.get_inputs())], [*map(_spec, session.get_outputs())])
        self._session: ort.InferenceSession | None = session
        self._names = [spec.name for spec in self.outputs]
        self._is_resident = self._memory != "cpu" if resident is None else resident
        everything = frozenset(self._names)
        self._host_outputs = everything if options.host_outputs is None else options.host_outputs

    def compute(self, feeds: Mapping[str, Array]) -> Arrays:
        session = self._session
        assert session is not None, "closed sessions are refused before"
        answer: Arrays
        try:
            if self._is_resident:
                answer = run_bound(session, cast("Placed", feeds), self._memory, self._host_outputs)
            else:
                answer = dict(zip(self._names, session.run(self._names, feeds), strict=True))
        except Exception as error:  # onnxruntime's own errors share no base class
            if self._kept is not None and self._kept.discard_refused(str(error)):
                raise EngineError(
                    "TensorRT refuses a plan that it built before, which has been removed",
                    hint="open the model again",
                ) from error
            raise run_error(error, self._memory) from error
        if self._kept is not None:
            self._kept.after_run({name: tuple(feed.shape) for name, feed in feeds.items()})
        return answer

    def release(self) -> None:
        self._session = None

    def takes(self, array: Array) -> bool:
        return self._is_resident and isinstance(array, DeviceArray) and array.on_cpu == (self._memory == "cpu")


def _open(graph: Path, threads: int | None, device: str, kept: ProviderPlans | None) -> ort.InferenceSession:
    """A session that really runs on the device."""
    options = ort.SessionOptions()
    options.inter_op_num_threads = 1
    # onnxruntime's own count knows nothing of control groups.
    options.intra_op_num_threads = threads or usable_cores()
    # Idle workers of one graph must not spin on the cores that the other graph needs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # The arena keeps its largest size for ever; a wearable shares its memory.
    options.enable_cpu_mem_arena = False
    try:
        return start(graph, options, device, kept)
    except SamEdgeError:
        raise
    except Exception as error:  # onnxruntime's own errors share no base class
        raise load_error(error, graph, "cpu" if device == "cpu" else "cuda") from error


def _spec(node: ort.NodeArg) -> TensorSpec:
    shape = tuple("?" if side is None else side for side in node.shape)
    return TensorSpec(node.name, shape, NUMPY_TYPE.get(node.type, node.type))


_: SessionLoader = OnnxRuntimeSession
