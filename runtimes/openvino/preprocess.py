"""Normalisation and padding as the first operations of an OpenVINO encoder.

The resize stays outside: it has to be exact to the bit, and OpenVINO has no such filter.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sam_edge.geometry import View
from sam_edge.imaging.preprocess import Preprocess

from .library import ov


def fold_preprocess(encoder: ov.Model, preprocess: Preprocess, view: View, dtype: np.dtype[Any]) -> ov.Model:
    """An encoder that takes images as they come out of the resize instead of normalised planes.

    Args:
        encoder: takes `image` (1, 3, H, W) float32; is changed.
        preprocess: what the model's manifest says.
        view: its image is the encoder's input; what the seen part leaves free at the right and bottom is 0.
        dtype: of the images (1, h, w, 3), RGB in 0..255: uint8 or float32.
    """
    (width, height), (full_width, full_height) = view.resized_wh, view.encoder_wh
    encoder.reshape({"image": [1, 3, full_height, full_width]})
    steps = ov.preprocess.PrePostProcessor(encoder)
    image = steps.input("image")
    kind = ov.Type.u8 if dtype == np.uint8 else ov.Type.f32
    image.tensor().set_element_type(kind).set_layout(ov.Layout("NHWC")).set_shape([1, height, width, 3])
    image.model().set_layout(ov.Layout("NCHW"))
    image.preprocess().convert_element_type(ov.Type.f32).mean(list(preprocess.mean)).scale(list(preprocess.std))
    if view.resized_wh != view.encoder_wh:
        # After the normalisation, as SAM pads: black is not 0 there.
        end = [0, full_height - height, full_width - width, 0]
        image.preprocess().pad([0, 0, 0, 0], end, 0.0, ov.preprocess.PaddingMode.CONSTANT)
    return steps.build()
