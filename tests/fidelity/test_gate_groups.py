"""A fault of one graph, or of one kind of answer, does not hide behind all that is right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sam_edge.bundle.folder import Bundle
from sam_edge.errors import FidelityError
from sam_edge.fidelity import gate
from sam_edge.fidelity.gate import Reference
from sam_edge.segmenter import Segmenter
from sam_edge.sessions.session import Session, SessionLoader, SessionOptions
from tests.fidelity.broken import Broken, Change, judged, nothing


def permuted_iou(answers: dict[str, np.ndarray]) -> None:
    answers["iou"] = answers["iou"][:, [1, 2, 3, 0]]


def first_iou_of_another(answers: dict[str, np.ndarray]) -> None:
    answers["iou"] = answers["iou"][:, [1, 1, 2, 3]]


def raised_iou(answers: dict[str, np.ndarray]) -> None:
    answers["iou"] = answers["iou"] + np.float32(0.03)


def shifted_masks(answers: dict[str, np.ndarray]) -> None:
    logits = answers["logits"]
    before = np.concatenate([logits[..., :1], logits[..., :-1]], axis=-1)
    answers["logits"] = (7 * logits + before) / 8


def permuted_masks(answers: dict[str, np.ndarray]) -> None:
    permuted_iou(answers)
    answers["logits"] = answers["logits"][:, [1, 2, 3, 0]]


def last_token_dropped(feeds: dict[str, np.ndarray]) -> None:
    labels = feeds["point_labels"]
    (used,) = np.nonzero(labels[0] != -2)
    if len(used) > 1:
        labels[0, used[-1]] = -2


def spoilt(loader: SessionLoader, name: str, feeds: Change, answers: Change) -> SessionLoader:
    """A loader whose graphs of that name are spoilt."""

    def opened(graph: Path, options: SessionOptions = SessionOptions()) -> Session:
        engine = loader(graph, options)
        return Broken(engine, feeds, answers) if graph.stem == name else engine

    return opened


@pytest.mark.parametrize("graph", ["decoder", "decoder_many"])
@pytest.mark.parametrize(
    ("feeds", "answers", "violations"),
    [
        (nothing, permuted_iou, "iou_error"),
        (nothing, first_iou_of_another, "iou_error"),
        (nothing, raised_iou, "iou_error"),
        (nothing, shifted_masks, "shift_px"),
        (nothing, permuted_masks, "mask_iou_group"),
        (last_token_dropped, nothing, "mask_iou_group"),
    ],
)
def test_one_wrong_graph_of_several_is_refused(
    graph: str,
    feeds: Change,
    answers: Change,
    violations: str,
    nano: Bundle,
    loader: SessionLoader,
    expected: list[Reference],
) -> None:
    said = judged(nano, spoilt(loader, graph, feeds, answers), expected)
    assert violations in [line.split()[0] for line in said]


def test_answers_of_another_shape_are_refused_in_words(
    nano: Bundle, loader: SessionLoader, expected: list[Reference]
) -> None:
    def cropped(answers: dict[str, np.ndarray]) -> None:
        answers["logits"] = answers["logits"][..., 1:]

    with (
        Segmenter(nano, spoilt(loader, "decoder", nothing, cropped)) as segmenter,
        pytest.raises(FidelityError, match=r"the engine's logits has shape .*, the model's"),
    ):
        gate.measure(segmenter, expected[:1])
