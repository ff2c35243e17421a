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

from .binding import NUMPY_TYPE, Bound, DeviceArray, Placed
from .errors import load_error, run_error
from .providers import check_device, default_device, start
from .recordings import CAPTURE_LOCK
from .tensorrt_plans import KeptPlans, plan_folder


class OnnxRuntimeSession(BaseSession):
    """An ONNX graph in an onnxruntime session.

    Args:
        graph: the ONNX file.
        options: `device` is cpu, cuda or tensorrt; None is CUDA where it can be had, otherwise the CPU.
            tensorrt wants NVIDIA_TF32_OVERRIDE=0 in the environment on GPUs that have TensorFloat-32 (compute
            capability 8.0 and later): onnxruntime has no option by which float32 stays float32 there.
        resident: outputs that are not in `options.host_outputs` stay on the device. None: on all but the CPU.
        replay: runs are recorded at fixed addresses and replayed, as CUDA graphs; on a CPU the addresses
            are fixed and nothing is recorded. Only on request, because CUDA then refuses what other libraries
            of the process do on the GPU in that moment: `partial(OnnxRuntimeSession, replay=True)` is a
            loader for a `Segmenter`, and `sam_edge.benchmarks.speed.cuda` measures what it wins.

    Raises:
        BundleError: the file is not a graph, has an operator that onnxruntime lacks, or cannot be recorded
            because some of its nodes stay on the CPU.
        EngineError: the device, its driver or its memory.
    """

    def __init__(
        self,
        graph: Path,
        options: SessionOptions = SessionOptions(),
        *,
        resident: bool | None = None,
        replay: bool = False,
    ) -> None:
        self.device = options.device or default_device(this_machine())
        self._memory = "cpu" if self.device == "cpu" else "cuda"
        check_device(self.device)
        self._kept = KeptPlans(plan_folder(graph)) if self.device == "tensorrt" else None
        session = _open(graph, options.threads, self.device, replay=replay, kept=self._kept)
        super().__init__([*map(_spec, session.get_inputs())], [*map(_spec, session.get_outputs())])
        self._session: ort.InferenceSession | None = session
        self._names = [spec.name for spec in self.outputs]
        self._bound: Bound | None = None
        if resident is None:
            resident = self._memory != "cpu"
        if resident or replay:
            everything = frozenset(self._names)
            on_host = everything if options.host_outputs is None or not resident else options.host_outputs
            self._bound = Bound(session, self._memory, on_host, replay=replay)

    def compute(self, feeds: Mapping[str, Array]) -> Arrays:
        session, bound = self._session, self._bound
        assert session is not None, "closed sessions are refused before"
        answer: Arrays
        try:
            if bound is not None:
                answer = bound.run(cast("Placed", feeds))
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
        with CAPTURE_LOCK.running():
            self._bound = None
            self._session = None

    def takes(self, array: Array) -> bool:
        return (
            self._bound is not None
            and isinstance(array, DeviceArray)
            and array.on_cpu == (self._memory == "cpu")
        )


def _open(
    graph: Path, threads: int | None, device: str, *, replay: bool, kept: KeptPlans | None
) -> ort.InferenceSession:
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
        return start(graph, options, device, replay=replay, kept=kept)
    except SamEdgeError:
        raise
    except Exception as error:  # onnxruntime's own errors share no base class
        raise load_error(error, graph, "cpu" if device == "cpu" else "cuda") from error


def _spec(node: ort.NodeArg) -> TensorSpec:
    shape = tuple("?" if side is None else side for side in node.shape)
    return TensorSpec(node.name, shape, NUMPY_TYPE.get(node.type, node.type))


_: SessionLoader = OnnxRuntimeSession
