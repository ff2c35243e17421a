"""May a mask be shown as what is there now?"""

from __future__ import annotations

from dataclasses import dataclass

from sam_edge.streaming.motion.motion import Motion
from sam_edge.streaming.ranges import check_ranges
from sam_edge.streaming.result import Freshness


@dataclass(frozen=True)
class FreshnessConfig:
    """Beyond these limits a mask is stale."""

    max_age_ms: float = 500.0
    """Of the pixels it was made from."""
    min_inlier_ratio: float = 0.35
    """Of the camera's motion since."""
    max_residual_share: float = 0.0015
    """Of that motion, as a share of the frame's longer side: 2 of 1280 pixels (docs/measurements.md)."""

    def __post_init__(self) -> None:
        check_ranges(self, max_age_ms=(1, 1e6), min_inlier_ratio=(0, 1), max_residual_share=(0, 1))


def freshness(
    embedding_age_ms: float,
    is_same_frame: bool,
    motion: Motion,
    frame_wh: tuple[int, int],
    config: FreshnessConfig,
) -> Freshness:
    """How a mask may be shown.

    Args:
        embedding_age_ms: how old the pixels are that it was made from.
        is_same_frame: whether it lies on the very frame it was made from.
        motion: from that frame to the one it lies on.
        frame_wh: width and height of the frame in pixels.
        config: the limits.
    """
    if embedding_age_ms > config.max_age_ms:
        return "stale"
    if is_same_frame:
        return "fresh"
    certain = (
        motion.is_known
        and motion.inlier_ratio >= config.min_inlier_ratio
        and motion.residual_px <= config.max_residual_share * max(frame_wh)
    )
    return "carried" if certain else "stale"
