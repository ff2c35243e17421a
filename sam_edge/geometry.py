"""Which part of a camera frame the encoder sees, and at which size.

Coordinates are (x, y) in pixels, origin at the top left, scaled with the image as `segment_anything` scales
them: x of the frame becomes x times the scale, and the model itself adds the half pixel to the centre.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sam_edge.errors import InputError

Fit = Literal["pad", "squash"]
"""`pad` keeps the image's shape and pads it; masks come back by way of the padded input, as in
`segment_anything`. `squash` stretches it over the whole input; masks come back in one bicubic step, as in
EfficientSAM."""


@dataclass(frozen=True)
class View:
    """A window of a camera frame, scaled into the encoder's input.

    The window is resized to `content_wh` and put at the top left of the input; the rest of the input
    (right and bottom) is padding.
    """

    frame_wh: tuple[int, int]
    """Size of the camera frame, (width, height) in pixels."""
    window_xywh: tuple[int, int, int, int]
    """The part of the frame that is seen: left, top, width, height in frame pixels."""
    content_wh: tuple[int, int]
    """Size of the window inside the encoder's input."""
    input_wh: tuple[int, int]
    """Size of the encoder's input, in whose pixels prompts and masks are measured."""
    fit: Fit = "pad"
    """How the window was made to fit."""
    encoder_stride: int = 1
    """The image that the encoder gets is this many times smaller than the input."""

    def __post_init__(self) -> None:
        check_window(self.frame_wh, self.window_xywh)
        if not all(0 < side <= room for side, room in zip(self.content_wh, self.input_wh, strict=True)):
            raise InputError(
                f"a view's content of {self.content_wh} does not fit into its input of {self.input_wh}"
            )
        if self.encoder_stride < 1 or any(side % self.encoder_stride for side in self.input_wh):
            raise InputError(
                f"a view's input of {self.input_wh} cannot be divided by a stride of {self.encoder_stride}"
            )

    @property
    def encoder_wh(self) -> tuple[int, int]:
        """Size of the image that the encoder gets, padding included."""
        width, height = self.input_wh
        return width // self.encoder_stride, height // self.encoder_stride

    @property
    def resized_wh(self) -> tuple[int, int]:
        """Size of the window inside that image."""
        if self.encoder_stride == 1:
            return self.content_wh
        _, _, width, height = self.window_xywh
        # The size is rounded once, from the frame's, as EfficientViT-SAM does; the content is rounded already.
        for side, content in sorted(zip((width, height), self.content_wh, strict=True), reverse=True):
            if _scaled(width, height, content / side) == self.content_wh:
                return _scaled(width, height, content / side / self.encoder_stride)
        return _scaled(*self.content_wh, 1 / self.encoder_stride)

    @property
    def scale(self) -> NDArray[np.float64]:
        """Input pixels per frame pixel, (x, y)."""
        _, _, width, height = self.window_xywh
        return np.array((self.content_wh[0] / width, self.content_wh[1] / height))

    def to_model(self, xy: ArrayLike) -> NDArray[np.float64]:
        """Frame coordinates (..., 2) in pixels -> encoder input coordinates (..., 2) in pixels."""
        return (np.asarray(xy, np.float64) - self.window_xywh[:2]) * self.scale

    def few_to_model(self, xy: Sequence[Sequence[float]]) -> list[tuple[float, float]]:
        """`to_model` in plain numbers: for a few points, numpy takes several times as long."""
        left, top, width, height = self.window_xywh
        across, down = self.content_wh[0] / width, self.content_wh[1] / height
        return [((x - left) * across, (y - top) * down) for x, y in xy]

    def to_frame(self, xy: ArrayLike) -> NDArray[np.float64]:
        """Encoder input coordinates (..., 2) in pixels -> frame coordinates (..., 2) in pixels."""
        return np.asarray(xy, np.float64) / self.scale + self.window_xywh[:2]


@dataclass(frozen=True)
class InputSize:
    """How an encoder's input size follows from a frame's size."""

    long_side: int
    """The longer side of the scaled frame, in pixels."""
    multiple: int
    """Both sides of the input are multiples of this."""
    square: bool
    """True: the input is always long_side x long_side. False: the short side follows the frame."""
    fit: Fit = "pad"
    """How a frame of another shape is made to fit; `squash` needs a square input."""
    encoder_stride: int = 1
    """The image that the encoder gets is this many times smaller than the input."""
    fixed_wh: tuple[int, int] | None = None
    """The input's size where an engine was made for one aspect: frames of another are padded into it."""

    def __post_init__(self) -> None:
        if self.fit not in ("pad", "squash") or (self.fit == "squash" and not self.square):
            raise InputError(
                f"an input's fit is {self.fit!r}", hint="choose pad, or squash with a square input"
            )
        if self.fixed_wh and (self.square or max(self.fixed_wh) != self.long_side):
            raise InputError(
                f"fixed_wh={self.fixed_wh} requires square=False and a longer side of {self.long_side}"
            )

    @property
    def sides_wh(self) -> tuple[int, int] | None:
        """The input's size if it is the same for all frames, else None."""
        return (self.long_side, self.long_side) if self.square else self.fixed_wh

    def view(
        self,
        frame_wh: tuple[int, int],
        window_xywh: tuple[int, int, int, int] | None = None,
    ) -> View:
        """The view of a frame, or of a window of it, scaled so that its longer side is `long_side`.

        In an input of fixed sides it is scaled so that it just fits.

        Raises:
            InputError: the window is empty, or does not lie inside the frame.
        """
        x, y, width, height = window_xywh or (0, 0, *frame_wh)
        check_window(frame_wh, (x, y, width, height))
        room = self.sides_wh or (self.long_side, self.long_side)
        content = _scaled(width, height, min(room[0] / width, room[1] / height))
        input_wh = self.sides_wh or (
            _round_up(content[0], self.multiple),
            _round_up(content[1], self.multiple),
        )
        if self.fit == "squash":
            content = input_wh
        return View(frame_wh, (x, y, width, height), content, input_wh, self.fit, self.encoder_stride)

    def check(self, view: View) -> None:
        """Raise InputError if an encoder of this rule cannot take the view's input."""
        width, height = view.input_wh
        wanted = self.sides_wh or (width, height)
        if wanted != (width, height):
            raise InputError(
                f"the view's input is {width} x {height}: this model takes {wanted[0]} x {wanted[1]}"
            )
        if width % self.multiple or height % self.multiple:
            raise InputError(
                f"the view's input is {width} x {height}", hint=f"take multiples of {self.multiple}"
            )
        if (view.fit, view.encoder_stride) != (self.fit, self.encoder_stride):
            raise InputError("the view is of another model", hint="make it with this one's `view`")


def check_window(frame_wh: tuple[int, int], window_xywh: tuple[int, int, int, int]) -> None:
    """Raise InputError unless a window (left, top, width, height) is at least 1 x 1 and inside the frame.

    All are whole numbers of frame pixels.
    """
    if not all(isinstance(side, (int, np.integer)) for side in window_xywh):
        raise InputError(f"window {window_xywh} is not of whole pixels", hint="round it")
    x, y, width, height = window_xywh
    if width < 1 or height < 1:
        raise InputError(f"a view of {width} x {height} pixels shows nothing", hint="give at least 1 x 1")
    if min(x, y) < 0 or x + width > frame_wh[0] or y + height > frame_wh[1]:
        raise InputError(
            f"the window of {width} x {height} pixels at ({x}, {y}) does not lie inside the image, "
            f"which is {frame_wh[0]} x {frame_wh[1]} pixels"
        )


def _scaled(width: int, height: int, scale: float) -> tuple[int, int]:
    """Rounded as segment_anything's ResizeLongestSide does: half a pixel up."""
    return max(1, int(width * scale + 0.5)), max(1, int(height * scale + 0.5))


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
