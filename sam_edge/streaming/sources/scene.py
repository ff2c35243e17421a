"""Frames of a generated scene, to try the pipeline without a camera."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Event

from sam_edge.errors import InputError
from sam_edge.progress import Progress, silent
from sam_edge.streaming.sources.source import Frame, SourceInfo
from sam_edge.synthetic.scene import Scene


class SceneSource:
    """A rendered view of a desk, seen by a wearer of glasses."""

    lost_frames = 0

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._closing = Event()
        self._drawn: list[Frame] = []
        # Painting the room takes memory that is given back: before a model is loaded, not beside it.
        _ = scene.world
        self.info = SourceInfo((scene.width, scene.height), scene.fps, scene.frame_count)

    def draw(self, progress: Progress = silent) -> None:
        """Draw every frame now, for whoever wants them in real time later: 2.8 MB a frame of 1280 x 720."""
        frames: list[Frame] = []
        for frame in self:
            frames.append(frame)
            progress("drawing the scene", len(frames) / self._scene.frame_count)
        self._drawn = frames

    def __iter__(self) -> Iterator[Frame]:
        drawn = (Frame(frame.image, frame.index, frame.capture_ns) for frame in self._scene.frames())
        for frame in self._drawn or drawn:
            if self._closing.is_set():
                return
            yield frame

    def close(self) -> None:
        """End the iteration."""
        self._closing.set()


def open_scene(name: str, *, rate_hz: float | None = None) -> SceneSource:
    """The scene that `scene:SEED` names; SEED is a whole number from 0."""
    seed = name.partition(":")[2]
    if not seed.isdecimal():
        raise InputError(f"{name} names no scene", hint="give scene:SEED with a whole number, such as scene:7")
    if rate_hz is not None:
        raise InputError(f"{name} has a rate of its own", hint="leave --rate out")
    return SceneSource(Scene(seed=int(seed)))
