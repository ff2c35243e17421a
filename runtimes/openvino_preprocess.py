"""Normalisation and padding as the first operations of an OpenVINO encoder.

Not what `Segmenter` does: it resizes the picture itself in any case, because that has to be exact to the bit.
What is left to fold, for nano, is a tenth of an encode, and the result differs by a rounding (1e-7).
"""

from __future__ import annotations

from sam_edge.manifest import Preprocess

from .openvino_library import ov


def fold_preprocess(
    encoder: ov.Model, preprocess: Preprocess, seen_wh: tuple[int, int], picture_wh: tuple[int, int]
) -> ov.Model:
    """An encoder that takes a resized picture (1, h, w, 3) uint8 RGB instead of normalised planes.

    Args:
        encoder: takes `image` (1, 3, H, W) float32; is changed.
        preprocess: what the model's manifest says.
        seen_wh: (w, h) of the picture.
        picture_wh: (W, H) of the encoder's input; what the picture leaves free at the right and bottom is 0.
    """
    (width, height), (full_width, full_height) = seen_wh, picture_wh
    encoder.reshape({"image": [1, 3, full_height, full_width]})
    steps = ov.preprocess.PrePostProcessor(encoder)
    image = steps.input("image")
    image.tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC")).set_shape([1, height, width, 3])
    image.model().set_layout(ov.Layout("NCHW"))
    image.preprocess().convert_element_type(ov.Type.f32).mean(list(preprocess.mean)).scale(list(preprocess.std))
    if seen_wh != picture_wh:
        # After the normalisation, as SAM pads: black is not 0 there.
        beyond = [0, full_height - height, full_width - width, 0]
        image.preprocess().pad([0, 0, 0, 0], beyond, 0.0, ov.preprocess.PaddingMode.CONSTANT)
    return steps.build()
