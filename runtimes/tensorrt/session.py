"""TensorRT on NVIDIA GPUs: plans built on this device, run as CUDA graphs.

What a prompt waits for runs on urgent streams, so that a decoder overtakes an encoder that is at work in
another thread. Outputs that may stay on the device do, and are taken from there without a copy.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam_edge.errors import OutputError, PlanError
from sam_edge.geometry import View
from sam_edge.imaging.image import Layout, check_image, encoder_input, to_rgb
from sam_edge.imaging.preprocess import Preprocess
from sam_edge.runtimes.cuda.array import DeviceArray
from sam_edge.runtimes.cuda.errors import CompilerError
from sam_edge.runtimes.cuda.letterbox import LAYOUTS, Letterbox
from sam_edge.runtimes.cuda.release import on_finalize
from sam_edge.sessions.base import BaseSession
from sam_edge.sessions.session import FrameSession, SessionLoader, SessionOptions
from sam_edge.tensors import Array, Arrays

from .cache import PlanCache
from .device import Gpu, describe, find_gpu, plan_folder
from .plan import LoadedPlan

_log = logging.getLogger(__name__)


class TensorRtSession(BaseSession):
    """A plan on the device. Runs of one session follow each other; other sessions' runs go on beside them."""

    def __init__(
        self,
        graph: Path,
        options: SessionOptions = SessionOptions(),
        *,
        gpu: Gpu | None = None,
        plan: Path | None = None,
    ) -> None:
        """Load the plan of an ONNX graph.

        Args:
            graph: the ONNX file that the plan was built from.
            options: `device` is `cuda`, or `cuda.1` for the second GPU; None is the first. Threads have no
                effect.
            gpu: None finds this machine's.
            plan: exactly this entry of a `PlanCache`, verified or not; None: the verified one in this user's.

        Raises:
            PlanError: there is no plan of this graph for this device; it says why, and how to build one. A
                damaged one, or one that TensorRT refuses, is removed.
            EngineError: no device, driver or memory.
            MissingExtraError: TensorRT or a CUDA binding is not installed.
        """
        gpu = gpu or find_gpu(options.device)
        entry = plan or PlanCache(plan_folder()).verified(graph, describe(gpu).facts())
        cache = PlanCache(entry.parent)
        seal = cache.check(entry)
        self.cuda = gpu.cuda
        """The device; a `Letterbox` on it makes inputs that need no copy."""
        try:
            self._plan = LoadedPlan(gpu, entry.read_bytes(), graph, seal.shapes, options)
        except PlanError:
            # By its name it fits: as long as it is there, nothing would build another.
            with suppress(OutputError):
                cache.discard(entry)
            raise
        self._dropped = on_finalize(self, self._plan.close)
        self._letterboxes: dict[tuple[Preprocess, Layout], Letterbox | None] = {}
        self._lock = Lock()
        super().__init__(self._plan.inputs, self._plan.outputs)

    def takes(self, array: Array) -> bool:
        return isinstance(array, DeviceArray)

    def compute(self, feeds: Mapping[str, Array]) -> Arrays:
        with self._lock:
            self.check_open()
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
        return self.run({"image": made})

    def release(self) -> None:
        with self._lock:
            for letterbox in self._letterboxes.values():
                if letterbox is not None:
                    letterbox.close()
            if self._dropped.detach():
                self._plan.close()

    def _letterbox(self, preprocess: Preprocess, layout: Layout) -> Letterbox | None:
        """None where CUDA's compiler is missing or fails: the processor does the same, more slowly."""
        with self._lock:
            self.check_open()
            key = (preprocess, layout)
            if key not in self._letterboxes:
                try:
                    self._letterboxes[key] = Letterbox(self.cuda, preprocess, layout)
                except CompilerError as error:
                    _log.warning("frames are prepared on the processor, which is slower: %s", error)
                    self._letterboxes[key] = None
            return self._letterboxes[key]


_: SessionLoader = TensorRtSession
_frames: type[FrameSession] = TensorRtSession
