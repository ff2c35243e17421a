"""The camera's motion between two frames, from what moves in the images.

Corners (Shi and Tomasi 1994), one for each cell of a grid so that they cover the frame, are followed by
pyramidal Lucas-Kanade flow (Bouguet 2000) there and back. A homography that most of them agree on (RANSAC) is
then fitted again with Tukey's weights: objects that move slowly lie within any threshold that RANSAC can have,
and would pull at it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_edge.streaming.motion.fit import fit_motion
from sam_edge.streaming.motion.motion import Motion

LONG_SIDE_PX = 320
"""Of the small frames, about."""
CELL_PX = 8
"""One corner at most is followed in each such square of half the small frame."""
MAX_POINTS = 160
QUALITY = 0.002
"""A corner is this strong at least, compared with the frame's strongest (smaller eigenvalue)."""
MIN_STRENGTH = 2e-5
"""The strength that a camera's noise alone does not reach."""
FLOW_WINDOW_PX = 13
FLOW_LEVELS = 3
"""Halvings of the small frame on which the search begins: it reaches about 50 small pixels."""
PRIOR_LEVELS = 1
"""The same where a prior says about where to search: what comes in at the frame's edges misleads less."""
FLOW_STOP = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 10, 0.03)
RETURN_PX = 0.5
"""A point that was followed there and back comes back as close to where it began, in small pixels."""


@dataclass(frozen=True, eq=False)
class SmallFrame:
    """A frame reduced to what motion is measured on."""

    grey: NDArray[np.uint8]
    """(h, w)."""
    step_px: int
    """Pixel i of the small frame lies at i * step_px + offset_px of the full one."""
    offset_px: float
    frame_wh: tuple[int, int]
    """Size of the full frame."""
    capture_ns: int
    """When it was taken."""

    @cached_property
    def corners(self) -> NDArray[np.float32]:
        """(n, 1, 2): x, y of points that can be followed, in small pixels, spread over the frame."""
        # At half the size: a quarter of the time, and no worse to follow.
        strength = np.asarray(cv2.cornerMinEigenVal(cv2.pyrDown(self.grey), 3), np.float32)
        height, width = (side // CELL_PX for side in strength.shape)
        if not height or not width:
            return np.empty((0, 1, 2), np.float32)
        grid = strength[: height * CELL_PX, : width * CELL_PX].reshape(height, CELL_PX, width, CELL_PX)
        cells = grid.transpose(0, 2, 1, 3).reshape(height * width, CELL_PX * CELL_PX)
        place = cells.argmax(axis=1)
        best = cells[np.arange(len(cells)), place]
        kept = np.flatnonzero(best > max(MIN_STRENGTH, QUALITY * float(best.max())))
        kept = kept[np.argsort(-best[kept])[:MAX_POINTS]]
        row, column = np.divmod(kept, width)
        down, across = np.divmod(place[kept], CELL_PX)
        xy = 2 * np.stack([column * CELL_PX + across, row * CELL_PX + down], axis=-1)
        return xy[:, None].astype(np.float32)

    def to_frame(self, xy: NDArray[np.float32]) -> NDArray[np.float64]:
        """Small pixels (n, 2) -> pixels of the full frame (n, 2)."""
        return xy.astype(np.float64) * self.step_px + self.offset_px


def small_frame(image: NDArray[np.uint8], capture_ns: int) -> SmallFrame:
    """Reduce a frame.

    Args:
        image: (H, W, 3) RGB, or (H, W) grey.
        capture_ns: when it was taken.
    """
    height, width = image.shape[:2]
    step = min(2 * round(max(height, width) / LONG_SIDE_PX / 2), min(height, width) // 2 * 2) or 1
    # Of the green channel (most of what grey is) each small pixel is the mean of 2 x 2 pixels, step / 2 apart:
    # eight times as fast as averaging all, and as good once it is smoothed.
    stride = max(1, step // 2)
    plane = image[..., 1] if image.ndim == 3 else image
    sampled = np.ascontiguousarray(plane[: height // step * step : stride, : width // step * step : stride])
    if step > 1:
        small_wh = (width // step, height // step)
        sampled = np.asarray(cv2.resize(sampled, small_wh, interpolation=cv2.INTER_AREA), np.uint8)
    # Without it points are followed with half as much again of an error.
    grey = np.asarray(cv2.GaussianBlur(sampled, (3, 3), 0.7), np.uint8)
    return SmallFrame(grey, step, step / 4 if step > 1 else 0.0, (width, height), capture_ns)


def motion_between(before: SmallFrame, after: SmallFrame, prior: Motion | None = None) -> Motion:
    """How the background moved from one frame to another.

    Args:
        before: the first frame.
        after: the second one.
        prior: a guess of the motion, as from a gyroscope: search there first, then as if without it.

    Returns:
        A motion that is not known where the frames' sizes differ, or too few points agree on one: nothing
        to follow, a cut, a blur.
    """
    if before.frame_wh != after.frame_wh or not len(before.corners):
        return Motion.unknown()
    if prior is not None and prior.is_known:
        found = _measured(before, after, prior)
        if found.is_known:
            return found
    return _measured(before, after, None)


def _measured(before: SmallFrame, after: SmallFrame, prior: Motion | None) -> Motion:
    corners = before.corners
    there, found = _followed(before, after, corners, prior)
    back, returned = _followed(after, before, there, prior and prior.inverse())
    height, width = after.grey.shape
    x, y = there[:, 0].T
    sound = found & returned & (x > 0) & (y > 0) & (x < width - 1) & (y < height - 1)
    sound &= ((back - corners)[:, 0] ** 2).sum(axis=1) < RETURN_PX**2
    return fit_motion(
        before.to_frame(corners[:, 0]),
        before.to_frame(there[:, 0]),
        sound,
        unit_px=before.step_px,
        frame_wh=before.frame_wh,
    )


def _followed(
    before: SmallFrame, after: SmallFrame, points: NDArray[np.float32], prior: Motion | None
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Where points (n, 1, 2) of one frame lie in another one, and (n,) which of them were found."""
    start = _predicted(before, points, prior)
    moved, found, _ = cv2.calcOpticalFlowPyrLK(
        before.grey,
        after.grey,
        points,
        points.copy() if start is None else start,
        winSize=(FLOW_WINDOW_PX, FLOW_WINDOW_PX),
        maxLevel=FLOW_LEVELS if start is None else PRIOR_LEVELS,
        criteria=FLOW_STOP,
        flags=0 if start is None else cv2.OPTFLOW_USE_INITIAL_FLOW,
    )
    return np.asarray(moved, np.float32), np.asarray(found)[:, 0] > 0


def _predicted(
    frame: SmallFrame, points: NDArray[np.float32], prior: Motion | None
) -> NDArray[np.float32] | None:
    """Where a prior puts points (n, 1, 2) of a small frame; None if it knows nothing."""
    if prior is None:
        return None
    onto = np.array([[frame.step_px, 0, frame.offset_px], [0, frame.step_px, frame.offset_px], [0, 0, 1.0]])
    matrix = np.linalg.inv(onto) @ prior.matrix @ onto
    moved = np.asarray(cv2.perspectiveTransform(points, matrix), np.float32)
    return moved if np.isfinite(moved).all() else None
