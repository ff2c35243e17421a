"""Do the graphs for foreign clients compute what PyTorch computes? Asked the way those clients ask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from sam_edge.geometry import InputSize, View
from sam_edge.prompt import Prompt

from .fidelity import Answer, Reference

PICTURES_HW = ((360, 640), (641, 480), (1500, 2250))
"""Sizes (height, width) that masks are asked for beside the reference's own: smaller, portrait, larger."""
SINGLE_FROM = 3
"""A prompt of that many tokens is answered with the single mask."""

Found = dict[str, float]


def measure(paths: Mapping[str, Path], expected: Sequence[Reference], size: InputSize) -> Found:
    """The largest difference of each kind between an interface's graphs and PyTorch's answers.

    Returns:
        Of those that the interface has: `embedding_rms`, `logits_rms`, `masks_rms` (all relative, masks at
        the picture's size), `iou_max`, `mask_disagreement`.
    """
    found: Found = {}
    for graph, path in paths.items():
        session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
        for reference in expected:
            if graph == "encoder":
                _measure_encoder(found, session, reference)
            else:
                for index, answer in enumerate(reference.answers.values()):
                    sizes_hw = [reference.image.shape[:2], *(PICTURES_HW if index == 0 else ())]
                    for wanted_hw in sizes_hw:
                        _measure_decoder(
                            found, session, reference, answer, size, wanted_hw, graph == "decoder_single"
                        )
    return found


def feeds(
    embedding: NDArray[np.float32], prompt: Prompt, view: View, picture_hw: tuple[int, int]
) -> dict[str, NDArray[np.float32]]:
    """What a client of the official ONNX model gives it.

    Args:
        embedding: (1, C, h, w).
        prompt: in pixels of the view's frame.
        view: of the square input.
        picture_hw: the size that the masks are wanted in.
    """
    coords, labels = prompt.slots(view, prompt.tokens)
    mask = prompt.mask_logits
    side = view.input_wh[0] // 4
    return {
        "image_embeddings": embedding,
        "point_coords": coords,
        "point_labels": labels,
        "mask_input": np.zeros((1, 1, side, side), np.float32) if mask is None else mask[None, None],
        "has_mask_input": np.array([mask is not None], np.float32),
        "orig_im_size": np.array(picture_hw, np.float32),
    }


def _measure_encoder(found: Found, session: ort.InferenceSession, reference: Reference) -> None:
    # The reference's picture is as large as the input: the client's scaling leaves it as it is.
    (embedding,) = session.run(None, {"input_image": reference.image.astype(np.float32)})
    _note(found, "embedding_rms", _relative_rms(embedding[0], reference.embedding))


def _measure_decoder(
    found: Found,
    session: ort.InferenceSession,
    reference: Reference,
    answer: Answer,
    size: InputSize,
    wanted_hw: tuple[int, int],
    single: bool,
) -> None:
    picture_hw = reference.image.shape[:2]
    view = size.view((picture_hw[1], picture_hw[0]))
    logits, iou = answer.logits, answer.iou
    if single:
        best = 0 if answer.prompt.tokens >= SINGLE_FROM else 1 + int(iou[1:].argmax())
        logits, iou = logits[best : best + 1], iou[best : best + 1]
    given = feeds(reference.embedding[None], answer.prompt, view, wanted_hw)
    masks, their_iou, low = session.run(None, given)
    expected = _resized(logits, size.long_side, wanted_hw)
    _note(found, "logits_rms", _relative_rms(low[0], logits))
    _note(found, "masks_rms", _relative_rms(masks[0], expected))
    _note(found, "iou_max", float(np.abs(their_iou[0] - iou).max()))
    _note(found, "mask_disagreement", _disagreement(masks[0] > 0, expected > 0))


def _resized(logits: NDArray[np.float32], side: int, picture_hw: tuple[int, int]) -> NDArray[np.float32]:
    """Logits (k, h, w) at the picture's size, as `Sam.postprocess_masks` of segment_anything makes them."""
    content_wh = InputSize(side, side, square=True).view(picture_hw[::-1]).content_wh
    square = F.interpolate(torch.from_numpy(logits)[None], (side, side), mode="bilinear")
    content = square[..., : content_wh[1], : content_wh[0]]
    resized: NDArray[np.float32] = F.interpolate(content, picture_hw, mode="bilinear")[0].numpy()
    return resized


def _relative_rms(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> float:
    scale = float(np.sqrt(np.mean(np.square(theirs))))
    return float(np.sqrt(np.mean(np.square(ours - theirs)))) / max(scale, 1e-12)


def _disagreement(ours: NDArray[np.bool_], theirs: NDArray[np.bool_]) -> float:
    return float(1 - (ours & theirs).sum() / max((ours | theirs).sum(), 1))


def _note(found: Found, name: str, value: float) -> None:
    # np.maximum keeps NaN, which max() may lose.
    found[name] = float(np.maximum(found.get(name, 0.0), value))
