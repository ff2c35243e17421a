"""Images of the best, median and worst answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_edge.imaging.image import write_image
from sam_edge.imaging.overlap import mask_iou
from sam_edge.prompt import Prompt
from sam_edge.streaming.sinks.overlay import draw_mask, draw_prompt
from sam_edge.synthetic.gaze.clicks import centre_click

from .candidates import Candidate
from .labelled import DataSet
from .scores import Row

TILE_PX = 256
COLUMNS = 6


def write_sheet(
    path: Path, candidate: Candidate, datasets: Sequence[DataSet], rows: Sequence[Row], score: str
) -> None:
    """Write three bands of tiles: the best, median and worst objects by `score`.

    A tile shows one click, the mask with the highest predicted IoU, and the true outline.
    """
    ranked = sorted(rows, key=lambda row: -row.scores[score])
    middle = max(0, (len(ranked) - COLUMNS) // 2)
    bands = (ranked[:COLUMNS], ranked[middle : middle + COLUMNS], ranked[-COLUMNS:])
    wanted = {(row.dataset, row.image, row.number) for band in bands for row in band}
    tiles = _tiles(candidate, datasets, wanted)
    blank = np.zeros((TILE_PX, TILE_PX, 3), np.uint8)
    strips = []
    for band in bands:
        made = [tiles[row.dataset, row.image, row.number] for row in band]
        strips.append(np.hstack(made + [blank] * (COLUMNS - len(made))))
    write_image(path, np.vstack(strips))


def _tiles(
    candidate: Candidate, datasets: Sequence[DataSet], wanted: set[tuple[str, str, int]]
) -> Mapping[tuple[str, str, int], NDArray[np.uint8]]:
    tiles = {}
    for dataset in datasets:
        for labelled in dataset:
            for number, truth in labelled.masks.items():
                if (dataset.name, labelled.name, number) in wanted:
                    tiles[dataset.name, labelled.name, number] = _tile(candidate, labelled.image, truth)
    return tiles


def _tile(candidate: Candidate, image: NDArray[np.uint8], truth: NDArray[np.bool_]) -> NDArray[np.uint8]:
    prompt = Prompt.points([centre_click(truth)])
    best = candidate.decode(candidate.encode(image), prompt).best()
    drawn = image.copy()
    if best.binary[0].any():
        draw_mask(drawn, best.binary[0])
    outlines, _ = cv2.findContours(truth.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(drawn, outlines, -1, (255, 220, 0), 2)
    draw_prompt(drawn, prompt)
    scale = TILE_PX / max(image.shape[:2])
    small = cv2.resize(drawn, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    tile = np.zeros((TILE_PX, TILE_PX, 3), np.uint8)
    tile[: small.shape[0], : small.shape[1]] = small[:TILE_PX, :TILE_PX]
    text = f"IoU {mask_iou(best.binary[0], truth):.2f}, predicted {best.predicted_iou[0]:.2f}"
    cv2.putText(tile, text, (5, TILE_PX - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
    return tile
