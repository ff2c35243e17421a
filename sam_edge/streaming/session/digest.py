"""Whether two results are the same to the bit."""

from __future__ import annotations

from hashlib import blake2b

from sam_edge.masks import Masks
from sam_edge.streaming.result import Result
from sam_edge.streaming.session.journal import plain_sample


def digest(result: Result) -> str:
    """A hash of everything in a result but how long its stages took, which no run repeats."""
    motion = result.motion
    facts = (
        result.t_ns,
        float(result.x_px),
        float(result.y_px),
        result.status,
        result.freshness,
        None if result.gaze is None else plain_sample(result.gaze),
        result.object_id,
        float(result.gaze_age_ms),
        float(result.frame_age_ms),
        float(result.embedding_age_ms),
        result.reused,
        float(motion.inlier_ratio),
        float(motion.residual_px),
        bool(motion.is_known),
    )
    found = blake2b(repr(facts).encode(), digest_size=16)
    found.update(motion.matrix.tobytes())
    for masks in (result.masks, result.decoded):
        _add(masks, found)
    return found.hexdigest()


def _add(masks: Masks | None, found: blake2b) -> None:
    if masks is None:
        found.update(b"none")
        return
    found.update(repr((masks.view, masks.logits.shape)).encode())
    found.update(masks.logits.tobytes())
    found.update(masks.predicted_iou.tobytes())
