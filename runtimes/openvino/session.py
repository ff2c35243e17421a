"""An ONNX graph, compiled by OpenVINO for one of its devices."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam_edge.errors import InputError
from sam_edge.geometry import View
from sam_edge.imaging.image import Layout, crop_and_resize, normalize_and_pad, to_rgb
from sam_edge.imaging.preprocess import Preprocess
from sam_edge.sessions.base import BaseSession
from sam_edge.sessions.session import FrameSession, SessionLoader, SessionOptions
from sam_edge.storage.cache import BlobCache, cache_folder
from sam_edge.storage.files import sha256
from sam_edge.tensors import Array, Arrays, TensorSpec

from .library import ov
from .model import Compiler, find_device, is_shortage, one_line, out_of_memory, read_model, settings
from .preprocess import fold_preprocess

MAX_SHAPES = 4
"""For so many shapes of input a graph with free dimensions is compiled; beyond it, once for any shape."""


class OpenVinoSession(BaseSession):
    """An ONNX graph, compiled by OpenVINO. Any number of threads may run it.

    A graph with free dimensions is compiled when a shape comes for the first time, for that shape alone:
    memory and kernels are then planned once and not at every run, and GPUs and NPUs take nothing else. A
    stream, whose frames have one size, compiles once. Where many sizes come (a folder of images), all after
    the first few share one program that takes any shape, so that neither time nor memory grows with their
    number.

    Args:
        graph: an ONNX file, its external weights beside it.
        options: `device` is CPU, GPU, GPU.1, NPU or AUTO (OpenVINO's own choice); None is a GPU if there is
            one.
        cached: whether compiled code is kept in `cache_folder("openvino")` for the next start.

    Raises:
        BundleError: the file is not a graph, or has an operation that OpenVINO lacks.
        EngineError: no such device, or it cannot run the graph.
    """

    def __init__(self, graph: Path, options: SessionOptions = SessionOptions(), *, cached: bool = True) -> None:
        self.device = find_device(options.device)
        self._model = read_model(graph)
        self._compiler = Compiler(
            self.device,
            settings(self._model, self.device, options.threads),
            BlobCache(cache_folder("openvino")) if cached else None,
            _graph_key(graph),
        )
        super().__init__([*map(_spec, self._model.inputs)], [*map(_spec, self._model.outputs)])
        self._compiling = Lock()
        self._programs: OrderedDict[Hashable, _Program] = OrderedDict()
        # Asked once: OpenVINO looks through the whole graph for it.
        self._has_free_shapes = bool(self._model.is_dynamic())
        if not self._has_free_shapes:
            self._program((), self._any_shape)

    def compute(self, feeds: Mapping[str, Array]) -> Arrays:
        arrays = [np.asarray(feed) for feed in feeds.values()]
        shapes = tuple(array.shape for array in arrays) if self._has_free_shapes else ()
        return self._named(self._program(shapes, lambda: self._fixed(shapes)).run(arrays))

    def run_frame(
        self, image: NDArray[np.uint8], view: View, preprocess: Preprocess, layout: Layout = "rgb"
    ) -> Arrays:
        """`run` on a frame: normalising and padding are the first operations of a program made for its size."""
        self.check_open()
        pixels = crop_and_resize(to_rgb(image, layout), view, preprocess)
        kind = (view.resized_wh, view.encoder_wh, pixels.dtype, preprocess)
        if kind not in self._programs and len(self._programs) >= MAX_SHAPES:
            # Frames of many sizes share one program, which does not know how each is padded.
            return self.run({"image": normalize_and_pad(pixels, view, preprocess)})
        program = self._program(
            kind, lambda: fold_preprocess(self._model.clone(), preprocess, view, pixels.dtype)
        )
        return self._named(program.run([np.ascontiguousarray(pixels)[None]]))

    def release(self) -> None:
        with self._compiling:
            self._programs.clear()

    def _program(self, kind: Hashable, make: Callable[[], ov.Model]) -> _Program:
        """The program for one kind of input, compiled from what `make` gives if it is not there yet."""
        program = self._programs.get(kind)
        if program is not None:
            return program
        with self._compiling:
            self.check_open()
            if kind not in self._programs and len(self._programs) >= MAX_SHAPES and self._takes_any:
                kind, make = None, self._any_shape
            if kind not in self._programs:
                self._programs[kind] = _Program(self._compiler.compile(make(), str(kind)), self.device)
                if len(self._programs) > MAX_SHAPES + 1:
                    self._programs.popitem(last=False)
            return self._programs[kind]

    @property
    def _takes_any(self) -> bool:
        return self.device in ("CPU", "AUTO")

    def _any_shape(self) -> ov.Model:
        return self._model

    def _named(self, answer: Sequence[NDArray[Any]]) -> Arrays:
        return {spec.name: value for spec, value in zip(self.outputs, answer, strict=True)}

    def _fixed(self, shapes: tuple[tuple[int, ...], ...]) -> ov.Model:
        model = self._model.clone()
        try:
            model.reshape(dict(zip(model.inputs, (list(shape) for shape in shapes), strict=True)))
        except RuntimeError as error:
            raise InputError(f"the graph takes no inputs of shapes {shapes}: {one_line(error)}") from error
        return model


class _Program:
    """Compiled code, and requests that nobody is waiting for."""

    def __init__(self, compiled: ov.CompiledModel, device: str) -> None:
        self._compiled = compiled
        self._device = device
        self._idle: list[ov.InferRequest] = []
        self._outputs = [
            (port.get_element_type(), ov.Shape([0 if side.is_dynamic else side.get_length() for side in shape]))
            for port in compiled.outputs
            for shape in (port.get_partial_shape(),)
        ]

    def run(self, arrays: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """Outputs in order, in memory that belongs to the caller; the inputs are read where they lie."""
        try:
            # Taking from a list is atomic: two threads never get the same request.
            request = self._idle.pop()
        except IndexError:
            request = self._compiled.create_infer_request()
        try:
            # The engine writes into tensors of this run alone, so that nothing is copied out of it and
            # no later run writes over an answer.
            answer = [ov.Tensor(kind, shape) for kind, shape in self._outputs]
            for index, tensor in enumerate(answer):
                request.set_output_tensor(index, tensor)
            # One by one: what `infer` does with inputs of its own takes longer than all the rest.
            for index, array in enumerate(arrays):
                # It shares no array that is read-only, not even to read it.
                request.set_input_tensor(index, ov.Tensor(array, shared_memory=array.flags.writeable))
            request.infer()
        except (RuntimeError, MemoryError) as error:
            if is_shortage(error):
                raise out_of_memory(error, self._device, "to run the graph") from error
            raise InputError(f"OpenVINO refuses the input: {one_line(error)}") from error
        self._idle.append(request)
        return [tensor.data for tensor in answer]


def _graph_key(graph: Path) -> str:
    """Hash of the graph and of the weights beside it."""
    return " ".join(sha256(part) for part in (graph, *sorted(graph.parent.glob(f"{graph.name}.*"))))


def _spec(port: Any) -> TensorSpec:
    """OpenVINO forgets what the graph calls its free dimensions: they get the tensor's name and the axis."""
    name = port.get_any_name()
    shape = tuple(
        f"{name}.{axis}" if side.is_dynamic else side.get_length()
        for axis, side in enumerate(port.get_partial_shape())
    )
    return TensorSpec(name, shape, port.get_element_type().to_dtype().name)


_: SessionLoader = OpenVinoSession
_frames: type[FrameSession] = OpenVinoSession
