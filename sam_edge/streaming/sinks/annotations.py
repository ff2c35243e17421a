"""What Foxglove draws over the camera's image: outlines of masks, the gaze, freshness and ages in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_edge.masks import Masks
from sam_edge.streaming.result import Result
from sam_edge.streaming.sinks.overlay import FRESHNESS_RGB, GAZE_RGB, RGB

if TYPE_CHECKING:
    from foxglove.messages import Color, ImageAnnotations, Timestamp

SLACK_PX = 0.7
"""An outline may pass a mask's edge at this distance, with far fewer points."""


class Annotator:
    """Makes annotations of results. Results that share a mask share its outlines."""

    def __init__(self) -> None:
        self._outlined: tuple[Masks, list[NDArray[np.float64]]] | None = None

    def __call__(self, results: Sequence[Result], scale: float, capture_ns: int) -> ImageAnnotations:
        """The newest mask of each object, the newest gaze and its ages.

        Args:
            results: at least one, in the order of time.
            scale: pixels of the image for a pixel of the frame.
            capture_ns: when the frame was taken.
        """
        from foxglove import messages

        newest, time = results[-1], timestamp(capture_ns)
        masked = {result.object_id: result for result in results if result.masks is not None}
        outlines = [
            messages.PointsAnnotation(
                timestamp=time,
                type=messages.PointsAnnotationType.LineLoop,
                points=[messages.Point2(x=x, y=y) for x, y in (line * scale).tolist()],
                outline_color=colour(FRESHNESS_RGB[result.freshness or "fresh"]),
                thickness=2.0,
            )
            for result in masked.values()
            for line in self._outlines(result.masks)
        ]
        gaze = messages.CircleAnnotation(
            timestamp=time,
            position=messages.Point2(x=newest.x_px * scale, y=newest.y_px * scale),
            diameter=16.0,
            thickness=2.0,
            outline_color=colour(GAZE_RGB),
        )
        text = messages.TextAnnotation(
            timestamp=time,
            position=messages.Point2(x=8.0, y=24.0),
            text=(
                f"{newest.freshness or newest.status}  gaze {newest.gaze_age_ms:.0f} ms  "
                f"frame {newest.frame_age_ms:.0f} ms  pixels {newest.embedding_age_ms:.0f} ms"
            ),
            font_size=16.0,
            text_color=colour((255, 255, 255)),
            background_color=colour((0, 0, 0)),
        )
        return messages.ImageAnnotations(timestamp=time, circles=[gaze], points=outlines, texts=[text])

    def _outlines(self, masks: Masks | None) -> list[NDArray[np.float64]]:
        """Closed lines round a mask, each (n, 2) in pixels of the frame."""
        if masks is None:
            return []
        if self._outlined is None or self._outlined[0] is not masks:
            found, _ = cv2.findContours(masks.binary[0].view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
            lines = [cv2.approxPolyDP(line, SLACK_PX, True)[:, 0].astype(np.float64) for line in found]
            self._outlined = masks, lines
        return self._outlined[1]


def timestamp(t_ns: int) -> Timestamp:
    """Foxglove's time, which begins at 0."""
    from foxglove.messages import Timestamp

    seconds, rest = divmod(max(0, t_ns), 10**9)
    return Timestamp(sec=seconds, nsec=rest)


def colour(rgb: RGB) -> Color:
    """Foxglove's colour of an RGB of 0 to 255."""
    from foxglove.messages import Color

    red, green, blue = (value / 255 for value in rgb)
    return Color(r=red, g=green, b=blue, a=1.0)
