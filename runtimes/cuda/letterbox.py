"""A camera's image becomes the encoder's input on the GPU, without a detour over the processor."""

from __future__ import annotations

from collections import OrderedDict
from ctypes import c_float, c_int, c_void_p
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam_edge.errors import InputError
from sam_edge.geometry import View
from sam_edge.imaging.image import Layout, check_image, image_wh
from sam_edge.imaging.preprocess import Preprocess

from .api import CudaApi
from .array import DeviceArray
from .letterbox_kernel import FUNCTION, KERNEL
from .memory import Block, Staging, pool_of
from .release import on_finalize
from .resize_tables import Taps, resize_tables

LAYOUTS: tuple[Layout, ...] = ("rgb", "bgr", "nv12")
_BLOCK = (32, 8, 1)
_MAX_VIEWS = 8
"""Views whose tables are kept; a camera has one, a window that follows the gaze one a size."""


class Letterbox:
    """Cuts, resizes, normalises and pads as `encoder_input`: SAM's resize to the last bit."""

    def __init__(self, cuda: CudaApi, preprocess: Preprocess, layout: Layout = "rgb") -> None:
        """Compile the kernel for the device.

        Raises:
            CompilerError: no compiler for the device.
            EngineError: no memory, or a device that fails.
        """
        cuda.enter()
        self._cuda = cuda
        self._preprocess = preprocess
        self._layout = layout
        std = np.array(preprocess.std, np.float32)
        self._normalise = [*(1 / std), *(np.array(preprocess.mean, np.float32) / std)]
        self._kernel = cuda.compile(KERNEL, FUNCTION)
        self._stream = stream = cuda.stream(high_priority=False)
        self._pool = pool_of(cuda)
        self._staging: Staging | None = None
        self._lock = Lock()
        self._tables: OrderedDict[tuple[int, ...], tuple[list[Block], tuple[int, int, int]]] = OrderedDict()
        self._closed = False

        def give_back() -> None:
            cuda.enter()
            cuda.stream_free(stream)

        self._dropped = on_finalize(self, give_back)

    def __call__(self, frame: NDArray[np.uint8], view: View) -> DeviceArray:
        """The encoder's input (1, 3, h, w) float32 on the device, where an engine takes it without a copy.

        Args:
            frame: uint8 in the layout that was chosen, on the host.
            view: which part of it the encoder sees; its frame has the size of the image.

        Raises:
            InputError: no such image, or of another size than the view's frame; the letterbox was closed.
        """
        frame = check_image(frame, layout=self._layout)
        if image_wh(frame, self._layout) != view.frame_wh:
            raise InputError(f"the view is for frames of {view.frame_wh}, the frame has shape {frame.shape}")
        with self._lock:
            if self._closed:
                raise InputError("the letterbox was closed", hint="make another")
            self._cuda.enter()
            return self._run(frame, view)

    def _run(self, frame: NDArray[np.uint8], view: View) -> DeviceArray:
        tables, (mode, column_taps, row_taps) = self._table(view)
        if self._staging is None or self._staging.size != frame.nbytes:
            self._staging = Staging(self._cuda, frame.nbytes)
        source = self._upload(frame, self._staging)
        width, height = view.encoder_wh
        block = self._pool.take(3 * width * height * 4)
        grid = (-(-width // _BLOCK[0]), -(-height // _BLOCK[1]), 1)
        columns, column_weights, rows, row_weights = (c_void_p(table.address) for table in tables)
        arguments: list[Any] = [
            *self._source(source.address, view),
            c_int(mode),
            *(columns, column_weights, c_int(column_taps)),
            *(rows, row_weights, c_int(row_taps)),
            *(c_int(side) for side in (*view.resized_wh, width, height)),
            *(c_float(value) for value in self._normalise),
            c_void_p(block.address),
        ]
        self._cuda.launch(self._kernel, grid, _BLOCK, arguments, self._stream)
        self._cuda.synchronize(self._stream)
        return DeviceArray(self._cuda, block, (1, 3, height, width), "float32")

    def close(self) -> None:
        """Give memory and stream back, after the frame that is being made; a second time does nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._cuda.enter()
            self._tables.clear()
            self._staging = None
            self._dropped.detach()
            self._cuda.stream_free(self._stream)
            self._pool.trim()

    def _upload(self, data: NDArray[Any], staging: Staging) -> Block:
        """Device memory, with the data on its way there through pinned memory."""
        np.copyto(staging.view(data.shape, data.dtype.name), data)
        block = self._pool.take(data.nbytes)
        self._cuda.copy(block.address, staging.address, data.nbytes, self._stream)
        return block

    def _source(self, address: int, view: View) -> list[Any]:
        """Where the window's pixels and their chroma begin, and how their rows follow each other."""
        width, height = view.frame_wh
        x, y, _, _ = view.window_xywh
        sample = 1 if self._layout == "nv12" else 3
        first = address + (y * width + x) * sample
        chroma = address + height * width if self._layout == "nv12" else 0
        pitches = (width * sample, width, LAYOUTS.index(self._layout), x, y)
        return [c_void_p(first), c_void_p(chroma), *(c_int(value) for value in pitches)]

    def _table(self, view: View) -> tuple[list[Block], tuple[int, int, int]]:
        """Positions and weights of columns and rows on the device, the mode, and the taps of each."""
        key = (*view.window_xywh[2:], *view.resized_wh)
        if key not in self._tables:
            tables = resize_tables(view, self._preprocess)
            blocks = [block for taps in (tables.columns, tables.rows) for block in self._upload_taps(taps)]
            counts = (tables.columns.positions.shape[1], tables.rows.positions.shape[1])
            self._tables[key] = (blocks, (tables.mode, *counts))
            if len(self._tables) > _MAX_VIEWS:
                self._tables.popitem(last=False)
        self._tables.move_to_end(key)
        return self._tables[key]

    def _upload_taps(self, taps: Taps) -> list[Block]:
        blocks = []
        for table in (taps.positions, taps.weights):
            staging = Staging(self._cuda, table.nbytes)
            blocks.append(self._upload(table, staging))
            self._cuda.synchronize(self._stream)
            staging.close()
        return blocks
