"""`segment_anything.SamPredictor` on an engine: `set_image` and `predict`, with its arguments and results."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam_edge.embedding import Embedding
from sam_edge.errors import InputError
from sam_edge.imaging.image import Layout
from sam_edge.masks import Masks
from sam_edge.prompt import Prompt
from sam_edge.segmenter import Segmenter


class SamPredictor:
    """Holds one image's embedding and answers prompts on it, as `segment_anything.SamPredictor` does.

    It differs in what it refuses: points outside the image, labels other than 0 and 1, and prompts that are
    empty or of background points alone raise InputError; a box that reaches outside the image is cut to it
    (see `sam_edge.prompt.Prompt`). It takes and gives numpy arrays only.
    """

    def __init__(self, segmenter: Segmenter) -> None:
        self.model = segmenter
        self._embedding: Embedding | None = None

    def set_image(self, image: NDArray[np.uint8], image_format: str = "RGB") -> None:
        """Encode an image (H, W, 3) uint8; `image_format` is "RGB" or "BGR"."""
        if image_format not in ("RGB", "BGR"):
            raise InputError(f"image_format is {image_format!r}", hint="choose RGB or BGR")
        layout: Layout = "rgb" if image_format == "RGB" else "bgr"
        self._embedding = self.model.encode(image, layout=layout)

    def predict(
        self,
        point_coords: NDArray[np.floating[Any]] | None = None,
        point_labels: NDArray[np.integer[Any]] | None = None,
        box: NDArray[np.floating[Any]] | None = None,
        mask_input: NDArray[np.floating[Any]] | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
    ) -> tuple[NDArray[np.bool_] | NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Masks of one prompt on the image that was set.

        Args:
            point_coords: (n, 2), x and y in pixels of the image.
            point_labels: (n,), 1 on the object, 0 not on it.
            box: (4,), x0, y0, x1, y1 in pixels.
            mask_input: (1, h, w), low-resolution logits of an earlier answer.
            multimask_output: three masks if True, one if False.
            return_logits: masks as logits instead of booleans.

        Returns:
            masks (k, H, W) bool or float32, predicted IoU (k,), low-resolution logits (k, h, w).

        Raises:
            InputError: no image was set, points without labels, or a prompt that cannot be used.
        """
        if point_coords is not None and point_labels is None:
            raise InputError("point_labels must be given with point_coords: 1 on the object, 0 not on it")
        points = np.empty((0, 2)) if point_coords is None else point_coords
        labels = None if point_coords is None else point_labels
        prompt = Prompt.points(points, labels, box=box, mask_logits=mask_input)
        masks: Masks = self.model.decode(self._encoded, prompt, multimask=multimask_output)
        return masks.frame_logits if return_logits else masks.binary, masks.predicted_iou, masks.logits

    def get_image_embedding(self) -> NDArray[np.float32]:
        """The image's embedding (1, channels, h, w)."""
        return np.asarray(self._encoded.tensors["embedding"])

    @property
    def is_image_set(self) -> bool:
        """Whether an image was set."""
        return self._embedding is not None

    @property
    def features(self) -> NDArray[np.float32]:
        """The image's embedding, by the name of segment_anything's attribute."""
        return self.get_image_embedding()

    @property
    def original_size(self) -> tuple[int, int]:
        """Height and width of the image."""
        width, height = self._encoded.view.frame_wh
        return height, width

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width of the image as the encoder saw it, without padding."""
        width, height = self._encoded.view.content_wh
        return height, width

    def reset_image(self) -> None:
        """Forget the image."""
        self._embedding = None

    @property
    def _encoded(self) -> Embedding:
        if self._embedding is None:
            raise InputError("no image was set: call set_image first")
        return self._embedding
