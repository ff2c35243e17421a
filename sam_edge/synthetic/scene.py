"""A rendered view of a desk as a wearer of glasses sees it, with the exact mask of every object."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sam_edge.errors import InputError
from sam_edge.synthetic.render import Sensor, draw, draw_labels, expose, noise_cut, sensor, smear_px
from sam_edge.synthetic.world import World, build_world

MIN_SIDE, MAX_SIDE = 32, 2048
MAX_FRAMES = 100_000
MAX_OBJECTS = 16
MAX_ASIDE_DEG = 70
"""The room is painted on a plane: at 90 degrees to the side it would be infinitely large."""


@dataclass(frozen=True, eq=False)
class SceneFrame:
    """One image with its truth.

    image: (H, W, 3) uint8 RGB. labels: (H, W) uint8, 0 the background, else the object that covers more
    than half of the pixel and lies in front. capture_ns: time since the scene began.
    to_world, to_first: (3, 3) homographies that take a background pixel (x, y, 1) of this frame to the
    room's plane and to frame 0; pixel centres at whole numbers.
    """

    index: int
    image: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    capture_ns: int
    to_world: NDArray[np.float64]
    to_first: NDArray[np.float64]


@dataclass(frozen=True)
class Scene:
    """A desk, its objects and a head that moves, all given by `seed`.

    width, height: pixels, 32..2048. fps: frames a second. duration_s: length. fov_deg: horizontal angle of
    view, 30..100. object_count: 1..16, None lets the seed choose 5..9. pan_deg_s: None for a restless head, or
    the speed of one that turns steadily (positive to the right; no part of an image may lie more than 70
    degrees aside). Raises InputError for others.
    """

    seed: int = 0
    width: int = 640
    height: int = 360
    fps: float = 30.0
    duration_s: float = 8.0
    fov_deg: float = 75.0
    object_count: int | None = None
    pan_deg_s: float | None = None

    def __post_init__(self) -> None:
        if not _is_whole(self.seed, 0, 2**63 - 1):
            raise InputError(f"scene seed {self.seed!r}", hint="give a whole number from 0")
        for side, name in ((self.width, "width"), (self.height, "height")):
            if not _is_whole(side, MIN_SIDE, MAX_SIDE):
                raise InputError(
                    f"scene {name} {side!r}", hint=f"give whole pixels from {MIN_SIDE} to {MAX_SIDE}"
                )
        if self.width > 4 * self.height or self.height > 2 * self.width:
            raise InputError(f"scene of {self.width}x{self.height}", hint="give an aspect between 1:2 and 4:1")
        for value, name, low, high in (
            (self.fps, "fps", 1.0, 1000.0),
            (self.duration_s, "duration_s", 0.001, 3600.0),
            (self.fov_deg, "fov_deg", 30.0, 100.0),
        ):
            if not _is_number(value) or not low <= value <= high:
                raise InputError(f"scene {name} {value!r}", hint=f"give a number from {low:g} to {high:g}")
        if self.fps * self.duration_s > MAX_FRAMES:
            raise InputError(
                f"scene of {self.duration_s:g} s at {self.fps:g} fps: shorten it to at most {MAX_FRAMES} frames"
            )
        if self.object_count is not None and not _is_whole(self.object_count, 1, MAX_OBJECTS):
            raise InputError(
                f"scene object_count {self.object_count!r}",
                hint=f"give a whole number from 1 to {MAX_OBJECTS}",
            )
        if self.pan_deg_s is not None:
            room_deg = 2 * MAX_ASIDE_DEG - self.fov_deg
            if not _is_number(self.pan_deg_s) or abs(self.pan_deg_s) * self.duration_s > room_deg:
                raise InputError(
                    f"scene pan_deg_s {self.pan_deg_s!r} for {self.duration_s:g} s",
                    hint=f"turn by {room_deg:g} degrees at most",
                )

    @property
    def frame_count(self) -> int:
        """How many frames the scene has."""
        return max(1, round(self.fps * self.duration_s))

    @property
    def focal_px(self) -> float:
        """Focal length in pixels."""
        return self.width / 2 / math.tan(math.radians(self.fov_deg) / 2)

    @property
    def px_per_degree(self) -> float:
        """Pixels one degree of visual angle takes in the middle of the image."""
        return math.radians(self.focal_px)

    @property
    def names(self) -> dict[int, str]:
        """Label of each object -> what it is ("mug", "ball", ...)."""
        return {item.label: item.name for item in self.world.items}

    @cached_property
    def world(self) -> World:
        """The room, the objects and the head's motion, built at first use."""
        times_s = np.arange(self.frame_count + 1) / self.fps
        return build_world(
            self.seed, (self.width, self.height), self.fov_deg, times_s, self.object_count, self.pan_deg_s
        )

    def capture_ns(self, index: int) -> int:
        """Capture time of frame `index`, from 0."""
        return round(index * 1e9 / self.fps)

    def frame(self, index: int, hidden: Collection[int] = ()) -> SceneFrame:
        """Render frame `index` (0..frame_count - 1) without the objects whose labels are in `hidden`."""
        t_s = self._time_s(index)
        size = (self.width, self.height)
        image, labels = draw(self.world, t_s, size, hidden)
        image = expose(image, self._sensor, smear_px(self.world, t_s, size), noise_cut(self.seed, index))
        to_world = self.world.frame_to_plane(t_s)
        to_first = np.linalg.inv(self.world.frame_to_plane(0.0)) @ to_world
        return SceneFrame(
            index=index,
            image=image,
            labels=labels,
            capture_ns=self.capture_ns(index),
            to_world=to_world,
            to_first=to_first / to_first[2, 2],
        )

    def labels(self, index: int) -> NDArray[np.uint8]:
        """`frame(index).labels` without the image, several times faster."""
        return draw_labels(self.world, self._time_s(index), (self.width, self.height))

    def frames(self) -> Iterator[SceneFrame]:
        """All frames in order."""
        return (self.frame(index) for index in range(self.frame_count))

    @cached_property
    def _sensor(self) -> Sensor:
        return sensor(self.seed, self.width, self.height)

    def _time_s(self, index: int) -> float:
        if not _is_whole(index, 0, self.frame_count - 1):
            raise InputError(f"scene frame {index!r}: the scene has frames 0..{self.frame_count - 1}")
        return index / self.fps


def _is_whole(value: object, low: int, high: int) -> bool:
    if not isinstance(value, int | np.integer) or isinstance(value, bool):
        return False
    return low <= int(value) <= high


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
