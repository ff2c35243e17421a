"""TensorRT on NVIDIA GPUs: plans built on this device, run as CUDA graphs.

An encoder works on an ordinary stream, everything that a prompt waits for on an urgent one, so that a decoder
overtakes an encoder that is at work in another thread. Outputs that only feed other graphs stay on the device
and are taken from there without a copy.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam_edge.errors import InputError, OutputError, PlanError, SamEdgeError
from sam_edge.geometry import View
from sam_edge.host.machine import this_machine
from sam_edge.imaging.image import Layout, check_image, encoder_input, to_rgb
from sam_edge.imaging.preprocess import Preprocess
from sam_edge.runtimes.cuda.api import CompilerError, CudaApi, find_cuda
from sam_edge.runtimes.cuda.letterbox import LAYOUTS, Letterbox
from sam_edge.runtimes.cuda.letterbox_kernel import FUNCTION, KERNEL
from sam_edge.runtimes.cuda.release import on_finalize
from sam_edge.sessions.session import SessionLoader, SessionOptions
from sam_edge.tensors import Arrays

from .api import RuntimeModule, load_tensorrt
from .plan import ENCODER_INPUT, LoadedPlan
from .plan_cache import PlanDevice, PlanKey, discard_plan, find_plan, read_plan

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Gpu:
    """A device and the TensorRT that works on it."""

    cuda: CudaApi
    trt: RuntimeModule


class TensorRtSession:
    """A plan on the device. Runs of one engine follow each other; other engines' runs go on beside them."""

    def __init__(
        self,
        graph: Path,
        options: SessionOptions = SessionOptions(),
        *,
        gpu: Gpu | None = None,
        folder: Path | None = None,
        plan: Path | None = None,
    ) -> None:
        """Load the plan of an ONNX graph from the cache.

        Args:
            graph: the ONNX file that the plan was built from.
            options: `device` is `cuda`, or `cuda.1` for the second GPU; None is the first. Threads have no
                effect.
            gpu: None finds this machine's.
            folder: the cache of plans; None takes this user's.
            plan: exactly this plan of the graph, which fits, whether it was compared with the model or not;
                None: the one in the cache that was.

        Raises:
            PlanError: there is no plan of this graph for this device; it says why, and how to build one. A
                damaged one, or one that TensorRT refuses, is removed.
            EngineError: no device, driver or memory.
            MissingExtraError: TensorRT or a CUDA binding is not installed.
        """
        gpu = gpu or find_gpu(device_index(options.device))
        path = plan or find_plan(graph, describe(gpu), None, folder)
        code, key = read_plan(path) if plan else _read_tried(path)
        self.cuda = gpu.cuda
        """The device; a `Letterbox` on it makes inputs that need no copy."""
        try:
            self._plan = LoadedPlan(gpu.cuda, gpu.trt, code, graph, key.shapes)
        except PlanError:
            # By its key it fits: as long as it is there, nothing would build another.
            with suppress(OutputError):
                discard_plan(path)
            raise
        self._dropped = on_finalize(self, self._plan.close)
        self.inputs, self.outputs = self._plan.inputs, self._plan.outputs
        self._letterboxes: dict[tuple[Preprocess, Layout], Letterbox | None] = {}
        self._lock = Lock()
        self._closed = False

    def run(self, feeds: Arrays) -> Arrays:
        with self._lock:
            self._check_open()
            return self._plan.run(feeds)

    def run_frame(
        self, image: NDArray[np.uint8], view: View, preprocess: Preprocess, layout: Layout = "rgb"
    ) -> Arrays:
        """`run` on a frame, which reaches the device as it is: a kernel makes it the encoder's input there."""
        image = check_image(image, layout=layout)
        if layout not in LAYOUTS:
            # The kernel knows what most cameras give; the processor converts the rest.
            image, layout = to_rgb(image, layout), "rgb"
        letterbox = self._letterbox(preprocess, layout)
        made: Any
        if letterbox is not None:
            made = letterbox(image, view)
        else:
            made = encoder_input(to_rgb(image, layout), view, preprocess)
        return self.run({ENCODER_INPUT: made})

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for letterbox in self._letterboxes.values():
                if letterbox is not None:
                    letterbox.close()
            if self._dropped.detach():
                self._plan.close()

    def _check_open(self) -> None:
        if self._closed:
            raise InputError("the engine was closed", hint="open it again")

    def _letterbox(self, preprocess: Preprocess, layout: Layout) -> Letterbox | None:
        """None where CUDA's compiler is missing or fails: the processor does the same, more slowly."""
        with self._lock:
            self._check_open()
            key = (preprocess, layout)
            if key not in self._letterboxes:
                try:
                    self._letterboxes[key] = Letterbox(self.cuda, preprocess, layout)
                except CompilerError as error:
                    _log.warning("frames are prepared on the processor, which is slower: %s", error)
                    self._letterboxes[key] = None
            return self._letterboxes[key]


def check_plan(graph: Path, device: str | None = None) -> None:
    """Raise what loading the plan of a graph would, as far as files tell; nothing is loaded."""
    _read_tried(find_plan(graph, plan_device(device)))


def device_problems() -> dict[str, str | None]:
    """The first GPU, with None where TensorRT can use it, and why not in one line where it cannot.

    Where the kernel that prepares frames cannot be compiled, that is said as `letterbox`.
    """
    try:
        gpu = find_gpu()
    except SamEdgeError as error:
        return {"cuda": str(error)}
    try:
        gpu.cuda.enter()
        gpu.cuda.compile(KERNEL, FUNCTION)
    except CompilerError as error:
        return {"cuda": None, "letterbox": f"frames are prepared on the processor: {error}"}
    return {"cuda": None}


def plan_device(device: str | None = None) -> PlanDevice:
    """What plans built for `cuda` or `cuda.N` depend on. Looks for a device before it touches TensorRT.

    Raises:
        EngineError: no CUDA device, or a driver or TensorRT that is too old.
        MissingExtraError: TensorRT or a CUDA binding is not installed.
    """
    return describe(find_gpu(device_index(device)))


def find_gpu(index: int = 0) -> Gpu:
    """This machine's GPU of that number; raises as `plan_device`."""
    cuda = find_cuda(index)
    return Gpu(cuda, load_tensorrt())


def describe(gpu: Gpu) -> PlanDevice:
    """The device and TensorRT as plans depend on them."""
    device, machine = gpu.cuda.device, this_machine()
    return PlanDevice(
        tensorrt=gpu.trt.__version__,
        driver=machine.cuda_driver or "",
        cuda=gpu.cuda.cuda_version,
        device_name=device.name,
        compute_capability="{}.{}".format(*device.compute_capability),
        sm_count=device.sm_count,
        l4t=".".join(str(part) for part in machine.l4t or ()),
    )


def device_index(device: str | None) -> int:
    """0 for None and `cuda`, N for `cuda.N`."""
    number = (device or "").partition(".")[2]
    return int(number) if number else 0


def _read_tried(path: Path) -> tuple[bytes, PlanKey]:
    code, key = read_plan(path)
    if key.unverified:
        raise PlanError(
            f"{path} has just been built, and is not compared yet", path=path, hint="run sam-edge build"
        )
    return code, key


_: SessionLoader = TensorRtSession
