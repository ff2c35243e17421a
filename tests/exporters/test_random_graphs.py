"""The decoders that are measured against each other compute the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch

from sam_edge.exporters import random_graphs
from tests.modeling.tiny_sam import DIM, GRID, SIDE_PX, without_encoder

ANSWERS = ["iou_predictions", "low_res_masks"]


@pytest.fixture
def official(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(random_graphs, "CHANNELS", DIM)
    path: Path = random_graphs._write_official(without_encoder(), tmp_path)
    return path


def test_the_official_one_has_the_official_signature_and_answers(official: Path) -> None:
    session = ort.InferenceSession(official, providers=["CPUExecutionProvider"])
    assert [spec.name for spec in session.get_inputs()] == [
        *("image_embeddings", "point_coords", "point_labels"),
        *("mask_input", "has_mask_input", "orig_im_size"),
    ]
    assert [spec.name for spec in session.get_outputs()] == ["masks", *ANSWERS]
    random = np.random.default_rng(0)
    height, width = GRID
    feeds = {
        "image_embeddings": random.standard_normal((1, DIM, height, width), dtype=np.float32),
        "point_coords": np.array([[[40, 50], [90, 20], [0, 0]]], np.float32),
        "point_labels": np.array([[1, 0, -1]], np.float32),
        "mask_input": random.standard_normal((1, 1, 4 * height, 4 * width), dtype=np.float32),
        "has_mask_input": np.ones(1, np.float32),
    }
    size = np.array([SIDE_PX, SIDE_PX], np.float32)
    iou, logits = session.run(ANSWERS, {**feeds, "orig_im_size": size})
    model = without_encoder()
    prompts = model.prompt_encoder
    given = {name: torch.from_numpy(value) for name, value in feeds.items()}
    with torch.inference_mode():
        expected_logits, expected_iou = model.mask_decoder(
            given["image_embeddings"],
            prompts.positions(GRID),
            prompts.points(given["point_coords"], given["point_labels"]),
            prompts.mask(given["mask_input"]),
        )
    np.testing.assert_allclose(logits, expected_logits, atol=1e-4)
    np.testing.assert_allclose(iou, expected_iou, atol=1e-4)
