"""Frames of a generated scene, so that the whole way can be tried without a camera."""

from __future__ import annotations

from collections.abc import Iterator

from sam_edge.errors import InputError
from sam_edge.streaming.sources.source import Frame
from sam_edge.synthetic.scene import Scene


class SceneSource:
    """A rendered view of a desk, seen by a wearer of glasses."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        # Painting the room takes memory that is given back: before a model is loaded, not beside it.
        _ = scene.world
        self.frame_wh = (scene.width, scene.height)
        self.fps = scene.fps
        self.length = scene.frame_count

    def __iter__(self) -> Iterator[Frame]:
        for frame in self._scene.frames():
            yield Frame(frame.image, frame.index, frame.capture_ns)

    def close(self) -> None:
        """Nothing to give back."""


def open_scene(name: str) -> SceneSource:
    """The scene that `scene:SEED` names; SEED is a whole number from 0."""
    seed = name.partition(":")[2]
    if not seed.isdecimal():
        raise InputError(f"{name} names no scene", hint="give scene:SEED with a whole number, such as scene:7")
    return SceneSource(Scene(seed=int(seed)))
