"""The motion that most pairs of points agree on."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_edge.streaming.motion.motion import Motion

MIN_POINTS = 8
"""So many agree at least."""
MIN_RATIO = 0.35
"""And such a share of all points that the motion leaves in the frame."""
HOMOGRAPHY_POINTS = 16
"""From so many points on a homography is fitted, with fewer a similarity (turn, zoom and shift)."""
AGREES = 0.5
"""A pair agrees if it is nearer than this to where the motion puts it, in units (pixels of the small frame)."""
TUKEY = 2.5
"""Beyond so many standard deviations a pair has no weight."""
SHARPEST = 0.03
"""The standard deviation of followed points is never taken to be less, in units."""
REFITS = 3
MAX_ZOOM = 2.0
"""Between frames that follow one another nothing grows or shrinks more in area."""


def fit_motion(
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    sound: NDArray[np.bool_],
    *,
    unit_px: float,
    frame_wh: tuple[int, int],
) -> Motion:
    """The motion that most pairs agree on, with how many do and how well.

    Args:
        before: (n, 2) points of the first frame, in full-frame pixels.
        after: (n, 2), where they lie in the second one.
        sound: (n,) which of them could be followed.
        unit_px: the pixel of the image that was measured on, in full-frame pixels.
        frame_wh: the frames' size.

    Returns:
        Not known where too few agree, or on what no camera does between two frames.
    """
    points, before, after = before, before[sound], after[sound]
    if len(before) < MIN_POINTS:
        return Motion.unknown()
    matrix = _agreed(before, after, unit_px)
    if matrix is None:
        return Motion.unknown()
    if len(before) >= HOMOGRAPHY_POINTS:
        matrix = _refitted(matrix, before, after, unit_px)
    away = np.hypot(*(_moved(matrix, before) - after).T)
    inliers = away[away < AGREES * unit_px]
    # Points that leave the frame cannot be followed, and say nothing against the motion.
    moved = _moved(matrix, points)
    stay = ((moved > 0) & (moved < frame_wh)).all(axis=1)
    ratio = min(len(inliers) / max(int(np.count_nonzero(stay)), 1), 1.0)
    if len(inliers) < MIN_POINTS or ratio < MIN_RATIO or not _is_plausible(matrix, frame_wh):
        return Motion(inlier_ratio=ratio, is_known=False)
    return Motion(matrix, ratio, float(np.median(inliers)))


def _agreed(
    before: NDArray[np.float64], after: NDArray[np.float64], unit_px: float
) -> NDArray[np.float64] | None:
    if len(before) < HOMOGRAPHY_POINTS:
        similar, _ = cv2.estimateAffinePartial2D(before, after, ransacReprojThreshold=AGREES * unit_px)
        return None if similar is None else np.vstack([similar, [0.0, 0.0, 1.0]])
    found, _ = cv2.findHomography(before, after, cv2.USAC_FAST, AGREES * unit_px, maxIters=300, confidence=0.99)
    return None if found is None else np.asarray(found, np.float64)


def _refitted(
    matrix: NDArray[np.float64], before: NDArray[np.float64], after: NDArray[np.float64], unit_px: float
) -> NDArray[np.float64]:
    """Least squares with Tukey's biweights, whose width follows the residuals."""
    middle = before.mean(axis=0)
    size = float(np.abs(before - middle).mean()) or 1.0
    x, y = ((before - middle) / size).T
    u, v = ((after - middle) / size).T
    one, none = np.ones_like(x), np.zeros_like(x)
    rows = np.concatenate(
        [
            np.stack([x, y, one, none, none, none, -u * x, -u * y], axis=1),
            np.stack([none, none, none, x, y, one, -v * x, -v * y], axis=1),
        ]
    )
    goals = np.concatenate([u, v])
    shift = np.array([[1 / size, 0, -middle[0] / size], [0, 1 / size, -middle[1] / size], [0, 0, 1]])
    unshift = np.array([[size, 0, middle[0]], [0, size, middle[1]], [0, 0, 1]])
    for _ in range(REFITS):
        away = np.hypot(*(_moved(matrix, before) - after).T)
        deviation = max(1.4826 * float(np.median(away)), SHARPEST * unit_px)
        weights = np.tile(np.clip(1 - (away / (TUKEY * deviation)) ** 2, 0, None) ** 2, 2)
        weighted = rows.T * weights
        try:
            solution = np.linalg.solve(weighted @ rows, weighted @ goals)
        except np.linalg.LinAlgError:
            return matrix
        matrix = unshift @ np.append(solution, 1.0).reshape(3, 3) @ shift
    return matrix


def _moved(matrix: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 2): where points come to lie; far outside of every frame if that is at infinity."""
    mapped = points @ matrix[:, :2].T + matrix[:, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nan_to_num(mapped[:, :2] / mapped[:, 2:], nan=1e9, posinf=1e9, neginf=-1e9)


def _is_plausible(matrix: NDArray[np.float64], frame_wh: tuple[int, int]) -> bool:
    """Whether a camera can have moved so: no mirror, no fold inside the frame, no great zoom anywhere."""
    if not np.isfinite(matrix).all():
        return False
    width, height = frame_wh
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float64)
    scale = corners @ matrix[2, :2] + matrix[2, 2]
    if scale.min() <= 0:
        return False
    # The growth of area at a point of a homography is its determinant by the cube of the scale there.
    growth = np.linalg.det(matrix) / scale**3
    return bool(growth.min() > 1 / MAX_ZOOM and growth.max() < MAX_ZOOM)
