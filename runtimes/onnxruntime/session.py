"""onnxruntime on CPUs, and on NVIDIA GPUs through its CUDA and TensorRT execution providers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeGuard, cast

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from sam_edge.errors import EngineError, InputError, SamEdgeError
from sam_edge.host.cores import usable_cores
from sam_edge.host.machine import this_machine
from sam_edge.sessions.backends import HOST_OUTPUTS, SessionLoader
from sam_edge.tensors import Arrays, TensorSpec, check_feeds, fits

from .binding import NUMPY_TYPE, Bound, DeviceArray
from .errors import load_error, run_error
from .providers import check_device, default_device, start
from .recordings import CAPTURE_LOCK
from .tensorrt_plans import KeptPlans, plan_folder

DECODER_CORES = 4
"""A decoder's products are too thin to share among more, and the encoder wants the rest."""


class OnnxRuntimeSession:
    """An ONNX graph in an onnxruntime session.

    Args:
        graph: the ONNX file.
        threads: cores that may be used; None is all that this process has.
        device: cpu, cuda or tensorrt; None is CUDA where it can be had, otherwise the CPU. tensorrt wants
            NVIDIA_TF32_OVERRIDE=0 in the environment on GPUs that have TensorFloat-32 (compute capability 8.0
            and later): onnxruntime has no option by which float32 stays float32 there.
        resident: outputs that only another graph takes stay on the device. None: on all but the CPU.
        replay: runs are recorded at fixed addresses and replayed, as CUDA graphs; on a CPU the addresses
            are fixed and nothing is recorded. Only on request, because CUDA then refuses what other libraries
            of the process do on the GPU in that moment: `partial(OnnxRuntimeSession, replay=True)` is a
            opener for a `Segmenter`, and `sam_edge.benchmarks.speed.cuda` says what it wins.

    Raises:
        BundleError: no graph, one with an operator that onnxruntime lacks, or one that cannot be recorded
            because some of its nodes stay on the CPU.
        EngineError: the device, its driver or its memory.
    """

    def __init__(
        self,
        graph: Path,
        threads: int | None = None,
        device: str | None = None,
        *,
        resident: bool | None = None,
        replay: bool = False,
    ) -> None:
        self.device = device or default_device(this_machine())
        self._memory = "cpu" if self.device == "cpu" else "cuda"
        check_device(self.device)
        self._kept = KeptPlans(plan_folder(graph)) if self.device == "tensorrt" else None
        session = _open(graph, threads, self.device, replay=replay, kept=self._kept)
        self._session: ort.InferenceSession | None = session
        self.inputs = tuple(_spec(node) for node in session.get_inputs())
        self.outputs = tuple(_spec(node) for node in session.get_outputs())
        self._taken = [spec.name for spec in self.inputs]
        self._names = [spec.name for spec in self.outputs]
        self._halves = any(spec.dtype == "float16" for spec in self.outputs)
        if resident is None:
            resident = self._memory != "cpu"
        on_host = HOST_OUTPUTS if resident else frozenset(self._names)
        self._bound = (
            Bound(session, self._memory, on_host, replay=replay)
            if resident or replay or self._memory != "cpu"
            else None
        )

    def run(self, feeds: Arrays) -> Arrays:
        session, bound = self._session, self._bound
        if session is None:
            raise InputError("the engine was closed", hint="open the graph again")
        placed = self._place(feeds)
        try:
            if bound is not None:
                answer = bound.run(placed)
            else:
                answer = dict(zip(self._names, session.run(self._names, placed), strict=True))
        except Exception as error:  # onnxruntime's own errors share no base class
            if self._kept is not None and self._kept.discard_refused(str(error)):
                raise EngineError(
                    "TensorRT refuses a plan that it built before, which has been removed",
                    hint="open the model again",
                ) from error
            raise run_error(error, self._memory) from error
        if self._kept is not None:
            self._kept.after_run({name: tuple(feed.shape) for name, feed in placed.items()})
        # What stays on the device is only passed on to another graph.
        return cast(
            Arrays, {name: _readable(value) for name, value in answer.items()} if self._halves else answer
        )

    def close(self) -> None:
        with CAPTURE_LOCK.running():
            self._bound = None
            self._session = None

    def _place(self, feeds: Arrays) -> dict[str, DeviceArray | NDArray[np.float32]]:
        """Feeds as the graph takes them: tensors of this device as they are, all others as numpy arrays."""
        if self._bound is None:
            return dict(zip(self._taken, check_feeds(self.inputs, feeds), strict=True))
        return {
            spec.name: feed if self._is_here(feed, spec) else check_feeds([spec], feeds)[0]
            for spec, feed in ((spec, feeds.get(spec.name)) for spec in self.inputs)
        }

    def _is_here(self, feed: object, spec: TensorSpec) -> TypeGuard[DeviceArray]:
        return (
            isinstance(feed, DeviceArray)
            and feed.on_cpu == (self._memory == "cpu")
            and feed.dtype == spec.dtype
            and fits(spec.shape, feed.shape)
        )


def _open(
    graph: Path, threads: int | None, device: str, *, replay: bool, kept: KeptPlans | None
) -> ort.InferenceSession:
    """A session that really runs on the device."""
    options = ort.SessionOptions()
    options.inter_op_num_threads = 1
    # onnxruntime's own count knows nothing of control groups.
    options.intra_op_num_threads = threads or _cores_for(graph)
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


def _cores_for(graph: Path) -> int:
    cores = usable_cores()
    return min(cores, DECODER_CORES) if graph.name.startswith("decoder") else cores


def _readable(value: Any) -> Any:
    """Arrays on the host are float32 even if the graph computes in float16; device tensors stay as they are."""
    return value.astype(np.float32) if isinstance(value, np.ndarray) and value.dtype == np.float16 else value


def _spec(node: ort.NodeArg) -> TensorSpec:
    shape = tuple("?" if side is None else side for side in node.shape)
    return TensorSpec(node.name, shape, NUMPY_TYPE.get(node.type, node.type))


_: SessionLoader = OnnxRuntimeSession
