"""Compares the graphs for other programs with PyTorch, with the inputs that those programs give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from sam_edge.geometry import InputSize, View
from sam_edge.imaging.image import encoder_input
from sam_edge.imaging.overlap import mask_iou
from sam_edge.modeling.families import Family
from sam_edge.modeling.sam import Sam
from sam_edge.prompt import Prompt
from sam_edge.synthetic.scene import Scene

IMAGES_HW = ((360, 640), (641, 480), (1500, 2250))
"""Sizes (height, width) that masks are asked for beside the image's own: smaller, portrait, larger."""
SINGLE_FROM = 3
"""A prompt of that many tokens is answered with the single mask."""

Found = dict[str, float]


@dataclass(frozen=True, eq=False)
class Answer:
    """PyTorch's four masks (4, h, w) and predicted IoU (4,) for one prompt."""

    prompt: Prompt
    logits: NDArray[np.float32]
    iou: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Seen:
    """One image (H, W, 3), its embedding (1, C, h, w), and PyTorch's answers on it."""

    image: NDArray[np.uint8]
    view: View
    embedding: NDArray[np.float32]
    answers: Sequence[Answer]


def measure(paths: Mapping[str, Path], sam: Sam, family: Family) -> Found:
    """The largest difference of each kind between an interface's graphs and PyTorch.

    Returns:
        Of those that the interface has: `embedding_rms`, `logits_rms`, `masks_rms` (all relative, masks at
        the image's size), `iou_max`, `mask_disagreement`.
    """
    found: Found = {}
    side = family.input_size.long_side
    # One image fills the input's width, the other its height.
    with torch.inference_mode():
        seen = [_look(sam, family, size_wh) for size_wh in ((side, side * 3 // 4), (side * 3 // 4, side))]
    for graph, path in paths.items():
        session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
        for image in seen:
            if graph == "encoder":
                _measure_encoder(found, session, image)
            else:
                _measure_decoder(found, session, image, single=graph == "decoder_single")
    return found


def feeds(
    embedding: NDArray[np.float32], prompt: Prompt, view: View, image_hw: tuple[int, int]
) -> dict[str, NDArray[np.float32]]:
    """What a client of the official ONNX model gives it.

    Args:
        embedding: (1, C, h, w).
        prompt: in pixels of the view's frame.
        view: of the square input.
        image_hw: the size that the masks are wanted in.
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
        "orig_im_size": np.array(image_hw, np.float32),
    }


def _look(sam: Sam, family: Family, size_wh: tuple[int, int]) -> Seen:
    image = Scene(0, *size_wh, duration_s=0.1).frame(0).image
    view = family.input_size.view(size_wh)
    embedding = sam.image_encoder(torch.from_numpy(encoder_input(image, view, family.preprocess)))
    points = np.array([(0.3, 0.6), (0.7, 0.4), (0.5, 0.8)]) * size_wh
    box = np.array([(0.2, 0.3), (0.7, 0.9)]) * size_wh
    first = _answer(sam, embedding, view, Prompt.points(points[:1]))
    others = [
        Prompt.points(points, [1, 1, 0]),
        Prompt.box(box.reshape(4)),
        Prompt.points(points, [1, 0, 1], box=box.reshape(4)),
        Prompt.points(points[1:2], mask_logits=first.logits[0]),
        Prompt.box(box.reshape(4), mask_logits=first.logits[0]),
    ]
    answers = [first, *(_answer(sam, embedding, view, prompt) for prompt in others)]
    return Seen(image, view, embedding.numpy(), answers)


def _answer(sam: Sam, embedding: torch.Tensor, view: View, prompt: Prompt) -> Answer:
    coords, labels = (torch.from_numpy(item) for item in prompt.slots(view, prompt.tokens))
    mask = None if prompt.mask_logits is None else torch.from_numpy(prompt.mask_logits)[None, None]
    logits, iou = sam.decode(embedding, coords, labels, mask)
    return Answer(prompt, logits[0].numpy(), iou[0].numpy())


def _measure_encoder(found: Found, session: ort.InferenceSession, seen: Seen) -> None:
    # The image is as large as the input: the client's scaling leaves it as it is.
    (embedding,) = session.run(None, {"input_image": seen.image.astype(np.float32)})
    _note(found, "embedding_rms", _relative_rms(embedding, seen.embedding))


def _measure_decoder(found: Found, session: ort.InferenceSession, seen: Seen, *, single: bool) -> None:
    for index, answer in enumerate(seen.answers):
        logits, iou = answer.logits, answer.iou
        if single:
            best = 0 if answer.prompt.tokens >= SINGLE_FROM else 1 + int(iou[1:].argmax())
            logits, iou = logits[best : best + 1], iou[best : best + 1]
        own_hw = (seen.image.shape[0], seen.image.shape[1])
        for image_hw in (own_hw, *(IMAGES_HW if index == 0 else ())):
            given = feeds(seen.embedding, answer.prompt, seen.view, image_hw)
            masks, their_iou, low = session.run(None, given)
            expected = _resized(logits, seen.view.input_wh[0], image_hw)
            _note(found, "logits_rms", _relative_rms(low[0], logits))
            _note(found, "masks_rms", _relative_rms(masks[0], expected))
            _note(found, "iou_max", float(np.abs(their_iou[0] - iou).max()))
            _note(found, "mask_disagreement", 1 - mask_iou(masks[0] > 0, expected > 0))


def _resized(logits: NDArray[np.float32], side: int, image_hw: tuple[int, int]) -> NDArray[np.float32]:
    """Logits (k, h, w) at the image's size, as `Sam.postprocess_masks` of segment_anything makes them."""
    content_wh = InputSize(side, side, square=True).view((image_hw[1], image_hw[0])).content_wh
    square = F.interpolate(torch.from_numpy(logits)[None], (side, side), mode="bilinear")
    content = square[..., : content_wh[1], : content_wh[0]]
    resized: NDArray[np.float32] = F.interpolate(content, image_hw, mode="bilinear")[0].numpy()
    return resized


def _relative_rms(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> float:
    scale = float(np.sqrt(np.mean(np.square(theirs))))
    return float(np.sqrt(np.mean(np.square(ours - theirs)))) / max(scale, 1e-12)


def _note(found: Found, name: str, value: float) -> None:
    # np.maximum keeps NaN, which max() may lose.
    found[name] = float(np.maximum(found.get(name, 0.0), value))
