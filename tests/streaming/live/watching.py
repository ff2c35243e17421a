"""Looking at what a live stream tells."""

from __future__ import annotations

from threading import Event
from time import monotonic_ns

import numpy as np

from sam_edge.streaming.live.stream import Stream
from sam_edge.streaming.result import Result

PATIENCE_S = 20.0


MS = 1_000_000


def picture(shift_px: int = 0, wh: tuple[int, int] = (256, 128)) -> np.ndarray:
    """Something to see for the camera's motion, moved to the right."""
    rng = np.random.default_rng(0)
    wide = np.kron(
        rng.integers(0, 256, (wh[1] // 8, wh[0] // 8 + 32), dtype=np.uint8), np.ones((8, 8), np.uint8)
    )
    return np.repeat(wide[:, 64 - shift_px : 64 - shift_px + wh[0], None], 3, axis=2)


def look(stream: Stream, x_px: float, y_px: float) -> Result:
    """Push a frame and samples until there is a mask of what they look at."""
    with Later(stream) as later:
        stream.push_frame(picture())
        stream.drain(PATIENCE_S)
        t_ns = monotonic_ns()
        for number in range(40):
            stream.push_gaze(x_px, y_px, t_ns + number * 5 * MS)
        return later.mask()


class Later:
    """Collects what a stream tells from now on."""

    def __init__(self, stream: Stream) -> None:
        self.results: list[Result] = []
        self.replaced = 0
        self._came = Event()
        self._reading = stream.read_by(self)

    def put(self, result: Result) -> None:
        self.results.append(result)
        if result.masks is not None:
            self._came.set()

    def close(self) -> None:
        self._came.set()

    def mask(self) -> Result:
        assert self._came.wait(PATIENCE_S)
        return next(result for result in self.results if result.masks is not None)

    def __enter__(self) -> Later:
        self._reading.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._reading.__exit__(None, None, None)
