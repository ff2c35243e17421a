"""Results on their way out, as parts of frames; the decoder's thread alone tells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter_ns

from sam_edge.streaming.answers.scene import Scene
from sam_edge.streaming.live.report import Counts
from sam_edge.streaming.result import FrameResult, Result


class Teller:
    """Tells results in the order they are made, and before those of a newer frame that the frame before is
    over.

    Args:
        tell: called with every part; what it raises is counted and changes nothing.
        counts: where it is counted.
    """

    def __init__(self, tell: Callable[[FrameResult], None], counts: Counts) -> None:
        self._tell, self._counts = tell, counts
        self._shown: Scene | None = None

    def emit(self, scene: Scene, results: Sequence[Result]) -> None:
        """Tell results on the newest frame of `scene`; without any, that there is a newer frame."""
        for result in results:
            self._counts.result(result)
        if self._shown is not None and self._shown.frame is not scene.frame:
            self._say(self._shown, [], last=True)
        self._shown = scene
        if results:
            self._say(scene, results, last=False)

    def end(self) -> None:
        """The last frame is over."""
        if self._shown is not None:
            self._say(self._shown, [], last=True)

    def _say(self, scene: Scene, results: Sequence[Result], *, last: bool) -> None:
        assert scene.frame is not None, "something is told about a frame"
        is_encoded = scene.embedding is not None and scene.embedding.capture_ns == scene.frame.capture_ns
        encode_ms = scene.encode_ms if is_encoded else None
        start = perf_counter_ns()
        try:
            self._tell(FrameResult(scene.frame, encode_ms, tuple(results), last))
        except Exception as error:  # a listener's mistake must not end the stream
            self._counts.fail("listener", error)
        self._counts.took("publish", (perf_counter_ns() - start) / 1e6)
