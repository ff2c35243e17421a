"""A scene's contents, built once: the room, its objects, the head; and where everything is at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam_edge.synthetic.camera import HeadMotion, head_motion, rotation, steady_motion
from sam_edge.synthetic.layout import Item, furnish
from sam_edge.synthetic.motion import Place
from sam_edge.synthetic.objects.balls import Ball
from sam_edge.synthetic.objects.sprite import Sprite
from sam_edge.synthetic.room import EYE_CM, Plane, paint_room
from sam_edge.synthetic.shadows import Shadow

Matrix = NDArray[np.float64]

LOOK_DOWN_DEG = 17.0


@dataclass(frozen=True, eq=False)
class World:
    """The room's plane and image, the objects, and the head's motion.

    All homographies are (3, 3) float64 and map (x, y, 1) with pixel centres at whole numbers, as OpenCV does.
    """

    plane: Plane
    room: NDArray[np.uint8]
    items: tuple[Item, ...]
    motion: HeadMotion
    camera: Matrix

    def frame_to_plane(self, t_s: float) -> Matrix:
        """From a pixel of the image taken at `t_s` to the room's plane."""
        return _frame_to_plane(self.motion, self.camera, self.plane, t_s)

    def sprite_to_plane(self, item: Item, sprite: Sprite, place: Place) -> Matrix:
        """From a pixel of an object's sprite to the room's plane."""
        if isinstance(item.look, Ball):
            return _facing_eye(self.plane, sprite, place)
        x, y = self.plane.project(place.x_cm, place.y_cm, place.z_cm)
        scale = self.plane.focal_px / place.z_cm / sprite.px_per_cm
        return _placed(x, y, scale, place.tilt_rad, sprite.anchor_px)

    def shadow_to_plane(self, shadow: Shadow, place: Place) -> Matrix:
        """From a pixel of a shadow's image to the room's plane."""
        z_cm = place.z_cm if shadow.z_cm is None else shadow.z_cm
        x, y = self.plane.project(place.x_cm + shadow.offset_cm[0], place.y_cm + shadow.offset_cm[1], z_cm)
        scale = self.plane.focal_px / z_cm / shadow.px_per_cm
        return _placed(x, y, scale, place.tilt_rad, shadow.anchor_px)


def sprite_of(item: Item, place: Place) -> Sprite:
    """The image of an object at a place."""
    return item.look.sprite(place.spin) if isinstance(item.look, Ball) else item.look


def build_world(
    seed: int,
    size: tuple[int, int],
    fov_deg: float,
    times_s: NDArray[np.float64],
    count: int | None,
    pan_deg_s: float | None,
) -> World:
    """Everything a scene shows.

    `size` is (width, height), `fov_deg` the horizontal angle of view, `pan_deg_s` the speed of a head that
    turns steadily.
    """
    layout_seed, motion_seed, room_seed = np.random.SeedSequence(seed).spawn(3)
    width, height = size
    focal_px = width / 2 / np.tan(np.deg2rad(fov_deg) / 2)
    camera = np.array([[focal_px, 0, (width - 1) / 2], [0, focal_px, (height - 1) / 2], [0, 0, 1]], np.float64)
    motion_rng, lasts_s = np.random.default_rng(motion_seed), float(times_s[-1])
    if pan_deg_s is None:
        motion = head_motion(motion_rng, lasts_s + 1.0)
    else:
        motion = steady_motion(motion_rng, lasts_s, pan_deg_s)
    plane = _plane_seen(motion, camera, size, focal_px, times_s)
    layout_rng = np.random.default_rng(layout_seed)
    chosen = int(layout_rng.integers(5, 10)) if count is None else count
    return World(
        plane=plane,
        room=paint_room(np.random.default_rng(room_seed), plane),
        items=furnish(layout_rng, chosen, focal_px),
        motion=motion,
        camera=camera,
    )


def apply(homography: NDArray[Any], points: NDArray[Any]) -> NDArray[np.float64]:
    """Map (n, 2) points."""
    mapped = np.column_stack([points, np.ones(len(points))]) @ homography.T
    result: NDArray[np.float64] = mapped[:, :2] / mapped[:, 2:]
    return result


def _frame_to_plane(motion: HeadMotion, camera: Matrix, plane: Plane, t_s: float) -> Matrix:
    yaw, pitch, roll = motion.angles_deg(t_s)
    focal = plane.focal_px
    onto = np.array(
        [
            [focal, 0, plane.centre_x_px + focal * motion.shift_x(t_s)],
            [0, focal, plane.horizon_px + focal * motion.shift_y(t_s)],
            [0, 0, 1],
        ],
        np.float64,
    )
    homography: Matrix = onto @ rotation(yaw, pitch - LOOK_DOWN_DEG, roll) @ np.linalg.inv(camera)
    homography /= homography[2, 2]
    return homography


def _plane_seen(
    motion: HeadMotion,
    camera: Matrix,
    size: tuple[int, int],
    focal_px: float,
    times_s: NDArray[np.float64],
) -> Plane:
    """The part of the plane that the frames see, with a margin."""
    width, height = size
    corners = np.asarray([(0, 0), (width, 0), (width, height), (0, height)], np.float64)
    origin = Plane(0, 0, focal_px, 0.0, 0.0)
    seen = np.concatenate([apply(_frame_to_plane(motion, camera, origin, float(t)), corners) for t in times_s])
    low, high = np.floor(seen.min(axis=0)) - 8, np.ceil(seen.max(axis=0)) + 8
    return Plane(
        width=int(high[0] - low[0]),
        height=int(high[1] - low[1]),
        focal_px=float(focal_px),
        centre_x_px=float(-low[0]),
        horizon_px=float(-low[1]),
    )


def _facing_eye(plane: Plane, sprite: Sprite, place: Place) -> Matrix:
    """A sprite on the plane across the line of sight: so a ball off the middle is seen as the right ellipse."""
    ahead = np.array([place.x_cm, EYE_CM - place.y_cm, place.z_cm], np.float64)
    distance_cm = float(np.linalg.norm(ahead))
    ahead /= distance_cm
    right = np.cross((0.0, 1.0, 0.0), ahead)
    right /= np.linalg.norm(right)
    axes = np.column_stack([right, np.cross(ahead, right), ahead])
    focal = sprite.px_per_cm * distance_cm
    from_sprite = np.array(
        [[1, 0, 0.5 - sprite.anchor_px[0]], [0, 1, 0.5 - sprite.anchor_px[1]], [0, 0, focal]],
        np.float64,
    )
    onto = np.array(
        [
            [plane.focal_px, 0, plane.centre_x_px],
            [0, plane.focal_px, plane.horizon_px],
            [0, 0, 1],
        ],
        np.float64,
    )
    homography: Matrix = onto @ axes @ from_sprite
    return homography


def _placed(x: float, y: float, scale: float, tilt_rad: float, anchor_px: tuple[float, float]) -> Matrix:
    """Scale and turn clockwise about the anchor, which comes to (x, y)."""
    cos, sin = scale * np.cos(tilt_rad), scale * np.sin(tilt_rad)
    turn = np.array([[cos, -sin, x], [sin, cos, y], [0, 0, 1]], np.float64)
    from_anchor = np.array([[1, 0, 0.5 - anchor_px[0]], [0, 1, 0.5 - anchor_px[1]], [0, 0, 1]], np.float64)
    placed: Matrix = turn @ from_anchor
    return placed
