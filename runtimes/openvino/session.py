"""OpenVINO: Intel's processors, GPUs and NPUs, and any other x86 or Arm processor."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam_edge.errors import InputError
from sam_edge.geometry import View
from sam_edge.imaging.image import Layout, crop_and_resize, normalize_and_pad, to_rgb
from sam_edge.imaging.preprocess import Preprocess
from sam_edge.sessions.backends import SessionLoader
from sam_edge.storage.cache import BlobCache, cache_folder
from sam_edge.storage.files import sha256
from sam_edge.tensors import Arrays, TensorSpec, check_feeds

from .library import ov
from .model import (
    Compiler,
    find_device,
    is_shortage,
    one_line,
    out_of_memory,
    read_model,
    settings,
)
from .preprocess import fold_preprocess

KEPT_KINDS = 4
"""For how many kinds of input of a graph with free dimensions an engine is kept ready."""

Shapes = tuple[tuple[int, ...], ...]


class OpenVinoSession:
    """An ONNX graph, compiled by OpenVINO. Any number of threads may run it.

    A graph with free dimensions is compiled anew for shapes that come again: memory and kernels are then
    planned once and not at every run, and GPUs and NPUs take nothing else.

    Args:
        graph: an ONNX file, its external weights beside it.
        threads: cores of a CPU that may be used; None is all that this process has.
        device: CPU, GPU, GPU.1, NPU or AUTO (OpenVINO's own choice); None is a GPU if there is one.
        cached: whether compiled code is kept in `cache_folder("openvino")` for the next start.

    Raises:
        BundleError: no graph, or one with an operation that OpenVINO lacks.
        EngineError: no such device, or it cannot run the graph.
    """

    def __init__(
        self, graph: Path, threads: int | None = None, device: str | None = None, *, cached: bool = True
    ) -> None:
        self.device = find_device(device)
        self._model = read_model(graph)
        self._compiler = Compiler(
            self.device,
            settings(self._model, self.device, threads),
            BlobCache(cache_folder("openvino")) if cached else None,
            _graph_key(graph),
        )
        self.inputs = tuple(_spec(port) for port in self._model.inputs)
        self.outputs = tuple(_spec(port) for port in self._model.outputs)
        self._choosing = Lock()
        self._closed = False
        self._last: Hashable = None
        self._by_kind: OrderedDict[Hashable, _Engine] = OrderedDict()
        self._any: _Engine | None = None
        # Asked once: OpenVINO looks through the whole graph for it.
        self._has_free_shapes = bool(self._model.is_dynamic())
        self._takes_any = not self._has_free_shapes or self.device in ("CPU", "AUTO")
        if self._takes_any:
            self._any = self._any_shape()

    def run(self, feeds: Arrays) -> Arrays:
        arrays = check_feeds(self.inputs, feeds)
        shapes = tuple(array.shape for array in arrays)
        return self._named(self._engine(shapes, lambda: self._fixed(shapes)).run(arrays))

    def run_frame(
        self, image: NDArray[np.uint8], view: View, preprocess: Preprocess, layout: Layout = "rgb"
    ) -> Arrays:
        """`run` on a frame. An engine made for one shape normalises and pads the image itself."""
        pixels = crop_and_resize(to_rgb(image, layout), view, preprocess)
        folded = (view.resized_wh, view.encoder_wh, pixels.dtype, preprocess)
        engine = self._engine(
            folded, lambda: fold_preprocess(self._model.clone(), preprocess, view, pixels.dtype)
        )
        given = (
            normalize_and_pad(pixels, view, preprocess)
            if engine.takes_any
            else np.ascontiguousarray(pixels)[None]
        )
        return self._named(engine.run([given]))

    def close(self) -> None:
        with self._choosing:
            self._closed = True
            self._any = None
            self._by_kind.clear()

    def _engine(self, kind: Hashable, make: Callable[[], ov.Model]) -> _Engine:
        """An engine for inputs of one kind, which `make` prepares the model for.

        The one that takes any shape serves until a kind comes twice in a row: images of a camera stay as
        they are, those of a folder may all differ. A graph without free dimensions has no other. Where the
        sizes stay, it is given up: beside the engine that took over it would hold the weights once more.
        """
        with self._choosing:
            if self._closed:
                raise InputError("the engine was closed", hint="open the graph again")
            again = self._has_free_shapes and (kind == self._last or kind in self._by_kind)
            self._last = kind
            if self._takes_any and not again:
                self._any = self._any or self._any_shape()
                return self._any
            if kind not in self._by_kind:
                model = make()
                self._any = None
                self._by_kind[kind] = _Engine(self._compiler.compile(model, str(kind)), self.device)
                if len(self._by_kind) > KEPT_KINDS:
                    self._by_kind.popitem(last=False)
            self._by_kind.move_to_end(kind)
            return self._by_kind[kind]

    def _any_shape(self) -> _Engine:
        return _Engine(self._compiler.compile(self._model), self.device, takes_any=True)

    def _named(self, answer: Sequence[NDArray[Any]]) -> Arrays:
        return {spec.name: value for spec, value in zip(self.outputs, answer, strict=True)}

    def _fixed(self, shapes: Shapes) -> ov.Model:
        model = self._model.clone()
        try:
            model.reshape(dict(zip(model.inputs, (list(shape) for shape in shapes), strict=True)))
        except RuntimeError as error:
            raise InputError(f"the graph takes no inputs of shapes {shapes}: {one_line(error)}") from error
        return model


class _Engine:
    """Compiled code, and requests that nobody is waiting for."""

    def __init__(self, compiled: ov.CompiledModel, device: str, *, takes_any: bool = False) -> None:
        self.takes_any = takes_any
        """Whether it takes what the graph takes; the others take one kind of input."""
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
