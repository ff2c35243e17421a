"""How a masked object moved between two frames, by the camera or by itself.

Corners on the object are followed by pyramidal Lucas-Kanade flow there and back, and a turn, zoom and shift is
fitted that most of them agree on: the Median Flow tracker (Kalal, Mikolajczyk and Matas, "Forward-backward
error: automatic detection of tracking failures", ICPR 2010), with RANSAC in the place of medians.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_edge.masks import THRESHOLD, Masks
from sam_edge.streaming.motion.flow import FLOW_LEVELS, FLOW_STOP, FLOW_WINDOW_PX, SmallFrame
from sam_edge.streaming.motion.motion import Motion

MAX_POINTS = 60
MIN_POINTS = 4
LEAST_INNER = 20
"""So many pixels of the small frame are left of an object without its outline, or its outline counts too."""
RETURN_PX = 1.0
"""A point that was followed there and back comes back as close to where it began, in small pixels."""
AGREES_PX = 3.0
"""A point agrees if it is nearer than this to where the motion puts it, in small pixels: objects bend."""
MIN_RATIO = 0.5
"""Such a share of the points agrees: else background is among them, or another thing came before it."""
MAX_ZOOM = 1.4
"""No object grows or shrinks more between two frames."""


def object_motion(before: SmallFrame, after: SmallFrame, masks: Masks, camera: Motion) -> Motion:
    """The motion of what a mask shows, from one frame to another.

    Three motions are tried: that of the points on the object, the camera's (it stands still) and none (the
    camera goes along with it). The one counts after which the object's pixels differ least.

    Args:
        before: the frame the mask lies on.
        after: another one of the same size.
        masks: k = 1.
        camera: how the camera moved; the answer where nothing can be compared.
    """
    inside = _inside(before, masks)
    if before.frame_wh != after.frame_wh or not inside.any():
        return camera
    tried = [camera, replace(camera, matrix=np.eye(3))]
    own = _own_motion(before, after, inside)
    if own is not None:
        tried.append(own)
    return min(tried, key=lambda motion: _difference(before, after, inside, motion))


def _own_motion(before: SmallFrame, after: SmallFrame, inside: NDArray[np.uint8]) -> Motion | None:
    """The motion that most points inside a mask (h, w) of the small frame agree on, if they do."""
    # Points on the outline may belong to what is behind it.
    inner = cv2.erode(inside, np.ones((3, 3), np.uint8))
    region = inner if np.count_nonzero(inner) > LEAST_INNER else inside
    corners = cv2.goodFeaturesToTrack(before.grey, MAX_POINTS, 0.01, 3, mask=region)
    if corners is None or len(corners) < MIN_POINTS:
        return None
    points: NDArray[np.float32] = np.asarray(corners, np.float32)
    there, found = _followed(before, after, points)
    back, returned = _followed(after, before, there)
    sound = found & returned & (((back - points)[:, 0] ** 2).sum(axis=1) < RETURN_PX**2)
    if np.count_nonzero(sound) < MIN_POINTS:
        return None
    start, end = (before.to_frame(xy[sound, 0]) for xy in (points, there))
    matrix, inliers = cv2.estimateAffinePartial2D(
        start, end, method=cv2.RANSAC, ransacReprojThreshold=AGREES_PX * before.step_px
    )
    if matrix is None or not np.isfinite(matrix).all():
        return None
    agree = inliers[:, 0] > 0
    zoom = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    if np.mean(agree) < MIN_RATIO or not 1 / MAX_ZOOM < zoom < MAX_ZOOM:
        return None
    moved = start[agree] @ matrix[:, :2].T + matrix[:, 2]
    residual_px = float(np.median(np.hypot(*(moved - end[agree]).T)))
    return Motion(np.vstack([matrix, (0.0, 0.0, 1.0)]), float(np.mean(agree)), residual_px)


def _difference(before: SmallFrame, after: SmallFrame, inside: NDArray[np.uint8], motion: Motion) -> float:
    """Mean difference of the grey inside a mask (h, w) and where a motion takes it; what leaves is black."""
    onto = np.array([[before.step_px, 0, before.offset_px], [0, before.step_px, before.offset_px], [0, 0, 1.0]])
    matrix = np.linalg.inv(onto) @ motion.matrix @ onto
    size_wh = (before.grey.shape[1], before.grey.shape[0])
    moved = cv2.warpPerspective(after.grey, matrix, size_wh, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    return float(cv2.mean(cv2.absdiff(before.grey, moved), mask=inside)[0])


def _inside(frame: SmallFrame, masks: Masks) -> NDArray[np.uint8]:
    """(h, w): 1 inside a mask (k = 1), on the small frame."""
    view = masks.view
    left, top = view.window_xywh[:2]
    rows, columns = masks.logits.shape[1:]
    # From small pixels to cells of the logits.
    across, down = view.scale * (columns, rows) / view.input_wh
    step, offset = frame.step_px, frame.offset_px
    matrix = np.array(
        [
            [step * across, 0, (offset + 0.5 - left) * across - 0.5],
            [0, step * down, (offset + 0.5 - top) * down - 0.5],
        ]
    )
    plane = (masks.logits[0] > THRESHOLD).astype(np.uint8)
    size_wh = (frame.grey.shape[1], frame.grey.shape[0])
    found = cv2.warpAffine(plane, matrix, size_wh, flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP)
    return np.asarray(found, np.uint8)


def _followed(
    before: SmallFrame, after: SmallFrame, points: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Where points (n, 1, 2) of one frame lie in another one, and (n,) which of them were found."""
    moved, found, _ = cv2.calcOpticalFlowPyrLK(
        before.grey,
        after.grey,
        points,
        points.copy(),
        winSize=(FLOW_WINDOW_PX, FLOW_WINDOW_PX),
        maxLevel=FLOW_LEVELS,
        criteria=FLOW_STOP,
    )
    return np.asarray(moved, np.float32), found[:, 0] > 0
