"""The generated scene without an end: there and back, again and again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from threading import Event

from sam_edge.progress import Progress, silent
from sam_edge.streaming.sources.scene import SceneSource
from sam_edge.streaming.sources.source import Frame, SourceInfo
from sam_edge.synthetic.scene import Scene

SECONDS = 4.0
"""Of the way there: 83 MB of frames of 640 x 360."""


class EndlessScene:
    """A recording that never ends. Its frames are drawn before it begins."""

    lost_frames = 0

    def __init__(self, scene: Scene | None = None, progress: Progress = silent) -> None:
        scene = scene or Scene(duration_s=SECONDS)
        source = SceneSource(scene)
        source.draw(progress)
        there = list(source)
        # The ends are shown once.
        self._frames = there + there[-2:0:-1]
        self._closing = Event()
        self.info = SourceInfo((scene.width, scene.height), scene.fps)

    def __iter__(self) -> Iterator[Frame]:
        index = 0
        while not self._closing.is_set():
            frame = self._frames[index % len(self._frames)]
            yield replace(frame, index=index, capture_ns=round(index / self.info.fps * 1e9))
            index += 1

    def close(self) -> None:
        """End the iteration."""
        self._closing.set()
