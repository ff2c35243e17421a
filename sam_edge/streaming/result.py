"""What a stream answers: masks, where they lie, and how old everything under them is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from sam_edge.masks import Masks
from sam_edge.streaming.gaze.sample import GazeSample
from sam_edge.streaming.motion.carry import carry_masks
from sam_edge.streaming.motion.motion import Motion
from sam_edge.streaming.sources.source import Frame

Status = Literal["mask", "no_gaze", "outside", "saccade", "lost"]
"""`mask`: there is a mask. `no_gaze`: a blink or lost eye. `outside`: it looks past the image. `saccade`: the
eye is on its way. `lost`: a followed object is not seen any more."""
Freshness = Literal["fresh", "carried", "stale"]
"""`fresh`: made from the frame it lies on. `carried`: made from an older frame and moved along with the camera.
`stale`: too old, or the camera's motion is not known well enough: it shows what was, not what is."""


@dataclass(frozen=True, eq=False)
class Result:
    """What was asked at one moment, and its mask. Ages are counted to the moment the result was ready."""

    t_ns: int
    """When it was asked, on the frames' clock."""
    x_px: float
    """Across the frame the mask lies on, from its left edge: where the eye looks, or a tracked box's centre."""
    y_px: float
    """Down that frame, from its top edge."""
    status: Status
    masks: Masks | None = None
    """The chosen mask (k = 1) on the frame, where there is one."""
    freshness: Freshness | None = None
    """None without a mask."""
    gaze: GazeSample | None = None
    """Whose gaze it answers; None for tracked objects."""
    object_id: int | None = None
    """Which tracked or followed object it answers; None for gaze."""
    gaze_age_ms: float = 0.0
    """How old the sample (or box) was."""
    frame_age_ms: float = 0.0
    """How old the frame was that the mask lies on."""
    embedding_age_ms: float = 0.0
    """How old the pixels were that the mask was made from."""
    stages_ms: Mapping[str, float] = field(default_factory=dict)
    """Measured durations by name, such as `filter`, `wait`, `decode`, `choose`, `carry`; empty where nothing
    was decoded."""
    reused: bool = False
    """Whether `masks` was made for an earlier sample that looks at nearly the same point."""
    decoded: Masks | None = None
    """All masks of the prompt (k = 1 or 3), on the frame they were made from."""
    motion: Motion = field(default_factory=Motion)
    """How the camera moved from that frame to the one the mask lies on."""

    @property
    def decode_ms(self) -> float:
        """How long the decoder took; 0 where nothing was decoded."""
        return self.stages_ms.get("decode", 0.0)

    def candidates(self) -> Masks | None:
        """All masks of the prompt, best first, on the frame `masks` lies on: what an application may offer
        instead of the chosen one. None without a mask."""
        if self.decoded is None:
            return None
        return carry_masks(self.decoded.pick((-self.decoded.predicted_iou).argsort()), self.motion)


@dataclass(frozen=True, eq=False)
class FrameResult:
    """A frame and what was asked on it. A frame with many samples comes in several parts."""

    frame: Frame
    encode_ms: float | None
    """Measured; None while the frame itself is not encoded."""
    results: tuple[Result, ...]
    """In the order of time."""
    last: bool
    """Whether this is the last part of the frame."""
