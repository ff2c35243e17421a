"""What the eyes do and when: fixations, smooth pursuits, saccades and blinks over the objects of a scene."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_edge.synthetic.camera import minimum_jerk
from sam_edge.synthetic.scene import Scene
from sam_edge.synthetic.world import Matrix, apply, sprite_of

Phase = Literal["fixation", "pursuit", "saccade", "blink"]

SHORTEST_DWELL_S = 0.15
_LONGEST_FIXATION_S = 0.6
_PURSUIT_FROM_DEG_S = 3.0
_SMALLEST_TARGET_DEG = 1.5


@dataclass(frozen=True)
class Target:
    """A point of an object, in pixels of its sprite, or of the room's plane where `label` is 0."""

    label: int
    x_px: float
    y_px: float


@dataclass(frozen=True)
class EyeEvent:
    """One phase of the eyes. A saccade or blink leads from `start` to `goal`; a dwell has both the same."""

    phase: Phase
    start_s: float
    end_s: float
    start: Target
    goal: Target


class Eyes:
    """Where targets of a scene are seen, and which can be looked at."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self._items = {item.label: item for item in scene.world.items}
        self._sprites = {label: sprite_of(item, item.path.at(0.0)) for label, item in self._items.items()}
        self._labels: Callable[[int], NDArray[np.uint8]] = lru_cache(maxsize=64)(scene.labels)

    def on_plane(self, target: Target, t_s: float) -> NDArray[np.float64]:
        """(2,) place of a target on the room's plane, in pixels."""
        point = np.array([[target.x_px, target.y_px]], np.float64)
        if target.label:
            point = apply(self._sprite_to_plane(target.label, t_s), point)
        return point.reshape(2)

    def in_frame(self, plane_point: NDArray[np.float64], t_s: float) -> tuple[float, float]:
        """Pixel (x, y) of the image at `t_s` seconds that shows a point (2,) of the room's plane, in pixels."""
        to_frame = np.linalg.inv(self.scene.world.frame_to_plane(t_s))
        x, y = apply(to_frame, plane_point[None])[0]
        return float(x), float(y)

    def angle_deg(self, a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
        """Visual angle in degrees between two points (2,) of the room's plane, in pixels."""
        plane = self.scene.world.plane
        rays = np.array([(x - plane.centre_x_px, y - plane.horizon_px, plane.focal_px) for x, y in (a, b)])
        sine = np.linalg.norm(np.cross(rays[0], rays[1]))
        return float(np.rad2deg(np.arctan2(sine, rays[0] @ rays[1])))

    def visible_until(self, target: Target, t_s: float, end_s: float) -> float:
        """The last frame time in `t_s`..`end_s` up to which the target is seen without a break."""
        if target.label == 0:
            return end_s
        fps, last = self.scene.fps, self.scene.frame_count - 1
        for index in range(min(int(t_s * fps), last), min(int(np.ceil(end_s * fps)), last) + 1):
            if not self._is_seen(target, index):
                return max(t_s, (index - 1) / fps)
        return end_s

    def candidates(self, index: int) -> list[int]:
        """Labels that show enough of themselves in a frame."""
        least = (_SMALLEST_TARGET_DEG * self.scene.px_per_degree) ** 2
        areas = np.bincount(self._labels(index).ravel(), minlength=1)
        return [int(label) for label in np.flatnonzero(areas >= least) if label > 0]

    def point_on(self, rng: np.random.Generator, label: int, index: int) -> Target:
        """A random point well inside what is seen of an object in a frame."""
        mask = cv2.copyMakeBorder(
            (self._labels(index) == label).astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT
        )
        depth = cv2.distanceTransform(mask, cv2.DIST_L2, 3)[1:-1, 1:-1]
        rows, columns = np.nonzero(depth >= 0.6 * depth.max())
        chosen = int(rng.integers(len(rows)))
        pixel = np.array([[columns[chosen], rows[chosen]]], np.float64)
        t_s = index / self.scene.fps
        to_sprite = np.linalg.inv(self._sprite_to_plane(label, t_s))
        x, y = apply(to_sprite @ self.scene.world.frame_to_plane(t_s), pixel)[0]
        return Target(label, float(x), float(y))

    def room_point(self, rng: np.random.Generator, t_s: float) -> Target:
        """A point of the background near the middle of the view."""
        size = np.array([self.scene.width, self.scene.height], np.float64)
        pixel = (size * rng.uniform(0.35, 0.65, 2))[None]
        x, y = apply(self.scene.world.frame_to_plane(t_s), pixel)[0]
        return Target(0, float(x), float(y))

    def _is_seen(self, target: Target, index: int) -> bool:
        t_s = index / self.scene.fps
        x, y = self.in_frame(self.on_plane(target, t_s), t_s)
        column, row = round(x), round(y)
        inside = 0 <= column < self.scene.width and 0 <= row < self.scene.height
        return inside and int(self._labels(index)[row, column]) == target.label

    def _sprite_to_plane(self, label: int, t_s: float) -> Matrix:
        item = self._items[label]
        return self.scene.world.sprite_to_plane(item, self._sprites[label], item.path.at(t_s))


def plan_eye_movements(eyes: Eyes, rng: np.random.Generator) -> list[EyeEvent]:
    """Events without gaps from 0 to the end of the scene."""
    duration_s = eyes.scene.frame_count / eyes.scene.fps
    events: list[EyeEvent] = []
    target = _choose(eyes, rng, 0.0, None)
    t_s, blink_s = 0.0, rng.uniform(1.5, 4.5)
    while t_s < duration_s:
        dwell = _dwell(eyes, rng, target, t_s, blink_s)
        events.append(dwell)
        t_s = dwell.end_s
        if t_s >= blink_s:
            end_s = t_s + rng.uniform(0.1, 0.3)
            goal = _choose(eyes, rng, end_s, target)
            events.append(EyeEvent("blink", t_s, end_s, target, goal))
            blink_s = end_s + rng.uniform(3.0, 6.0)
        else:
            # Saccades last some 50 ms: the goal must be in sight when the eye lands on it.
            goal = _choose(eyes, rng, t_s + 0.05, target)
            way_deg = eyes.angle_deg(eyes.on_plane(target, t_s), eyes.on_plane(goal, t_s + 0.05))
            end_s = t_s + saccade_duration_s(way_deg)
            events.append(EyeEvent("saccade", t_s, end_s, target, goal))
        t_s, target = end_s, goal
    return events


def saccade_duration_s(amplitude_deg: float) -> float:
    """Main sequence: 2.2 ms a degree and 21 ms (Carpenter, Movements of the Eyes, 1988)."""
    return 0.021 + 0.0022 * amplitude_deg


def point_at(eyes: Eyes, event: EyeEvent, t_s: float) -> tuple[float, float]:
    """Pixel looked at during an event; in a saccade a minimum-jerk way between two moving targets."""
    start = eyes.on_plane(event.start, t_s)
    if event.phase == "saccade":
        done = minimum_jerk((t_s - event.start_s) / (event.end_s - event.start_s))
        start = start + done * (eyes.on_plane(event.goal, t_s) - start)
    return eyes.in_frame(start, t_s)


def _dwell(eyes: Eyes, rng: np.random.Generator, target: Target, t_s: float, blink_s: float) -> EyeEvent:
    """Stay on a target until it is time to go on, to blink, or until it goes out of sight."""
    longest_s = float(np.clip(0.29 * np.exp(0.4 * rng.standard_normal()), 0.0, _LONGEST_FIXATION_S))
    way_deg = eyes.angle_deg(eyes.on_plane(target, t_s), eyes.on_plane(target, t_s + longest_s))
    pursues = way_deg > _PURSUIT_FROM_DEG_S * longest_s
    if pursues:
        longest_s = float(rng.uniform(0.5, 1.4))
    end_s = min(t_s + longest_s, max(blink_s, t_s + SHORTEST_DWELL_S))
    end_s = eyes.visible_until(target, t_s, end_s)
    end_s = max(end_s, t_s + SHORTEST_DWELL_S)
    return EyeEvent("pursuit" if pursues else "fixation", t_s, end_s, target, target)


def _choose(eyes: Eyes, rng: np.random.Generator, t_s: float, now: Target | None) -> Target:
    """A point in sight from `t_s` for at least the shortest dwell; three times in ten of the same object."""
    index = min(round(t_s * eyes.scene.fps), eyes.scene.frame_count - 1)
    labels = [int(label) for label in rng.permutation(eyes.candidates(index))]
    if now is not None and now.label in labels:
        labels.remove(now.label)
        labels.insert(0 if rng.uniform() < 0.3 else len(labels), now.label)
    until_s = t_s + SHORTEST_DWELL_S + 0.1
    for label in labels:
        for _ in range(3):
            target = eyes.point_on(rng, label, index)
            if eyes.visible_until(target, t_s, until_s) == until_s:
                return target
    return eyes.room_point(rng, t_s)
