"""What a decoder answers: masks, how good it thinks they are, and where they lie in the frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_edge.geometry import View

THRESHOLD = 0.0
"""A pixel whose logit is above this belongs to the mask."""
OUTSIDE = -32.0
"""The logit of frame pixels outside the view: not on the mask."""


@dataclass(frozen=True, eq=False)
class Masks:
    """One or more masks of one prompt, in the decoder's order; `best` picks by predicted IoU."""

    logits: NDArray[np.float32]
    """(k, h, w), low resolution, covering the encoder's whole input."""
    predicted_iou: NDArray[np.float32]
    """(k,): the model's own prediction of each mask's IoU with the object."""
    view: View
    """Where the masks lie in the camera frame."""

    def __len__(self) -> int:
        return len(self.predicted_iou)

    def __getitem__(self, index: int) -> Masks:
        """One of the masks, as Masks with k = 1."""
        picked = range(len(self))[index]
        return replace(
            self, logits=self.logits[picked : picked + 1], predicted_iou=self.predicted_iou[picked : picked + 1]
        )

    def pick(self, indices: NDArray[np.int64] | Sequence[int]) -> Masks:
        """Some of the masks, in the order of `indices` (n,)."""
        return replace(self, logits=self.logits[indices], predicted_iou=self.predicted_iou[indices])

    def best(self) -> Masks:
        """The mask of the highest predicted IoU, as Masks with k = 1."""
        return self[int(self.predicted_iou.argmax())]

    @property
    def frame_logits(self) -> NDArray[np.float32]:
        """(k, H, W) at the frame's size, resized as the view's `fit` says.

        Computed at every call and not kept: a hundred masks of a large frame would fill a small device.
        """
        x, y, width, height = self.view.window_xywh
        frame_width, frame_height = self.view.frame_wh
        full = np.empty((len(self), frame_height, frame_width), np.float32)
        if (width, height) != self.view.frame_wh:
            full.fill(OUTSIDE)
        for plane, low in zip(full, self.logits, strict=True):
            plane[y : y + height, x : x + width] = self._window_logits(low, (width, height))
        return full

    def _window_logits(self, low: NDArray[np.float32], size_wh: tuple[int, int]) -> NDArray[np.float32]:
        if self.view.fit == "squash":
            return cast("NDArray[np.float32]", cv2.resize(low, size_wh, interpolation=cv2.INTER_CUBIC))
        content_width, content_height = self.view.content_wh
        content = _resize(low, self.view.input_wh)[:content_height, :content_width]
        return _resize(content, size_wh)

    @cached_property
    def binary(self) -> NDArray[np.bool_]:
        """(k, H, W) at the frame's size."""
        return self.frame_logits > THRESHOLD

    def stability_score(self, offset: float = 1.0) -> NDArray[np.float32]:
        """(k,): IoU of the masks at thresholds `offset` higher and lower; 1 where they are equal.

        The stability score of Segment Anything, appendix B. An empty pair of masks scores 0.
        """
        parts = (self._part_above(low, THRESHOLD - offset) for low in self.logits)
        scores = [
            int(np.count_nonzero(part > THRESHOLD + offset))
            / max(1, int(np.count_nonzero(part > THRESHOLD - offset)))
            for part in parts
        ]
        return np.array(scores, np.float32)

    def _part_above(self, low: NDArray[np.float32], level: float) -> NDArray[np.float32]:
        """The part of one of `frame_logits` that holds all that is above `level`: a mask is mostly small."""
        _, _, *window_wh = self.view.window_xywh
        if self.view.fit == "squash":
            return self._window_logits(low, (window_wh[0], window_wh[1]))
        x, y, width, height = cv2.boundingRect((low > level).view(np.uint8))
        if not width:
            return np.zeros((0, 0), np.float32)
        sizes = zip(low.shape[::-1], self.view.input_wh, self.view.content_wh, window_wh, strict=True)
        across, down = (
            _Span.of(begin, begin + length, *size)
            for begin, length, size in zip((x, y), (width, height), sizes, strict=True)
        )
        middle = _resize(low[down.cells, across.cells], (across.inputs, down.inputs))
        return _resize(middle[down.kept, across.kept], (across.frame, down.frame))

    def rle(self) -> list[dict[str, Any]]:
        """Each mask as COCO's compressed run lengths: {"size": [H, W], "counts": str}."""
        # Imported here: the streaming loop does not need it.
        from pycocotools import mask as coco

        encoded = []
        for plane in self.binary:
            # COCO counts along columns: OpenCV transposes the mask ten times faster than numpy.
            run_lengths = coco.encode(cv2.transpose(plane.view(np.uint8)).T)
            encoded.append({"size": list(plane.shape), "counts": run_lengths["counts"].decode()})
        return encoded

    def to_coco(self) -> list[dict[str, Any]]:
        """Each mask as JSON takes it and pycocotools reads it.

        Returns:
            `rle` (see `rle`), `bbox` (left, top, width, height in frame pixels), `area` in pixels,
            `predicted_iou` and `stability_score`, under the names that `segment_anything` gives them.
        """
        parts = zip(
            self.rle(), self.boxes_px(), self.binary, self.predicted_iou, self.stability_score(), strict=True
        )
        return [
            {
                "rle": rle,
                "bbox": box.tolist(),
                "area": int(np.count_nonzero(plane)),
                "predicted_iou": round(float(iou), 4),
                "stability_score": round(float(stability), 4),
            }
            for rle, box, plane, iou, stability in parts
        ]

    def boxes_px(self) -> NDArray[np.int64]:
        """(k, 4): left, top, width, height of each mask in frame pixels; zeros where a mask is empty."""
        return np.array([cv2.boundingRect(plane.view(np.uint8)) for plane in self.binary], np.int64)

    def rough_box_px(self) -> tuple[float, float, float, float] | None:
        """Left, top, right, bottom of the first mask in frame pixels, to a cell of its logits; None if it is
        empty.

        A hundred times as fast as `boxes_px`, which resizes the mask.
        """
        x, y, width, height = cv2.boundingRect((self.logits[0] > THRESHOLD).astype(np.uint8))
        if not width:
            return None
        cell = self.view.input_wh[0] / self.logits.shape[2]
        (x0, y0), (x1, y1) = self.view.to_frame(
            [(x * cell, y * cell), ((x + width) * cell, (y + height) * cell)]
        ).tolist()
        return x0, y0, x1, y1


@dataclass(frozen=True)
class _Span:
    """Along one axis, what is resized so that the result is a part of the whole's, to the bit."""

    cells: slice
    """Of the low-resolution logits."""
    inputs: int
    """How many input pixels come of them."""
    kept: slice
    """Those of them that are resized to the frame."""
    frame: int
    """How many frame pixels come of those."""

    @classmethod
    def of(cls, begin: int, end: int, low: int, whole: int, content: int, frame: int) -> _Span:
        """The span that holds all that cells `begin` to `end` reach.

        Args:
            begin: the first cell.
            end: the cell after the last.
            low: all cells.
            whole: all pixels of the encoder's input.
            content: those of them that show the window.
            frame: all pixels of the window in the frame.
        """
        # One cell more on each side, then whole steps, so that pixel centres stay where they are.
        step = content // math.gcd(content, frame)
        first = min(max(0, (begin - 1) * whole // low), content - 1) // step * step
        last = min(content, -(-min(content, -(-(end + 1) * whole // low)) // step) * step)
        step = low // math.gcd(low, whole)
        from_cell = max(0, first * low // whole - 1) // step * step
        to_cell = min(low, -(-(-(-last * low // whole) + 1) // step) * step)
        offset = from_cell * whole // low
        return cls(
            slice(from_cell, to_cell),
            to_cell * whole // low - offset,
            slice(first - offset, last - offset),
            (last - first) * frame // content,
        )


def choose_multimask(tokens: int) -> bool:
    """Whether a prompt is answered with three masks or with one, as SAM's exported model decides.

    One point, or a box, is ambiguous (two tokens: the point and its padding, or two corners): three masks.
    More is not: the single-mask token, trained for that, answers. Source: segment_anything, utils/onnx.py.
    """
    return tokens <= 2


def _resize(plane: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Bilinear without antialiasing, pixel centres at a half: torch's interpolate(align_corners=False)."""
    return cast("NDArray[np.float32]", cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR))
